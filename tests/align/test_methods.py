"""Every method finds the law that is known to be best: p_0 exp(R / beta) / Z; ratios begin at 1."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from likely.align import course
from likely.align.dpo import DPO, DPOConfig, Pairs
from likely.align.grpo import GRPO, GRPOConfig
from likely.align.ppo import PPO, PPOConfig
from likely.align.reinvent import Reinvent, ReinventConfig
from likely.align.trial import Trial, Wish, first
from likely.core import Batch, Budget, Known, Path, Reals
from likely.errors import OptionError, TrainingError, UnknownName, Unsupported
from likely.families.vae import Vae
from tests.align.toys import BETA, bandit, best, chain, judge, worth

METHODS: dict[str, tuple[Any, Any]] = {
    "ppo": (PPO, PPOConfig(samples=256, lam=1.0)),
    "ppo in groups": (PPO, PPOConfig(samples=256, lam=1.0, group=4)),
    "grpo": (GRPO, GRPOConfig(samples=256)),
    "dr_grpo": (GRPO, GRPOConfig(samples=256, recipe="dr_grpo", kl="k2")),
    "rloo": (GRPO, GRPOConfig(samples=256, recipe="rloo")),
    "dpo": (DPO, DPOConfig(batch=256, samples=2000)),
    "reinvent": (Reinvent, ReinventConfig(samples=256)),
}
RATES = {"exact": 0.03, "lstm": 0.01, "transformer": 0.01}


def aligned(model: Any, name: str, steps: int, rate: float, beta: float = BETA) -> course.Record:
    cls, config = METHODS[name]
    return course.run(cls(Trial(model, judge), config, beta, rate, 0), budget=Budget(steps=steps))


@pytest.mark.parametrize(("family", "name"), [
    *(("exact", name) for name in METHODS), *((family, name) for family in ("lstm", "transformer")
                                              for name in ("ppo", "grpo", "dpo")),
])  # fmt: skip
def test_a_bandit_with_two_arms(family: str, name: str) -> None:
    model, items = bandit(family)
    arm = items[:, 0].max()
    value = (items[:, 0] == arm).float()
    cls, config = METHODS[name]
    want = best(model, items, value)
    made = cls(Trial(model, lambda path: (path.x[:, 0] == arm).float()), config, BETA, RATES[family], 0)
    steps = {"dpo": 300, "reinvent": 250}.get(name, 100) if family == "exact" else {"dpo": 100}.get(name, 60)
    course.run(made, budget=Budget(steps=steps))
    got = model.log_prob(Batch(items)).exp().detach()  # type: ignore[operator]
    assert float(want[1]) > 0.7  # from .3, or half
    assert got.tolist() == pytest.approx(want.tolist(), rel=0.02)


@pytest.mark.parametrize(("family", "name", "steps"), [
    ("exact", "ppo", 100), ("exact", "grpo", 100), ("exact", "dpo", 150), ("exact", "reinvent", 100),
    ("lstm", "ppo", 120), ("lstm", "grpo", 120), ("lstm", "dpo", 200), ("lstm", "reinvent", 120),
    ("transformer", "ppo", 150), ("transformer", "grpo", 120), ("transformer", "dpo", 150),
])  # fmt: skip
def test_a_chain_of_three_choices(family: str, name: str, steps: int) -> None:
    """Total variation to the best law at most 2 %; the start is 27 to 62 % away."""
    model, items = chain(family)
    start = model.log_prob(Batch(items)).exp().detach()  # type: ignore[operator]
    want = best(model, items, worth(items))
    aligned(model, name, steps, RATES[family])
    got = model.log_prob(Batch(items)).exp().detach()  # type: ignore[operator]
    assert float((start - want).abs().sum() / 2) > 0.25
    assert float((got - want).abs().sum() / 2) < 0.02


def test_other_losses_of_pairs_move_the_same_way() -> None:
    cases = [({"kind": "ipo"}, 0.03), ({"doubt": 0.1}, 0.1), ({"per_step": True}, 0.1), ({"likelihood": 0.1}, 0.1)]
    for options, more in cases:
        config = DPOConfig(batch=128, **options)  # type: ignore[arg-type]
        model, items = chain("exact")
        before = float((model.log_prob(Batch(items)).exp() * worth(items)).sum().detach())  # type: ignore[operator]
        course.run(DPO(Trial(model, judge), config, BETA, 0.03, 0), budget=Budget(steps=60))
        assert float((model.log_prob(Batch(items)).exp() * worth(items)).sum().detach()) > before + more  # type: ignore[operator]


def test_it_does_not_matter_on_which_side_the_better_item_stands() -> None:
    """The price of the better item itself goes to the better one; so does what a row says."""
    said = []
    for swapped in (False, True):
        model, items = chain("exact")
        log = model.log_prob(Batch(items)).detach()  # type: ignore[operator]
        trial = Trial(model, judge)
        good, bad = (trial.acting.retrace(Batch(items[k : k + 1].expand(8, -1))) for k in (5, 9))
        share = torch.full((8,), float(not swapped))
        pairs = Pairs(*((bad, good) if swapped else (good, bad)), share, torch.ones(8))
        made = DPO(trial, DPOConfig(batch=8, likelihood=2.0), BETA, 0.03, 0, pairs=pairs)
        row = course.run(made, budget=Budget(steps=20)).rows[-1]
        moved = (model.log_prob(Batch(items)).detach() - log)[[5, 9]]  # type: ignore[operator]
        assert row["right"] == 1
        assert row["margin"] > 0
        assert row["better"] > 0.5 > row["worse"]
        said.append([*moved.tolist(), *(row[name] for name in ("loss", "margin", "better", "worse"))])
    assert said[0] == pytest.approx(said[1], rel=1e-4)


def test_the_first_ratio_is_one_and_another_is_refused() -> None:
    model, _ = chain("transformer")
    row = PPO(Trial(model, judge), PPOConfig(samples=64, epochs=1), BETA, 1e-9, 0).step(1.0, torch.Generator())
    assert row["ratio"] == pytest.approx(1.0, abs=1e-4)
    with pytest.raises(TrainingError, match="first probability ratio"):
        first(torch.tensor([1.0, 1.001]), torch.tensor([True, True]))


def test_beta_is_steered_to_the_wanted_kl() -> None:
    model, _ = chain("exact")
    config = PPOConfig(samples=256, lam=1.0, target=0.05, horizon=2000)
    record = course.run(PPO(Trial(model, judge), config, 0.2, 0.03, 0), budget=Budget(steps=200))
    assert record.mean("kl") == pytest.approx(0.05, abs=0.02)
    assert record.rows[-1]["beta"] > 0.5


def test_beta_falls_no_lower_than_it_may() -> None:
    for least in (0.0, 0.5, 1.0):
        config = PPOConfig(samples=64, target=50.0, horizon=64, least=least)  # it never gets there
        method = PPO(Trial(chain("exact")[0], judge), config, 0.2, 0.03, 0)
        course.run(method, budget=Budget(steps=12))
        assert method.beta == pytest.approx(0.2 * max(least, 0.8**12))
    with pytest.raises(OptionError, match="horizon=10"):
        PPOConfig(samples=64, target=5.0, horizon=10)


def test_what_is_known_is_no_choice_and_stays() -> None:
    """Alignment under a beginning: the first place is given, the others are learned."""
    model, items = chain("exact")
    mask = torch.tensor([[True, False, False]])
    trial = Trial(
        model, judge, lambda n, rng: Wish(known=Known(torch.tensor([[2, 0, 0]]).expand(n, -1), mask.expand(n, -1)))
    )
    drawn = trial.draw(32, torch.Generator().manual_seed(0))
    assert (drawn.path.x[:, 0] == 2).all()
    assert not drawn.path.mask[:, 0].any()
    before = model.log_prob(Batch(items)).exp().detach()  # type: ignore[operator]
    course.run(GRPO(trial, GRPOConfig(samples=256, group=256), BETA, 0.03, 0), budget=Budget(steps=80))
    after = model.log_prob(Batch(items)).exp().detach()  # type: ignore[operator]
    two = items[:, 0] == 2
    assert float(after[two].sum()) == pytest.approx(float(before[two].sum()), abs=0.02)
    start = before[two] / before[two].sum()
    want = torch.softmax(start.log() + worth(items[two]) / BETA, 0)
    assert (after[two] / after[two].sum()).tolist() == pytest.approx(want.tolist(), abs=0.02)


def test_texts_without_an_end_pay() -> None:
    model, _ = chain("lstm")
    plain, dear = Trial(model, judge), Trial(model, judge, missing=2.0)
    one, two = (trial.draw(64, torch.Generator().manual_seed(3)) for trial in (plain, dear))
    ended = (one.path.x == 2).any(1)
    assert not ended.all()
    assert torch.equal(one.reward[ended], two.reward[ended])
    torch.testing.assert_close(one.reward[~ended] - 2, two.reward[~ended])


def test_a_family_without_steps_is_refused_and_told_what_works() -> None:
    with pytest.raises(Unsupported, match="best_of"):
        Trial(Vae(Reals((4,))), judge)


def test_options_are_looked_at() -> None:
    with pytest.raises(OptionError, match="samples=0"):
        PPOConfig(samples=0)
    with pytest.raises(OptionError, match=r"lam=2"):
        PPOConfig(lam=2.0)
    with pytest.raises(UnknownName, match="grpoo"):
        GRPOConfig(recipe="grpoo")
    with pytest.raises(OptionError, match="fill the draw"):
        PPOConfig(samples=10, group=4)
    with pytest.raises(OptionError, match="fill the draw"):
        GRPOConfig(samples=10, group=4)
    with pytest.raises(OptionError, match="doubt"):
        DPOConfig(doubt=0.5)
    with pytest.raises(OptionError, match="replay=9"):
        ReinventConfig(memory=4, replay=9)


def test_recipes_say_what_papers_changed() -> None:
    dapo = GRPOConfig(recipe="dapo").filled()
    assert (dapo.high, dapo.reduction, dapo.drop) == (0.28, "token", True)
    own = GRPOConfig(recipe="dapo", reduction="constant").filled()
    assert own.reduction == "constant"
    model, _ = chain("exact")
    trial = Trial(model, lambda path: torch.zeros(len(path.x)))
    row = GRPO(trial, GRPOConfig(recipe="dapo"), 0.0, 0.01, 0).step(1.0, torch.Generator())
    assert row["alike"] == 1.0  # no group says anything: nothing moves
    assert row["gradient"] == 0.0


def test_memory_keeps_the_best_once() -> None:
    model, _ = chain("exact")
    method = Reinvent(Trial(model, judge), ReinventConfig(samples=64, memory=5, replay=2), BETA, 0.01, 0)
    for step in range(4):
        method.step(1.0, torch.Generator().manual_seed(step))
    assert method.memory is not None
    kept = method.memory
    assert len(torch.unique(kept.path.x, dim=0)) == len(kept.reward) == 5
    assert float(kept.reward[0]) == pytest.approx(float(worth(chain("exact")[1]).max()))
    assert isinstance(kept.path, Path)
