"""How windows move: autocorrelation, spectrum, the spread of values, channels together.

Each is a mean over all windows of a set, compared with that of unseen real windows:

    marginal         Wasserstein distance of a channel's values, in its standard deviations: the mean gap between equal
                     quantiles
    autocorrelation  r(l) = E[(x_t - m)(x_(t+l) - m)] / v with the channel's own mean and variance over the whole set;
                     the distance is the mean |r - r'| over lags 1..L
    spectrum         share of a window's power at each frequency (mean removed, Hann taper), averaged over windows; the
                     distance is half the sum of |p - p'|: the share of power that lies at the wrong frequency
    together         correlation of each pair of channels at the same moment; the distance is the mean |c - c'|

The first three are the usual ones for generated series (Ang et al. 2023, "TSGBench", arXiv:2309.03755, whose
autocorrelation difference is per window; one mean and variance for all windows sees a drift of levels as well).

Shape letters: N windows, T moments, C channels, L lags, K frequencies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from likely.evaluate.columns import Floats

LAGS = 40  # at most; and at most half of a window
QUANTILES = 200
STILL = 1e-12  # a channel with less variance, in units of its mean square, does not move


@dataclass(frozen=True)
class Motion:
    """Of one set: quantiles (C, 200), autocorrelation (C, L) from lag 1, spectrum (C, K) from 1 cycle a window, and the
    correlation of channels (C, C). NaN where a channel does not move."""

    quantiles: Floats
    correlation: Floats
    spectrum: Floats
    together: Floats


def motion(x: Floats) -> Motion:
    """Windows (N, T, C), T at least 2."""
    _, moments, channels = x.shape
    flat = x.reshape(-1, channels)
    quantiles = np.quantile(flat, (np.arange(QUANTILES) + 0.5) / QUANTILES, axis=0).T
    centred = x - flat.mean(axis=0)
    variance = flat.var(axis=0)
    variance = np.where(variance > STILL * (flat**2).mean(axis=0), variance, np.nan)
    lags = max(1, min(LAGS, moments // 2))
    correlation = np.stack([
        (centred[:, : moments - lag] * centred[:, lag:]).mean(axis=(0, 1)) / variance for lag in range(1, lags + 1)
    ], axis=1)  # fmt: skip
    taper = np.hanning(moments + 2)[1:-1, None]
    power = (np.abs(np.fft.rfft((x - x.mean(axis=1, keepdims=True)) * taper, axis=1)) ** 2).mean(axis=0)[1:].T
    total = power.sum(axis=1, keepdims=True)
    spectrum = power / np.where((total > 0) & ~np.isnan(variance[:, None]), total, np.nan)
    scaled = centred.reshape(-1, channels) / np.sqrt(variance)
    return Motion(quantiles, correlation, spectrum, scaled.T @ scaled / len(flat))


@dataclass(frozen=True)
class Gaps:
    """Distances of one set from the real one, channel by channel (C,), and of pairs of channels (P,)."""

    marginal: Floats
    correlation: Floats
    spectrum: Floats
    together: Floats


def gaps(real: Motion, made: Motion) -> Gaps:
    """How far made is from real. A channel that moves in real windows only is as far as a flat line, one that does not
    move in real windows has no distance (NaN)."""
    spread = real.quantiles.std(axis=1)
    marginal = np.abs(real.quantiles - made.quantiles).mean(axis=1) / np.where(spread > 0, spread, np.nan)
    correlation = np.abs(real.correlation - np.nan_to_num(made.correlation)).mean(axis=1)
    lost = np.isnan(made.spectrum).any(axis=1) & ~np.isnan(real.spectrum).any(axis=1)
    spectrum = np.where(lost, 1.0, np.abs(real.spectrum - made.spectrum).sum(axis=1) / 2)
    i, j = np.triu_indices(len(real.together), 1)
    together = np.abs(real.together - np.nan_to_num(made.together))[i, j]
    return Gaps(marginal, correlation, spectrum, together)
