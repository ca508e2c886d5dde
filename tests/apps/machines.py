"""Small machines for the tests of the monitor: three sensors that depend on each other, at a reading a minute."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl

START = datetime(2026, 1, 5)
SENSORS = ("load", "heat", "hum")


def machine(count: int, seed: int, start: int = 0) -> pl.DataFrame:
    """Normal readings: heat follows load, hum is noise about its square."""
    rng = np.random.default_rng(seed)
    t = np.arange(start, start + count)
    load = np.sin(2 * np.pi * t / 24) + 0.1 * rng.normal(size=count)
    heat = 20 + 5 * load + 0.3 * rng.normal(size=count)
    hum = load**2 + 0.1 * rng.normal(size=count)
    time = [START + timedelta(minutes=int(k)) for k in t]
    return pl.DataFrame({"time": time, "load": load, "heat": heat, "hum": hum})


def broken(frame: pl.DataFrame, column: str, at: int, length: int, by: float) -> pl.DataFrame:
    """The same with a column shifted for a while."""
    row = pl.int_range(pl.len())
    inside = (row >= at) & (row < at + length)
    return frame.with_columns(pl.when(inside).then(pl.col(column) + by).otherwise(pl.col(column)).alias(column))


def rows(count: int, seed: int, share: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A table (count, 5) on a tilted plane; the first `share` of the rows lie off it. And which ones do."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=(count, 2))
    x = hidden @ np.array([[1.0, 2.0, -1.0, 0.5, 0.0], [0.0, 1.0, 1.0, -1.0, 2.0]]) + 0.2 * rng.normal(size=(count, 5))
    odd = np.arange(count) < round(share * count)
    x[odd] += rng.choice([-2.5, 2.5], size=(int(odd.sum()), 5))
    return x, odd
