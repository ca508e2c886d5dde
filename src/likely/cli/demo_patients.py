"""likely demo patients: the whole job on real data, with a story of what happens."""

from __future__ import annotations

import time
from pathlib import Path

import likely
from likely.cli.options import say


def patients(out: Path, n: int, seed: int, quiet: bool) -> None:
    """Synthetic patients from 9,105 real ones."""
    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    real = likely.data.support2()
    missing = real.null_count().sum_horizontal().item() / real.height / real.width
    say(
        f"SUPPORT2: {len(real):,} critically ill patients of five US hospitals (Knaus et al. 1995),\n"
        f"{real.width} columns, {missing:.0%} of the cells missing. "
        "A tenth is set aside and never learned from.\n",
        quiet,
    )
    gen = likely.fit(real, target="hospdead", seed=seed, progress=not quiet)
    for line in gen.notes:
        say(line, quiet)
    model = gen.save(out / "patients.likely")

    say(f"\n{n:,} synthetic patients ...", quiet)
    with likely.output.writer(out / "patients.csv") as write:
        for part in gen.stream(n, seed=seed):
            write(part)
    say("Three of them, all women over 80 with cancer, because we ask for that:\n", quiet)
    wish = {"sex": "female", "age": (80, None), "dzclass": "Cancer"}
    say(
        str(gen.sample(3, given=wish, seed=seed)["age", "sex", "dzgroup", "num.co", "meanbp", "crea", "hospdead"]),
        quiet,
    )

    say("\nThe report card: synthetic beside real patients the model has not seen ...", quiet)
    with likely.learning.listening(not quiet) as listen:
        card = gen.report(listen=listen)
    gen.save(model)
    card.save(out / "report.html")
    say(f"\n{card}", quiet)
    say(
        f"\nDone in {time.monotonic() - started:.0f} seconds. Look at {out / 'report.html'} in a browser; "
        f"{out / 'patients.csv'} are the patients,\n"
        f"{model} is the model:  likely sample {model} -n 100 --given sex=female",
        quiet,
    )
