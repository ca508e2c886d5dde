"""How a table came: its kind, and each column's label, outer type and declared levels. Plain JSON.

Also the two rules that every way in shares: which Python values make a column, and which columns are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Self

import numpy as np
import polars as pl

from likely.codecs.state import entry, list_of, text_of
from likely.codecs.table.dtype import dtype_of_json, dtype_to_json
from likely.errors import ArtifactError, DataError

KINDS = ("path", "polars", "pandas", "arrow", "rows", "columns")


@dataclass(frozen=True)
class Field:
    """One column as it came: its name, its label where that is no text, its outer type, its polars type.

    `outer` belongs to the kind of table: a pandas dtype, an Arrow type, "array" or "list". `levels` are declared
    categories, `sorted` whether they have an order.
    """

    name: str
    dtype: pl.DataType
    outer: str = ""
    label: int | None = None
    levels: tuple[Any, ...] | None = None
    sorted: bool = False

    def state(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "name": self.name,
            "dtype": dtype_to_json(self.dtype),
            "outer": self.outer,
            "label": self.label,
            "levels": None if self.levels is None else list(self.levels),
            "sorted": self.sorted,
        }

    @classmethod
    def load(cls, state: Any) -> Self:
        """The inverse of `state`. Raises ArtifactError."""
        label, levels = entry(state, "label"), entry(state, "levels")
        if label is not None and type(label) is not int:
            raise ArtifactError("The model file is damaged: a column label is neither text nor number.")
        if levels is not None and not (
            isinstance(levels, list) and all(isinstance(level, str | int | float) for level in levels)
        ):
            raise ArtifactError("The model file is damaged: declared levels are neither texts nor numbers.")
        return cls(
            text_of(state, "name"),
            dtype_of_json(entry(state, "dtype")),
            text_of(state, "outer"),
            label,
            None if levels is None else tuple(levels),
            entry(state, "sorted") is True,
        )


@dataclass(frozen=True)
class Form:
    """What kind of table came, and its columns in order."""

    kind: str
    fields: tuple[Field, ...]

    def state(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"kind": self.kind, "fields": [field.state() for field in self.fields]}

    @classmethod
    def load(cls, state: Any) -> Self:
        """The inverse of `state`. Raises ArtifactError."""
        fields = tuple(Field.load(field) for field in list_of(state, "fields", dict, most=100_000))
        return cls(text_of(state, "kind", KINDS), fields)


def clean(frame: pl.DataFrame) -> pl.DataFrame:
    """NaN to null; raises DataError for nested columns."""
    for name, dtype in frame.schema.items():
        if dtype.is_nested() or dtype in (pl.Object, pl.Binary):
            raise DataError(
                f"Column {name!r} holds {dtype}: one value a cell is wanted. Spread it over columns, turn it into "
                f"text, or delete it first."
            )
    floats = [name for name, dtype in frame.schema.items() if dtype.is_float()]
    return frame.with_columns(pl.col(floats).fill_nan(None)) if floats else frame


def series_of(name: str, values: list[Any]) -> pl.Series:
    """A list of Python values of any types -> a polars series; mixed types become texts."""
    values = [_plain(value) for value in values]
    types = {type(value) for value in values if value is not None}
    nested = next((kind for kind in types if issubclass(kind, dict | list | tuple | set | bytes)), None)
    if nested is not None:
        raise DataError(
            f"Column {name!r} holds values of type {nested.__name__}: one number, text or date a cell is wanted."
        )
    if types == {int} and all(value is None or -(2**63) <= value < 2**63 for value in values):
        return pl.Series(name, values, dtype=pl.Int64)
    if types in ({int, float}, {float}):
        try:
            return pl.Series(name, [None if v is None or v != v else float(v) for v in values], dtype=pl.Float64)
        except OverflowError:
            types = set()
    plain: dict[type, pl.DataType] = {bool: pl.Boolean(), date: pl.Date(), time: pl.Time()}
    if len(types) == 1:
        only = next(iter(types))
        if only is str:
            return _texts(name, values)
        if only in plain:
            return pl.Series(name, values, dtype=plain[only])
        if only in (datetime, timedelta, Decimal):
            try:
                return pl.Series(name, values)
            except (pl.exceptions.PolarsError, TypeError, OverflowError):
                types = set()  # mixed zones, say: as texts
    if not types and all(value is None for value in values):
        return pl.Series(name, values, dtype=pl.Null)
    return _texts(name, [None if value is None else str(value) for value in values])


def _texts(name: str, values: list[str | None]) -> pl.Series:
    try:
        return pl.Series(name, values, dtype=pl.String)
    except UnicodeEncodeError as error:
        raise DataError(f"Column {name!r} holds {error.object[:40]!r}, which is no valid Unicode text.") from error


def _plain(value: Any) -> Any:
    """numpy scalars to Python ones; NaN, NaT and pandas.NA to None."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value):
        return None
    if isinstance(value, datetime) and type(value) is not datetime:
        return value.to_pydatetime() if hasattr(value, "to_pydatetime") else value
    if isinstance(value, timedelta) and type(value) is not timedelta:
        return timedelta(microseconds=value / timedelta(microseconds=1))
    return value
