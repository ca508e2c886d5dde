"""Generator and critic: losses against closed forms, and that they learn."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from likely.core import Batch, Budget, Cells, Density, Known, Policy, Reals
from likely.errors import ConditionError, Mismatch, OptionError, Unsupported
from likely.families.gan import Gan, GanConfig
from likely.families.gan import objectives as games
from likely.families.gan.augment import augment, brightness, cutout, translation
from likely.testing import check_family
from likely.train.loop import fit

TINY = GanConfig(width=16, depth=1, latent=4)
PLANE = Reals((2,))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def ring(n: int = 2000, modes: int = 8, spread: float = 0.15) -> torch.Tensor:
    angle = torch.arange(n) % modes * (2 * math.pi / modes)
    return torch.stack([angle.cos(), angle.sin()], 1) * 2 + spread * torch.randn(n, 2, generator=rng())


def trained(space: Reals, items: torch.Tensor, config: GanConfig, steps: int, **settings: object) -> Gan:
    torch.manual_seed(0)
    family = Gan(space, None, config)
    fit(family, Batch(items), Budget(steps=steps), training=replace(family.plan(), **settings))  # type: ignore[arg-type]
    return family


# ------------------------------------------------------------------------------------------------- losses


def test_the_slope_of_a_linear_critic_is_its_weight() -> None:
    critic = nn.Linear(5, 1)
    x = torch.randn(7, 5, requires_grad=True)
    got = games.slope(critic(x).squeeze(1), x)
    torch.testing.assert_close(got, critic.weight.square().sum().expand(7))
    got.mean().backward()
    assert critic.weight.grad is not None
    torch.testing.assert_close(critic.weight.grad, 2 * critic.weight)


def test_the_penalty_between_vanishes_at_slope_one() -> None:
    weight = torch.tensor([0.6, 0.8])
    x, y = torch.randn(9, 2), torch.randn(9, 2)
    torch.testing.assert_close(games.between(lambda u: u @ weight, x, y), torch.zeros(9))
    torch.testing.assert_close(games.between(lambda u: u @ (3 * weight), x, y), torch.full((9,), 4.0))


def test_losses_where_the_answer_is_known() -> None:
    zero, one = torch.zeros(4), torch.ones(4)
    assert games.saturating_critic(zero, zero).item() == pytest.approx(2 * math.log(2))
    assert games.relativistic_critic(one, one).item() == pytest.approx(math.log(2))
    assert games.relativistic_generator(zero, one).item() == pytest.approx(math.log(1 + math.exp(-1)))
    assert games.wasserstein_critic(one, zero).item() == -1
    assert games.hinge_critic(one, -one).item() == 0
    assert games.squares_critic(one, zero).item() == 0
    assert games.squares_generator(zero, one).item() == 0


def test_the_best_critic_is_the_log_ratio() -> None:
    """Of N(1, 1) against N(-1, 1) it is 2 x: gradient descent on the cross-entropy must find it."""
    critic = nn.Linear(1, 1)
    real, made = torch.randn(20_000, 1, generator=rng(1)) + 1, torch.randn(20_000, 1, generator=rng(2)) - 1
    descent = torch.optim.LBFGS(critic.parameters(), max_iter=50)

    def closure() -> float:
        descent.zero_grad()
        loss = games.saturating_critic(critic(real).squeeze(1), critic(made).squeeze(1))
        loss.backward()
        return float(loss.detach())

    descent.step(closure)
    assert critic.weight.item() == pytest.approx(2, abs=0.06)
    assert critic.bias.item() == pytest.approx(0, abs=0.06)


def test_losses_of_generators_oppose_those_of_critics() -> None:
    """Where made items get better scores, every generator loses less and every critic more."""
    real, made = torch.randn(50, generator=rng(1)), torch.randn(50, generator=rng(2)).requires_grad_()
    for name, game in games.GAMES.items():
        (up,) = torch.autograd.grad(game.critic(real, made), made)
        (down,) = torch.autograd.grad(game.generator(real, made), made)
        assert bool((up >= 0).all()), name
        assert bool((down < 0).all()), name


# ------------------------------------------------------------------------------------------- augmentation


def test_changes_are_what_they_say() -> None:
    torch.manual_seed(0)
    x = torch.rand(20, 2, 16, 24)
    shift = (brightness(x, 0.5) - x).flatten(1)
    torch.testing.assert_close(shift, shift[:, :1].expand_as(shift))
    assert 0.3 < float(shift.abs().max()) <= 0.5
    moved = translation(x)
    inner = moved[:, :, 4:-4, 4:-4]
    found = [
        any(torch.equal(inner[i], x[i, :, 4 + a : 12 + a, 4 + b : 20 + b]) for a in range(-2, 3) for b in range(-3, 4))
        for i in range(20)
    ]
    assert all(found)
    hole = (cutout(x, -9.0) == -9.0).float().mean((1, 2, 3))
    assert bool((hole > 0.05).all())
    assert bool((hole <= 0.3).all())


def test_augmentation_is_differentiable_and_leaves_small_vectors_alone() -> None:
    x = torch.rand(3, 1, 16, 16, requires_grad=True)
    augment(x).sum().backward()
    assert x.grad is not None
    assert float(x.grad.abs().sum()) > 0
    image = Gan(Reals((1, 16, 16), bounds=(-1.0, 1.0)), None, TINY)
    image.prepare(Batch(torch.zeros(10, 1, 16, 16)))
    assert bool(image.augmented)
    digit = Gan(Reals((1, 8, 8), bounds=(-1.0, 1.0)), None, TINY)
    digit.prepare(Batch(torch.zeros(10, 1, 8, 8)))
    assert not bool(digit.augmented)


# ------------------------------------------------------------------------------------------------- family


def test_capabilities_and_refusals() -> None:
    model = Gan(PLANE, None, TINY)
    assert not isinstance(model, Density)
    assert not isinstance(model, Policy)
    assert [(o.name, o.every) for o in model.objectives()] == [("critic", 1), ("generator", 1)]
    assert Gan(PLANE, None, replace(TINY, objective="wasserstein")).objectives()[1].every == 5
    for wrong in ({"objective": "best"}, {"gamma": -1.0}, {"width": 0}, {"augment": "maybe"}):
        with pytest.raises(OptionError, match=str(next(iter(wrong)))):
            GanConfig(**wrong)  # type: ignore[arg-type]
    with pytest.raises(Unsupported, match="complete"):
        model.sample(1, known=Known(torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.bool)), rng=rng())
    with pytest.raises(Mismatch, match="without"):
        model.sample(2, given=Batch(torch.zeros(2, 1)), rng=rng())
    with pytest.raises(ConditionError, match="given"):
        Gan(PLANE, Cells((3,)), TINY).sample(2, rng=rng())
    with pytest.raises(Unsupported, match="length"):
        Gan(Reals((4, 2), ragged=True), None, TINY)


def test_the_contract() -> None:
    check_family(Gan, PLANE, Batch(ring(400)), TINY)


@pytest.mark.parametrize("shape", [(5,), (1, 6, 6), (40, 3), (3, 36, 36)])
def test_any_shape(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    space = Reals(shape, bounds=(0.0, 2.0))
    x = torch.rand(24, *shape) * 2
    model = trained(space, x, TINY, steps=3, batch=8)
    made = model.sample(5, rng=rng())
    assert made.shape == (5, *shape)
    assert float(made.min()) >= 0
    assert float(made.max()) <= 2


def test_the_generator_starts_from_the_mean_item() -> None:
    torch.manual_seed(0)
    x = torch.randn(500, 3) * 0.01 + torch.tensor([0.5, -0.7, 0.0])
    model = Gan(Reals((3,), bounds=(-1.0, 1.0)), None, TINY)
    nn.init.zeros_(list(model.generator.parameters())[-2])
    model.prepare(Batch(x))
    torch.testing.assert_close(model.sample(2, rng=rng()), x.mean(0).expand(2, 3), atol=1e-5, rtol=0)


def test_constant_items_do_no_harm() -> None:
    model = trained(Reals((1, 4, 4), bounds=(-1.0, 1.0)), torch.full((30, 1, 4, 4), 0.25), TINY, 30)
    made = model.sample(10, rng=rng())
    assert bool(torch.isfinite(made).all())
    assert float((made - 0.25).abs().mean()) < 0.2


def test_gamma_moves_towards_the_band() -> None:
    model = Gan(PLANE, None, TINY)
    start = float(model.gamma)
    model.adapt(torch.tensor(100.0))
    assert float(model.gamma) == pytest.approx(start * 1.01)
    model.adapt(torch.tensor(0.01))
    model.adapt(torch.tensor(0.01))
    assert float(model.gamma) == pytest.approx(start / 1.01)
    model.adapt(torch.tensor(2.0))
    assert float(model.gamma) == pytest.approx(start / 1.01)
    for _ in range(3000):
        model.adapt(torch.tensor(0.0))
    assert float(model.gamma) == pytest.approx(start / 100)
    held = trained(PLANE, ring(200), replace(TINY, gamma=0.5), 5)
    assert float(held.gamma) == 0.5


def test_it_finds_every_mode_of_a_ring() -> None:
    model = trained(PLANE, ring(spread=0.25), GanConfig(width=48, depth=3, latent=8), steps=600)
    made = model.sample(2000, rng=rng())
    mode = (torch.atan2(made[:, 1], made[:, 0]) / (math.pi / 4)).round().long() % 8
    near = (made.norm(dim=1) - 2).abs() < 0.75
    count = torch.bincount(mode[near], minlength=8)
    assert int(count.min()) > 60, count
    assert float(near.float().mean()) > 0.8


def test_conditions_are_followed() -> None:
    label = torch.arange(1200) % 3
    x = torch.stack([label - 1.0, 1.0 - label], 1) * 2 + 0.2 * torch.randn(1200, 2, generator=rng())
    torch.manual_seed(0)
    model = Gan(PLANE, Cells((3,)), replace(TINY, width=32, depth=2))
    fit(model, Batch(x, Batch(label[:, None])), Budget(steps=300))
    for k in range(3):
        made = model.sample(200, given=Batch(torch.tensor([[k]])), rng=rng())
        assert float((made - torch.tensor([k - 1.0, 1.0 - k]) * 2).norm(dim=1).median()) < 0.8


def test_categories_come_out_one_at_a_time() -> None:
    """Numbers beside a category that goes with their sign."""
    n = torch.randn(1500, 1, generator=rng())
    code = (n[:, 0] > 0).long()
    x = torch.cat([n, nn.functional.one_hot(code, 3).float()], 1)
    model = trained(Reals((4,), onehot=((1, 4),)), x, GanConfig(width=32, depth=2, latent=8), 350)
    made = model.sample(1000, rng=rng())
    assert bool(((made[:, 1:] == 0) | (made[:, 1:] == 1)).all())
    assert bool((made[:, 1:].sum(1) == 1).all())
    share = made[:, 1:].mean(0)
    assert 0.3 < float(share[0]) < 0.7
    assert float(share[2]) < 0.05
    assert float(((made[:, 0] > 0) == (made[:, 2] == 1)).float().mean()) > 0.85


def test_a_resumed_run_is_the_same_run(tmp_path: Path) -> None:
    batch = Batch(ring(300))
    settings = {"batch": 32, "evaluations": 4}
    whole = trained(PLANE, batch.x, TINY, 40, **settings)

    torch.manual_seed(0)
    first = Gan(PLANE, None, TINY)
    training = replace(first.plan(), **settings)  # type: ignore[arg-type]

    def stop(progress: object) -> None:
        if getattr(progress, "done", 0.0) > 0.6:
            raise KeyboardInterrupt

    fit(first, batch, Budget(steps=40), training=training, listen=stop, checkpoint=tmp_path)
    torch.manual_seed(0)
    second = Gan(PLANE, None, TINY)
    history = fit(second, batch, Budget(steps=40), training=training, checkpoint=tmp_path)
    assert history.step == 40
    for name, tensor in whole.tensors().items():
        assert torch.equal(tensor, second.tensors()[name]), name


@pytest.mark.parametrize("objective", sorted(games.GAMES))
def test_what_was_learned_can_be_stored(objective: str) -> None:
    config = replace(TINY, objective=objective)
    model = trained(PLANE, ring(100), config, 6, batch=16)
    other = Gan(PLANE, None, config).restore({name: tensor.clone() for name, tensor in model.tensors().items()}).eval()
    assert torch.equal(model.sample(9, rng=rng()), other.sample(9, rng=rng()))
