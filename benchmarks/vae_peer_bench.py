"""What the training loop costs on top of a plain one, and how quickly a VAE is evaluated, beside pythae's.

    OMP_NUM_THREADS=1 python benchmarks/vae_peer_bench.py --peer .venv-pythae/bin/python

One network for all: MNIST binarised once, perceptrons 784-512-Z and Z-512-784 with Z = 16, one thread, CPU-seconds,
medians of interleaved repeats.

  training    the same model, batches of 100, AdamW: `likely.train.loop.fit`, which averages weights, clips, guards and
              evaluates, against a loop as anybody writes it; claim: at most 1.05 times its cost
  evaluation  the bound with K = 100 particles: `Vae.log_prob` against `VAE.get_nll` of pythae 0.1.2 in its own
              environment (it goes image by image, and gives +log p); claim: at least 3 times as many

The peer's environment: python -m venv .venv-pythae; pip install torch==2.13.0; pip install --no-deps pythae==0.1.2; pip
install pydantic cloudpickle imageio scipy scikit-learn tqdm. Without --peer evaluation is timed alone.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE
from typing import Any

import numpy as np
import torch

import mnist_bench
import results
from likely.core import Batch, Budget, Reals, Training
from likely.families.vae import Vae, VaeConfig
from likely.train.loop import fit

K, IMAGES, BATCH, STEPS = 100, 400, 100, 400
PEER = """
import json, sys, time, numpy, torch
torch.set_num_threads(1)
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
K, IMAGES, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
class E(BaseEncoder):
    def __init__(self):
        super().__init__()
        self.l = torch.nn.Sequential(torch.nn.Linear(784, 512), torch.nn.ReLU())
        self.m, self.v = torch.nn.Linear(512, 16), torch.nn.Linear(512, 16)
    def forward(self, x):
        h = self.l(x.reshape(-1, 784))
        return ModelOutput(embedding=self.m(h), log_covariance=self.v(h))
class D(BaseDecoder):
    def __init__(self):
        super().__init__()
        self.l = torch.nn.Sequential(
            torch.nn.Linear(16, 512), torch.nn.ReLU(), torch.nn.Linear(512, 784), torch.nn.Sigmoid()
        )
    def forward(self, z):
        return ModelOutput(reconstruction=self.l(z).reshape(-1, 1, 28, 28))
model = VAE(VAEConfig(input_dim=(1, 28, 28), latent_dim=16, reconstruction_loss="bce"), encoder=E(), decoder=D()).eval()
x = torch.from_numpy(numpy.load(path, allow_pickle=False))[:IMAGES]
model.get_nll(x[:20], n_samples=K, batch_size=K)
for line in sys.stdin:
    began = time.process_time()
    model.get_nll(x, n_samples=K, batch_size=K)
    print(json.dumps(IMAGES / (time.process_time() - began)), flush=True)
"""


def pixels() -> torch.Tensor:
    """4,000 training images, binarised once: (n, 1, 28, 28), -1 or 1."""
    return mnist_bench.binary(mnist_bench.images(mnist_bench.DATA, "train")[:4000], 0)


def built() -> Vae:
    """The network of the comparison, with the starting weights that every run gets."""
    torch.manual_seed(0)
    space = Reals((1, 28, 28), bounds=(-1.0, 1.0), levels=2)
    return Vae(space, config=VaeConfig(latent=16, width=512, depth=1, samples=K, prior="normal", warmup=0))


def plain(model: Vae, x: torch.Tensor, training: Training) -> None:
    """A loop as anybody writes it."""
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    model.train()
    step, history = 0, []
    while step < STEPS:
        for rows in torch.randperm(len(x)).split(training.batch):
            loss = model.loss(Batch(x[rows]))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            history.append(loss.item())
            step += 1
            if step == STEPS:
                break
    model.eval()


def ours(model: Vae, x: torch.Tensor, training: Training) -> None:
    """The loop of likely."""
    fit(model, Batch(x), Budget(), training=training)


def learning(repeats: int) -> list[dict[str, Any]]:
    """CPU-seconds of both loops, and of ours without average and clipping, which the plain one does not have."""
    x = pixels()
    training = Training(batch=BATCH, steps=STEPS, rate=1e-3, holdout=0.0, precision="float32", evaluations=4)
    bare = replace(training, ema=0.0, clip=0.0)
    runs = {
        "plain loop": lambda model: plain(model, x, training),
        "likely": lambda model: ours(model, x, training),
        "likely, no average, no clipping": lambda model: ours(model, x, bare),
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for repeat in range(repeats + 1):
        for name in sorted(runs, reverse=bool(repeat % 2)):
            model = built()
            began = time.process_time()
            runs[name](model)
            if repeat:  # the first of each warms up
                times[name].append(time.process_time() - began)
    base = times["plain loop"]
    return [
        {
            "what": "training", "who": name, "images / CPU s": STEPS * BATCH / statistics.median(values),
            "cost": statistics.median(a / b for a, b in zip(values, base, strict=True)),
        }
        for name, values in times.items()
    ]  # fmt: skip


def evaluation(repeats: int, peer: str | None) -> list[dict[str, Any]]:
    """Images a CPU-second of the bound, ours and the peer's in turn."""
    x, model, speeds = pixels()[:IMAGES], built().eval(), {"likely": [], "pythae": []}  # type: ignore[var-annotated]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "images.npy"
        np.save(path, ((x + 1) / 2).numpy())
        command = [peer or "", "-c", PEER, str(K), str(IMAGES), str(path)]
        other = subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True) if peer else None
        model.log_prob(Batch(x))
        for _ in range(repeats):
            began = time.process_time()
            model.log_prob(Batch(x))
            speeds["likely"].append(IMAGES / (time.process_time() - began))
            if other is not None and other.stdin is not None and other.stdout is not None:
                other.stdin.write("again\n")
                other.stdin.flush()
                speeds["pythae"].append(json.loads(other.stdout.readline()))
        if other is not None:
            other.communicate()
    base = statistics.median(speeds["pythae"]) if peer else math.nan
    return [
        {
            "what": f"bound, K = {K}",
            "who": name,
            "images / CPU s": statistics.median(values),
            "times the peer": statistics.median(values) / base if peer else None,
        }
        for name, values in speeds.items()
        if values
    ]


def main() -> None:
    """Run, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", help="the Python of an environment that has pythae")
    parser.add_argument("--repeats", type=int, default=7)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows = learning(asked.repeats) + evaluation(asked.repeats, asked.peer)
    print(results.table(rows, ["what", "who", "images / CPU s", "cost", "times the peer"]))
    results.save("vae_peer", rows)


if __name__ == "__main__":
    main()
