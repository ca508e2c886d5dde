"""The 22 labelled anomaly tables and their splits, shared by the benchmark and the processes of its peers. Numpy only.

Source: ADBench (Han et al. 2022, arXiv:2206.09426), classical sets, from a local folder that is never committed.
Protocol: 70 % of each class to learn from, its labels unseen, 30 % to be ranked; seeds 0 to 4.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FOLDER = (
    Path(os.environ.get("LIKELY_SHARED_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data") / "adbench"
)
SHARE = 0.7


class Split(NamedTuple):
    """Rows to learn from, rows to rank, and which of those are anomalies (1)."""

    train: NDArray[np.float64]
    test: NDArray[np.float64]
    truth: NDArray[np.int64]


def names() -> list[str]:
    """Names of the sets, in the order of their numbers."""
    files = sorted(FOLDER.glob("*.npz"), key=lambda path: int(path.name.split("_")[0]))
    if not files:
        raise SystemExit(f"No sets in {FOLDER}: set LIKELY_SHARED_DATA to the folder that holds adbench/.")
    return [path.stem for path in files]


def split(name: str, seed: int) -> Split:
    """A stratified split of a set."""
    with np.load(FOLDER / f"{name}.npz", allow_pickle=False) as data:
        x, y = data["X"].astype(np.float64), data["y"].astype(np.int64).ravel()
    rng = np.random.default_rng(seed)
    train = []
    for label in (0, 1):
        rows = rng.permutation(np.flatnonzero(y == label))
        train.append(rows[: round(SHARE * len(rows))])
    chosen = np.zeros(len(y), bool)
    chosen[np.concatenate(train)] = True
    return Split(x[chosen], x[~chosen], y[~chosen])


def splits(seeds: int = 5) -> Iterator[tuple[str, int, Split]]:
    """All sets, all seeds."""
    for name in names():
        for seed in range(seeds):
            yield name, seed, split(name, seed)


def auroc(truth: NDArray[np.int64], score: NDArray[np.float64]) -> float:
    """Area under the ROC curve by mid-ranks; a score that is not finite counts as the lowest of all."""
    score = np.where(np.isfinite(score), score, -np.inf)
    _, group, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[group]
    m = int(truth.sum())
    n = len(truth) - m
    return float((rank[truth == 1].sum() - m * (m + 1) / 2) / (m * n))
