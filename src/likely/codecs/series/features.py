"""What distances between windows mean: a few numbers that tell the shape of each channel.

Mean, spread and slope; autocorrelation at lags 1, 2, 4 and 8; the shares of the spectrum in four octave bands.

Shape letters: n windows, T moments, E places of all channels.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

LAGS = (1, 2, 4, 8)
BANDS = 4


def features_of(x: NDArray[Any]) -> NDArray[np.float32]:
    """Windows (n, T, E) of about unit size -> (n, F)."""
    x = x.astype(np.float64)
    n, moments, _ = x.shape
    mean, spread = x.mean(1), x.std(1)
    time = np.linspace(-1, 1, moments)
    slope = np.einsum("ntc,t->nc", x, time) / (time**2).sum()
    centred = x - mean[:, None]
    power = np.maximum((centred**2).sum(1), 1e-12)
    parts = [mean, spread, slope]
    parts += [(centred[:, lag:] * centred[:, :-lag]).sum(1) / power for lag in LAGS if lag < moments]
    energy = np.abs(np.fft.rfft(centred, axis=1))[:, 1:] ** 2
    total = np.maximum(energy.sum(1), 1e-12)
    edges = np.unique(np.round(np.geomspace(1, energy.shape[1] + 1, BANDS + 1)).astype(int)) - 1
    parts += [energy[:, a:b].sum(1) / total for a, b in pairwise(edges.tolist())]
    # An autocorrelation or a share of nothing is rounding noise.
    still = spread < 1e-5
    for k in range(3, len(parts)):
        parts[k] = np.where(still, 0.0, parts[k])
    return np.concatenate(parts, 1).reshape(n, -1).astype(np.float32)
