"""The mixture and the coupling flow: densities that find the law they were fitted to."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from likely.nn import coupling
from likely.nn.coupling import Coupling
from likely.nn.mixture import Mixture, improve, ladder, start


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def three(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Points (n, 2) of three normal laws, and their log-density."""
    mean, spread = torch.tensor([[-4.0, 0.0], [3.0, 3.0], [3.0, -3.0]]), torch.tensor([0.5, 1.0, 0.7])
    place = torch.randint(3, (n,), generator=rng(seed))
    z = mean[place] + spread[place, None] * torch.randn(n, 2, generator=rng(seed + 100))
    far = (z[:, None] - mean).square().sum(2) / spread.square()
    log = -0.5 * far - 2 * spread.log() - math.log(2 * math.pi) - math.log(3)
    return z, torch.logsumexp(log, 1)


def normal(z: Tensor) -> Tensor:
    return -0.5 * z.square().sum(-1) - 0.5 * z.shape[-1] * math.log(2 * math.pi)


@pytest.mark.parametrize(("kind", "slack"), [("mixture", 1e-5), ("coupling", 0.2)])
def test_fresh_laws_are_standard_normal(kind: str, slack: float) -> None:
    law = Mixture(3, 4) if kind == "mixture" else Coupling(3)  # but for the hundredth that is wide
    z = torch.randn(5, 2, 3, generator=rng())
    assert torch.allclose(law.log_prob(z), normal(z), atol=slack)
    drawn = law.sample(8000, rng())
    assert float(drawn.detach().mean(0).abs().max()) < 0.05
    assert float((torch.cov(drawn.detach().T) - torch.eye(3)).abs().max()) < 0.07


@pytest.mark.parametrize(("kind", "slack"), [("mixture", 0.02), ("coupling", 0.35)])
def test_a_fitted_law_is_as_likely_as_the_truth(kind: str, slack: float, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    monkeypatch.setattr(coupling, "STEPS", 250)
    law = Mixture(2, 16) if kind == "mixture" else Coupling(2)
    law.fit(three(3000)[0].view(-1, 3, 2), rng=rng())
    z, truth = three(2000, seed=1)
    with torch.no_grad():
        assert float((truth - law.log_prob(z)).mean()) < slack
        # It is a density ...
        side = torch.linspace(-9, 9, 301)
        grid = torch.cartesian_prod(side, side)
        assert abs(float(law.log_prob(grid).exp().sum()) * 0.06**2 - 1) < 0.01
        # ... and its draws are as surprising to the truth as the truth's own.
        drawn = law.sample(2000, rng(2))
    assert float((drawn.mean(0) - z.mean(0)).abs().max()) < 0.3
    assert torch.equal(drawn, law.sample(2000, rng(2)).detach())


def test_the_mixture_finds_how_many_there_are() -> None:
    law = Mixture(2, 32)
    law.fit(three(3000)[0][:, None], rng=rng())
    assert int((law.weight > 0).sum()) == 4  # the rung above three
    law.fit(torch.randn(3000, 1, 2, generator=rng()), rng=rng())
    assert int((law.weight > 0).sum()) == 1
    assert ladder(9) == [1, 2, 4, 8]
    assert ladder(0) == [1]


def test_expectation_maximisation_never_falls() -> None:
    z, _ = three(600)
    first = start(z, 3, rng())
    gains = [float(torch.logsumexp(improve(first, z, rounds).joint(z), 1).mean()) for rounds in (1, 2, 4, 8, 16)]
    assert gains == sorted(gains)


@pytest.mark.parametrize(
    "z", [torch.zeros(5, 1, 2), torch.ones(1, 2, 2), torch.randn(3, 1, 2, generator=torch.Generator().manual_seed(0))]
)
@pytest.mark.parametrize("kind", ["mixture", "coupling"])
def test_few_points_or_equal_ones_do_no_harm(z: Tensor, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coupling, "STEPS", 20)
    law = Mixture(2, 8) if kind == "mixture" else Coupling(2, layers=2)
    law.fit(z, rng=rng())
    assert bool(torch.isfinite(law.log_prob(z)).all())
    assert bool(torch.isfinite(law.sample(10, rng())).all())


def test_temperature_narrows_components_not_their_places() -> None:
    law = Mixture(2, 16)
    law.fit(three(3000)[0][:, None], rng=rng())
    cold = law.sample(3000, rng(), temperature=1e-3)
    assert float(torch.cdist(cold, law.mean[law.weight > 0]).amin(1).max()) < 0.05
    assert float(cold[:, 0].std()) > 2
