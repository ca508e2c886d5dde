"""Membership: how much better are rows recognised because the model learned from them?

    python benchmarks/membership_bench.py

Adult, split 0, default settings. The attack of `likely.evaluate.privacy` names, of a training and a held-out row, the
one nearest to a made row. Its AUROC on one split is biased by the split itself, so the figure that counts is the
difference to the same recipe refitted *without* the attacked rows (9,769 of the training rows, drawn at random), which
can remember nothing of them. Means of three sampling seeds; the promise is a difference of at most .008.
"""

from __future__ import annotations

import numpy as np
import polars as pl

import likely
import results
import tables
from likely.evaluate import columns, distance, privacy

SEEDS = 3


def made(train: pl.DataFrame) -> list[pl.DataFrame]:
    """What the default settings make of the rows."""
    gen = likely.fit(train, target=tables.TARGET["adult"], progress=False)
    return [gen.sample(len(train), seed=seed) for seed in range(SEEDS)]


def attacked(attack: pl.DataFrame, holdout: pl.DataFrame, frames: list[pl.DataFrame]) -> tuple[float, float, float]:
    """Mean membership AUROC, its spread over seeds, and mean DCR share."""
    areas, shares = [], []
    for frame in frames:
        (seen, fresh), rows, _ = columns.read([attack, holdout], frame)
        metric = distance.Metric(seen)
        result = privacy.attack(*(metric.features(part) for part in (seen, fresh, rows)))
        areas.append(result.membership.value)
        shares.append(result.dcr)
    return float(np.mean(areas)), float(np.std(areas)), float(np.mean(shares))


def main() -> None:
    """Run, print, save."""
    train, holdout = tables.split(tables.load("adult"), 0)
    order = np.random.default_rng(0).permutation(len(train))
    attack, rest = train[order[: len(holdout)]], train[order[len(holdout) :]]
    with_rows = attacked(attack, holdout, made(train))
    without = attacked(attack, holdout, made(rest))
    rows = [
        {"model": name, "MIA": mia, "sd": sd, "DCR": dcr}
        for name, (mia, sd, dcr) in (("learned from the rows", with_rows), ("refitted without them", without))
    ]
    rows.append({"model": "difference", "MIA": with_rows[0] - without[0], "sd": None, "DCR": with_rows[2] - without[2]})
    print(results.table(rows, ["model", "MIA", "sd", "DCR"]))
    print(results.save("membership", rows, gate="difference of MIA <= .008"))


if __name__ == "__main__":
    main()
