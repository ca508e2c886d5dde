"""Dates, times of day, durations and datetimes: integers on a grid that the column itself shows.

The grid is the coarsest of day, hour, minute, second, .. that every value lies on, so an appointment book of quarter
hours gives minutes and not microseconds. Datetimes with a zone are taken by their wall clock, since habits follow
the wall clock. A datetime whose day and time of day both vary is a `Stamp`: one cell for the day, one for the time
of day; all else is one cell.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from likely.codecs.state import dict_of, whole_of
from likely.codecs.table.bins import Bins, Values
from likely.codecs.table.column import Codes, Floats, Wish
from likely.codecs.table.notation import CLOCKS, DATES
from likely.codecs.table.ordered import Ordered
from likely.errors import ArtifactError

DAY = 86_400 * 10**9  # nanoseconds
GRIDS = {
    "days": DAY, "hours": 3600 * 10**9, "minutes": 60 * 10**9, "seconds": 10**9, "milliseconds": 10**6,
    "microseconds": 1000, "nanoseconds": 1,
}  # fmt: skip
NANOS = {"ms": 10**6, "us": 1000, "ns": 1}
LENGTH = re.compile(r"(-?\d+(?:\.\d+)?)\s*(d|h|m|s|ms|us|ns)\w*", re.IGNORECASE)
UNITS = {"d": DAY, "h": 3600 * 10**9, "m": 60 * 10**9, "s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}


class Moment(Ordered):
    """Temporal values with one cell. A tick is `step` physical units of the type, counted from `offset`."""

    kind = "moment"
    step: int = 1
    offset: int = 0
    bins: Bins

    @property
    def nanos(self) -> int:
        """Nanoseconds of one physical unit of the type."""
        if isinstance(self.dtype, pl.Date):
            return DAY
        return NANOS.get(getattr(self.dtype, "time_unit", "ns") or "ns", 1)

    def _fit(self, values: pl.Series, bins: int | None) -> None:
        whole = self._physical(values)
        coarse = [size // self.nanos for size in GRIDS.values() if size >= self.nanos]
        self.step = next((size for size in coarse if (whole % size == whole[0] % size).all()), 1)
        self.offset = int(whole[0] % self.step)
        self._bin((whole - self.offset) // self.step, bins)

    def _bin(self, ticks: Values, bins: int | None) -> None:
        self.bins = Bins.fit(ticks, least=self.least, bins=bins)

    def _physical(self, values: pl.Series) -> NDArray[np.int64]:
        """Physical units (B,) since the epoch, by the wall clock."""
        if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone:
            values = values.dt.replace_time_zone(None)
        return values.to_physical().cast(pl.Int64).to_numpy()

    def ticks(self, values: pl.Series) -> Values:
        return (self._physical(values) - self.offset) // self.step

    def series(self, ticks: Values) -> pl.Series:
        return self._series(ticks.astype(np.int64) * self.step + self.offset)

    def _series(self, physical: NDArray[np.int64]) -> pl.Series:
        """Physical units (B,) -> values."""
        whole = pl.Series(physical)
        if isinstance(self.dtype, pl.Date):
            return whole.cast(pl.Int32).cast(pl.Date)
        if isinstance(self.dtype, pl.Datetime) and self.dtype.time_zone:
            plain = whole.cast(pl.Datetime(self.dtype.time_unit))
            zone = self.dtype.time_zone
            made = plain.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
            if made.null_count():  # the hour that spring skips
                later = (plain + timedelta(hours=1)).dt.replace_time_zone(
                    zone, ambiguous="earliest", non_existent="null"
                )
                made = made.fill_null(later)
            return made
        if isinstance(self.dtype, pl.Time):
            whole = whole.clip(0, DAY - 1)
        return whole.cast(self.dtype)

    def tick(self, value: Any) -> float:
        return (self._raw(value) - self.offset) / self.step

    def scale(self) -> tuple[float, float]:
        return self.step * self.nanos / 1000, self.offset * self.nanos / 1000  # microseconds

    # ------------------------------------------------------------------------------------------------ typed

    def _raw(self, value: Any) -> float:
        """Physical units of a raw value or a typed text. Raises ValueError."""
        if isinstance(self.dtype, pl.Duration):
            return _length(value) / self.nanos
        if isinstance(value, str):
            value = self._typed(value.strip())
        if isinstance(value, np.datetime64):
            value = value.astype("datetime64[us]").item()
        if isinstance(value, date) and not isinstance(value, datetime) and not isinstance(self.dtype, pl.Date):
            value = datetime(value.year, value.month, value.day)
        wanted = time if isinstance(self.dtype, pl.Time) else date
        if not isinstance(value, wanted):
            raise ValueError
        zone = getattr(self.dtype, "time_zone", None)
        if isinstance(value, datetime):
            naive = value.tzinfo is None
            stamp = pl.Series([value.replace(tzinfo=None) if naive else value])
            if not naive and zone:
                stamp = stamp.dt.convert_time_zone(zone).dt.replace_time_zone(None)
            elif not naive:
                stamp = stamp.dt.replace_time_zone(None)
            target = (
                pl.Date() if isinstance(self.dtype, pl.Date) else pl.Datetime(getattr(self.dtype, "time_unit", "us"))
            )
            return float(stamp.cast(target).to_physical()[0])
        return float(pl.Series([value]).cast(self.dtype).to_physical()[0])

    def _typed(self, text: str) -> date | time:
        if isinstance(self.dtype, pl.Time):
            return time.fromisoformat(text)
        try:
            return date.fromisoformat(text) if len(text) <= 10 else datetime.fromisoformat(text)
        except ValueError:
            forms = [*DATES, *(f"{day} {clock}" for day in DATES for clock in CLOCKS)]
            for form in forms:
                try:
                    made = datetime.strptime(text, form.replace("%.3f", ".%f"))
                except ValueError:
                    continue
                return made if ":" in text else made.date()
            raise

    def whole_day(self, value: Any) -> bool:
        """Whether a value names a day where the column holds times too."""
        if isinstance(self.dtype, pl.Date | pl.Time | pl.Duration):
            return False
        if isinstance(value, str):
            return ":" not in value
        return isinstance(value, date) and not isinstance(value, datetime)

    def parse(self, value: Any) -> Wish:
        one = isinstance(value, date) or (isinstance(value, str) and value.strip() and not re.search(r"\.\.|\|", value))
        if one and self.whole_day(value):
            return self._range(str(value), value, value)
        return super().parse(value)

    def _range(self, said: str, low: Any, high: Any) -> Wish:
        wish = super()._range(said, low, high) if high is None or not self.whole_day(high) else None
        if wish is not None:
            return wish
        a = -np.inf if low is None else self._tick(low)
        b = self._tick(high) + (DAY // self.nanos - 1) / self.step
        return self._possible(Wish(said, intervals=((a, b),)))

    def native(self, value: Any) -> Any:
        if isinstance(self.dtype, pl.Duration):
            return pl.Series([round(_length(value) / self.nanos)]).cast(self.dtype)[0]
        return self._series(np.array([round(self._raw(value))]))[0]

    # ----------------------------------------------------------------------------------------------- people

    def wanted(self) -> str:
        if isinstance(self.dtype, pl.Duration):
            return "a duration such as 90s, 4h or 2d"
        return "a time such as 08:30" if isinstance(self.dtype, pl.Time) else "a date such as 2024-01-31"

    def show(self, tick: float) -> str:
        value = self.series(np.array([round(tick)]))[0]
        if isinstance(value, datetime):
            return value.replace(tzinfo=None).isoformat(" ").removesuffix(" 00:00:00")
        return str(value)

    def grid(self) -> str:
        """The name of the grid."""
        return next((name for name, size in GRIDS.items() if size == self.step * self.nanos), "")

    def _words(self) -> str:
        words: dict[type[pl.DataType], str] = {pl.Date: "date", pl.Time: "time of day", pl.Duration: "duration"}
        word = words.get(type(self.dtype), "datetime")
        zone = getattr(self.dtype, "time_zone", None)
        grid = "" if word == "date" else f", {self.grid()}"
        return f"{word}{grid}{f', {zone}' if zone else ''}, {self.span()}"

    # ------------------------------------------------------------------------------------------------- keep

    def _state(self) -> dict[str, Any]:
        return {"step": self.step, "offset": self.offset, "bins": self.bins.state()}

    def _load(self, state: Any) -> None:
        self.step, self.offset = whole_of(state, "step", low=1, high=DAY), whole_of(state, "offset", high=DAY)
        self.bins = self._ints(Bins.load(dict_of(state, "bins")), self.step)

    def _ints(self, bins: Bins, step: int) -> Bins:
        reach = max(abs(int(bins.lo[0])), abs(int(bins.hi[-1]))) * step
        # Beyond year 9999 nothing can be given back.
        if not bins.grid or reach > (2**31 if isinstance(self.dtype, pl.Date) else 2**62):
            raise ArtifactError(f"The model file is damaged: column {self.name!r} reaches beyond the calendar.")
        return bins


class Stamp(Moment):
    """Datetimes whose day and time of day both vary: two cells."""

    kind = "stamp"
    clock: Bins

    @property
    def per(self) -> int:
        """Ticks of a day."""
        return DAY // (self.nanos * self.step)

    def _bin(self, ticks: Values, bins: int | None) -> None:
        self.bins = Bins.fit(ticks // self.per, least=self.least, bins=bins)
        self.clock = Bins.fit(ticks % self.per, least=self.least, bins=bins)

    def axes(self) -> tuple[Bins, ...]:
        return self.bins, self.clock

    def apart(self, values: pl.Series) -> tuple[Values, ...]:
        ticks = self.ticks(values)
        return ticks // self.per, ticks % self.per

    def together(self, ticks: Sequence[Values]) -> pl.Series:
        return self.series(ticks[0] * self.per + ticks[1])

    def _shape(self) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        return (self.bins.size, self.clock.size), (True, True)

    def usual(self) -> tuple[int, ...]:
        return self.bins.usual, self.clock.usual

    def _encode(self, values: pl.Series) -> Codes:
        ticks = self.ticks(values)
        return np.stack([self.bins.encode(ticks // self.per), self.clock.encode(ticks % self.per)], 1)

    def _decode(self, codes: Codes, rng: np.random.Generator, wish: Wish | None) -> pl.Series:
        if wish is not None and wish.exact is not None:
            return pl.Series([wish.exact]).cast(self.dtype).new_from_index(0, len(codes))
        if wish is None or not wish.intervals:
            return self.series(self.bins.draw(codes[:, 0], rng) * self.per + self.clock.draw(codes[:, 1], rng))
        return self.series(self.between(codes, rng, *self.bounds(codes[:, 0], rng, wish)))

    def mass(self, interval: tuple[float, float]) -> Floats:
        a, b = interval
        return self.bins.admit([(a // self.per if np.isfinite(a) else a, b // self.per if np.isfinite(b) else b)])

    def between(self, codes: Codes, rng: np.random.Generator, lo: Values, hi: Values) -> Values:
        per = self.per
        days = self.bins.draw(codes[:, 0], rng, lo // per, hi // per)
        first = np.where(days == lo // per, lo % per, 0)
        last = np.where(days == hi // per, hi % per, per - 1)
        return days * per + self.clock.draw(codes[:, 1], rng, first, np.maximum(first, last))

    def evidence(self, wish: Wish) -> list[Floats | None]:
        if not wish.intervals:
            return [None, None]
        per = self.per
        days = [(a // per if np.isfinite(a) else a, b // per if np.isfinite(b) else b) for a, b in wish.intervals]
        weights = np.minimum(sum((self.mass(part) for part in wish.intervals), np.zeros(self.bins.size)), 1.0)
        if not weights.any():
            weights[self.bins.encode(np.array([round(np.clip(a, -(2.0**61), 2.0**61)) for a, _ in days]))] = 1.0
        if len({end for span in days for end in span}) > 1:
            return [weights, None]
        hours = np.minimum(sum((self.clock.admit([(a % per, b % per)]) for a, b in wish.intervals)), 1.0)
        return [weights, hours if np.any(hours) else None]

    def reach(self) -> tuple[float, float, float, float]:
        lo, hi, low, high = super().reach()
        return lo * self.per, (hi + 1) * self.per - 1, low * self.per, (high + 1) * self.per - 1

    def strange(self, values: pl.Series) -> list[str | None]:
        ticks = self.ticks(values)
        far = (self.bins.beyond(ticks // self.per) > 0) | (self.clock.beyond(ticks % self.per) > 0)
        return [f"outside the known range {self.span()}" if out else None for out in far.tolist()]

    def _volume(self, values: pl.Series) -> Floats:
        ticks = self.ticks(values)
        return np.stack([self.bins.volume(ticks // self.per), self.clock.volume(ticks % self.per)], 1)

    def width(self) -> int:
        return 2

    def _features(self, values: pl.Series) -> NDArray[np.float32]:
        ticks = self.ticks(values)
        levels = [self.bins.level(ticks // self.per), self.clock.level(ticks % self.per)]
        return np.stack(levels, 1).astype(np.float32)

    def _state(self) -> dict[str, Any]:
        return {**super()._state(), "clock": self.clock.state()}

    def _load(self, state: Any) -> None:
        self.step, self.offset = whole_of(state, "step", low=1, high=DAY), whole_of(state, "offset", high=DAY)
        self.bins = self._ints(Bins.load(dict_of(state, "bins")), self.step * self.per)
        self.clock = Bins.load(dict_of(state, "clock"))
        if not self.clock.grid or self.clock.lo[0] < 0 or self.clock.hi[-1] >= self.per:
            raise ArtifactError(f"The model file is damaged: times of day of column {self.name!r} are no times.")


def varies(values: pl.Series) -> bool:
    """Whether both the day and the time of day of datetimes vary."""
    plain = values.dt.replace_time_zone(None) if getattr(values.dtype, "time_zone", None) else values
    return plain.dt.date().n_unique() > 1 and plain.dt.time().n_unique() > 1


def _length(value: Any) -> float:
    """Nanoseconds of a duration: timedelta, numpy.timedelta64, seconds, or "4h 30m"."""
    if isinstance(value, timedelta):
        return float(value / timedelta(microseconds=1) * 1000)
    if isinstance(value, np.timedelta64):
        return float(value / np.timedelta64(1, "ns"))
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) * 10**9
    parts = LENGTH.findall(str(value))
    if not parts or LENGTH.sub("", str(value)).strip():
        raise ValueError
    return sum(float(number) * UNITS[unit.lower()] for number, unit in parts)
