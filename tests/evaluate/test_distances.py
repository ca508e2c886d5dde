"""Frechet and kernel distance, precision, recall, neighbours: each against a known answer."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from likely.evaluate.distance import inside, reach
from likely.evaluate.frechet import frechet, kernel
from likely.evaluate.manifold import manifold, neighbours, unit


def cloud(n: int, seed: int, features: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, features)).astype(np.float32)


def test_identical_sets_are_at_distance_zero() -> None:
    x = cloud(200, 0)
    assert frechet(x, x) == pytest.approx(0, abs=1e-9)
    assert frechet(x, x[::-1]) == pytest.approx(0, abs=1e-9)


def test_frechet_equals_the_formula_with_a_matrix_root() -> None:
    rng = np.random.default_rng(1)
    x, y = cloud(300, 2) @ rng.normal(size=(6, 6)), cloud(400, 3) @ rng.normal(size=(6, 6)) + 1
    s, t = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    expected = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s + t - 2 * sqrtm(s @ t).real)
    assert frechet(x, y) == pytest.approx(expected, rel=1e-6)
    assert frechet(x, y) == pytest.approx(frechet(y, x), rel=1e-9)


def test_frechet_of_two_normal_laws_is_the_closed_form() -> None:
    """N(0, 1) against N(mean, sd^2), independent: the sum of mean^2 + (sd - 1)^2."""
    rng = np.random.default_rng(4)
    mean, sd = np.array([0.0, 1.0, -2.0]), np.array([0.5, 1.0, 3.0])
    x, y = rng.normal(size=(200_000, 3)), rng.normal(mean, sd, (200_000, 3))
    assert frechet(x, y) == pytest.approx((mean**2 + (sd - 1) ** 2).sum(), rel=0.01)


def test_frechet_does_not_need_full_rank() -> None:
    """More features than rows: turned into the space they span, the answer is that of the wide covariances."""
    x, y = cloud(12, 5, 40).astype(np.float64), cloud(15, 6, 40).astype(np.float64)
    wide = np.concatenate([x, y])
    few = wide @ np.linalg.qr(wide.T)[0]
    assert frechet(x, y) == pytest.approx(frechet(few[:12], few[12:]), rel=1e-9)
    padded = frechet(np.pad(x, ((0, 0), (0, 3))), np.pad(y, ((0, 0), (0, 3))))
    assert frechet(x, y) == pytest.approx(padded, rel=1e-9)
    flat = np.repeat(cloud(50, 7, 1), 5, axis=1)  # five copies of one feature: rank one
    assert frechet(flat, flat) == pytest.approx(0, abs=1e-9)
    assert frechet(flat, flat + 1) == pytest.approx(5, rel=1e-6)
    with pytest.raises(ValueError, match="2 made rows"):
        frechet(x, y[:1])


def test_the_kernel_distance_has_no_bias_and_repeats() -> None:
    found = np.array(
        [kernel(cloud(60, 2 * i), cloud(60, 2 * i + 1), np.random.default_rng(0)).value for i in range(200)]
    )
    assert abs(found.mean()) < 3 * found.std() / np.sqrt(len(found))
    assert found.min() < 0 < found.max()
    x, y = cloud(300, 0), cloud(300, 1) + 0.5
    far = kernel(x, y, np.random.default_rng(3), size=100)
    assert far == kernel(x, y, np.random.default_rng(3), size=100)
    assert far.value > 5 * far.error > 0


def test_the_kernel_distance_equals_the_double_sum() -> None:
    x, y = cloud(9, 0).astype(np.float64), cloud(9, 1).astype(np.float64)
    k = lambda a, b: (a @ b / 6 + 1) ** 3  # noqa: E731
    pairs = [(i, j) for i in range(9) for j in range(9)]
    own = sum(k(x[i], x[j]) + k(y[i], y[j]) for i, j in pairs if i != j) / 72
    cross = sum(k(x[i], y[j]) for i, j in pairs) / 81
    assert kernel(x, y, np.random.default_rng(0), size=9).value == pytest.approx(own - 2 * cross, rel=1e-9)


def test_precision_and_recall_tell_what_is_wrong() -> None:
    real, fresh = cloud(500, 0, 3), cloud(500, 1, 3)
    good = manifold(real, fresh)
    assert min(good.precision, good.recall, good.coverage) > 0.9
    assert good.density == pytest.approx(1, abs=0.1)
    half = manifold(real, np.repeat(fresh[fresh[:, 0] > 0][:240], 2, axis=0))  # forgets half of the kinds
    assert half.precision > 0.9
    assert half.recall < 0.65
    assert half.coverage < 0.65
    far = manifold(real, np.concatenate([fresh[:250], fresh[250:] + 100]))  # half of it is nonsense
    assert far.precision == pytest.approx(0.5, abs=0.06)
    assert manifold(real, real.copy())[:3] == (1, 1, 1)
    with pytest.raises(ValueError, match="5 made rows"):
        manifold(real, fresh[:5])


def test_inside_equals_the_plain_search(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = cloud(70, 0), cloud(40, 1)
    monkeypatch.setattr("likely.evaluate.distance.BLOCK", 300)  # several blocks
    radius = reach(a, 2) * 0.8
    full = np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))
    expected = (full <= radius[:, None]).any(axis=0)
    assert 0 < expected.sum() < len(b)
    np.testing.assert_array_equal(inside(a, radius, b), expected)


def test_neighbours_are_even_for_one_law_and_all_foreign_for_copies() -> None:
    real, fresh = cloud(1000, 0, 4), cloud(1000, 1, 4)
    assert neighbours(real, fresh).accuracy == pytest.approx(0.5, abs=0.05)
    assert neighbours(real, real.copy()).accuracy == 0
    assert neighbours(real, fresh + 100).accuracy == 1
    noise = neighbours(real, fresh * 20)  # its own neighbours are far: nearer to real rows than to itself
    assert noise.real > 0.9
    assert noise.off > 0.3
    with pytest.raises(ValueError, match="equally many"):
        neighbours(real, fresh[:9])


def test_unit_puts_the_reference_at_the_origin_with_spread_one() -> None:
    x, y = unit(cloud(300, 0) * 7 + 3, cloud(20, 1))
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-5)
    assert (x**2).sum(axis=1).mean() == pytest.approx(1, rel=1e-4)
    assert y.shape == (20, 6)
