"""What a table of readings means: which column is the time, which names the machine, which are sensors; then numbers.

A number stays a number. A column of words becomes one 0/1 number a level (the commonest LEVELS; the rest is "other").
Missing sensor readings are carried forward from the last one of the same machine, as a display would show them; missing
numbers of a table take the column's median and, where they were missing before too, set a flag of their own.

What cannot be used is left out and said: columns without a value, columns of ever new words (names, keys).

Letters: N rows, F numbers a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from likely.apps.monitor import stamps
from likely.codecs.table.frame import take
from likely.errors import DataError, Mismatch, UnknownName

TIMES = ("time", "timestamp", "datetime", "date", "date_time", "ts", "stamp", "when")
LEVELS = 12
NUMERIC = 0.9  # share of the cells that must read as numbers


class Taken(NamedTuple):
    """Rows as numbers `x` (N, F), NaN where missing; `stamps` (N,) seconds; `entity` (N,) codes into `names`."""

    x: NDArray[np.float64]
    stamps: NDArray[np.float64]
    entity: NDArray[np.int64]
    names: list[str]
    notes: list[str]


@dataclass(frozen=True)
class Column:
    """One column that is looked at: `number`, or `levels` of words. `holes`: a table's flag for missing cells."""

    name: str
    levels: tuple[str, ...] = ()
    fill: float = 0.0
    holes: bool = False

    @property
    def width(self) -> int:
        """How many numbers it becomes."""
        return len(self.levels) + 1 if self.levels else 1 + self.holes


@dataclass
class Readings:
    """How to read tables of one kind. `time` None: rows have no order, each is looked at alone."""

    time: str | None = None
    entity: str | None = None
    notation: str = stamps.NUMBER
    step: float | None = None  # seconds between readings that carry no stamp
    columns: list[Column] = field(default_factory=list)

    @property
    def ordered(self) -> bool:
        """Whether rows follow each other in time."""
        return self.time is not None or self.step is not None

    @property
    def dated(self) -> bool:
        """Whether time is known in seconds, so that a day means something."""
        return self.step is not None or (self.time is not None and self.notation != stamps.NUMBER)

    @property
    def owner(self) -> NDArray[np.int64]:
        """The column that each of the F numbers belongs to."""
        return np.repeat(np.arange(len(self.columns)), [column.width for column in self.columns])

    # ------------------------------------------------------------------------------------------ learning

    def fit(self, frame: pl.DataFrame, drop: Iterable[str] = (), table: bool = False) -> list[str]:
        """Learn from a table what its columns are; says what was left out. Raises UnknownName, DataError."""
        notes: list[str] = []
        drop = list(drop)
        for kind, name in (("time column", self.time), ("entity column", self.entity), *(("column", d) for d in drop)):
            if name is not None and name not in frame.columns:
                raise UnknownName(kind, name, frame.columns)
        if self.time is None and self.step is None and not table:
            self.time = next((name for name in frame.columns if _tells_time(frame[name])), None)
            if self.time is not None:
                notes.append(f"Time is in {self.time!r}.")
        if self.time is not None:
            notation = stamps.learn(frame[self.time].to_list())
            if notation is None:
                seen = next((value for value in frame[self.time].to_list() if value is not None), None)
                raise DataError(
                    f"Column {self.time!r} holds no time stamps that can be read (such as {str(seen)[:40]!r}): write "
                    "them as 2026-01-31 13:45:00 or as numbers, or name another column with --time."
                )
            self.notation = notation
        skip = {self.time, self.entity, *drop}
        self.columns = []
        for name in frame.columns:
            if name in skip:
                continue
            column, why = self._learn(frame[name])
            if column is None:
                notes.append(f"Left out {name!r}: {why}.")
            else:
                self.columns.append(column)
        if not self.columns:
            raise DataError("No column is left to watch: all are empty, constant keys, or named as time or entity.")
        if not self.ordered:
            notes.append("No time column: each row is looked at alone. For a series: --time COLUMN or --step SECONDS.")
        return notes

    def _learn(self, series: pl.Series) -> tuple[Column | None, str]:
        numbers = _numbers(series)
        known = series.len() - series.null_count()
        if known == 0 or (numbers is not None and not np.isfinite(numbers).any()):
            return None, "it has no value at all"
        if numbers is not None:
            finite = numbers[np.isfinite(numbers)]
            holes = not self.ordered and len(finite) < len(numbers)
            return Column(series.name, (), float(np.median(finite)), holes), ""
        words = series.cast(pl.String).drop_nulls()
        if words.n_unique() > max(LEVELS, 0.5 * words.len()):
            return None, "nearly every value is a new word"
        counts = words.value_counts(sort=True)
        common = counts.sort(["count", series.name], descending=[True, False])[series.name].head(LEVELS)
        return Column(series.name, tuple(common.to_list())), ""

    # ------------------------------------------------------------------------------------------- reading

    def take(self, frame: pl.DataFrame) -> Taken:
        """Any table of the learned columns -> numbers, in order of entity and time. Raises Mismatch, DataError."""
        wanted = [name for name in (self.time, self.entity) if name is not None] + [c.name for c in self.columns]
        absent = [name for name in wanted if name not in frame.columns]
        if absent:
            raise Mismatch(
                f"The table lacks the column{'s' * (len(absent) > 1)} {', '.join(map(repr, absent[:5]))} that the "
                f"monitor watches. It has: {', '.join(frame.columns[:20])}."
            )
        notes: list[str] = []
        N = frame.height
        parts = [self._encode(frame[column.name], column, notes) for column in self.columns]
        x = np.concatenate(parts, 1) if parts else np.zeros((N, 0))
        if self.entity is None:
            entity, names = np.zeros(N, np.int64), [""]
        else:
            texts = frame[self.entity].cast(pl.String).fill_null("").to_numpy()
            uniques, first, codes = np.unique(texts, return_index=True, return_inverse=True)
            rank = np.argsort(np.argsort(first))  # entities in the order in which they come
            entity, names = rank[codes], [str(name) for name in uniques[np.argsort(first)]]
        if self.time is not None:
            when = np.array(stamps.column(frame[self.time].to_list(), self.notation, self.time))
        else:
            when = np.arange(N) * (self.step or 1.0)
        if not self.ordered:
            return Taken(self.fill(x), when, entity, names, notes)
        order = np.lexsort((np.arange(N), when, entity))
        if self.time is not None and (np.diff(order) < 0).any() and (np.diff(when)[np.diff(entity) == 0] < 0).any():
            notes.append("The stamps were not in order; the readings were sorted.")
        x, when, entity = x[order], when[order], entity[order]
        same = (np.diff(when) == 0) & (np.diff(entity) == 0) if self.time is not None else np.zeros(max(0, N - 1), bool)
        if same.any():
            notes.append(f"{int(same.sum())} stamps came more than once; the last reading of each was kept.")
            keep = np.append(~same, True)
            x, when, entity = x[keep], when[keep], entity[keep]
        return Taken(x, when, entity, names, notes)

    def row(self, cells: Sequence[str]) -> list[float]:
        """One line of text cells, in the order of `columns`, as F numbers; NaN where nothing can be read."""
        out: list[float] = []
        for cell, column in zip(cells, self.columns, strict=True):
            if column.levels:
                level = column.levels.index(cell) if cell in column.levels else len(column.levels)
                out += [float(level == k) for k in range(column.width)]
                continue
            try:
                number = float(cell)
            except ValueError:
                number = np.nan
            out.append(number if np.isfinite(number) else np.nan)
            if column.holes:
                out.append(float(not np.isfinite(number)))
        return out

    def fill(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Medians where numbers are missing."""
        return np.where(np.isnan(x), self.medians, x)

    @property
    def medians(self) -> NDArray[np.float64]:
        """The F numbers that stand for nothing known."""
        return np.concatenate(
            [[c.fill, *[0.0] * (c.width - 1)] if not c.levels else [0.0] * c.width for c in self.columns]
        )

    def _encode(self, series: pl.Series, column: Column, notes: list[str]) -> NDArray[np.float64]:
        if column.levels:
            texts = series.cast(pl.String)
            codes = texts.replace_strict(
                list(column.levels), list(range(len(column.levels))), default=len(column.levels), return_dtype=pl.Int64
            ).to_numpy()
            return np.asarray(np.eye(column.width)[codes], np.float64)
        numbers = _floats(series)
        wild = np.isinf(numbers)
        if wild.any():
            numbers[wild] = np.nan
            notes.append(f"Column {column.name!r}: {int(wild.sum())} infinite values are taken as missing.")
        unread = int(np.isnan(numbers).sum()) - series.null_count() - int(wild.sum())
        if unread > 0 and series.dtype == pl.String:
            notes.append(f"Column {column.name!r}: {unread} cells that are no numbers are taken as missing.")
        flags = np.isnan(numbers).astype(float)[:, None]
        return np.concatenate([numbers[:, None], flags], 1) if column.holes else numbers[:, None]

    def state(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)

    @classmethod
    def load(cls, state: dict[str, Any]) -> Self:
        """Take back what `state` gave. Raises TypeError, KeyError or ValueError where it does not fit."""
        columns = [Column(c["name"], tuple(c["levels"]), float(c["fill"]), bool(c["holes"])) for c in state["columns"]]
        return cls(state["time"], state["entity"], state["notation"], state["step"], columns)


def frame_of(data: Any) -> pl.DataFrame:
    """Anything that holds readings -> a frame; a bare array (N, F) gets the names x0, x1, ... Raises DataError."""
    if isinstance(data, np.ndarray):
        if data.ndim != 2 or 0 in data.shape:
            raise DataError(f"An array (rows, columns) was wanted, one of shape {data.shape} was given.")
        return pl.DataFrame({f"x{j}": data[:, j] for j in range(data.shape[1])})
    frame, _ = take(data)
    if frame.height == 0:
        raise DataError("The table has no rows: a monitor learns from readings of normal operation.")
    return frame


def _tells_time(series: pl.Series) -> bool:
    if series.dtype.is_temporal() and series.dtype != pl.Duration:
        return series.null_count() < series.len()
    return series.name.strip().lower() in TIMES and stamps.learn(series.to_list()) is not None


def _floats(series: pl.Series) -> NDArray[np.float64]:
    """(N,) numbers, NaN where null or unreadable."""
    if series.dtype == pl.String:
        series = series.str.strip_chars()
    return series.cast(pl.Float64, strict=False).to_numpy().astype(np.float64)


def _numbers(series: pl.Series) -> NDArray[np.float64] | None:
    """The numbers of a column, or None where it is made of words."""
    if not (series.dtype.is_numeric() or series.dtype in (pl.String, pl.Boolean, pl.Null) or series.dtype.is_decimal()):
        return None
    numbers = _floats(series)
    texts = series.cast(pl.String).str.strip_chars() if series.dtype == pl.String else series
    known = texts.len() - texts.null_count()
    if series.dtype == pl.String:  # a text that says "nan" is a missing number, not a word
        known -= int(texts.str.to_lowercase().is_in(["nan", "na", "null", "none", ""]).sum())
    readable = int((~np.isnan(numbers)).sum())
    return numbers if readable >= NUMERIC * known else None
