"""Polars data types as plain JSON, from a closed table: nothing else can come out of a model file."""

from __future__ import annotations

from typing import Any, cast

import polars as pl

from likely.errors import ArtifactError

PLAIN: dict[str, pl.DataType] = {
    str(dtype): dtype
    for dtype in (
        pl.Int8(), pl.Int16(), pl.Int32(), pl.Int64(), pl.Int128(), pl.UInt8(), pl.UInt16(), pl.UInt32(), pl.UInt64(),
        pl.Float32(), pl.Float64(), pl.Boolean(), pl.String(), pl.Categorical(), pl.Date(), pl.Time(), pl.Null(),
    )
}  # fmt: skip
UNITS = ("ms", "us", "ns")


def dtype_to_json(dtype: pl.DataType) -> Any:
    """A name, or [name, parameters...]."""
    if isinstance(dtype, pl.Datetime):
        return ["Datetime", dtype.time_unit, dtype.time_zone]
    if isinstance(dtype, pl.Duration):
        return ["Duration", dtype.time_unit]
    if isinstance(dtype, pl.Decimal):
        return ["Decimal", dtype.precision or 38, dtype.scale]
    if isinstance(dtype, pl.Enum):
        return ["Enum", dtype.categories.to_list()]
    if isinstance(dtype, pl.Categorical):
        return "Categorical"
    return str(dtype)


def dtype_of_json(value: Any) -> pl.DataType:
    """The inverse of `dtype_to_json`. Raises ArtifactError for anything else."""
    if isinstance(value, str) and value in PLAIN:
        return PLAIN[value]
    match value:
        case ["Datetime", str(unit), None | str() as zone] if unit in UNITS and len(zone or "") < 100:
            return pl.Datetime(cast(Any, unit), zone)
        case ["Duration", str(unit)] if unit in UNITS:
            return pl.Duration(cast(Any, unit))
        case ["Decimal", int(precision), int(scale)] if 0 <= scale <= precision <= 38:
            return pl.Decimal(precision, scale)
        case ["Enum", list(levels)] if all(isinstance(level, str) for level in levels):
            return pl.Enum(list(dict.fromkeys(cast(list[str], levels))))
    raise ArtifactError(f"The model file is damaged: no column can have the type {str(value)[:60]!r}.")
