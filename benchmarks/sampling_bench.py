"""Sampling: how fast, in how much memory, and the same bytes again?

    OMP_NUM_THREADS=1 python benchmarks/sampling_bench.py

Adult, split 0, default settings, one thread, everything through the command line in processes of its own: `likely fit`
twice with one seed, `likely sample` twice with one seed, and one sample of ten times as many rows.

  claims    100,000 rows in at most 5 CPU-seconds, imports and start left out (a process that samples one row is taken
            off); 1,000,000 rows in the memory of 100,000, give or take 100 MB; same seed, same bytes, of the model file
            and of the sample
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

import results
import tables

FEW, MANY = 100_000, 1_000_000
MEASURE = (
    "import resource, runpy, sys; sys.argv = sys.argv[1:]\n"
    "try: runpy.run_module('likely', run_name='__main__')\n"
    "finally:\n"
    " used = resource.getrusage(resource.RUSAGE_SELF)\n"
    " print(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)"
)


def run(*words: str | Path | int) -> dict[str, Any]:
    """CPU-seconds and peak memory (MB) of one `likely` command on one thread."""
    command = [sys.executable, "-c", MEASURE, "likely", *map(str, words)]
    done = subprocess.run(
        command, check=True, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    cpu, memory = map(float, done.stdout.split()[-2:])
    return {"CPU s": cpu, "MB": memory}


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def main() -> None:
    """Run, print, save."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = folder / "adult.parquet"
        tables.split(tables.load("adult"), 0)[0].write_parquet(table)
        models = [folder / f"{k}.likely" for k in range(2)]
        for model in models:
            cost = run("fit", table, "-o", model, "--target", tables.TARGET["adult"], "--quiet")
        rows.append({"what": "fit", **cost, "same bytes": str(digest(models[0]) == digest(models[1]))})

        idle = run("sample", models[0], "-n", 1, "-o", folder / "one.parquet", "--quiet")
        rows.append({"what": "sample 1 row", **idle})
        samples = [folder / f"{k}.{kind}" for kind in ("parquet", "csv") for k in range(2)]
        for sample in samples:
            cost = run("sample", models[0], "-n", FEW, "-o", sample, "--seed", 0, "--quiet")
            rows.append(
                {"what": f"sample {FEW:,} rows, {sample.suffix}", **cost, "sampling s": cost["CPU s"] - idle["CPU s"]}
            )
            rows[-1]["same bytes"] = "-"
        for last, pair in ((3, samples[:2]), (5, samples[2:])):
            rows[last]["same bytes"] = str(digest(pair[0]) == digest(pair[1]))
        few = rows[3]["MB"]
        many = folder / "many.parquet"
        cost = run("sample", models[0], "-n", MANY, "-o", many, "--quiet")
        made = pl.scan_parquet(many).select(pl.len()).collect().item()
        rows.append({"what": f"sample {made:,} rows, .parquet", **cost, "sampling s": cost["CPU s"] - idle["CPU s"]})
        rows[-1]["MB more"] = cost["MB"] - few
    print(results.table(rows, ["what", "CPU s", "sampling s", "MB", "MB more", "same bytes"]))
    gate = "sampling s <= 5 at 100,000 rows; |MB more| <= 100 at 1,000,000; same bytes of model and samples"
    print(results.save("sampling", rows, gate=gate))


if __name__ == "__main__":
    main()
