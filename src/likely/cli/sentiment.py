"""likely sentiment: positive or negative, for a sentence typed here or for a file of texts; no examples needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from likely.apps.label import Labeller
from likely.apps.label.model import check_sure
from likely.cli import label
from likely.cli.options import Json, Quiet, say
from likely.cli.texts import LINES
from likely.errors import DataError, OptionError

sentiment = typer.Typer(name="sentiment", no_args_is_help=True, help="Positive or negative, with a probability.")

TABLES = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson", ".gz")
Texts = Annotated[
    list[str],
    typer.Argument(
        help='Texts, "I loved it."; or one file: a table (.csv, .tsv, .parquet, .jsonl), .txt with one a line, or -.',
        show_default=False,
    ),
]


@sentiment.command(no_args_is_help=True)
def run(  # noqa: PLR0913  (one argument an option)
    texts: Texts,
    column: label.Column = None,
    out: label.Out = None,
    sure: label.Sure = 0.0,
    unlabelled: label.Other = None,
    share: label.Share = None,
    model: label.Model = "smollm2",
    each: label.Each = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """likely sentiment "I loved every minute of it."  or  likely sentiment reviews.csv -o labelled.csv"""
    if len(texts) == 1 and _file(texts[0]):
        label.sentiment(texts[0], column, out, sure, unlabelled, share, model, each, as_json, quiet)
        return
    files = [text for text in texts if _file(text)]
    if files:
        raise OptionError(f"{files[0]!r} stands among {len(texts)} arguments: give one file, or texts in quotes.")
    if column is not None or out is not None or share:
        raise OptionError("--column, --out and --share go with a file of texts.")
    check_sure(sure)
    for text in texts:
        if not text.strip():
            raise DataError("An empty text was given: there is nothing to read in it.")
    lean = label.lean(unlabelled) if unlabelled is not None else []
    made = Labeller.sentiment(lean, model=model, listen=label.listener(quiet))
    found = made.label(texts, sure=sure)
    for note in made.notes:
        say(note, quiet)
    for text, row in zip(texts, found.iter_rows(named=True), strict=True):
        if as_json:
            print(json.dumps({"text": text, **{key: _short(value) for key, value in row.items()}}, ensure_ascii=False))
            continue
        most = " ".join(text.split())
        said = row["label"] or "unsure"
        detail = "  (" + ", ".join(f"{name} {row[f'p:{name}']:.0%}" for name in made.labels) + ")" if each else ""
        end = f"  {most[:100]}" if len(texts) > 1 else ""
        print(f"{said:<8} {row['probability']:4.0%}{detail}{end}")


def _short(value: object) -> object:
    return round(value, 4) if isinstance(value, float) else value


def _file(text: str) -> bool:
    """Whether a file is meant: it is there, or it is one word that ends as files do."""
    if text == "-":
        return True
    if not text.strip() or len(text) > 1000 or "\n" in text or "\0" in text:
        return False
    try:
        there = Path(text).exists()
    except OSError:  # a name too long
        there = False
    return there or (" " not in text and Path(text).suffix.lower() in (*LINES, *TABLES))
