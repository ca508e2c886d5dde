"""Filling: missing cells completed by the model, by the column's mean or mode, and by scikit-learn's IterativeImputer.

    python benchmarks/fill_bench.py

Adult, split 0; 20 % of the cells of the held-out rows (but for the target) are removed at random. Two figures: the
share of removed category cells that are guessed right, and the AUROC of a classifier of `income-per-year`, learned from
the complete training rows, on the completed rows. `fill` draws from the distribution, as it should for statistics;
the commonest (or mean) of five draws is the best single guess. Ceiling: the rows before anything was removed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  (importing it is what counts)
from sklearn.impute import IterativeImputer
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

import likely
import results
import tables

TARGET = tables.TARGET["adult"]
Floats = NDArray[np.float64]


def codes(frames: list[pl.DataFrame]) -> tuple[list[Floats], NDArray[np.bool_]]:
    """Frames as numbers (categories by frequency in the first, missing = NaN), and which columns are categories."""
    out: list[list[Floats]] = [[] for _ in frames]
    category = []
    for name, dtype in frames[0].schema.items():
        levels = frames[0][name].drop_nulls().value_counts(sort=True)[name].to_list()
        known = dict(zip(levels, range(len(levels)), strict=True))
        category.append(not dtype.is_numeric())
        for place, frame in zip(out, frames, strict=True):
            values = frame[name].to_list()
            place.append(
                np.array([np.nan if v is None else known.get(v, 0) if category[-1] else v for v in values], float)
            )
    return [np.stack(place, 1) for place in out], np.array(category)


def main() -> None:
    """Run, print, save."""
    torch.set_num_threads(1)
    train, holdout = tables.split(tables.load("adult"), 0)
    train, rows = train.drop_nulls(), holdout.drop_nulls()
    rng = np.random.default_rng(0)
    gone = rng.random(rows.shape) < 0.2
    gone[:, rows.columns.index(TARGET)] = False
    asked = rows.with_columns(
        pl.when(pl.Series(~gone[:, j])).then(pl.col(name)).otherwise(None).alias(name)
        for j, name in enumerate(rows.columns)
    )
    gen = likely.fit(train, target=TARGET, progress=False)
    draws = [gen.fill(asked, seed=seed) for seed in range(5)]
    (learn, truth, holes, *filled), category = codes([train, rows, asked, *draws])
    x = [name != TARGET for name in rows.columns]
    y = rows.columns.index(TARGET)
    judge = HistGradientBoostingClassifier(categorical_features=category[x], random_state=0).fit(
        learn[:, x], learn[:, y]
    )

    usual = np.where(category, 0.0, learn.mean(0))  # code 0 is the commonest level
    simple = np.where(gone, usual, holes)
    with threadpool_limits(1):
        imputer = IterativeImputer(random_state=0, max_iter=10).fit(learn)
        iterative = imputer.transform(holes)
    top = learn.max(0)
    iterative[:, category] = np.clip(np.round(iterative[:, category]), 0, top[category])
    stack = np.stack(filled)
    commonest: Callable[[Floats], Floats] = lambda v: np.array(np.bincount(v.astype(int)).argmax(), float)  # noqa: E731
    best = np.where(category, np.apply_along_axis(commonest, 0, stack), stack.mean(0))

    found: list[dict[str, Any]] = []
    for method, made in (
        ("likely, one draw", filled[0]), ("likely, best of 5 draws", best), ("mean and mode", simple),
        ("IterativeImputer", iterative), ("complete rows (ceiling)", truth),
    ):  # fmt: skip
        cells = gone & category
        found.append({
            "method": method,
            "category accuracy": float((made == truth)[cells].mean()),
            "AUROC": float(roc_auc_score(truth[:, y], judge.predict_proba(made[:, x])[:, 1])),
        })  # fmt: skip
    print(results.table(found, ["method", "category accuracy", "AUROC"]))
    print(results.save("fill", found, removed=int(gone.sum()), completed=len(rows)))


if __name__ == "__main__":
    main()
