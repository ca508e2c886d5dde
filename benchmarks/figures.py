"""The figures of the family pages, each from runs of our own: docs/figures/NAME.png, one for each family.

    pip install matplotlib            # for this script only, 3.11; Pillow comes with it
    OMP_NUM_THREADS=1 python benchmarks/figures.py [--only trees vae] [--out docs/figures]

Everything is seeded and counted in steps, so that a figure comes out the same again; on one slow thread they take about
four CPU-minutes together. Data: tables that ship with the package, scikit-learn's 8 x 8 digits (the split of
digits_bench.py: 1,200 to learn from, 597 held out), and laws that are written down here.

  trees        days until death against days in hospital: held-out patients, made ones, under a constraint, shuffled
  masked       one network asked both ways: ages given marital status, marital status given ages
  exact        learned against true probabilities of one column; nats a row against rows, beside trees and the truth
  vae          digits by label, walks between real digits, and what the fitted prior is worth
  autoencoder  damaged digits, what comes back, and where the surprise sits
  flow         the way from noise to data, and the same noise in 1, 2, 4, 8 and 25 steps
  gan          every objective after equal CPU time (steps and distances: results/digits.json); the penalty's weight
  cyclegan     unpaired sets: a change of strokes that is found, and one that is not
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import matplotlib as mpl
import torch

from figures_images import autoencoder, cyclegan, flow, gan, vae
from figures_style import STYLE, save
from figures_tables import exact, masked, trees

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "figures"
FIGURES = {make.__name__: make for make in (trees, masked, exact, vae, autoencoder, flow, gan, cyclegan)}


def main() -> None:
    """Draw, save, say how long it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=FIGURES, default=list(FIGURES))
    parser.add_argument("--out", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    mpl.rcParams.update(STYLE)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.only:
        began = time.process_time()
        path = arguments.out / f"{name}.png"
        save(FIGURES[name](), path)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB, {time.process_time() - began:.0f} CPU-seconds", flush=True)


if __name__ == "__main__":
    main()
