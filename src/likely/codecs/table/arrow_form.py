"""Arrow tables <-> polars frames, keeping the Arrow type of every column."""

from __future__ import annotations

import re
from typing import Any, cast

import polars as pl

from likely.codecs.table.form import Field
from likely.registry import require

PLAIN = (
    *("null", "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float", "double", "halffloat", "string", "large_string", "string_view", "date32[day]", "date64[ms]"),
)
TIMED = re.compile(r"(timestamp|duration|time32|time64)\[(s|ms|us|ns)(?:, tz=([\w/+:\-]{1,60}))?\]")
DECIMAL = re.compile(r"decimal(32|64|128|256)\((\d{1,2}), (\d{1,2})\)")
CODED = re.compile(r"dictionary<values=([\w\[\]]+), indices=(u?int(?:8|16|32|64)), ordered=([01])>")


def take(table: Any) -> tuple[pl.DataFrame, list[str]]:
    """A pyarrow Table or RecordBatch -> (frame, the name of each column's type)."""
    return cast(pl.DataFrame, pl.from_arrow(table)), [str(field.type) for field in table.schema]


def give(frame: pl.DataFrame, fields: list[Field]) -> Any:
    """A polars frame -> a pyarrow.Table with the types it came with."""
    pyarrow = require("pyarrow", "giving back an Arrow table")
    columns = []
    for field in fields:
        wanted = type_of(pyarrow, field.outer)
        column = frame[field.name].to_arrow()
        if wanted is not None and column.type != wanted:
            if pyarrow.types.is_dictionary(wanted):
                column = column.cast(wanted.value_type).dictionary_encode().cast(wanted)
            else:
                column = column.cast(wanted)
        columns.append(column)
    return pyarrow.table(columns, names=[field.name for field in fields])


def type_of(pyarrow: Any, name: str) -> Any:
    """The Arrow type called `name`, from a closed table; None = as polars gives it."""
    if name in PLAIN:
        short = {"date32[day]": "date32", "date64[ms]": "date64", "bool": "bool_", "float": "float32",
                 "double": "float64", "halffloat": "float16"}  # fmt: skip
        return getattr(pyarrow, short.get(name, name))()
    if found := TIMED.fullmatch(name):
        kind, unit, zone = found.groups()
        return pyarrow.timestamp(unit, zone) if kind == "timestamp" else getattr(pyarrow, kind)(unit)
    if found := DECIMAL.fullmatch(name):
        return getattr(pyarrow, f"decimal{found[1]}")(int(found[2]), int(found[3]))
    if found := CODED.fullmatch(name):
        values = type_of(pyarrow, found[1])
        return values and pyarrow.dictionary(type_of(pyarrow, found[2]), values, found[3] == "1")
    return None
