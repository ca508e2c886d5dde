"""PyOD's detectors on the anomaly tables, for `anomaly_tables_bench.py`; runs in an environment of its own.

    python -m venv .venv-pyod && .venv-pyod/bin/pip install torch==2.13.0 "pyod==3.6.*" tqdm
    OMP_NUM_THREADS=1 .venv-pyod/bin/python benchmarks/anomaly_tables_peers.py OUT.json [DETECTOR ...]

Default settings throughout. Columns are standardised with the training rows' mean and deviation, which helps those that
measure distances. OCSVM learns from at most 5,000 rows: its cost grows with their square. The two networks run on seed
0 only, and on at most 5,000 rows. PyOD's PCA gives `inf` for all rows where a column is constant; such columns are
left out.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

import anomaly_tables

DETECTORS = {
    "IForest": "iforest:IForest", "ECOD": "ecod:ECOD", "COPOD": "copod:COPOD", "KNN": "knn:KNN", "LOF": "lof:LOF",
    "PCA": "pca:PCA", "HBOS": "hbos:HBOS", "GMM": "gmm:GMM", "CBLOF": "cblof:CBLOF", "LODA": "loda:LODA",
    "INNE": "inne:INNE", "OCSVM": "ocsvm:OCSVM", "AutoEncoder": "auto_encoder:AutoEncoder", "VAE": "vae:VAE",
}  # fmt: skip
SEEDED = {"IForest", "CBLOF", "INNE", "GMM", "PCA", "AutoEncoder", "VAE"}
NETWORKS = {"AutoEncoder", "VAE"}
LIMIT = {"OCSVM": 5000, "AutoEncoder": 5000, "VAE": 5000}


def run(detector: str, part: anomaly_tables.Split, seed: int) -> dict[str, Any]:
    """AUROC and CPU seconds of one detector on one split."""
    module, _, name = DETECTORS[detector].partition(":")
    mean, deviation = part.train.mean(0), part.train.std(0)
    keep = deviation > 1e-12
    train, test = ((x[:, keep] - mean[keep]) / deviation[keep] for x in (part.train, part.test))
    limit = LIMIT.get(detector, len(train))
    if len(train) > limit:
        train = train[np.random.default_rng(seed).permutation(len(train))[:limit]]
    np.random.seed(seed)
    options: dict[str, Any] = {"random_state": seed} if detector in SEEDED else {}
    if detector in NETWORKS:
        options["verbose"] = 0
    start = time.process_time()
    model = getattr(import_module(f"pyod.models.{module}"), name)(**options)
    model.fit(train)
    score = np.asarray(model.decision_function(test), float)
    return {"auroc": anomaly_tables.auroc(part.truth, score), "seconds": time.process_time() - start}


def main() -> None:
    """Every detector asked for, on all splits; appends to OUT what is not there yet."""
    warnings.simplefilter("ignore")
    out, wanted = Path(sys.argv[1]), sys.argv[2:] or list(DETECTORS)
    found: list[dict[str, Any]] = json.loads(out.read_text()) if out.exists() else []
    done = {(row["detector"], row["set"], row["seed"]) for row in found}
    for detector in wanted:
        for name, seed, part in anomaly_tables.splits(1 if detector in NETWORKS else 5):
            if (detector, name, seed) in done:
                continue
            try:
                result = run(detector, part, seed)
            except ImportError:  # says nothing of the detector
                raise
            except Exception as error:  # a detector that fails on a set is blind there
                result = {"auroc": 0.5, "seconds": 0.0, "error": str(error)[:200]}
            found.append({"detector": detector, "set": name, "seed": seed, **result})
            out.write_text(json.dumps(found))
        rows = [row for row in found if row["detector"] == detector]
        print(detector, np.mean([row["auroc"] for row in rows]), sum(row["seconds"] for row in rows), flush=True)


if __name__ == "__main__":
    main()
