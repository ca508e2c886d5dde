"""Rows of a file: JSON lines, gzipped or not, or Parquet. Sizes are capped before anything is believed."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import polars as pl

from likely.errors import DataError
from likely.train.checkpoint import write_atomic

FILE_BYTES = 4 * 2**30  # unpacked, too
LINE_BYTES = 512 * 2**20  # a candidate of 256 MiB in base 64
ROWS = 20_000_000

Row = dict[str, Any]


def read_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """(where it stands, such as "line 3", the row). Raises DataError for whatever is no row."""
    if not path.exists():
        raise DataError(f"No file {str(path)!r}.")
    if not path.is_file():
        raise DataError(f"{str(path)!r} is no file; give a .jsonl, .jsonl.gz or .parquet file of judgements.")
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise DataError(f"Cannot read {str(path)!r}: {error.strerror}.") from error
    if path.stat().st_size > FILE_BYTES:
        raise DataError(f"{str(path)!r} is larger than {FILE_BYTES // 2**30} GiB: give it in parts.")
    yield from _parquet(path) if start == b"PAR1" else _lines(path, packed=start[:2] == b"\x1f\x8b")


def _lines(path: Path, packed: bool) -> Iterator[tuple[str, Row]]:
    number = size = 0
    try:
        with gzip.open(path, "rb") if packed else path.open("rb") as file:
            while line := file.readline(LINE_BYTES + 1):
                number, size = number + 1, size + len(line)
                if len(line) > LINE_BYTES or size > FILE_BYTES or number > ROWS:
                    raise DataError(
                        f"{str(path)!r} is too large at line {number}: a line may have {LINE_BYTES // 2**20} MiB, "
                        f"a file {FILE_BYTES // 2**30} GiB and {ROWS} lines."
                    )
                if line.strip():
                    yield f"line {number}", _parse(line, path, number)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{str(path)!r} is a damaged gzip file: it breaks off behind line {number}.") from error
    except OSError as error:
        raise DataError(f"Cannot read {str(path)!r} behind line {number}: {error.strerror}.") from error


def _parse(line: bytes, path: Path, number: int) -> Row:
    where = f"Line {number} of {str(path)!r}"
    try:
        text = line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not UTF-8: byte {line[error.start]:#04x} at place {error.start}.") from error
    try:
        row = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        reason = f"{error.msg} at place {error.pos}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise DataError(f"{where} is no JSON: {reason[:120]}.") from error
    if not isinstance(row, dict):
        raise DataError(f"{where} is a {type(row).__name__}; wanted an object, one judgement a line.")
    return row


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _parquet(path: Path) -> Iterator[tuple[str, Row]]:
    try:
        rows = int(pl.scan_parquet(path).select(pl.len()).collect().item())
        if rows > ROWS:
            raise DataError(f"{str(path)!r} has {rows} rows; at most {ROWS} are read.")
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"{str(path)!r} is a damaged Parquet file: {str(error)[:120]}.") from error
    if frame.estimated_size() > FILE_BYTES:
        raise DataError(f"{str(path)!r} has more than {FILE_BYTES // 2**30} GiB unpacked: give it in parts.")
    for number, row in enumerate(frame.iter_rows(named=True), 1):
        yield f"row {number}", row


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write rows, all or nothing; the suffix says how. Raises StorageError where the disk refuses."""
    name = path.name.lower()
    if name.endswith(".parquet"):
        packed = io.BytesIO()
        pl.DataFrame(list(rows), infer_schema_length=None, strict=False).write_parquet(packed)
        write_atomic(path, packed.getvalue())
        return
    if not name.endswith((".jsonl", ".jsonl.gz")):
        raise DataError(f"{str(path)!r} ends in none of .jsonl, .jsonl.gz, .parquet: what it should hold is not known.")
    data = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows).encode()
    # No time and no name in the packed file: the same judgements give the same bytes.
    write_atomic(path, gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
