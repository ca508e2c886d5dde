"""Remaining useful life and health on C-MAPSS FD001 (Saxena et al. 2008), beside published figures and simple peers.

    OMP_NUM_THREADS=1 python benchmarks/life_bench.py

Life: learned from the 100 training engines, all options at their defaults but the cap (125, as in the literature);
chosen by cross-validation on training engines only. RMSE and score over the 100 official test engines at their last
cycle, truth capped at 125. score = sum of exp(-d/13) - 1 (too early) or exp(d/10) - 1 (too late). Health: windows of
20 cycles x 14 sensors, learned from the first 60 cycles of engines 1-70; windows of engines 71-100 are ranked,
positive = the last 30 cycles, negative = windows that end in the first 60 % of the life. Floor: the mean life (RMSE);
PCA on the same windows (health).
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

import results
from anomaly_tables import auroc
from likely.apps.monitor.ensemble import Ensemble
from likely.apps.monitor.life import Life

FOLDER = (
    Path(os.environ.get("LIKELY_SHARED_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data") / "cmapss"
)
CAP = 125.0
PUBLISHED = {"LSTM (Zheng 2017)": 16.14, "LSTM (arXiv 2604.27234)": 14.93, "1-D CNN": 16.97, "recent best": 10.4}


def score(off: NDArray[np.float64]) -> float:
    """The asymmetric score of the challenge."""
    return float(np.where(off < 0, np.exp(-off / 13) - 1, np.exp(off / 10) - 1).sum())


def health(train: pl.DataFrame) -> list[dict[str, object]]:
    """AUROC of worn against healthy windows."""
    sensors = [c for c in train.columns if c.startswith("s_") and train[c].n_unique() > 2]  # type: ignore[operator]
    assert len(sensors) == 14, sensors
    learn, test, truth = [], [], []
    for unit, engine in sorted(train.group_by("unit"), key=lambda pair: pair[0]):
        x = engine.sort("cycle")[sensors].to_numpy().astype(float)
        view = sliding_window_view(x, 20, axis=0).transpose(0, 2, 1).reshape(len(x) - 19, -1)
        if unit[0] <= 70:
            learn.append(view[:41])
        else:
            last = np.arange(19, len(x))  # the cycle at which a window ends
            test.append(view)
            truth.append((last >= len(x) - 30).astype(np.int64))
    x, y, label = np.concatenate(learn), np.concatenate(test), np.concatenate(truth)
    rows = []
    z = (x - x.mean(0)) / x.std(0)
    value, vector = np.linalg.eigh(np.cov(z.T))
    w = (y - x.mean(0)) / x.std(0)
    for name, p in (
        ("PCA, all components", ((w @ vector) ** 2 / np.maximum(value, 1e-9)).sum(1)),
        ("PCA, reconstruction at 90 %", ((w @ vector[:, np.cumsum(value) < 0.1 * value.sum()]) ** 2).sum(1)),
    ):
        rows.append({"method": name, "auroc": auroc(label, p)})
    start = time.process_time()
    nats = Ensemble(20, trim=0.1).fit(x, np.random.default_rng(0)).score(y)
    rows.append(
        {"method": "likely monitor", "auroc": auroc(label, nats.total.numpy()), "seconds": time.process_time() - start}
    )
    rows += [{"method": f"  {name}", "auroc": auroc(label, part.numpy())} for name, part in nats.parts.items()]
    return rows


def main() -> None:
    """Measure, print, write."""
    torch.set_num_threads(1)
    train, test = pl.read_csv(FOLDER / "train_FD001.csv.gz"), pl.read_csv(FOLDER / "test_FD001.csv.gz")
    truth = np.minimum(np.loadtxt(FOLDER / "RUL_FD001.txt"), CAP)
    start = time.process_time()
    model = Life.fit(train, time="cycle", entity="unit", cap=CAP)
    fitted = time.process_time() - start
    found = model.predict(test).sort(pl.col("entity").cast(pl.Int64))
    off = found["life"].to_numpy() - truth
    inside = (found["low"].to_numpy() <= truth) & (truth <= found["high"].to_numpy())
    rows: list[dict[str, object]] = [
        {
            "method": "likely life",
            "rmse": float(np.sqrt((off**2).mean())),
            "score": score(off),
            "covered": float(inside.mean()),
            "width": float((found["high"] - found["low"]).to_numpy().mean()),
            "cross_validated": model.about["rmse"],
            "seconds": fitted,
        },
        {"method": "floor: the mean", "rmse": float(truth.std())},
        *({"method": f"published: {name}", "rmse": value} for name, value in PUBLISHED.items()),
    ]  # fmt: skip
    print(results.table(rows, ["method", "rmse", "score", "covered", "width", "cross_validated", "seconds"]))
    print("\n".join(lead.told("cycles") for lead in model.leads))
    healthy = health(train)
    print(results.table(healthy, ["method", "auroc", "seconds"]))
    results.save(
        "life",
        [*rows, *healthy],
        leads=[lead._asdict() for lead in model.leads],
        targets="rmse <= 11.5, score <= 200, auroc >= .985",
    )


if __name__ == "__main__":
    main()
