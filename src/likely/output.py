"""Where rows go: a file of any kind, written whole or not at all, or standard output."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from likely.codecs.table.write import Writer
from likely.core import Cells, Tokens
from likely.errors import OptionError, StorageError
from likely.generator import Generator
from likely.registry import require
from likely.train.checkpoint import write_atomic


def many(gen: Generator) -> str:
    """What its items are called."""
    return {"image": "images", "series": "windows", "text": "texts"}.get(gen.card["codec"]["name"], "rows")


@contextmanager
def made(gen: Generator, path: Path | None, as_json: bool = False) -> Iterator[Callable[[Any], None]]:
    """A function that takes what `gen.stream` gives, piece after piece: rows of a table; images as PNGs in a folder, as
    one contact sheet (.png) or one array (.npy); windows of a series as a table or an array (.npy); texts as .txt, an
    empty line between two, or as .jsonl."""
    if isinstance(gen.codec.space, Tokens):
        with _texts(gen, path, as_json) as write:
            yield write
        return
    if isinstance(gen.codec.space, Cells) or gen.card["codec"]["name"] == "table":
        with writer(path, as_json) as write:
            yield write
        return
    if path is None:
        raise OptionError("Images and windows are written to a place: -o made.png (a sheet), -o folder, -o made.npy")
    parts: list[Any] = []
    yield parts.append
    whole = gen.codec.join(parts)
    if path.suffix.lower() == ".npy":
        values: Any = getattr(whole, "pixels", getattr(whole, "values", None))
        buffer = io.BytesIO()
        np.save(buffer, values, allow_pickle=False)
        write_atomic(path, buffer.getvalue())
    elif not hasattr(whole, "pixels"):
        frame = gen.codec.give(whole)
        if isinstance(frame, np.ndarray | list):
            raise OptionError(f"The model was learned from arrays: write an array, -o {path.stem}.npy")
        with writer(path, as_json) as write:
            write(frame if isinstance(frame, pl.DataFrame) else pl.DataFrame(frame))
    elif path.suffix.lower() == ".png":
        write_atomic(path, gen.codec.render(whole).data)
    elif not path.suffix:
        _folder(whole, path)
    else:
        raise OptionError(
            f"Images are written as {path.stem}.png (a sheet), {path.stem}.npy, or into a folder {path.stem}"
        )


@contextmanager
def _texts(gen: Generator, path: Path | None, as_json: bool) -> Iterator[Callable[[Any], None]]:
    """Texts on standard output as they are made, or in a file when all are."""
    if path is not None and path.suffix.lower() not in (".txt", ".jsonl"):
        raise OptionError(f"Texts are written as {path.stem}.txt or {path.stem}.jsonl")
    records = as_json or (path is not None and path.suffix.lower() == ".jsonl")
    lines: list[str] = []

    def write(part: Any) -> None:
        for item in gen.codec.give(part):
            record = item if isinstance(item, dict) else {"messages" if isinstance(item, list) else "text": item}
            if records:
                line = json.dumps(record, ensure_ascii=False)
            else:
                line = item if isinstance(item, str) else "\n".join(f"{role}: {text}" for role, text in _turns(item))
            if path is None:
                sys.stdout.write(line + ("\n" if records or "\n" not in line else "\n\n"))
            lines.append(line)

    yield write
    if path is not None:
        write_atomic(path, (("\n" if records else "\n\n").join(lines) + "\n").encode())


def _turns(item: Any) -> list[tuple[str, str]]:
    """A pair or a conversation, turn by turn."""
    if isinstance(item, dict):
        return list(item.items())
    if isinstance(item, tuple):
        return [("prompt", item[0]), ("answer", item[1])]
    return [(turn["role"], turn["content"]) for turn in item]


def _folder(pictures: Any, path: Path) -> None:
    """One PNG an image, and labels.csv where labels are known."""
    image = require("PIL.Image", "writing images")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"Cannot make the folder {str(path)!r}: {error.strerror}.") from error
    names = [f"{place:06d}.png" for place in range(len(pictures))]
    for name, pixels in zip(names, pictures.pixels, strict=True):
        buffer = io.BytesIO()
        image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG")
        write_atomic(path / name, buffer.getvalue())
    if pictures.labels is not None:
        with writer(path / "labels.csv") as write:
            write(pl.DataFrame({"file": names, "label": list(pictures.labels)}))


@contextmanager
def writer(path: Path | None, as_json: bool = False) -> Iterator[Callable[[pl.DataFrame], None]]:
    """A function that takes one piece of a table after another, at constant memory."""
    if path is None:
        yield _Stream(as_json)
        return
    with Writer(path) as open_writer:
        yield open_writer.append


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


def scores(gen: Generator, data: Any, flag: float | None = None) -> pl.DataFrame:
    """One line a row of `data`: its surprise in nats, what each column adds, the column that adds most, and with
    `flag` (a share in (0, 1)) whether it is among the strangest."""
    each = gen.surprise(data, each=True)
    if isinstance(each, list):
        return _scores_of_texts(each, flag)
    table = pl.DataFrame(each)
    total = table.sum_horizontal().alias("surprise")
    most = pl.Series("strangest", [table.columns[i] for i in np.argmax(table.to_numpy(), 1)])
    columns = [pl.Series("row", np.arange(len(table))), total, most]
    if flag is not None:
        count = max(1, round(flag * len(table)))
        edge = np.sort(total.to_numpy())[-count]
        columns.append((total >= edge).alias("flag"))
    return pl.DataFrame([*columns, *(table[name].alias(f"surprise:{name}") for name in table.columns)])


def _scores_of_texts(each: list[list[tuple[str, float]]], flag: float | None) -> pl.DataFrame:
    """One line a text: its surprise in nats, how many tokens it has, nats a token, the strangest token."""
    total = np.array([sum(nats for _, nats in tokens) for tokens in each])
    count = np.array([len(tokens) for tokens in each])
    most = [max(tokens, key=lambda one: one[1])[0] for tokens in each]
    table = pl.DataFrame(
        {"row": np.arange(len(each)), "surprise": total, "strangest": most, "tokens": count, "a_token": total / count}
    )
    if flag is None:
        return table
    edge = np.sort(table["a_token"].to_numpy())[-max(1, round(flag * len(table)))]
    return table.with_columns((table["a_token"] >= edge).alias("flag"))


def share(text: str) -> float:
    """ "1%" or "0.01" as a share. Raises OptionError unless it lies in (0, 1)."""
    try:
        value = float(text.strip().removesuffix("%")) / (100 if text.strip().endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise OptionError(f"--flag {text!r} is no share between 0 and 1: write --flag 1% or --flag 0.01")
    return value


class _Stream:
    """Pieces of a table on standard output, as CSV (header once) or JSON lines."""

    def __init__(self, as_json: bool) -> None:
        self.as_json, self.started = as_json, False

    def __call__(self, part: pl.DataFrame) -> None:
        text = part.write_ndjson() if self.as_json else part.write_csv(include_header=not self.started)
        self.started = True
        sys.stdout.write(text)
