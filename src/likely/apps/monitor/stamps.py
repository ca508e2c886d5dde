"""Time stamps as seconds, and back. Dates in the usual spellings, or plain numbers (seconds, cycles).

One notation is learned from the first stamps and kept: a stream that changes its spelling half-way is a broken stream.
Dates without a zone are read as UTC; only differences matter here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

from likely.errors import DataError

NUMBER, ISO = "number", "iso"
SPELLINGS = (
    "%d/%m/%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M", "%m/%d/%Y %H:%M", "%d.%m.%Y %H:%M:%S", "%d.%m.%Y %H:%M",
    "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%d-%m-%Y %H:%M:%S", "%Y-%m-%d %I:%M:%S %p",
)  # fmt: skip
LOOKS = 200  # stamps that a notation must explain


def learn(values: Sequence[Any]) -> str | None:
    """The notation that explains all of the first stamps; None where none does."""
    known = [value for value in values if value is not None][:LOOKS]
    if not known:
        return None
    if isinstance(known[0], date):  # a datetime is one too
        return ISO
    return next((one for one in (NUMBER, ISO, *SPELLINGS) if all(read(v, one) is not None for v in known)), None)


def read(value: Any, notation: str) -> float | None:
    """One stamp as seconds since 1970 (or as the number it is); None where it cannot be read."""
    if isinstance(value, datetime):
        return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC).timestamp()
    if notation == NUMBER:
        try:
            number = float(value)
        except (TypeError, ValueError):
            return None
        return number if math.isfinite(number) else None
    text = str(value).strip()
    try:
        moment = datetime.fromisoformat(text) if notation == ISO else datetime.strptime(text, notation)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def column(values: Sequence[Any], notation: str, name: str) -> list[float]:
    """All stamps of a column. Raises DataError that names the first row that cannot be read."""
    found = []
    for row, value in enumerate(values):
        seconds = read(value, notation)
        if seconds is None:
            shown = "nothing" if value is None else repr(str(value)[:40])
            raise DataError(
                f"Column {name!r}, row {row}: {shown} is no time stamp like the ones before it. "
                "Mend the row, or name another column with --time."
            )
        found.append(seconds)
    return found


def write(seconds: float, notation: str) -> str | float:
    """A stamp for a person: ISO 8601, or the number."""
    if notation == NUMBER:
        return int(seconds) if float(seconds).is_integer() else seconds
    moment = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    return moment.isoformat(sep=" ", timespec="milliseconds" if moment.microsecond else "seconds")
