"""How many nats an MNIST digit costs: the `vae` family on dynamically binarised images.

    OMP_NUM_THREADS=1 python benchmarks/mnist_bench.py                                      # 20 CPU-minutes
    python benchmarks/mnist_bench.py --device cuda --minutes 5 --particles 16 --batch 512     # importance-weighted

60,000 training images, whose pixels are drawn anew as 0 or 1 at every step; 10,000 test images, binarised once with
seed 0; the bound of Burda et al. 2016 with K = 1000 particles. The prior in
the bound is the model's own, fitted to the latents of the training images after training, from which it also samples;
a row more has the bound under N(0, I), the prior it was trained with.

  claims    at most 86.7 nats after 20 CPU-minutes on one thread; at most 84.8 with the importance-weighted objective
  published one stochastic layer, two layers of 200, 50 latents: 86.76 (VAE), 84.78 (IWAE, k = 50), Burda et al. 2016
            (arXiv:1509.00519), table 1
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import sys
import time
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import numpy as np
import torch

import results
from likely.core import Batch, Budget, Progress, Reals
from likely.families.vae import Vae, VaeConfig
from likely.families.vae.prior import Normal
from likely.train.distribute import Mesh
from likely.train.loop import fit

DATA = Path(os.environ.get("LIKELY_SHARED_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
SPACE = Reals((1, 28, 28), bounds=(-1.0, 1.0), levels=256)


def images(folder: Path, name: str) -> torch.Tensor:
    """The images of an idx file: (n, 1, 28, 28) in [-1, 1]."""
    path = folder / "mnist" / f"{name}-images-idx3-ubyte.gz"
    if not path.is_file():
        raise SystemExit(f"{path} is not there: name the folder that holds mnist/ by --data.")
    with gzip.open(path, "rb") as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    return torch.from_numpy(pixels.astype(np.float32) / 127.5 - 1)


def binary(x: torch.Tensor, seed: int) -> torch.Tensor:
    """Each pixel -1 or 1, drawn once."""
    return 2 * (torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) < (x + 1) / 2).float() - 1


def arguments() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder that holds mnist/")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--minutes", type=float, help="wall time of training at most")
    parser.add_argument("--steps", type=int, help="of training at most; default 26,000, or what --minutes allow")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--decay", type=float, default=0.01)
    parser.add_argument("--particles", type=int, default=1)
    parser.add_argument("--latent", type=int, default=50)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--depth", type=int, default=2)
    parser.add_argument("--prior", default="mixture")
    parser.add_argument("--components", type=int, default=128)
    parser.add_argument("--samples", type=int, default=1000, help="particles of the bound")
    parser.add_argument("--images", type=int, default=10_000, help="test images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="mnist", help="of the file under results/; - for none")
    return parser.parse_args()


def main() -> None:
    """Learn, print, save."""
    asked = arguments()
    device = torch.device(asked.device)
    if device.type == "cpu":
        torch.set_num_threads(1)
    elif device.index is None:
        device = torch.device(device.type, 0)
    train, test = (
        images(asked.data, "train").to(device),
        binary(images(asked.data, "t10k")[: asked.images], 0).to(device),
    )
    torch.manual_seed(asked.seed)
    config = VaeConfig(
        latent=asked.latent, width=asked.width, depth=asked.depth, binarise=True, particles=asked.particles,
        samples=asked.samples, prior=asked.prior, components=asked.components, warmup=2000,
    )  # fmt: skip
    family = Vae(SPACE, config=config).to(device)
    training = replace(
        family.plan(), batch=asked.batch, rate=asked.rate, decay=asked.decay, ema=0.9995, holdout=1 / 60, patience=1000
    )
    steps = asked.steps or (26_000 if asked.minutes is None else 1_000_000)
    wall, cpu = time.perf_counter(), time.process_time()
    history = fit(
        family, Batch(train), Budget(minutes=asked.minutes, steps=steps), training=training, seed=asked.seed,
        listen=Told(), mesh=Mesh(device=device),
    )  # fmt: skip
    about: dict[str, Any] = {
        "steps": history.step, "train s": time.perf_counter() - wall, "train CPU s": time.process_time() - cpu,
        "left out": history.best, "precision": history.precision, "device": asked.device,
    }  # fmt: skip
    print({name: value if isinstance(value, str) else round(float(value or 0), 2) for name, value in about.items()})
    rows = []
    seen, normal, own = binary(train[:1000].cpu(), 0).to(device), Normal(family.size).to(device), family.prior
    for name, prior, data, x in (
        (asked.prior, own, "test", test), (asked.prior, own, "train", seen), ("N(0, I)", normal, "test", test[:1000]),
    ):  # fmt: skip
        family.prior = prior
        cpu = time.process_time()
        nats = -family.log_prob(Batch(x)).double().cpu()
        rows.append(
            {
                "prior": name, "images": f"{len(x)} {data}", "K": asked.samples, "nats": float(nats.mean()),
                "error": float(nats.std() / math.sqrt(len(nats))), "CPU s": time.process_time() - cpu,
            }
        )  # fmt: skip
        print(results.table(rows[-1:], list(rows[-1])), flush=True)
    if asked.name != "-":
        keep(asked.name, rows, config=vars(asked) | {"data": "mnist"}, training=about)


def keep(name: str, rows: list[dict[str, Any]], **about: Any) -> None:
    """results.save, and where some of its packages are not installed (a rented GPU) the same without versions."""
    try:
        results.save(name, rows, **about)
    except PackageNotFoundError:
        content = {"command": " ".join(sys.argv), "torch": torch.__version__, **about, "rows": rows}
        (results.FOLDER / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")
        print(json.dumps(content))


class Told:
    """Prints how far learning is, twenty times a run."""

    def __init__(self) -> None:
        self.told = 0.0

    def __call__(self, progress: Progress) -> None:
        if progress.done >= self.told and progress.loss is not None:
            self.told += 0.05
            print(
                f"{progress.done:4.0%}  {progress.loss:.2f} nats  {progress.speed or 0:.0f} steps a second", flush=True
            )


if __name__ == "__main__":
    main()
