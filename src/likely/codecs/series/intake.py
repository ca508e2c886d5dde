"""Whatever a user may call a series -> rows sorted by entity and time, and what is known of the columns.

A table needs a column of time: the only one of dates, or one named like it. A column of entities (engine, machine,
patient) is one that is named so, or whose values tell apart rows of the same time. An array (T, C) or (T,) is one
recording with even steps, a list of such arrays several, and an array (n, T, C) is n windows as they are.

Shape letters: N rows, n windows, T moments, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import Tensor

from likely.codecs.series.channel import Channel
from likely.codecs.table import frame as frames
from likely.codecs.table.form import Form
from likely.codecs.table.notation import Notation, recognise
from likely.errors import DataError, Mismatch, UnknownName

Floats = NDArray[np.float64]

TIMES = ("time", "timestamp", "datetime", "date", "ds", "t", "cycle", "cycles", "step", "tick", "time_stamp", "seconds")
ENTITIES = (
    *("entity", "unit", "unit_id", "unit_nr", "id", "engine", "machine", "machine_id", "device", "device_id", "asset"),
    *("series", "series_id", "item_id", "unique_id", "patient", "patient_id", "subject", "subject_id", "sensor_id"),
    *("station", "pump", "vehicle", "run", "host"),
)
WORDS = ("number", "category", "drop")


@dataclass(frozen=True)
class Options:
    """What the user said about the columns. `time` is False where rows are evenly spaced and in order."""

    time: str | bool | None
    entity: str | None
    columns: Mapping[str, str]
    least: int
    encoding: str


@dataclass
class Plan:
    """What the first series taught about reading the next. `kind`: "table", or an array by its number of axes."""

    kind: str
    form: Form | None = None  # of a table
    dtype: str = "float64"  # of an array
    time: str | None = None
    entity: str | None = None
    channels: list[Channel] = field(default_factory=list)
    notations: dict[str, Notation] = field(default_factory=dict)

    @property
    def live(self) -> list[Channel]:
        """The channels that are modelled."""
        return [channel for channel in self.channels if channel.kind in ("number", "level")]


@dataclass
class Raw:
    """Rows sorted by entity and tick, no two alike: `values` (N, C) of the live channels, `rows` (N,) of the input."""

    ticks: Floats
    values: Floats
    rows: NDArray[np.int64]
    entity: NDArray[np.str_]
    said: list[str] = field(default_factory=list)


def kind_of(items: Any) -> str:
    """ "table", "list" of arrays, "1", "2" or "3" axes of an array."""
    if isinstance(items, Tensor):
        items = items.detach().cpu().numpy()
    if isinstance(items, np.ndarray):
        if items.dtype.kind not in "buif" or items.ndim not in (1, 2, 3) or not items.size:
            raise DataError(
                f"An array of shape {items.shape} and type {items.dtype} is no series: numbers of shape (moments,), "
                "(moments, channels) or (windows, moments, channels) are wanted."
            )
        return str(items.ndim)
    many = isinstance(items, Sequence) and not isinstance(items, str)
    if many and len(items) and all(isinstance(item, np.ndarray | Tensor) for item in items):
        return "list"
    if many and not len(items):
        raise DataError("No series: the list is empty.")
    return "table"


# ------------------------------------------------------------------------------------------------ tables


def plan_table(items: Any, options: Options) -> tuple[Plan, pl.DataFrame, list[str]]:
    """The first table: roles and kinds of its columns, in words. Raises DataError, UnknownName."""
    frame, form = frames.take(items, encoding=options.encoding)
    for name, word in options.columns.items():
        if name not in frame.columns:
            raise UnknownName("column", name, frame.columns)
        if word not in WORDS:
            raise UnknownName("kind of channel", word, WORDS)
    said: list[str] = []
    notations: dict[str, Notation] = {}
    frame = frame.drop([name for name, word in options.columns.items() if word == "drop"])
    for name in frame.columns:
        if isinstance(frame[name].dtype, pl.String) and options.columns.get(name) != "category":
            notation, repairs = recognise(frame[name], typed=form.kind == "path")
            if notation is not None:
                notations[name] = notation
                frame = frame.with_columns(notation.read(frame[name]).alias(name))
                said += [f"{name!r}: {repair}" for repair in repairs]
    time = _time(frame, options)
    entity = _entity(frame, time, options)
    channels = []
    for name in frame.columns:
        if name in (time, entity):
            continue
        channel, words = Channel.of(frame[name], options.columns.get(name), options.least)
        said += [words] if words else []
        if channel is not None:
            channels.append(channel)
    plan = Plan("table", None, "", time, entity, channels, notations)
    if not plan.live:
        raise DataError(
            "Every channel is empty or constant: there is nothing to learn. " + "; ".join(said[:5]) + "."
            if channels
            else f"There is no channel of numbers or levels beside {time!r}."
        )
    here = {time, entity, *(channel.name for channel in channels)}
    plan.form = Form(form.kind, tuple(_plain(part, entity) for part in form.fields if part.name in here))
    return plan, frame, said


def _plain(part: Any, entity: str | None) -> Any:
    """The entity of what is made is a new one, so its column must not be a closed list of names."""
    if part.name != entity or (part.levels is None and not isinstance(part.dtype, pl.Categorical | pl.Enum)):
        return part
    return type(part)(part.name, pl.String(), "object" if part.outer == "category" else "", part.label)


def later_table(items: Any, plan: Plan, options: Options) -> pl.DataFrame:
    """A table that comes after the first, in the learned types. Raises Mismatch, DataError."""
    frame, _ = frames.take(items, encoding=options.encoding)
    wanted = [name for name in (plan.time, plan.entity) if name] + [channel.name for channel in plan.live]
    absent = [name for name in wanted if name not in frame.columns]
    if absent:
        raise Mismatch(
            f"The table lacks the column{'s' * (len(absent) > 1)} {', '.join(map(repr, absent[:5]))} that was learned."
        )
    made = []
    for name in wanted:
        values = frame[name]
        if isinstance(values.dtype, pl.String) and name in plan.notations:
            values = plan.notations[name].read(values)
        elif isinstance(values.dtype, pl.String) and name == plan.time:
            notation, _ = recognise(values, typed=True)
            values = notation.read(values) if notation is not None else values
        elif isinstance(values.dtype, pl.String) and any(c.name == name and c.kind == "number" for c in plan.live):
            values = values.str.strip_chars().cast(pl.Float64, strict=False)
        if name not in (plan.time, plan.entity) and not values.dtype.is_numeric():
            number = any(channel.name == name and channel.kind == "number" for channel in plan.live)
            if number and not isinstance(values.dtype, pl.Null):
                raise DataError(f"Channel {name!r} holds {values.dtype}, numbers were learned.")
        made.append(values.alias(name))
    return pl.DataFrame(made)


def _time(frame: pl.DataFrame, options: Options) -> str | None:
    """The column of time, None where the rows are in order."""
    if options.time is False:
        return None
    if isinstance(options.time, str):
        if options.time not in frame.columns:
            raise UnknownName("column", options.time, frame.columns)
        dtype = frame[options.time].dtype
        if not (dtype.is_numeric() or isinstance(dtype, pl.Datetime | pl.Date | pl.Duration)):
            raise DataError(f"time={options.time!r}: the column holds {dtype}, dates or numbers are wanted.")
        return options.time
    dated = [name for name in frame.columns if isinstance(frame[name].dtype, pl.Datetime | pl.Date)]
    named = [name for name in frame.columns if name.strip().lower().replace(" ", "_") in TIMES]
    if len(dated) == 1:
        return dated[0]
    fits = [name for name in named if name in dated or (not dated and frame[name].dtype.is_numeric())]
    if fits:
        return min(fits, key=lambda name: TIMES.index(name.strip().lower().replace(" ", "_")))
    if named and not dated:
        raise DataError(
            f"Column {named[0]!r} holds {frame[named[0]].dtype}, dates or numbers are wanted: mend it, name another "
            "one, time='...', or say time=False where rows are evenly spaced and in order."
        )
    listed = ", ".join(map(repr, (dated or frame.columns)[:12]))
    what = (
        f"There are {len(dated)} columns of dates ({listed})" if dated else f"There is no column of time among {listed}"
    )
    raise DataError(f"{what}: name one, time='...', or say time=False where rows are evenly spaced and in order.")


def _entity(frame: pl.DataFrame, time: str | None, options: Options) -> str | None:
    """The column that tells apart what was measured, or None."""
    if options.entity is not None:
        if options.entity not in frame.columns:
            raise UnknownName("column", options.entity, frame.columns)
        return options.entity
    texts = [
        name for name in frame.columns
        if name != time and options.columns.get(name) is None
        and (frame[name].dtype.is_integer() or isinstance(frame[name].dtype, pl.String | pl.Categorical | pl.Enum))
    ]  # fmt: skip
    named = [name for name in texts if name.strip().lower().replace(" ", "_") in ENTITIES]
    twice = time is not None and frame[time].drop_nulls().is_duplicated().any()
    others = [name for name in texts if not frame[name].dtype.is_integer()] if twice else []
    for name in [*named, *others]:
        many = frame[name].n_unique()
        if not 1 < many <= max(frame.height / 2, 2):
            continue
        if not twice or not frame.select(time, name).drop_nulls().is_duplicated().any():
            return name
    return None


def physical(values: pl.Series) -> Floats:
    """Stamps -> ticks as float64 (microseconds since 1970 stay exact until 2255), NaN where missing."""
    if isinstance(values.dtype, pl.Datetime):
        values = values.dt.cast_time_unit("us")
    if values.dtype.is_temporal():
        values = values.to_physical()
    return values.cast(pl.Float64, strict=False).to_numpy().astype(np.float64)


def rows_of(frame: pl.DataFrame, plan: Plan) -> Raw:
    """Sorted rows of a table; what was mended is said. Raises DataError."""
    said: list[str] = []
    n = frame.height
    ticks = physical(frame[plan.time]) if plan.time else np.arange(n, dtype=np.float64)
    entity = frame[plan.entity].cast(pl.String) if plan.entity else pl.repeat("", n, dtype=pl.String, eager=True)
    names = entity.fill_null("").to_numpy().astype(np.str_)
    values = np.stack([channel.numbers(frame[channel.name]) for channel in plan.live], 1)
    if np.isinf(values).any():
        channel = plan.live[int(np.isinf(values).any(0).argmax())]
        raise DataError(f"Channel {channel.name!r} holds infinite values: replace them.")
    keep = np.isfinite(ticks) & ~entity.is_null().to_numpy()
    if not keep.all():
        said.append(f"{int((~keep).sum()):,} rows without a stamp or an entity were left out")
    if not keep.any():
        raise DataError(f"No row has a time: column {plan.time!r} is empty.")
    if plan.time and len(np.unique(ticks[keep])) < 2:
        raise DataError(f"All rows have the same time in column {plan.time!r}: name another one, time='...'.")
    rows = np.flatnonzero(keep)
    _, who = np.unique(names[rows], return_inverse=True)
    order = rows[np.lexsort((rows, ticks[rows], who))]
    same = names[order][1:] == names[order][:-1]
    if (same & (np.diff(order) < 0)).any():
        said.append("rows were not in the order of time: sorted")
    last = np.append(~(same & (np.diff(ticks[order]) == 0)), True)
    if not last.all():
        hint = "" if plan.entity else " (or name the column that tells them apart: entity='...')"
        said.append(f"{int((~last).sum()):,} rows repeat a stamp: the last of each was kept{hint}")
    order = order[last]
    return Raw(ticks[order], values[order], order, names[order], said)


# ------------------------------------------------------------------------------------------------ arrays


def plan_array(items: Any, kind: str, options: Options) -> tuple[Plan, list[str]]:
    """The first array: the kinds of its channels."""
    parts = parts_of(items, kind)
    flat = np.concatenate([part.reshape(-1, part.shape[-1]) for part in parts])
    said: list[str] = []
    channels = []
    for place in range(flat.shape[1]):
        values = pl.Series(f"channel {place + 1}", flat[:, place], nan_to_null=True)
        channel, words = Channel.of(values, options.columns.get(values.name), options.least)
        said += [words] if words else []
        assert channel is not None
        channels.append(channel)
    name = "list" if kind == "list" else "tensor" if isinstance(items, Tensor) else "array"
    plan = Plan(f"{name} {parts[0].ndim if kind != '1' else 1}", dtype=str(parts[0].dtype), channels=channels)
    if not plan.live:
        raise DataError("Every channel is empty or constant: there is nothing to learn. " + "; ".join(said[:5]) + ".")
    return plan, said


def parts_of(items: Any, kind: str) -> list[NDArray[Any]]:
    """Recordings (T, C), or one array of windows (n, T, C)."""
    many = list(items) if kind == "list" else [items]
    parts = [part.detach().cpu().numpy() if isinstance(part, Tensor) else part for part in many]
    parts = [part[:, None] if part.ndim == 1 else part for part in parts]
    if any(part.dtype == bool for part in parts):
        parts = [part.astype(np.uint8) for part in parts]
    shapes = {(part.ndim, part.shape[-1]) for part in parts}
    if len(shapes) > 1 or (kind == "list" and parts[0].ndim != 2):
        raise DataError(
            f"A list of recordings (moments, channels) is wanted, with the same channels: {sorted(shapes)}."
        )
    return parts


def live_of(part: NDArray[Any], plan: Plan) -> Floats:
    """The modelled channels of an array. Raises Mismatch."""
    if part.shape[-1] != len(plan.channels):
        raise Mismatch(f"{len(plan.channels)} channels were learned, {part.shape[-1]} were given.")
    places = [place for place, channel in enumerate(plan.channels) if channel.kind in ("number", "level")]
    values = part[..., places].astype(np.float64)
    if np.isinf(values).any():
        raise DataError("The array holds infinite values: replace them, or mark what is missing with NaN.")
    for place, channel in enumerate(plan.live):
        if channel.kind == "level":
            flat = pl.Series(part[..., places[place]].reshape(-1))
            values[..., place] = channel.numbers(flat).reshape(part.shape[:-1])
    return values


def rows_of_parts(parts: list[NDArray[Any]], plan: Plan) -> Raw:
    """Recordings (T, C), one below the other."""
    lengths = [len(part) for part in parts]
    names = [str(place) if len(parts) > 1 else "" for place in range(len(parts))]
    return Raw(
        np.concatenate([np.arange(length, dtype=np.float64) for length in lengths]),
        np.concatenate([live_of(part, plan) for part in parts]),
        np.concatenate([np.arange(length) for length in lengths]),
        np.repeat(np.array(names, np.str_), lengths),
    )
