"""Rectified flow: exact where the answer is known, and it learns what is not."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from likely.core import Batch, Budget, Cells, Density, Known, Latent, Reals
from likely.core import Path as Way
from likely.errors import ConditionError, Mismatch, OptionError, Unsupported
from likely.families.flow import Flow, FlowConfig
from likely.nn.components import Components
from likely.testing import check_family, check_policy
from likely.train.loop import fit

TINY = FlowConfig(width=32, depth=1)
PLANE = Reals((2,))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian(n: int = 4000) -> tuple[torch.Tensor, torch.distributions.MultivariateNormal]:
    root = torch.tensor([[1.5, 0.0, 0.0], [0.8, 0.3, 0.0], [-0.2, 0.1, 0.05]])
    law = torch.distributions.MultivariateNormal(torch.tensor([1.0, -2.0, 0.5]), scale_tril=root)
    return torch.randn(n, 3, generator=rng()) @ root.T + law.mean, law


def oracle() -> tuple[Flow, torch.distributions.MultivariateNormal, torch.Tensor]:
    """A flow of a Gaussian's own moments whose network says nothing: the exact flow of that Gaussian."""
    x, law = gaussian()
    model = Flow(Reals((3,)), None, TINY)
    model.prepare(Batch(x))
    values, basis = torch.linalg.eigh(law.covariance_matrix)
    model.components.mean.copy_(law.mean)
    model.components.spread.copy_(values.flip(0).sqrt())
    model.components.basis.copy_(basis.flip(1))
    return model.eval(), law, x


def wild(size: int = 2, seed: int = 0, **options: object) -> Flow:
    """Not trained, and far from a Gaussian: laws must hold whatever the weights."""
    torch.manual_seed(seed)
    model = Flow(Reals((size,)), None, replace(TINY, **options))  # type: ignore[arg-type]
    nn.init.normal_(model.network.leave.weight, std=0.2)  # type: ignore[union-attr,arg-type]
    model.prepare(Batch(torch.randn(200, size) @ torch.randn(size, size)))
    return model.eval()


def trained(space: Reals, batch: Batch, config: FlowConfig, steps: int, given: Cells | None = None) -> Flow:
    torch.manual_seed(0)
    model = Flow(space, given, config)
    fit(model, batch, Budget(steps=steps))
    return model


# ------------------------------------------------------------------------------------ what is known exactly


def test_components_stand_still() -> None:
    """On the line from noise to Gaussian items every component has variance 1 at every moment."""
    x, _ = gaussian(20_000)
    parts = Components((3,))
    parts.look(x)
    torch.testing.assert_close(parts.outward(parts.inward(x)), x, atol=1e-4, rtol=0)
    y, z = parts.turn(x - parts.mean), torch.randn(20_000, 3, generator=rng(1))
    for t in torch.tensor([0.0, 0.2, 0.7, 1.0]):
        a = parts.angle(t)
        w = a.sin() * y / parts.spread + a.cos() * z
        line = (t * y + (1 - t) * z) / ((t * parts.spread).square() + (1 - t) ** 2).sqrt()
        torch.testing.assert_close(w, line, atol=1e-4, rtol=0)
        torch.testing.assert_close(w.T @ w / len(w), torch.eye(3), atol=0.03, rtol=0)
    grid = parts.grid(8)
    assert grid[0] == 0
    assert grid[-1] == 1
    assert bool((grid.diff() > 0).all())


@pytest.mark.parametrize("solver", ["euler", "multistep", "heun"])
def test_a_gaussian_is_exact_in_one_step(solver: str) -> None:
    model, law, x = oracle()
    model.config = replace(model.config, steps=1, solver=solver)
    torch.testing.assert_close(model.log_prob(Batch(x)), law.log_prob(x), atol=1e-3, rtol=0)
    made = model.sample(20_000, rng=rng(3))
    torch.testing.assert_close(made.mean(0), law.mean, atol=0.05, rtol=0)
    torch.testing.assert_close(made.T.cov(), law.covariance_matrix, atol=0.06, rtol=0)


def test_shares_of_a_gaussian_are_those_of_its_decorrelated_elements() -> None:
    model, law, x = oracle()
    values, basis = torch.linalg.eigh(law.covariance_matrix)
    z = (x - law.mean) @ (basis / values.sqrt()) @ basis.T
    shares = model.log_probs(Batch(x)) + z.square() / 2
    torch.testing.assert_close(shares, shares[:1].expand_as(shares), atol=1e-3, rtol=0)
    torch.testing.assert_close(shares.sum(1), law.log_prob(law.mean).expand(len(x)), atol=1e-3, rtol=0)


@pytest.mark.parametrize("noise", [0.3, 1.0])
def test_a_policy_of_a_gaussian_draws_that_gaussian(noise: float) -> None:
    model, law, _ = oracle()
    model.config = replace(model.config, noise=noise)
    made = model.rollout(20_000, rng=rng(4)).x
    torch.testing.assert_close(made.T.cov(), law.covariance_matrix, atol=0.06, rtol=0)


# ------------------------------------------------------------------------------------------------- density


def test_the_density_integrates_to_one() -> None:
    model = wild(1, precise=64)
    x = torch.linspace(-40, 40, 4001)[:, None]
    p = model.log_prob(Batch(x)).double().exp()
    assert float(p.sum() * 80 / 4000) == pytest.approx(1, abs=2e-3)
    assert bool(p.argmax() > 0)
    plane = wild(2, precise=32)
    side = torch.linspace(-14, 14, 141)
    total = plane.log_prob(Batch(torch.cartesian_prod(side, side))).double().exp().sum() * (28 / 140) ** 2
    assert float(total) == pytest.approx(1, abs=5e-3)


def test_the_density_is_that_of_what_is_drawn() -> None:
    """The change of variables against the Jacobian of the whole way, by automatic differentiation."""
    model = wild(3, precise=64)
    x = model.sample(4, rng=rng())

    def noise(item: torch.Tensor) -> torch.Tensor:
        f = model.field(None, 1.0)
        grid = model.components.grid(200).flip(0)
        return model.walk(model.components.inward(item[None]), f, grid, "heun")[0]

    for item in x:
        jacobian = torch.autograd.functional.jacobian(noise, item)
        with torch.no_grad():
            z = noise(item)
        want = -(z.square().sum() + 3 * math.log(2 * math.pi)) / 2 + jacobian.double().slogdet().logabsdet
        got = model.log_prob(Batch(item[None]))[0]
        torch.testing.assert_close(got.double(), want.double(), atol=0.03, rtol=0)


def test_random_signs_are_right_on_average(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = wild(6), torch.randn(20, 6, generator=rng())
    exact = model.log_prob(Batch(x))
    model.exact = False
    monkeypatch.setattr("likely.families.flow.PROBES", 400)
    guess = model.log_prob(Batch(x))
    assert not torch.equal(guess, exact)
    assert torch.equal(guess, model.log_prob(Batch(x)))
    torch.testing.assert_close(guess, exact, atol=0.25, rtol=0)
    assert Flow(Reals((256,)), None, TINY).exact
    assert not Flow(Reals((257,)), None, TINY).exact


def test_noise_and_items_are_two_names_of_one_thing() -> None:
    model = wild(4)
    x = torch.randn(50, 4, generator=rng())
    z = model.embed(Batch(x))
    assert z.shape == (50, 4)
    torch.testing.assert_close(model.restore_from(z), x, atol=0.02, rtol=0)


# ---------------------------------------------------------------------------------------------- contracts


def test_the_contracts() -> None:
    x = torch.randn(400, 2, generator=rng()) * torch.tensor([0.5, 0.2]) + torch.tensor([[1.0, 0], [-1.0, 0]]).repeat(
        200, 1
    )
    model = check_family(Flow, PLANE, Batch(x), TINY)
    assert isinstance(model, Density)
    assert isinstance(model, Latent)
    check_policy(Flow, PLANE, Batch(x), TINY)


def test_refusals() -> None:
    for wrong in ({"solver": "rk45"}, {"drop": 1.0}, {"noise": 0.0}, {"steps": -1}):
        with pytest.raises(OptionError, match=next(iter(wrong))):
            FlowConfig(**wrong)  # type: ignore[arg-type]
    model = wild()
    with pytest.raises(Unsupported, match="complete"):
        model.sample(1, known=Known(torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.bool)), rng=rng())
    with pytest.raises(OptionError, match="temperature"):
        model.sample(1, rng=rng(), temperature=0.0)
    with pytest.raises(Mismatch, match="without"):
        model.sample(1, given=Batch(torch.zeros(1, 1)), rng=rng())
    with pytest.raises(Unsupported, match="length"):
        Flow(Reals((4, 2), ragged=True), None, TINY)
    conditional = Flow(PLANE, Cells((2,)), TINY)
    with pytest.raises(ConditionError, match="given"):
        conditional.sample(1, rng=rng())
    with pytest.raises(ConditionError, match="given"):
        conditional.rollout(1, rng=rng())


@pytest.mark.parametrize("shape", [(5,), (1, 6, 6), (9, 3), (3, 36, 36)])
def test_any_shape(shape: tuple[int, ...]) -> None:
    space = Reals(shape, bounds=(0.0, 2.0))
    x = torch.rand(24, *shape, generator=rng()) * 2
    model = trained(space, Batch(x), replace(TINY, width=16, precise=3, steps=2), 3)
    made = model.sample(3, rng=rng())
    assert made.shape == (3, *shape)
    assert float(made.min()) >= 0
    assert float(made.max()) <= 2
    parts = model.log_probs(Batch(x[:2]))
    assert parts.shape == (2, math.prod(shape))
    assert bool(torch.isfinite(parts).all())
    path = model.rollout(2, rng=rng())
    assert bool(torch.isfinite(model.score(path).logp).all())


def test_constant_elements_do_no_harm() -> None:
    x = torch.cat([torch.randn(200, 2, generator=rng()), torch.full((200, 2), 0.7)], 1)
    model = trained(Reals((4,)), Batch(x), TINY, 20)
    made = model.sample(100, rng=rng())
    assert float((made[:, 2:] - 0.7).abs().max()) < 0.1
    assert bool(torch.isfinite(model.log_prob(Batch(x))).all())
    same = trained(Reals((3,)), Batch(torch.ones(40, 3)), TINY, 20).sample(10, rng=rng())
    torch.testing.assert_close(same, torch.ones(10, 3), atol=0.02, rtol=0)


# ------------------------------------------------------------------------------------------------ learning


def test_it_learns_a_ring() -> None:
    angle = torch.arange(3000) % 8 * (math.pi / 4)
    x = torch.stack([angle.cos(), angle.sin()], 1) * 2 + 0.15 * torch.randn(3000, 2, generator=rng())
    model = trained(PLANE, Batch(x), FlowConfig(width=64, depth=2), 800)
    made = model.sample(2000, rng=rng())
    near = (made.norm(dim=1) - 2).abs() < 0.6
    count = torch.bincount((torch.atan2(made[:, 1], made[:, 0]) / (math.pi / 4)).round().long() % 8, minlength=8)
    assert int(count.min()) > 150
    assert float(near.float().mean()) > 0.85
    away = torch.randn(1000, 2, generator=rng(1)) * 2
    assert float(model.log_prob(Batch(x[:1000])).mean()) > float(model.log_prob(Batch(away)).mean()) + 2


def test_conditions_and_guidance() -> None:
    label = torch.arange(1200) % 2
    x = torch.stack([label * 2.0 - 1, torch.zeros(1200)], 1) + 0.7 * torch.randn(1200, 2, generator=rng())
    model = trained(PLANE, Batch(x, Batch(label[:, None])), replace(TINY, drop=0.2), 400, Cells((2,)))
    one, both = Batch(torch.tensor([[1]])), Batch(torch.tensor([[0], [1]]).repeat(500, 1))
    right = model.sample(1000, given=one, rng=rng())[:, 0]
    assert float(right.mean()) == pytest.approx(1, abs=0.25)
    made = model.sample(1000, given=both, rng=rng())[:, 0]
    assert float(made[1::2].mean() - made[::2].mean()) == pytest.approx(2, abs=0.4)
    item = Batch(torch.tensor([[1.0, 0.0]] * 2), Batch(torch.tensor([[1], [0]])))
    score = model.log_prob(item)
    assert float(score[0]) > float(score[1]) + 1
    model.config = replace(model.config, guidance=3.0)
    assert float(model.sample(1000, given=one, rng=rng())[:, 0].mean()) > float(right.mean()) + 0.2
    assert torch.equal(model.log_prob(item), score)  # guidance is for drawing alone
    assert bool(torch.isfinite(model.restore_from(torch.randn(5, 2))).all())


def test_categories_come_out_one_at_a_time() -> None:
    x = torch.cat([torch.randn(300, 1, generator=rng()), torch.eye(3).repeat(100, 1)], 1)
    made = trained(Reals((4,), onehot=((1, 4),)), Batch(x), TINY, 20).sample(50, rng=rng())
    assert bool((made[:, 1:].sum(1) == 1).all())
    assert bool(((made[:, 1:] == 0) | (made[:, 1:] == 1)).all())


# -------------------------------------------------------------------------------------------------- policy


def test_scores_are_the_densities_that_steps_were_drawn_from() -> None:
    """E exp(log q - log p) = 1 where p drew the steps: the ratio that PPO relies on."""
    model, other = wild(2, noise=1.0), wild(2, noise=1.0)
    with torch.no_grad():
        other.network.leave.bias.add_(0.15)  # type: ignore[union-attr,operator]
    path = model.rollout(20_000, rng=rng())
    with torch.no_grad():
        ratio = (other.score(path).logp - model.score(path).logp).sum(1).exp()
    assert float(ratio.mean()) == pytest.approx(1, abs=0.03)
    assert float(ratio.std()) > 0.05


def test_paths() -> None:
    model = wild(2)
    path = model.rollout(30, rng=rng())
    assert path.trace.shape == (30, model.steps + 1, 2)
    assert path.mask[:, :-1].all()
    assert not path.mask[:, -1].any()
    assert torch.equal(model.components.outward(path.trace[:, -1]), path.x)
    way = model.retrace(Batch(path.x))
    assert torch.equal(way.trace, model.retrace(Batch(path.x)).trace)
    torch.testing.assert_close(way.trace[:, -1], path.trace[:, -1], atol=1e-4, rtol=0)
    model.train()
    assert not torch.equal(model.retrace(Batch(path.x)).trace, way.trace)
    part = Way(path.x[:3], path.trace[:3], path.mask[:3])
    torch.testing.assert_close(model.score(part).logp, model.score(path).logp[:3], atol=1e-4, rtol=0)


def test_a_path_remembers_its_condition() -> None:
    kinds = torch.arange(200)[:, None] % 2
    items = torch.randn(200, 2, generator=rng()) + 3.0 * kinds
    model = trained(PLANE, Batch(items, Batch(kinds)), TINY, 30, Cells((2,)))
    given = Batch(torch.tensor([[0], [1]] * 20))
    path = model.rollout(40, given, rng=rng())
    assert torch.equal(path.given.x, given.x)
    logp = model.score(path).logp
    other = path._replace(given=Batch(1 - given.x))
    assert not torch.allclose(model.score(other).logp, logp)
    part = Way(path.x[:4], path.trace[:4], path.mask[:4], Batch(given.x[:4]))
    torch.testing.assert_close(model.score(part).logp, logp[:4], atol=1e-4, rtol=0)
    back = model.retrace(Batch(path.x, given))
    assert back.given is given


def test_bridges_end_where_rollouts_do() -> None:
    """For a Gaussian the bridge from items visits the same laws as the walk to them: variance 1 at each moment."""
    model, _, x = oracle()
    way = model.retrace(Batch(x))
    variance = way.trace.var(0)
    torch.testing.assert_close(variance, torch.ones_like(variance), atol=0.1, rtol=0)


# ------------------------------------------------------------------------------------------- stored, resumed


def test_a_resumed_run_is_the_same_run(tmp_path: Path) -> None:
    batch = Batch(torch.randn(300, 2, generator=rng()) ** 3)
    whole = trained(PLANE, batch, TINY, 40)

    def stop(progress: object) -> None:
        if getattr(progress, "done", 0.0) > 0.6:
            raise KeyboardInterrupt

    torch.manual_seed(0)
    fit(Flow(PLANE, None, TINY), batch, Budget(steps=40), listen=stop, checkpoint=tmp_path)
    torch.manual_seed(0)
    second = Flow(PLANE, None, TINY)
    assert fit(second, batch, Budget(steps=40), checkpoint=tmp_path).step == 40
    for name, tensor in whole.tensors().items():
        assert torch.equal(tensor, second.tensors()[name]), name
