"""Likelihoods are laws: their masses sum to 1, draws follow them, and each space gets its own."""

from __future__ import annotations

import pytest
import torch

from likely.core import Reals
from likely.errors import OptionError
from likely.nn.likelihood import Bernoulli, Gaussian, Logistic, OneHot, likelihood

BYTES = Reals((1, 2, 2), bounds=(-1.0, 1.0), levels=5)
BINARY = Reals((1, 2, 2), bounds=(-1.0, 1.0), levels=2)
ROW = Reals((5,), onehot=((1, 3), (3, 5)))


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_each_space_gets_its_own() -> None:
    assert isinstance(likelihood(BINARY), Bernoulli)
    assert isinstance(likelihood(BYTES), Logistic)
    assert isinstance(likelihood(ROW), OneHot)
    assert type(likelihood(Reals((4,)))) is Gaussian
    assert type(likelihood(BYTES, "gaussian")) is Gaussian
    assert isinstance(likelihood(BYTES, binarise=True), Bernoulli)


@pytest.mark.parametrize(
    ("space", "kind", "binarise", "said"),
    [
        (BYTES, "poisson", False, "one of auto, bernoulli"),
        (BYTES, "bernoulli", False, "binarise=True"),
        (BYTES, "gaussian", True, "leave it out"),
        (Reals((4,)), "bernoulli", False, "within bounds"),
        (Reals((4,), bounds=(0.0, 1.0)), "logistic", False, "on levels"),
        (ROW, "logistic", False, "categories"),
    ],
    ids=["unknown", "grey", "binarised", "unbounded", "no-levels", "one-hot"],
)
def test_what_does_not_fit_is_said(space: Reals, kind: str, binarise: bool, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        likelihood(space, kind, binarise)


@pytest.mark.parametrize("space", [BYTES, BINARY], ids=["logistic", "bernoulli"])
def test_masses_sum_to_one_and_draws_follow_them(space: Reals) -> None:
    law = likelihood(space)
    low, high = space.bounds or (0.0, 0.0)
    levels = torch.linspace(low, high, space.levels)
    if isinstance(law, Logistic):
        with torch.no_grad():
            law.pace.fill_(-0.2)
    out = torch.tensor([0.3, -2.0, 0.0, 0.9]).view(1, 1, 2, 2)
    with torch.no_grad():
        mass = torch.stack([law.log_prob(torch.full_like(out, float(x)), out) for x in levels]).exp().flatten(1)
        assert torch.allclose(mass.sum(0), torch.ones(4), atol=1e-5)
        drawn = law.draw(out.expand(20_000, -1, -1, -1), rng()).flatten(1)
    share = torch.stack([((drawn - x).abs() < 1e-4).float().mean(0) for x in levels])
    assert torch.allclose(share, mass, atol=0.015)


def test_a_gaussian_is_a_density_and_its_draws_have_its_scale() -> None:
    law = Gaussian(Reals((2,)))
    with torch.no_grad():
        law.pace.copy_(torch.tensor([-0.3, 0.1]))
        grid = torch.linspace(-8, 8, 4001)[:, None].expand(-1, 2)
        total = law.log_prob(grid, torch.tensor([[0.5, -0.5]])).exp().sum(0) * 16 / 4000
        assert torch.allclose(total, torch.ones(2), atol=1e-3)
        drawn = law.draw(torch.zeros(20_000, 2), rng())
        assert torch.allclose(drawn.std(0), law.log_scale().exp(), rtol=0.03)
        assert torch.allclose(law.draw(torch.zeros(20_000, 2), rng(), 0.5), drawn / 2, atol=1e-6)


def test_starting_values_are_those_of_the_data() -> None:
    x = torch.tensor([2.0, -1.0]) + torch.tensor([0.5, 3.0]) * torch.randn(4000, 2, generator=rng())
    law = Gaussian(Reals((2,)))
    assert torch.allclose(law.start(x), x.mean(0))
    assert torch.allclose(law.log_scale().exp(), x.std(0), rtol=0.01)
    window = Gaussian(Reals((3, 2)))
    window.start(x[:3999].view(-1, 3, 2))
    assert torch.allclose(window.log_scale().exp(), x.std(0), rtol=0.05)
    image = Gaussian(Reals((2, 4, 5)))
    image.start(torch.randn(50, 2, 4, 5, generator=rng()))
    assert image.log_scale().shape == (2, 1, 1)
    assert float(image.log_scale().detach().abs().max()) < 0.1
    constant = Gaussian(Reals((2,)))
    constant.start(torch.ones(10, 2))
    assert bool(torch.isfinite(constant.log_prob(torch.ones(1, 2), torch.ones(1, 2))).all())


def test_categories_are_softmaxes() -> None:
    law = OneHot(ROW)
    out = torch.tensor([[0.1, 0.0, 2.0, 1.0, -1.0]])
    with torch.no_grad():
        rows = [[0.1, *a, *b] for a in ([1.0, 0.0], [0.0, 1.0]) for b in ([1.0, 0.0], [0.0, 1.0])]
        each = law.log_prob(torch.tensor(rows), out)
        assert abs(float(each[:, 1:].sum(1).exp().sum()) - 1) < 1e-5
        drawn = law.draw(out.expand(20_000, -1), rng())
        assert bool((drawn[:, 1:3].sum(1) == 1).all())
        assert bool((drawn[:, 3:].sum(1) == 1).all())
        assert abs(float(drawn[:, 2].mean()) - float(torch.softmax(out[0, 1:3], 0)[1])) < 0.015
        assert law.mean(out)[0, 1:].tolist() == [0, 1, 1, 0]
        start = law.start(drawn)
    assert torch.allclose(torch.softmax(start[1:3], 0)[1], drawn[:, 2].mean(), atol=1e-3)


@pytest.mark.parametrize("space", [BYTES, BINARY, ROW, Reals((3, 2))], ids=["bytes", "binary", "row", "window"])
def test_the_total_is_the_sum_also_over_particles(space: Reals) -> None:
    torch.manual_seed(0)
    law = likelihood(space)
    x = law.draw(torch.randn(4, *space.shape), rng())
    few, many = torch.randn(4, *space.shape), torch.randn(4, 6, *space.shape)
    assert torch.allclose(law.total(x, few), law.log_prob(x, few).flatten(1).sum(1), atol=1e-4)
    assert torch.allclose(law.total(x[:, None], many), law.log_prob(x[:, None], many).flatten(2).sum(2), atol=1e-4)
    assert bool((law.excess(x, few) >= 0).all())


def test_binarising_keeps_the_mean_and_leaves_binary_items_alone() -> None:
    law = likelihood(BYTES, binarise=True)
    grey = torch.tensor([-0.5, 0.0, 0.5, 1.0]).view(1, 1, 2, 2).expand(20_000, -1, -1, -1)
    seen = law.look(grey, rng())
    assert set(seen.unique().tolist()) == {-1.0, 1.0}
    assert torch.allclose(seen.mean(0), grey[0], atol=0.03)
    assert torch.equal(law.look(seen, rng()), seen)


def test_numbers_are_moved_to_their_levels() -> None:
    law = likelihood(BYTES)
    assert law.settle(torch.tensor([-3.0, -0.3, 0.2, 0.9])).tolist() == [-1.0, -0.5, 0.0, 1.0]
    assert likelihood(Reals((4,))).settle(torch.tensor([7.3])).tolist() == pytest.approx([7.3])
