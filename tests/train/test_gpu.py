"""Training on a GPU: what the CPU does, to float32's accuracy; resumed runs to the bit. Skipped where there is none."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from likely.core import Batch, Budget, Cells, Listener, Progress
from likely.families.masked import Masked
from likely.train.distribute import Mesh
from likely.train.loop import History, fit
from tests.train.families import Game, Noisy, Stacked, fresh, normal

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")


def cuda() -> Mesh:
    return Mesh(device=torch.device("cuda", 0))


def run(
    folder: Path | None = None, precision: str = "float32", listen: Listener | None = None
) -> tuple[Noisy, History]:
    family = fresh(Noisy)
    training = replace(Noisy.regimen, evaluations=8, precision=precision)
    budget = Budget(steps=60)
    history = fit(family, normal(300), budget, training=training, checkpoint=folder, mesh=cuda(), listen=listen, seed=3)
    return family, history


def test_a_gpu_learns_what_the_cpu_learns() -> None:
    histories = []
    for mesh in (None, cuda()):
        family = fresh(Stacked)
        training = replace(Stacked.regimen, batch=37, evaluations=4, precision="float32")
        histories.append(fit(family, normal(203), Budget(steps=16), training=training, mesh=mesh))
        assert {tensor.device.type for tensor in family.state_dict().values()} == {"cpu"}  # back where it was
    cpu, gpu = histories
    assert gpu.step == cpu.step
    assert [e.losses["loss"] for e in gpu.evaluations] == pytest.approx(
        [e.losses["loss"] for e in cpu.evaluations], rel=1e-3
    )


def test_a_resumed_run_is_the_same_run_to_the_bit(tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.done > 0.5:
            raise KeyboardInterrupt

    whole, straight = run()
    _, first = run(tmp_path, listen=stop)
    assert first.stopped == "interrupted"
    resumed, history = run(tmp_path)
    assert history.step == straight.step
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_a_gpu_takes_bf16_and_a_game_is_played() -> None:
    _, history = run(precision="auto")
    assert history.precision == "bfloat16"
    assert history.best is not None
    assert math.isfinite(history.best)
    game = fresh(Game)
    assert fit(game, normal(500), Budget(steps=100), training=replace(Game.regimen, batch=64), mesh=cuda()).step == 100


def test_masked_learns_on_a_gpu_and_samples_on_the_cpu() -> None:
    generator = torch.Generator().manual_seed(0)
    cause = torch.randint(0, 4, (3000, 1), generator=generator)
    noise = torch.randint(0, 4, (3000, 1), generator=generator)
    family = Masked(Cells((4, 4, 4)))
    history = fit(family, Batch(torch.cat([cause, cause, noise], 1)), Budget(steps=300), mesh=cuda())
    assert history.precision == "bfloat16"
    x = family.sample(500, rng=torch.Generator().manual_seed(1))
    assert float((x[:, 0] == x[:, 1]).double().mean()) > 0.95


def test_torchrun_on_one_gpu(tmp_path: Path) -> None:
    """NCCL, DDP and FSDP2 with one process: all of `worker.py`."""
    for kind in ("ddp", "fsdp"):
        fit(fresh(Stacked), normal(203), Budget(steps=12), checkpoint=tmp_path / f"one for {kind}",
            training=replace(Stacked.regimen, batch=37, evaluations=4))  # fmt: skip
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "1"]
    command += ["-m", "tests.train.worker", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr[-3000:]
