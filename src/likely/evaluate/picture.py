"""The figures behind the pictures of the page: histograms, lost trends, distances. Nothing is drawn here.

A picture must not tell what the made rows were meant to hide: a level is named only if ten real rows have it, and
numbers are shown between the 1 % and 99 % quantile of the real rows, so that no single extreme value is an axis mark.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl

from likely.evaluate.card import Bars, Heat, Near, Tie
from likely.evaluate.columns import Column, Floats, Rows
from likely.evaluate.fidelity import Trends
from likely.evaluate.privacy import Distances

BARS = 20
LEVELS = 8
LEAST_COUNT = 10  # real rows behind a level that is named


def bars(real: Rows, made: Rows, j: int, score: float, ceiling: float) -> Bars:
    """One column, real beside made."""
    column, x, y = real.columns[j], real.x[:, j], made.x[:, j]
    labels, p, q = _levels(column, x, y) if column.discrete else _numbers(column, x, y)
    return Bars(column.name, column.kind, _or_none(score), _or_none(ceiling), _shares(p), _shares(q), labels)


def heat(names: list[str], made: Trends, ceiling: Trends) -> Heat | None:
    """What each pair's trend loses against fresh real rows; None for a table of one column."""
    if len(names) < 2:
        return None
    loss = np.clip(ceiling.score - made.score, 0, 1)
    grid = np.full((len(names), len(names)), np.nan)
    grid[made.pairs[:, 1], made.pairs[:, 0]] = loss
    return Heat(tuple(names), tuple(tuple(_or_none(value) for value in grid[i, :i]) for i in range(len(names))))


def ties(names: list[str], made: Trends, ceiling: Trends, most: int) -> tuple[Tie, ...]:
    """The pairs that lose most, by more than a hundredth."""
    loss = np.nan_to_num(ceiling.score - made.score, nan=-1.0)
    order = [k for k in np.argsort(-loss, kind="stable")[:most] if loss[k] > 0.01]
    return tuple(
        Tie(names[made.pairs[k, 0]], names[made.pairs[k, 1]], round(float(made.score[k]), 4),
            round(float(ceiling.score[k]), 4), _or_none(made.strength[k])) for k in order
    )  # fmt: skip


def distances(near: Distances) -> Near:
    """Two histograms on one axis that ends where 99.5 % of the rows lie."""
    top = float(np.quantile(np.concatenate([near.made, near.fresh]), 0.995)) or 1.0
    edges = np.linspace(0, top, 31)
    made, fresh = (np.histogram(np.minimum(one, top), edges)[0] / len(one) for one in (near.made, near.fresh))
    return Near(_shares(edges), _shares(made), _shares(fresh))


def _levels(column: Column, x: Floats, y: Floats) -> tuple[tuple[str, ...], Floats, Floats]:
    """The commonest levels, the others together, the missing ones."""
    size = len(column.levels)
    p, q = (np.bincount(one[~np.isnan(one)].astype(np.int64), minlength=size) for one in (x, y))
    shown = [int(k) for k in np.argsort(-p, kind="stable")[:LEVELS] if p[k] >= LEAST_COUNT]
    labels = [column.levels[k][:40] for k in shown]
    counts = [p[shown].astype(float), q[shown].astype(float)]
    parts = [
        ("other", p.sum() - p[shown].sum(), q.sum() - q[shown].sum()),
        ("missing", np.isnan(x).sum(), np.isnan(y).sum()),
    ]
    for label, a, b in parts:
        if a + b > 0:
            labels.append(label)
            counts = [np.append(counts[0], a), np.append(counts[1], b)]
    return tuple(labels), counts[0] / len(x), counts[1] / len(y)


def _numbers(column: Column, x: Floats, y: Floats) -> tuple[tuple[str, ...], Floats, Floats]:
    """Bars of equal width between the 1 % and 99 % quantile; a label is a bar's lower edge, the last the upper end."""
    there = x[~np.isnan(x)]
    if not len(there):
        return ("missing",), np.isnan(x).mean(keepdims=True), np.isnan(y).mean(keepdims=True)
    low, high = (float(v) for v in np.quantile(there, [0.01, 0.99]))
    if low == high:
        low, high = low - 0.5, high + 0.5
    whole = bool((there == np.round(there)).all()) and column.kind == "number"
    count = int(min(BARS, high - low + 1)) if whole else BARS
    edges = np.linspace(low - 0.5, high + 0.5, count + 1) if whole else np.linspace(low, high, count + 1)
    p, q = (np.histogram(np.clip(one[~np.isnan(one)], edges[0], edges[-1]), edges)[0] / len(one) for one in (x, y))
    labels = [_say(column, edge + 0.5 * whole) for edge in edges[:-1]] + [_say(column, edges[-1] - 0.5 * whole)]
    if np.isnan(x).any() or np.isnan(y).any():
        p, q = np.append(p, np.isnan(x).mean()), np.append(q, np.isnan(y).mean())
        labels.append("missing")
    return tuple(labels), p, q


def _say(column: Column, value: float) -> str:
    """A number or a moment as an axis mark."""
    dtype = column.dtype
    if isinstance(dtype, pl.Date):
        return str((datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=value)).date())
    if isinstance(dtype, pl.Datetime):
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=value)).strftime("%Y-%m-%d %H:%M")
    if isinstance(dtype, pl.Duration):
        return str(timedelta(microseconds=round(value)))
    if isinstance(dtype, pl.Time):
        return str(timedelta(seconds=round(value / 1e9)))
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _shares(values: Floats) -> tuple[float, ...]:
    return tuple(round(float(value), 5) for value in values)


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else round(float(value), 4)
