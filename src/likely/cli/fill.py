"""likely fill: complete what is missing."""

from __future__ import annotations

import likely
from likely.cli.options import Model, Out, Quiet, Seed, Table, say


def fill(model: Model, data: Table, out: Out = None, seed: Seed = 0, quiet: Quiet = False) -> None:
    """Complete missing cells: likely fill patients.likely holes.csv -o whole.csv"""
    gen = likely.load(model)
    with likely.output.writer(out) as write:  # opened first: a place that cannot be written is told before the work
        rows = gen.codec.read(gen.fill(str(data), seed=seed))
        write(rows)
    for note in gen.notes:
        say(note, quiet)
    if out is not None:
        say(f"Wrote {len(rows):,} rows to {out}.", quiet)
