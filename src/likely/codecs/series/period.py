"""The length of a window, where nobody names one: the strongest period that repeats.

The autocorrelation of a channel, by the fast Fourier transform (Wiener and Khinchin), falls from 1 and rises again at
the period: the highest peak after the first fall below 0, where it exceeds STRONG; the median over channels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

STRONG = 0.3
MOST = 8192  # moments looked at
SHORTEST, LONGEST = 8, 256  # a window by period is between these
USUAL = 64  # a window without a period


def autocorrelation(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of (L,) values after a straight line is taken out: (L // 2,), 1 at lag 0; zeros where nothing varies."""
    time = np.arange(len(x))
    x = x - np.polyval(np.polyfit(time, x, 1), time) if len(x) > 2 else x - x.mean()
    power = np.abs(np.fft.rfft(x, 2 * len(x))) ** 2
    sums = np.fft.irfft(power)[: max(1, len(x) // 2)]
    return sums / sums[0] if sums[0] > 1e-12 * max(1.0, float(np.abs(x).max()) ** 2) else np.zeros(len(sums))


def period_of(x: NDArray[np.float64]) -> int | None:
    """The period of (L,) values, or None."""
    if len(x) < 4 * SHORTEST:
        return None
    scores = autocorrelation(x[:MOST])
    fall = np.flatnonzero(scores < 0)
    if not len(fall):
        return None
    inner = scores[1:-1]
    peaks = np.flatnonzero((inner > scores[:-2]) & (inner >= scores[2:]) & (inner > STRONG)) + 1
    peaks = peaks[(peaks > fall[0]) & (peaks <= LONGEST)]
    # A multiple of the period is nearly as high a peak: the first that comes close to the highest.
    return int(peaks[scores[peaks] >= 0.9 * scores[peaks].max()][0]) if len(peaks) else None


def window_of(channels: Sequence[NDArray[np.float64]], lengths: Sequence[int]) -> tuple[int, str]:
    """The window for runs of these lengths, and why; `channels` are those of the longest run."""
    found = [period for x in channels if (period := period_of(x)) is not None]
    usual, why = USUAL, "the usual length"
    if found and SHORTEST <= np.median(found) <= LONGEST:
        usual, why = int(np.median(found)), "the period of the data"
    # Four fifths of all moments must lie in runs that hold a window, and there must be windows enough.
    order = np.sort(np.asarray(lengths))[::-1]
    enough = int(order[np.searchsorted(order.cumsum(), 0.8 * order.sum())])
    room = max(4, min(enough, int(order.sum()) // 10))
    return (room, "as long as the data allow") if room < usual else (usual, why)
