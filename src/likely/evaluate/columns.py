"""Tables as arrays: what every metric of the report card looks at.

Frames of any column types become float64 matrices with one shared meaning: a number or a moment (date, time, duration)
stands for itself, a category or a flag (boolean) for a code that all the frames of one comparison share, falling by
frequency in the real rows; a missing cell is NaN. Columns of which (nearly) every text differs, such as names and
free text, and nested columns have no distribution that two tables could share: they are left out, and said to be.

Shape letters: N rows, D columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from likely.errors import DataError, Mismatch

Floats = NDArray[np.float64]
Kind = Literal["number", "moment", "category", "flag"]
TEXT_LEVELS = 100  # a text column with more levels than this, most of them met once, is free text or an identifier


@dataclass(frozen=True)
class Column:
    """A column of a comparison; `levels` are the texts behind the codes of a category or flag."""

    name: str
    kind: Kind
    dtype: pl.DataType
    levels: tuple[str, ...] = ()

    @property
    def discrete(self) -> bool:
        """Whether values are codes, without an order or a distance of their own."""
        return self.kind in ("category", "flag")


@dataclass(frozen=True)
class Rows:
    """One frame as numbers: `x` (N, D) float64, NaN = missing, in the columns' shared codes."""

    columns: tuple[Column, ...]
    x: Floats

    def __len__(self) -> int:
        return len(self.x)

    def take(self, rows: slice | NDArray[np.int64]) -> Rows:
        """The rows of an index or slice."""
        return Rows(self.columns, self.x[rows])

    def draw(self, n: int, rng: np.random.Generator) -> Rows:
        """n rows at random without repetition; all, in their order, where there are no more than n."""
        return self if n >= len(self) else self.take(np.sort(rng.permutation(len(self))[:n]))

    def shuffled(self, rng: np.random.Generator) -> Rows:
        """Each column in an order of its own: the same column shapes, nothing of what binds the columns."""
        return Rows(self.columns, rng.permuted(self.x, axis=0))

    @property
    def discrete(self) -> NDArray[np.bool_]:
        """(D,) true where a column holds codes."""
        return np.array([column.discrete for column in self.columns], bool)


def read(real: Sequence[pl.DataFrame], made: pl.DataFrame) -> tuple[list[Rows], Rows, list[str]]:
    """Frames -> rows in one shared coding, and remarks on what was left out.

    The first real frame says which columns there are and of which kind. Raises DataError where a frame has no rows,
    Mismatch where the frames have no column in common.
    """
    first = real[0]
    for frame, what in [*((frame, "real") for frame in real), (made, "made")]:
        if frame.height == 0:
            raise DataError(f"The {what} table has no rows: there is nothing to compare.")
    frames = [*real, made]
    notes: list[str] = []
    columns: list[Column] = []
    arrays: list[list[Floats]] = [[] for _ in frames]
    for name, dtype in first.schema.items():
        if not all(name in frame.columns for frame in frames):
            notes.append(f"{name!r} is not in every table and was left out.")
            continue
        series = [frame[name] for frame in frames]
        kind = _kind(dtype)
        if kind is None:
            notes.append(f"{name!r} holds {dtype}, which has no distribution to compare, and was left out.")
        elif kind == "category":
            texts = [one.cast(pl.String, strict=False) for one in series]
            known = pl.concat([text.alias("v") for text in texts[:-1]]).drop_nulls()
            told = texts[0].drop_nulls()
            if told.n_unique() > max(TEXT_LEVELS, len(told) / 2):
                notes.append(f"{name!r} is free text or an identifier (nearly every value differs) and was left out.")
                continue
            levels = _levels(known, texts[-1].drop_nulls())
            columns.append(Column(name, kind, dtype, levels))
            codes = dict(zip(levels, range(len(levels)), strict=True))
            for place, text in zip(arrays, texts, strict=True):
                place.append(_array(text.replace_strict(codes, default=None, return_dtype=pl.Float64)))
        else:
            columns.append(Column(name, kind, dtype, ("false", "true") if kind == "flag" else ()))
            for place, one in zip(arrays, series, strict=True):
                place.append(_number(one, dtype))
    if not columns:
        here, there = (", ".join(map(repr, frame.columns[:5])) for frame in (first, made))
        raise Mismatch(f"The real and the made table have no column that can be compared: {here} against {there}.")
    shared = tuple(columns)
    rows = [Rows(shared, np.stack(place, axis=1)) for place in arrays]
    return rows[:-1], rows[-1], notes


def _kind(dtype: pl.DataType) -> Kind | None:
    if dtype.is_numeric():
        return "number"
    if dtype.is_temporal():
        return "moment"
    if dtype == pl.Boolean:
        return "flag"
    return "category" if isinstance(dtype, pl.String | pl.Categorical | pl.Enum) else None


def _levels(real: pl.Series, made: pl.Series) -> tuple[str, ...]:
    """Levels by falling frequency in the real rows (ties by name), then those that only the made rows hold."""
    counts = real.alias("v").value_counts().sort(["count", "v"], descending=[True, False])["v"].to_list()
    return (*counts, *sorted(set(made.unique().to_list()) - set(counts)))


def _number(values: pl.Series, dtype: pl.DataType) -> Floats:
    """Numbers, moments (microseconds) and flags as float64; what cannot be read as the real type is missing."""
    if values.dtype != dtype:
        values = values.cast(dtype, strict=False)
    if isinstance(dtype, pl.Datetime | pl.Duration):
        per = {"ms": 1e-3, "us": 1.0, "ns": 1e3}[dtype.time_unit]
        return _array(values.to_physical().cast(pl.Float64)) / per
    return _array(values.to_physical().cast(pl.Float64))


def _array(values: pl.Series) -> Floats:
    x = values.fill_null(float("nan")).to_numpy().astype(np.float64, copy=True)
    x[~np.isfinite(x)] = np.nan
    return x
