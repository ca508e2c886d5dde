"""A candidate as a browser may show it. The media type decides; what is not known is shown as text that does nothing.

    {"kind": "text", "text": ..., "code": bool}       {"kind": "row", "cells": [[name, value], ...]}
    {"kind": "table", "head": [...], "rows": [...]}   {"kind": "chat", "turns": [[role, text], ...]}
    {"kind": "image" | "audio" | "video"}             bytes, from /api/media
    {"kind": "html", "html": ...}                     for a frame without scripts
    {"kind": "file", "media": ..., "bytes": n, "text": ...}

Nothing here says who made it. All values are texts; the page inserts them as texts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from likely.align.preference import Candidate

CHARACTERS = 200_000  # of a text
ROWS, CELLS = 200, 500
WINDOW = 8  # moments from which rows of numbers are a window of time
IMAGES = ("image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml", "image/bmp", "image/avif")
CODE = ("text/x-", "text/css", "text/javascript", "application/javascript", "application/x-python", "application/xml",
        "application/sql", "application/toml", "application/yaml")  # fmt: skip
View = dict[str, Any]


def view(one: Candidate) -> View:
    """How a candidate is shown."""
    media = one.media.partition(";")[0].strip().lower()
    if media in IMAGES:
        return {"kind": "image"}
    if media.startswith(("audio/", "video/")) and media not in ("audio/midi", "audio/x-midi"):
        return {"kind": media.partition("/")[0]}
    try:
        text = one.content.decode()
    except UnicodeDecodeError:
        return {"kind": "file", "media": media, "bytes": len(one.content), "text": hexadecimal(one.content)}
    if media == "text/html":
        return {"kind": "html", "html": text[:CHARACTERS]}
    if media == "application/json":
        try:
            return value(json.loads(text))
        except (ValueError, RecursionError):
            return _text(text, code=True)
    if media.startswith(CODE):
        return _text(text, code=True)
    if media.startswith("text/") or media.startswith("chemical/"):
        return _text(text, code=media.startswith("chemical/"))
    return {"kind": "file", "media": media, "bytes": len(one.content), "text": text[:2000]}


def value(found: Any) -> View:
    """JSON as people read it: rows, tables, conversations, windows of time as curves."""
    if isinstance(found, str):
        return _text(found)
    if isinstance(found, Mapping) and found and all(_scalar(v) for v in found.values()):
        return {"kind": "row", "cells": [[str(name), _shown(v)] for name, v in list(found.items())[:CELLS]]}
    if isinstance(found, list) and found:
        if all(isinstance(m, Mapping) and {"role", "content"} <= m.keys() for m in found):
            return {"kind": "chat", "turns": [[str(m["role"]), str(m["content"])[:CHARACTERS]] for m in found]}
        if drawn(found) is not None:
            return {"kind": "image"}
        if all(isinstance(row, Mapping) for row in found):
            head = list(dict.fromkeys(str(name) for row in found[:ROWS] for name in row))[:CELLS]
            rows = [[_shown(row.get(name)) for name in head] for row in found[:ROWS]]
            return {"kind": "table", "head": head, "rows": rows}
    return _text(json.dumps(found, ensure_ascii=False, indent=1), code=True)


def prompt(found: Any) -> View | None:
    """A prompt; None where there is none."""
    return None if found is None else value(found)


def media(one: Candidate) -> tuple[bytes, str] | None:
    """The bytes and the media type of what a page asks for as a picture or a sound; None where it is neither."""
    kind = view(one)["kind"]
    if kind not in ("image", "audio", "video"):
        return None
    if one.media.partition(";")[0].strip().lower() == "application/json":
        return drawn(json.loads(one.content)), "image/svg+xml"  # type: ignore[return-value]
    return one.content, one.media.partition(";")[0].strip().lower()


def prepare() -> None:
    """Import what draws windows of time, which takes seconds, before somebody waits for it."""
    from likely.codecs.series import plot  # noqa: F401


def drawn(found: list[Any]) -> bytes | None:
    """A window of time as SVG: lists of numbers, or rows with columns of numbers; None where it is none."""
    from likely.codecs.series.plot import plot

    names: list[str] = []
    rows = found
    if len(found) >= WINDOW and all(isinstance(row, Mapping) for row in found):
        names = [name for name in found[0] if all(_number(row.get(name)) for row in found)]
        names = [name for name in names if len({row.get(name) for row in found}) > 1]
        rows = [[row.get(name) for name in names] for row in found]
        if not names:
            return None
    if not all(isinstance(row, list) and row and len(row) == len(rows[0]) and all(map(_number, row)) for row in rows):
        return None
    names = names or [f"channel {k + 1}" for k in range(len(rows[0]))]
    values = np.array([[math.nan if v is None else float(v) for v in row] for row in rows])
    return plot(values[None], names, [""]).data


def hexadecimal(content: bytes) -> str:
    """The first bytes, sixteen a line."""
    return "\n".join(content[k : k + 16].hex(" ") for k in range(0, min(len(content), 256), 16))


def _text(text: str, code: bool = False) -> View:
    if len(text) > CHARACTERS:
        text = f"{text[:CHARACTERS]}\n… and {len(text) - CHARACTERS:,} more characters"
    return {"kind": "text", "text": text, "code": code}


def _scalar(v: Any) -> bool:
    return v is None or isinstance(v, str | int | float | bool)


def _number(v: Any) -> bool:
    return v is None or (isinstance(v, int | float) and not isinstance(v, bool))


def _shown(v: Any) -> str:
    if v is None:
        return ""
    if isinstance(v, bool):
        return "yes" if v else "no"
    if isinstance(v, float):
        return f"{v:.6g}"
    return v[:CHARACTERS] if isinstance(v, str) else json.dumps(v, ensure_ascii=False)[:CHARACTERS]
