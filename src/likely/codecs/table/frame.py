"""A table of any type <-> one polars frame, and how to give it back.

`take` turns pandas, polars, Arrow, a list of dicts, a dict of columns or the path of a file into a polars.DataFrame
and a `Form`, which is plain JSON and holds what polars cannot: the pandas dtype, the Arrow type, the labels that are
no strings. `give` makes the same kind of table again. pandas and pyarrow are looked at only if the caller already
holds one of their objects, or to give one back.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from likely.codecs.table import arrow_form, pandas_form
from likely.codecs.table.form import Field, Form, clean, series_of
from likely.codecs.table.read import check_names, read
from likely.errors import DataError


def take(items: Any, *, encoding: str = "utf-8") -> tuple[pl.DataFrame, Form]:
    """Any table -> (frame, form). NaN becomes null. Raises DataError."""
    pandas, pyarrow = sys.modules.get("pandas"), sys.modules.get("pyarrow")
    if isinstance(items, str | os.PathLike):
        frame = read(items, encoding)
        kind, outers = "path", [""] * frame.width
    elif isinstance(items, pl.LazyFrame | pl.DataFrame):
        frame = items.collect() if isinstance(items, pl.LazyFrame) else items
        kind, outers = "polars", [""] * frame.width
    elif pandas is not None and isinstance(items, pandas.DataFrame):
        return pandas_form.take(items)
    elif pandas is not None and isinstance(items, pandas.Series):
        raise DataError("One pandas Series was given, a table was wanted: pass series.to_frame().")
    elif pyarrow is not None and isinstance(items, pyarrow.Table | pyarrow.RecordBatch):
        frame, outers = arrow_form.take(items)
        kind = "arrow"
    elif isinstance(items, Mapping):
        frame, outers = _from_columns(items)
        kind = "columns"
    elif isinstance(items, Sequence) and all(isinstance(row, Mapping) for row in items):
        frame = _from_rows(items)
        kind, outers = "rows", [""] * frame.width
    else:
        raise DataError(
            f"A table was wanted, {type(items).__name__} was given: pass a pandas or polars DataFrame, a pyarrow "
            "Table, a list of dicts, a dict of columns, or the path of a .csv, .tsv, .parquet or .jsonl file."
        )
    check_names(frame.columns, "the table")
    frame = clean(frame)
    fields = [Field(name, dtype, outer) for (name, dtype), outer in zip(frame.schema.items(), outers, strict=True)]
    return frame, Form(kind, tuple(fields))


def give(frame: pl.DataFrame, form: Form) -> Any:
    """The frame (columns of `form`, any subset in order) as the kind of table that came."""
    here = set(frame.columns)
    fields = [field for field in form.fields if field.name in here]
    match form.kind:
        case "pandas":
            return pandas_form.give(frame, fields)
        case "arrow":
            return arrow_form.give(frame, fields)
        case "rows":
            return frame.to_dicts()
        case "columns":
            return {
                field.name: frame[field.name].to_numpy() if field.outer == "array" else frame[field.name].to_list()
                for field in fields
            }
        case _:
            return frame


def _from_rows(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    names: dict[Any, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row))
    _check_texts(names)
    return pl.DataFrame([series_of(name, [row.get(name) for row in rows]) for name in names])


def _from_columns(columns: Mapping[str, Any]) -> tuple[pl.DataFrame, list[str]]:
    _check_texts(columns)
    made, outers, lengths = [], [], {}
    for name, values in columns.items():
        if isinstance(values, str | Mapping) or not hasattr(values, "__len__"):
            raise DataError(f"Column {name!r} should be a list or an array, not {type(values).__name__}.")
        array = isinstance(values, np.ndarray)
        if array and values.ndim == 1 and values.dtype.kind in "iufbM":
            made.append(pl.Series(name, values, nan_to_null=True))
        else:
            made.append(series_of(name, list(values)))
        outers.append("array" if array else "list")
        lengths[name] = len(values)
    if len(set(lengths.values())) > 1:
        short, long = min(lengths, key=lengths.__getitem__), max(lengths, key=lengths.__getitem__)
        raise DataError(
            f"Columns of different lengths: {short!r} has {lengths[short]} values, {long!r} has {lengths[long]}."
        )
    return pl.DataFrame(made), outers


def _check_texts(names: Any) -> None:
    for name in names:
        if not isinstance(name, str):
            raise DataError(f"Column names should be texts, {name!r} is {type(name).__name__}.")
