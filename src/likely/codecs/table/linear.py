"""Inequalities and sums between columns, kept by construction.

Every code stands for an interval [lo, hi] of values. Two steps keep a <= b and t = a + b + ..:

* over codes (`Linear.allow`): a code is forbidden where no value inside its interval can meet the rule, given the
  intervals of the codes decided so far. Inequalities are closed under a <= b <= c first, so that pairs suffice;
* inside codes (`Linear.draw`): the intervals of one row are tightened against each other (bounds propagation), one
  column is drawn inside what is left, its interval shrinks to that value, and so on. A total comes last: by then
  only the sum of its parts is left.

Propagation is complete for chains of inequalities and for single sums, but for two things: codes whose values miss
each other on coarse grids, and wishes narrower than a code. Such rows are solved again with the rules and the wishes
alone, each value as near to its code as they leave it. What loops of rules still break, `Table.rejects` finds.

Shape letters: B rows, K codes of a cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likely.codecs.table.bins import Values
from likely.codecs.table.column import Codes, Column, Wish
from likely.codecs.table.constraint import Inequality, Sum
from likely.codecs.table.moment import Stamp
from likely.codecs.table.ordered import Ordered

Floats = NDArray[np.float64]
Bounds = dict[str, tuple[Floats, Floats]]


def intervals(column: Ordered) -> tuple[Floats, Floats]:
    """Lowest and highest value (K,) of each code of the first cell; a missing code is unbounded."""
    lo, hi = (edge.astype(np.float64) for edge in column.bins.edges())
    if isinstance(column, Stamp):
        lo, hi = lo * column.per, (hi + 1) * column.per - 1
    slope, start = column.scale()
    lo, hi = lo * slope + start, hi * slope + start
    if column.missing:
        lo, hi = np.append(-np.inf, lo), np.append(np.inf, hi)
    return lo, hi


class Linear:
    """The inequalities and sums of a table over its ordered columns. `cells`: the first cell of each column."""

    def __init__(
        self, columns: Mapping[str, Column], cells: Mapping[str, int], rules: Sequence[Inequality | Sum]
    ) -> None:
        self.columns = {
            name: column for name, column in columns.items() if isinstance(column, Ordered) and _named(name, rules)
        }
        self.cell = {name: cells[name] for name in self.columns}
        self.name = {cell: name for name, cell in self.cell.items()}
        self.spans = {name: intervals(column) for name, column in self.columns.items()}
        self.rules = [rule for rule in rules if all(name in self.columns for name in rule.columns)]
        self.sums = [rule for rule in self.rules if isinstance(rule, Sum)]
        self.gaps = self._close([rule for rule in self.rules if isinstance(rule, Inequality)])
        totals = [rule.total for rule in self.sums]
        named = dict.fromkeys(name for rule in self.rules for name in rule.columns)
        self.order = sorted(named, key=lambda name: name in totals)

    def _close(self, rules: list[Inequality]) -> dict[tuple[str, str], float]:
        """(a, b) -> gap for every a + gap <= b that follows."""
        gaps: dict[tuple[str, str], float] = {}
        for rule in rules:
            slopes = [self.columns[name].scale()[0] for name in rule.columns if self.columns[name].bins.grid]
            gap = min(slopes) if rule.strict and slopes else 0.0
            gaps[rule.left, rule.right] = max(gap, gaps.get((rule.left, rule.right), 0.0))
        for middle in self.columns:
            for left in self.columns:
                for right in self.columns:
                    if (left, middle) in gaps and (middle, right) in gaps and left != right:
                        gap = gaps[left, middle] + gaps[middle, right]
                        gaps[left, right] = max(gap, gaps.get((left, right), 0.0))
        return gaps

    # -------------------------------------------------------------------------------------------- over codes

    def involves(self, j: int) -> list[int]:
        """The cells whose codes `allow(j, ..)` reads."""
        name = self.name.get(j)
        near = {other for pair in self.gaps for other in pair if name in pair}
        near |= {other for rule in self.sums if name in rule.columns for other in rule.columns}
        return sorted(self.cell[other] for other in near if other != name)

    def allow(self, j: int, x: Tensor, done: Tensor) -> Tensor | None:
        """(B, K) 0 or 1 for cell j, or None where no rule names it."""
        name = self.name.get(j)
        if name is None or not self.involves(j):
            return None
        lo, hi = self.spans[name]
        ok = np.ones((len(x), len(lo)), bool)
        for (left, right), gap in self.gaps.items():
            if name == left:
                ok &= lo[None] + gap <= self._decided(right, x, done)[1][:, None] + _slack(lo)
            elif name == right:
                ok &= hi[None] >= self._decided(left, x, done)[0][:, None] + gap - _slack(hi)
        for rule in self.sums:
            if name in rule.columns:
                ok &= self._sum(rule, name, x, done)
        return torch.from_numpy(ok.astype(np.float32)).to(x.device)

    def _sum(self, rule: Sum, name: str, x: Tensor, done: Tensor) -> NDArray[np.bool_]:
        lo, hi = self.spans[name]
        bounds = {other: self._decided(other, x, done) for other in rule.columns if other != name}
        free = np.zeros(len(x), bool)  # a missing member frees the others
        for a, b in bounds.values():
            free |= np.isneginf(a) & np.isposinf(b)
        parts = [bounds[part] for part in rule.parts if part != name]
        with np.errstate(invalid="ignore"):
            low = np.sum([a for a, _ in parts], 0) if parts else np.zeros(len(x))
            high = np.sum([b for _, b in parts], 0) if parts else np.zeros(len(x))
        if name == rule.total:
            ok = (lo[None] <= high[:, None] + _slack(lo)) & (hi[None] >= low[:, None] - _slack(hi))
        else:
            a, b = bounds[rule.total]
            slack = _slack(lo)
            ok = (lo[None] + low[:, None] <= b[:, None] + slack) & (hi[None] + high[:, None] >= a[:, None] - slack)
        return ok | free[:, None]

    def _decided(self, name: str, x: Tensor, done: Tensor) -> tuple[Floats, Floats]:
        """The interval (B,), (B,) of a column: of its code where decided, else of all that is known."""
        lo, hi = self.spans[name]
        skip = int(self.columns[name].missing)
        codes, sure = x[:, self.cell[name]].cpu().numpy(), done[:, self.cell[name]].cpu().numpy()
        return np.where(sure, lo[codes], lo[skip:].min()), np.where(sure, hi[codes], hi[skip:].max())

    # ----------------------------------------------------------------------------------------- inside codes

    def draw(
        self,
        codes: Codes,
        rng: np.random.Generator,
        wishes: Mapping[str, Wish],
        kept: Mapping[str, Floats],
    ) -> dict[str, Values]:
        """Ticks (B,) of the columns that rules name, from codes (B, D). `kept` (B,): decided values, else NaN."""
        spans: Bounds = {}
        firm: Bounds = {}
        for name in self.order:
            column, own = self.columns[name], codes[:, self.cell[name]]
            low, high = np.full(len(codes), -np.inf), np.full(len(codes), np.inf)
            wish, value = wishes.get(name), kept.get(name)
            if wish is not None and wish.intervals:
                slope, start = column.scale()
                inner = np.where(own < column.missing, column.usual()[0], own - column.missing)
                low, high = (end * slope + start for end in column.bounds(inner, rng, wish))
            if value is not None:
                low, high = np.where(np.isnan(value), low, value), np.where(np.isnan(value), high, value)
            firm[name] = (low, high)
            spans[name] = _meet((self.spans[name][0][own], self.spans[name][1][own]), firm[name])
        made, broken = self._solve(codes, rng, spans, firm)
        if broken.any():
            # Codes that leave nothing (coarse grids, narrow wishes): there any known value will do, near the code.
            rows = np.flatnonzero(broken)
            for name in self.order:
                lo, hi = (edge[int(self.columns[name].missing) :] for edge in self.spans[name])
                free = np.isneginf(spans[name][0]) & np.isposinf(spans[name][1])
                wide = np.where(free, -np.inf, lo.min())[rows], np.where(free, np.inf, hi.max())[rows]
                firm[name] = (firm[name][0][rows], firm[name][1][rows])
                spans[name] = _meet(wide, firm[name])
            again, _ = self._solve(codes[rows], rng, spans, firm)
            for name, ticks in again.items():
                made[name][rows] = ticks
        return made

    def _solve(
        self, codes: Codes, rng: np.random.Generator, spans: Bounds, firm: Bounds
    ) -> tuple[dict[str, Values], NDArray[np.bool_]]:
        """One column after the other inside what the rules leave of `spans`; and (B,) true where nothing was left."""
        bounds = dict(spans)
        made: dict[str, Values] = {}
        values: dict[str, Floats] = {}
        broken = np.zeros(len(codes), bool)
        for name in self.order:
            null = np.isneginf(spans[name][0]) & np.isposinf(spans[name][1])
            self._tighten(bounds)
            lo, hi = bounds[name]
            for rule in self.sums:
                if rule.total == name:
                    lo, hi = _summed([values[part] for part in rule.parts], lo, hi)
            lo, hi = np.where(null, -np.inf, lo), np.where(null, np.inf, hi)
            empty = lo > hi + _slack(hi)
            lo, hi = np.where(empty, spans[name][0], lo), np.where(empty, spans[name][1], hi)
            made[name], value = self._place(name, codes, rng, *_meet((lo, hi), firm[name]))
            slack = _slack(value)
            broken |= (empty | (value < lo - slack) | (value > hi + slack)) & ~null
            values[name] = np.where(null, np.nan, value)
            bounds[name] = (np.where(null, -np.inf, value), np.where(null, np.inf, value))
        return made, broken

    def _place(
        self, name: str, codes: Codes, rng: np.random.Generator, lo: Floats, hi: Floats
    ) -> tuple[Values, Floats]:
        """Ticks (B,) of one column inside [lo, hi], and their values."""
        column = self.columns[name]
        slope, start = column.scale()
        low, high = (lo - start) / slope, (hi - start) / slope
        if column.bins.grid:
            point = (hi - lo) <= _slack(hi)  # a sum of decimals is a tick but for rounding
            low, high = (np.where(point, np.rint(end), np.round(end, 6)) for end in (low, high))
        a, b = column.inside(low, high)
        own = codes[:, self.cell[name] : self.cell[name] + len(column.sizes)] - column.missing
        own = np.where(own < 0, np.array(column.usual()), own)
        ticks = column.between(own, rng, np.minimum(a, b), np.maximum(a, b))
        return ticks, ticks * slope + start

    def _tighten(self, bounds: Bounds) -> None:
        """Shrink the intervals against each other, in place."""
        for _ in range(len(self.rules) + 1):
            for (left, right), gap in self.gaps.items():
                (a, b), (c, d) = bounds[left], bounds[right]
                bounds[left], bounds[right] = (a, np.minimum(b, d - gap)), (np.maximum(c, a + gap), d)
            for rule in self.sums:
                self._tighten_sum(rule, bounds)

    def _tighten_sum(self, rule: Sum, bounds: Bounds) -> None:
        lows, highs = (np.stack([bounds[part][side] for part in rule.parts]) for side in (0, 1))
        a, b = bounds[rule.total]
        free = (np.isneginf(lows) & np.isposinf(highs)).any(0) | (np.isneginf(a) & np.isposinf(b))
        with np.errstate(invalid="ignore"):
            low, high = lows.sum(0), highs.sum(0)
            bounds[rule.total] = (np.where(free, a, np.maximum(a, low)), np.where(free, b, np.minimum(b, high)))
            for part, lo, hi in zip(rule.parts, lows, highs, strict=True):
                least, most = a - (high - hi), b - (low - lo)
                bounds[part] = (np.where(free, lo, np.maximum(lo, least)), np.where(free, hi, np.minimum(hi, most)))


def _slack(values: Floats) -> Floats:
    """What rounding of doubles may add."""
    return 1e-9 * np.maximum(np.where(np.isfinite(values), np.abs(values), 0.0), 1.0)


def _named(name: str, rules: Sequence[Inequality | Sum]) -> bool:
    return any(name in rule.columns for rule in rules)


def _summed(parts: list[Floats], lo: Floats, hi: Floats) -> tuple[Floats, Floats]:
    """The sum of the parts as the only value left, where neither they nor the total are missing."""
    total = np.sum(parts, 0)
    sure = np.isfinite(total) & np.isfinite(lo) & np.isfinite(hi)
    return np.where(sure, total, lo), np.where(sure, total, hi)


def _meet(inner: tuple[Floats, Floats], firm: tuple[Floats, Floats]) -> tuple[Floats, Floats]:
    """The interval `inner` inside `firm`; where they do not meet, the end of `firm` that is nearest."""
    return np.clip(inner[0], *firm), np.clip(inner[1], *firm)
