"""Tables: every family of ours at its default settings beside CTGAN, TVAE and GaussianCopula, floor and ceiling.

    python benchmarks/tables_bench.py [--data adult] [--methods trees exact] [--splits 0 1 2]

Each fit runs in a process of its own on one thread; its CPU seconds and peak memory are those of the whole process,
imports included, for fit and as many sampled rows as there are to learn from. Peers come from `benchmarks/peers.py`.
All are judged by `likely.evaluate` against rows that no method saw; three sampling seeds for ours, one for peers.

  C2ST      AUROC of gradient boosting between made and held-out rows (.5 is perfect)
  TSTR      AUROC of a model trained on made rows over that of one trained on real rows, on held-out rows
  quality   mean of column shapes and pair trends (SDMetrics' definitions)
  DCR       share of made rows nearer to training than to held-out rows, all rows (.5)
  MIA       AUROC of a membership attack by distance, all rows (.5)
  copies    share of made rows equal to a training row, high-cardinality columns left out, less the held-out rows' share
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

if sys.argv[1:2] == ["--worker"]:
    # As `pip install likely` leaves it: libraries import optional packages on sight, so these are hidden.
    sys.modules.update(dict.fromkeys(("pandas", "pyarrow")))  # None: an import fails as if it were not installed

import numpy as np
import polars as pl

import results
import tables
from likely.evaluate import columns, detection, distance, diversity, fidelity, privacy, utility

CACHE = Path(__file__).resolve().parents[1] / ".cache"
OURS = ("trees", "masked", "exact")
PEERS = ("ctgan", "tvae", "gaussian_copula")
SEEDS = 3


def worker(method: str, data: str, split: int, folder: Path, control: float) -> None:
    """Fit one of ours on one thread and write what it makes."""
    import torch

    torch.set_num_threads(1)
    import likely

    train = pl.read_parquet(folder / "train.parquet")
    read = time.process_time()
    gen = likely.fit(train, family=method, target=tables.TARGET[data], seed=split, progress=False, control=control)
    fitted = time.process_time()
    gen.sample(len(train), seed=0)
    cost = {
        "fit": fitted - read,
        "sample": time.process_time() - fitted,
        "cpu": time.process_time(),
        "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    for seed in range(SEEDS):
        gen.sample(len(train), seed=seed).write_parquet(folder / f"{seed}.parquet")
    gen.save(folder / "model.likely")
    (folder / "cost.json").write_text(json.dumps(cost))


def made_by(method: str, data: str, split: int, control: float = 0.1) -> tuple[list[pl.DataFrame], dict[str, float]]:
    """The tables a method makes and what they cost; from the cache where it has them."""
    if method in PEERS:
        stem = CACHE / "peers" / f"{data}-{split}-{method}"
        if not stem.with_suffix(".json").exists():
            return [], {}
        about = json.loads(stem.with_suffix(".json").read_text())
        cost = {
            key: about.get(name)
            for key, name in (("fit", "fit_cpu_s"), ("sample", "sample_cpu_s"), ("mb", "peak_rss_mb"))
        }
        return [pl.read_parquet(stem.with_suffix(".parquet"))], {k: v for k, v in cost.items() if v is not None}
    folder = CACHE / "tables" / f"{data}-{split}-{method}-{control:g}"
    if not (folder / "cost.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        tables.split(tables.load(data), split)[0].write_parquet(folder / "train.parquet")
        command = [sys.executable, __file__, "--worker", method, data, str(split), str(folder), str(control)]
        subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    cost = json.loads((folder / "cost.json").read_text())
    return [pl.read_parquet(folder / f"{seed}.parquet") for seed in range(SEEDS)], cost


def judge(train: pl.DataFrame, holdout: pl.DataFrame, made: pl.DataFrame, target: str, seed: int) -> dict[str, float]:
    """All figures of one made table."""
    (real, fresh), rows, _ = columns.read([train, holdout], made)
    rng = np.random.default_rng(seed)
    n = min(len(real), len(fresh))
    real, fresh, rows = (part.take(rng.permutation(len(part))) for part in (real, fresh, rows))
    shapes, trends = fidelity.average(fidelity.shapes(real, rows)), fidelity.average(fidelity.trends(real, rows).score)
    j = [column.name for column in real.columns].index(target)
    values = utility.classes(real, j)
    best = utility.forecast(real, fresh, j, values, 0)
    got = utility.forecast(rows, fresh, j, values, 0)
    metric = distance.Metric(real)
    attack = privacy.attack(*(metric.features(part.draw(n, rng)) for part in (real, fresh)), metric.features(rows))
    copies = privacy.copies(real, fresh, rows, privacy.coarse(real))
    spread = diversity.spread(*(metric.features(part.draw(min(n, 3000), rng)) for part in (fresh, rows)))
    return {
        "C2ST": detection.classifier_test(fresh.draw(n, rng), rows.draw(n, rng), seed).value,
        "TSTR": (got.score() if got else 0.5) / best.score(),
        "quality": fidelity.quality(shapes, trends),
        "DCR": attack.dcr,
        "MIA": attack.membership.value,
        "copies": copies.made - copies.fresh,
        "coverage": spread.coverage,
        "density": spread.density,
    }


def floor_and_ceiling(train: pl.DataFrame, holdout: pl.DataFrame, seed: int) -> dict[str, pl.DataFrame]:
    """Real rows in the place of made ones (drawn again with repetition: a pure copier), and columns shuffled apart."""
    rng = np.random.default_rng(seed)
    shuffled = pl.DataFrame([train[name][rng.permutation(len(train))] for name in train.columns])
    return {"copier": train[rng.integers(0, len(train), len(train))], "shuffled columns": shuffled}


def run(data: str, methods: list[str], splits: list[int], control: float) -> list[dict[str, Any]]:
    """One row a method and split, means over sampling seeds."""
    found = []
    for split in splits:
        train, holdout = tables.split(tables.load(data), split)
        made = {method: made_by(method, data, split, control) for method in methods}
        made |= {name: ([frame], {}) for name, frame in floor_and_ceiling(train, holdout, split).items()}
        for method, (frames, cost) in made.items():
            if not frames:
                continue
            figures = [judge(train, holdout, frame, tables.TARGET[data], seed) for seed, frame in enumerate(frames)]
            mean = {name: float(np.mean([one[name] for one in figures])) for name in figures[0]}
            found.append({"data": data, "split": split, "method": method, **mean, **cost})
            print(results.table([found[-1]], COLUMNS).split("\n")[-1], flush=True)
    return found


COLUMNS = [
    "data",
    "split",
    "method",
    "C2ST",
    "TSTR",
    "quality",
    "DCR",
    "MIA",
    "copies",
    "coverage",
    "density",
    "fit",
    "sample",
    "cpu",
    "mb",
]


def main() -> None:
    """Run, print, save."""
    if sys.argv[1:2] == ["--worker"]:
        _, _, method, data, split, folder, control = sys.argv
        worker(method, data, int(split), Path(folder), float(control))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=list(tables.TARGET))
    parser.add_argument("--methods", nargs="*", default=[*OURS, *PEERS])
    parser.add_argument("--splits", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--control", type=float, default=0.1, help="share that fit sets aside (the default)")
    parser.add_argument("--name", default="tables")
    args = parser.parse_args()
    rows = [row for data in args.data for row in run(data, args.methods, args.splits, args.control)]
    print("\n" + results.table(rows, COLUMNS))
    print(results.save(args.name, rows, sampling_seeds=SEEDS, metrics=__doc__))


if __name__ == "__main__":
    main()
