"""The card of images: the ceiling beats the floor, a memoriser is caught, real images stay out of what is passed on."""

from __future__ import annotations

import gzip
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from likely.core import Progress
from likely.errors import DataError, Mismatch, OptionError
from likely.evaluate.arrays import Labels, scaled
from likely.evaluate.features import FeatureNet, learn
from likely.evaluate.frechet import frechet
from likely.evaluate.images import evaluate_images
from likely.evaluate.report import Report
from tests.evaluate.clouds import digits

BYTES = (0.0, 255.0)
FASHION = Path(__file__).resolve().parents[3] / "shared" / "data" / "fashion_mnist" / "train-images-idx3-ubyte.gz"


def parts() -> tuple[dict[str, Any], Labels]:
    x, y = digits()
    sets = {"train": x[:700], "holdout": x[700:1100], "made": x[1100:1500]}
    return sets, Labels(y[:700], y[700:1100], y[1100:1500])


@pytest.fixture(scope="module")
def fresh() -> Report:
    sets, labels = parts()
    return evaluate_images(**sets, labels=labels, about={"model": "<b>nature</b>"}, rows=250)


@pytest.fixture(scope="module")
def copied() -> Report:
    sets, _ = parts()
    return evaluate_images(sets["train"], sets["holdout"], sets["train"][:400], features="pixels", rows=150)


def check_ceiling(report: Report) -> None:
    """In every row that has both, real items in the place of made ones score better than the floor."""
    checked = 0
    for row in report.rows:
        if row.ceiling is not None and row.floor is not None and row.best is not None:
            assert abs(row.ceiling - row.best) < abs(row.floor - row.best), row.name
            checked += 1
    assert checked > 10


def check_page(text: str) -> int:
    """Well nested, nothing run, nothing loaded but pictures inside the page. How many of those there are."""
    stack: list[str] = []
    images = 0

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            nonlocal images
            assert tag not in ("script", "link", "iframe", "object")
            assert not any(name.startswith("on") or name == "href" for name, _ in attrs)
            if tag == "img":
                images += 1
                assert (dict(attrs)["src"] or "").startswith("data:image/png;base64,")
            elif tag != "meta":
                stack.append(tag)

        def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            pass

        def handle_endtag(self, tag: str) -> None:
            assert stack.pop() == tag

    Reader().feed(text)
    assert not stack
    assert not re.search(r"https?://|url\(|@import|>nan<|\bNone\b", text)
    return images


def test_fresh_images_are_as_good_as_real_ones(fresh: Report) -> None:
    assert fresh.share == "yes"
    assert fresh.tile("true", "valid") == fresh.tile("varied") == fresh.tile("private") == "good"
    assert fresh["c2st"].value == pytest.approx(0.5, abs=0.08)
    check_ceiling(fresh)
    assert "classifier" in fresh["frechet"].title
    assert "FID" not in str(fresh)
    assert re.search(r"SHA-256 of its weights [0-9a-f]{64}", fresh.about["features"])


def test_the_card_speaks_of_images(fresh: Report, copied: Report) -> None:
    for report in (fresh, copied):
        said = report.answer + " ".join(row.sentence + row.title + row.floor_is for row in report.rows)
        assert not re.search(r"\b(rows?|tables?|columns?)\b", said), said
        assert not re.search(r"\b(made|real|training) (rows?|table)", report.to_html())
        assert max(len(line) for line in str(report).splitlines()) <= 100


def test_a_copier_is_caught(copied: Report) -> None:
    assert copied.share == "no"
    assert copied["copies"].value == copied["near_copies"].value == 1
    assert copied["membership"].verdict == "bad"
    assert copied["c2st"].verdict == copied["coverage"].verdict == "good"  # and nothing but privacy says so


def test_near_copies_are_caught_where_no_byte_is_the_same() -> None:
    sets, _ = parts()
    noise = np.random.default_rng(0).normal(0, 6, sets["train"][:400].shape)
    near = np.clip(sets["train"][:400] + noise, 0, 255).astype(np.uint8)
    report = evaluate_images(sets["train"], sets["holdout"], near, features="pixels", rows=50)
    assert report["copies"].value == 0
    assert (report["near_copies"].value or 0) > 0.9
    assert report.share == "no"


@pytest.mark.parametrize("spoil", ["blurred", "one kind", "shuffled"])
def test_bad_images_are_called_bad(spoil: str) -> None:
    sets, labels = parts()
    x, rng = sets["made"].astype(float), np.random.default_rng(0)
    if spoil == "blurred":
        made, row = (x + np.roll(x, 1, 1) + np.roll(x, 1, 2)) / 3, "frechet"
    elif spoil == "one kind":
        made, row = np.repeat(x[labels.made == 3], 12, axis=0)[:400], "coverage"
    else:
        made, row = rng.permuted(x.reshape(400, -1), axis=0).reshape(x.shape), "precision"
    report = evaluate_images(sets["train"], sets["holdout"], made.astype(np.uint8), labels=labels.train, rows=200)
    assert report[row].verdict == "bad"
    assert "not like the real ones" in report.answer
    if spoil == "one kind":
        assert report["kinds"].verdict == report["distinct"].verdict == "bad"


def test_no_picture_is_stored_and_real_images_are_shown_on_demand_only(fresh: Report, tmp_path: Path) -> None:
    text = json.dumps(fresh.to_dict(), allow_nan=False)
    assert "pictures" not in fresh.to_dict()
    assert len(text) < 20_000
    again = Report.from_dict(json.loads(text))
    assert again == Report.from_dict(fresh.to_dict())
    assert again.kind == "images"
    assert not again.pictures
    assert check_page(again.to_html()) == 0
    assert check_page(fresh.to_html()) == 1
    assert "left out of a page" in fresh.to_html()
    assert check_page(fresh.to_html(show="real")) == 2
    fresh.save(tmp_path / "card.html", show="nearest")
    page = (tmp_path / "card.html").read_text()
    assert check_page(page) == 3
    assert "left out of a page" not in page
    assert "<b>nature" not in page
    with pytest.raises(OptionError, match="nearest"):
        fresh.to_html(show="all")  # type: ignore[arg-type]


def test_same_seed_same_card_whatever_the_caller_drew() -> None:
    sets, _ = parts()
    cards = []
    for state in (0, 1):
        torch.manual_seed(state)
        before = torch.get_rng_state()
        card = evaluate_images(sets["train"][:200], sets["holdout"], sets["made"], seed=3, rows=40).to_dict()
        assert torch.equal(before, torch.get_rng_state())
        card.pop("seconds")
        cards.append(card)
    assert cards[0] == cards[1]


def test_features_are_pinned_by_images_and_seed() -> None:
    (x, y), threads = digits(), torch.get_num_threads()
    first, again = (learn(x[:200, ..., None], BYTES, y[:200], seed=1) for _ in range(2))
    assert first.digest == again.digest
    np.testing.assert_array_equal(first(x[:9, ..., None]), again(x[:9, ..., None]))
    assert learn(x[:200, ..., None], BYTES, y[:200], seed=2).digest != first.digest
    assert torch.get_num_threads() == threads
    assert first.name == "classifier"
    assert (first.classify(x[200:500, ..., None]) == y[200:500]).mean() > 0.8
    with pytest.raises(Mismatch, match="8 x 8"):
        first(np.zeros((3, 9, 9, 1), np.uint8))


def test_without_labels_turns_are_learned_and_where_none_can_be_told_the_image_itself() -> None:
    x, _ = digits()
    net = learn(x[:400, ..., None], BYTES, seed=0)
    assert net.name == "rotation"
    assert (net.accuracy or 0) > 0.7
    assert frechet(net(x[400:800, ..., None]), net(x[800:1200, ..., None])) < 5
    noise = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 1)).astype(np.uint8)
    assert learn(noise, BYTES, seed=0).name == "autoencoder"


def test_any_function_sees_and_only_inception_makes_an_fid() -> None:
    sets, _ = parts()

    def means(images: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(images.reshape(len(images), 8, 8).mean(axis=2))

    sets = {name: x[:40] for name, x in sets.items()}
    report = evaluate_images(**sets, features=means)
    assert report["frechet"].title == "Frechet distance (means)"
    x, y = (means(sets[name]).numpy() for name in ("holdout", "made"))
    assert report["frechet"].value == pytest.approx(frechet(x, y), rel=1e-4)
    means.__name__ = "inception_v3"
    assert evaluate_images(**sets, features=means)["frechet"].title == "FID (inception_v3)"
    with pytest.raises(DataError, match="feature function"):
        evaluate_images(**sets, features=lambda images: images)
    net = learn(sets["train"][..., None], BYTES, seed=0)
    assert net.digest[:8] in evaluate_images(**sets, features=net)["frechet"].title
    assert isinstance(net, FeatureNet)


def test_made_images_teach_as_well_as_their_labels_are_right(fresh: Report) -> None:
    sets, labels = parts()
    assert fresh["utility:label"].verdict == "good"
    assert (fresh["utility:label"].value or 0) > 0.85
    wrong = labels._replace(made=np.roll(np.asarray(labels.made), 1))
    report = evaluate_images(**sets, labels=wrong, rows=100)
    assert report["utility:label"].verdict == "bad"
    some = evaluate_images(**sets, labels=labels._replace(holdout=None), rows=50, features="pixels")
    assert "labels of training, hold-out and made" in some["utility:label"].sentence


def test_without_training_images_privacy_is_not_measured() -> None:
    sets, _ = parts()
    report = evaluate_images(None, sets["holdout"][:200], sets["made"], rows=60)
    assert report.share == "not measured"
    assert report["c2st"].ceiling is not None
    check_page(report.to_html(show="nearest"))


@pytest.mark.parametrize(
    ("shape", "kind"),
    [((12, 8, 3), "u1"), ((9, 16, 4), "f4"), ((5, 5, 1), "?"), ((80, 72, 3), "u1"), ((1, 6, 2), "f8")],
)
def test_images_of_many_kinds(shape: tuple[int, ...], kind: str) -> None:
    rng = np.random.default_rng(0)
    sets = [(rng.random((30, *shape)) * (1 if kind != "u1" else 255)).round(3).astype(kind) for _ in range(3)]
    report = evaluate_images(*sets)
    json.dumps(report.to_dict(), allow_nan=False)
    check_page(report.to_html(show="nearest"))


def test_blank_images_do_not_crash() -> None:
    blank = np.zeros((40, 8, 8), np.uint8)
    x, _ = digits()
    for sets in ((x[:60], x[60:120], blank), (blank, blank, blank)):
        report = evaluate_images(*sets)
        json.dumps(report.to_dict(), allow_nan=False)
        check_page(report.to_html())


def test_wrong_calls_are_explained() -> None:
    sets, _ = parts()
    train, holdout, made = sets.values()
    with pytest.raises(Mismatch, match="bring them to one size"):
        evaluate_images(train, holdout, made[:, :7])
    with pytest.raises(Mismatch, match="give both alike"):
        evaluate_images(train, holdout, made / 255)
    with pytest.raises(DataError, match="needs 20"):
        evaluate_images(train, holdout, made[:1])
    with pytest.raises(DataError, match="shape"):
        evaluate_images(train, holdout, made[0])
    with pytest.raises(DataError, match="fill the holes"):
        evaluate_images(train / 255, holdout / 255, made * np.nan)
    with pytest.raises(Mismatch, match="labels"):
        evaluate_images(train, holdout, made, labels=[1, 2])
    with pytest.raises(OptionError, match="pixels"):
        evaluate_images(train, holdout, made, features="eyes")
    with pytest.raises(OptionError, match="at least"):
        evaluate_images(train, holdout, made, rows=3)


def test_images_with_holes_are_left_out_and_counted() -> None:
    sets, labels = parts()
    real = {name: (x / 255).astype(np.float32) for name, x in sets.items()}
    real["made"][:100, 0, 0] = np.nan
    report = evaluate_images(**real, labels=labels, features="pixels", rows=60)
    assert report["finite"].value == 0.75
    assert report["finite"].verdict == "bad"
    assert "100 of the made images" in report.notes[0]
    assert (report["utility:label"].value or 0) > 0.6  # labels went with their images


def test_progress_rises_to_one() -> None:
    sets, _ = parts()
    heard: list[Progress] = []
    evaluate_images(**sets, rows=50, listen=heard.append)
    done = [one.done for one in heard]
    assert done == sorted(done)
    assert done[-1] == 1


def test_scaling_is_from_low_to_high_and_averages_whole_pixels() -> None:
    x = np.array([0, 255, 255, 0], np.uint8).reshape(1, 2, 2, 1)
    np.testing.assert_array_equal(scaled(x, BYTES).ravel(), [-1, 1, 1, -1])
    np.testing.assert_allclose(scaled(x, BYTES, 1).ravel(), [0], atol=1e-6)


@pytest.mark.skipif(not FASHION.exists(), reason="Fashion-MNIST is not on this machine")
def test_pixel_noise_that_a_classifier_forgives_is_seen() -> None:
    with gzip.open(FASHION) as file:
        x = np.frombuffer(file.read(16 + 2600 * 784), np.uint8, offset=16).reshape(-1, 28, 28)
    noisy = np.clip(x[2000:] + np.random.default_rng(0).normal(0, 25, (600, 28, 28)), 0, 255).astype(np.uint8)
    clean, spoilt = (evaluate_images(x[:600], x[1000:1600], one, rows=150) for one in (x[2000:], noisy))
    check_ceiling(clean)
    assert clean["c2st"].verdict == clean["frechet"].verdict == "good"
    assert (spoilt["frechet"].value or 0) > 2 * (clean["frechet"].value or 1)
    assert spoilt["c2st"].verdict == "bad"
