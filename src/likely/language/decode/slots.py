"""Keys and values of texts of different lengths, a row a text, that come and go.

    row     0 .. A-1: texts under way, without gaps: where one ends the last takes its place
    step    0 .. lengths[b]-1 of row b are real; what lies behind is of no meaning, and masked or overwritten

Room grows by doubling, in rows and in steps. Letters: B rows, G key heads, S steps, D numbers a head.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from likely.nn.decoder import Architecture

LEAST_STEPS = 256


class Slots:
    """The room for texts of a decoder; `lengths[b]` steps of row b are filled."""

    def __init__(self, arch: Architecture, dtype: torch.dtype, device: torch.device) -> None:
        self.arch, self.dtype, self.device = arch, dtype, device
        self.lengths: list[int] = []
        self.clear()

    def clear(self) -> None:
        """Forget all and give the memory back."""
        self.lengths.clear()
        self.keys = self.values = self._empty(0, 0)

    def _empty(self, rows: int, steps: int) -> Tensor:
        shape = (self.arch.layers, rows, self.arch.groups, steps, self.arch.head)
        return torch.zeros(shape, dtype=self.dtype, device=self.device)  # zeros: a masked step must not be NaN

    @property
    def rows(self) -> int:
        """Rows there is room for."""
        return self.keys.shape[1]

    @property
    def steps(self) -> int:
        """Steps there is room for in each row."""
        return self.keys.shape[3]

    def bytes(self, rows: int, steps: int) -> int:
        """What `reserve(rows, steps)` would hold."""
        rows, steps = self._grown(rows, steps)
        arch = self.arch
        return 2 * arch.layers * rows * arch.groups * steps * arch.head * self.dtype.itemsize

    def _grown(self, rows: int, steps: int) -> tuple[int, int]:
        def doubled(now: int, wanted: int) -> int:
            while now < wanted:
                now *= 2
            return now

        steps = doubled(max(self.steps, LEAST_STEPS), steps)
        return doubled(max(self.rows, 1), rows), max(min(steps, self.arch.context), self.steps)

    def reserve(self, rows: int, steps: int) -> None:
        """Make room for so many rows of so many steps, at most the context."""
        if rows <= self.rows and steps <= self.steps:
            return
        keys, values, filled = self.keys, self.values, max(self.lengths, default=0)
        grown = self._grown(rows, steps)
        self.keys, self.values = self._empty(*grown), self._empty(*grown)
        if filled:
            n = min(len(self.lengths), keys.shape[1])
            self.keys[:, :n, :, :filled] = keys[:, :n, :, :filled]
            self.values[:, :n, :, :filled] = values[:, :n, :, :filled]

    def room(self, counts: Sequence[int], first: int) -> list[int]:
        """Make room for `counts` new steps of the rows from `first` on, new rows among them; where each begins."""
        starts = [self.lengths[row] if row < len(self.lengths) else 0 for row in range(first, first + len(counts))]
        self.reserve(first + len(counts), max(start + count for start, count in zip(starts, counts, strict=True)))
        return starts

    def add(self, counts: Sequence[int], first: int) -> None:
        """So many new steps were written to the rows from `first` on."""
        for row, count in enumerate(counts, first):
            if row == len(self.lengths):
                self.lengths.append(0)
            self.lengths[row] += count

    def copy(self, source: int, target: int) -> None:
        """Row `target` becomes as row `source`; a target behind the last row is a new one."""
        if target == len(self.lengths):
            self.lengths.append(0)
        length = self.lengths[source]
        self.keys[:, target, :, :length] = self.keys[:, source, :, :length]
        self.values[:, target, :, :length] = self.values[:, source, :, :length]
        self.lengths[target] = length

    def branch(self, row: int, count: int, more: int) -> Slots:
        """Room of its own with `count` copies of a row, and for `more` steps of each."""
        length = self.lengths[row]
        made = Slots(self.arch, self.dtype, self.device)
        made.reserve(count, length + more)
        made.lengths = [length] * count
        made.keys[:, :count, :, :length] = self.keys[:, row : row + 1, :, :length]
        made.values[:, :count, :, :length] = self.values[:, row : row + 1, :, :length]
        return made

    def drop(self, row: int) -> None:
        """Forget a row; the last one takes its place."""
        last = len(self.lengths) - 1
        if row != last:
            self.copy(last, row)
        self.lengths.pop()

    def cut(self, rows: int) -> None:
        """Forget all rows from `rows` on."""
        del self.lengths[rows:]


class Span:
    """Rows `first` .. of a `Slots`, each with T new steps from its `starts` on: what a block writes to and reads."""

    def __init__(self, slots: Slots, first: int, starts: Sequence[int], T: int) -> None:
        self.slots, self.T = slots, T
        self.rows = slice(first, first + len(starts))
        self.end = max(starts) + T
        self.even = min(starts) == max(starts)
        if self.even:
            self.start = starts[0]
        else:
            device = slots.device
            self.row = torch.arange(first, first + len(starts), device=device)[:, None].expand(-1, T)
            self.step = torch.tensor(starts, device=device)[:, None] + torch.arange(T, device=device)

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write k, v (B, G, T, D); all keys and values of these rows (B, G, S, D), S = the longest."""
        keys, values = self.slots.keys[layer], self.slots.values[layer]
        if self.even:
            keys[self.rows, :, self.start : self.end] = k
            values[self.rows, :, self.start : self.end] = v
        else:
            keys[self.row, :, self.step] = k.transpose(1, 2)
            values[self.row, :, self.step] = v.transpose(1, 2)
        return keys[self.rows, :, : self.end], values[self.rows, :, : self.end]
