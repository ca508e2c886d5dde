"""likely fit: learn a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import likely
from likely.cli.options import Json, Quiet, Seed, Table, pairs, say, show_json
from likely.errors import Unsupported


def fit(  # noqa: PLR0913  (one argument an option)
    data: Table,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The model file; DATA.likely otherwise.")] = None,
    target: Annotated[str | None, typer.Option(help="A column people will predict.")] = None,
    privacy: Annotated[str, typer.Option(help="faithful, balanced or private.")] = "balanced",
    family: Annotated[
        str | None, typer.Option(help="trees, masked, vae, flow, ... (likely list); chosen otherwise.")
    ] = None,
    codec: Annotated[
        str | None, typer.Option(help="table, image, series or text; a folder is images, a file a table otherwise.")
    ] = None,
    column: Annotated[
        list[str] | None, typer.Option(help="What a column is: --column zip=category (also drop).")
    ] = None,
    constraint: Annotated[
        list[str] | None, typer.Option(help='What holds in every row: --constraint "start <= end".')
    ] = None,
    control: Annotated[float, typer.Option(help="Share of rows set aside for the report.")] = 0.1,
    minutes: Annotated[float | None, typer.Option(help="Time to spend at most.")] = None,
    device: Annotated[str | None, typer.Option(help="cpu or cuda; a GPU where there is one otherwise.")] = None,
    with_report: Annotated[
        bool, typer.Option("--report/--no-report", help="Measure and store the report card.")
    ] = True,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Learn a table: likely fit patients.csv -o patients.likely"""
    path = out or data.with_name(data.name.split(".")[0] + ".likely")
    likely.output.writable(path)
    gen = likely.fit(
        str(data), codec=codec, target=target, privacy=privacy, family=family, seed=seed, control=control,
        minutes=minutes, device=device,
        columns=pairs(column or [], "--column", "zip=category"), constraints=constraint or None, progress=not quiet,
    )  # fmt: skip
    for line in [*map(str, gen.codec.describe()), "", *gen.codec.promises(), *gen.notes]:
        say(line, quiet or as_json)
    if with_report and gen.evidence and len(gen.evidence.control):
        try:
            with likely.learning.listening(not quiet) as listen:
                report = gen.report(listen=listen)
            say("\n" + report.answer, quiet or as_json)
        except Unsupported as error:  # texts have none yet
            say(f"\n{error}", quiet or as_json)
    gen.save(path)
    if as_json:
        show_json(
            {"model": str(path), "choice": gen.card["choice"], "rows": gen.card["rows"], "report": gen.card["report"]}
        )
    else:
        more = {"images": "more.png", "texts": "more.txt"}.get(likely.output.many(gen), "more.csv")
        say(f"\nSaved {path}. Next: likely sample {path} -n 1000 -o {more}   or   likely report {path}", quiet)
