"""What each of two processes does in `test_distribute`: see there.

torchrun --nproc-per-node 2 -m tests.train.worker FOLDER
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from likely.core import Budget
from likely.train.distribute import Mesh, join
from likely.train.loop import History, fit
from tests.train.families import Game, Stacked, fresh, normal

ITEMS = 203  # 191 of them learned from: an odd number, cut unevenly


def train(mesh: Mesh | None, folder: Path | None, steps: int) -> tuple[Any, History]:
    """A stack of blocks with a tied weight, in batches of odd size."""
    family = fresh(Stacked)
    training = replace(Stacked.regimen, batch=37, evaluations=4)
    return family, fit(family, normal(ITEMS), Budget(steps=steps), training=training, checkpoint=folder, mesh=mesh)


def report(family: Any, history: History) -> dict[str, Any]:
    """Losses and weights as JSON."""
    return {
        "losses": [e.losses["loss"] for e in history.evaluations],
        "left_out": [e.left_out for e in history.evaluations],
        "weights": {name: tensor.tolist() for name, tensor in family.state_dict().items()},
        "step": history.step,
    }


def main(folder: Path) -> None:
    told: dict[str, Any] = {}
    with join("ddp") as ddp:
        told["world"] = ddp.world
        for mesh in (ddp, replace(ddp, kind="fsdp")):
            told[mesh.kind] = report(*train(mesh, folder / mesh.kind, 12))
            told[f"{mesh.kind} from one"] = report(*train(mesh, folder / f"one for {mesh.kind}", 16))
            told[f"{mesh.kind} again"] = report(*train(mesh, folder / mesh.kind, 16))
            game = fresh(Game)
            fit(game, normal(ITEMS), Budget(steps=3), training=replace(Game.regimen, batch=1), mesh=mesh)
            told[f"{mesh.kind} game"] = game.maker["shift"].tolist()
        if ddp.rank == 0:
            (folder / "told.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
