"""Small tables with a known law, and ways to spoil them."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl


def patients(n: int, seed: int) -> pl.DataFrame:
    """Mixed columns that hang together: a latent severity drives all; 10 % of the pressures are missing."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=n)
    age = np.clip(50 + 12 * z + 6 * rng.normal(size=n), 18, 95)
    ward = np.where(z > 0.8, "intensive", np.where(z > -0.3, "surgery", "day clinic"))
    day = np.clip(200 + 80 * z + 40 * rng.normal(size=n), 0, 700)
    moved = rng.random(n) < 0.1
    pressure = 120 + 15 * z + 5 * rng.normal(size=n)
    return pl.DataFrame({
        "age": age.round(),
        "ward": np.where(moved, "surgery", ward),
        "pressure": pl.Series(pressure.round(1)).set(pl.Series(rng.random(n) < 0.1), None),
        "smoker": rng.random(n) < 1 / (1 + np.exp(-z)),
        "seen": [date(2020, 1, 1) + timedelta(days=int(d)) for d in day],
        "died": np.where(z + 0.7 * rng.normal(size=n) > 0.9, "yes", "no"),
    })  # fmt: skip


def loosened(frame: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Every column in an order of its own."""
    rng = np.random.default_rng(seed)
    return pl.DataFrame([frame[name].gather(rng.permutation(len(frame))) for name in frame.columns])
