"""Conditions: rows completed from any given columns, beside real rows.

    python benchmarks/condition_bench.py

Adult, split 0, default settings. 3,000 held-out rows without missing cells each keep 1 to 12 columns drawn at random;
the rest is completed by `fill`. Claims: gradient boosting tells completed rows from other held-out rows with an AUROC
of at most .53, given values hold in every row, at most 5 CPU-milliseconds a row. Floor: the same with independent
columns; ceiling: real rows beside other real rows.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import polars as pl
import torch

import likely
import results
import tables
from likely.evaluate import columns, detection

ROWS = 3000
FIXED = [("income-per-year", "sex", "capital-gain"), ("occupation", "hours-per-week", "income-per-year", "race")]


def holes(rows: pl.DataFrame, keep: np.ndarray) -> pl.DataFrame:
    """The rows with null where `keep` (B, D) is false."""
    return rows.with_columns(
        pl.when(pl.Series(keep[:, j])).then(pl.col(name)).otherwise(None).alias(name)
        for j, name in enumerate(rows.columns)
    )


def told_apart(real: pl.DataFrame, made: pl.DataFrame) -> float:
    """C2ST, mean of three seeds."""
    (fresh,), rows, _ = columns.read([real], made)
    return float(np.mean([detection.classifier_test(fresh, rows, seed).value for seed in range(3)]))


def measure(gen: likely.Generator, rows: pl.DataFrame, others: pl.DataFrame, keep: np.ndarray) -> dict[str, Any]:
    """Complete, compare, time."""
    asked = holes(rows, keep)
    started = time.process_time()
    made = gen.fill(asked, seed=0)
    cost = (time.process_time() - started) / len(rows) * 1000
    held = all(
        bool((asked[name].is_null() | (asked[name] == made[name])).all()) and not made[name].null_count()
        for name in rows.columns
    )
    return {
        "C2ST": told_apart(others, made),
        "held": "100%" if held else "no",
        "cpu ms": cost,
        "note": " ".join(gen.notes),
    }


def main() -> None:
    """Run, print, save."""
    torch.set_num_threads(1)
    train, holdout = tables.split(tables.load("adult"), 0)
    whole = holdout.drop_nulls()
    rows, others = whole[:ROWS], whole[ROWS : 2 * ROWS]
    rng = np.random.default_rng(0)
    d = rows.width
    random = np.zeros((ROWS, d), bool)
    for row in random:
        row[rng.permutation(d)[: rng.integers(1, 13)]] = True
    wishes = {"any 1-12 columns": random}
    for names in FIXED:
        wishes[", ".join(names)] = np.tile(np.isin(rows.columns, names), (ROWS, 1))
    found = []
    for family in ("trees", "exact"):
        gen = likely.fit(train, family=family, target=tables.TARGET["adult"], progress=False)
        for given, keep in wishes.items():
            found.append({"family": family, "given": given, **measure(gen, rows, others, keep)})
            print(results.table(found[-1:], ["family", "given", "C2ST", "held", "cpu ms", "note"]), flush=True)
    found.append({"family": "real rows", "given": "(ceiling)", "C2ST": told_apart(others, rows)})
    print(results.table(found, ["family", "given", "C2ST", "held", "cpu ms"]))
    print(results.save("condition", found, gates="C2ST <= .53, values held in 100% of rows, <= 5 CPU-ms a row"))


if __name__ == "__main__":
    main()
