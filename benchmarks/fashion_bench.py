"""Fashion-MNIST: what a quarter of an hour of one core is worth to each family of images.

    OMP_NUM_THREADS=1 python benchmarks/fashion_bench.py [--minutes 15] [--only vae]

All defaults: `likely.fit((images, labels), family=NAME, minutes=15)` on the 60,000 training images, whose labels are
the condition; then 10,000 images are made, 1,000 a label. Judged against the 10,000 official test images, of which
nothing was learned.

    FD          Frechet distance in the features of a small classifier that learned the labels of 20,000 real training
                images (`likely.evaluate.features`, pinned by seed and hash)
    TSTR        accuracy over the test images of a classifier of the same kind that learned from the 10,000 made images
                and their labels alone
    P, R, cov   precision, recall and coverage in these features, 2,000 images a side
    copies      share of 1,000 made images nearer (in pixels) to one of 10,000 images learned from than to all test
                images (.5: no copies)

  ceiling       10,000 other training images in the place of made ones
  peer          a Gaussian a label: mean and covariance of its pixels, clipped; cheap and without a network
  floor         the ceiling's pixels, each shuffled between images: what knows nothing but each pixel's own law
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

import likely
import results
from likely.evaluate.features import FeatureNet, learn
from likely.evaluate.frechet import frechet
from likely.evaluate.manifold import manifold

DATA = Path(os.environ.get("LIKELY_SHARED_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
COLUMNS = ["row", "FD", "TSTR", "P", "R", "cov", "copies", "steps", "fit CPU s", "sample CPU s"]
Bytes = NDArray[np.uint8]
MADE, SEEN, NEAR = 10_000, 20_000, 2_000
BOUNDS = (0.0, 255.0)


def read(which: str) -> tuple[Bytes, Bytes]:
    """Images (n, 28, 28) and labels (n,) of the idx files."""
    folder, found = DATA / "fashion_mnist", []
    for kind, offset in (("images-idx3", 16), ("labels-idx1", 8)):
        path = folder / f"{which}-{kind}-ubyte.gz"
        if not path.is_file():
            raise SystemExit(f"{path} is not there: set LIKELY_SHARED_DATA to the folder that holds fashion_mnist/.")
        with gzip.open(path, "rb") as file:
            found.append(np.frombuffer(file.read(), np.uint8, offset=offset))
    return found[0].reshape(-1, 28, 28), found[1]


class Court:
    """Judges made images and their labels."""

    def __init__(self, train: tuple[Bytes, Bytes], test: tuple[Bytes, Bytes]) -> None:
        self.train, self.test = train, test
        self.see: FeatureNet = learn(train[0][:SEEN, ..., None], BOUNDS, train[1][:SEEN], seed=0)
        self.real = self.see(test[0][..., None])

    def judge(self, images: Bytes, labels: NDArray[Any]) -> dict[str, float]:
        """All measures."""
        made = self.see(images[..., None])
        pupil = learn(images[..., None], BOUNDS, labels.astype(str), seed=0)
        told = pupil.classify(self.test[0][..., None])
        near = manifold(self.real[:NEAR], made[:NEAR])
        x = images[:1000].reshape(1000, -1).astype(np.float32)
        own, other = (y.reshape(len(y), -1).astype(np.float32) for y in (self.train[0][-MADE:], self.test[0]))
        return {
            "FD": frechet(self.real, made),
            "TSTR": float((told == self.test[1].astype(str)).mean()),
            "P": near.precision, "R": near.recall, "cov": near.coverage,
            "copies": float((cdist(x, own).min(1) < cdist(x, other).min(1)).mean()),
        }  # fmt: skip


def gaussians(images: Bytes, labels: Bytes, rng: np.random.Generator) -> tuple[Bytes, Bytes]:
    """A Gaussian a label."""
    made, kinds = [], np.repeat(np.arange(10, dtype=np.uint8), MADE // 10)
    for kind in range(10):
        x = images[labels == kind].reshape(-1, 784).astype(np.float64)
        made.append(rng.multivariate_normal(x.mean(0), np.cov(x.T), MADE // 10, method="eigh"))
    return np.rint(np.concatenate(made).clip(0, 255)).astype(np.uint8).reshape(-1, 28, 28), kinds


def main() -> None:
    """Learn, judge, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--only", nargs="*", default=["vae", "flow", "gan"])
    parser.add_argument("--sheets", type=Path, help="a folder for contact sheets")
    parser.add_argument("--name", default="fashion", help="of the file under results/; - for none")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    train, test = read("train"), read("t10k")
    court, rng = Court(train, test), np.random.default_rng(0)
    fresh = train[0][SEEN : SEEN + MADE], train[1][SEEN : SEEN + MADE]
    shuffled = rng.permuted(fresh[0].reshape(MADE, -1), axis=0).reshape(fresh[0].shape)
    rows: list[dict[str, Any]] = []

    def add(row: dict[str, Any]) -> None:
        rows.append(row)
        print(results.table([row], COLUMNS), flush=True)

    add({"row": "ceiling: other training images", **court.judge(*fresh)})
    add({"row": "floor: pixels shuffled", **court.judge(shuffled, fresh[1])})
    add({"row": "peer: a Gaussian a label", **court.judge(*gaussians(*train, rng))})
    kinds = np.repeat(np.arange(10, dtype=np.uint8), MADE // 10)
    for name in asked.only:
        began = time.process_time()
        model = likely.fit(train, family=name, minutes=asked.minutes, progress=False, seed=0, control=0.02)
        fitted = time.process_time()
        images = model.sample(MADE, given=kinds, seed=1)
        took = time.process_time() - fitted
        steps = model.card["training"]["step"] if isinstance(model.card.get("training"), dict) else None
        add({"row": name, **court.judge(images, kinds), "steps": steps, "fit CPU s": fitted - began,
             "sample CPU s": took})  # fmt: skip
        if asked.sheets:
            asked.sheets.mkdir(exist_ok=True, parents=True)
            model.save(asked.sheets / f"fashion-{name}.likely")
    print(results.table(rows, COLUMNS))
    if asked.name != "-":
        before = results.FOLDER / f"{asked.name}.json"
        if before.exists():  # rows of families that were not asked for this time stay
            names = {row["row"] for row in rows}
            rows += [row for row in json.loads(before.read_text())["rows"] if row["row"] not in names]
        results.save(asked.name, rows, features=court.see.digest, minutes=asked.minutes, seed=0)


if __name__ == "__main__":
    main()
