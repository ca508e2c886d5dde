"""likely score: how strange is each row, and which column makes it so? A text: under a language model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import likely
from likely.cli.options import Json, Out, Quiet, say
from likely.errors import OptionError

Model = Annotated[
    Path,
    typer.Argument(
        help="A model file, NAME.likely; or, for texts, a language model: a folder, a .gguf file, smollm2.",
        show_default=False,
    ),
]
Data = Annotated[
    Path,
    typer.Argument(
        help="A table: .csv, .tsv, .parquet, .jsonl; for a language model also .txt with a text a line, or -.",
        show_default=False,
    ),
]


def score(
    model: Model,
    data: Data,
    out: Out = None,
    flag: Annotated[str | None, typer.Option(help="Mark the strangest share of rows: --flag 1%.")] = None,
    each: Annotated[bool, typer.Option("--each", help="Texts and a language model: one row a token.")] = False,
    column: Annotated[str | None, typer.Option("--column", help="The column of texts, for a language model.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Surprise per row and per column, in nats: likely score patients.likely new.csv --flag 1%
    Texts under a language model, in bits: likely score smollm2 letters.txt"""
    share = likely.output.share(flag) if flag else None
    if _language(model):
        from likely.cli.bits import bits  # brings torch and a tokenizer

        with likely.output.writer(out, as_json) as write:
            table = bits(str(model), str(data), column, each, share)
            write(table)
    else:
        if each or column is not None:
            raise OptionError(
                "--each and --column go with a language model; a NAME.likely model always tells every column."
            )
        gen = likely.load(model)
        with likely.output.writer(out, as_json) as write:  # opened first: what cannot be written is told before
            table = likely.output.scores(gen, str(data), share)
            write(table)
    if out is not None:
        say(f"Wrote {len(table):,} scores to {out}.", quiet)


def _language(model: Path) -> bool:
    """Whether this is a checkpoint of a language model: a folder, a .gguf file, or the name of a packaged one."""
    if model.is_dir() or model.suffix.lower() == ".gguf":
        return True
    if not model.exists():
        from likely.language import packaged

        return str(model) in packaged.NAMES
    with model.open("rb") as file:
        return file.read(4) == b"GGUF"
