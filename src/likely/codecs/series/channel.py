"""One channel of a series: how its values become reals of about unit size, and back.

A number is (value - centre) / scale with the median and the interquartile range of normal data (/ 1.349), at least a
third of the standard deviation: outliers in the training data do not squeeze the rest. A channel of levels is one-hot.

Shape letters: n windows, T moments, E places of the channel among the reals.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from likely.codecs.state import entry, flag_of, list_of, real_of, text_of, whole_of
from likely.codecs.table.category import canonical, native
from likely.codecs.table.dtype import dtype_of_json, dtype_to_json
from likely.codecs.table.number import places_of
from likely.errors import ArtifactError, DataError

Floats = NDArray[np.float64]

LEVELS = 50  # most levels of a channel
HUGE = 1e100  # values beyond are taken for infinite: their squares overflow
FAR = 1e9  # scales from the centre at which everything is equally far: float32 holds its square
PLACES = 6  # most decimal places that are kept as such
MARGIN = 0.05  # part of the known range that bounded values may go beyond it


@dataclass(frozen=True)
class Channel:
    """`kind`: "number", "level", "constant" or "empty". Levels are texts as in `table.category`."""

    name: str
    kind: str
    dtype: pl.DataType
    levels: tuple[str, ...] = ()
    whole: bool = False
    places: int = -1  # decimal places, -1 = any
    positive: bool = False
    centre: float = 0.0
    scale: float = 1.0
    low: float | None = None  # where made values are bounded
    high: float | None = None

    @property
    def width(self) -> int:
        """E"""
        return len(self.levels) if self.kind == "level" else 1

    # ------------------------------------------------------------------------------------------------ learn

    @classmethod
    def of(cls, values: pl.Series, word: str | None, least: int) -> tuple[Channel | None, str]:
        """What a column is, and what was done, in words; None = it cannot be a channel. Raises DataError."""
        name, dtype, present = values.name, values.dtype, values.drop_nulls()
        if not len(present):
            return cls(name, "empty", dtype), f"{name!r} is empty: left out, given back as missing"
        numeric = dtype.is_numeric() and not isinstance(dtype, pl.Decimal)
        if word == "category" or (word is None and not numeric):
            texty = isinstance(dtype, pl.Boolean | pl.String | pl.Categorical | pl.Enum) or dtype.is_integer()
            if not texty:
                return None, f"{name!r} holds {dtype}: left out"
            counts = (
                canonical(present).rename("level").value_counts().sort(["count", "level"], descending=[True, False])
            )
            levels = counts.filter(pl.col("count") >= least)["level"].to_list()
            if word is None and (
                not levels or len(levels) > LEVELS or counts["count"].to_numpy()[:LEVELS].sum() < 0.5 * len(present)
            ):
                return None, f"{name!r} has {counts.height:,} different texts: left out"
            levels = levels[:LEVELS] or counts["level"].to_list()[:1]
            rare = len(present) - int(counts.filter(pl.col("level").is_in(levels))["count"].sum())
            said = f"{name!r}: {rare:,} values of rare levels are read as the commonest" if rare else ""
            return cls(name, "constant" if len(levels) == 1 else "level", dtype, tuple(levels)), said
        if not numeric:
            raise DataError(f"columns={{{name!r}: {word!r}}}: the values of {name!r} are {dtype}, which is no number.")
        array = present.cast(pl.Float64).to_numpy()
        huge = int((~(np.abs(array) < HUGE)).sum())
        if huge:
            raise DataError(
                f"Channel {name!r} holds {huge:,} infinite values: replace them, or leave it out with "
                f"columns={{{name!r}: 'drop'}}."
            )
        if (array == array[0]).all():
            return cls(name, "constant", dtype, (str(present[0]),)), f"{name!r} is always {present[0]}: not modelled"
        two = np.unique(array, return_counts=True)[1]
        if word is None and len(two) == 2 and two.min() >= least:
            return cls(name, "level", dtype, tuple(canonical(present.unique().sort()).to_list())), ""
        places = places_of(array[:100_000])
        return cls(name, "number", dtype, whole=dtype.is_integer() or places == 0,
                   places=places if places is not None and places <= PLACES else -1), ""  # fmt: skip

    def learn(self, values: Floats, bounded: bool) -> Channel:
        """Centre, scale and ends from (n, T) values, NaN aside."""
        if self.kind != "number":
            return self
        known = values[np.isfinite(values)]
        q25, q50, q75 = np.quantile(known, [0.25, 0.5, 0.75])
        scale = max(float(q75 - q25) / 1.349, float(known.std()) / 3)
        low, high = float(known.min()), float(known.max())
        room = MARGIN * (high - low)
        return replace(
            self, centre=float(q50), scale=scale if scale > 0 else 1.0, positive=low >= 0,
            low=low - room if bounded else None, high=high + room if bounded else None,
        )  # fmt: skip

    # -------------------------------------------------------------------------------------- encode, decode

    def numbers(self, values: pl.Series) -> Floats:
        """A column -> (N,) numbers or codes of levels; NaN where missing, len(levels) where a level is unknown."""
        if self.kind == "level":
            codes = pl.Series(np.arange(len(self.levels)), dtype=pl.Float64)
            names = pl.Series(self.levels, dtype=pl.String)
            if self.dtype.is_numeric() and values.dtype != self.dtype:
                values = values.cast(self.dtype, strict=False)
            texts = canonical(values)
            found = texts.replace_strict(names, codes, default=float(len(self.levels)), return_dtype=pl.Float64)
            return np.where(values.is_null().to_numpy(), np.nan, found.fill_null(0.0).to_numpy())
        return values.cast(pl.Float64, strict=False).to_numpy().astype(np.float64)

    def encode(self, values: Floats) -> Floats:
        """(n, T) -> (n, T, E); a missing number lies at the centre, an unknown level is none."""
        if self.kind == "level":
            return np.asarray(values[..., None] == np.arange(len(self.levels)), np.float64)
        with np.errstate(over="ignore"):
            x = np.clip((values - self.centre) / self.scale, -FAR, FAR)
        return np.nan_to_num(x, nan=0.0)[..., None]

    def decode(self, x: Floats) -> Floats:
        """(n, T, E) of any reals -> (n, T)."""
        if self.kind == "level":
            return np.asarray(x.argmax(-1), np.float64)
        values = np.nan_to_num(x[..., 0], nan=0.0, posinf=0.0, neginf=0.0) * self.scale + self.centre
        if self.low is not None or self.high is not None:
            values = np.clip(values, self.low, self.high)
        if self.positive:
            values = np.maximum(values, 0.0)
        if self.whole or self.places >= 0:
            values = np.round(values, 0 if self.whole else self.places)
        if self.dtype.is_integer():
            bits = np.iinfo(str(self.dtype).lower()) if self.dtype != pl.Int128() else np.iinfo(np.int64)
            values = np.clip(values, max(float(bits.min), -(2.0**53)), min(float(bits.max), 2.0**53))
        return values

    def column(self, values: Floats | None, n: int) -> pl.Series:
        """(n,) numbers or codes -> a column of the type that came; of constants and empty channels the one value."""
        if self.kind == "empty" or (self.kind == "constant" and not self.levels):
            return pl.Series(self.name, [None] * n, dtype=self.dtype)
        if self.kind == "constant" or values is None:
            one = pl.Series([self.levels[0]], dtype=pl.String)
            made = native(one, self.dtype) if not self.dtype.is_numeric() else one.cast(self.dtype)
            return made.new_from_index(0, n).alias(self.name)
        if self.kind == "level":
            codes = np.where(np.isfinite(values), np.clip(np.nan_to_num(values), 0, len(self.levels) - 1), 0)
            texts = pl.Series(self.levels, dtype=pl.String).gather(codes.astype(np.int64))
            return native(texts, self.dtype).set(pl.Series(~np.isfinite(values)), None).alias(self.name)
        return pl.Series(self.name, values).fill_nan(None).cast(self.dtype)

    def strange(self, values: Floats) -> list[str]:
        """For each window of (n, T) values why it is none of this channel, "" = it may be."""
        known = np.nan_to_num(values, nan=0.0, posinf=np.inf, neginf=-np.inf)
        reasons = np.where(np.isinf(known).any(1), f"{self.name}: infinite values", "").astype(object)
        if self.kind == "level":
            odd, why = (known < 0) | (known >= len(self.levels)), "a level that was never seen"
        elif self.positive and not self.whole:
            odd, why = known < 0, "below 0"
        else:
            odd, why = self.whole & (known % 1 != 0) | self.positive & (known < 0), "other than counts"
        reasons[odd.any(1)] = f"{self.name}: {why}"
        return [str(reason) for reason in reasons]

    # ------------------------------------------------------------------------------------------------- keep

    def state(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "name": self.name, "kind": self.kind, "dtype": dtype_to_json(self.dtype), "levels": list(self.levels),
            "whole": self.whole, "places": self.places, "positive": self.positive, "centre": self.centre,
            "scale": self.scale, "low": self.low, "high": self.high,
        }  # fmt: skip

    @classmethod
    def load(cls, state: Any) -> Channel:
        """The inverse of `state`. Raises ArtifactError."""
        kind = text_of(state, "kind", ("number", "level", "constant", "empty"))
        levels, scale = tuple(list_of(state, "levels", str, most=LEVELS)), real_of(state, "scale")
        ends = [None if entry(state, key) is None else real_of(state, key) for key in ("low", "high")]
        made = cls(
            text_of(state, "name"), kind, dtype_of_json(entry(state, "dtype")), levels, flag_of(state, "whole"),
            whole_of(state, "places", -1, PLACES), flag_of(state, "positive"), real_of(state, "centre"), scale, *ends,
        )  # fmt: skip
        if scale <= 0 or (kind == "level" and len(levels) < 2) or len(set(levels)) < len(levels):
            raise ArtifactError(f"The model file is damaged: channel {made.name!r} makes no sense.")
        try:
            made.column(np.zeros(1), 1)
        except (pl.exceptions.PolarsError, ValueError, TypeError) as error:
            raise ArtifactError(f"The model file is damaged: {made.name!r} does not fit {made.dtype}.") from error
        return made
