"""Strengths: the maximum is one, known strengths come back, nothing explodes."""

from __future__ import annotations

import math

import numpy as np
import pytest

from likely.align.preference import Comparison, Judgements
from likely.align.ranking import _likelihood, fit, rank
from likely.errors import DataError, OptionError
from tests.align.judged import item, say


def drawn(theta: np.ndarray, nu: float, n: int, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Pairs i, j and outcomes by Davidson's probabilities."""
    rng = np.random.default_rng(seed)
    i = rng.integers(0, len(theta), n)
    j = (i + rng.integers(1, len(theta), n)) % len(theta)
    p = np.exp([theta[i], theta[j], math.log(nu) + (theta[i] + theta[j]) / 2]) if nu else np.exp([theta[i], theta[j]])
    y = (rng.random(n) > np.cumsum(p / p.sum(0), 0)).sum(0)
    return i, j, y, np.ones(n)


def test_the_gradient_is_that_of_the_likelihood_and_the_matrix_that_of_the_gradient() -> None:
    data = drawn(np.array([0.5, -0.2, 0.1]), 0.7, 60)
    x = np.array([0.3, -0.4, 0.2, -0.6])
    _, slope, curve = _likelihood(x, *data, 2.0, True)
    for k in range(4):
        step = np.eye(4)[k] * 1e-5
        up, down = (_likelihood(x + sign * step, *data, 2.0, True) for sign in (1, -1))
        assert (up[0] - down[0]) / 2e-5 == pytest.approx(slope[k], abs=1e-6)
        np.testing.assert_allclose((up[1] - down[1]) / 2e-5, -curve[k], atol=1e-6)


@pytest.mark.parametrize("nu", [0.0, 0.8])
def test_at_the_maximum_the_gradient_is_zero(nu: float) -> None:
    data = drawn(np.array([1.0, 0.0, -1.0, 0.4]), nu, 500)
    theta, tie = fit(*data, 4)
    x = np.append(theta, math.log(tie) if tie else 0.0)
    _, slope, _ = _likelihood(x, *data, 10.0, bool(nu))
    assert np.abs(slope).max() < 1e-6


@pytest.mark.parametrize("nu", [0.0, 0.8])
def test_known_strengths_come_back(nu: float) -> None:
    truth = np.array([1.2, 0.3, -0.5, -1.0])
    theta, tie = fit(*drawn(truth, nu, 40_000), 4)
    np.testing.assert_allclose(theta - theta.mean(), truth - truth.mean(), atol=0.06)
    assert tie == pytest.approx(nu, abs=0.05)


def test_two_players_by_hand() -> None:
    # a wins 6, b wins 2, 4 ties: pi_a / pi_b = (6 + 2) / (2 + 2) is not it, but the wins' ratio is: with two players
    # Davidson's three probabilities are free, so they are 6/12, 2/12, 4/12: theta = log 3, nu = 4 / sqrt(12).
    y = np.array([0] * 6 + [1] * 2 + [2] * 4)
    i, j = np.zeros(12, int), np.ones(12, int)
    theta, tie = fit(i, j, y, np.ones(12), 2, prior=1000.0)
    assert theta[0] - theta[1] == pytest.approx(math.log(3), abs=1e-3)
    assert tie == pytest.approx(4 / math.sqrt(12), abs=1e-3)


def judged(results: list[tuple[str, str, str]]) -> Judgements:
    """(left model, right model, choice) -> an item each."""
    items = [item(f"i{k}", left + right) for k, (left, right, _) in enumerate(results)]
    return Judgements(tuple(items), tuple(say(one, r[2], r[0] + r[1]) for one, r in zip(items, results, strict=True)))


def test_models_are_ranked_with_intervals() -> None:
    rng = np.random.default_rng(0)
    results = []
    for _ in range(300):
        a, b = rng.choice(list("abc"), 2, replace=False)
        strong = {"a": 1.0, "b": 0.0, "c": -1.0}
        won = rng.random() < 1 / (1 + math.exp(strong[b] - strong[a]))
        results.append((str(a), str(b), "left" if won else "right"))
    made = rank(judged(results), draws=100)
    assert [place.name for place in made.places] == ["a", "b", "c"]
    for place, truth in zip(made.places, (1.0, 0.0, -1.0), strict=True):
        assert place.low < truth < place.high
        assert place.low < place.strength < place.high
    assert made.tie == 0
    assert made.notes == ()
    assert made.win("a", "c") == pytest.approx(1 / (1 + math.exp(-2)), abs=0.08)
    assert sum(place.wins for place in made.places) == 300
    assert str(made) == str(rank(judged(results), draws=100))
    assert str(made) != str(rank(judged(results), draws=100, seed=1))
    with pytest.raises(DataError, match="'z' was not ranked"):
        made.win("a", "z")


def test_sides_do_not_matter() -> None:
    results = [("a", "b", "left"), ("a", "b", "tie"), ("b", "c", "right"), ("a", "c", "left")]
    other = {"left": "right", "right": "left", "tie": "tie"}
    one = rank(judged(results), draws=0)
    two = rank(judged([(b, a, other[c]) for a, b, c in results]), draws=0)
    assert [p.name for p in one.places] == [p.name for p in two.places]
    np.testing.assert_allclose([p.strength for p in one.places], [p.strength for p in two.places], atol=1e-9)


def test_groups_that_never_met_are_told_apart() -> None:
    made = rank(judged([("a", "b", "left"), ("a", "b", "right"), ("c", "d", "left"), ("c", "d", "right")]), draws=20)
    assert math.isnan(made.win("a", "c"))
    assert made.win("a", "b") == pytest.approx(0.5)
    assert any("2 groups (a, b; c, d)" in note for note in made.notes)
    assert all(math.isfinite(place.strength) for place in made.places)


def test_one_who_never_lost_is_strong_but_not_infinite() -> None:
    made = rank(judged([("a", "b", "left")] * 50 + [("b", "c", "left"), ("b", "c", "right")]), draws=20)
    assert made.places[0].name == "a"
    assert made.places[0].strength < 20
    assert any("never lost" in note for note in made.notes)


def test_single_candidates_by_id_and_rankings() -> None:
    q = item("q", "abc")
    made = rank(Judgements((q,), (say(q, "ranking", "abc", ranking=((1,), (0, 2))),)), by="candidate", draws=0)
    assert made.places[0].name == list(q.by_id)[1]
    assert made.places[1].strength == pytest.approx(made.places[2].strength)
    assert made.pairs == 3


def test_what_cannot_be_ranked_is_said() -> None:
    q = item("q", "ab", models="mm")
    with pytest.raises(DataError, match="by='candidate'"):
        rank(Judgements((q,), (Comparison(q.id, tuple(q.by_id), "ann", "left"),)))
    with pytest.raises(DataError, match="judge some"):
        rank(Judgements((q,), ()), by="candidate")
    with pytest.raises(OptionError, match="prior"):
        rank(Judgements((q,), ()), prior=0)
