"""One `gen.align`, unchanged, on a table, images, peptides and windows of a series; and PPO on a translator.

    OMP_NUM_THREADS=1 python benchmarks/align_modalities_bench.py [--only table images peptides windows translator]

    table        Adult, 8,000 records learned by `masked`; liked: fewer hours of work a week
    images       scikit-learn's 8 x 8 digits by `flow`, whose choices are steps of a denoising; liked: more ink
    peptides     antimicrobial and other peptides as letters of amino acids, by `transformer`; liked: more net charge
    windows      ItalyPowerDemand, days of 24 hours by `flow`; liked: more demand from 0 to 5 in the morning
    translator   `seq2seq` on a toy language in which every word has two translations; liked: the second of them

by PPO, once from the function (the property in standard deviations of the start's items), once from judgements of a
simulated annotator, who compares 400 pairs of items that the start made, and errs: left with probability
1 / (1 + exp(-3 (r_left - r_right))). Judgements know items as bytes: JSON rows, PNGs, texts, JSON windows; the reward
that is learned from them sees what the model's own steps see.

    floor     the property of items of the start
    tilt      the most that any model can have at that KL: start's items weighed by exp(R / beta)
    best of   64 items of the start, the best one: KL log 64 - 63 / 64 = 3.17
    cost      figures of the report card and of held-out items before and after: better.price

Claim: with the same options (beta .7, 60 steps) the property moves by half a standard deviation at least, at KL <= 10
nats an item, by both signals, in all.
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import torch
from PIL import Image
from sklearn.datasets import load_digits

import likely
import results
import tables
from likely.align import course
from likely.align.ppo import PPO, PPOConfig
from likely.align.preference import Candidate, Comparison, Item, Judgements
from likely.align.trial import Trial, Wish
from likely.codecs.text import Text
from likely.core import Batch, Budget, Path, Tokens
from likely.evaluate.price import frontier
from likely.families.seq2seq import Seq2seq, Seq2seqConfig
from likely.train.loop import fit

PAIRS, SURE, LOOKED, GROUP = 400, 3.0, 4096, 64
OPTIONS: dict[str, Any] = {"beta": 0.7, "steps": 60}  # the same for all
COLUMNS = ["what", "signal", "property", "before", "after", "best of 64", "moved, sd", "kl", "tilt at that kl, sd",
           "wins", "cost", "CPU s"]  # fmt: skip


@dataclass
class Case:
    """A generator, the property that is liked, what it is called, and how an item is kept in a judgement."""

    make: Callable[[], Any]
    name: str
    value: Callable[[Any], np.ndarray]
    keep: Callable[[Any, int], Candidate]


# ---------------------------------------------------------------------------------------------- the cases


def table() -> Any:
    """Adult."""
    return likely.fit(tables.load("adult")[:8000], family="masked", minutes=1.5, progress=False)


def hours(rows: pl.DataFrame) -> np.ndarray:
    """Of work, each week less."""
    return -rows["hours-per-week"].cast(pl.Float64).to_numpy()


def row(rows: pl.DataFrame, k: int) -> Candidate:
    """As JSON."""
    return Candidate(json.dumps(rows.row(k, named=True)).encode(), "application/json")


def digits() -> Any:
    """scikit-learn's."""
    pixels = (load_digits().images * (255 / 16)).astype(np.uint8)
    return likely.fit(pixels, family="flow", given=False, minutes=1.0, progress=False)


def ink(images: np.ndarray) -> np.ndarray:
    """Mean brightness, 0 to 255."""
    return np.asarray(images).reshape(len(images), -1).mean(1)


def png(images: np.ndarray, k: int) -> Candidate:
    """As a file."""
    file = io.BytesIO()
    Image.fromarray(np.asarray(images[k])).save(file, "PNG")
    return Candidate(file.getvalue(), "image/png")


def peptides() -> Any:
    """Letters of amino acids."""
    with gzip.open(tables.DATA / "peptides" / "amp_vs_uniprot.csv.gz", "rt") as file:
        found = pl.read_csv(file.read().encode())["sequence"].to_list()
    short = [one for one in found if 8 <= len(one) <= 40]
    codec = Text(tokens="characters")
    return likely.fit(short, codec=codec, family="transformer", width=64, depth=3, minutes=2.0, progress=False)


def charge(texts: Sequence[str]) -> np.ndarray:
    """Lysine and arginine less aspartic and glutamic acid."""
    return np.array([sum(one.count(c) for c in "KR") - sum(one.count(c) for c in "DE") for one in texts], float)


def text(texts: Sequence[str], k: int) -> Candidate:
    """As it is."""
    return Candidate.text(texts[k])


def power() -> Any:
    """Days."""
    days = np.load(tables.DATA / "series" / "ItalyPowerDemand.npz")["X_test"].transpose(0, 2, 1)
    return likely.fit(days, codec="series", family="flow", minutes=1.0, progress=False)


def night(windows: np.ndarray) -> np.ndarray:
    """Demand of the first hours."""
    return np.asarray(windows)[:, :6].mean((1, 2))


def window(windows: np.ndarray, k: int) -> Candidate:
    """As JSON."""
    return Candidate(json.dumps(np.asarray(windows[k]).tolist()).encode(), "application/json")


CASES = {
    "table": Case(table, "hours a week, fewer", hours, row),
    "images": Case(digits, "ink", ink, png),
    "peptides": Case(peptides, "net charge", charge, text),
    "windows": Case(power, "demand at night", night, window),
}  # fmt: skip


# -------------------------------------------------------------------------------------------- the measures


def judged(case: Case, items: Any, worth: np.ndarray, rng: np.random.Generator) -> Judgements:
    """What the annotator says of pairs of these items."""
    made, said = [], []
    for k in range(PAIRS):
        a, b = 2 * k, 2 * k + 1
        item = Item(f"i{k}", None, (case.keep(items, a), case.keep(items, b)))
        if len(item.by_id) < 2:  # the same twice
            continue
        left = rng.random() < 1 / (1 + math.exp(-SURE * (worth[a] - worth[b])))
        made.append(item)
        said.append(Comparison(item.id, tuple(item.by_id), "simulated", "left" if left else "right"))
    return Judgements(tuple(made), tuple(said))


def measured(what: str, case: Case) -> list[dict[str, Any]]:
    """Rows of one case."""
    gen = case.make()
    items = gen.sample(LOOKED, seed=11)
    start = case.value(items)
    mean, spread = float(start.mean()), float(start.std())
    print(f"{what}: {case.name} {mean:.3g}, spread {spread:.3g}", flush=True)

    def reward(made: Any) -> np.ndarray:
        return (case.value(made) - mean) / spread

    worth = (start - mean) / spread
    best = float(worth.reshape(-1, GROUP).max(1).mean())
    line = np.array(frontier(worth))
    said = judged(case, items, worth, np.random.default_rng(5))
    rows = []
    for name, signal in (("function", reward), ("judgements", said)):
        began = time.process_time()
        better = gen.align(signal, progress=False, **OPTIONS)
        spent = time.process_time() - began
        after = case.value(better.sample(LOOKED, seed=12))
        price = better.price
        kl = float(price.entry["kl"])
        moved = float((after.mean() - mean) / spread)
        worse = [one for one in price.figures if one.turn < 0]
        gained = [one for one in price.figures if one.turn > 0]
        rows.append({
            "what": what, "signal": name, "property": case.name, "before": mean, "after": float(after.mean()),
            "best of 64": mean + spread * best, "moved, sd": moved, "kl": kl,
            "tilt at that kl, sd": float(np.interp(math.sqrt(max(kl, 0)), line[:, 0], line[:, 1]))
            if kl <= line[-1, 0] ** 2 else None,  # beyond, too few items of the start are left to say
            "frontier ends at kl": float(line[-1, 0] ** 2), "wins": price.entry["won"],
            "cost": f"{len(worse)} worse, {len(gained)} better of {sum(one.better != 0 for one in price.figures)}",
            "CPU s": spent, "judgements": price.entry.get("judgements"),
            "figures": [{"title": one.title, "group": one.group, "before": one.before, "after": one.after,
                         "turn": one.turn} for one in price.figures],
        })  # fmt: skip
        print(str(price), flush=True)
    return rows


def translator() -> list[dict[str, Any]]:
    """PPO on the family alone: sources of up to 6 words; word w is translated by 2 w or 2 w + 1."""
    words, space, source = 10, Tokens(23, 8), Tokens(13, 8)
    rng = torch.Generator().manual_seed(0)

    def drawn(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        length = torch.randint(2, 7, (n, 1), generator=rng)
        place = torch.arange(8)
        word = torch.randint(0, words, (n, 8), generator=rng)
        second = torch.randint(0, 2, (n, 8), generator=rng)
        ends = torch.where(place == length, 2, 0)
        return torch.where(place < length, 3 + word, ends), torch.where(place < length, 3 + 2 * word + second, ends)

    torch.manual_seed(0)
    sources, targets = drawn(4000)
    model = Seq2seq(space, source, Seq2seqConfig(width=48, heads=2, encoder=1, depth=1, dropout=0.0))
    began = time.process_time()
    fit(model, Batch(targets, Batch(sources)), Budget(steps=1200), seed=0)
    model.eval()

    def faithful(path: Path) -> torch.Tensor:
        assert path.given is not None
        real = path.given.x > 2
        right = torch.where(
            real, (path.x - 3).div(2, rounding_mode="floor") == path.given.x - 3, path.x == path.given.x
        )
        return right.all(1).float()

    def second(path: Path) -> torch.Tensor:
        real = path.x > 2
        return ((path.x - 3) % 2 * real).sum(1) / real.sum(1).clamp_min(1)

    fresh = Batch(drawn(LOOKED)[0])

    def look(policy: Seq2seq) -> tuple[Path, float, float]:
        path = policy.rollout(LOOKED, fresh, rng=torch.Generator().manual_seed(3))
        return path, float(second(path).mean()), float(faithful(path).mean())

    path, before, true = look(model)
    spread = float(second(path).std())

    def source_of(n: int, draw: torch.Generator) -> Wish:
        at = torch.randint(len(sources), (n,), generator=draw)
        return Wish(given=Batch(sources[at]))

    trial = Trial(model, lambda path: second(path) / spread, source_of)
    method = PPO(trial, PPOConfig(), 0.3, 1e-3, 0)
    course.run(method, budget=Budget(steps=60), limit=50.0, seed=0)
    moved, after, still = look(model)
    with torch.no_grad():
        kl = float((model.score(moved).logp - trial.start.score(moved).logp).sum(1).mean())  # type: ignore[operator]
    return [{
        "what": "translator", "signal": "function", "property": "second translations", "before": before, "after": after,
        "moved, sd": (after - before) / spread, "kl": kl, "cost": f"right {true:.3f} -> {still:.3f}",
        "CPU s": time.process_time() - began,
    }]  # fmt: skip


def main() -> None:
    """Run, print, save."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="*", choices=[*CASES, "translator"])
    only = parser.parse_args().only
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for what, case in CASES.items():
        if not only or what in only:
            rows += measured(what, case)
    if not only or "translator" in only:
        rows += translator()
    print(results.table(rows, COLUMNS))
    if not only:
        print(
            results.save(
                "align_modalities", rows, options=OPTIONS, pairs=PAIRS, annotator=f"right by 1 / (1 + exp(-{SURE:g} d))"
            )
        )
    for one in rows:
        assert one["moved, sd"] >= 0.5, one
        assert one["kl"] <= 10, one


if __name__ == "__main__":
    main()
