"""The loop: it reaches the entropy, keeps to its budget, survives bad numbers and Ctrl-C, and repeats to the bit."""

from __future__ import annotations

import math
import signal
import threading
import time
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from likely.core import Batch, Budget, Family, Progress, Reals, Training
from likely.errors import DataError, OptionError, TrainingError
from likely.train.loop import fit
from tests.train.families import ENTROPY, Faulty, Game, Gaussian, Noisy, fresh, normal, same

STEPS = Budget(steps=60)
QUICK = replace(Gaussian.regimen, evaluations=6)


def test_the_loss_falls_to_the_entropy() -> None:
    family = fresh(Gaussian)
    history = fit(family, normal(4000), Budget(steps=500), training=replace(Gaussian.regimen, batch=256))
    with torch.no_grad():
        mean = float(family.loss(normal(20_000, seed=1)))
    # The maximum likelihood fit of 9 free numbers on 3,760 items exceeds the entropy by about 9 / (2 * 3760) nats.
    assert ENTROPY - 0.04 < mean < ENTROPY + 0.04
    assert history.best == pytest.approx(mean, abs=0.2)
    assert (history.items, history.left_out) == (3760, 240)
    assert not family.__dict__["training"]


def test_a_game_of_two_objectives_finds_its_equilibrium() -> None:
    family = fresh(Game)
    history = fit(family, normal(2000), Budget(), training=replace(Game.regimen, batch=512))
    assert torch.allclose(family.maker["shift"], torch.ones(3), atol=0.2)
    assert history.best is None
    assert history.left_out == 0
    assert set(history.evaluations[-1].losses) == {"judge", "maker"}


@pytest.mark.parametrize("family", [Gaussian, Noisy, Game])
def test_the_same_seed_gives_the_same_bytes_whatever_the_caller_drew(family: type[Family[Any]]) -> None:
    runs = []
    for number in range(2):
        model = fresh(family)
        torch.manual_seed(number)
        before = torch.get_rng_state()
        runs.append((model, fit(model, normal(300), STEPS, training=replace(family.regimen, evaluations=6), seed=7)))
        assert torch.equal(torch.get_rng_state(), before)
    assert same(runs[0][0], runs[1][0])
    assert [e.losses for e in runs[0][1].evaluations] == [e.losses for e in runs[1][1].evaluations]
    other = fresh(family)
    fit(other, normal(300), STEPS, training=replace(family.regimen, evaluations=6), seed=8)
    assert not same(runs[0][0], other)


def test_early_stopping_keeps_the_best_weights() -> None:
    # 40 items of pure noise in 30 dimensions: a full covariance overfits at once.
    torch.manual_seed(0)
    data, family = Batch(torch.randn(40, 30)), Gaussian(Reals((30,)))
    history = fit(family, data, Budget(steps=2000), training=replace(Gaussian.regimen, patience=4, evaluations=100))
    losses = [e.left_out for e in history.evaluations]
    assert history.stopped == "early"
    assert history.step < 2000
    assert history.best == min(losses)
    assert losses.index(history.best) == len(losses) - 5  # four looks without a better one, then the end


def test_minutes_are_kept() -> None:
    family, seen = fresh(Gaussian), list[Progress]()
    slow = replace(Gaussian.regimen, steps=10**9, holdout=0.0)
    began = time.monotonic()
    history = fit(family, normal(500), Budget(minutes=0.02), training=slow, listen=seen.append)
    assert 1.1 < time.monotonic() - began < 4.0
    assert history.stopped == "budget"
    assert history.step < 10**6
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert (seen[0].done, seen[-1].done, seen[-1].stage) == (pytest.approx(0, abs=0.05), 1.0, "learning")
    assert seen[-1].left == 0
    assert 0 < len(history.evaluations) <= slow.evaluations + 1


def test_steps_end_a_run_before_its_minutes() -> None:
    history = fit(fresh(Gaussian), normal(100), Budget(minutes=5, steps=20))
    assert (history.stopped, history.step) == ("budget", 20)


# ------------------------------------------------------------------------------------------------- bad steps


def test_a_single_bad_step_is_skipped() -> None:
    family = fresh(Faulty, {20: "nan"})
    history = fit(family, normal(500), Budget(steps=300), training=Gaussian.regimen)
    assert history.bad_steps == 1
    assert history.best is not None
    assert history.best < 4.2
    assert all(bool(torch.isfinite(tensor).all()) for tensor in family.state_dict().values())


def test_ruined_weights_come_back() -> None:
    family = fresh(Faulty, {20: "ruin", 41: "ruin", 60: "ruin"})
    history = fit(family, normal(500), STEPS, training=QUICK)
    # Each ruin is noticed at the next step and mended at the one after, or at the look that comes first.
    assert 3 <= history.bad_steps <= 6
    assert history.stopped == "budget"
    assert all(bool(torch.isfinite(tensor).all()) for tensor in family.state_dict().values())


def test_too_many_bad_steps_say_what_was_seen_and_leave_finite_weights() -> None:
    family = fresh(Faulty, {0: "nan"})
    with pytest.raises(TrainingError, match=r"10 steps .* objective 'loss' at step 10: loss nan.*lower rate than 0.03"):
        fit(family, normal(500), STEPS, training=QUICK)
    assert same(family, fresh(Faulty))


def test_holes_in_the_data_are_named() -> None:
    data = normal(100)
    data.x[:, 1] = math.nan
    with pytest.raises(TrainingError, match="data hold NaN"):
        fit(fresh(Gaussian), data, STEPS)


# -------------------------------------------------------------------------------------------------- signals


@pytest.mark.parametrize("fault", ["SIGINT", "twice"])
def test_ctrl_c_keeps_the_best(fault: str) -> None:
    handler = signal.getsignal(signal.SIGINT)
    family, whole = fresh(Faulty, {35: fault}), fresh(Faulty)
    history = fit(family, normal(500), STEPS, training=QUICK)
    assert history.stopped == "interrupted"
    assert history.step == 35
    assert [e.step for e in history.evaluations] == [10, 20, 30]
    assert history.best == history.evaluations[-1].left_out
    assert signal.getsignal(signal.SIGINT) is handler
    # The first 30 steps of an unbroken run are the same, so its losses are.
    unbroken = fit(whole, normal(500), STEPS, training=QUICK)
    assert unbroken.evaluations[2].left_out == history.best


def test_sigterm_is_handed_on_when_all_is_saved() -> None:
    heard = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        history = fit(fresh(Faulty, {5: "SIGTERM"}), normal(500), STEPS, training=QUICK)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [signal.SIGTERM]
    assert (history.stopped, history.step) == ("terminated", 5)


def test_a_listener_may_interrupt_in_any_thread() -> None:
    stopped = []

    def listen(progress: Progress) -> None:
        if progress.done > 0.3:
            raise KeyboardInterrupt

    def work() -> None:
        slow = replace(QUICK, steps=10**9)
        stopped.append(fit(fresh(Gaussian), normal(500), Budget(minutes=0.01), training=slow, listen=listen).stopped)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert stopped == ["interrupted"]


# --------------------------------------------------------------------------------------------- odd requests


def test_masks_and_conditions_travel_with_their_items() -> None:
    n, seen = 50, []

    class Looks(Gaussian):
        def loss(self, batch: Batch) -> torch.Tensor:
            assert batch.given is not None
            assert batch.given.mask is not None
            seen.append((batch.x[:, 0], batch.given.x[:, 0], batch.given.mask[:, 0]))
            return super().loss(batch)

    x = torch.arange(n).float()[:, None].expand(n, 3) / n
    fit(
        fresh(Looks),
        Batch(x, Batch(2 * x, mask=x > 0.5)),
        Budget(steps=5),
        training=replace(QUICK, batch=8, evaluations=1),
    )
    for item, given, mask in seen:
        assert torch.equal(given, 2 * item)
        assert torch.equal(mask, item > 0.5)
    assert len(torch.cat([item for item, _, _ in seen[:5]]).unique()) == 40  # 10 of 50 left out, none twice


@pytest.mark.parametrize("n", [1, 2, 5, 19])
def test_a_handful_of_items_will_do(n: int) -> None:
    history = fit(fresh(Gaussian), normal(n), Budget(steps=3))
    assert history.items + history.left_out == n
    assert history.items >= 1


def test_bfloat16_learns_too() -> None:
    family = fresh(Noisy)
    history = fit(family, normal(500), Budget(steps=150), training=replace(Noisy.regimen, precision="bfloat16"))
    assert history.precision == "bfloat16"
    assert history.best is not None
    assert history.best < 4.5
    assert next(family.parameters()).dtype == torch.float32


@pytest.mark.parametrize(
    ("training", "word"),
    [
        (Training(batch=0), "batch"),
        (Training(rate=math.nan), "rate"),
        (Training(ema=1.0), "ema"),
        (Training(precision="half"), "precision"),
        (Training(holdout=0.9), "holdout"),
    ],
)
def test_senseless_settings_are_refused(training: Training, word: str) -> None:
    with pytest.raises(OptionError, match=word):
        fit(fresh(Gaussian), normal(10), STEPS, training=training)


def test_senseless_data_and_budgets_are_refused() -> None:
    with pytest.raises(DataError, match="no items"):
        fit(fresh(Gaussian), normal(0), STEPS)
    with pytest.raises(DataError, match=r"50 items, but its mask of given\.x has 49"):
        fit(fresh(Gaussian), Batch(torch.zeros(50, 3), Batch(torch.zeros(50, 3), mask=torch.ones(49, 3))), STEPS)
    with pytest.raises(OptionError, match="minutes"):
        fit(fresh(Gaussian), normal(10), Budget(minutes=-1.0))
    with pytest.raises(OptionError, match="steps"):
        fit(fresh(Gaussian), normal(10), Budget(steps=0))


def test_a_family_without_gradients_is_told_apart() -> None:
    class Counts(Gaussian):
        def objectives(self) -> list[Any]:
            return []

    with pytest.raises(TrainingError, match="Counts does not learn by gradients"):
        fit(fresh(Counts), normal(10), STEPS)


def test_weights_in_no_objective_stay() -> None:
    class Half(Gaussian):
        def objectives(self) -> list[Any]:
            self.mean.requires_grad_(False)
            return super().objectives()

    family: nn.Module = fresh(Half)
    fit(family, normal(100), STEPS)
    assert torch.equal(family.get_parameter("mean"), torch.zeros(3))
    assert not torch.equal(family.get_parameter("root"), torch.eye(3))
