"""Our own lines: lossless. A head, then items with their candidates, then comparisons.

    {"likely": "judgements", "version": 1}
    {"item": "q1", "prompt": "...", "candidates": [{"text": "...", "media": "text/plain", "model": "a", ...}, ...]}
    {"comparison": "5f...", "item": "q1", "shown": [0, 1], "annotator": "ann", "choice": "left", ...}

`shown` are places among the item's candidates. Content that is UTF-8 stands as `text`, other content as `base64`.
What is empty or unknown is left out. In Parquet each line is a row: (kind, id, item, annotator, choice, line).
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable
from dataclasses import MISSING, fields
from typing import Any

from likely.align.exchange.lines import Row
from likely.align.preference import Candidate, Comparison, Item, Judgements
from likely.errors import DataError

VERSION = 1
_CANDIDATE = ("media", "model", "artifact", "seed", "parameters")
_COMPARISON = [f for f in fields(Comparison) if f.name not in ("id", "item", "shown")]


def rows(judgements: Judgements) -> list[Row]:
    """The lines as objects."""
    made: list[Row] = [{"likely": "judgements", "version": VERSION}]
    places = {}
    for item in judgements.items:
        made.append({"item": item.id, "prompt": item.prompt, "candidates": [_candidate(c) for c in item.candidates]})
        places[item.id] = {name: k for k, name in enumerate(item.by_id)}
    for one in judgements.comparisons:
        row: Row = {"comparison": one.id, "item": one.item}
        if one.shown:
            row["shown"] = [places[one.item][name] for name in one.shown]
        for field in _COMPARISON:
            value = getattr(one, field.name)
            if field.default is MISSING or value != field.default:
                if value == {} and field.name == "criteria":
                    continue
                row[field.name] = value
        made.append(row)
    return made


def _candidate(one: Candidate) -> Row:
    try:
        made: Row = {"text": one.content.decode()}
    except UnicodeDecodeError:
        made = {"base64": base64.b64encode(one.content).decode()}
    made |= {name: getattr(one, name) for name in _CANDIDATE if getattr(one, name) not in ("", None, {})}
    return made


def table(judgements: Judgements) -> list[Row]:
    """The lines as rows of one table."""
    return [
        {
            "kind": next(iter(row)),
            "id": row.get("comparison", row.get("item", "")),
            "item": row.get("item", ""),
            "annotator": row.get("annotator", ""),
            "choice": row.get("choice", ""),
            "line": json.dumps(row, ensure_ascii=False, allow_nan=False),
        }
        for row in rows(judgements)
    ]


def parse(given: Iterable[tuple[str, Row]]) -> Judgements:
    """Judgements from lines or rows of the table. Raises DataError with the line."""
    items: dict[str, Item] = {}
    comparisons = []
    for where, row in given:
        try:
            if "line" in row and "kind" in row:
                row = json.loads(row["line"])
            if "likely" in row:
                _check_head(row)
            elif "comparison" in row:
                comparisons.append(_comparison(row, items))
            elif "item" in row:
                item = _item(row)
                if item.id in items:
                    raise DataError(f"Item {item.id!r} is there twice.")
                items[item.id] = item
            else:
                raise DataError("It is neither an item nor a comparison.")
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
        except (TypeError, ValueError, RecursionError) as error:
            raise DataError(f"{where} is no line of judgements: {str(error)[:120]}") from error
    return Judgements(tuple(items.values()), tuple(comparisons))


def _check_head(row: Row) -> None:
    version = row.get("version")
    if row["likely"] != "judgements" or type(version) is not int:
        raise DataError("This is a file of likely, but not of judgements.")
    if version > VERSION:
        raise DataError(f"Version {version} of the form is newer than {VERSION}, which is known: pip install -U likely")


def _only(row: Row, known: set[str]) -> None:
    if more := sorted(row.keys() - known):
        raise DataError(f"Unknown field {more[0]!r}; known: {', '.join(sorted(known))}.")


def _item(row: Row) -> Item:
    _only(row, {"item", "prompt", "candidates"})
    listed = row.get("candidates")
    if not isinstance(listed, list):
        raise DataError("An item needs `candidates`, a list.")
    made = []
    for one in listed:
        if not isinstance(one, dict) or ("text" in one) == ("base64" in one):
            raise DataError("A candidate is an object with either `text` or `base64`.")
        _only(one, {"text", "base64", *_CANDIDATE})
        about = {name: one[name] for name in _CANDIDATE if name in one}
        made.append(
            Candidate.text(one["text"], **about) if "text" in one else Candidate(_bytes(one["base64"]), **about)
        )
    return Item(row["item"], row.get("prompt"), tuple(made))


def _bytes(text: Any) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise DataError("A candidate's `base64` is not base 64.") from error


def _comparison(row: Row, items: dict[str, Item]) -> Comparison:
    names = {field.name for field in _COMPARISON}
    _only(row, {"comparison", "item", "shown", *names})
    item = items.get(row.get("item", ""))
    if item is None:
        raise DataError(f"Item {row.get('item')!r} is not among the {len(items)} items above.")
    places = row.get("shown", [])
    if not isinstance(places, list) or any(type(k) is not int or not 0 <= k < len(item.candidates) for k in places):
        raise DataError(f"`shown` is {str(places)[:80]}; wanted places from 0 to {len(item.candidates) - 1} in a list.")
    known = list(item.by_id)
    missing = [name for name in ("annotator", "choice", "time") if name not in row]
    if missing:
        raise DataError(f"A comparison needs `{missing[0]}`" + ('; "" for unknown.' if missing[0] == "time" else "."))
    about = {name: row[name] for name in names if name in row}
    return Comparison(id=row["comparison"], item=item.id, shown=tuple(known[k] for k in places), **about)
