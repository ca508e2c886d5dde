"""Trees: laws of the bit tree, the forest and the chain; conditions against enumeration; safe storage."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likely.core import Batch, Budget, Cells, Known
from likely.errors import ArtifactError, ConditionError, Mismatch, NotFitted
from likely.families.trees import Trees, TreesConfig
from likely.families.trees.bits import grow
from likely.families.trees.chain import find_rules
from likely.families.trees.order import choose, shared


def dependent(n: int = 3000, seed: int = 0) -> torch.Tensor:
    """Rows (n, 4): a 3-level cause, a noisy copy, an ordered 8-code number that follows it, a function of the first."""
    rng = np.random.default_rng(seed)
    a = rng.choice(3, n, p=[0.5, 0.3, 0.2])
    b = np.where(rng.random(n) < 0.8, a, rng.integers(0, 3, n))
    c = np.clip(2 * a + rng.integers(0, 4, n), 0, 7)
    return torch.from_numpy(np.stack([a, b, c, (a == 2).astype(np.int64)], 1))


SPACE = Cells((3, 3, 8, 2), (False, False, True, False))


@pytest.fixture(scope="module")
def trees() -> Trees:
    family = Trees(SPACE)
    family.fit(Batch(dependent()), Budget(), rng=torch.Generator().manual_seed(0))
    return family


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=60), st.booleans())
def test_every_code_has_one_leaf(counts: list[int], ordered: bool) -> None:
    tree = grow(np.array(counts), ordered)
    sides = tree.sides()
    assert sides.shape == (max(len(counts) - 1, 0), len(counts))
    # Two codes are told apart by exactly one question that both reach with different answers.
    for u, v in itertools.combinations(range(min(len(counts), 12)), 2):
        assert (sides[:, u] * sides[:, v] == -1).sum() == 1


def test_ordered_questions_cut_the_axis() -> None:
    sides = grow(np.arange(1, 30), ordered=True).sides()
    for question in sides:
        reached = np.flatnonzero(question)
        assert (np.diff(reached) == 1).all()
        assert (np.diff(question[reached]) != 0).sum() == 1


def test_huffman_asks_close_to_the_entropy() -> None:
    counts = np.array([512, 256, 128, 64, 32, 16, 8, 8])
    p = counts / counts.sum()
    depth = (grow(counts, ordered=False).sides() != 0).sum(0)
    assert (p * depth).sum() == pytest.approx(-(p * np.log2(p)).sum())  # dyadic: exactly the entropy


def test_probabilities_sum_to_one(trees: Trees) -> None:
    every = torch.tensor(list(itertools.product(*map(range, SPACE.sizes))))
    assert trees.log_prob(Batch(every)).exp().sum().item() == pytest.approx(1.0, abs=1e-6)


def test_samples_follow_the_likelihood(trees: Trees) -> None:
    every = torch.tensor(list(itertools.product(*map(range, SPACE.sizes))))
    p = trees.log_prob(Batch(every)).exp().numpy()
    x = trees.sample(40_000, rng=torch.Generator().manual_seed(1)).numpy()
    code = np.ravel_multi_index(x.T, SPACE.sizes)
    counts = np.bincount(code, minlength=len(p))
    expected = p * len(x)
    big = expected >= 5
    chi2 = ((counts - expected) ** 2 / np.maximum(expected, 1e-9))[big].sum()
    assert chi2 < big.sum() + 5 * np.sqrt(2 * big.sum())
    assert counts[~big].sum() < 3 * expected[~big].sum() + 30


def test_learns_more_than_margins(trees: Trees) -> None:
    fresh = dependent(2000, seed=9)
    margins = sum(
        -(p[p > 0] * np.log(p[p > 0])).sum()
        for p in (np.bincount(fresh[:, j].numpy(), minlength=s) / 2000 for j, s in enumerate(SPACE.sizes))
    )
    assert -trees.log_prob(Batch(fresh)).mean().item() < margins - 0.8


@pytest.mark.parametrize("place", [0, 1, 2])
def test_conditions_match_enumeration(trees: Trees, place: int) -> None:
    """Whatever is given, wherever in the chain, the rest follows p(rest | given)."""
    every = torch.tensor(list(itertools.product(*map(range, SPACE.sizes))))
    p = trees.log_prob(Batch(every)).exp().numpy()
    wanted = 1
    keep = (every[:, place] == wanted).numpy()
    truth = np.zeros_like(p)
    truth[keep] = p[keep] / p[keep].sum()
    mask = torch.zeros((1, 4), dtype=torch.bool)
    mask[0, place] = True
    x = torch.full((1, 4), wanted)
    n = 1_500
    done = trees.complete(Known(x.expand(n, -1), mask.expand(n, -1)), rng=torch.Generator().manual_seed(2))
    assert (done.x[:, place] == wanted).all()
    counts = np.bincount(np.ravel_multi_index(done.x.numpy().T, SPACE.sizes), minlength=len(p))
    assert np.abs(counts / n - truth).sum() / 2 < 0.09  # total variation; sampling noise is about .05


def test_soft_conditions_match_enumeration(trees: Trees) -> None:
    every = torch.tensor(list(itertools.product(*map(range, SPACE.sizes))))
    weight = torch.tensor([0.0, 0.0, 0.0, 0.5, 1.0, 1.0, 0.25, 0.0])
    p = trees.log_prob(Batch(every)).exp().numpy() * weight[every[:, 2]].numpy()
    p /= p.sum()
    n = 1_500
    known = Known(
        torch.zeros((n, 4), dtype=torch.int64), torch.zeros((n, 4), dtype=torch.bool), {2: weight.expand(n, -1)}
    )
    done = trees.complete(known, rng=torch.Generator().manual_seed(3))
    assert (weight[done.x[:, 2]] > 0).all()
    counts = np.bincount(np.ravel_multi_index(done.x.numpy().T, SPACE.sizes), minlength=len(p))
    assert np.abs(counts / n - p).sum() / 2 < 0.09


class Uniform:
    """The simplest proposal: every free cell from a uniform law."""

    def propose(self, known: Known, m: int, *, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        x = known.x[:, None].repeat(1, m, 1)
        logq = torch.zeros(x.shape[:2], dtype=torch.float64)
        for j, size in enumerate(SPACE.sizes):
            free = ~known.mask[:, j]
            x[free, :, j] = torch.randint(size, (int(free.sum()), m), generator=rng)
            logq[free] -= float(np.log(size))
        return x, logq


def test_proposals_are_weighed_to_the_conditional(trees: Trees) -> None:
    """Rows that particles hardly reach are drawn by a proposal, and still follow p(rest | given)."""
    every = torch.tensor(list(itertools.product(*map(range, SPACE.sizes))))
    p = trees.log_prob(Batch(every)).exp().numpy()
    keep = ((every[:, 2] == 6) & (every[:, 1] == 0)).numpy()
    truth = np.where(keep, p, 0) / p[keep].sum()
    needy = Trees(SPACE, config=TreesConfig(enough=1e9, particles=2, most=64)).restore(trees.tensors())
    x, mask = torch.tensor([[0, 0, 6, 0]]).expand(1500, -1), torch.tensor([[False, True, True, False]]).expand(1500, -1)
    done = needy.complete(Known(x, mask), rng=torch.Generator().manual_seed(0), proposal=Uniform())
    assert (done.x[:, 1:3] == torch.tensor([0, 6])).all()
    counts = np.bincount(np.ravel_multi_index(done.x.numpy().T, SPACE.sizes), minlength=len(p))
    assert np.abs(counts / 1500 - truth).sum() / 2 < 0.09


def test_contradiction_says_so(trees: Trees) -> None:
    x, mask = torch.tensor([[0, 0, 0, 1]]), torch.tensor([[True, False, False, True]])
    with pytest.raises(ConditionError, match="exclude each other"):
        trees.complete(Known(x, mask), rng=torch.Generator())


def test_ruled_variable_given_alone(trees: Trees) -> None:
    x, mask = torch.tensor([[0, 0, 0, 1]]).expand(50, -1), torch.tensor([[False, False, False, True]]).expand(50, -1)
    done = trees.complete(Known(x, mask), rng=torch.Generator().manual_seed(0))
    assert (done.x[:, 0] == 2).all()
    assert done.ess.isinf().all()  # said of its source instead, which is exact


def test_rules_are_found() -> None:
    source, rules = find_rules(dependent().numpy(), SPACE, [0, 1, 2, 3], 64)
    assert source.tolist() == [-1, -1, -1, 0]
    assert rules[3].tolist() == [0, 0, 1]


def test_order_puts_noise_late_and_targets_last() -> None:
    noise = torch.randint(0, 4, (3000, 1), generator=torch.Generator().manual_seed(0))
    x = torch.cat([noise, dependent()], 1).numpy()
    order = choose(x, Cells((4, *SPACE.sizes), targets=(1,)))
    assert order[-1] == 1
    assert order[-2] == 0


def test_shared_information_of_a_copy_is_its_entropy() -> None:
    a = np.random.default_rng(0).integers(0, 4, 4000)
    table = shared(np.stack([a, a, np.random.default_rng(1).integers(0, 4, 4000)], 1), Cells((4, 4, 4)))
    assert table[0, 1] == pytest.approx(table[0, 0], abs=0.01)
    assert table[0, 2] < 0.005


def test_noise_is_not_remembered() -> None:
    """Independent columns: every question is a constant, so nothing of a single row is in the model."""
    x = torch.randint(0, 6, (2000, 5), generator=torch.Generator().manual_seed(0))
    family = Trees(Cells((6,) * 5))
    family.fit(Batch(x), Budget(), rng=torch.Generator().manual_seed(0))
    assert family.chain.models.mean() < 0.05


def test_same_seed_same_bytes() -> None:
    def run() -> dict[str, torch.Tensor]:
        family = Trees(SPACE)
        family.fit(Batch(dependent(800)), Budget(), rng=torch.Generator().manual_seed(5))
        return {**family.tensors(), "x": family.sample(500, rng=torch.Generator().manual_seed(6))}

    one, two = run(), run()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_tensors_restore(trees: Trees) -> None:
    again = Trees(SPACE).restore(trees.tensors())
    draw = [family.sample(300, rng=torch.Generator().manual_seed(4)) for family in (trees, again)]
    assert torch.equal(*draw)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damaged_arrays_never_reach_the_parser(trees: Trees, data: st.DataObject) -> None:
    """Any single changed entry is refused or leads to a valid forest: never a crash, never an index out of range."""
    tensors = {name: tensor.clone() for name, tensor in trees.tensors().items()}
    name = data.draw(st.sampled_from([name for name, tensor in tensors.items() if tensor.numel()]))
    flat = tensors[name].view(-1)
    place = data.draw(st.integers(0, flat.numel() - 1))
    low, high = (-(2**15), 2**15 - 1) if flat.dtype == torch.int16 else (-(2**31), 2**31 - 1)
    if flat.dtype == torch.uint8:
        low, high = 0, 255
    flat[place] = data.draw(st.integers(low, high) | st.integers(-3, 20).filter(lambda v: low <= v <= high))
    try:
        family = Trees(SPACE).restore(tensors)
    except ArtifactError:
        return
    family.sample(20, rng=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["order", "forest.leaf", "first", "yes"])
def test_missing_or_cut_arrays_are_refused(trees: Trees, name: str) -> None:
    tensors = trees.tensors()
    with pytest.raises(ArtifactError):
        Trees(SPACE).restore({key: value for key, value in tensors.items() if key != name})
    with pytest.raises(ArtifactError):
        Trees(SPACE).restore({**tensors, name: tensors[name][:-1]})


def test_errors() -> None:
    with pytest.raises(NotFitted, match="fit"):
        Trees(SPACE).sample(1, rng=torch.Generator())
    with pytest.raises(Mismatch, match="given="):
        Trees(SPACE, given=Cells((2,)))


@pytest.mark.parametrize("sizes", [(1,), (2,), (1, 1), (5, 1, 2)])
def test_tiny_spaces(sizes: tuple[int, ...]) -> None:
    x = torch.stack([torch.arange(60) % s for s in sizes], 1)
    family = Trees(Cells(sizes), config=TreesConfig(folds=2))
    family.fit(Batch(x), Budget(), rng=torch.Generator().manual_seed(0))
    assert family.sample(10, rng=torch.Generator()).shape == (10, len(sizes))
    assert torch.isfinite(family.log_prob(Batch(x))).all()
