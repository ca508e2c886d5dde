"""Peer baselines of the table benchmark: fit the peers on the same tables and keep what they sample.

    python benchmarks/peers.py [--only ctgan] [--data adult] [--seed 0]

The peers are installed into a virtual environment of their own, `.venv-peers`, and run there only:
the library and its tests never import them. Each run (table x split seed x method) is one process
with one thread, at the method's default settings and with the metadata that the tool detects by
itself; it fits on the train part of the split and samples as many rows as that part has.

The sample goes to `.cache/peers/{data}-{seed}-{method}.parquet`, and its cost to the JSON file
beside it. A run whose two files are there is skipped, so the command can be stopped and repeated.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
VENV = ROOT / ".venv-peers"
PYTHON = VENV / "bin" / "python"
CACHE = ROOT / ".cache" / "peers"

# One pip call each: torch alone first, so that the build already at hand (or the one for CPUs) is kept.
REQUIREMENTS = (
    ("torch==2.13.0",),
    ("torch==2.13.0", "numpy", "pandas", "pyarrow", "polars", "sdv==2.0.0", "sdmetrics==0.32.0"),
)
PACKAGES = ("sdv", "ctgan", "copulas", "rdt", "torch", "numpy", "pandas", "polars")

METHODS = {
    "gaussian_copula": "GaussianCopulaSynthesizer",
    "tvae": "TVAESynthesizer",
    "ctgan": "CTGANSynthesizer",
}
TABLES = ("german", "pageblocks", "support2", "adult")
SEEDS = (0, 1, 2)

ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}


def prepare() -> None:
    """Build the peers' virtual environment if it is missing or was built from other requirements."""
    stamp = VENV / "peers.json"
    wanted = json.dumps(REQUIREMENTS)
    if PYTHON.exists() and stamp.exists() and stamp.read_text() == wanted:
        return
    if not PYTHON.exists():
        subprocess.run(["python3", "-m", "venv", str(VENV)], check=True)
    for packages in REQUIREMENTS:
        subprocess.run([str(PYTHON), "-m", "pip", "install", "--quiet", *packages], check=True)
    stamp.write_text(wanted)


def paths(data: str, seed: int, method: str) -> tuple[Path, Path]:
    """The sample's file and the cost's file of one run."""
    stem = f"{data}-{seed}-{method}"
    return CACHE / f"{stem}.parquet", CACHE / f"{stem}.json"


def _peak_mb() -> float:
    """The largest resident memory of this process so far, in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def work(data: str, seed: int, method: str) -> None:
    """Do one run, inside the peers' environment: fit, sample, and write the two files."""
    import random

    import numpy as np
    import polars
    import sdv.single_table  # type: ignore[import-not-found]
    import torch
    from sdv.metadata import Metadata  # type: ignore[import-not-found]

    import tables

    torch.set_num_threads(1)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)

    train, _ = tables.split(tables.load(data), seed)
    frame = train.to_pandas().fillna(np.nan)  # a missing text as pandas itself reads it from a file
    before_mb = _peak_mb()

    wall, cpu = time.perf_counter(), time.process_time()
    metadata = Metadata.detect_from_dataframes({data: frame}, infer_keys=None)
    synthesizer = getattr(sdv.single_table, METHODS[method])(metadata)
    synthesizer.fit({data: frame})
    fit_wall, fit_cpu = time.perf_counter() - wall, time.process_time() - cpu

    cpu = time.process_time()
    sampled = synthesizer.sample(num_rows=len(train))[data]
    sample_cpu = time.process_time() - cpu

    made = polars.from_pandas(sampled).select(train.columns)
    made = made.select(_like(made[name], train.schema[name]) for name in train.columns)
    if len(made) != len(train):
        raise SystemExit(f"{method} made {len(made)} rows of {data} where {len(train)} were asked for.")

    columns: dict[str, dict[str, Any]] = metadata.to_dict()["tables"][data]["columns"]
    cost = {
        "data": data,
        "seed": seed,
        "method": method,
        "rows": len(train),
        "fit_cpu_s": round(fit_cpu, 3),
        "fit_wall_s": round(fit_wall, 3),
        "sample_cpu_s": round(sample_cpu, 3),
        "peak_rss_mb": round(_peak_mb(), 1),
        "peak_rss_before_fit_mb": round(before_mb, 1),
        "threads": torch.get_num_threads(),
        "settings": "default",
        "sdtypes": {name: column["sdtype"] for name, column in columns.items()},
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }
    sample_path, cost_path = paths(data, seed, method)
    part = sample_path.with_suffix(".part")
    made.write_parquet(part)
    part.replace(sample_path)
    cost_path.write_text(json.dumps(cost, indent=2) + "\n")


def _like(column: Any, dtype: Any) -> Any:
    """The sampled column in the real column's type, unless that would change one of its values."""
    cast = column.cast(dtype, strict=False)
    return cast if cast.cast(column.dtype, strict=False).equals(column, null_equal=True) else column


def main() -> None:
    """Run every wanted baseline that is not there yet, one process at a time."""
    parser = argparse.ArgumentParser(description="Fit the peer baselines and keep their samples.")
    parser.add_argument("--only", choices=METHODS, help="this method only")
    parser.add_argument("--data", choices=TABLES, help="this table only")
    parser.add_argument("--seed", type=int, choices=SEEDS, help="this split seed only")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(args.data, args.seed, args.only)

    prepare()
    CACHE.mkdir(parents=True, exist_ok=True)
    wanted = [
        (data, seed, method)
        for seed in (SEEDS if args.seed is None else (args.seed,))
        for method in ([args.only] if args.only else METHODS)
        for data in ([args.data] if args.data else TABLES)
    ]
    failed = 0
    for data, seed, method in wanted:
        sample_path, cost_path = paths(data, seed, method)
        if sample_path.exists() and cost_path.exists():
            continue
        print(f"{data} seed {seed} {method} ...", flush=True)
        run = ["--worker", "--data", data, "--seed", str(seed), "--only", method]
        child = subprocess.run([str(PYTHON), "-W", "ignore", __file__, *run], env={**os.environ, **ONE_THREAD})
        if child.returncode:
            failed += 1
            print(f"  failed with exit status {child.returncode}", flush=True)
        else:
            cost = json.loads(cost_path.read_text())
            print(f"  fit {cost['fit_cpu_s']} CPU s, peak {cost['peak_rss_mb']} MB", flush=True)
    if failed:
        raise SystemExit(f"{failed} of {len(wanted)} runs failed.")


if __name__ == "__main__":
    main()
