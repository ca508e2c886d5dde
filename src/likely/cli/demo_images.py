"""likely demo images: scikit-learn's handwritten digits, learned with their labels, with a story of what happens."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import likely
from likely.cli.options import say
from likely.train.checkpoint import write_atomic

SHEET = 8  # images a side of a contact sheet
WALKS = ((0, 1), (3, 8), (4, 9), (7, 2), (5, 6), (9, 0), (1, 4), (8, 3))  # from one digit to another
STEPS = 8  # one walk a line of the sheet


def images(out: Path, n: int, seed: int, quiet: bool) -> None:
    """Digits: sampled by label, walked between, scored, and a report card."""
    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    pixels, digits = load_digits(return_X_y=True)
    pixels = (pixels.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    say(
        f"{len(pixels):,} handwritten digits of 8 x 8 pixels (scikit-learn's copy of UCI Optical Recognition of\n"
        "Handwritten Digits) and which digit each is. A tenth is set aside and never learned from.\n",
        quiet,
    )
    gen = likely.fit((pixels, digits), seed=seed, progress=not quiet)
    for line in gen.notes:
        say(line, quiet)

    def draw(items: object, name: str, words: str) -> None:
        write_atomic(out / name, gen.codec.render(gen.codec.read(items)).data)
        say(f"{out / name}: {words}", quiet)

    draw(gen.sample(SHEET**2, seed=seed), "digits.png", "digits that nobody wrote")
    eights = gen.sample(SHEET**2, given={"label": "8"}, seed=seed)
    draw(eights, "eights.png", "eights only, because we ask for label=8")
    ways = []
    for a, b in WALKS:
        start, end = ((pixels[digits == digit][:1], digits[digits == digit][:1]) for digit in (a, b))
        # Half of the way is asked to be the one digit, half the other: the latent says how it is written.
        labels = [str(a)] * (STEPS // 2) + [str(b)] * (STEPS - STEPS // 2)
        ways.append(likely.latent.between(gen, start, end, STEPS, given=labels))
    draw(np.concatenate(ways), "walk.png", f"{len(WALKS)} walks of {STEPS} steps from one digit to another")
    strange = gen.surprise((pixels, digits))
    odd = np.argsort(-strange)[: SHEET**2]
    draw((pixels[odd], digits[odd]), "strangest.png", "the real digits that surprise the model most")

    say("\nThe report card: made digits beside real ones the model has not seen ...", quiet)
    with likely.learning.listening(not quiet) as listen:
        card = gen.report(n=min(n, 2_000), listen=listen)
    model = gen.save(out / "digits.likely")
    card.save(out / "digits.html", show="real")
    say(f"\n{card}", quiet)
    say(
        f"\nDone in {time.monotonic() - started:.0f} seconds. Look at {out / 'digits.html'} in a browser;\n"
        f"{model} is the model:  likely sample {model} -n 64 --given label=8 -o eights.png",
        quiet,
    )
