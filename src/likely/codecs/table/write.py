"""Writing tables chunk by chunk: constant memory, and never half a file.

Rows go to a temporary file beside the target, which takes the target's name only when all is written and flushed to
disk. CSV, TSV and JSON lines are appended to. Parquet cannot be: each chunk becomes a part file in a temporary
folder, and at the end polars streams the parts into one file.
"""

from __future__ import annotations

import gzip
import os
import shutil
import tempfile
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import polars as pl

from likely.codecs.table import frame as frames
from likely.codecs.table.read import kind_of
from likely.errors import Mismatch, StorageError


class Writer:
    """`with Writer("rows.csv") as out: out.append(table)`; any table type, the same columns every time.

    The end of the name says the format: .csv, .tsv, .jsonl (each also .gz) or .parquet. Raises DataError for other
    names and StorageError where the file cannot be written; the target is then as it was before.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self.kind = kind_of(path)
        self.rows = 0
        self._schema: dict[str, pl.DataType] | None = None
        self._parts = 0
        self._folder: Path | None = None
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            if self.path.is_dir():
                raise StorageError(f"{str(self.path)!r} is a folder: give the name of a file in it.")
            if not self.path.parent.is_dir():
                raise StorageError(f"There is no folder {str(self.path.parent)!r}: make it first.")
            self._folder = Path(tempfile.mkdtemp(prefix=f".{self.path.name}.", dir=self.path.parent))
            if self.kind != "parquet":
                plain = open(self._folder / "rows", "wb")
                self._raw: IO[bytes] = plain
                packed = self.path.name.lower().endswith(".gz")
                # No time stamp in the gzip header: the same rows make the same bytes.
                self._file = gzip.GzipFile("", "wb", 6, plain, mtime=0) if packed else plain  # type: ignore[assignment]
        except OSError as error:
            self._clear()
            raise self._failed(error) from error
        return self

    def append(self, items: Any) -> None:
        """Write more rows. Raises Mismatch where the columns differ from the first rows."""
        if self._folder is None:
            raise StorageError("Open the writer first: with Writer(path) as out: out.append(rows).")
        frame = frames.take(items)[0]
        if self._schema is None:
            self._schema = dict(frame.schema)
        elif list(self._schema) != frame.columns:
            raise Mismatch(f"The columns {frame.columns[:10]} differ from those already written.")
        else:
            frame = frame.cast(self._schema)  # type: ignore[arg-type]
        try:
            self._write(frame)
        except (OSError, pl.exceptions.ComputeError) as error:  # polars has its own words for a full disk
            raise self._failed(error) from error
        self.rows += frame.height

    def _write(self, frame: pl.DataFrame) -> None:
        if self._file is None:
            assert self._folder is not None
            frame.write_parquet(self._folder / f"{self._parts:08d}.parquet")
        elif self.kind == "jsonl":
            self._file.write(frame.write_ndjson().encode())
        else:
            text = frame.write_csv(include_header=not self._parts, separator="\t" if self.kind == "tsv" else ",")
            self._file.write(text.encode())
        self._parts += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._finish()
        except (OSError, pl.exceptions.ComputeError) as failure:
            raise self._failed(failure) from failure
        finally:
            self._clear()

    def _finish(self) -> None:
        assert self._folder is not None
        done = self._folder / "rows"
        if self._file is None:
            if not self._parts:
                pl.DataFrame().write_parquet(done)
            else:
                pl.scan_parquet(self._folder / "*.parquet", glob=True).sink_parquet(done)
        else:
            self._file.close()
            self._raw.close()
        with open(done, "rb+") as file:
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(done, 0o666 & ~mask)
        os.replace(done, self.path)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _clear(self) -> None:
        if self._file is not None and not self._raw.closed:
            self._file.close()
            self._raw.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def _failed(self, error: Exception) -> StorageError:
        why = getattr(error, "strerror", None) or error
        return StorageError(f"Cannot write {str(self.path)!r}: {why}. Nothing was written there.")
