"""Windows back to the form that came: tables with regular stamps, arrays; and the plan of a codec as plain JSON.

Every window of a table is an entity of its own: its number stands in the column of entities, or in a column "window"
where the table had none.

Shape letters: n windows, T moments, C channels.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
import polars as pl
from torch import from_numpy

from likely.codecs.series.channel import Channel
from likely.codecs.series.intake import Plan
from likely.codecs.series.windows import Windows
from likely.codecs.state import dict_of, entry, list_of, text_of
from likely.codecs.table import frame as frames
from likely.codecs.table.form import Field, Form
from likely.codecs.table.notation import Notation
from likely.errors import ArtifactError, LikelyError

KINDS = ("table", "array 1", "array 2", "array 3", "tensor 1", "tensor 2", "tensor 3", "list 2")
DTYPES = ("uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float16", "float32", "float64")
CONDITIONS = 50  # most entities that are a condition
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def give(items: Windows, plan: Plan, step: float, length: int) -> Any:
    """Windows in the form of the plan."""
    if plan.kind == "table":
        return _table(items, plan, step, length)
    n = len(items)
    made = np.full((n, length, len(plan.channels)), np.nan)
    live = iter(range(len(plan.live)))
    for place, channel in enumerate(plan.channels):
        if channel.kind == "number":
            made[..., place] = items.values[..., next(live)]
        elif channel.kind == "level":
            values = channel.column(items.values[..., next(live)].reshape(-1), n * length)
            made[..., place] = values.cast(pl.Float64).to_numpy().reshape(n, length)
        elif channel.kind == "constant":
            made[..., place] = float(channel.levels[0])
    array = made.astype(plan.dtype) if plan.dtype[0] == "f" else np.nan_to_num(made).astype(plan.dtype)
    if plan.kind.endswith("1"):
        array = array[..., 0]
    if plan.kind.startswith("list"):
        return list(array)
    return from_numpy(array) if plan.kind.startswith("tensor") else array


def _table(items: Windows, plan: Plan, step: float, length: int) -> Any:
    """A table of the learned columns, one window below the other."""
    assert plan.form is not None
    n, columns = len(items), {}
    stamps = (items.start[:, None] + step * np.arange(length)).reshape(-1)
    live = {channel.name: k for k, channel in enumerate(plan.live)}
    fields = list(plan.form.fields)
    for field in fields:
        if field.name == plan.time:
            made = _stamps(stamps, plan.notations[field.name].dtype() if field.name in plan.notations else field.dtype)
        elif field.name == plan.entity:
            made = _names(items.entity.repeat(length), field.dtype, field.name in plan.notations)
        else:
            channel = next(channel for channel in plan.channels if channel.name == field.name)
            place = live.get(field.name)
            values = None if place is None else items.values[..., place].reshape(-1)
            made = channel.column(values, n * length)
        if field.name in plan.notations:
            made = plan.notations[field.name].write(made)
        columns[field.name] = made.alias(field.name)
    if plan.entity is None:
        name = "window" if "window" not in columns else "window_id"
        outer = {"pandas": "int64", "arrow": "int64", "columns": "list"}.get(plan.form.kind, "")
        fields = [Field(name, pl.Int64(), outer), *fields]
        columns = {name: pl.Series(name, np.arange(1, n + 1).repeat(length)), **columns}
    return frames.give(pl.DataFrame(list(columns.values())), Form(plan.form.kind, tuple(fields)))


def _names(names: Any, dtype: pl.DataType, written: bool) -> pl.Series:
    texts = pl.Series(names.tolist(), dtype=pl.String)
    if dtype.is_integer() or (written and texts.str.contains(r"^\d+$").all()):
        return texts.cast(pl.Int64, strict=False).cast(dtype if dtype.is_integer() else pl.Int64)
    return texts.cast(dtype)


def _stamps(ticks: Any, dtype: pl.DataType) -> pl.Series:
    """Ticks -> stamps of the learned type."""
    if isinstance(dtype, pl.Datetime):
        plain = pl.Series(np.rint(ticks).astype(np.int64)).cast(pl.Datetime("us"))
        made = plain.dt.cast_time_unit(dtype.time_unit)
        zone = dtype.time_zone
        return made.dt.replace_time_zone("UTC").dt.convert_time_zone(zone) if zone else made
    if isinstance(dtype, pl.Date):
        return pl.Series(np.rint(ticks).astype(np.int32)).cast(pl.Date)
    if dtype.is_integer() or isinstance(dtype, pl.Duration):
        return pl.Series(np.rint(ticks).astype(np.int64)).cast(dtype)
    return pl.Series(ticks).cast(dtype)


def span(plan: Plan, step: float) -> str:
    """A step of time in words."""
    dtype = _timed(plan)
    if isinstance(dtype, pl.Datetime):
        return str(timedelta(microseconds=step))
    return f"{step:g} day{'s' * (step != 1)}" if isinstance(dtype, pl.Date) else f"{step:g}"


def _timed(plan: Plan) -> pl.DataType | None:
    if plan.form is None or plan.time is None:
        return None
    if plan.time in plan.notations:
        return plan.notations[plan.time].dtype()
    return next((field.dtype for field in plan.form.fields if field.name == plan.time), None)


def heads(items: Windows, plan: Plan) -> list[str]:
    """A line above each window of a plot."""
    dtype = _timed(plan)
    made = []
    for k in range(len(items)):
        if items.origin[k, 0] < 0:
            made.append(f"made {items.entity[k]}")
            continue
        stamp = _stamps(items.start[k : k + 1], dtype)[0] if dtype is not None else f"from {items.start[k]:g}"
        made.append(f"{items.entity[k]} {stamp}".strip())
    return made


def conditions(items: Windows, plan: Plan, calendar: bool) -> pl.DataFrame | None:
    """Entity, hour and weekday of each window, as far as they are known."""
    columns: dict[str, pl.Series] = {}
    names = np.unique(items.entity)
    if plan.entity is not None and 1 < len(names) <= CONDITIONS:
        columns["entity"] = pl.Series(items.entity.tolist(), dtype=pl.String)
    dtype = _timed(plan)
    if calendar and isinstance(dtype, pl.Datetime | pl.Date):
        stamps = _stamps(items.start, dtype)
        if isinstance(dtype, pl.Datetime):
            columns["hour"] = stamps.dt.hour().cast(pl.Int64)
        columns["weekday"] = pl.Series([DAYS[day - 1] for day in stamps.dt.weekday().to_list()], dtype=pl.String)
    return pl.DataFrame({name: made.alias(name) for name, made in columns.items()}) if columns else None


# -------------------------------------------------------------------------------------------------------- keep


def state_of(plan: Plan) -> dict[str, Any]:
    """Plain JSON."""
    return {
        "kind": plan.kind, "form": plan.form.state() if plan.form else None, "dtype": plan.dtype, "time": plan.time,
        "entity": plan.entity, "channels": [channel.state() for channel in plan.channels],
        "notations": {name: notation.state() for name, notation in plan.notations.items()},
    }  # fmt: skip


def load_plan(state: Any) -> Plan:
    """The inverse of `state_of`. Raises ArtifactError."""
    part = entry(state, "plan")
    kind = text_of(part, "kind", KINDS)
    try:
        form = Form.load(entry(part, "form")) if kind == "table" else None
        channels = [Channel.load(channel) for channel in list_of(part, "channels", dict, most=100_000)]
        notations = {name: Notation.load(each) for name, each in dict_of(part, "notations").items()}
    except LikelyError as error:
        raise (
            error if isinstance(error, ArtifactError) else ArtifactError(f"The model file is damaged: {error}")
        ) from error
    time, entity = (None if entry(part, key) is None else text_of(part, key) for key in ("time", "entity"))
    dtype = text_of(part, "dtype", DTYPES) if kind != "table" else ""
    plan = Plan(kind, form, dtype, time, entity, channels, notations)
    names = [channel.name for channel in channels]
    fields = {field.name for field in form.fields} if form else set(names)
    if not plan.live or len(set(names)) < len(names) or fields != {*names, time, entity} - {None}:
        raise ArtifactError("The model file is damaged: the columns of the series do not fit together.")
    return plan
