"""Judgements of images and of windows of a series move a flow; what cannot be looked at is refused by name."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

import likely
from likely.align.encoding import items_of
from likely.align.preference import Candidate, Comparison, Item, Judgements
from likely.align.reward import RewardModel, fit_reward
from likely.align.states import Steps
from likely.core import Budget
from likely.errors import DataError, Mismatch, Unsupported
from likely.train import loop

RNG = np.random.default_rng(0)
PICTURES = np.clip(RNG.normal(110, 40, (200, 1, 1)) + RNG.normal(0, 10, (200, 2, 2)), 0, 255).astype(np.uint8)
WINDOWS = RNG.normal(0, 1, (200, 1, 2)) + RNG.normal(0, 0.3, (200, 6, 2))
QUICK: dict[str, Any] = {"family": "flow", "minutes": 0.005, "progress": False}


def taught(gen: likely.Generator, steps: int = 250) -> likely.Generator:
    """Learn on for so many steps: minutes are few where the machine is busy."""
    assert gen.evidence is not None
    loop.fit(gen.family, gen.encode(gen.evidence.train), Budget(steps=steps), seed=0)
    gen.family.eval()
    return gen


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def judged(contents: list[bytes], worth: list[float], media: str, n: int = 60) -> Judgements:
    """Pairs, the worthier preferred."""
    rng, items, said = np.random.default_rng(1), [], []
    for k in range(n):
        a, b = rng.choice(len(contents), 2, replace=False).tolist()
        item = Item(f"i{k}", None, (Candidate(contents[a], media), Candidate(contents[b], media)))
        items.append(item)
        said.append(Comparison(item.id, tuple(item.by_id), "ann", "left" if worth[a] > worth[b] else "right"))
    return Judgements(tuple(items), tuple(said))


@pytest.fixture(scope="module")
def painter() -> likely.Generator:
    return taught(likely.fit(PICTURES, given=False, **QUICK))


@pytest.fixture(scope="module")
def sensor() -> likely.Generator:
    return taught(likely.fit(WINDOWS, codec="series", **QUICK))


def bright(n: int = 60) -> Judgements:
    return judged([png(one) for one in PICTURES[:80]], PICTURES[:80].mean((1, 2)).tolist(), "image/png", n)


def high() -> Judgements:
    contents = [json.dumps(one.tolist()).encode() for one in WINDOWS[:80]]
    return judged(contents, WINDOWS[:80, :, 0].mean(1).tolist(), "application/json")


def test_a_reward_sees_images_by_the_steps_that_make_them(painter: likely.Generator, tmp_path: Any) -> None:
    model = fit_reward(bright(200), Steps(painter))
    unseen = PICTURES[100:]
    assert np.corrcoef(model(unseen), unseen.mean((1, 2)))[0, 1] > 0.85
    again = RewardModel.load(model.save(tmp_path / "taste.likely"), painter)
    assert again(unseen) == model(unseen)


@pytest.mark.parametrize("method", ["ppo", "dpo"])
def test_images_move_to_what_is_liked(painter: likely.Generator, method: str) -> None:
    better = painter.align(bright(), method=method, beta=0.1, steps=15, rate=1e-3, report=False, progress=False)
    before, after = (one.sample(200, seed=2).mean() for one in (painter, better))
    assert after > before + 8  # of the 40 that images spread by
    assert b"\x89PNG" in better.price.after[0].data


@pytest.mark.parametrize("method", ["ppo", "dpo"])
def test_windows_move_to_what_is_liked(sensor: likely.Generator, method: str) -> None:
    better = sensor.align(high(), method=method, beta=0.1, steps=15, rate=1e-3, report=False, progress=False)
    before, after = (np.asarray(one.sample(200, seed=2))[..., 0].mean() for one in (sensor, better))
    assert after > before + 0.2


def test_a_vae_follows_judgements_of_images() -> None:
    """The family that images get by default: no steps, and so the best of some are learned."""
    painter = likely.fit(PICTURES, family="vae", given=False, minutes=0.05, progress=False)
    better = painter.align(bright(), items=300, minutes=0.05, report=False, progress=False)
    assert better.card["alignment"][-1]["method"] == "best_of"
    before, after = (one.sample(200, seed=2).mean() for one in (painter, better))
    assert after > before + 8


def test_what_is_no_image_and_no_window_is_refused(painter: likely.Generator, sensor: likely.Generator) -> None:
    for content in (b"no image", png(PICTURES[0])[:30]):
        with pytest.raises(DataError, match="cannot be read"):
            items_of(painter.codec, [Candidate(content, "image/png")], [None])
    huge = io.BytesIO()
    Image.new("1", (8000, 8000)).save(huge, "PNG")
    with pytest.raises(DataError, match="8,000 x 8,000"):
        items_of(painter.codec, [Candidate(huge.getvalue(), "image/png")], [None])
    for content in (b"{", b"[1, 2]", b'[["a"]]', b"[]", b"[[1], [1, 2]]"):
        with pytest.raises(DataError, match="no window"):
            items_of(sensor.codec, [Candidate(content, "application/json")], [None])
    with pytest.raises(DataError, match="different shapes"):
        items_of(sensor.codec, [Candidate(text, "application/json") for text in (b"[[1]]", b"[[1],[2]]")], [None] * 2)
    with pytest.raises(Mismatch, match="2 channels"):
        sensor.align(judged([b"[[1],[2],[3],[4],[5],[6]]", b"[[2],[2],[3],[4],[5],[6]]"], [0, 1], "application/json"),
                     progress=False)  # fmt: skip
    with pytest.raises(Unsupported, match="it takes image/png"):
        painter.align(high(), progress=False)


def test_a_model_with_conditions_takes_functions_and_judgements() -> None:
    labels = ["dark" if mean < 110 else "light" for mean in PICTURES.mean((1, 2))]
    told = taught(likely.fit((PICTURES, labels), **QUICK))
    with pytest.raises(Unsupported, match="method='ppo'"):
        told.align(bright(), method="dpo", progress=False)

    def left(images: np.ndarray) -> Any:
        return (images[:, :, 0].astype(float) - images[:, :, 1]).mean(1) / 10

    before = left(told.sample(200, given={"label": "dark"}, seed=1)).mean()
    liked = judged([png(one) for one in PICTURES[:80]], left(PICTURES[:80]).tolist(), "image/png", 120)
    for signal in (left, liked):
        better = told.align(
            signal, given={"label": "dark"}, beta=0.2, steps=10, rate=1e-3, samples=32, epochs=2, progress=False
        )
        dark = better.sample(200, given={"label": "dark"}, seed=1)
        assert left(dark).mean() > before + 0.2
        assert dark.mean() < 130  # still what was asked for
    assert better.card["alignment"][-1]["judgements"]["accuracy"] > 0.85
