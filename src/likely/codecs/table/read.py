"""Table files: CSV and TSV (plain or .gz), Parquet, JSON lines. Every way a file can be wrong has one clear sentence.

Delimited text is read as text, column by column; what the texts mean is learned later (`notation`), since only the
whole column tells a number from a code.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import zlib
from pathlib import Path

import numpy as np
import polars as pl

from likely.errors import DataError

KINDS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}
MOST_COLUMNS = 20_000


def kind_of(path: str | os.PathLike[str]) -> str:
    """csv, tsv, parquet or jsonl, by the end of the name (a final .gz aside). Raises DataError."""
    name = Path(path).name.lower()
    stem = name.removesuffix(".gz")
    kind = KINDS.get(Path(stem).suffix)
    if kind is None or (name != stem and kind not in ("csv", "tsv", "jsonl")):
        raise DataError(
            f"Cannot tell what kind of table {Path(path).name!r} is: "
            "name it .csv, .tsv, .csv.gz, .tsv.gz, .parquet or .jsonl."
        )
    return kind


def read(path: str | os.PathLike[str], encoding: str = "utf-8") -> pl.DataFrame:
    """The table in a file. Columns of CSV and TSV come as texts, "" as null. Raises DataError."""
    where = Path(path)
    if where.is_dir():
        raise DataError(f"{str(path)!r} is a folder: give the path of one file, such as {str(where / 'table.csv')!r}.")
    kind = kind_of(path)
    if not where.exists():
        near = [item.name for item in sorted(where.parent.glob("*"))[:500] if item.name.lower() == where.name.lower()]
        hint = f" There is {near[0]!r}." if near else ""
        raise DataError(f"No file {str(path)!r}.{hint}")
    try:
        if where.stat().st_size == 0:
            raise DataError(f"The file {where.name!r} is empty.")
        if kind == "parquet":
            return pl.read_parquet(where)
        raw = where.read_bytes()
        if where.name.lower().endswith(".gz"):
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"Cannot read {where.name!r}: {error}.") from error
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{where.name!r} is no readable Parquet file: {str(error)[:200]}") from error
    text = decoded(raw, where.name, encoding)
    return read_lines(text, where.name) if kind == "jsonl" else read_delimited(text, where.name, kind == "tsv")


def decoded(raw: bytes, name: str, encoding: str) -> bytes:
    """The bytes as UTF-8 without a byte order mark. Raises DataError with the line and byte that are broken."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff") and encoding == "utf-8":
        encoding = "utf-16"
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{name!r} is not {encoding}: byte {error.start} (line {line}) is 0x{raw[error.start]:02x}. "
            "Pass the encoding it was written in, such as encoding='latin-1' or encoding='cp1252'."
        ) from error
    except LookupError as error:
        raise DataError(f"There is no encoding called {encoding!r}: try 'utf-8', 'latin-1' or 'cp1252'.") from error
    return text.removeprefix("\ufeff").encode()


def read_lines(text: bytes, name: str) -> pl.DataFrame:
    """One JSON object a line."""
    if not text.strip():
        raise DataError(f"The file {name!r} is empty.")
    try:
        return pl.read_ndjson(io.BytesIO(text), infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"{name!r} should hold one JSON object a line: {str(error)[:200]}") from error


def read_delimited(text: bytes, name: str, tabs: bool) -> pl.DataFrame:
    """CSV or TSV with a header line; every column as text."""
    text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if not text.strip():
        raise DataError(f"The file {name!r} is empty.")
    first = text.partition(b"\n")[0]
    separator = "\t" if tabs else ";" if first.count(b";") > first.count(b",") else ","
    header = next(csv.reader([first.decode()], delimiter=separator), [])
    check_names(header, name)
    if not text.partition(b"\n")[2].strip():
        raise DataError(f"{name!r} has a header line and no rows.")
    check_ragged(text, name, separator, len(header))
    try:
        frame = pl.read_csv(io.BytesIO(text), separator=separator, infer_schema=False)
    except pl.exceptions.PolarsError as error:
        raise DataError(f"Cannot read {name!r} as delimited text: {str(error)[:200]}") from error
    frame.columns = header
    return frame


def check_names(names: list[str], source: str) -> None:
    """Raises DataError for names that are empty or come twice, and for too many columns."""
    seen: set[str] = set()
    for place, name in enumerate(names, 1):
        if name in seen:
            raise DataError(f"{source!r} has two columns called {name!r}: rename one of them.")
        if not name.strip():
            raise DataError(f"Column {place} of {source!r} has no name: name it in the header line.")
        seen.add(name)
    if len(names) > MOST_COLUMNS:
        raise DataError(f"{source!r} has {len(names):,} columns: at most {MOST_COLUMNS:,} can be learned.")


def check_ragged(text: bytes, name: str, separator: str, width: int) -> None:
    """Raises DataError with the number of the first line whose fields do not match the header."""
    if b'"' in text:
        reader = csv.reader(io.StringIO(text.decode()), delimiter=separator)
        for row in reader:
            if row and len(row) != width:
                _ragged(name, reader.line_num, len(row), width)
        return
    buffer = np.frombuffer(text if text.endswith(b"\n") else text + b"\n", np.uint8)
    ends = np.flatnonzero(buffer == ord("\n"))
    marks = (buffer == ord(separator)).cumsum()[ends]
    fields = np.diff(marks, prepend=0) + 1
    lengths = np.diff(ends, prepend=-1) - 1
    bad = np.flatnonzero((fields != width) & (lengths > 0))
    if len(bad):
        _ragged(name, int(bad[0]) + 1, int(fields[bad[0]]), width)


def _ragged(name: str, line: int, fields: int, width: int) -> None:
    raise DataError(
        f"Line {line} of {name!r} has {fields} field{'s' * (fields != 1)}, the header has {width}: "
        "mend that line (a field that holds the separator must stand in double quotes)."
    )
