"""Alarms as a person counts them: neighbouring alarming windows of one machine are one episode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

QUIET = 2  # windows without an alarm that end an episode


@dataclass(frozen=True)
class Episode:
    """From the first to the last alarming window; sensor, moment, score and rate are those of the strangest of them."""

    entity: str
    first: int  # windows, as rows of the verdicts
    last: int
    start: str | float
    end: str | float
    at: str | float
    sensor: str
    stuck: str | None
    score: float
    false_alarms: float
    parts: tuple[str, ...]  # those that were alarmed most, first

    def __str__(self) -> str:
        what = f"{self.stuck} is stuck" if self.stuck else self.sensor
        return f"{self.start} to {self.end}: {what}, strangest at {self.at}" + (
            f" ({self.entity})" if self.entity else ""
        )


def episodes(verdicts: pl.DataFrame) -> list[Episode]:
    """The verdicts of `Monitor.score` on a series -> episodes in order of time, machine by machine."""
    rows = verdicts.to_dicts()
    groups: list[list[int]] = []
    for k, row in enumerate(rows):
        if not row["alarm"]:
            continue
        near = groups and k - groups[-1][-1] <= QUIET and rows[groups[-1][-1]].get("entity") == row.get("entity")
        if near:
            groups[-1].append(k)
        else:
            groups.append([k])
    return [_episode(rows, group) for group in groups]


def _episode(rows: list[dict[str, Any]], group: list[int]) -> Episode:
    peak = rows[max(group, key=lambda k: float(rows[k]["score"]))]
    stuck = next((rows[k].get("stuck") for k in group if rows[k].get("stuck")), None)
    parts = sorted((key for key in peak if key.startswith("part:")), key=lambda key: -peak[key])
    return Episode(
        entity=str(peak.get("entity") or ""),
        first=group[0],
        last=group[-1],
        start=rows[group[0]]["start"],
        end=rows[group[-1]]["end"],
        at=peak["at"],
        sensor=peak["sensor"],
        stuck=stuck if stuck == peak["sensor"] or len(group) == 1 else None,
        score=float(peak["score"]),
        false_alarms=float(peak["false_alarms"]),
        parts=tuple(key.removeprefix("part:") for key in parts[:2]),
    )
