"""Is a sensor stuck? It then repeats one value, or says nothing, and every value by itself looks normal.

The run of a sensor is the number of readings since its value last changed; a missing reading, for which the last one
stands, prolongs it. A sensor is stuck once its run is longer than FACTOR times the longest run in the readings learned
from, plus SPARE. That is a rule, not a score: no share of normal data ever did it. (As a third view in the ensemble,
how quiet each sensor is cost .02 to .05 of VUS-PR on labelled series, because some machines are switched off at
night.)

Letters: N readings, F numbers a reading, T readings a window, B windows.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

FACTOR, SPARE = 3, 20


def runs(x: NDArray[np.float64], before: NDArray[np.float64], run: NDArray[np.int64]) -> NDArray[np.int64]:
    """Readings (N, F), the reading before them (F,) and its runs (F,) -> the runs (N, F); 0 where the value is new."""
    same = np.diff(x, axis=0, prepend=before[None]) == 0
    place = np.arange(1, len(x) + 1)[:, None]
    changed = np.maximum.accumulate(np.where(same, 0, place), axis=0)  # the last place where the value was new
    return np.where(changed == 0, run + place, place - changed)


def limits(segments: list[NDArray[np.float64]]) -> NDArray[np.int64]:
    """Unbroken stretches of readings -> the longest run (F,) that is still normal."""
    longest = np.zeros(segments[0].shape[1], np.int64)
    for x in segments:
        fresh = runs(x, np.full(x.shape[1], np.nan), np.zeros(x.shape[1], np.int64))
        longest = np.maximum(longest, fresh.max(0))
    return FACTOR * longest + SPARE


def stuck(run: NDArray[np.int64], limit: NDArray[np.int64], length: int, begin: NDArray[np.int64]) -> NDArray[np.int64]:
    """Runs (N, F) -> for each window of `length` readings at `begin` (B,), the number (of F) that is stuck in it, or
    -1."""
    over = run - limit
    most = sliding_window_view(over, length, axis=0)[begin].max(2)  # (B, F)
    return np.where((most > 0).any(1), most.argmax(1), -1)
