"""likely fill: complete what is missing."""

from __future__ import annotations

import likely
from likely.cli.options import Model, Out, Quiet, Seed, Table, say


def fill(model: Model, data: Table, out: Out = None, seed: Seed = 0, quiet: Quiet = False) -> None:
    """Complete missing cells: likely fill patients.likely holes.csv -o whole.csv"""
    gen = likely.load(model)
    texts = likely.output.many(gen) == "texts"
    opened = likely.output.made(gen, out) if texts else likely.output.writer(out)
    with opened as write:  # opened first: a place that cannot be written is told before the work
        rows = gen.codec.read(gen.fill(str(data), seed=seed))
        write(rows)
    for note in gen.notes:
        say(note, quiet)
    if out is not None:
        say(f"Wrote {len(rows):,} {likely.output.many(gen)} to {out}.", quiet)
