"""Killed at any moment: is a model file ever unreadable, or the old one ever lost?

    python benchmarks/durability_bench.py [--kills 300]

A child fits and saves over one path, again and again, and is killed (SIGKILL) after a random delay; then the file at
the path must load and give rows. One kill in ten meets a `masked` network in training with a checkpoint folder
instead: it is resumed, killed again, resumed to the end, and its weights must be equal, bit for bit, to those of a
run that nobody killed.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

import likely
import results
from likely.core import Batch, Budget, Cells, Training
from likely.families.masked import Masked, MaskedConfig
from likely.train import loop


def killed(work: Callable[[], None], delay: float) -> bool:
    """Run `work` in a forked process and kill it after `delay` seconds; false where it was already done."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def save_forever(path: Path, seed: int) -> None:
    """Fit small tables and save each over the last."""
    while True:
        gen = likely.fit(likely.data.adult()[:250], seed=seed, progress=False, rounds=10)
        for _ in range(20):
            gen.save(path)
        seed += 1


def train(folder: Path) -> dict[str, torch.Tensor]:
    """A small network, trained with checkpoints; goes on where it was killed."""
    x = torch.randint(0, 4, (600, 6), generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    model = Masked(Cells((4,) * 6), None, MaskedConfig(width=32, hidden=32, embedding=8))
    training = Training(batch=64, steps=200, evaluations=40, patience=1000)
    loop.fit(model, Batch(x), Budget(), training=training, checkpoint=folder)
    return model.tensors()


def main() -> None:
    """Run, print, save."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=300)
    kills = parser.parse_args().kills
    torch.set_num_threads(1)
    rng = random.Random(0)
    unreadable = lost = met = resumed = differ = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "model.likely"
        likely.fit(likely.data.adult()[:250], progress=False, rounds=10).save(path)
        whole = train(folder / "whole")
        for i in range(kills):
            if i % 10 == 9:
                place = folder / f"run{i}"
                met += killed(lambda place=place: train(place) and None, rng.uniform(0.05, 1.0))  # type: ignore[misc]
                met += killed(lambda place=place: train(place) and None, rng.uniform(0.05, 1.0))  # type: ignore[misc]
                again = train(place)
                resumed += 1
                differ += not all(torch.equal(again[key], whole[key]) for key in whole)
                continue
            met += killed(lambda i=i: save_forever(path, i), rng.uniform(0.0, 1.2))  # type: ignore[misc]
            if not path.exists():
                lost += 1
                continue
            try:
                likely.load(path).sample(2, seed=0)
            except likely.LikelyError as error:
                unreadable += 1
                print(error, flush=True)
        orphans = sum(1 for file in folder.iterdir() if file.name.startswith("."))
    rows = [
        {"what": "kills that met a running process", "count": met},
        {"what": "unreadable model files", "count": unreadable},
        {"what": "lost previous files", "count": lost},
        {"what": "training runs killed twice and resumed", "count": resumed},
        {"what": "of these not bit-equal to an unbroken run", "count": differ},
        {"what": "temporary files left for the next save to sweep (after an hour)", "count": orphans},
    ]
    print(results.table(rows, ["what", "count"]))
    print(results.save("durability", rows, kills=kills))


if __name__ == "__main__":
    main()
