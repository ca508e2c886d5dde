"""likely score: how strange is each row, and which column makes it so?"""

from __future__ import annotations

from typing import Annotated

import typer

import likely
from likely.cli.options import Json, Model, Out, Quiet, Table, say


def score(
    model: Model,
    data: Table,
    out: Out = None,
    flag: Annotated[str | None, typer.Option(help="Mark the strangest share of rows: --flag 1%.")] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Surprise per row and per column, in nats: likely score patients.likely new.csv --flag 1%"""
    gen = likely.load(model)
    with likely.output.writer(out, as_json) as write:  # opened first: a place that cannot be written is told before
        table = likely.output.scores(gen, str(data), likely.output.share(flag) if flag else None)
        write(table)
    if out is not None:
        say(f"Wrote {len(table):,} scores to {out}.", quiet)
