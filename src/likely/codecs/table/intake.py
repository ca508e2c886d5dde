"""Tables that come after the first: any type, texts or values, whole rows or rows with holes -> the learned columns."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from likely.codecs.table import frame as frames
from likely.codecs.table.column import Column
from likely.codecs.table.notation import NOTHING, Notation
from likely.errors import DataError, Mismatch, UnknownName


def many(value: Any) -> bool:
    """Whether a value of a mapping is a whole column."""
    return hasattr(value, "__len__") and not isinstance(value, str | bytes)


class Intake:
    """What the first table taught about reading the next: columns, notations, the names to leave out."""

    def __init__(
        self, columns: Mapping[str, Column], notations: Mapping[str, Notation], dropped: Collection[str], encoding: str
    ) -> None:
        self.columns, self.notations, self.dropped, self.encoding = columns, notations, dropped, encoding

    def take(self, items: Any, holes: bool, strict: bool) -> tuple[pl.DataFrame, dict[str, Any]]:
        """Any table -> (typed frame of our columns, {column: (B,) true = a value of the wrong type})."""
        columns = self.columns
        if isinstance(items, Mapping) and not any(many(value) for value in items.values()):
            items = [items]  # one row
        if not isinstance(items, pl.DataFrame) and isinstance(items, Sequence) and not len(items):
            items = pl.DataFrame(schema=dict.fromkeys(columns, pl.Null))
        raw, _ = frames.take(items, encoding=self.encoding)
        here = dict.fromkeys(raw.columns)
        for name in here:
            if holes and name not in columns and name not in self.dropped:
                raise UnknownName("column", name, columns)
        absent = [name for name in columns if name not in here]
        if absent and not holes:
            raise Mismatch(
                f"The table lacks the column{'s' * (len(absent) > 1)} {', '.join(map(repr, absent[:5]))} "
                f"that the model has learned."
            )
        made, wrong = [], {}
        for name, column in columns.items():
            if name in here:
                series, bad = self._typed(raw[name], column)
            else:
                series, bad = pl.Series(name, [None] * raw.height, dtype=column.dtype), np.zeros(raw.height, bool)
            if strict and bad.any():
                row = int(bad.argmax())
                raise DataError(
                    f"Column {name!r}, row {row}: {str(raw[name][row])[:80]!r} is not of the learned type "
                    f"({column.report().words}). {int(bad.sum())} value{'s' if bad.sum() > 1 else ''} like this."
                )
            made.append(series.alias(name))
            wrong[name] = bad
        return pl.DataFrame(made), wrong

    def _typed(self, values: pl.Series, column: Column) -> tuple[pl.Series, NDArray[np.bool_]]:
        """Raw values -> the column's type; true where a value does not fit."""
        if values.dtype == column.dtype and not isinstance(values.dtype, pl.String):
            return values, np.zeros(len(values), bool)
        given = values.is_not_null()
        notation = self.notations.get(column.name)
        dtype = column.dtype
        if isinstance(values.dtype, pl.String | pl.Categorical | pl.Enum) and not isinstance(dtype, pl.String):
            texts = values.cast(pl.String)
            if not isinstance(dtype, pl.Categorical | pl.Enum):
                given = given & ~texts.str.strip_chars().str.to_lowercase().is_in(NOTHING)
            if notation is not None:
                typed = notation.read(texts)
                given = given & typed.is_not_null() if notation.loose else given
            elif isinstance(dtype, pl.Boolean):
                typed = texts.str.to_lowercase().replace_strict({"true": True, "false": False}, default=None)
            else:
                typed = texts.str.strip_chars().cast(dtype, strict=False)
        elif values.dtype == dtype or (values.dtype.is_numeric() and dtype.is_numeric()):
            typed = values if values.dtype.is_numeric() and not isinstance(dtype, pl.Decimal) else values.cast(dtype)
        else:
            try:
                typed = values.cast(dtype, strict=False)
            except pl.exceptions.PolarsError:
                typed = pl.Series([None] * len(values), dtype=dtype)
        bad = (given & typed.is_null()).to_numpy()
        if dtype.is_integer() and typed.dtype.is_float():
            bad = bad | (typed.fill_null(0.0) % 1 != 0).to_numpy()
        return typed, bad
