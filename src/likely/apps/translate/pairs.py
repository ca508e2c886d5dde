"""Files of texts and their translations -> pairs.

.tsv (.gz)     two columns, or more with a heading: the columns that --source and --target name, or the last two
               that hold texts
.jsonl         {"source": "...", "target": "..."}, or the keys that are named
.po, .mo       what is translated; not what is fuzzy, obsolete or the header
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from likely.apps.translate.catalogue import entries_of
from likely.errors import DataError, UnknownName

MOST, LARGEST, LONGEST = 5_000_000, 1 << 30, 20_000  # pairs, bytes, characters of a text
CODE = re.compile(r"[a-z]{2}(?:[-_][a-z]{2,4})?")  # of a language: en and de above two columns are a heading
SOURCES, TARGETS = ("source", "src", "en"), ("target", "tgt", "translation")


class Pair(NamedTuple):
    """A text and its translation."""

    source: str
    target: str


def read_pairs(path: str | Path, source: str = "", target: str = "") -> list[Pair]:
    """The pairs of a file, repetitions and empty ones left out. `source`, `target`: columns or keys. Raises
    DataError that names the line, UnknownName for a column."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"There is no file {str(path)[:200]!r}. Wanted are pairs: .tsv, .tsv.gz, .jsonl, .po or .mo.")
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    kind = suffixes[-2] if suffixes[-1:] == [".gz"] and len(suffixes) > 1 else (suffixes or [""])[-1]
    if kind not in READERS:
        raise DataError(f"{path.name!r} is no file of pairs: wanted is .tsv, .tsv.gz, .jsonl, .po or .mo.")
    if kind in (".po", ".mo") and (source or target):
        raise DataError("A .po or .mo file has no columns: leave --source and --target out.")
    found = dict.fromkeys(READERS[kind](path, source, target))
    if not found:
        raise DataError(f"{path.name!r} holds no pair of a text and its translation.")
    if len(found) > MOST:
        raise DataError(f"{path.name!r} holds {len(found):,} pairs; at most {MOST:,} are read.")
    return list(found)


def _text(path: Path) -> str:
    """All of it, unpacked; nothing is unpacked beyond LARGEST."""
    with path.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        try:
            data = (gzip.GzipFile(fileobj=file) if packed else file).read(LARGEST + 1)
        except (OSError, EOFError) as error:
            raise DataError(f"{path.name!r} cannot be unpacked: {error}") from error
    if len(data) > LARGEST:
        raise DataError(f"{path.name!r} holds over {LARGEST >> 20} MB.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path.name!r}, line {line} is no UTF-8: save it as UTF-8.") from error


def _table(path: Path, source: str, target: str) -> Iterator[Pair]:
    rows = [row for row in csv.reader(io.StringIO(_text(path)), delimiter="\t", quoting=csv.QUOTE_NONE)]
    heading = [name.strip().lower() for name in rows[0]] if rows else []
    named = [next((at for at, name in enumerate(heading) if name in names), -1) for names in (SOURCES, TARGETS)]
    if source or target:
        for name in (source, target):
            if name.lower() not in heading:
                raise UnknownName("column", name, heading, hint="Name both: --source and --target.")
        named = [heading.index(source.lower()), heading.index(target.lower())]
    first = 1 if source or target or min(named) >= 0 else 0
    if min(named) < 0:
        if len(heading) != 2:
            raise DataError(
                f"{path.name!r} has {len(heading)} columns ({', '.join(heading)[:80]}): say which hold the texts and "
                "their translations, --source NAME --target NAME."
            )
        named = [0, 1]
        first = int(all(CODE.fullmatch(name) for name in heading) and heading[0] != heading[1])
    for number, row in enumerate(rows[first:], first + 1):
        if not row:
            continue
        if len(row) <= max(named):
            raise DataError(
                f"{path.name!r}, line {number} has {len(row)} columns; a tab stands between text and translation."
            )
        yield from _pair(row[named[0]], row[named[1]], f"{path.name!r}, line {number}")


def _lines(path: Path, source: str, target: str) -> Iterator[Pair]:
    names = (source or "source", target or "target")
    for number, line in enumerate(_text(path).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{path.name!r}, line {number}"
        try:
            made = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where} is no JSON. Wanted: {{{names[0]!r}: .., {names[1]!r}: ..}}") from error
        if not isinstance(made, dict) or not all(isinstance(made.get(name), str) for name in names):
            raise DataError(f"{where}: wanted are the texts {names[0]!r} and {names[1]!r}.")
        yield from _pair(made[names[0]], made[names[1]], where)


def _catalogue(path: Path, source: str, target: str) -> Iterator[Pair]:
    for at, entry in enumerate(entries_of(path), 1):
        if entry.obsolete or getattr(entry, "fuzzy", False):  # a .mo file holds no fuzzy ones
            continue
        forms = [entry.msgstr] if not entry.msgid_plural else list(entry.msgstr_plural.values())
        where = f"{path.name!r}, entry {at}"
        if forms and all(forms):
            yield from _pair(entry.msgid, forms[0], where)
            if entry.msgid_plural and len(forms) > 1:
                yield from _pair(entry.msgid_plural, forms[-1], where)


def _pair(source: str, target: str, where: str) -> Iterator[Pair]:
    if max(len(source), len(target)) > LONGEST:
        raise DataError(f"{where}: a text of {max(len(source), len(target)):,} characters; at most {LONGEST:,}.")
    if source.strip() and target.strip():
        yield Pair(source, target)


READERS = {".tsv": _table, ".txt": _table, ".jsonl": _lines, ".po": _catalogue, ".mo": _catalogue}
