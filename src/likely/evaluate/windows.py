"""Windows of a series as vectors: what distances, classifiers and forecasts look at.

All are in units of the real windows' standard deviations, channel by channel.

Shape letters: N windows, T moments, C channels, F numbers of a vector.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from likely.evaluate.columns import Floats

NUMBERS = 384  # a window is averaged down to about so many where windows are compared
COARSE = 96  # and to about so many beside its summary
CHANNELS, PAIRS = 12, 15  # channels with a summary of their own, and pairs of channels
CONTEXT = 12  # moments that a forecast looks back on
WAVES = 400  # random features of the forecast
RIDGE = 1e-3
SAMPLES = 20_000  # moments that a forecast learns from, and is tested on


class Scale(NamedTuple):
    """Mean and standard deviation of each channel (C,), of real windows; a channel that never changes has spread 1."""

    mean: Floats
    spread: Floats

    def __call__(self, x: Floats) -> Floats:
        """Windows (N, T, C) in these units."""
        scaled: Floats = (x - self.mean) / self.spread
        return scaled


def scale(real: Floats) -> Scale:
    """Windows (N, T, C) -> their units."""
    flat = real.reshape(-1, real.shape[2])
    spread = flat.std(axis=0)
    return Scale(flat.mean(axis=0), np.where(spread > 0, spread, 1.0))


def pooled(x: Floats, most: int) -> Floats:
    """Windows (N, T, C) as vectors of at most about `most` numbers: neighbouring moments are averaged."""
    n, moments, channels = x.shape
    parts = max(1, min(moments, most // channels))
    edges = np.linspace(0, moments, parts + 1).round().astype(int)
    sums = np.add.reduceat(x, edges[:-1], axis=1) / np.diff(edges)[:, None]
    return sums.reshape(n, -1)


def summary(x: Floats) -> Floats:
    """Windows (N, T, C), T >= 2 -> (N, F) plain properties: level, spread, ends, steps, memory, waves; channels
    together."""
    moments = x.shape[1]
    y = x[:, :, :CHANNELS]
    mean, spread = y.mean(axis=1), y.std(axis=1)
    shape = (y - mean[:, None]) / np.where(spread > 1e-9, spread, 1.0)[:, None]
    steps = np.diff(y, axis=1)
    parts = [mean, spread, y.min(axis=1), y.max(axis=1), y[:, -1] - y[:, 0], np.abs(steps).mean(axis=1),
             np.abs(steps).max(axis=1), (shape**3).mean(axis=1), (shape**4).mean(axis=1)]  # fmt: skip
    parts += [(shape[:, :-lag] * shape[:, lag:]).mean(axis=1) for lag in (1, 2, 4, 8) if lag < moments]
    power = np.abs(np.fft.rfft(shape, axis=1))[:, 1:] ** 2
    share = power / np.maximum(power.sum(axis=1, keepdims=True), 1e-12)
    places = np.arange(share.shape[1])[:, None]
    parts += [(share * places).sum(axis=1), share.max(axis=1), share.argmax(axis=1).astype(float)]
    pairs = [(i, j) for i in range(y.shape[2]) for j in range(i)][:PAIRS]
    parts += [(shape[:, :, i] * shape[:, :, j]).mean(axis=1)[:, None] for i, j in pairs]
    return np.concatenate(parts, axis=1)


def described(x: Floats) -> Floats:
    """Windows (N, T, C) -> (N, F): the summary and the coarse values."""
    return np.concatenate([summary(x), pooled(x, COARSE)], axis=1)


class Forecaster:
    """Says the next moment of all channels from the last ones. Learned from windows (N, T, C); `error` tests it.

    Ridge regression on the last moments and on random sines of them (Rahimi & Recht 2007, "Random features for
    large-scale kernel machines"): a curve of any shape, in closed form, the same at every run. TimeGAN's protocol
    (Yoon, Jarrett & van der Schaar 2019, "Time-series generative adversarial networks") trains a recurrent network for
    the purpose, which takes minutes and differs from run to run; the question is the same.
    """

    def __init__(self, windows: Floats, rng: np.random.Generator) -> None:
        past, following = moments(windows, rng)
        size = past.shape[1]
        self.wave = rng.normal(size=(size, WAVES)) / np.sqrt(size)
        self.phase = rng.uniform(0, 2 * np.pi, WAVES)
        x = self._features(past)
        gram = x.T @ x
        gram[np.diag_indices(len(gram))] += RIDGE * len(x)
        self.weight = np.linalg.solve(gram, x.T @ following)
        self.low, self.high = following.min(axis=0), following.max(axis=0)

    def _features(self, past: Floats) -> Floats:
        return np.concatenate([np.ones((len(past), 1)), past, np.sin(past @ self.wave + self.phase)], axis=1)

    def error(self, past: Floats, following: Floats) -> float:
        """The mean absolute error of what comes next (N, C), said from the past (N, F)."""
        said = np.clip(self._features(past) @ self.weight, self.low, self.high)  # never wilder than what was learned
        return float(np.abs(said - following).mean())


def moments(windows: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Windows (N, T, C), T >= 2 -> up to 20,000 examples: the last moments (M, F) and the next one (M, C)."""
    n, length, channels = windows.shape
    context = min(CONTEXT, length - 1)
    count = n * (length - context)
    places = rng.permutation(count)[:SAMPLES]
    window, start = places // (length - context), places % (length - context)
    past = windows[window[:, None], start[:, None] + np.arange(context)]
    return past.reshape(len(places), context * channels), windows[window, start + context]
