"""Reward models on real judgements: accuracy on items that they have not seen, five folds by item.

    python benchmarks/reward_bench.py                      word features, every set
    python benchmarks/reward_bench.py --language smollm2   and states of a language model (slow: read once, then kept)
    python benchmarks/reward_bench.py --only pandalm

Beside it, on the same folds: the longer (or shorter) text, a bag of words, and, where several people judged the same
pair, how well one of them says what most of the others said. The judgements are those of ../shared/data/preferences;
texts of hh are never shown.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

import results
from likely.align import exchange
from likely.align.features import Features, Raw
from likely.align.preference import Judgements
from likely.align.reward import fit_reward
from likely.align.states import Language

DATA = Path(os.environ.get("LIKELY_SHARED_DATA", "../shared/data")) / "preferences"
CACHE = Path(".cache/reward")
SETS = {
    "pandalm": "pandalm_testset_half_a.jsonl.gz",
    "mt_bench": "mt_bench_human_majority_200.jsonl.gz",
    "llmbar_natural": "llmbar_natural.jsonl.gz",
    "llmbar_adversarial": "llmbar_adversarial_neighbor.jsonl.gz",
    "hh_harmless": "hh_harmless_base_test_half_a.jsonl.gz",
}
COLUMNS = ["set", "features", "pairs", "items", "accuracy", "error", "length", "words", "majority", "ceiling",
           "ece", "ece_calibrated", "cpu_seconds"]  # fmt: skip


class Kept(Language):
    """Language features whose reading is kept in a file."""

    def read(self, items: Any, prompts: Any = None) -> Raw:
        """As `Language`, from .cache/reward where it is."""
        key = hashlib.sha256(json.dumps([list(items), list(prompts or []), self.state()["fingerprint"]]).encode())
        path = CACHE / f"{key.hexdigest()[:24]}.npz"
        if path.exists():
            with np.load(path) as found:
                return Raw(found["numbers"], found["wide"])
        raw = super().read(items, prompts)
        CACHE.mkdir(parents=True, exist_ok=True)
        np.savez(path, numbers=raw.numbers, wide=raw.wide.astype(np.float32))
        return raw


def measure(name: str, judgements: Judgements, features: str | Features) -> dict[str, Any]:
    """One row."""
    began = time.process_time()
    report = fit_reward(judgements, features).report
    assert report is not None
    print(report, flush=True)
    told = report.to_dict()
    return {
        "set": name, "features": told["features"], **{key: told[key] for key in COLUMNS[2:-1]},
        "targets": told["targets"], "ties": told["ties"], "nats": told["nats"], "by_margin": told["by_margin"],
        "by_annotator": told["by_annotator"], "temperature": told["temperature"],
        "length_reward": told["length_reward"], "length_people": told["length_people"],
        "cpu_seconds": time.process_time() - began,
    }  # fmt: skip


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=SETS, nargs="+", default=list(SETS))
    parser.add_argument("--language", default="", help="a checkpoint: smollm2, a folder or a .gguf file")
    options = parser.parse_args()
    path = results.FOLDER / "reward.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    for name in options.only:
        judgements = exchange.read(DATA / SETS[name])
        looks: list[str | Features] = ["words"]
        if options.language:
            looks.append(Kept(options.language, listen=lambda done, of: print(f"{done}/{of}", end="\r", flush=True)))
        for features in looks:
            row = measure(name, judgements, features)
            rows = [one for one in rows if (one["set"], one["features"]) != (row["set"], row["features"])] + [row]
            results.save("reward", rows)  # what was measured stays, whatever comes next
    print(results.table(rows, COLUMNS))


if __name__ == "__main__":
    main()
