"""A copier must be caught, fresh rows must pass, and intervals must hold the truth."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from likely.evaluate import privacy
from likely.evaluate.columns import Rows, read
from likely.evaluate.distance import Metric, nearest
from tests.evaluate.toys import patients

N = 700


@pytest.fixture(scope="module")
def tables() -> dict[str, Rows]:
    train, fresh, other = patients(N, 0), patients(N, 1), patients(N, 2)
    noisy = train.with_columns(pl.col("pressure") + 0.05)  # copied people, a little disguised
    (a, b, c), d, _ = read([train, fresh, other], noisy)
    return {"train": a, "fresh": b, "other": c, "noisy": d}


def attack(tables: dict[str, Rows], made: str) -> privacy.Attack:
    metric = Metric(Rows(tables["train"].columns, np.concatenate([tables["train"].x, tables["fresh"].x])))
    return privacy.attack(*(metric.features(tables[name]) for name in ("train", "fresh", made)))


def near(tables: dict[str, Rows], made: str) -> privacy.Rate:
    metric = Metric(tables["train"])
    train, fresh, new = (metric.features(tables[name]) for name in ("train", "fresh", made))
    return privacy.near_copies(privacy.Distances(nearest(new, train)[0], nearest(fresh, train)[0]))


def test_a_copier_is_caught_by_every_test(tables: dict[str, Rows]) -> None:
    found = attack(tables, "train")
    assert found.membership.value > 0.98
    assert found.dcr > 0.98
    rate = privacy.copies(tables["train"], tables["fresh"], tables["train"])
    assert rate.made == 1
    assert rate.excess[0] > 0.9
    assert near(tables, "train").excess[0] > 0.9


def test_disguised_copies_escape_equality_but_not_distance(tables: dict[str, Rows]) -> None:
    # the tenth whose pressure is missing stays undisguised
    assert privacy.copies(tables["train"], tables["fresh"], tables["noisy"]).made < 0.15
    assert attack(tables, "noisy").membership.interval[0] > 0.9
    assert near(tables, "noisy").excess[0] > 0.5


def test_fresh_rows_pass(tables: dict[str, Rows]) -> None:
    found = attack(tables, "other")
    low, high = found.membership.interval
    assert low - 0.02 < 0.5 < high + 0.02
    assert abs(found.dcr - 0.5) < 0.06
    assert privacy.copies(tables["train"], tables["fresh"], tables["other"]).excess[0] <= 0.001
    assert near(tables, "other").excess[0] <= 0.005


def test_attack_wants_equally_many_rows(tables: dict[str, Rows]) -> None:
    features = Metric(tables["train"]).features(tables["train"])
    with pytest.raises(ValueError, match="equally many"):
        privacy.attack(features, features[:-1], features)


def test_interval_of_a_difference_by_the_paper() -> None:
    # Newcombe 1998, table II, example (a), method 10: 56/70 against 48/80 -> 0.0524 to 0.3339
    found = privacy.rate(np.arange(70) < 56, np.arange(80) < 48)
    assert found.excess == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_fine_numbers_are_left_out_of_coarse_copies(tables: dict[str, Rows]) -> None:
    names = {tables["train"].columns[j].name for j in privacy.coarse(tables["train"])}
    assert "pressure" not in names
    assert {"age", "ward", "smoker", "died"} <= names
