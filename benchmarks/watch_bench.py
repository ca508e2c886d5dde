"""Watching a stream: readings a second on one core, and memory over ten million readings.

    OMP_NUM_THREADS=1 python benchmarks/watch_bench.py [--millions 10]

Live: 20 sensors, defaults (windows of 50, a look every 5 readings), lines of CSV parsed and judged one by one, as they
come from a pipe: `Stream.batches(lines, 1)` -> `Watch.feed`. Bulk: the same in batches of 4,096 lines, as `watch FILE`
reads them. Memory: readings are made on the fly and fed through `Watch.feed` in batches; resident memory at 1, 2, 5
and 10 million. The floor is what is asked for, 1,000 readings a second; the ceiling is parsing the lines and doing
nothing else.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

import results
from likely.apps.monitor import Monitor
from likely.apps.monitor.stream import Arrived, Stream
from likely.apps.monitor.watch import Watch

SENSORS = 20
BATCH = 4096


def readings(start: int, count: int, seed: int) -> NDArray[np.float64]:
    """Correlated waves and noise (count, SENSORS)."""
    rng = np.random.default_rng(seed)
    t = np.arange(start, start + count)[:, None]
    waves = np.sin(2 * np.pi * t / (40 + 7 * np.arange(SENSORS)))
    x: NDArray[np.float64] = waves + 0.2 * rng.normal(size=(count, SENSORS))
    return x


def resident() -> float:
    """MB of this process now."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return float("nan")


def lines(count: int) -> Iterator[str]:
    """CSV lines."""
    for start in range(0, count, BATCH):
        for k, row in enumerate(readings(start, BATCH, start)):
            yield f"{start + k}," + ",".join(f"{value:.4f}" for value in row) + "\n"


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--millions", type=float, default=10)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    header = "time," + ",".join(f"s{j}" for j in range(SENSORS))
    learn = readings(0, 20_000, 1)
    frame = pl.DataFrame({"time": np.arange(20_000.0), **{f"s{j}": learn[:, j] for j in range(SENSORS)}})
    monitor = Monitor.fit(frame)
    print(monitor)
    rows = []
    for name, size, count in (("live, one by one", 1, 20_480), ("bulk, 4,096 lines at a time", BATCH, 204_800)):
        text = list(lines(count))
        watch, stream = Watch(monitor), Stream(monitor.readings, header, print)
        start = time.process_time()
        for arrived in stream.batches(text, size):
            watch.feed(arrived)
        took = time.process_time() - start
        rows.append({"what": name, "readings_a_second": count / took, "windows": watch.windows, "alarms": watch.alarms})
    stream = Stream(monitor.readings, header, print)
    start = time.process_time()
    parsed = sum(1 for line in text if stream.parse(line) is not None)
    rows.append({"what": "ceiling: parsing only", "readings_a_second": parsed / (time.process_time() - start)})
    rows.append({"what": "floor: what is asked for", "readings_a_second": 1000.0})
    del text
    gc.collect()
    watch = Watch(monitor)
    marks = [m for m in (0.1, 1, 2, 5, 10) if m <= asked.millions]
    start, done = time.process_time(), 0
    for mark in marks:
        while done < mark * 1e6:
            x = readings(done, BATCH, done)
            watch.feed(Arrived(x, np.arange(done, done + BATCH, dtype=float), ""))
            done += BATCH
        memory = resident()
        rows.append({"what": f"memory after {mark:g} million", "mb": memory, "windows": watch.windows})
        print(rows[-1], f"{time.process_time() - start:.0f} CPU seconds", flush=True)
    print(results.table(rows, ["what", "readings_a_second", "windows", "alarms", "mb"]))
    growth = [row["mb"] for row in rows if "mb" in row]
    flat = max(b - a for a, b in itertools.pairwise(growth[1:])) if len(growth) > 2 else None
    results.save("watch", rows, growth_mb=flat, targets="1,000 readings a second with 20 sensors; memory flat")


if __name__ == "__main__":
    main()
