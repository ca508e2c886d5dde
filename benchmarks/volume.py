"""VUS-PR: how well scores of a series find labelled stretches, whatever the threshold and the tolerance.

Let y_t = 1 inside an anomaly. A detector that is a few steps early is not wrong, so labels get soft shoulders of total
width w,

    y_t(w) = max(y_t, sqrt(1 - d_t / w)) for d_t <= w / 2,      d_t = steps to the nearest anomaly

and at a threshold that marks the set A,

    precision = sum_{t in A} y_t(w) / |A|
    recall    = min(1, TP / P) * (share of the widened anomalies that A touches),
                TP = sum_{t in A} y_t(w),   P = (sum_t y_t + sum_t y_t + sum_{t in A, outside} y_t(w)) / 2

The area under precision against recall, averaged over w = 0..W, is VUS-PR (Paparrizos et al. 2022, "Volume under the
surface", doi:10.14778/3551793.3551830). W is the main period of the series. A random score has about the share of
labels.

Letters: T moments, W widest shoulder.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEVELS = 250  # thresholds


def period(x: NDArray[np.floating], most: int = 300) -> int:
    """The lag of the highest local peak of the autocorrelation of x (T,) from 3 on; 100 where there is none."""
    x = np.asarray(x, float)[:20_000]
    x = x - x.mean()
    lags = min(400, len(x) // 2)
    spectrum = np.fft.rfft(x, 2 * len(x))
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[: lags + 1]
    if correlation[0] <= 0:
        return 100
    correlation = correlation / correlation[0]
    peaks = [t for t in range(3, lags) if correlation[t - 1] < correlation[t] >= correlation[t + 1]]
    best = max(peaks, key=lambda t: correlation[t], default=100)
    return best if best <= most else 100


def stretches(label: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Runs of true as [start, stop)."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], label.astype(int), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def soften(label: NDArray[np.bool_], width: int) -> NDArray[np.float64]:
    """Labels with shoulders of `width`."""
    soft = label.astype(float)
    for start, stop in stretches(label):
        reach = np.arange(1, width // 2 + 1)
        shoulder = np.sqrt(1 - reach / width) if width else np.zeros(0)
        for place in (start - reach, stop - 1 + reach):
            inside = (place >= 0) & (place < len(label))
            soft[place[inside]] += shoulder[inside]
    return np.minimum(soft, 1.0)


def area(label: NDArray[np.bool_], score: NDArray[np.floating], width: int) -> float:
    """Area under precision against recall with shoulders of one width."""
    T = len(label)
    soft = soften(label, width)
    order = np.argsort(-score, kind="stable")
    ends = np.searchsorted(-score[order], -score[order][np.linspace(0, T - 1, LEVELS).astype(int)], "right")
    hit = np.cumsum(soft[order])[ends - 1]
    outside = np.cumsum(np.where(label, 0.0, soft)[order])[ends - 1]
    positives = float(label.sum())
    ranges = stretches(soft > 0)
    tops = np.sort([-score[a:b].max() for a, b in ranges])  # a range is touched once the threshold falls to its top
    touched = np.searchsorted(tops, -score[order][ends - 1], "right") / len(ranges)
    recall = np.minimum(hit / ((positives + positives + outside) / 2), 1) * touched
    precision = hit / ends
    steps = np.diff(np.concatenate([[0.0], recall]))
    return float((steps * precision).sum())


def vus_pr(label: NDArray[np.integer], score: NDArray[np.floating], widest: int, every: int = 1) -> float:
    """VUS-PR of scores (T,), larger is stranger, against labels (T,) in {0, 1}."""
    inside = np.asarray(label) > 0
    return float(np.mean([area(inside, np.asarray(score, float), w) for w in range(0, widest + 1, every)]))
