"""A run of alignment: resumed to the bit, ended in time, honest about what went wrong."""

from __future__ import annotations

import os
import signal
from pathlib import Path as File
from typing import Any

import pytest
import torch

from likely.align import course
from likely.align.best_of import keep
from likely.align.dpo import DPO, DPOConfig
from likely.align.grpo import GRPO, GRPOConfig
from likely.align.ppo import PPO, PPOConfig
from likely.align.reinvent import Reinvent, ReinventConfig
from likely.align.trial import Trial
from likely.core import Budget, Path
from likely.errors import OptionError, RewardError, TrainingError
from tests.align.toys import BETA, chain, judge

SMALL: dict[str, tuple[Any, Any]] = {
    "ppo": (PPO, PPOConfig(samples=16, minibatches=2)),
    "grpo": (GRPO, GRPOConfig(samples=16)),
    "dpo": (DPO, DPOConfig(batch=8, samples=32)),
    "reinvent": (Reinvent, ReinventConfig(samples=16, replay=4, memory=8)),
}


def method(name: str, model: Any, rate: float = 0.01, reward: Any = judge) -> Any:
    cls, config = SMALL[name]
    return cls(Trial(model, reward), config, BETA, rate, 0)


@pytest.mark.parametrize("name", list(SMALL))
def test_a_killed_run_goes_on_to_the_same_bits(name: str, tmp_path: File) -> None:
    """Twelve steps at once, and five, a stop, and seven: the same weights and the same rows."""
    whole, _ = chain("transformer")
    straight = course.run(method(name, whole), budget=Budget(steps=12))

    class Enough(Exception):
        pass

    def stop(step: int, row: Any) -> None:
        if step == 10:  # one step after a checkpoint
            raise Enough

    halves, _ = chain("transformer")
    with pytest.raises(Enough):
        course.run(method(name, halves), budget=Budget(steps=12), watch=stop, checkpoint=tmp_path)
    fresh, _ = chain("transformer")
    resumed = course.run(method(name, fresh), budget=Budget(steps=12), checkpoint=tmp_path)
    assert resumed.rows == straight.rows
    for one, other in zip(whole.state_dict().values(), fresh.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_the_same_seed_gives_the_same_bits() -> None:
    one, two = (course.run(method("ppo", chain("lstm")[0]), budget=Budget(steps=4)).rows for _ in range(2))
    assert one == two


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_told(tmp_path: File) -> None:
    course.run(method("grpo", chain("exact")[0]), budget=Budget(steps=3), checkpoint=tmp_path)
    with pytest.raises(TrainingError, match=r"another run: its method is GRPO, this run's PPO"):
        course.run(method("ppo", chain("exact")[0]), budget=Budget(steps=3), checkpoint=tmp_path)
    (tmp_path / "align.safetensors").write_bytes(b"no checkpoint")
    with pytest.raises(TrainingError, match="cannot be read"):
        course.run(method("grpo", chain("exact")[0]), budget=Budget(steps=3), checkpoint=tmp_path)


def test_a_policy_that_runs_away_is_brought_back() -> None:
    model, _ = chain("exact")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    record = course.run(method("ppo", model, rate=1.0), budget=Budget(steps=50), limit=0.5)
    assert record.stopped == "kl"
    assert "KL to the start reached" in record.notes[0]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())  # no copy was within


class Jump:
    """A method that is all right until it leaps."""

    Config = object

    def __init__(self, trial: Trial, at: int, told: bool) -> None:
        self.trial, self.at, self.told, self.beta, self.steps = trial, at, told, 1.0, 0

    def step(self, share: float, rng: torch.Generator) -> dict[str, float]:
        row = {"kl": self.trial.apart(64, rng)} if self.told else {}
        with torch.no_grad():
            for weight in self.trial.policy.parameters():
                weight[..., 0] += 1000.0 if self.steps == self.at else 0.01
        self.steps += 1
        return row

    def parts(self) -> dict[str, Any]:
        return {}

    def numbers(self) -> dict[str, float]:
        return {}

    def take(self, numbers: dict[str, float], tensors: dict[str, torch.Tensor]) -> None:
        pass


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("at", [3, 9, 11, 19])
def test_what_is_put_back_is_near_the_start(at: int, told: bool) -> None:
    model, _ = chain("exact")
    trial = Trial(model, judge)
    record = course.run(Jump(trial, at, told), budget=Budget(steps=20), limit=2.0)
    assert record.stopped == "kl"
    assert trial.apart(64, torch.Generator().manual_seed(0)) < 1.0


@pytest.mark.parametrize(("reward", "said"), [
    (lambda path: 1 / 0, "The reward failed on 16 items: ZeroDivisionError"),
    (lambda path: [float("nan")] * len(path.x), "The reward of item 0 is nan"),
    (lambda path: [1.0], "The reward gave 1 values for 16 items"),
    (lambda path: "good", "not one number an item"),
    (lambda path: [2.0] * len(path.x), "The reward was 2 for every item of 5 steps"),
    (lambda path: [0.1] * len(path.x), r"The reward was 0\.1 for every item of 5 steps"),  # whose mean is rounded
])  # fmt: skip
def test_a_reward_that_is_none(reward: Any, said: str) -> None:
    with pytest.raises(RewardError, match=said):
        course.run(method("ppo", chain("exact")[0], reward=reward), budget=Budget(steps=8))


def test_one_number_for_all_is_no_reward_in_short_runs_and_pairs_either() -> None:
    def even(path: Path) -> Any:
        return [0.1] * len(path.x)

    short = course.run(method("grpo", chain("exact")[0], reward=even), budget=Budget(steps=2))
    assert short.notes[0].startswith("The reward was 0.1 for every item of 2 steps: it tells none from another.")
    with pytest.raises(RewardError, match=r"0\.1 for each of 64 items"):
        method("dpo", chain("exact")[0], reward=even)
    with pytest.raises(RewardError, match=r"0\.1 for each of 80 items"):
        keep(chain("exact")[0], even, 20, 4, rng=torch.Generator().manual_seed(0))


def test_a_killed_run_remembers_what_was_near(tmp_path: File) -> None:
    """The weights that a run which goes too far comes back to are those of the whole run, not of the checkpoint."""
    kept: list[Any] = []
    how: dict[str, Any] = {"budget": Budget(steps=40), "limit": 0.4, "seed": 4}
    for folder in (None, tmp_path):
        model, _ = chain("exact")
        if folder is not None:  # killed in the step that tells that the one before, in the checkpoint, went too far
            with pytest.raises(ZeroDivisionError):
                course.run(method("ppo", model, rate=0.02), checkpoint=folder, **how,
                           watch=lambda step, row: 1 // (10 - step))  # fmt: skip
            model, _ = chain("exact")
        record = course.run(method("ppo", model, rate=0.02), checkpoint=folder, **how)
        assert record.stopped == "kl"
        assert len(record.rows) == 11
        kept.append(model.state_dict())
    assert all(torch.equal(tensor, kept[1][name]) for name, tensor in kept[0].items())


def test_a_reward_that_fails_later_leaves_what_was_learned_in_the_checkpoint(tmp_path: File) -> None:
    straight = chain("exact")[0]
    course.run(method("ppo", straight), budget=Budget(steps=9))
    calls = [0] * 7

    def reward(path: Path) -> Any:
        if not calls:
            raise ValueError("the service is gone")
        calls.pop()
        return judge(path)

    with pytest.raises(RewardError, match=r"the service is gone The 7 steps before it stand in .*the same call"):
        course.run(method("ppo", chain("exact")[0], reward=reward), budget=Budget(steps=9), checkpoint=tmp_path)
    calls += [0] * 99
    model = chain("exact")[0]
    record = course.run(method("ppo", model, reward=reward), budget=Budget(steps=9), checkpoint=tmp_path)
    assert len(record.rows) == 9
    assert len(calls) == 97  # two steps were left
    assert all(torch.equal(tensor, straight.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_a_reward_that_fails_later_leaves_good_weights() -> None:
    model, _ = chain("exact")

    def reward(path: Path) -> Any:
        if not calls:
            raise ValueError("the service is gone")
        calls.pop()
        return judge(path)

    calls = [0] * 5
    with pytest.raises(RewardError, match="the service is gone"):
        course.run(method("grpo", model, reward=reward), budget=Budget(steps=30))
    assert all(bool(torch.isfinite(weight).all()) for weight in model.parameters())


def test_losses_that_are_not_finite_end_the_run_with_a_reason() -> None:
    model, _ = chain("transformer")
    made = method("grpo", model)

    def broken(share: float, rng: Any) -> Any:
        if share_seen:
            raise TrainingError("A loss of nan with a gradient of norm nan: try a lower rate.")
        share_seen.append(share)
        return {"reward": 0.0, "kl": 0.0}

    share_seen: list[float] = []
    made.step = broken
    with pytest.raises(TrainingError, match="try a lower rate"):
        course.run(made, budget=Budget(steps=30))


def test_ctrl_c_keeps_what_was_learned() -> None:
    def press(step: int, row: Any) -> None:
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    record = course.run(method("grpo", chain("exact")[0]), budget=Budget(steps=50), watch=press)
    assert record.stopped == "interrupted"
    assert len(record.rows) == 4


def test_limits_are_looked_at() -> None:
    with pytest.raises(OptionError, match="limit=0"):
        course.run(method("grpo", chain("exact")[0]), budget=Budget(steps=1), limit=0)
