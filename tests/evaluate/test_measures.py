"""Areas, distances, detection, diversity, validity, utility: each against a slower or a known answer."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from likely.evaluate import detection, diversity, fidelity, utility, validity
from likely.evaluate.auroc import auroc, macro_auroc
from likely.evaluate.columns import read
from likely.evaluate.distance import Metric, nearest, reach, within
from tests.evaluate.toys import loosened, patients


def test_area_equals_the_one_of_sklearn_with_ties() -> None:
    rng = np.random.default_rng(0)
    x, truth = rng.integers(0, 8, 300).astype(float), rng.integers(0, 2, 300)
    area = auroc(x[truth == 1], x[truth == 0])
    assert area.value == pytest.approx(roc_auc_score(truth, x))
    scores = rng.random((300, 3))
    labels = rng.integers(0, 3, 300)
    each = [roc_auc_score(labels == k, scores[:, k]) for k in range(3)]
    assert macro_auroc(scores, labels) == pytest.approx(np.mean(each))


def test_the_interval_of_an_area_holds_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    truth = 0.7602  # P(N(1, 1) > N(0, 1)) = Phi(1 / sqrt 2)
    hits = 0
    for _ in range(300):
        low, high = auroc(rng.normal(1, 1, 80), rng.normal(0, 1, 60)).interval
        hits += low <= truth <= high
    assert 270 <= hits <= 297  # 95 % of 300 = 285, five standard deviations down


def test_distance_counts_disagreeing_columns() -> None:
    frame = pl.DataFrame({"c": ["a", "b", "a", None], "x": [0.0, 100.0, 0.0, None]})
    (real,), made, _ = read([frame], frame)
    to, back = nearest(Metric(real).features(real), Metric(real).features(made))
    assert (to == 0).all()
    assert (back == 0).all()
    one = Metric(real).features(real)
    assert ((one[0] - one[3]) ** 2).sum() == pytest.approx(1 + 0.75 + (1 / 3 - 0.5) ** 2, abs=1e-5)
    assert ((one[0] - one[1]) ** 2).sum() == pytest.approx(1 + (1 / 3 - 5 / 6) ** 2, abs=1e-5)


def test_nearest_rows_equal_the_plain_search(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(70, 5)).astype(np.float32), rng.normal(size=(40, 5)).astype(np.float32)
    full = np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))
    own = np.sqrt(((a[:, None] - a[None]) ** 2).sum(-1))
    monkeypatch.setattr("likely.evaluate.distance.BLOCK", 300)  # several blocks
    to_b, to_a = nearest(a, b)
    np.testing.assert_allclose(to_b, full.min(1), atol=1e-3)
    np.testing.assert_allclose(to_a, full.min(0), atol=1e-3)
    radius = reach(a, 3)
    np.testing.assert_allclose(radius, np.sort(own, axis=1)[:, 3], atol=1e-3)
    np.testing.assert_array_equal(within(a, radius, b), (full <= radius[:, None] + 1e-5).sum(1))


def test_a_classifier_cannot_tell_real_from_real_but_sees_loose_columns() -> None:
    frame = patients(1200, 0)
    (real, other), loose, _ = read([frame, patients(1200, 1)], loosened(frame, 2))
    alike, apart = detection.classifier_test(real, other, 0), detection.classifier_test(real, loose, 0)
    assert alike.interval[0] - 0.02 < 0.5 < alike.interval[1] + 0.02
    assert apart.value > 0.85
    assert detection.classifier_test(real, loose, 0) == apart  # same seed, same value


def test_coverage_and_density() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(400, 2)).astype(np.float32)
    fresh = diversity.spread(real, rng.normal(size=(400, 2)).astype(np.float32))
    assert fresh.coverage > 0.9
    assert 0.85 < fresh.density < 1.15
    # made rows that repeat the middle of the data: few balls are met, but there they fit
    crowd = diversity.spread(real, (0.3 * rng.normal(size=(400, 2))).astype(np.float32))
    assert crowd.coverage < 0.6
    assert 0.7 < crowd.density < 1.3
    # far away from everything
    assert diversity.spread(real, 50 + rng.normal(size=(400, 2)).astype(np.float32)) == (0, 0)


def test_keys_are_equal_exactly_where_rows_are() -> None:
    frame = pl.DataFrame({"x": [0.0, -0.0, None, None, 1.0, 0.0], "c": ["a", "a", "a", "a", "a", None]})
    (real,), _, _ = read([frame], frame)
    keys = diversity.keys(real)
    assert keys[0] == keys[1] != keys[4]
    assert keys[2] == keys[3] != keys[5]
    assert diversity.distinct(real) == pytest.approx(4 / 6)


def test_known_values_and_types() -> None:
    frame = pl.DataFrame({"x": [1.0, 5.0, 2.0], "c": ["a", "b", None]})
    other = pl.DataFrame({"x": [1.5, 6.0, None, 3.0], "c": ["a", "a", "a", "new"]})
    (real,), made, _ = read([frame], other)
    assert validity.known_values(real, made) == 0.25  # 6 is out of range, no x was missing, "new" is no level
    share, wrong = validity.same_types(frame, other.with_columns(pl.col("x").cast(pl.String)))
    assert share == 0.5
    assert wrong == ["'x' is String and should be Float64"]
    found = validity.checked(other, lambda rows: [["too big"] if (v or 0) > 5 else [] for v in rows["x"]])
    assert found == (0.75, [("too big", 1)])


def test_utility_of_real_rows_is_one_and_of_loose_columns_near_chance() -> None:
    frame = patients(1500, 0)
    (test, learn, again), loose, _ = read([frame, patients(1500, 1), patients(1500, 2)], loosened(frame, 3))
    died, age = 5, 0
    for j, chance in ((died, 0.5), (age, 0.0)):
        values = utility.classes(test, j)
        real, fresh, poor = (utility.forecast(one, test, j, values, 0) for one in (learn, again, loose))
        assert real is not None
        good = utility.compare(real, fresh, "it", np.random.default_rng(0))
        assert good.ratio == pytest.approx(1, abs=0.04)
        assert poor is not None
        assert abs(poor.score() - chance) < 0.12


def test_targets_end_with_the_last_column_and_skip_what_cannot_be_predicted() -> None:
    frame = patients(400, 0).with_columns(same=pl.lit("x"))
    (real,), made, _ = read([frame], frame)
    names = [column.name for column in real.columns]
    assert utility.reason_against(real, names.index("same")) == "'same' has one value only: there is nothing to predict"
    chosen = [names[j] for j in utility.targets(real, fidelity.trends(real, made))]
    assert chosen[0] == "died"
    assert len(chosen) == 3
    assert "same" not in chosen
