"""A step computed in parts is the step; weights that are frozen are neither stored nor copied."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from likely.core import Budget
from likely.errors import OptionError
from likely.train.loop import fit
from tests.train.families import Gaussian, Noisy, Stacked, fresh, normal, same

TRAINING = replace(Stacked.regimen, batch=37, evaluations=4)


class Half(Stacked):
    """Learns all but its mean and its tied weight."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.mean.requires_grad_(False)
        self.read.requires_grad_(False)


@pytest.mark.parametrize("parts", [2, 5, 37, 100])
def test_parts_make_the_same_step(parts: int) -> None:
    whole, cut = fresh(Stacked), fresh(Stacked)
    one = fit(whole, normal(203), Budget(steps=12), training=TRAINING)
    many = fit(cut, normal(203), Budget(steps=12), training=replace(TRAINING, accumulate=parts))
    assert [e.losses["loss"] for e in many.evaluations] == pytest.approx([e.losses["loss"] for e in one.evaluations])
    for name, tensor in whole.state_dict().items():
        assert torch.allclose(tensor, cut.state_dict()[name], atol=1e-5)


def test_parts_draw_their_own_noise_and_repeat_to_the_bit() -> None:
    a, b = fresh(Noisy), fresh(Noisy)
    for family in (a, b):
        fit(family, normal(100), Budget(steps=5), training=replace(Noisy.regimen, accumulate=3))
    assert same(a, b)


def test_a_run_goes_on_in_other_parts(tmp_path: Path) -> None:
    fit(fresh(Stacked), normal(203), Budget(steps=6), training=TRAINING, checkpoint=tmp_path)
    training = replace(TRAINING, accumulate=4)
    assert fit(fresh(Stacked), normal(203), Budget(steps=12), training=training, checkpoint=tmp_path).step == 12


def test_no_parts_are_refused() -> None:
    with pytest.raises(OptionError, match="accumulate=0"):
        fit(fresh(Gaussian), normal(10), Budget(steps=1), training=replace(Gaussian.regimen, accumulate=0))


def test_frozen_weights_stay_and_are_not_in_checkpoints(tmp_path: Path) -> None:
    family, whole = fresh(Half), fresh(Half)
    fit(whole, normal(203), Budget(steps=8), training=TRAINING)
    fit(family, normal(203), Budget(steps=8), training=TRAINING, checkpoint=tmp_path)
    assert torch.equal(family.mean, torch.zeros(3))
    assert torch.equal(family.read.weight, fresh(Half).read.weight)
    assert not torch.equal(family.root, torch.eye(3))
    (path,) = tmp_path.iterdir()
    stored = set(safetensors.torch.load_file(path))
    assert {"weights/root", "best/root", "average/root"} <= stored
    assert not any("mean" in name or "read" in name or "write" in name for name in stored)
    again = fresh(Half)
    fit(again, normal(203), Budget(steps=8), training=TRAINING, checkpoint=tmp_path)
    assert same(again, whole)
