"""Images and windows with a known law, and ways to spoil them."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits


@cache
def digits() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """1,797 images of 8 x 8 in one random order, as bytes (n, 8, 8), and their labels."""
    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    return (found.images[order] * 15.9375).astype(np.uint8), found.target[order]


def sines(n: int, seed: int, moments: int = 24, channels: int = 2) -> NDArray[np.float64]:
    """Windows (n, T, C): a sine of random frequency, phase and height in each, the second channel a quarter behind."""
    rng = np.random.default_rng(seed)
    pace, start, height = rng.uniform(0.05, 0.12, n), rng.uniform(0, 2 * np.pi, n), rng.uniform(0.5, 1, n)
    turn = 2 * np.pi * pace[:, None] * np.arange(moments) + start[:, None]
    waves = np.stack([np.sin(turn - j * 0.7) for j in range(channels)], axis=2) * height[:, None, None]
    return waves + 0.05 * rng.normal(size=waves.shape)
