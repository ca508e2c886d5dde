"""How early does the alarm ring, and how often for nothing? The question a maintenance planner asks first.

A history ends in failure. An alarm is the first of PERSIST readings in a row that ask for one. It is

    in time    where at most `fair` times the horizon, and more than nothing, is left
    false      where more than that is left
    missed     where it never rings

The lead time is what is left when it rings in time. False alarms are counted as separate rings in the part of a history
that is further than fair * horizon from its end, per 1,000 readings there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

PERSIST = 3
FAIR = 2.0


class Lead(NamedTuple):
    """What an alarm at one horizon gives. Times in the histories' own unit; NaN where no alarm rang in time."""

    horizon: float
    caught: float  # share of the histories with an alarm in time and none before it
    median: float  # lead time
    shortest: float  # its 10 % quantile
    false: float  # false alarms per 1,000 healthy readings
    missed: float  # share of the histories without any alarm

    def told(self, unit: str = "") -> str:
        """In words; `unit` of the times."""
        at = f"alarm at {self.horizon:g} {unit}".rstrip()
        false = f"{self.false:.2g} false alarms per 1,000 healthy readings"
        if not math.isfinite(self.median):
            return f"{at}: none rang in time; {false}"
        early = max(0.0, 1 - self.caught - self.missed)
        return (
            f"{at}: {self.caught:.0%} of the machines warned in time ({self.median:.0f} ahead, nine of ten at least "
            f"{self.shortest:.0f}), {early:.0%} too early or too late, {self.missed:.0%} never; {false}"
        )


def lead_time(asks: Sequence[NDArray[np.bool_]], left: Sequence[NDArray[np.float64]], horizon: float) -> Lead:
    """Histories of alarm requests (N,) and of what was left in truth (N,) -> how early, how often for nothing."""
    leads, false, healthy, missed, caught = [], 0, 0, 0, 0
    for ask, remains in zip(asks, left, strict=True):
        rings = np.flatnonzero(_begins(ask))
        far = remains > FAIR * horizon
        healthy += int(far.sum())
        early = int(far[rings].sum())
        false += early
        timely = rings[~far[rings]]
        # An alarm that rang too early and never stopped was no warning of this failure.
        if len(timely) and remains[timely[0]] > 0:
            leads.append(float(remains[timely[0]]))
            caught += early == 0
        missed += len(rings) == 0
    lead = np.array(leads) if leads else np.array([np.nan])
    return Lead(
        horizon, caught / len(asks), float(np.median(lead)), float(np.quantile(lead, 0.1)),
        1000 * false / max(1, healthy), missed / len(asks),
    )  # fmt: skip


def _begins(ask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where a run of PERSIST requests is complete and the alarm was silent before."""
    run = np.ones(len(ask), bool)
    for k in range(PERSIST):
        run &= np.concatenate([np.zeros(k, bool), ask[: len(ask) - k]])[: len(ask)]
    begins: NDArray[np.bool_] = run & ~np.concatenate([[False], run[:-1]])
    return begins
