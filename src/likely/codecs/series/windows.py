"""A collection of windows of time, as the series codec holds them.

Shape letters: n windows, T moments, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 10  # windows set aside together, in window lengths


@dataclass(frozen=True)
class Windows:
    """`values` (n, T, C) in the units of the data (levels as their codes), NaN where one is missing.

    `start` (n,): the tick of the first moment. `entity` (n,): what each window was measured on, "" = only one thing.
    `origin` (n, 2): the first row of the input that a window covers and the row after its last; -1 where there is none.
    Its length is n; it is indexed by rows: a slice, or an array of row numbers or of truth values.
    """

    values: NDArray[np.float64]
    start: NDArray[np.float64]
    entity: NDArray[np.str_]
    origin: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, rows: Any) -> Windows:
        at = rows if isinstance(rows, slice) else np.atleast_1d(np.asarray(rows))
        return Windows(self.values[at], self.start[at], self.entity[at], self.origin[at])

    def equals(self, other: Any) -> bool:
        """Whether the other collection holds the same windows."""
        return (
            isinstance(other, Windows)
            and np.array_equal(self.values, other.values, equal_nan=True)
            and np.array_equal(self.start, other.start)
            and np.array_equal(self.entity, other.entity)
        )

    @classmethod
    def join(cls, parts: Sequence[Windows]) -> Windows:
        """One collection of several."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.start for part in parts]),
            np.concatenate([part.entity for part in parts]),
            np.concatenate([part.origin for part in parts]),
        )

    def apart(self, share: float, seed: int, step: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row numbers of windows to learn from, and of about `share` of them that share no moment with those.

        Blocks of up to BLOCK window lengths are set aside whole; windows that reach into one are in neither part.
        """
        length = self.values.shape[1] * step
        _, who = np.unique(self.entity, return_inverse=True)
        # At least twenty blocks where the series is long enough, none shorter than two windows.
        ends = [self.start[who == k] for k in range(int(who.max()) + 1)]
        whole = sum(float(np.ptp(part)) + length for part in ends)
        block = length * float(np.clip(whole / (20 * length), 2, BLOCK))
        # The blocks that hold the first and the last moment of each window.
        spans = [np.floor(at / block).astype(np.int64) for at in (self.start, self.start + length - step)]
        both = np.concatenate([np.stack([who, span], 1) for span in spans])
        blocks, which = np.unique(both, axis=0, return_inverse=True)
        first, last = which.reshape(2, -1)
        sizes = np.bincount(first, minlength=len(blocks))
        order = np.random.default_rng(seed).permutation(len(blocks))
        order = order[sizes[order] > 0]
        count = max(1, int(np.searchsorted(sizes[order].cumsum(), share * len(self), "right")))
        taken = order[: min(count, len(order) - 1)] if share > 0 else order[:0]
        touched = np.isin(first, taken).astype(np.int64) + np.isin(last, taken)
        return np.flatnonzero(touched == 0), np.flatnonzero(touched == 2)
