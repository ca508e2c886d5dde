"""Numbers: integers, decimals with their precision, and reals.

Most columns of "real" numbers are decimals with a few places, or multiples of 5 or 100. Such a column lives on a
grid: value = (offset + step * tick) / 10^places with an integer tick, and everything drawn lies on that grid too.
The search for the grid is exact: `places` is the least p for which rint(v * 10^p) / 10^p == v for every v, which
holds for doubles below 2^53 that were written with p places. A column that needs more than 12 places is real.

A float32 column (or a double column that holds float32 values) has its shortest decimal form taken first: 0.1 as
float32 is 0.10000000149, and nobody meant that.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from likely.codecs.state import dict_of, flag_of, real_of, whole_of
from likely.codecs.table.bins import LIMIT, Bins, Values
from likely.codecs.table.column import Floats
from likely.codecs.table.ordered import Ordered
from likely.errors import ArtifactError, DataError

PLACES = 12


def finite(values: pl.Series, name: str) -> Floats:
    """As float64; raises DataError for infinite values."""
    array = values.cast(pl.Float64).to_numpy()
    bad = np.flatnonzero(~np.isfinite(array))
    if len(bad):
        raise DataError(
            f"Column {name!r} holds {len(bad)} infinite value{'s' * (len(bad) > 1)}: "
            "replace them by missing values or by a number, or leave the column out with "
            f"columns={{{name!r}: 'drop'}}."
        )
    return array


def places_of(values: Floats) -> int | None:
    """The fewest decimal places that write every value exactly, or None where 12 do not suffice."""
    for places in range(PLACES + 1):
        scaled = np.rint(values * 10.0**places)
        if np.abs(scaled).max() >= 2**53:
            return None
        if (scaled / 10.0**places == values).all():
            return places
    return None


def shortest(values: Floats) -> Floats:
    """Doubles that hold float32 values -> the shortest decimals that read as the same float32."""
    distinct, inverse = np.unique(values, return_inverse=True)
    return distinct.astype(np.float32).astype(str).astype(np.float64)[inverse]


class Number(Ordered):
    """Integers and decimals on a grid, or reals."""

    kind = "number"
    places: int | None = 0
    step: int = 1
    offset: int = 0
    single: bool = False  # float32 values
    tall: float = 1.0  # what a tick is worth on a real axis, for `volume`
    bins: Bins

    def _fit(self, values: pl.Series, bins: int | None) -> None:
        if self.dtype.is_integer():
            if max(-int(values.min()), int(values.max())) > LIMIT:  # type: ignore[arg-type]
                raise DataError(
                    f"Column {self.name!r} holds whole numbers beyond 2**61, which are codes rather than amounts: turn "
                    f"them into text, or leave the column out with columns={{{self.name!r}: 'drop'}}."
                )
            ticks: Values = values.cast(pl.Int64).to_numpy()
            self.places = 0
        else:
            array = finite(values, self.name)
            with np.errstate(over="ignore"):
                narrow = array.astype(np.float32).astype(np.float64)
            self.places = places_of(array)
            if isinstance(self.dtype, pl.Float32) or (self.places is None and (narrow == array).all()):
                short = shortest(array)
                places = places_of(short)
                if places is not None:
                    self.single, self.places, array = True, places, short
            ticks = array if self.places is None else np.rint(array * 10.0**self.places).astype(np.int64)
        if self.places is not None:
            distinct = np.unique(ticks)
            # Not the lowest value itself (that is one row): its remainder.
            self.step = max(1, int(np.gcd.reduce(np.diff(distinct)))) if len(distinct) > 1 else 1
            self.offset = int(distinct[0] % self.step)
            ticks = (ticks - self.offset) // self.step
        else:
            low, high = np.quantile(ticks, [0.1, 0.9])
            spread = float(high / 2 - low / 2) or float(np.abs(ticks).max()) or 1.0
            self.tall = 10.0 ** float(np.clip(np.floor(np.log10(spread)) - 6, -300, 300))
        self.bins = Bins.fit(ticks, least=self.least, bins=bins)

    # ------------------------------------------------------------------------------------------------- axis

    def ticks(self, values: pl.Series) -> Values:
        if self.places is None:
            return values.cast(pl.Float64).to_numpy()
        if values.dtype.is_integer() and self.places == 0:
            whole = values.cast(pl.Int64, strict=False).fill_null(2**61).to_numpy()
            return whole if self.step == 1 and self.offset == 0 else (whole - self.offset) // self.step
        array = values.cast(pl.Float64).to_numpy()
        array = shortest(array) if self.single else array
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = (np.rint(array * 10.0**self.places) - self.offset) / self.step
        return np.rint(np.clip(np.nan_to_num(scaled, nan=0.0), -(2.0**61), 2.0**61)).astype(np.int64)

    def series(self, ticks: Values) -> pl.Series:
        if self.places is None:
            return pl.Series(ticks.astype(np.float64)).cast(self.dtype)
        whole = ticks * self.step + self.offset
        if self.places == 0 and self.dtype.is_integer():
            return pl.Series(whole).cast(self.dtype)
        if isinstance(self.dtype, pl.Decimal):
            return _decimal(pl.Series(whole), self.places, self.dtype)
        array = whole / 10.0**self.places
        if self.single:
            array = array.astype(np.float32).astype(np.float64)
        return pl.Series(array).cast(self.dtype)

    def tick(self, value: Any) -> float:
        number = float(value)
        if not np.isfinite(number) or isinstance(value, bool):
            raise ValueError
        if self.places is None:
            return number
        if self.places == 0 and isinstance(value, int):
            return (value - self.offset) / self.step
        return (round(number * 10.0**self.places, 6) - self.offset) / self.step

    def scale(self) -> tuple[float, float]:
        if self.places is None:
            return 1.0, 0.0
        return self.step / 10.0**self.places, self.offset / 10.0**self.places

    def unit(self) -> float:
        return 1.0 if self.places is not None else self.tall

    def allowed(self, value: Any) -> bool:
        return self.places != 0 or float(value) % 1 == 0

    def native(self, value: Any) -> Any:
        if self.dtype.is_integer():
            return round(float(value)) if not isinstance(value, int) else value
        return Decimal(str(value).strip()) if isinstance(self.dtype, pl.Decimal) else float(value)

    # ----------------------------------------------------------------------------------------------- people

    def wanted(self) -> str:
        return "a whole number" if self.places == 0 else "a number"

    def show(self, tick: float) -> str:
        slope, start = self.scale()
        value = tick * slope + start
        if self.places == 0:
            return f"{round(value)}"
        return f"{value:.{self.places}f}" if self.places is not None else f"{value:.4g}"

    def _words(self) -> str:
        lo, hi = self.bins.edges()
        kind = "integer" if self.places == 0 else "real" if self.places is None else f"decimal, {self.places} places,"
        words = f"{kind} {self.span()}"
        if self.places is not None and self.step > 1:
            words += f", steps of {self.step / 10**self.places:g}"
        top = self.bins.usual
        if self.bins.share[top] >= 0.1 and lo[top] == hi[top] and (self.bins.size > 10 or (lo < hi).any()):
            words += f", {self.bins.share[top]:.0%} at {self.show(float(lo[top]))}"
        return words + (", heavy tail" if self._heavy(lo, hi) else "")

    def _heavy(self, lo: Values, hi: Values) -> bool:
        """Whether the upper end lies more than eight times as far above the median as 95% of the values do."""
        level = self.bins.share.cumsum() / max(self.bins.share.sum(), 1e-9)
        q50, q95 = (float(hi[min(int(np.searchsorted(level, q)), len(hi) - 1)]) for q in (0.5, 0.95))
        return bool(float(self.bins.hi[-1]) / 8 - q50 / 8 > q95 - q50 > 0)

    # ------------------------------------------------------------------------------------------------- keep

    def _state(self) -> dict[str, Any]:
        return {
            "places": -1 if self.places is None else self.places,
            "step": self.step,
            "offset": self.offset,
            "single": self.single,
            "tall": self.tall,
            "bins": self.bins.state(),
        }

    def _load(self, state: Any) -> None:
        places = whole_of(state, "places", low=-1, high=PLACES)
        self.places = None if places < 0 else places
        self.step, self.offset = whole_of(state, "step", low=1), whole_of(state, "offset")
        self.single, self.tall = flag_of(state, "single"), real_of(state, "tall")
        self.bins = Bins.load(dict_of(state, "bins"))
        reach = max(abs(float(self.bins.lo[0])), abs(float(self.bins.hi[-1]))) * self.step
        if self.bins.grid != (self.places is not None) or self.tall <= 0 or (self.bins.grid and reach > 2**62):
            raise ArtifactError(f"The model file is damaged: the grid of column {self.name!r} makes no sense.")
        try:
            self.series(np.array([self.bins.lo[0], self.bins.hi[-1]]))
        except pl.exceptions.PolarsError as error:
            raise ArtifactError(f"The model file is damaged: {self.name!r} does not fit {self.dtype}.") from error


def _decimal(whole: pl.Series, places: int, dtype: pl.Decimal) -> pl.Series:
    """Integers that count units of 10^-places -> Decimal, by their digits: a cast from float may cut or round."""
    digits = whole.abs().cast(pl.String).str.zfill(places + 1)
    front = digits.str.slice(0, digits.str.len_chars() - places)
    sign = (whole < 0).replace_strict({True: "-", False: ""}, return_dtype=pl.String)
    text = sign + front + "." + digits.str.slice(digits.str.len_chars() - places) if places else sign + digits
    return text.cast(dtype)
