"""A simulated pump that wears: the data of `likely demo monitor`. SIMULATED, by the equations below, and said so
wherever shown.

A centrifugal pump at speed w (share of nominal) fills a tank whose demand q follows the working day. Each minute:

    flow         Q = q * (1 - leak)                                  m3/h; q from .7 to 1.0 of 40 by day and week
    pressure     H = w^2 * 6.2 - 1.4 (Q / 40)^2 - 2.5 leak - clog     bar: the pump curve
    current      I = 8 + 9 H Q / (6.2 * 40) / (1 - .25 wear)          A: power over efficiency
    vibration    V = .8 + .5 (Q / 40 - .85)^2 + 2.2 wear + .9 imbalance    mm/s
    bearing      dT = (Ta + 22 + 10 (I - 12) / 12 + 26 wear - T) / 45     degrees C: first-order lag of 45 minutes
    ambient      Ta = 20 + 4 sin(day) + slow random walk

all with sensor noise. Faults: `wear` of a bearing grows exponentially over its last days; `leak`, `clog` and
`imbalance` come at once and go; a `stuck` sensor repeats one value.

Two things are made: a year-like recording with faults and labels (sensors), and run-to-failure histories (runs), each
sampled every two hours, of pumps whose lives differ.

Letters: N minutes or samples.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray

SENSORS = ("bearing_temperature", "vibration", "pressure", "flow", "current")
START = datetime(2026, 3, 2)
NOISE = {"bearing_temperature": 0.25, "vibration": 0.05, "pressure": 0.04, "flow": 0.35, "current": 0.12}
LAG = 45.0  # minutes

Faults = dict[str, NDArray[np.float64]]


def operate(minutes: NDArray[np.float64], faults: Faults, rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Moments (N,), in minutes since a Monday 00:00, and faults (N,) in [0, 1] -> sensor readings (N,)."""
    N = len(minutes)
    none = np.zeros(N)
    wear, leak, clog, imbalance = (faults.get(name, none) for name in ("wear", "leak", "clog", "imbalance"))
    day, week = minutes / 1440 % 1, minutes / 10080 % 1
    demand = 0.7 + 0.3 * np.exp(-(((day - 0.55) / 0.2) ** 2)) - 0.08 * (week > 5 / 7) + 0.02 * _walk(N, 30, rng)
    speed = 0.92 + 0.08 * demand
    flow = 40 * demand * (1 - leak)
    pressure = speed**2 * 6.2 - 1.4 * (flow / 40) ** 2 - 2.5 * leak - clog
    current = 8 + 9 * pressure * flow / (6.2 * 40) / (1 - 0.25 * wear)
    vibration = 0.8 + 0.5 * (flow / 40 - 0.85) ** 2 + 2.2 * wear + 0.9 * imbalance
    ambient = 20 + 4 * np.sin(2 * np.pi * (day - 0.4)) + 1.5 * _walk(N, 1440, rng)
    target = ambient + 22 + 10 * (current - 12) / 12 + 26 * wear
    step = float(np.median(np.diff(minutes))) if N > 1 else 1.0
    pull = 1 - np.exp(-step / LAG)
    bearing = np.empty(N)
    bearing[0] = target[0]
    for i in range(1, N):
        bearing[i] = bearing[i - 1] + pull * (target[i] - bearing[i - 1])
    clean = dict(zip(SENSORS, (bearing, vibration, pressure, flow, current), strict=True))
    return {name: value + NOISE[name] * rng.normal(size=N) for name, value in clean.items()}


def sensors(days: int = 28, seed: int = 0) -> pl.DataFrame:
    """A recording with a reading every two minutes: time, five sensors, and `fault`, what is truly wrong ("" =
    nothing).

    The first half is mostly normal with a short leak that nobody noted; the second half holds a clogged inlet, a stuck
    pressure sensor, an imbalance, and a bearing that wears out over the last days.
    """
    rng = np.random.default_rng(seed)
    minutes = np.arange(0, days * 1440, 2, dtype=float)
    N, t = len(minutes), minutes / (days * 1440)
    faults: Faults = {name: np.zeros(N) for name in ("wear", "leak", "clog", "imbalance")}
    label = np.full(N, "", dtype=object)
    hour = 1 / (24 * days)
    for name, begin, hours, size in (
        ("leak", 0.23, 3, 0.15), ("clog", 0.58, 6, 0.5), ("imbalance", 0.78, 5, 0.5)
    ):  # fmt: skip
        inside = (t >= begin) & (t < begin + hours * hour)
        faults[name][inside] = size
        label[inside] = name
    left = (1 - t) * days  # days to failure
    faults["wear"] = np.where(left < 3.5, np.exp(-left / 1.1), 0.0)
    label[(left < 3.5) & (faults["wear"] > 0.05)] = "wear"
    found = operate(minutes, faults, rng)
    stuck = (t >= 0.68) & (t < 0.68 + 4 * hour)
    found["pressure"][stuck] = found["pressure"][np.flatnonzero(stuck)[0]]
    label[stuck] = "stuck"
    time = [START + timedelta(minutes=float(m)) for m in minutes]
    return pl.DataFrame({"time": time, **{k: np.round(v, 3) for k, v in found.items()}, "fault": label.astype(str)})


def runs(pumps: int = 30, seed: int = 1) -> pl.DataFrame:
    """Run-to-failure histories: pump, hour (a sample every two hours until the bearing fails), five sensors."""
    rng = np.random.default_rng(seed)
    parts = []
    for pump in range(1, pumps + 1):
        life = float(np.clip(rng.normal(360, 90), 180, 640))  # hours
        hours = np.arange(0, life, 2.0)
        scale = rng.uniform(0.09, 0.16) * life  # how gradual the wear is
        wear = np.clip(np.exp(-(life - hours) / scale), 0, 1)
        begin = float(rng.uniform(0, 10080))
        found = operate(begin + 60 * hours, {"wear": wear}, rng)
        found["vibration"] += rng.normal(0, 0.06)  # every pump is mounted a little differently
        found["bearing_temperature"] += rng.normal(0, 0.8)
        values = {k: np.round(v, 3) for k, v in found.items()}
        parts.append(pl.DataFrame({"pump": [f"P{pump:02d}"] * len(hours), "hour": hours.astype(int), **values}))
    return pl.concat(parts)


def _walk(count: int, memory: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """A slowly wandering value of unit spread (N,)."""
    keep = 1 - 1 / memory
    noise = rng.normal(size=count) * np.sqrt(1 - keep**2)
    out = np.empty(count)
    value = float(rng.normal())
    for i in range(count):
        value = keep * value + noise[i]
        out[i] = value
    return out
