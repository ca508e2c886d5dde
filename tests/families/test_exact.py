"""Independent columns: counts, likelihoods, conditions and steps, all against closed forms."""

import math

import pytest
import torch

from likely.core import Batch, Budget, Cells, Conditional, Density, Known, Policy
from likely.errors import ConditionError, DataError, OptionError, Unsupported
from likely.families.exact import Exact, ExactConfig
from likely.testing import enumerate_cells

SPACE = Cells((2, 3, 4), targets=(0,))
X = torch.tensor([[0, 0, 1], [0, 2, 1], [1, 0, 3], [0, 0, 1]])


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def model() -> Exact:
    family = Exact(SPACE)
    family.fit(Batch(X), Budget(), rng=rng())
    return family


class Descending:
    """Forbids codes of variable 2 above that of variable 1."""

    def allow(self, j: int, x: torch.Tensor, done: torch.Tensor) -> torch.Tensor | None:
        if j == 2:
            return ((torch.arange(4) <= x[:, 1:2]) | ~done[:, 1:2]).double()
        if j == 1:
            return ((torch.arange(3) >= x[:, 2:3]) | ~done[:, 2:3]).double()
        return None

    def involves(self, j: int) -> list[int]:
        return {1: [2], 2: [1]}.get(j, [])


def test_counts_plus_a_half(model: Exact) -> None:
    logp = model.log_probs(Batch(torch.tensor([[0, 0, 1], [1, 1, 0]])))
    wanted = torch.tensor([[3.5 / 5, 3.5 / 5.5, 3.5 / 6], [1.5 / 5, 0.5 / 5.5, 0.5 / 6]]).log()
    torch.testing.assert_close(logp, wanted)
    laplace = Exact(SPACE, config=ExactConfig(smoothing=1.0))
    laplace.fit(Batch(X), Budget(), rng=rng())
    assert float(laplace.log_probs(Batch(X))[0, 0].exp()) == pytest.approx(4 / 6)


def test_it_has_all_capabilities(model: Exact) -> None:
    assert isinstance(model, Density)
    assert isinstance(model, Conditional)
    assert isinstance(model, Policy)
    assert model.objectives() == []
    assert bool(torch.isinf(model.complete(Known(X, X == 0), rng=rng()).ess).all())


def test_temperature_is_a_power(model: Exact) -> None:
    p = model.log_probs(Batch(torch.tensor([[0, 0, 0], [1, 0, 0]])))[:, 0].exp()
    x = model.sample(20_000, rng=rng(), temperature=0.5)
    share = float(p[0] ** 2 / (p**2).sum())
    assert float((x[:, 0] == 0).double().mean()) == pytest.approx(share, abs=0.01)


def test_a_wish_reweights_its_variable(model: Exact) -> None:
    weights = torch.tensor([[0.0, 1.0, 0.25, 0.0]])
    known = Known(torch.zeros(1, 3, dtype=torch.int64), torch.zeros(1, 3, dtype=torch.bool), {2: weights})
    x = model.sample(20_000, known=known, rng=rng())
    assert set(x[:, 2].tolist()) == {1, 2}
    share = 3.5 / (3.5 + 0.25 * 0.5)
    assert float((x[:, 2] == 1).double().mean()) == pytest.approx(share, abs=0.005)


def test_a_grammar_holds_everywhere(model: Exact) -> None:
    x = model.sample(2000, rng=rng(), grammar=Descending())
    assert bool((x[:, 2] <= x[:, 1]).all())
    known = Known(torch.tensor([[0, 0, 2]]), torch.tensor([[False, False, True]]))
    x = model.sample(500, known=known, rng=rng(), grammar=Descending())
    assert x[:, 1].unique().tolist() == [2]
    with pytest.raises(ConditionError, match="Nothing is left for variable 1"):
        model.sample(5, known=Known(torch.tensor([[0, 0, 3]]), known.mask), rng=rng(), grammar=Descending())


def test_what_makes_no_sense_is_refused(model: Exact) -> None:
    none, mask = torch.zeros(1, 3, dtype=torch.int64), torch.zeros(1, 3, dtype=torch.bool)
    with pytest.raises(ConditionError, match="admits none of its 3 codes"):
        model.sample(2, known=Known(none, mask, {1: torch.zeros(1, 3)}), rng=rng())
    with pytest.raises(ConditionError, match=r"outside of 0\.\.1"):
        model.sample(2, known=Known(none + 2, ~mask), rng=rng())
    with pytest.raises(ConditionError, match=r"must be \(2, 3\)"):
        model.sample(2, known=Known(none, mask, {1: torch.ones(1, 4)}), rng=rng())
    with pytest.raises(ConditionError, match="for 5 rows"):
        model.sample(5, known=Known(X[:2], X[:2] > 9), rng=rng())
    with pytest.raises(OptionError, match="temperature"):
        model.sample(2, rng=rng(), temperature=0.0)
    with pytest.raises(DataError, match="no rows"):
        model.fit(Batch(X[:0]), Budget(), rng=rng())
    with pytest.raises(Unsupported, match="known"):
        Exact(SPACE, given=SPACE)
    with pytest.raises(OptionError, match="above 0"):
        ExactConfig(smoothing=0.0)


def test_scores_teach(model: Exact) -> None:
    """REINFORCE on the exact model: the gradient of E[log p(x)] moves mass to what is rewarded."""
    optimiser = torch.optim.SGD(model.parameters(), lr=1.0)
    for step in range(60):
        path = model.rollout(256, rng=rng(step))
        reward = (path.x[:, 1] == 1).double()
        loss = -(model.score(path).logp.sum(1) * (reward - reward.mean())).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    whole = enumerate_cells(SPACE)
    p = model.log_prob(Batch(whole)).exp()
    assert float(p.sum()) == pytest.approx(1, abs=1e-5)
    assert float(p[whole[:, 1] == 1].sum()) > 0.6


def test_uniform_before_it_learned() -> None:
    logp = Exact(SPACE).log_prob(Batch(X))
    assert logp.tolist() == pytest.approx([-math.log(24)] * 4)
