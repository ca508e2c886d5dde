"""Where rows go: a file of any kind, written whole or not at all, or standard output."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from likely.codecs.table.write import Writer
from likely.errors import StorageError


@contextmanager
def writer(path: Path | None, as_json: bool = False) -> Iterator[Callable[[pl.DataFrame], None]]:
    """A function that takes one piece of a table after another, at constant memory."""
    if path is None:
        yield _Stream(as_json)
        return
    with Writer(path) as open_writer:
        yield open_writer.write


def writable(path: Path) -> Path:
    """The path, once it is sure that a file can be written there. Raises StorageError before hours of work are lost."""
    folder = path.parent
    if not folder.is_dir():
        raise StorageError(f"There is no folder {str(folder)!r} to write {path.name!r} to: mkdir -p {folder}")
    if path.is_dir():
        raise StorageError(f"{str(path)!r} is a folder; give a file name, such as {path / 'model.likely'}")
    probe = folder / f".{path.name}.probe"
    try:
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StorageError(f"Cannot write to {str(folder)!r}: {error.strerror}. Give another path with -o.") from error
    return path


class _Stream:
    """Pieces of a table on standard output, as CSV (header once) or JSON lines."""

    def __init__(self, as_json: bool) -> None:
        self.as_json, self.started = as_json, False

    def __call__(self, part: pl.DataFrame) -> None:
        text = part.write_ndjson() if self.as_json else part.write_csv(include_header=not self.started)
        self.started = True
        sys.stdout.write(text)
