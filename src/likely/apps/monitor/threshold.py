"""A threshold that means something: how many false alarms a day it costs.

Held-out normal data are scored by detectors that did not learn from them. With n(s) the nats of a score (`tail.py`),
looks the number of windows a day and h the number of separate alarms per alarming window, a score s is reached by
chance

    alarms(s) = looks * h * exp(-n(s))      times a day

Neighbouring windows share readings and alarm together: h = runs / exceedances at a high quantile of the held-out
scores is the runs estimate of the extremal index (Smith and Weissman 1994; Leadbetter 1983, doi:10.1007/BF00532484).
Beyond the held-out scores the tail is taken for exponential, so a rate far below one in the held-out time is an
extrapolation.

Held-out data may hold anomalies too: see `upper`. Rows of a table, and readings whose stamps are not dates, have no
days: the rate is then per 1,000 rows, or 1,000 windows.

Letters: N held-out scores, B scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likely.apps.monitor.tail import Tail

DAY = 86_400.0
HIGH = 0.95  # quantile above which runs are counted
MIDDLE = 0.5
LEVELS = (0.99, 0.975, 0.95, 0.9, 0.85, 0.8)
SLACK, WIDTH = 1.15, 6


@dataclass
class Threshold:
    """Scores <-> false alarms. `looks` windows (or rows) come in one `unit`; at most `budget` false alarms are
    wanted."""

    looks: float
    unit: str
    budget: float
    cluster: float = 1.0
    tail: Tail = None  # type: ignore[assignment]

    @classmethod
    def learn(cls, runs: list[NDArray[np.float64]], looks: float, unit: str, budget: float, trim: float) -> Self:
        """From held-out scores, one array for each unbroken stretch. `trim`: the share that may not be normal."""
        scores = np.concatenate(runs)
        edge = float(np.quantile(scores, HIGH))
        above = sum(int((run > edge).sum()) for run in runs)
        begun = sum(int(((run[1:] > edge) & (run[:-1] <= edge)).sum()) + int(run[0] > edge) for run in runs if len(run))
        cluster = begun / above if above and unit != "1,000 rows" else 1.0
        return cls(looks, unit, budget, cluster, upper(scores, trim))

    def rate(self, scores: Tensor | NDArray[np.float64]) -> NDArray[np.float64]:
        """Scores (B,) -> false alarms in a unit if the alarm rang at each of them."""
        nats = self.tail(torch.as_tensor(scores, dtype=torch.float64))
        rate: NDArray[np.float64] = self.looks * self.cluster * np.exp(-nats.numpy())
        return rate

    def state(self) -> dict[str, float | str]:
        """As JSON; the tail's arrays go with the tensors."""
        return {
            "looks": self.looks, "unit": self.unit, "budget": self.budget, "cluster": self.cluster,
            "low": self.tail.low, "high": self.tail.high,
        }  # fmt: skip

    @classmethod
    def load(cls, state: dict[str, float | str], tensors: dict[str, Tensor]) -> Self:
        """Take back `state` and the arrays. Raises KeyError where one is missing."""
        tail = Tail(float(state["low"]), float(state["high"]))
        tail.arrays = {key: tensors[f"threshold.{key}"] for key in ("knots", "ruler")}
        return cls(float(state["looks"]), str(state["unit"]), float(state["budget"]), float(state["cluster"]), tail)


def upper(scores: NDArray[np.float64], trim: float) -> Tail:
    """The tail of held-out scores (N,), of which the strangest `trim` share may not be normal.

    What lies below that share tells how far the rest would reach. As far up as the scores reach no further than that,
    they are taken for normal after all, and the tail is ruled there: closer to where the threshold lies.
    """
    base = Tail(MIDDLE, 1 - trim).fit(scores)
    a, b = base.arrays["ruler"].tolist()
    for high in LEVELS:
        reach = b * np.log((1 - MIDDLE) / (1 - high))
        if high > 1 - trim and np.quantile(scores, high) - a <= SLACK * reach:
            return Tail(max(MIDDLE, 1 - WIDTH * (1 - high)), high).fit(scores)
    return base
