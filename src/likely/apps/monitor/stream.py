"""Lines of text as they arrive -> stamped numbers. One broken line does not stop a watch, a broken stream does.

The first line names the columns; their order is free. A column that the monitor watches and the header lacks is an
error, one that it does not know is passed over with a remark. A line with the wrong number of cells, or with a stamp
that cannot be read, is skipped with a remark that gives its number; a cell that is no number counts as missing. After
LIMIT broken lines in a row the stream is taken for something else, and the watch ends with an error.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from likely.apps.monitor import stamps
from likely.apps.monitor.readings import Readings
from likely.errors import DataError, Mismatch

LIMIT = 100  # broken lines in a row
LONGEST = 1 << 20  # characters a line: a "line" longer than this is no line of readings
REMARKS = 20  # remarks about lines, before they are only counted


class Arrived(NamedTuple):
    """Readings of one machine in the order of arrival: `x` (n, F) NaN where missing, `stamps` (n,), entity."""

    x: NDArray[np.float64]
    stamps: NDArray[np.float64]
    entity: str


class Stream:
    """Turns lines into readings. `remark` is called with what a person should know."""

    def __init__(self, readings: Readings, header: str, remark: Callable[[str], None]) -> None:
        header = header.removeprefix("﻿").rstrip("\r\n")
        self.delimiter = max(",;\t", key=header.count)
        names = [name.strip() for name in next(csv.reader([header], delimiter=self.delimiter), [])]
        wanted = [readings.time, readings.entity, *(column.name for column in readings.columns)]
        absent = [name for name in wanted if name is not None and name not in names]
        if absent:
            raise Mismatch(
                f"Line 1, the header, lacks column{'s' * (len(absent) > 1)} {', '.join(map(repr, absent[:5]))} that "
                f"the monitor watches. It has: {', '.join(names[:20])}."
            )
        extra = [name for name in names if name not in wanted]
        if extra:
            remark(f"Not watched, passed over: {', '.join(extra[:10])}{' ...' * (len(extra) > 10)}")
        self.readings, self.remark, self.cells = readings, remark, len(names)
        place = {name: k for k, name in enumerate(names)}
        self.time = place[readings.time] if readings.time is not None else None
        self.entity = place[readings.entity] if readings.entity is not None else None
        self.columns = [place[column.name] for column in readings.columns]
        self.number, self.broken, self.in_a_row = 1, 0, 0

    def parse(self, line: str) -> tuple[float, str, list[float]] | None:
        """One line -> stamp, entity, F numbers; None where it is blank or broken. Raises DataError after LIMIT of
        them."""
        self.number += 1
        if not line.strip():
            return None
        if len(line) > LONGEST:
            return self._skip(f"it has {len(line):,} characters")
        plain = '"' not in line
        try:
            cells = (
                line.rstrip("\r\n").split(self.delimiter)
                if plain
                else next(csv.reader([line], delimiter=self.delimiter))
            )
        except (csv.Error, StopIteration) as error:
            return self._skip(str(error))
        if len(cells) != self.cells:
            return self._skip(f"{len(cells)} cells where the header has {self.cells}")
        stamp: float | None = float(self.number)
        if self.time is not None:
            stamp = stamps.read(cells[self.time], self.readings.notation)
            if stamp is None:
                return self._skip(f"{cells[self.time][:40]!r} is no time stamp")
        elif self.readings.step is not None:
            stamp = self.number * self.readings.step
        row = self.readings.row([cells[k] for k in self.columns])
        self.in_a_row = 0
        return float(stamp or 0.0), cells[self.entity] if self.entity is not None else "", row

    def batches(self, lines: Iterable[str], size: int) -> Iterator[Arrived]:
        """Readings of neighbouring lines of one machine, at most `size` at a time (1: as each arrives)."""
        rows: list[list[float]] = []
        when: list[float] = []
        machine = ""
        for line in lines:
            parsed = self.parse(line)
            if parsed is None:
                continue
            stamp, entity, row = parsed
            if rows and (entity != machine or len(rows) >= size):
                yield Arrived(np.array(rows), np.array(when), machine)
                rows, when = [], []
            machine = entity
            rows.append(row)
            when.append(stamp)
            if size == 1:
                yield Arrived(np.array(rows), np.array(when), machine)
                rows, when = [], []
        if rows:
            yield Arrived(np.array(rows), np.array(when), machine)

    def _skip(self, why: str) -> tuple[float, str, list[float]] | None:
        self.broken += 1
        self.in_a_row += 1
        if self.broken <= REMARKS:
            self.remark(
                f"Line {self.number} skipped: {why}." + " Further ones are only counted." * (self.broken == REMARKS)
            )
        if self.in_a_row >= LIMIT:
            raise DataError(
                f"Line {self.number}: {LIMIT} broken lines in a row ({why}). This is not the stream that was learned."
            )
        return None
