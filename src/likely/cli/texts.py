"""Texts from what a person has: a table with a column of them, a file with one a line, or standard input."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl

from likely.cli.options import say
from likely.codecs.table.read import read
from likely.errors import DataError, OptionError, UnknownName

LINES = (".txt", ".text", ".log")
USUAL = ("text", "texts", "sentence", "review", "comment", "message", "tweet", "content", "body")
MOST = 2**28  # bytes of texts from standard input


def read_texts(data: str, column: str | None, but: str = "") -> tuple[pl.DataFrame, str]:
    """The table, and the name of its column of texts. A file of lines is a table of one column."""
    if data == "-" or Path(data).suffix.lower() in LINES:
        frame = pl.DataFrame({"text": lines(data)}, schema={"text": pl.String})
        if column not in (None, "text"):
            raise OptionError(f"--column {column!r}: lines of text have no columns; leave it out.")
        return frame, "text"
    frame = read(data)
    if column is not None:
        if column not in frame.columns:
            raise UnknownName("column", column, frame.columns, hint="Name the column of texts: --column NAME")
        return frame, column
    names = [name for name in frame.columns if name != but and frame[name].dtype == pl.String]
    usual = [name for name in names if name.lower() in USUAL]
    for found in (usual, names):
        if len(found) == 1:
            return frame, found[0]
    raise OptionError(
        f"Which column holds the texts? Say --column with one of: {', '.join(names or frame.columns)[:300]}."
    )


def lines(data: str) -> list[str]:
    """The lines of a UTF-8 file, or of standard input, that hold something. Raises DataError."""
    if data == "-":
        raw = sys.stdin.buffer.read(MOST + 1)
        if len(raw) > MOST:
            raise DataError(f"More than {MOST >> 20} MB came in: give them as files.")
        where = "standard input"
    else:
        where = data
        try:
            raw = Path(data).read_bytes()
        except FileNotFoundError as error:
            raise DataError(f"No file {data!r}.") from error
        except OSError as error:
            raise DataError(f"Cannot read {data!r}: {error.strerror}.") from error
    try:
        found = [line.removesuffix("\r") for line in raw.decode("utf-8-sig").split("\n") if line.strip()]
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(f"{where} is not UTF-8: line {line} has the byte 0x{raw[error.start]:02x}.") from error
    if not found:
        raise DataError(f"{where} holds no text.")
    return found


def filled(frame: pl.DataFrame, name: str, quiet: bool) -> pl.DataFrame:
    """The rows that have a text."""
    kept = frame.filter(pl.col(name).cast(pl.String).fill_null("").str.strip_chars() != "")
    if len(kept) < len(frame):
        missing = len(frame) - len(kept)
        say(f"{missing} row{'s' * (missing != 1)} without a text {'were' if missing != 1 else 'was'} left out.", quiet)
    return kept.with_columns(pl.col(name).cast(pl.String))
