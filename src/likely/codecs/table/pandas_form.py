"""pandas frames <-> polars frames, column by column, keeping every dtype: nullable, category, zones, object."""

from __future__ import annotations

import re
from typing import Any
from zoneinfo import available_timezones

import numpy as np
import polars as pl

from likely.codecs.table.form import Field, Form, clean, series_of
from likely.errors import ArtifactError, DataError
from likely.registry import require

# What a model file may name as a pandas dtype.
DTYPES = re.compile(
    r"(u?int|float)(8|16|32|64)|U?Int(8|16|32|64)|Float(32|64)|bool|boolean|object|str|string(\[\w+\])?|category"
    r"|(datetime|timedelta)64\[(s|ms|us|ns)(, [\w/+:.\-]{1,60})?\]"
    r"|\w{1,20}(\[\w{1,10}(, tz=[\w/+:\-]{1,60})?\])?\[pyarrow\]"
)


def take(table: Any) -> tuple[pl.DataFrame, Form]:
    """A pandas.DataFrame -> (frame, form). Its index is left out."""
    pandas = require("pandas", "reading a pandas table")
    labels = list(table.columns)
    names = [str(label) for label in labels]
    if isinstance(table.columns, pandas.MultiIndex):
        raise DataError("Column names of several levels cannot be learned: flatten them first.")
    twice = (
        next((name for place, name in enumerate(names) if name in names[:place]), None)
        if len(set(names)) < len(names)
        else None
    )
    if twice is not None:
        raise DataError(f"The table has two columns called {twice!r}: rename one of them.")
    made, fields = [], []
    for place, name in enumerate(names):
        column = table.iloc[:, place]
        series = column_of(name, column)
        levels: tuple[Any, ...] | None = None
        order = False
        if isinstance(column.dtype, pandas.CategoricalDtype):
            levels = tuple(column_of(name, column.cat.categories.to_series()).to_list())
            if not all(isinstance(level, str | int | float) for level in levels):
                levels = tuple(str(level) for level in levels)
            order = bool(column.dtype.ordered)
        label = labels[place] if type(labels[place]) is int else None
        made.append(series)
        fields.append(Field(name, series.dtype, str(column.dtype), label, levels, order))
    frame = clean(pl.DataFrame(made))
    return frame, Form("pandas", tuple(fields))


def column_of(name: str, column: Any) -> pl.Series:
    """One pandas column -> a polars series."""
    pandas = require("pandas", "reading a pandas table")
    dtype = column.dtype
    if isinstance(dtype, pandas.CategoricalDtype):
        levels = column_of(name, column.cat.categories.to_series())
        codes = column.cat.codes.to_numpy()
        return (
            levels.gather(pl.Series(np.where(codes < 0, 0, codes))).set(pl.Series(codes < 0), None)
            if len(levels)
            else pl.Series(name, [None] * len(column), dtype=pl.String)
        )
    if isinstance(dtype, pandas.ArrowDtype):
        require("pyarrow", "reading a pandas table of Arrow types")
        made = pl.from_arrow(column.array.__arrow_array__())
        return made.alias(name) if isinstance(made, pl.Series) else pl.Series(name, column.tolist())
    zone = str(getattr(dtype, "tz", None) or "")
    if zone:
        stamps = column.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy()
        series = _stamps(name, stamps).dt.replace_time_zone("UTC")
        return series.dt.convert_time_zone(zone) if zone in available_timezones() else series
    if isinstance(dtype, np.dtype) and dtype.kind in "mM":
        return _stamps(name, column.to_numpy())
    if isinstance(dtype, np.dtype) and dtype.kind in "iufb":
        return pl.Series(name, column.to_numpy(), nan_to_null=True)
    if getattr(dtype, "kind", "") == "O" or pandas.api.types.is_string_dtype(dtype):
        return series_of(name, column.tolist())
    inner = getattr(dtype, "numpy_dtype", None)
    if inner is None:
        raise DataError(f"Column {name!r} has the pandas dtype {dtype}: turn it into numbers, texts or dates first.")
    null = column.isna().to_numpy()
    values = column.to_numpy(dtype=inner, na_value=inner.type(0))
    return pl.Series(name, values).set(pl.Series(null), None)


def _stamps(name: str, values: np.ndarray[Any, Any]) -> pl.Series:
    """datetime64 or timedelta64 of any unit; polars has no seconds."""
    unit = np.datetime_data(values.dtype)[0]
    return pl.Series(name, values if unit in ("ms", "us", "ns") else values.astype(f"{values.dtype.kind}8[ms]"))


def give(frame: pl.DataFrame, fields: list[Field]) -> Any:
    """A polars frame -> a pandas.DataFrame with the dtypes it came with."""
    pandas = require("pandas", "giving back a pandas table")
    columns = [_give(pandas, frame[field.name], field) for field in fields]
    table = pandas.concat(columns, axis=1) if columns else pandas.DataFrame()
    table.columns = pandas.Index([field.name if field.label is None else field.label for field in fields])
    return table


def _give(pandas: Any, series: pl.Series, field: Field) -> Any:
    outer = field.outer
    if not DTYPES.fullmatch(outer):
        raise ArtifactError(f"The model file is damaged: no pandas column has the type {outer[:40]!r}.")
    if outer == "category":
        codes = {level: code for code, level in enumerate(field.levels or ())}
        texts = isinstance(next(iter(codes), None), str)
        found = [codes.get(str(v) if texts and v is not None else v, -1) for v in series.to_list()]
        categories = list(field.levels or ())
        return pandas.Series(pandas.Categorical.from_codes(found, categories=categories, ordered=field.sorted))
    if outer.startswith(("datetime64", "timedelta64")):
        unit = outer.partition("[")[2].rstrip("]").partition(",")[0]
        zone = outer.rstrip("]").partition(", ")[2]
        kind = "datetime" if outer.startswith("d") else "timedelta"
        plain = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if zone else series
        made = pandas.Series(plain.to_numpy().astype(f"{kind}64[{unit}]"))
        return made.dt.tz_localize("UTC").dt.tz_convert(zone) if zone else made
    if outer.endswith("[pyarrow]"):
        return pandas.Series(series.to_list(), dtype=outer)
    if outer[0] in "uifb" and outer != "boolean":
        if series.null_count() and not outer.startswith("float"):
            # Only holes that a caller asked for can be missing here: an integer column had none.
            return pandas.Series(series.to_list(), dtype=object)
        return pandas.Series(series.to_numpy().astype(outer))
    return pandas.Series(series.to_list(), dtype=outer)
