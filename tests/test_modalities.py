"""Images, series and conditions through the same verbs as tables."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_digits

import likely
from likely.errors import ConditionError, LikelyError, Mismatch, OptionError, Unsupported
from likely.latent import arc, attribute, between, shift
from likely.learning import infer

QUICK: dict[str, Any] = {"minutes": 0.06, "progress": False}


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    x, y = load_digits(return_X_y=True)
    return (x.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8), y


@pytest.fixture(scope="module")
def writer(digits: tuple[np.ndarray, np.ndarray]) -> likely.Generator:
    return likely.fit(digits, family="vae", latent=8, width=64, depth=1, samples=4, **QUICK)


def nearest_mean(images: np.ndarray, digits: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """The digit whose mean image is nearest."""
    means = np.stack([digits[0][digits[1] == k].mean(0) for k in range(10)])
    return np.asarray(((images[:, None] - means) ** 2).sum((2, 3)).argmin(1))


def test_labels_are_conditions(writer: likely.Generator, digits: tuple[np.ndarray, np.ndarray]) -> None:
    for label in ("0", "6"):
        made = writer.sample(60, given={"label": label}, seed=0)
        assert made.shape == (60, 8, 8)
        assert made.dtype == np.uint8
        assert (nearest_mean(made, digits) == int(label)).mean() > 0.6
    each = writer.sample(40, given=["0"] * 20 + ["6"] * 20, seed=0)
    told = nearest_mean(each, digits)
    assert (told[:20] == 0).mean() > 0.5
    assert (told[20:] == 6).mean() > 0.5


def test_without_a_wish_labels_are_drawn_too(writer: likely.Generator, digits: tuple[np.ndarray, np.ndarray]) -> None:
    (part,) = writer.stream(300, seed=1)
    assert len(set(part.labels)) == 10
    assert (nearest_mean(part.pixels[..., 0], digits) == np.array(part.labels, int)).mean() > 0.5


def test_a_model_of_images_survives_its_file(
    writer: likely.Generator, digits: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    again = likely.load(writer.save(tmp_path / "digits.likely"))
    assert np.array_equal(
        writer.sample(20, given={"label": "3"}, seed=5), again.sample(20, given={"label": "3"}, seed=5)
    )
    some = digits[0][:30], digits[1][:30]
    assert np.allclose(writer.surprise(some), again.surprise(some))


def test_surprise_needs_the_labels_and_knows_a_wrong_one(
    writer: likely.Generator, digits: tuple[np.ndarray, np.ndarray]
) -> None:
    images, labels = digits[0][:200], digits[1][:200]
    right, wrong = writer.surprise((images, labels)), writer.surprise((images, (labels + 5) % 10))
    assert (wrong > right).mean() > 0.7
    each = writer.surprise((images, labels), each=True)
    assert np.allclose(sum(each.values()), right, rtol=1e-4)
    with pytest.raises(Mismatch, match="'label'"):
        writer.surprise(images)


def test_walks_in_latent_space(writer: likely.Generator, digits: tuple[np.ndarray, np.ndarray]) -> None:
    images, labels = digits
    zero, one = ((images[labels == k][:1], labels[labels == k][:1]) for k in (0, 1))
    way = between(writer, zero, one, 6, given=["0"] * 6)
    assert way.shape == (6, 8, 8)
    back = writer.restore(writer.embed(zero), given=["0"])
    assert np.abs(back.astype(float) - zero[0]).mean() < 50  # of 255: the digit comes back
    thick = images.reshape(len(images), -1).mean(1)
    order = np.argsort(thick)
    bold, thin = ((images[rows], labels[rows]) for rows in (order[-300:], order[:300]))
    direction = attribute(writer, bold, thin)
    some = images[order[800:860]], labels[order[800:860]]
    given = [str(k) for k in some[1]]
    assert (
        shift(writer, some, direction, 1.0, given=given).mean()
        > shift(writer, some, direction, -1.0, given=given).mean()
    )
    with pytest.raises(OptionError, match="2 at least"):
        between(writer, zero, one, 1)


def test_an_arc_keeps_its_distance_from_the_middle() -> None:
    a, b = np.array([3.0, 0.0]), np.array([0.0, 3.0])
    points = arc(a, b, 5)
    assert np.allclose(np.linalg.norm(points, axis=1), 3.0)
    assert np.allclose(points[[0, -1]], [a, b])
    assert np.allclose(arc(np.zeros(2), b, 3)[1], b / 2)


def test_the_report_card_of_images(writer: likely.Generator, tmp_path: Path) -> None:
    card = writer.report(n=200)
    assert card.kind != "rows"
    assert 0.4 < card["c2st"].value <= 1.0  # type: ignore[operator]
    assert writer.card["report"] is not None
    card.save(tmp_path / "page.html")
    assert "data:image/png" in (tmp_path / "page.html").read_text()
    assert "data:image/png" not in str(writer.card["report"])


def test_families_that_lack_something_name_one_that_has_it(digits: tuple[np.ndarray, np.ndarray]) -> None:
    gan = likely.fit(digits[0][:200], family="gan", width=16, depth=1, minutes=0.02, progress=False)
    assert gan.sample(3, seed=0).shape == (3, 8, 8)
    with pytest.raises(Unsupported, match="vae"):
        gan.surprise(digits[0][:3])
    with pytest.raises(Unsupported, match="vae"):
        gan.embed(digits[0][:3])
    with pytest.raises(LikelyError, match="images"):
        likely.fit(digits[0][:200], target="label", **QUICK)
    with pytest.raises(ConditionError, match="given"):
        gan.sample(2, given=["1", "2"])
    with pytest.raises(LikelyError, match="100 conditions were given for 200 items"):
        likely.fit(digits[0][:200], given=["1"] * 7 + ["2"] * 93, family="gan", **QUICK)


def test_a_table_as_reals() -> None:
    adult = likely.data.adult()[:600]
    model = likely.fit(adult, family="vae", latent=4, width=32, depth=1, samples=4, **QUICK)
    made = model.sample(50, seed=0)
    assert made.schema == adult.schema
    assert not any(model.codec.check(model.codec.read(made)))
    assert model.surprise(adult[:5]).shape == (5,)


def test_a_series_through_the_verbs(tmp_path: Path) -> None:
    t = np.arange(3000)
    start = dt.datetime(2024, 3, 1)
    frame = pl.DataFrame(
        {
            "time": [start + dt.timedelta(minutes=5 * int(i)) for i in t],
            "heat": 60 + 10 * np.sin(2 * np.pi * t / 24) + np.random.default_rng(0).normal(size=len(t)),
        }
    )
    model = likely.fit(frame, codec="series", family="vae", latent=4, width=32, depth=1, samples=4, **QUICK)
    made = model.sample(10, seed=0)
    assert isinstance(made, pl.DataFrame)
    assert "heat" in made.columns
    assert made["heat"].is_between(20, 100).all()
    again = likely.load(model.save(tmp_path / "heat.likely"))
    assert again.sample(10, seed=0).equals(made)
    assert model.report(n=60).kind != "rows"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (np.zeros((3, 4, 4)), "image"), ([np.zeros((4, 4))] * 2, "image"), (np.zeros((3, 4)), "table"),
        ("x.csv", "table"), ("x.png", "image"), (["a.png", "b.png"], "image"), ([{"a": 1}], "table"),
        ((np.zeros((3, 4, 4)), [1, 2, 3]), "image"),
    ],
)  # fmt: skip
def test_what_data_ask_for(data: Any, name: str, tmp_path: Path) -> None:
    assert infer(data) == name
    assert infer(tmp_path) == "image"
