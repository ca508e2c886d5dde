"""The laws of order, schedule and average."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likely.core import Batch, Budget, Training
from likely.train import order
from likely.train.ema import Average
from likely.train.schedule import Clock, factor


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 50), size=st.integers(1, 120), seed=st.integers(0, 2**63 - 1))
def test_every_epoch_has_every_item_once(n: int, size: int, seed: int) -> None:
    drawn = torch.cat([order.draw(step, size, n, seed) for step in range(3 * n // size + 2)])
    assert all(len(order.draw(step, size, n, seed)) == size for step in range(3))
    for epoch in drawn.split(n)[:3]:
        assert epoch.sort().values.tolist() == list(range(n))


def test_epochs_differ_and_steps_need_no_history() -> None:
    assert not torch.equal(order.draw(0, 40, 40, 5), order.draw(1, 40, 40, 5))
    assert not torch.equal(order.draw(0, 40, 40, 5), order.draw(0, 40, 40, 6))
    assert torch.equal(order.draw(1000, 7, 40, 5), order.draw(1000, 7, 40, 5))


@settings(max_examples=40, deadline=None)
@given(n=st.integers(1, 50), size=st.integers(1, 12), pool=st.integers(2, 9), seed=st.integers(0, 2**63 - 1))
def test_pools_of_like_items_see_every_item_as_often(n: int, size: int, pool: int, seed: int) -> None:
    lengths = torch.randint(1, 30, (n,), generator=torch.Generator().manual_seed(0))
    alike = order.Alike(lengths, pool, size, seed)
    for at in range(2):
        drawn = torch.stack([alike.draw(at * pool + step) for step in range(pool)])
        plain = torch.cat([order.draw(at * pool + step, size, n, seed) for step in range(pool)])
        assert drawn.flatten().sort().values.equal(plain.sort().values)
        spans = sorted((int(lengths[rows].min()), int(lengths[rows].max())) for rows in drawn)
        assert all(one[1] <= next_[0] for one, next_ in itertools.pairwise(spans))
    assert torch.equal(order.Alike(lengths, pool, size, seed).draw(pool + 1), alike.draw(pool + 1))


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 200_000), share=st.floats(0, 0.5))
def test_a_split_is_a_partition(n: int, share: float) -> None:
    learned, left = order.split(n, share, 3)
    assert torch.cat([learned, left]).sort().values.equal(torch.arange(n))
    assert len(learned) >= max(1, n // 2)
    assert len(left) <= 4096
    assert share > 0 or len(left) == 0


def test_fingerprints_tell_batches_apart() -> None:
    x, mask = torch.zeros(4, 2), torch.ones(4, 2, dtype=torch.bool)
    batches = [Batch(x), Batch(x.long()), Batch(x.view(2, 4)), Batch(x, mask=mask), Batch(x, Batch(x))]
    batches += [Batch(x, Batch(x, mask=mask)), Batch(x + 1), Batch(x.bfloat16())]
    prints = [order.fingerprint(batch) for batch in batches]
    assert len(set(prints)) == len(prints)
    assert order.fingerprint(Batch(x.clone())) == prints[0]


def test_the_rate_climbs_to_its_peak_and_falls() -> None:
    rates = [factor(step / 1000, 0.1, 1000) for step in range(1000)]
    assert all(0 < rate <= 1 for rate in rates)
    assert max(rates) == 1
    peak = rates.index(1)
    assert 95 <= peak <= 101
    assert all(a <= b for a, b in itertools.pairwise(rates[: peak + 1]))
    assert all(a >= b for a, b in itertools.pairwise(rates[101:]))
    assert rates[0] == pytest.approx(0.01)
    assert rates[-1] < 0.002
    assert factor(0.0, 0.0, 10) == 1


def test_progress_is_the_larger_share() -> None:
    clock = Clock(Budget(minutes=2), Training(steps=100))
    assert clock.progress(50, 12.0) == 0.5
    assert clock.progress(1, 60.0) == 0.5
    assert clock.progress(500, 60.0) == 1
    assert Clock(Budget(steps=10), Training()).progress(5, 1e9) == 0.5
    assert Clock(Budget(), Training(steps=10), before=7.0).elapsed() >= 7.0


def test_minutes_are_there_to_be_used_where_items_are_many() -> None:
    training = Training(steps=100, batch=50)
    assert Clock(Budget(minutes=2), training, items=1000).steps == 4000  # 200 passes
    assert Clock(Budget(minutes=2), training, items=10).steps == 100
    assert Clock(Budget(), training, items=1000).steps == 100
    assert Clock(Budget(minutes=2, steps=7), training, items=1000).steps == 7


def test_the_average_follows_its_formula_and_gives_the_weights_back() -> None:
    weights = {"w": torch.zeros(3), "n": torch.zeros((), dtype=torch.int64)}
    average, expected = Average(weights, 0.9), torch.zeros(3)
    for step in range(1, 200):
        weights["w"].copy_(torch.full((3,), float(step)))
        weights["n"] += 1
        average.update(step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    assert torch.allclose(average.tensors["w"], expected)
    with average.applied():
        assert torch.equal(weights["w"], average.tensors["w"])
    assert weights["w"].tolist() == [199.0] * 3
    assert int(average.tensors["n"]) == 199


def test_no_average_is_the_weights_themselves() -> None:
    weights = {"w": torch.zeros(3)}
    average = Average(weights, 0.0)
    average.update(1)
    with average.applied():
        assert average.final is weights
