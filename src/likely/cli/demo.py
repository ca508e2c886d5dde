"""likely demo: a whole job, with a story of what happens. Which one is looked up by name, so that none is imported."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from likely import registry
from likely.cli.options import Quiet, Seed

Folder = Annotated[Path, typer.Option("-o", "--out", help="The folder for what the demo makes.")]
What = Annotated[str, typer.Argument(help="patients, images or monitor.")]


def demo(
    what: What = "patients",
    out: Folder = Path("demo"),
    n: Annotated[int, typer.Option("-n", help="How many patients, or images.")] = 5000,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Real data, learned and made more of: likely demo, likely demo images, likely demo monitor"""
    registry.get("demo", what)(out, n, seed, quiet)
