"""likely sample: more rows like those learned from."""

from __future__ import annotations

from typing import Annotated

import typer

import likely
from likely.cli.options import Model, Out, Quiet, Seed, pairs, say


def sample(
    model: Model,
    n: Annotated[int, typer.Option("-n", help="How many rows.")] = 1000,
    given: Annotated[
        list[str] | None,
        typer.Option(help="What holds in every row: --given sex=F --given age=60..80 --given 'race=white|black'."),
    ] = None,
    out: Out = None,
    temperature: Annotated[float, typer.Option(help="Below 1 more typical rows, above 1 more unusual ones.")] = 1.0,
    seed: Seed = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Write rows as JSON lines.")] = False,
    quiet: Quiet = False,
) -> None:
    """Make rows: likely sample patients.likely -n 1000 --given sex=F -o out.parquet"""
    gen = likely.load(model)
    wish = pairs(given or [], "--given", "age=60..80 (age=60.. has no upper end)")
    with (
        likely.learning.listening(not quiet and out is not None) as listen,
        likely.output.made(gen, out, as_json) as write,
    ):
        for part in gen.stream(n, given=wish or None, temperature=temperature, seed=seed, listen=listen):
            write(part)
    for note in gen.notes:
        say(note, quiet)
    if out is not None:
        say(f"Wrote {n:,} {likely.output.many(gen)} to {out}.", quiet)
