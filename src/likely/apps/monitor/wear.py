"""What a history of readings tells about wear: where a machine stands, how it moves, how far it is from its beginnings.

At each reading, looking back only, for windows of several lengths: mean, deviation and slope of each sensor; the
reading itself; and the age. Two views share these and differ in one thing:

    absolute    windows of 20, 50 and 100 readings, and an exponential mean (memory 20)
    relative    windows of 10, 30, 60 and 120 readings, and the mean of the last ten less that of the first FRESH

The first knows where failed machines ended, the second what has changed in this one, whose sensors may be biased. Long
windows matter most: from 30 readings to 60 the error of cross-validation fell from 13.7 to 10.2 cycles on C-MAPSS.

Letters: N readings, C sensors, K features.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

VIEWS = ("absolute", "relative")
LENGTHS = {"absolute": (20, 50, 100), "relative": (10, 30, 60, 120)}
FADE = 0.05
FRESH = 15
STEEP = 30  # a slope is said as the change over so many readings


def features(x: NDArray[np.float64], age: NDArray[np.float64], view: str) -> NDArray[np.float64]:
    """Readings (N, C) about zero mean and unit spread, age (N,) -> (N, K)."""
    N, C = x.shape
    t = np.arange(N)
    start = np.zeros((1, C))
    total, square, tilt = (np.concatenate([start, np.cumsum(part, 0)]) for part in (x, x * x, x * t[:, None]))
    found = []
    for length in LENGTHS[view]:
        a = np.maximum(0, t - length + 1)
        n = (t + 1 - a)[:, None]
        mean = (total[t + 1] - total[a]) / n
        spread = np.sqrt(np.maximum((square[t + 1] - square[a]) / n - mean**2, 0))
        middle = ((a + t) / 2)[:, None]
        slope = ((tilt[t + 1] - tilt[a]) / n - mean * middle) / np.maximum((n**2 - 1) / 12, 1e-9)
        found += [mean, spread, slope * np.minimum(n, STEEP)]
    if view == "absolute":
        fading = np.empty_like(x)
        fading[0] = x[0]
        for i in range(1, N):
            fading[i] = FADE * x[i] + (1 - FADE) * fading[i - 1]
        found.append(fading)
    else:
        n = np.minimum(t + 1, FRESH)
        found.append(found[0] - total[n] / n[:, None])
    return np.concatenate([*found, x, age[:, None]], 1)
