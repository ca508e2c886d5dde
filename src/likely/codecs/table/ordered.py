"""Columns whose values lie on an axis: numbers, dates, durations. One cell, a `Bins` over ticks.

A subclass says how a value becomes a tick (an integer on its grid, or a float) and back; drawing, ranges, sets and
outliers are the same for all of them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from likely.codecs.table.bins import Bins, Values
from likely.codecs.table.column import Codes, Column, Floats, Wish
from likely.errors import ConditionError


class Ordered(Column):
    """Values <-> ticks <-> one ordered cell."""

    bins: Bins

    @abstractmethod
    def ticks(self, values: pl.Series) -> Values:
        """Present values (B,) -> ticks (B,), int64 on a grid or float64."""

    @abstractmethod
    def series(self, ticks: Values) -> pl.Series:
        """Ticks (B,) -> values of `dtype`."""

    @abstractmethod
    def tick(self, value: Any) -> float:
        """The tick of a raw value or a typed text, fractional off the grid. Raises ValueError or TypeError."""

    @abstractmethod
    def scale(self) -> tuple[float, float]:
        """(slope, start): value = start + slope * tick, in units that columns of one sort share."""

    @abstractmethod
    def wanted(self) -> str:
        """What a value should look like, for messages."""

    @abstractmethod
    def show(self, tick: float) -> str:
        """A tick as people write it."""

    def unit(self) -> float:
        """The step of a real axis for `volume`."""
        return 1.0

    # ------------------------------------------------------------------------------------------------- axes

    def axes(self) -> tuple[Bins, ...]:
        """The axis of each cell."""
        return (self.bins,)

    def apart(self, values: pl.Series) -> tuple[Values, ...]:
        """Present values (B,) -> the ticks (B,) on each axis."""
        return (self.ticks(values),)

    def together(self, ticks: Sequence[Values]) -> pl.Series:
        """The inverse of `apart`."""
        return self.series(ticks[0])

    # ------------------------------------------------------------------------------------------------ cells

    def _shape(self) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        return (self.bins.size,), (True,)

    def usual(self) -> tuple[int, ...]:
        return (self.bins.usual,)

    def _encode(self, values: pl.Series) -> Codes:
        return self.bins.encode(self.ticks(values))[:, None]

    def _decode(self, codes: Codes, rng: np.random.Generator, wish: Wish | None) -> pl.Series:
        if wish is not None and wish.exact is not None:
            return pl.Series([wish.exact]).cast(self.dtype).new_from_index(0, len(codes))
        if wish is None or not wish.intervals:
            return self.series(self.bins.draw(codes[:, 0], rng))
        return self.series(self.between(codes, rng, *self.bounds(codes[:, 0], rng, wish)))

    def between(self, codes: Codes, rng: np.random.Generator, lo: Values, hi: Values) -> Values:
        """Ticks (B,) of own codes (B, C) inside [lo, hi] (B,); the bounds win over the codes."""
        return self.bins.draw(codes[:, 0], rng, lo, hi)

    def bounds(self, codes: Codes, rng: np.random.Generator, wish: Wish) -> tuple[Values, Values]:
        """An interval (B,), (B,) of the wish for each row, chosen by its mass within the row's code."""
        mass = np.stack([self.mass(interval) for interval in wish.intervals], 1)[codes]
        mass = np.where(mass.sum(1, keepdims=True) > 0, mass, 1.0).cumsum(1)
        pick = (mass <= rng.random((len(codes), 1)) * mass[:, -1:]).sum(1)
        ends = np.array(wish.intervals)[np.minimum(pick, len(wish.intervals) - 1)]
        return self.inside(ends[:, 0], ends[:, 1])

    def mass(self, interval: tuple[float, float]) -> Floats:
        """The part (K,) of each code of the first cell inside an interval of ticks."""
        return self.bins.admit([interval])

    def inside(self, lo: Floats, hi: Floats) -> tuple[Values, Values]:
        """Fractional, possibly infinite bounds -> ticks that lie inside them."""
        if not self.bins.grid:
            big = np.finfo(np.float64).max
            return np.clip(lo, -big, big), np.clip(hi, -big, big)
        low, high = np.ceil(lo - 1e-9), np.floor(hi + 1e-9)
        return np.clip(low, -(2.0**61), 2.0**61).astype(np.int64), np.clip(high, -(2.0**61), 2.0**61).astype(np.int64)

    def _volume(self, values: pl.Series) -> Floats:
        return self.bins.volume(self.ticks(values), self.unit())[:, None]

    def _features(self, values: pl.Series) -> NDArray[np.float32]:
        return self.bins.level(self.ticks(values)).astype(np.float32)[:, None]

    def strange(self, values: pl.Series) -> list[str | None]:
        beyond = self.bins.beyond(self.ticks(values)) > 0
        span = f"outside the known range {self.span()}"
        return [span if far else None for far in beyond.tolist()]

    def span(self) -> str:
        """The known range in words."""
        lo, hi = self.reach()[:2]
        return f"{self.show(lo)}..{self.show(hi)}"

    # ----------------------------------------------------------------------------------------------- wishes

    def parse(self, value: Any) -> Wish:
        if value is None or value != value:  # NaN, NaT
            return Wish("missing", missing=True)
        if isinstance(value, list | set | frozenset):
            return self._union(str(value), [self.parse(item) for item in value])
        if isinstance(value, tuple):
            if len(value) != 2:
                raise ConditionError(f"Column {self.name!r}: a range is (low, high), {value!r} was given.")
            return self._range(f"{value[0]}..{value[1]}", *value)
        if isinstance(value, str):
            text = value.strip()
            if not text:
                return Wish("missing", missing=True)
            if "|" in text:
                return self._union(text, [self.parse(part) for part in text.split("|")])
            if ".." in text:
                low, _, high = text.partition("..")
                return self._range(text, low.strip() or None, high.strip() or None)
        tick = self._tick(value)
        if not self.allowed(value):
            raise ConditionError(f"Column {self.name!r} wants {self.wanted()}, {str(value)[:80]!r} was given.")
        wish = Wish(str(value), intervals=((tick, tick),), exact=self.native(value))
        return self._possible(wish)

    def allowed(self, value: Any) -> bool:
        """Whether the column's type can hold a value that has a tick."""
        return True

    def native(self, value: Any) -> Any:
        """The value to give back to the letter for a raw value or a typed text."""
        return self.series(np.array([self._near(self._tick(value))]))[0]

    def _near(self, tick: float) -> Any:
        return round(tick) if self.bins.grid else tick

    def _tick(self, value: Any) -> float:
        try:
            return self.tick(value)
        except (ValueError, TypeError, OverflowError) as error:
            raise ConditionError(
                f"Column {self.name!r} wants {self.wanted()}, a range such as {self.span()} or a set such as "
                f"{self.span().replace('..', '|')}; "
                f"{str(value)[:80]!r} was given."
            ) from error

    def _range(self, said: str, low: Any, high: Any) -> Wish:
        a = -np.inf if low is None else self._tick(low)
        b = np.inf if high is None else self._tick(high)
        if a > b:
            raise ConditionError(f"Column {self.name!r}: the range {said} is empty, its low end is above its high end.")
        return self._possible(Wish(said, intervals=((a, b),)))

    def _union(self, said: str, parts: list[Wish]) -> Wish:
        if not parts:
            raise ConditionError(f"Column {self.name!r}: an empty set was asked for.")
        merged: list[tuple[float, float]] = []
        for a, b in sorted(interval for part in parts for interval in part.intervals):
            if merged and a <= merged[-1][1]:
                merged[-1] = (merged[-1][0], max(b, merged[-1][1]))
            else:
                merged.append((a, b))
        return Wish(said, any(part.missing for part in parts), intervals=tuple(merged))

    def _possible(self, wish: Wish) -> Wish:
        """The wish, or a ConditionError where no training value was anywhere near it."""
        lo, hi, low, high = self.reach()
        a, b = wish.intervals[0]
        if b < low or a > high:
            raise ConditionError(
                f"Column {self.name!r} is known from {self.show(lo)} to {self.show(hi)}: {wish.said} is outside. "
                f"Ask for a value inside {self.span()}."
            )
        return wish

    def reach(self) -> tuple[float, float, float, float]:
        """Lowest and highest known tick, and how far below and above a wish may still go.

        The fitted ends lie a little inside the rows they come from, hence one end segment more.
        """
        lo, hi = float(self.bins.lo[0]), float(self.bins.hi[-1])
        return lo, hi, lo - (float(self.bins.hi[0]) - lo), hi + (hi - float(self.bins.lo[-1]))

    def evidence(self, wish: Wish) -> list[Floats | None]:
        if not wish.intervals:
            return [None]
        weights = self.bins.admit(list(wish.intervals))
        if not weights.any():
            for a, b in wish.intervals:
                middle = np.clip((a if np.isfinite(a) else b), -(2.0**61), 2.0**61)
                near = np.array([round(middle) if self.bins.grid else middle], self.bins.lo.dtype)
                weights[self.bins.encode(near)] = 1.0
        return [weights]
