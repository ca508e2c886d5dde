"""Rows with time stamps -> runs on an even grid of time, without gaps, one entity each.

The step is the median difference of neighbouring stamps. Where nearly all differences are whole numbers of steps each
row keeps its values and takes its place on the grid; else every channel is interpolated at even moments. Up to `gap`
missing steps are filled: numbers on the straight line between their neighbours, levels by the one before. A longer
gap ends the run: windows never cross it.

Shape letters: N rows, L moments of a run, C channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LOOSE = 0.25  # part of a step that a stamp may be off the grid
ODD = 0.02  # share of stamps that may be further off before the series is interpolated
SPARSE = 0.2  # share of missing values from which a channel may have gaps of its own usual length


@dataclass(frozen=True)
class Run:
    """L moments in a row: `values` (L, C), `rows` (L,) the input row at or before each moment, `start` tick."""

    entity: str
    start: float
    values: Floats
    rows: Ints


@dataclass
class Told:
    """What was done, counted."""

    filled: int = 0
    gaps: int = 0
    resampled: bool = False
    lost: int = 0


def step_of(ticks: Floats, first: NDArray[np.bool_]) -> float:
    """The median difference of stamps; `first` (N,) is true where a new entity begins. 0 where there is none."""
    steps = np.diff(ticks)[~first[1:]]
    return float(np.median(steps)) if len(steps) else 0.0


def even(ticks: Floats, first: NDArray[np.bool_], step: float) -> bool:
    """Whether nearly all differences are whole numbers of steps."""
    steps = np.diff(ticks)[~first[1:]] / step
    off = (np.abs(steps - np.rint(steps)) > LOOSE) | (np.rint(steps) < 1)
    return bool(off.mean() <= ODD) if len(steps) else True


def runs(
    ticks: Floats, values: Floats, rows: Ints, entity: NDArray[np.str_], level: NDArray[np.bool_], step: float, gap: int
) -> tuple[list[Run], Told]:
    """Rows sorted by entity and tick, no two alike -> runs. `level` (C,): channels whose values are codes."""
    first = np.append(True, entity[1:] != entity[:-1])
    regular = even(ticks, first, step)
    told = Told(resampled=not regular)
    steps = np.diff(ticks, prepend=ticks[:1])
    if regular:
        reach = (gap + 1.5) * step
    else:
        usual = float(np.quantile(steps[~first], 0.95)) if (~first).any() else step
        reach = (gap + 1) * max(step, usual)
    cut = first | (steps > reach)
    told.gaps = int((cut & ~first).sum())
    allowed = _allowed(values, gap)
    made: list[Run] = []
    edges = np.append(np.flatnonzero(cut), len(ticks))
    for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part = slice(a, b)
        place = _snapped if regular else _interpolated
        grid, own = place(ticks[part], values[part], rows[part], level, step)
        filled = _fill(grid, level, allowed)
        told.filled += filled if regular else 0
        bad = np.isnan(grid).any(1)
        told.lost += int(bad.sum())
        for c, d in _stretches(~bad):
            made.append(Run(str(entity[a]), float(ticks[a] + c * step), grid[c:d], own[c:d]))
    return made, told


def _snapped(ticks: Floats, values: Floats, rows: Ints, level: NDArray[np.bool_], step: float) -> tuple[Floats, Ints]:
    """Each row at its place on the grid; places without a row are NaN."""
    at = np.maximum(np.rint(np.diff(ticks, prepend=ticks[0]) / step), 1).astype(np.int64)
    at[0] = 0
    at = at.cumsum()
    grid = np.full((int(at[-1]) + 1, values.shape[1]), np.nan)
    grid[at] = values
    own = np.zeros(len(grid), np.int64)
    own[at] = np.arange(len(at))
    return grid, rows[np.maximum.accumulate(own)]


def _interpolated(
    ticks: Floats, values: Floats, rows: Ints, level: NDArray[np.bool_], step: float
) -> tuple[Floats, Ints]:
    """Every channel at even moments from the first stamp on."""
    count = int((ticks[-1] - ticks[0]) / step + 1e-9) + 1
    moments = ticks[0] + step * np.arange(count)
    before = np.clip(np.searchsorted(ticks, moments, "right") - 1, 0, len(ticks) - 1)
    grid = np.full((count, values.shape[1]), np.nan)
    for channel in range(values.shape[1]):
        known = np.flatnonzero(~np.isnan(values[:, channel]))
        if not len(known):
            continue
        own = np.searchsorted(ticks[known], moments, "right") - 1
        inside = (own >= 0) & (moments <= ticks[known[-1]])
        if level[channel]:
            grid[inside, channel] = values[known, channel][own[inside]]
        else:
            grid[inside, channel] = np.interp(moments[inside], ticks[known], values[known, channel])
    return grid, rows[before]


def _allowed(values: Floats, gap: int) -> list[int]:
    """How many missing values in a row are filled, channel by channel: a slow sensor has longer gaps by nature."""
    made = []
    holes = np.isnan(values)
    for channel in range(values.shape[1]):
        hole = holes[:, channel]
        lengths = [b - a for a, b in _stretches(hole)] if np.mean(hole) > SPARSE else []
        made.append(max(gap, int(np.quantile(lengths, 0.95))) if lengths else gap)
    return made


def _fill(grid: Floats, level: NDArray[np.bool_], allowed: list[int]) -> int:
    """Fill short holes in place; how many values."""
    count = 0
    for channel in range(grid.shape[1]):
        values = grid[:, channel]
        for a, b in _stretches(np.isnan(values)):
            if a == 0 or b == len(values) or b - a > allowed[channel]:
                continue
            if level[channel]:
                values[a:b] = values[a - 1]
            else:
                values[a:b] = np.interp(np.arange(a, b), [a - 1, b], [values[a - 1], values[b]])
            count += b - a
    return count


def _stretches(flags: Any) -> Iterator[tuple[int, int]]:
    """[a, b) of each stretch of true in (L,) truth values."""
    edge = np.diff(np.concatenate([[0], flags.astype(np.int8), [0]]))
    return zip(np.flatnonzero(edge == 1).tolist(), np.flatnonzero(edge == -1).tolist(), strict=True)


def starts(moments: int, length: int, stride: int, tail: bool) -> list[int]:
    """Where the windows of a run begin; with `tail` also the last one possible."""
    made = list(range(0, moments - length + 1, stride))
    if tail and made and made[-1] != moments - length:
        made.append(moments - length)
    return made
