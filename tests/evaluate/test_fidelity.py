"""Column shapes and pair trends: values by hand, and laws that any similarity must obey."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from likely.evaluate import fidelity
from likely.evaluate.columns import Rows, read
from tests.evaluate.toys import loosened, patients


def rows(real: dict[str, list[object]], made: dict[str, list[object]]) -> tuple[Rows, Rows]:
    (a,), b, _ = read([pl.DataFrame(real)], pl.DataFrame(made))
    return a, b


def test_shape_of_numbers_by_hand() -> None:
    real, made = np.array([1.0, 2, 3, 4]), np.array([1.0, 2, 5, np.nan])
    # distribution functions at 1, 2, 3, 4, 5: 1/4 2/4 3/4 1 1 against 1/3 2/3 2/3 2/3 1
    assert fidelity.shape(real, made, discrete=False) == pytest.approx(1 - 1 / 3)
    assert fidelity.shape(np.array([0.1 + 0.2]), np.array([0.3]), discrete=False) == 1


def test_shape_of_categories_by_hand() -> None:
    real, made = rows({"c": ["a", "a", "b", None]}, {"c": ["a", "b", "b", "new"]})
    # a 2/3 against 1/4, b 1/3 against 1/2, new 0 against 1/4
    assert fidelity.shapes(real, made)[0] == pytest.approx(1 - (5 / 12 + 1 / 6 + 1 / 4) / 2)


def test_trend_of_two_numbers_by_hand() -> None:
    real, made = rows({"x": [1.0, 2, 3], "y": [1.0, 2, 3]}, {"x": [1.0, 2, 3], "y": [3.0, 2, 1]})
    found = fidelity.trends(real, made)
    assert found.score[0] == pytest.approx(0)  # r = 1 against r = -1
    assert found.related[0]


def test_trend_of_two_categories_by_hand() -> None:
    real, made = rows(
        {"x": ["a", "a", "b", "b"], "y": ["u", "u", "v", None]}, {"x": ["a", "a", "b", "b"], "y": ["u", "v", "v", "v"]}
    )
    # (a,u) 1/2, (b,v) 1/4, (b,missing) 1/4 against (a,u) 1/4, (a,v) 1/4, (b,v) 1/2
    assert fidelity.trends(real, made).score[0] == pytest.approx(1 - (1 / 4 + 1 / 4 + 1 / 4 + 1 / 4) / 2)


def test_trend_of_a_number_and_a_category_bins_over_the_real_range() -> None:
    real, made = rows({"x": [0.0, 10.0], "y": ["a", "b"]}, {"x": [-5.0, 99.0], "y": ["a", "b"]})
    assert fidelity.trends(real, made).score[0] == 1  # beyond the range falls in the outer bins


@pytest.mark.parametrize("seed", [0, 1])
def test_a_table_is_like_itself(seed: int) -> None:
    frame = patients(300, seed)
    (real,), made, _ = read([frame], frame)
    assert (fidelity.shapes(real, made) == 1).all()
    assert np.nanmin(fidelity.trends(real, made).score) == pytest.approx(1)
    assert np.nanmin(fidelity.missing(real, made)) == 1


def test_loose_columns_keep_shapes_and_lose_trends() -> None:
    frame = patients(1500, 0)
    (real, other), made, _ = read([frame, patients(1500, 1)], loosened(frame, 2))
    assert (fidelity.shapes(real, made) == 1).all()
    joint, loose = fidelity.trends(real, other), fidelity.trends(real, made)
    assert loose.mean < joint.mean - 0.1
    assert loose.mean_related < joint.mean_related - 0.1


def test_correlation_leaves_out_rows_with_holes_pair_by_pair() -> None:
    x = np.random.default_rng(0).normal(size=(200, 2)) @ np.array([[1.0, 0.6], [0, 0.8]]) * [1e6, 1e-6] + [1e9, 0]
    holes = x.copy()
    holes[::3, 0] = np.nan
    both = ~np.isnan(holes).any(axis=1)
    assert fidelity._correlations(holes)[0, 1] == pytest.approx(np.corrcoef(x[both].T)[0, 1], abs=1e-6)


def test_a_constant_column_has_no_correlation() -> None:
    real, made = rows({"x": [1.0, 1, 1], "y": [1.0, 2, 3]}, {"x": [1.0, 1, 1], "y": [1.0, 2, 3]})
    assert math.isnan(fidelity.trends(real, made).score[0])
    assert math.isnan(fidelity.trends(real, made).mean)


values = st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(values, values)
def test_similarities_are_shares_and_symmetric(a: list[float | None], b: list[float | None]) -> None:
    x, y = (np.array([math.nan if v is None else v for v in one]) for one in (a, b))
    score = fidelity.shape(x, y, discrete=False)
    assert math.isnan(score) or 0 <= score <= 1
    assert score == pytest.approx(fidelity.shape(y, x, discrete=False), nan_ok=True)
