"""The any-order network: its own laws, and that it learns what hangs together."""

import math

import pytest
import torch

from likely.core import Batch, Cells, Conditional, Density, Known, Policy
from likely.errors import ConditionError, OptionError, Unsupported
from likely.families.masked import Masked, MaskedConfig
from likely.testing import enumerate_cells, learn

SPACE = Cells((3, 4, 2, 5), ordered=(False, True, False, True), targets=(1,))
TINY = MaskedConfig(width=32, hidden=32, depth=1, embedding=8, dropout=0.2)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def wild(seed: int = 0) -> Masked:
    """Not trained, but far from uniform: laws must hold whatever the weights."""
    torch.manual_seed(seed)
    model = Masked(SPACE, config=TINY)
    torch.nn.init.normal_(model.head.weight, std=0.25)
    for block in model.blocks:
        torch.nn.init.normal_(block.down.weight, std=0.2)
    return model


def tv(draws: torch.Tensor, p: torch.Tensor) -> float:
    """Total variation between frequencies of codes and probabilities."""
    return float((torch.bincount(draws, minlength=len(p)) / len(draws) - p).abs().sum() / 2)


def known(mask: list[bool], x: list[int], soft: dict[int, list[float]] | None = None, n: int = 1) -> Known:
    weights = {j: torch.tensor([w]).expand(n, -1) for j, w in (soft or {}).items()}
    return Known(torch.tensor([x]).expand(n, -1), torch.tensor([mask]).expand(n, -1), weights or None)


def test_capabilities_and_refusals() -> None:
    model = wild()
    assert isinstance(model, Density)
    assert isinstance(model, Conditional)
    assert isinstance(model, Policy)
    with pytest.raises(Unsupported, match="known"):
        Masked(SPACE, given=SPACE)
    with pytest.raises(OptionError, match="width=0"):
        MaskedConfig(width=0)
    with pytest.raises(OptionError, match="dropout"):
        MaskedConfig(dropout=1.0)
    with pytest.raises(OptionError, match="temperature"):
        model.sample(1, rng=rng(), temperature=-1)
    with pytest.raises(Unsupported, match="ranges"):
        model.rollout(1, known=known([False] * 4, [0] * 4, {0: [1, 0, 0]}), rng=rng())


def test_sampling_is_the_law_it_reports() -> None:
    model, whole = wild(), enumerate_cells(SPACE)
    p = model.log_prob(Batch(whole)).exp()
    assert float(p.sum()) == pytest.approx(1, abs=1e-4)
    x = model.sample(20_000, rng=rng())
    place = torch.tensor([40, 10, 5, 1])
    assert tv((x * place).sum(1), p) < 0.03


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]])
def test_every_order_is_a_distribution(order: list[int]) -> None:
    model, whole = wild(), enumerate_cells(SPACE)
    path = model.retrace(Batch(whole))._replace(trace=torch.tensor(order).expand(len(whole), -1))
    assert float(model.score(path).logp.detach().sum(1).exp().sum()) == pytest.approx(1, abs=1e-4)


def test_rows_may_go_different_ways() -> None:
    model, x = wild(), torch.tensor([[1, 2, 0, 4], [2, 0, 1, 3]])
    orders = torch.tensor([[3, 1, 0, 2], [0, 2, 1, 3]])
    path = model.retrace(Batch(x))._replace(trace=orders)
    both = model.score(path).logp
    alone = [model.score(type(path)(*(part[i : i + 1] for part in path[:3]))).logp for i in range(2)]
    torch.testing.assert_close(both, torch.cat(alone))


def test_the_sum_kept_while_sampling_is_the_sum() -> None:
    """A walk updates its input by one row a cell; scoring from scratch must agree with the odds it drew with."""
    model = wild()
    wish = known([False, True, False, False], [0, 2, 0, 0], n=50)
    x, logq = model.propose(wish, 3, rng=rng())
    assert x.shape == (50, 3, 4)
    flat = x.reshape(-1, 4)
    assert bool((flat[:, 1] == 2).all())
    path = model.retrace(Batch(flat))
    path = path._replace(mask=path.trace != 1)
    torch.testing.assert_close(model.score(path).logp.sum(1).double(), logq.reshape(-1), atol=1e-5, rtol=0)


def test_loss_is_the_mean_over_all_orders() -> None:
    model = wild()
    x = torch.tensor([[1, 2, 0, 4]]).expand(6000, -1)
    orders = [o for o in torch.cartesian_prod(*[torch.arange(4)] * 4).tolist() if len(set(o)) == 4]
    path = model.retrace(Batch(x[:24]))._replace(trace=torch.tensor(orders))
    exact = -float(model.score(path).logp.detach().sum(1).mean())
    model.eval()
    assert float(model.loss(Batch(x)).detach()) == pytest.approx(exact, rel=0.02)


def test_evaluation_repeats_and_training_does_not() -> None:
    model, batch = wild(), Batch(enumerate_cells(SPACE))
    assert model.loss(batch).item() != model.loss(batch).item()
    state = torch.get_rng_state()
    model.eval()
    assert model.loss(batch).item() == model.loss(batch).item()
    assert bool((torch.get_rng_state() == state).all())


def test_it_starts_from_independent_columns() -> None:
    model = Masked(SPACE, config=TINY)
    torch.nn.init.zeros_(model.head.weight)
    x = torch.tensor([[0, 1, 0, 4], [0, 1, 1, 4], [2, 1, 0, 3]])
    model.loss(Batch(x))
    p = model.log_probs(Batch(x)).exp()
    assert float(p[0, 0]) == pytest.approx(2.5 / 4.5)
    assert float(p[0, 1]) == pytest.approx(3.5 / 5)
    bias = model.head.bias.clone()
    model.loss(Batch(x[:1]))
    assert torch.equal(bias, model.head.bias)  # only the first batch speaks


def test_it_learns_a_rule_in_every_direction() -> None:
    """b = a and d = 2c + noise: what is known of either side must reach the other."""
    a = torch.randint(0, 3, (2000,), generator=rng(1))
    c = torch.randint(0, 2, (2000,), generator=rng(2))
    d = 2 * c + torch.randint(0, 2, (2000,), generator=rng(3))
    x = torch.stack([a, a, c, d], 1)
    model = learn(Masked, SPACE, Batch(x), MaskedConfig(width=64, hidden=64, depth=1, embedding=8, dropout=0.0))
    for mask in ([True, False, True, False], [False, True, False, True]):
        made = model.sample(500, known=Known(x[:500], torch.tensor([mask]).expand(500, -1)), rng=rng())
        assert float((made[:, 0] == made[:, 1]).double().mean()) > 0.97
        assert float((made[:, 2] == made[:, 3] // 2).double().mean()) > 0.97
    entropy = math.log(3) + math.log(2) + math.log(2)
    assert -float(model.log_prob(Batch(x)).mean()) < entropy + 0.1


def test_one_wish_is_drawn_first_and_exactly() -> None:
    """The law of one wish on j with k decided is p(j | k) w(j), then the rest in order."""
    model, weights = wild(), torch.tensor([0.0, 1.0, 0.3, 1.0, 0.0])
    done = model.complete(known([True, False, False, False], [2, 0, 0, 0], {3: weights.tolist()}, n=20_000), rng=rng())
    assert bool(torch.isinf(done.ess).all())
    x = torch.tensor([[2, 0, 0, j] for j in range(5)])
    path = model.retrace(Batch(x))._replace(trace=torch.tensor([[0, 3, 2, 1]]).expand(5, -1))
    p = model.score(path).logp.detach()[:, 1].exp() * weights
    assert tv(done.x[:, 3], p / p.sum()) < 0.02


def test_several_wishes_are_weighted() -> None:
    """With two wishes, p(2) w(2) p(3 | 2) w(3), normalised together: what plain forward drawing gets wrong."""
    model = wild(3)
    w2, w3 = torch.tensor([1.0, 0.5]), torch.tensor([0.0, 0.0, 0.0, 0.1, 1.0])
    done = model.complete(known([False] * 4, [0] * 4, {2: w2.tolist(), 3: w3.tolist()}, n=8000), rng=rng())
    assert bool((done.ess >= 1).all())
    assert bool((done.ess <= TINY.particles + 1e-3).all())
    x = torch.tensor([[0, 0, i, j] for i in range(2) for j in range(5)])
    path = model.retrace(Batch(x))._replace(trace=torch.tensor([[2, 3, 0, 1]]).expand(10, -1))
    p = model.score(path).logp.detach()[:, :2].sum(1).exp() * (w2[:, None] * w3).flatten()
    assert tv(done.x[:, 2] * 5 + done.x[:, 3], p / p.sum()) < 0.03


def test_a_decided_cell_is_no_wish() -> None:
    done = wild().complete(known([False, False, False, True], [0, 0, 0, 4], {3: [1, 0, 0, 0, 0]}), rng=rng())
    assert int(done.x[0, 3]) == 4


class Alike:
    """Variables 0 and 2 must have the same code; 2 is never 1 where 0 is not yet done."""

    def allow(self, j: int, x: torch.Tensor, done: torch.Tensor) -> torch.Tensor | None:
        if j == 2:
            return (torch.arange(2) == x[:, :1]).double()
        if j == 0:
            return torch.tensor([[1.0, 1.0, 0.0]]).expand(len(x), -1)
        return None

    def involves(self, j: int) -> list[int]:
        return [0] if j == 2 else []


def test_a_grammar_holds() -> None:
    model = wild()
    x = model.sample(500, rng=rng(), grammar=Alike())
    assert bool((x[:, 0] == x[:, 2]).all())
    with pytest.raises(ConditionError, match="Nothing is left for variable 2"):
        model.complete(known([True, False, False, False], [2, 0, 0, 0]), rng=rng(), grammar=Alike())


def test_temperature_sharpens() -> None:
    model = wild()
    entropy = [-float(model.log_prob(Batch(model.sample(500, rng=rng(), temperature=t))).mean()) for t in (0.3, 1, 3)]
    assert entropy[0] < entropy[1] < entropy[2]


def test_rollouts_hold_what_is_known_and_score_the_rest() -> None:
    model = wild()
    path = model.rollout(200, known=known([False, True, False, False], [0, 3, 0, 0]), rng=rng())
    assert bool((path.x[:, 1] == 3).all())
    assert path.mask.sum(1).tolist() == [3] * 200
    scores = model.score(path)
    assert scores.features.shape == (200, 4, TINY.width)
    assert bool((scores.logp[~path.mask] == 0).all())
    scores.logp.sum().backward()
    assert model.code.grad is not None
    assert bool(torch.isfinite(model.code.grad).all())


def test_chunks_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = wild(), enumerate_cells(SPACE)
    whole = model.log_probs(Batch(x))
    monkeypatch.setattr("likely.families.masked.CHUNK", 7)
    torch.testing.assert_close(model.log_probs(Batch(x)), whole)
    assert len(model.sample(20, rng=rng())) == 20
