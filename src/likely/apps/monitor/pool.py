"""What a monitor learns from: rows of a table, or windows of a series, and which of them are held out for the
threshold.

A fifth is held out. Rows of a table are drawn at random. A series is cut into ten stretches, and the fourth and the
ninth are held out whole; windows that share a reading with them are not learned from, so the held-out scores are those
of new data.

Letters: N readings, F numbers a reading, T readings a window, B windows.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from likely.apps.monitor.readings import Readings, Taken
from likely.apps.monitor.settings import Settings
from likely.apps.monitor.still import limits
from likely.apps.monitor.threshold import DAY
from likely.apps.monitor.windows import cut, segments, starts
from likely.errors import DataError

LENGTH = 100  # readings a window, where there are enough of them
WIDE = 1000  # numbers a window, at most: T * F
LEAST = 30  # windows or rows to learn from
MOST = 6000  # windows to learn from: beyond, every k-th is taken
ROWS = 50_000  # rows of a table to learn from
BLOCKS, HELD = 10, (3, 8)

Windows = NDArray[np.float64]


class Pool(Protocol):
    """Windows of `length` readings, to be looked at every `stride`."""

    length: int
    stride: int

    def split(self, rng: np.random.Generator) -> tuple[Windows, list[Windows]]: ...  # to learn from; runs held out
    def all(self, rng: np.random.Generator) -> Windows: ...  # for the final detectors
    def looks(self) -> tuple[float, str]: ...  # how many looks there are in what unit
    def still(self) -> NDArray[np.int64]: ...  # the longest run of one value that is normal


class Rows:
    """Rows of a table."""

    length = 1
    stride = 1

    def __init__(self, taken: Taken) -> None:
        self.x = taken.x
        if len(self.x) < LEAST:
            raise DataError(f"{len(self.x)} rows were given; a monitor needs at least {LEAST} to know what is normal.")

    def split(self, rng: np.random.Generator) -> tuple[Windows, list[Windows]]:
        """Rows to learn from, and the fifth that is held out."""
        order = rng.permutation(len(self.x))[:ROWS]
        held = len(order) // 5
        return self.x[order[held:]], [self.x[order[:held]]]

    def all(self, rng: np.random.Generator) -> Windows:
        """All rows, or as many as are looked at."""
        return self.x if len(self.x) <= ROWS else self.x[rng.permutation(len(self.x))[:ROWS]]

    def looks(self) -> tuple[float, str]:
        """A table has no time."""
        return 1000.0, "1,000 rows"

    def still(self) -> NDArray[np.int64]:
        """Nothing is ever stuck in a table."""
        return np.full(self.x.shape[1], np.iinfo(np.int32).max)


class Series:
    """Windows of a series."""

    def __init__(self, taken: Taken, readings: Readings, spacing: float, settings: Settings) -> None:
        self.segments = segments(taken, readings.medians, spacing)
        self.spacing, self.dated = spacing, readings.dated
        longest = max(len(segment.x) for segment in self.segments)
        self.length = settings.window or max(2, min(LENGTH, longest // 6, max(8, WIDE // len(readings.owner))))
        self.stride = settings.stride or max(1, self.length // 10)
        self.segments = [segment for segment in self.segments if len(segment.x) >= self.length]
        windows = sum(len(segment.x) - self.length + 1 for segment in self.segments)
        if windows < LEAST:
            raise DataError(
                f"The longest stretch without a gap has {longest} readings, which gives {windows} windows of "
                f"{self.length}; {LEAST} are needed. Give more readings, or a smaller --window."
            )
        self.every = max(1, -(-windows // MOST))

    def split(self, rng: np.random.Generator) -> tuple[Windows, list[Windows]]:
        """Windows to learn from, and unbroken runs of windows that share no reading with them, one a stride."""
        learn, held = [], []
        for segment in self.segments:
            N, T = len(segment.x), self.length
            edges = np.linspace(0, N, BLOCKS + 1).astype(int)
            begin = np.arange(0, N - T + 1, self.every)
            free = np.ones(len(begin), bool)
            for block in HELD:
                low, high = int(edges[block]), int(edges[block + 1])
                free &= (begin + T <= low) | (begin >= high)
                if high - low >= T:
                    held.append(cut(segment.x[low:high], T, starts(high - low, T, self.stride)))
            if free.any():
                learn.append(cut(segment.x, T, begin[free]))
        if sum(map(len, learn)) < LEAST or sum(map(len, held)) < LEAST:
            return self.all(rng), []
        return np.concatenate(learn), held

    def all(self, rng: np.random.Generator) -> Windows:
        """All windows, or every k-th."""
        T = self.length
        return np.concatenate([cut(s.x, T, np.arange(0, len(s.x) - T + 1, self.every)) for s in self.segments])

    def looks(self) -> tuple[float, str]:
        """Windows a day where time is known in seconds."""
        return (DAY / (self.spacing * self.stride), "day") if self.dated else (1000.0, "1,000 windows")

    def still(self) -> NDArray[np.int64]:
        """From all stretches that are long enough to be looked at."""
        return limits([segment.x for segment in self.segments])
