"""Two processes (gloo, on the CPU) do what one does: the same losses, checkpoints that either reads."""

from __future__ import annotations

import json
import math
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from likely.errors import OptionError, TrainingError
from likely.train.distribute import Mesh, join
from tests.train.worker import report, train

ROOT = Path(__file__).parents[2]
CLOSE = {"rel": 2e-4, "abs": 2e-4}  # float32 sums in another order


def close(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert a["step"] == b["step"]
    assert a["losses"] == pytest.approx(b["losses"], **CLOSE)
    assert a["left_out"] == pytest.approx(b["left_out"], **CLOSE)
    for name in a["weights"]:
        assert torch.allclose(torch.tensor(a["weights"][name]), torch.tensor(b["weights"][name]), atol=5e-4)


def test_two_processes_do_what_one_does(tmp_path: Path) -> None:
    """One test, because torchrun takes seconds to start: everything that two processes do is in `worker.py`."""
    one = [report(*train(None, tmp_path / "one", 12))]
    shutil.copytree(tmp_path / "one", tmp_path / "one for ddp")
    shutil.copytree(tmp_path / "one", tmp_path / "one for fsdp")
    one.append(report(*train(None, tmp_path / "one", 16)))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-W", "error", "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--master-port", str(port), "-m", "tests.train.worker", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["world"] == 2
    for kind in ("ddp", "fsdp"):
        close(told[kind], one[0])
        close(told[f"{kind} from one"], one[1])  # two processes resume what one has done
        (left,) = (tmp_path / kind).iterdir()
        assert left.is_dir() == (kind == "fsdp")
        damaged = shutil.copytree(tmp_path / kind, tmp_path / f"damaged {kind}")
        resumed = report(*train(None, tmp_path / kind, 16))  # one resumes what two have done: the very same
        assert resumed["weights"] == told[f"{kind} again"]["weights"]
        assert resumed["losses"] == told[f"{kind} again"]["losses"]
        assert report(*train(None, tmp_path / kind, 20))["step"] == 20
        for path in damaged.rglob("*.safetensors"):
            path.write_bytes(path.read_bytes()[:-50])
        with pytest.raises(TrainingError, match="cannot be read"):
            train(None, damaged, 16)
        # Fewer items a step than processes: one of them computes along, and counts for nothing.
        assert all(math.isfinite(shift) for shift in told[f"{kind} game"])


def test_without_torchrun_there_is_one_process() -> None:
    with join("fsdp") as mesh:
        assert (mesh.kind, mesh.rank, mesh.world) == ("single", 0, 1)
    with pytest.raises(OptionError, match="'single', 'ddp' or 'fsdp'"), join("horovod"):  # type: ignore[arg-type]
        pass


@pytest.mark.parametrize(("items", "world"), [(37, 2), (5, 8), (64, 4)])
def test_slices_are_the_batch_and_weights_make_its_mean(items: int, world: int) -> None:
    rows, value = torch.arange(items), torch.randn(items)
    parts = [Mesh("ddp", rank, world).part(rows) for rank in range(world)]
    assert torch.cat([mine for mine, weight in parts if weight > 0]).sort().values.equal(rows)
    mean = sum(float(value[mine].mean()) * weight for mine, weight in parts) / world
    assert mean == pytest.approx(float(value.mean()), abs=1e-6)
