"""What each of two processes does in `test_tune`: see there.

torchrun --nproc-per-node 2 -m tests.language.tune_worker FOLDER
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from likely.language.tune import Tuned, tune
from likely.train.distribute import Mesh, join
from tests.language.tune_toys import checkpoint, pairs


def work(method: str, mesh: Mesh | None, folder: Path) -> Tuned:
    """A few steps in parts, with activations computed again, in batches of odd size."""
    return tune(checkpoint(), pairs(), method=method, steps=4, rate=3e-3, rank=4, batch=5, accumulate=2, recompute=True,
                precision="float32", mesh=mesh, checkpoint_dir=folder)  # fmt: skip


def report(done: Tuned) -> dict[str, Any]:
    """Losses and some of the weights, as JSON."""
    learned = {name: weight for name, weight in done.checkpoint.network.named_parameters() if weight.requires_grad}
    return {
        "losses": [entry.losses["loss"] for entry in done.history.evaluations],
        "left_out": [entry.left_out for entry in done.history.evaluations],
        "judged": [done.before, done.after],
        "weights": [float(weight.detach().norm()) for weight in learned.values()],
    }


def main(folder: Path) -> None:
    told: dict[str, Any] = {}
    with join("ddp") as ddp:
        assert ddp.world == 2
        for mesh in (ddp, replace(ddp, kind="fsdp")):
            for method in ("lora", "full"):
                told[f"{mesh.kind} {method}"] = report(work(method, mesh, folder / f"{mesh.kind} {method}"))
        if ddp.rank == 0:
            (folder / "told.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
