"""The sums of alignment against sums done by hand."""

from __future__ import annotations

import math

import pytest
import torch

from likely.align import objective


def test_gae_is_the_hand_sum() -> None:
    """Three steps, gamma .9, lambda .8; the second row has a step in the middle that was no choice."""
    reward = torch.tensor([[1.0, 0.0, 2.0], [1.0, 7.0, 2.0]])
    value = torch.tensor([[0.5, 1.0, 1.5], [0.5, 9.0, 1.5]])
    mask = torch.tensor([[True, True, True], [True, False, True]])
    got = objective.gae(reward, value, mask, 0.9, 0.8)
    last = 2.0 - 1.5
    middle = 0.0 + 0.9 * 1.5 - 1.0 + 0.9 * 0.8 * last
    first = 1.0 + 0.9 * 1.0 - 0.5 + 0.9 * 0.8 * middle
    over = 1.0 + 0.9 * 1.5 - 0.5 + 0.9 * 0.8 * last
    torch.testing.assert_close(got, torch.tensor([[first, middle, last], [over, 0.0, last]]))


def test_with_lambda_one_an_advantage_is_what_comes_less_what_was_expected() -> None:
    rng = torch.Generator().manual_seed(0)
    reward, value = torch.randn(4, 6, generator=rng), torch.randn(4, 6, generator=rng)
    mask = torch.ones(4, 6, dtype=torch.bool)
    to_come = reward.flip(1).cumsum(1).flip(1)
    torch.testing.assert_close(objective.gae(reward, value, mask, 1.0, 1.0), to_come - value)


def test_whitening_looks_at_choices_only() -> None:
    x = torch.randn(50, 7, generator=torch.Generator().manual_seed(0)) * 3 + 5
    mask = torch.rand(50, 7, generator=torch.Generator().manual_seed(1)) < 0.6
    white = objective.whiten(torch.where(mask, x, 1e6), mask)
    assert float(white[mask].mean()) == pytest.approx(0, abs=1e-5)
    assert float(white[mask].std(correction=0)) == pytest.approx(1, abs=1e-4)
    assert not white[~mask].any()
    kept = objective.whiten(x, mask, centre=False)
    assert float(kept[mask].mean()) == pytest.approx(float(x[mask].mean()), rel=1e-4)
    assert torch.equal(objective.whiten(x[:1, :1], mask[:1, :1]), torch.where(mask[:1, :1], x[:1, :1], 0.0))


def test_reductions_differ_where_lengths_do() -> None:
    x = torch.tensor([[1.0, 1.0, 1.0, 1.0], [3.0, 9.0, 9.0, 9.0]])
    mask = torch.tensor([[True] * 4, [True, False, False, False]])
    assert float(objective.mean(x, mask, "token")) == pytest.approx(7 / 5)
    assert float(objective.mean(x, mask, "sequence")) == pytest.approx(2.0)
    assert float(objective.mean(x, mask, "constant")) == pytest.approx(7 / 8)
    assert float(objective.mean(x, mask, "constant", steps=10)) == pytest.approx(7 / 20)


def test_the_clip_stops_gains_and_not_losses() -> None:
    """The gradient is that of the ratio inside the clip and where a step has gone the wrong way; else none."""
    for advantage, ratio, moves in ((1, 1.1, True), (1, 1.3, False), (1, 0.5, True), (-1, 0.7, False), (-1, 1.5, True)):
        logp = torch.tensor(math.log(ratio), requires_grad=True)
        loss = objective.clipped(logp, torch.tensor(0.0), torch.tensor(float(advantage))).loss
        loss.backward()
        assert (float(logp.grad) != 0) is moves  # type: ignore[arg-type]
    worst = objective.clipped(torch.tensor(5.0), torch.tensor(0.0), torch.tensor(-1.0), worst=3.0)
    assert float(worst.loss) == pytest.approx(3.0)
    assert math.isfinite(float(objective.clipped(torch.tensor(1e4), torch.tensor(0.0), torch.tensor(1.0)).loss))


def test_values_are_clipped_towards_the_larger_error() -> None:
    """An update that jumps beyond the clip pays as if it had stopped there, where that is dearer."""
    old, target = torch.tensor(0.0), torch.tensor(1.0)
    assert float(objective.value_loss(torch.tensor(0.1), old, target)) == pytest.approx(0.5 * 0.9**2)
    assert float(objective.value_loss(torch.tensor(1.0), old, target)) == pytest.approx(0.5 * 0.8**2)


def test_estimates_of_kl_agree_in_the_mean_and_their_gradients_do_not() -> None:
    """Over all outcomes weighed by pi: k1 and k3 are KL itself; the gradient of k2 is that of KL(pi || pi_0), that of
    k3 is that of KL(pi_0 || pi), and k1 has none."""
    weight = torch.tensor([0.3, -0.2, 0.9, 0.1], requires_grad=True)
    logp, start = weight.log_softmax(0), torch.tensor([0.1, 0.2, 0.3, 0.4]).log()
    p = logp.exp().detach()
    kl = float((p * (logp - start)).sum().detach())
    for kind in ("k1", "k3"):
        assert float((p * objective.divergence(logp, start, kind)).sum().detach()) == pytest.approx(kl, abs=1e-6)
    slopes = {
        kind: torch.autograd.grad((p * objective.divergence(logp, start, kind)).sum(), weight, retain_graph=True)[0]
        for kind in ("k1", "k2", "k3")
    }
    forth = torch.autograd.grad((logp.exp() * (logp - start)).sum(), weight, retain_graph=True)[0]
    back = torch.autograd.grad((start.exp() * (start - logp)).sum(), weight, retain_graph=True)[0]
    torch.testing.assert_close(slopes["k1"], torch.zeros(4), atol=1e-6, rtol=0)
    torch.testing.assert_close(slopes["k2"], forth)
    torch.testing.assert_close(slopes["k3"], back)


def test_groups() -> None:
    reward = torch.tensor([[1.0, 2.0, 3.0], [5.0, 5.0, 5.0]])
    spread = math.sqrt(2 / 3)
    assert objective.relative(reward, "grpo")[0].tolist() == pytest.approx([-1 / spread, 0, 1 / spread], abs=1e-3)
    assert objective.relative(reward, "dr_grpo")[0].tolist() == pytest.approx([-1, 0, 1])
    assert objective.relative(reward, "rloo")[0].tolist() == pytest.approx([1 - 2.5, 0, 3 - 1.5])
    for kind in objective.ADVANTAGES:
        assert not objective.relative(reward, kind)[1].any()


def test_preferences_at_the_start_cost_log_two() -> None:
    zero = torch.zeros(3)
    assert objective.preference(zero, zero, 0.1).tolist() == pytest.approx([math.log(2)] * 3)
    assert objective.preference(zero, zero, 0.1, share=0.7).tolist() == pytest.approx([math.log(2)] * 3)
    assert objective.preference(zero, zero, 0.1, "ipo").tolist() == pytest.approx([25.0] * 3)
    two = torch.tensor([2.0])
    assert float(objective.preference(two, two - 3, 0.5)) == pytest.approx(math.log1p(math.exp(-1.5)))
    # A tie is at its best where neither is preferred.
    assert float(objective.preference(two, two, 1.0, share=0.5)) < float(
        objective.preference(two, two - 1, 1.0, share=0.5)
    )


def test_augmented_likelihood_is_zero_at_the_optimum_only() -> None:
    start, reward = torch.tensor([0.1, 0.2, 0.7]).log(), torch.tensor([1.0, 0.0, -1.0])
    optimum = torch.log_softmax(start + reward / 0.5, 0)
    assert objective.augmented(optimum, start, reward, 0.5).tolist() == pytest.approx([0] * 3, abs=1e-9)
    assert float(objective.augmented(start, start, reward, 0.5).sum()) > 1
