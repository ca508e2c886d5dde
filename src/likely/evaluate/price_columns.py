"""Which columns of a table an alignment moved: the means of numbers, the shares of levels, before and after.

A column has one figure, of what changed most in it, and only where that is more than `SURE` standard errors. Columns
stand in the order of the change in standard deviations. Texts of which nearly every one differs have no figure.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import polars as pl

from likely.evaluate.columns import TEXT_LEVELS, Floats
from likely.evaluate.price import LARGE, Figure

GROUP = "What moved"
MOST = 6  # columns
SURE = 3.0  # standard errors
LONGEST = 40  # characters of a name or a level


class Move(NamedTuple):
    """What became of one thing; `size` is the change in standard deviations."""

    title: str
    before: float
    after: float
    noise: float
    size: float
    sentence: str


def moved(before: pl.DataFrame, after: pl.DataFrame) -> list[Figure]:
    """The columns that moved most, the first one most. Both frames have the same columns."""
    found: list[tuple[str, Move]] = []
    for name in before.columns:
        if name not in after.columns or not before.height or not after.height:
            continue
        moves = [one for one in _moves(before[name], after[name]) if _sure(one)]
        if moves:
            found.append((name, max(moves, key=lambda one: one.size)))
    found.sort(key=lambda pair: -pair[1].size)
    return [Figure(f"moved {name}", one.title, GROUP, one.before, one.after, 0, one.noise, one.sentence)
            for name, one in found[:MOST]]  # fmt: skip


def _sure(one: Move) -> bool:
    change = abs(one.after - one.before)
    return change > max(SURE * one.noise, 1e-9) and max(abs(one.before), abs(one.after)) < LARGE


def _moves(was: pl.Series, now: pl.Series) -> list[Move]:
    """What may have changed in a column."""
    name, dtype = _short(was.name), was.dtype
    made = [_share(f"{name} is missing", was.is_null(), now.is_null())]
    if dtype == pl.Boolean or isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
        made += _level(name, was.cast(pl.String), now.cast(pl.String))
    elif dtype.is_numeric():
        made += _mean(name, _floats(was), _floats(now))
    elif dtype.is_temporal() and was.dtype == now.dtype and was.null_count() < len(was):
        known = was.drop_nulls().sort()
        middle = known[len(known) // 2]
        made.append(_share(f"{name} after {middle}", was.drop_nulls() > middle, now.drop_nulls() > middle))
    return made


def _mean(name: str, was: Floats, now: Floats) -> list[Move]:
    if not len(was) or not len(now):
        return []
    noise = math.sqrt(was.var() / len(was) + now.var() / len(now))
    change, spread = float(now.mean() - was.mean()), float(was.std() or np.concatenate([was, now]).std())
    size = change / spread if spread else 0.0
    side = "up" if change > 0 else "down"
    return [Move(f"{name}, mean", float(was.mean()), float(now.mean()), noise, abs(size),
                 f"{side.capitalize()} by {abs(size):.2f} standard deviations of the start.")]  # fmt: skip


def _level(name: str, was: pl.Series, now: pl.Series) -> list[Move]:
    """The level whose share changed most."""
    counts = [dict(side.drop_nulls().alias("v").value_counts().iter_rows()) for side in (was, now)]
    levels = sorted({*counts[0], *counts[1]})
    if not levels or len(counts[0]) > max(TEXT_LEVELS, len(was) / 2):
        return []
    most = max(levels, key=lambda one: abs(counts[1].get(one, 0) / len(now) - counts[0].get(one, 0) / len(was)))
    sides = ((side == most).fill_null(value=False) for side in (was, now))
    return [_share(f"{name} = {_short(most)}", *sides)]


def _share(title: str, was: pl.Series, now: pl.Series) -> Move:
    shares = [float(side.sum()) / max(1, len(side)) for side in (was, now)]
    noise = math.sqrt(sum(p * (1 - p) / max(1, len(side)) for p, side in zip(shares, (was, now), strict=True)))
    middle = sum(shares) / 2  # a level that the start never made has no deviation of its own
    size = abs(shares[1] - shares[0]) / math.sqrt(middle * (1 - middle)) if 0 < middle < 1 else 0.0
    return Move(title, shares[0], shares[1], noise, size, "The share of rows.")


def _floats(values: pl.Series) -> Floats:
    x = values.drop_nulls().cast(pl.Float64).to_numpy()
    return np.asarray(x[np.isfinite(x)], np.float64)


def _short(text: str) -> str:
    shown = "".join(c if c.isprintable() else " " for c in text)
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"
