"""A run that was cut off and resumed is the run that never was: the same bytes."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
from torch import Tensor

from likely.core import Batch, Budget, Family, Reals
from likely.errors import StorageError, TrainingError
from likely.train.loop import fit
from tests.train.families import Faulty, Game, Gaussian, Noisy, fresh, normal, same
from tests.train.victim import BUDGET, TRAINING

ROOT = Path(__file__).parents[2]


def run(family: Any, folder: Path | None, **options: Any) -> tuple[Any, Any]:
    """40 steps with 8 looks."""
    training = replace(type(family).regimen, evaluations=8, **options)
    return family, fit(family, normal(300), Budget(steps=40), training=training, checkpoint=folder)


@pytest.mark.parametrize(("cls", "ema"), [(Gaussian, 0.0), (Noisy, 0.98), (Game, 0.98)])
def test_resuming_from_any_look_changes_no_bit(tmp_path: Path, cls: type[Family[Any]], ema: float) -> None:
    watched, folder = fresh(cls), tmp_path / "whole"
    first, *others = watched.objectives()

    def loss(batch: Batch) -> Tensor:
        # What a kill at this moment would leave on disk.
        for path in folder.glob("step-*"):
            shutil.copytree(folder, tmp_path / path.stem, dirs_exist_ok=True)
        return first.loss(batch)

    watched.objectives = lambda: [first._replace(loss=loss), *others]
    whole, history = run(watched, folder, ema=ema)
    assert same(whole, run(fresh(cls), None, ema=ema)[0])  # checkpoints themselves change nothing
    cuts = sorted(tmp_path.glob("step-*"))
    assert [path.name for path in cuts] == [f"step-{step:09d}" for step in range(5, 40, 5)]
    for cut in cuts:
        resumed, after = run(fresh(cls), cut, ema=ema)
        assert same(whole, resumed)
        assert [e.losses for e in after.evaluations] == [e.losses for e in history.evaluations]
        assert [e.left_out for e in after.evaluations] == [e.left_out for e in history.evaluations]


@pytest.mark.parametrize("step", [1, 3, 17, 20, 39])
def test_resuming_after_ctrl_c_between_looks_changes_no_bit(tmp_path: Path, step: int) -> None:
    whole, history = run(fresh(Faulty), None)
    _, cut = run(fresh(Faulty, {step: "SIGINT"}), tmp_path)
    assert (cut.stopped, cut.step) == ("interrupted", step)
    resumed, after = run(fresh(Faulty), tmp_path)
    assert same(whole, resumed)
    assert [e.losses for e in after.evaluations] == [e.losses for e in history.evaluations]


def test_bad_steps_are_remembered(tmp_path: Path) -> None:
    whole, history = run(fresh(Faulty, {11: "nan", 12: "nan", 22: "nan"}), None)
    _, cut = run(fresh(Faulty, {11: "nan", 12: "nan", 21: "SIGINT"}), tmp_path)
    assert (cut.step, cut.bad_steps) == (21, 2)
    resumed, after = run(fresh(Faulty, {1: "nan"}), tmp_path)  # its first call is step 22
    assert (after.bad_steps, history.bad_steps) == (3, 3)
    assert same(whole, resumed)


def test_ruined_weights_are_not_what_ctrl_c_saves(tmp_path: Path) -> None:
    cut, _ = run(fresh(Faulty, {21: "ruin", 22: "SIGINT"}), tmp_path, holdout=0.0)
    resumed, after = run(fresh(Faulty), tmp_path, holdout=0.0)
    assert after.step == 40
    assert all(bool(tensor.isfinite().all()) for model in (cut, resumed) for tensor in model.state_dict().values())


def test_a_finished_run_is_not_run_again(tmp_path: Path) -> None:
    whole, history = run(fresh(Noisy), tmp_path)
    again, after = run(fresh(Noisy), tmp_path)
    assert same(whole, again)
    assert after.step == history.step
    assert len(after.evaluations) == len(history.evaluations)
    longer = fit(
        again, normal(300), Budget(steps=50), training=replace(Noisy.regimen, evaluations=8), checkpoint=tmp_path
    )
    assert longer.step == 50


def test_kills_at_any_time_changes_no_bit(tmp_path: Path) -> None:
    kills = 10
    whole = fresh(Noisy)
    fit(whole, normal(300), BUDGET, training=TRAINING, checkpoint=tmp_path / "whole")
    command = [sys.executable, "-m", "tests.train.victim", str(tmp_path / "cut"), str(kills)]
    (tmp_path / "cut").mkdir()
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert told.returncode == 0, told.stderr[-2000:]
    lines = told.stdout.splitlines()
    assert lines[0].startswith(f"{-signal.SIGTERM} ['step-"), told.stdout  # saved, then ended as it was told to
    assert sum(line.startswith(f"{-signal.SIGKILL} ['") for line in lines) >= 3, told.stdout
    assert lines[-1].startswith("0 "), told.stdout
    (left,) = (tmp_path / "cut").iterdir()  # no older checkpoint and no orphan
    (other,) = (tmp_path / "whole").iterdir()
    assert left.name == other.name
    a, b = safetensors.torch.load_file(left), safetensors.torch.load_file(other)
    assert a.keys() == b.keys()
    # The caller's own generator apart, which each fork seeds alike anyway, all is the same: optimiser, average, best.
    assert all(a[name].equal(b[name]) for name in a)


# ------------------------------------------------------------------------------------------------ mismatches


def test_another_run_is_refused_and_said_why(tmp_path: Path) -> None:
    run(fresh(Gaussian), tmp_path)
    before = fresh(Gaussian)
    training = replace(Gaussian.regimen, evaluations=8)
    with pytest.raises(TrainingError, match="its data is"):
        fit(before, normal(299), Budget(steps=40), training=training, checkpoint=tmp_path)
    with pytest.raises(TrainingError, match="its seed is 0, and this run's is 1"):
        fit(before, normal(300), Budget(steps=40), training=training, seed=1, checkpoint=tmp_path)
    with pytest.raises(TrainingError, match=r"its training is .*rate=0.03.* this run's is .*rate=0.5"):
        fit(before, normal(300), Budget(steps=40), training=replace(training, rate=0.5), checkpoint=tmp_path)
    with pytest.raises(TrainingError, match=r"its family is .*Gaussian, and this run's is .*Noisy"):
        fit(fresh(Noisy), normal(300), Budget(steps=40), training=training, checkpoint=tmp_path)
    assert same(before, fresh(Gaussian))


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_a_damaged_checkpoint_is_refused(tmp_path: Path, keep: int) -> None:
    run(fresh(Gaussian), tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:keep])
    family = fresh(Gaussian)
    with pytest.raises(TrainingError, match=r"cannot be read.* to start afresh"):
        run(family, tmp_path)
    assert same(family, fresh(Gaussian))


def test_foreign_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".step-000000005.tmp").mkdir()  # what a killed writer leaves
    (tmp_path / ".step-000000005.safetensors.0123.tmp").write_text("half")
    run(fresh(Gaussian), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "step-000000040.safetensors"]


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"Cannot write .*file.*: Checkpoints need a folder"):
        run(fresh(Gaussian), tmp_path / "file")


def test_the_space_is_part_of_a_run(tmp_path: Path) -> None:
    run(fresh(Gaussian), tmp_path)
    with pytest.raises(TrainingError, match="its space is"):
        run(Gaussian(Reals((3,), ragged=True)), tmp_path)
