"""The card of windows: distances with known answers, memory caught, words that fit."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from likely.errors import DataError, Mismatch, OptionError
from likely.evaluate import windows
from likely.evaluate.arrays import Labels
from likely.evaluate.motion import gaps, motion
from likely.evaluate.report import Report
from likely.evaluate.series import evaluate_series
from tests.evaluate.clouds import sines
from tests.evaluate.test_images import check_ceiling, check_page

N = 250


@pytest.fixture(scope="module")
def fresh() -> Report:
    train, holdout, made = (sines(N, seed) for seed in range(3))
    kinds = [(x[:, 0, 0] > 0).astype(int) for x in (train, holdout, made)]
    return evaluate_series(train, holdout, made, channels=["pump", "<b>valve</b>"], labels=Labels(*kinds))


def test_fresh_windows_are_as_good_as_real_ones(fresh: Report) -> None:
    assert fresh.share == "yes"
    assert fresh.tile("true", "valid") == fresh.tile("varied") == fresh.tile("private") == "good"
    assert fresh["c2st"].value == pytest.approx(0.5, abs=0.08)
    assert fresh["discriminative"].value == pytest.approx(0, abs=0.06)
    assert fresh["predictive"].value == pytest.approx(1, abs=0.03)
    check_ceiling(fresh)
    assert {one.measure for one in fresh.curves} == {"autocorrelation", "spectrum"}


def test_the_card_speaks_of_windows(fresh: Report) -> None:
    said = fresh.answer + " ".join(row.sentence + row.title + row.floor_is for row in fresh.rows)
    assert not re.search(r"\b(rows?|tables?|columns?|images?)\b", said), said
    assert max(len(line) for line in str(fresh).splitlines()) <= 100


def test_a_memoriser_is_caught() -> None:
    train, holdout = sines(N, 0), sines(N, 1)
    exact = evaluate_series(train, holdout, train.copy(), rows=100)
    assert exact["copies"].value == 1
    near = evaluate_series(train, holdout, train + 0.02 * np.random.default_rng(0).normal(size=train.shape), rows=100)
    assert near["copies"].value == 0
    assert (near["near_copies"].value or 0) > 0.9
    assert near.share == exact.share == "no"


@pytest.mark.parametrize(
    ("spoil", "rows"),
    [
        ("shuffled moments", {"autocorrelation", "spectrum", "predictive", "c2st"}),
        ("twice as fast", {"autocorrelation", "spectrum"}),
        ("larger", {"marginal", "discriminative"}),
        ("channels apart", {"together"}),
        ("one window", {"coverage", "recall"}),
    ],
)
def test_what_is_wrong_is_named(spoil: str, rows: set[str]) -> None:
    train, holdout, x = sines(N, 0), sines(N, 1), sines(N, 2, 48)
    rng = np.random.default_rng(0)
    made = x[:, :24]
    if spoil == "shuffled moments":
        made = rng.permuted(made, axis=1)
    elif spoil == "twice as fast":
        made = x[:, ::2]
    elif spoil == "larger":
        made = made * 2
    elif spoil == "channels apart":
        made = np.stack([made[:, :, 0], made[rng.permutation(N), :, 1]], axis=2)
    else:
        made = made[:1] + 0.05 * rng.normal(size=made.shape)
    report = evaluate_series(train, holdout, made, rows=120)
    assert rows <= {row.name for row in report.rows if row.verdict == "bad"}
    assert "not like" in report.answer or "less varied" in report.answer


def test_autocorrelation_and_spectrum_of_a_known_law() -> None:
    """A stationary AR(1) has r(l) = phi^l; a sine of k cycles a window has its power at k."""
    rng, phi = np.random.default_rng(0), 0.8
    x = np.empty((4000, 30, 1))
    x[:, 0] = rng.normal(size=(4000, 1)) / np.sqrt(1 - phi**2)
    for t in range(1, 30):
        x[:, t] = phi * x[:, t - 1] + rng.normal(size=(4000, 1))
    np.testing.assert_allclose(motion(x).correlation[0, :6], phi ** np.arange(1, 7), atol=0.03)
    t = np.arange(32)
    wave = np.sin(2 * np.pi * 5 * t / 32 + rng.uniform(0, 6, (200, 1)))[:, :, None]
    share = motion(wave).spectrum[0]
    assert share.sum() == pytest.approx(1)
    assert share[3:6].sum() > 0.98  # five cycles and what the taper spreads to both sides
    other = motion(np.sin(2 * np.pi * 10 * t / 32 + rng.uniform(0, 6, (200, 1)))[:, :, None])
    found = gaps(motion(wave), other)
    assert found.spectrum[0] == pytest.approx(1, abs=0.02)
    assert found.marginal[0] < 0.05  # equally high
    same = gaps(motion(x), motion(x))
    assert max(same.marginal[0], same.correlation[0], same.spectrum[0]) == 0


def test_marginal_distance_of_a_shift_is_the_shift() -> None:
    x = np.random.default_rng(0).normal(size=(500, 20, 2))
    found = gaps(motion(x), motion(x + np.array([1.0, 0.0])))
    assert found.marginal == pytest.approx([1, 0], abs=0.02)


def test_the_forecast_is_as_good_as_the_best_one() -> None:
    """AR(1) with unit noise: the best forecast is off by sqrt(2 / pi)."""
    rng = np.random.default_rng(0)
    x = np.zeros((600, 40, 1))
    for t in range(1, 40):
        x[:, t] = 0.9 * x[:, t - 1] + rng.normal(size=(600, 1))
    past, following = windows.moments(x[300:], rng)
    error = windows.Forecaster(x[:300], rng).error(past, following)
    assert error == pytest.approx(np.sqrt(2 / np.pi), rel=0.05)
    assert np.abs(following).mean() > 1.5 * error


def test_averaging_keeps_the_mean_and_short_windows() -> None:
    x = np.random.default_rng(0).normal(size=(7, 100, 3))
    small = windows.pooled(x, 60).reshape(7, 20, 3)
    np.testing.assert_allclose(small[:, 0], x[:, :5].mean(axis=1))
    np.testing.assert_array_equal(windows.pooled(x, 10_000), x.reshape(7, -1))


def test_json_and_pages(fresh: Report) -> None:
    text = json.dumps(fresh.to_dict(), allow_nan=False)
    again = Report.from_dict(json.loads(text))
    assert again == Report.from_dict(fresh.to_dict())
    assert len(text) < 25_000
    assert "pictures" not in fresh.to_dict()
    check_page(again.to_html())
    assert "Does it remember?" in again.to_html()
    for show in ("made", "real", "nearest"):
        page = fresh.to_html(show=show)  # type: ignore[arg-type]
        check_page(page)
        assert page.count('<figure class="sheet') == {"made": 1, "real": 2, "nearest": 4}[show]
        assert "<b>valve" not in page


def test_same_seed_same_card() -> None:
    cards = [evaluate_series(sines(60, 0), sines(60, 1), sines(60, 2), seed=5).to_dict() for _ in range(2)]
    for card in cards:
        card.pop("seconds")
    assert cards[0] == cards[1]


def test_labels_of_made_windows_teach(fresh: Report) -> None:
    assert fresh["utility:label"].verdict == "good"
    assert (fresh["utility:label"].value or 0) > 0.9


ODD = {
    "one channel": np.random.default_rng(0).normal(size=(30, 12)),
    "four moments": np.random.default_rng(0).normal(size=(30, 4, 2)),
    "constant": np.ones((30, 10, 2)),
    "one channel constant": np.concatenate(
        [np.ones((30, 10, 1)), np.random.default_rng(0).normal(size=(30, 10, 1))], 2
    ),
    "whole numbers": np.random.default_rng(0).integers(0, 3, (30, 10, 2)),
    "huge": np.random.default_rng(0).normal(size=(30, 10, 1)) * 1e12,
    "many channels": np.random.default_rng(0).normal(size=(30, 8, 40)),
}


@pytest.mark.parametrize("name", ODD)
def test_no_window_is_too_odd(name: str) -> None:
    x = ODD[name]
    report = evaluate_series(x[:20], np.roll(x, 3, 0), x)
    json.dumps(report.to_dict(), allow_nan=False)
    check_page(report.to_html(show="nearest"))
    assert str(report)


def test_wrong_calls_are_explained() -> None:
    x = sines(40, 0)
    with pytest.raises(DataError, match="at least 4"):
        evaluate_series(x[:, :3], x[:, :3], x[:, :3])
    with pytest.raises(Mismatch, match="one size"):
        evaluate_series(x, x, x[:, :20])
    with pytest.raises(OptionError, match="channels are named"):
        evaluate_series(x, x, x, channels=["a"])
    with pytest.raises(DataError, match="needs 20"):
        evaluate_series(x, x[:3], x)
    with pytest.raises(DataError, match="numbers"):
        evaluate_series(x, x, np.array([["a"]]))
    assert evaluate_series(None, x, sines(40, 1)).share == "not measured"


def test_windows_with_holes_are_left_out_and_counted() -> None:
    made = sines(100, 2)
    made[:10, 3] = np.nan
    report = evaluate_series(sines(100, 0), sines(100, 1), made)
    assert report["finite"].value == 0.9
    assert report.notes
