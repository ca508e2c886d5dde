"""The detectors one by one: each against what can be computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from likely.apps.monitor.ensemble import Ensemble
from likely.apps.monitor.margins import Margins
from likely.apps.monitor.mixture import RIDGE, Mixture
from likely.apps.monitor.neighbours import Neighbours
from likely.apps.monitor.pca import Principal, Residual
from likely.apps.monitor.scale import LIMIT, Scale
from likely.apps.monitor.still import FACTOR, SPARE, limits, runs
from likely.apps.monitor.tail import Tail
from likely.apps.monitor.view import PARTS, View
from likely.errors import OptionError, UnknownName
from tests.apps.machines import rows


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def gauss(count: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def test_the_scale_is_that_of_a_gaussian_and_wild_values_do_not_bend_it() -> None:
    x = 7 + 3 * gauss(20_000, 2).double().numpy()
    clean = Scale().fit(x)
    x[:800] = 1e6
    wild = Scale().fit(x)
    for scale in (clean, wild):
        assert np.allclose(scale.arrays["spread"], 3, rtol=0.25)
        assert np.allclose(scale.arrays["middle"], 7, atol=0.4)
    assert float(wild(np.array([[1e9, 7.0]]))[0, 0]) < LIMIT + 30


def test_a_constant_number_has_a_scale() -> None:
    scale = Scale().fit(np.full((50, 1), 4.0))
    assert scale(np.array([[4.0], [8.0]])).ravel().tolist() == [0.0, 1.0]


def test_the_nats_of_a_tail_are_those_of_the_law_that_made_the_scores() -> None:
    s = np.random.default_rng(0).exponential(2.0, 50_000)
    nats = Tail().fit(s)(torch.tensor([1.0, 4.0, 10.0, 40.0]))
    assert np.allclose(nats, [0.5, 2.0, 5.0, 20.0], rtol=0.05)


def test_contamination_does_not_stretch_the_tail() -> None:
    s = np.random.default_rng(0).exponential(2.0, 20_000)
    s[:2000] = 1e5
    assert float(Tail().fit(s)(torch.tensor([20.0]))[0]) == pytest.approx(10.0, rel=0.35)


def test_a_tail_is_monotone_and_survives_equal_scores() -> None:
    s = np.random.default_rng(1).normal(size=500)
    nats = Tail().fit(s)(torch.linspace(-5, 9, 400, dtype=torch.float64)).numpy()
    assert (np.diff(nats) >= 0).all()
    assert nats[0] == pytest.approx(0.0)
    flat = Tail().fit(np.ones(50))(torch.tensor([0.0, 1.0, 3.0]))
    assert torch.isfinite(flat).all()
    assert flat[2] > flat[1] >= flat[0]


def test_neighbours_measure_the_distance_to_the_nearest() -> None:
    part = Neighbours().fit(torch.zeros(40, 2), rng())
    score = part.score(torch.tensor([[3.0, 4.0], [30.0, 40.0]]))
    assert torch.allclose(score, torch.tensor([5.0, 50.0]).log(), atol=1e-4)
    assert torch.allclose(part.blame(torch.tensor([[3.0, 4.0]])), torch.tensor([[9.0, 16.0]]))


def test_a_row_does_not_vouch_for_itself() -> None:
    x = gauss(60, 3)
    part = Neighbours().fit(x, rng())
    assert (part.own(x) > part.score(x)).float().mean() > 0.9
    assert (part.own(x) >= part.score(x) - 1e-5).all()


def test_a_mixture_of_one_is_the_gaussian() -> None:
    x = gauss(45, 3)  # too few rows for two components
    part = Mixture().fit(x, rng())
    spread = torch.cov(x.double().T, correction=0) + RIDGE * torch.eye(3, dtype=torch.float64)
    truth = torch.distributions.MultivariateNormal(x.double().mean(0), spread).log_prob(x.double())
    assert torch.allclose(part.score(x).double(), -truth, atol=1e-4)


def test_a_wide_row_is_modelled_along_its_leading_components() -> None:
    hidden = gauss(300, 2)
    x = hidden @ gauss(2, 100, 1)
    part = Mixture().fit(x, rng())
    assert part.arrays["axes"].shape == (100, 64)
    assert part.score(3 * x).mean() > part.score(x).mean() + 1
    assert part.blame(x).shape == x.shape


def test_margins_are_the_log_of_smoothed_counts() -> None:
    x = torch.tensor([[0.0]] * 90 + [[1.0]] * 10)
    part = Margins().fit(x, rng())  # ten bins: 90 rows in the first, 10 in the last
    total = 90 * 0.75 + 90 * 0.25 + 10 * 0.25 + 10 * 0.75 + 10 * 0.5
    assert float(part.score(torch.tensor([[0.0]]))) == pytest.approx(-math.log((90 * 0.75 + 0.5) / total), abs=1e-5)
    assert float(part.score(torch.tensor([[1.0]]))) == pytest.approx(-math.log((10 * 0.75 + 0.5) / total), abs=1e-5)
    for beyond in (-0.5, 1.5):
        assert float(part.score(torch.tensor([[beyond]]))) == pytest.approx(math.log(4 * 100), abs=1e-5)


def test_what_components_can_rebuild_leaves_nothing() -> None:
    x = gauss(500, 1) @ torch.tensor([[1.0, 2.0, 2.0]])
    part = Residual().fit(x, rng())
    off = torch.tensor([[2.0, 0.0, -1.0]])  # at a right angle to all rows
    assert float(part.blame(x).max()) < 1e-6
    assert torch.allclose(part.blame(off), off.square(), atol=1e-2)


def test_a_step_in_a_direction_without_variance_is_far() -> None:
    x = gauss(500, 2) * torch.tensor([10.0, 0.1])
    part = Principal().fit(x, rng())
    along, across = part.score(torch.tensor([[5.0, 0.0], [0.0, 5.0]]))
    assert across > along + 1
    assert int(part.blame(torch.tensor([[0.0, 5.0]])).argmax()) == 1


@pytest.mark.parametrize("name", list(PARTS))
def test_every_part_ranks_what_lies_off_the_plane_higher(name: str) -> None:
    x, _ = rows(600, 0)
    new, odd = rows(400, 1, 0.25)
    scale = Scale().fit(x)
    part = PARTS[name]().fit(scale(x), rng())
    score = part.scores(scale(new)).numpy()
    better = (score[odd][:, None] > score[~odd][None]).mean()
    assert better > 0.65
    assert (part.blame(scale(new)) >= 0).all()
    assert set(part.arrays) == set(part.wants)


@pytest.mark.parametrize(("share", "size"), [(0.1, 1.0), (0.03, 0.3)], ids=["a wide cluster", "a tight cluster"])
def test_anomalies_in_the_training_rows_are_tolerated(share: float, size: float) -> None:
    """A mixture would gladly spend a component on them."""
    x, odd = rows(600, 0, share)
    new, other = rows(600, 1, 0.2)
    for part, which in ((x, odd), (new, other)):
        part[which] = np.array([2.0, -2.0, 2.0, 2.0, -2.0]) + size * rows(600, 5)[0][: int(which.sum())]
    areas = {}
    for trim in (0.0, 0.3):
        score = View(("likelihood",), trim).fit(x, rng()).score(new).total.numpy()
        areas[trim] = (score[other][:, None] > score[~other][None]).mean()
    assert areas[0.0] < 0.95
    assert areas[0.3] > 0.99


def test_the_louder_view_counts_and_blame_adds_up() -> None:
    x = np.random.default_rng(0).normal(size=(300, 8 * 2))
    made = Ensemble(8, trim=0.1).fit(x, rng())
    new = np.random.default_rng(1).normal(size=(20, 8 * 2))
    new.reshape(20, 8, 2)[:10, :, 1] += 4  # the second sensor stands too high
    nats = made.score(new)
    views = [made.views[name].score(made._seen(name, new)).total for name in ("shape", "state")]
    assert torch.equal(nats.total, torch.maximum(*views))
    share = made.blame(new)
    assert torch.allclose(share.sum(1), torch.ones(20), atol=1e-4)
    assert (share.view(20, 8, 2).sum(1).argmax(1)[:10] == 1).all()
    assert list(nats.parts) == made.parts


def test_unknown_parts_are_named() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'neighbours'"):
        View(("neighbors",), 0.1)
    with pytest.raises(OptionError, match="No parts"):
        View((), 0.1)


def test_runs_go_on_over_the_edges_of_what_arrives() -> None:
    x = np.array([[1.0, 5.0], [1.0, 6.0], [1.0, 6.0], [2.0, 6.0]])
    whole = runs(x, np.array([np.nan, np.nan]), np.zeros(2, np.int64))
    assert whole.tolist() == [[0, 0], [1, 0], [2, 1], [0, 2]]
    first = runs(x[:2], np.array([np.nan, np.nan]), np.zeros(2, np.int64))
    second = runs(x[2:], x[1], first[-1])
    assert np.concatenate([first, second]).tolist() == whole.tolist()
    assert limits([x]).tolist() == [FACTOR * 2 + SPARE, FACTOR * 2 + SPARE]
