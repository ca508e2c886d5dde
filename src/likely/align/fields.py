"""What a field of a judgement may hold: text that every database can keep, JSON of bounded depth.

A judgement may come from a page, a file or another program, and may go to SQLite, PostgreSQL, JSON lines or Parquet.
So that none of these refuses it later, it is refused here: NUL (PostgreSQL's text cannot hold it) and half
surrogates (UTF-8 cannot) in any name or reason, NaN and unbounded nesting in JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from likely.errors import DataError

NAME = 256  # characters of an id, a name of an annotator, a model, a criterion
REASON = 20_000  # characters of a reason
DEPTH = 64  # nested lists and objects of a prompt or of parameters
JSON_BYTES = 16 * 2**20
_HALF = re.compile("[\ud800-\udfff]")


def shown(value: object) -> str:
    """A value as an error names it: short, on one line."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def text(value: object, where: str, *, limit: int = NAME, empty: bool = True) -> str:
    """The value, if it is text that can be kept anywhere. Raises DataError."""
    if not isinstance(value, str):
        raise DataError(f"{where} is {shown(value)}; it must be text.")
    if not value and not empty:
        raise DataError(f"{where} is empty; it must be text of 1 to {limit} characters.")
    if len(value) > limit:
        raise DataError(f"{where} has {len(value)} characters; at most {limit} are kept.")
    if "\0" in value:
        raise DataError(f"{where} holds a NUL character, which PostgreSQL cannot store as text: take it out.")
    if _HALF.search(value):
        raise DataError(f"{where} holds half a surrogate pair, which is no character of UTF-8: take it out.")
    return value


def whole(value: object, where: str, low: int, high: int) -> int:
    """The value, if it is an integer from `low` to `high`. Raises DataError."""
    if type(value) is not int or not low <= value <= high:
        raise DataError(f"{where} is {shown(value)}; it must be an integer from {low} to {high}.")
    return value


def plain(value: object, where: str) -> Any:
    """The value as JSON gives it back: tuples are lists. Raises DataError where JSON cannot say it."""
    made = _plain(value, where, DEPTH)
    if len(canonical(made)) > JSON_BYTES:
        raise DataError(f"{where} is larger than {JSON_BYTES // 2**20} MiB as JSON.")
    return made


def _plain(value: object, where: str, depth: int) -> Any:
    if depth < 0:
        raise DataError(f"{where} is nested more than {DEPTH} deep.")
    if value is None or isinstance(value, bool | int):
        if isinstance(value, int) and abs(value) >= 2**63:  # other readers of JSON and Parquet stop here
            raise DataError(f"{where} holds {shown(value)}; integers of more than 63 bits are not kept.")
        return value
    if isinstance(value, str):
        if _HALF.search(value):
            raise DataError(f"{where} holds half a surrogate pair, which is no character of UTF-8: take it out.")
        return value
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise DataError(f"{where} holds {value}, which JSON cannot say; use null.")
        return value
    if isinstance(value, list | tuple):
        return [_plain(part, where, depth - 1) for part in value]
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise DataError(f"{where} has a key that is no text; keys of JSON are.")
        return {_plain(key, where, depth): _plain(part, where, depth - 1) for key, part in value.items()}
    raise DataError(f"{where} holds {shown(value)}, of type {type(value).__name__}; it must be JSON.")


def canonical(value: Any) -> str:
    """One text for equal JSON."""
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def moment(value: object, where: str) -> str:
    """A time as ISO 8601 in UTC, or "" for unknown. Raises DataError where it is none or has no zone."""
    given = text(value, where, limit=64)
    if not given:
        return given
    try:
        time = datetime.fromisoformat(given)
    except ValueError as error:
        raise DataError(f"{where} is {shown(given)}; write ISO 8601, such as 2026-01-31T12:00:00+00:00.") from error
    if time.tzinfo is None:
        raise DataError(f"{where} is {shown(given)}, without a time zone; write +00:00 behind it for UTC.")
    return time.astimezone(UTC).isoformat()


def now() -> str:
    """The present moment."""
    return datetime.now(UTC).isoformat()
