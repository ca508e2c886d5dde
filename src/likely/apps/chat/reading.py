"""Files of a folder -> lines that know where they stand. What cannot be read is said, never passed over in silence.

    kinds      .txt .text .md .markdown .rst .html .htm .csv .tsv .py (docstrings) .pdf (where pypdf is installed)
    a line     its number in the file (of a PDF: the page), its text without markup, and what it is:
               "text" goes on from line to line, "item" stands by itself (list items, table rows), "heading"

Nothing in a file is executed or followed: no script, no link, no entity of somebody else's. Caps: bytes a file, bytes
and files in all, depth of folders, characters a line. Hidden files, and links that lead out of the folder, are left
out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from likely.apps.chat.formats import READERS, Line
from likely.errors import DataError, LikelyError

MOST_FILES, MOST_DEPTH = 10_000, 12
MOST_BYTES, MOST_TOTAL = 16 << 20, 512 << 20
LONGEST_LINE = 20_000


@dataclass(frozen=True)
class Document:
    """A file that was read: `name` relative to the folder, `lines`; `unit`: what their numbers count."""

    name: str
    lines: tuple[Line, ...]
    unit: str = "line"


def read(folder: str | Path, note: Callable[[str], None]) -> list[Document]:
    """All documents of a folder (or one file), by name. `note` is told of every file that was left out, and why.

    Raises DataError where there is no such folder, or nothing in it can be read.
    """
    root = Path(folder)
    if not root.exists():
        raise DataError(f"No folder or file {str(folder)[:200]!r}.")
    found, total, other = [], 0, 0
    for path, name in [(root, root.name)] if root.is_file() else _files(root, note):
        kind = path.suffix.lower()
        if kind not in READERS:
            other += 1
            continue
        try:
            size = path.stat().st_size
            if size > MOST_BYTES:
                raise DataError(f"it has {size >> 20} MB; up to {MOST_BYTES >> 20} MB are read")
            total += size
            if total > MOST_TOTAL:
                note(f"Over {MOST_TOTAL >> 20} MB in all: {name} and all after it were left out.")
                break
            document = Document(name, _lines(path, kind, name, note), "page" if kind == ".pdf" else "line")
        except (LikelyError, OSError) as error:
            note(f"{name} was left out: {getattr(error, 'strerror', None) or error}")
            continue
        if not any(line.text for line in document.lines):
            note(f"{name} was left out: there is no text in it.")
            continue
        found.append(document)
    if other:
        note(f"{other} file{'s' * (other > 1)} of other kinds were left out; read are {' '.join(READERS)}.")
    if not found:
        raise DataError(f"Nothing to read in {str(folder)[:200]!r}: it needs files such as {' '.join(READERS)}.")
    return found


def _files(root: Path, note: Callable[[str], None]) -> Iterator[tuple[Path, str]]:
    """Files under a folder, by name, with their names relative to it."""
    top, count = os.path.realpath(root), 0
    for place, folders, names in os.walk(root):
        inner = Path(place).relative_to(root)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and len(inner.parts) < MOST_DEPTH)
        for name in sorted(names):
            path = Path(place) / name
            if name.startswith(".") or not path.is_file():
                continue
            if not os.path.realpath(path).startswith(top + os.sep):
                note(f"{inner / name} was left out: it is a link that leads out of the folder.")
                continue
            count += 1
            if count > MOST_FILES:
                note(f"More than {MOST_FILES} files: {inner / name} and all after it were left out.")
                return
            yield path, (inner / name).as_posix()


def _lines(path: Path, kind: str, name: str, note: Callable[[str], None]) -> tuple[Line, ...]:
    data = path.read_bytes()
    if kind == ".pdf":
        text = ""
    else:
        text, guess = _decoded(data)
        if guess:
            note(f"{name} is not UTF-8; it was read as {guess}.")
    lines = []
    for line in READERS[kind](text, data):
        if len(line.text) > LONGEST_LINE:
            note(f"{name}: line {line.number} was cut at {LONGEST_LINE:,} characters.")
            line = Line(line.number, line.text[:LONGEST_LINE], line.kind, line.level)
        lines.append(line)
    return tuple(lines)


def _decoded(data: bytes) -> tuple[str, str]:
    """The text, and how it was read where that was a guess. Raises DataError where it is no text."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace"), ""
    if b"\0" in data:
        raise DataError("it holds binary data")
    try:
        return data.decode("utf-8-sig"), ""
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
        if sum(not c.isprintable() and c not in "\n\r\t\f" for c in text) > len(text) // 50:
            raise DataError("it holds binary data") from None
        return text, "Windows-1252"
