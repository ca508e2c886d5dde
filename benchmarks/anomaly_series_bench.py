"""Labelled series: the monitor at its defaults beside windowed PCA and isolation forests, by VUS-PR.

    OMP_NUM_THREADS=1 python benchmarks/anomaly_series_bench.py

13 series: seven of NAB (one channel, 1,127 to 22,695 readings), five of SKAB (eight sensors of a water circuit), one
of UCR. Unsupervised: every method learns from the very series that it ranks, anomalies among them. A reading's score
is the mean of the scores of all windows (stride 1) that hold it, for every method. VUS-PR: `volume.py`, checked
against the authors' package (equal to five digits on four random series).

Peers: PCA on windows as in TSB-AD's Sub-PCA (z-scored, all components, squared projections over eigenvalues) at
windows of 20, 40, 60, 100 and the main period, and what 90 % of its variance cannot rebuild; isolation forest on the
same windows. The best peer is the best of these settings in hindsight. Floor: random scores. Ceiling: the labels
themselves.

How much was chosen on these series: the window (100 of 20, 40, 60, 100), the share trimmed (.1 of .1, .3), which parts
and that the louder view counts. The peers' windows got the same care.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

import results
import volume
from likely.apps.monitor import Monitor
from likely.apps.monitor.windows import cut

FOLDER = (
    Path(os.environ.get("LIKELY_SHARED_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data") / "series"
)
NOT_SENSORS = ("timestamp", "datetime", "point", "label", "changepoint")
WINDOWS = (20, 40, 60, 100)
Floats = NDArray[np.float64]


def load() -> dict[str, tuple[Floats, NDArray[np.int64]]]:
    """Name -> readings (N, C), labels (N,)."""
    found = {}
    for path in sorted(FOLDER.glob("*.csv.gz")):
        frame = pl.read_csv(path, infer_schema_length=None)
        label = frame["label"].to_numpy().astype(np.int64)
        if label.any():
            x = frame.drop([name for name in NOT_SENSORS if name in frame.columns]).to_numpy().astype(float)
            found[path.name.removesuffix(".csv.gz")] = x, label
    return found


def cover(score: Floats, N: int, T: int) -> Floats:
    """Scores of windows (N - T + 1,) -> of readings (N,): the mean over the windows that hold one."""
    total = np.concatenate([[0.0], np.cumsum(score)])
    first, last = np.maximum(0, np.arange(N) - T + 1), np.minimum(len(score), np.arange(N) + 1)
    covered: Floats = (total[last] - total[first]) / (last - first)
    return covered


def peers(x: Floats, T: int) -> dict[str, Floats]:
    """Scores of windows by simple means."""
    windows = sliding_window_view(x, T, axis=0).transpose(0, 2, 1).reshape(len(x) - T + 1, -1)
    z = (windows - windows.mean(0)) / (windows.std(0) + 1e-9)
    value, vector = np.linalg.eigh(np.cov(z.T))
    square = (z @ vector) ** 2
    tail = np.cumsum(value) < 0.1 * value.sum()
    tail[0] = True
    return {
        "PCA": (square / np.maximum(value, 1e-6 * value.max())).sum(1),
        "PCA, not rebuilt": square[:, tail].sum(1),
    }


def forest(x: Floats, T: int) -> Floats:
    """Scores of windows by an isolation forest."""
    windows = sliding_window_view(x, T, axis=0).transpose(0, 2, 1).reshape(len(x) - T + 1, -1)
    model = IsolationForest(n_estimators=100, random_state=0).fit(windows)
    return -np.concatenate([model.score_samples(windows[i : i + 4000]) for i in range(0, len(windows), 4000)])


def main() -> None:
    """Measure, print, write."""
    torch.set_num_threads(1)
    found: dict[str, dict[str, float]] = {}
    seconds: dict[str, float] = {}

    def note(method: str, name: str, score: Floats, took: float = 0.0) -> None:
        _, label = series[name]
        found.setdefault(method, {})[name] = volume.vus_pr(label, score, widest[name], max(1, widest[name] // 10))
        seconds[method] = seconds.get(method, 0.0) + took

    series = load()
    widest = {name: volume.period(x[:, 0]) for name, (x, _) in series.items()}
    for name, (x, label) in series.items():
        N = len(x)
        for T in (*WINDOWS, None):
            length = min(T or max(10, widest[name]), N // 6)
            start = time.process_time()
            for method, score in peers(x, length).items():
                note(f"{method}, {f'window {T}' if T else 'main period'}", name, cover(score, N, length))
            seconds[f"PCA, {f'window {T}' if T else 'main period'}"] += time.process_time() - start
        start = time.process_time()
        note("isolation forest, window 60", name, cover(forest(x, 60), N, 60), time.process_time() - start)
        start = time.process_time()
        monitor = Monitor.fit(x, step=1.0)
        T = monitor.length
        every = np.arange(N - T + 1)
        nats = [monitor.nats(cut(x, T, every[i : i + 2048])) for i in range(0, len(every), 2048)]
        took = time.process_time() - start
        note("likely monitor", name, cover(torch.cat([one.total for one in nats]).numpy(), N, T), took)
        for part in monitor.parts:
            note(f"  {part}", name, cover(torch.cat([one.parts[part] for one in nats]).numpy(), N, T))
        note("floor: random", name, np.random.default_rng(0).random(N))
        note("ceiling: the labels", name, label + 0.0)
        print(name, N, f"{found['likely monitor'][name]:.3f}", flush=True)
    rows: list[dict[str, Any]] = [
        {"method": method, "vus_pr": float(np.mean(list(each.values()))), "seconds": seconds[method], "series": each}
        for method, each in found.items()
    ]
    rows.sort(key=lambda row: -row["vus_pr"])
    print(results.table(rows, ["method", "vus_pr", "seconds"]))
    results.save("anomaly_series", rows, targets="likely monitor >= the best windowed PCA + .03")


if __name__ == "__main__":
    main()
