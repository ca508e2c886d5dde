"""Texts of any length -> rows of one length, several texts in each.

Texts are placed from the longest to the shortest, each in the first row that has room (first-fit decreasing: at most
11/9 of the fewest rows possible, plus 6/9; Johnson 1973, Dosa 2007, doi:10.1007/978-3-540-74450-4_1). Rows are what a
step learns from. No text sees another of its row (see `likely.nn.texts`), so that a packed text has the loss and the
gradients it would have alone. What comes after the last learned token of a text teaches nothing and is left away.

Letters: n rows, T steps of a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from likely.core import Batch
from likely.errors import DataError
from likely.language.conversation import Example

ROUND = 64  # rows are a multiple of so many steps


@dataclass(frozen=True)
class Packed:
    """`batch.x` (n, 2, T) int32: ids, and the number of the text that each belongs to, from 1, 0 = padding;
    `batch.mask` (n, T) true = learned. `texts` of them, `cut` at the end because they were too long, `dropped` because
    nothing to learn was left; `tokens` in all, `learned` of them."""

    batch: Batch
    texts: int
    cut: int
    dropped: int
    tokens: int
    learned: int

    @property
    def filled(self) -> float:
        """The share of all steps that is no padding."""
        return self.tokens / max(1, self.batch.x[:, 0].numel())


def pack(examples: Sequence[Example], length: int) -> Packed:
    """Rows of `length` steps that hold all examples. Raises DataError where nothing is left to learn."""
    useful = [_trim(part, len(part.ids)) for part in examples]
    cut = sum(len(ids) > length for ids, _ in useful)
    real = [part for part in (_trim(part, length) for part in useful) if part.ids]
    if not real:
        why = f"; all answers begin after step {length}: give a larger length" if cut else ""
        raise DataError(f"There is nothing to learn in {len(examples)} examples{why}.")
    rows = fit(sorted(range(len(real)), key=lambda at: -len(real[at].ids)), [len(part.ids) for part in real], length)
    x = torch.zeros(len(rows), 2, length, dtype=torch.int32)
    mask = torch.zeros(len(rows), length, dtype=torch.bool)
    for row, members in enumerate(rows):
        start = 0
        for number, at in enumerate(members, 1):
            ids, learned = real[at]
            stop = start + len(ids)
            x[row, 0, start:stop] = torch.tensor(ids, dtype=torch.int32)
            x[row, 1, start:stop] = number
            mask[row, start:stop] = torch.tensor(learned)
            start = stop
    return Packed(Batch(x, mask=mask), len(real), cut, len(examples) - len(real),
                  sum(len(part.ids) for part in real), int(mask.sum()))  # fmt: skip


def _trim(part: Example, length: int) -> Example:
    """At most `length` ids, up to the last that is learned; none where none is."""
    learned = part.learned[:length]
    learned[:1] = [False] * len(learned[:1])
    stop = next((at + 1 for at in range(len(learned) - 1, 0, -1) if learned[at]), 0)
    return Example(part.ids[:stop], learned[:stop])


def fit(order: Sequence[int], sizes: Sequence[int], length: int) -> list[list[int]]:
    """The items in `order`, each put into the first row with room for its size: rows of items.

    A tree over the rows keeps the largest room below each node, so that the first row with enough is found in steps
    that grow with the logarithm of the rows.
    """
    leaves = 1 << max(1, (len(order) - 1).bit_length())
    room = [length] * (2 * leaves)
    rows: list[list[int]] = [[] for _ in order]
    for item in order:
        at = 1
        while at < leaves:
            at = 2 * at if room[2 * at] >= sizes[item] else 2 * at + 1
        rows[at - leaves].append(item)
        room[at] -= sizes[item]
        while at > 1:
            at //= 2
            room[at] = max(room[2 * at], room[2 * at + 1])
    return [row for row in rows if row]


def length_for(examples: Sequence[Example], context: int, most: int) -> int:
    """Steps of a row that the longest example fits into, at most `context` and `most`."""
    longest = max((len(_trim(part, len(part.ids)).ids) for part in examples), default=1)
    return min(-(-longest // ROUND) * ROUND, context, most)
