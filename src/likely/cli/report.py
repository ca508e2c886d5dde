"""likely report: is it true, varied, valid, new and private?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast

import typer

import likely
from likely.cli.options import Json, Model, Quiet, say, show_json


def report(
    model: Model,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="A page to write: report.html (or .json).")] = None,
    holdout: Annotated[
        Path | None, typer.Option(help="Rows the model never saw; the control rows of fit otherwise.")
    ] = None,
    train: Annotated[Path | None, typer.Option(help="The rows learned from: needed to measure privacy anew.")] = None,
    target: Annotated[str | None, typer.Option(help="The column to predict.")] = None,
    show: Annotated[
        str, typer.Option(help="Of images and windows: made, real (beside unseen real ones), nearest (training ones).")
    ] = "made",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The report card: likely report patients.likely -o report.html"""
    gen = likely.load(model)
    if out is not None:
        likely.output.writable(out)
    with likely.learning.listening(not quiet and holdout is not None) as listen:
        card = gen.report(
            str(holdout) if holdout else None, train=str(train) if train else None, target=target, listen=listen
        )
    if out is not None:
        card.save(out, show=cast(Any, show))
        say(f"Wrote {out}.", quiet)
    if as_json:
        show_json(card.to_dict())
    elif not quiet:
        print(card)
