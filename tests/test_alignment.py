"""Generators moved by a reward: tables, texts and images by the same code, files, options, and what goes wrong."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import likely
from likely.align.rewards import Weighted
from likely.errors import ConditionError, DataError, NotFitted, OptionError, RewardError, UnknownName, Unsupported
from likely.generator import Generator

ROWS = pl.DataFrame({
    "size": np.random.default_rng(0).choice(["small", "middle", "large"], 400),
    "price": np.random.default_rng(1).normal(10, 3, 400).round(2),
})  # fmt: skip


@pytest.fixture(scope="module")
def table() -> Generator:
    return likely.fit(ROWS, family="masked", width=32, hidden=32, minutes=0.05, progress=False)


@pytest.fixture(scope="module")
def teller() -> Generator:
    texts = [f"{who} {does}" for who in ("a cat", "a dog", "an owl") for does in ("sings.", "sleeps.")] * 30
    small = {"width": 32, "depth": 1, "steps": 150, "batch": 32, "rate": 1e-2}
    return likely.fit(texts, codec="text", family="lstm", progress=False, **small)


def large(rows: pl.DataFrame) -> list[float]:
    return (rows["size"] == "large").cast(pl.Float64).to_list()


def owls(texts: Sequence[str]) -> list[float]:
    return [float("owl" in text) for text in texts]


def share(rows: pl.DataFrame, size: str = "large") -> float:
    return float((rows["size"] == size).mean())  # type: ignore[arg-type]


def test_a_table_by_ppo(table: Generator) -> None:
    better = table.align(large, beta=0.3, steps=40, rate=3e-3, progress=False)
    before, after = (share(gen.sample(1000, seed=5)) for gen in (table, better))
    assert before < 0.45
    # exp(1 / .3) = 28 times the odds: .33 becomes .93.
    assert after > 0.8
    entry = better.card["alignment"][-1]
    assert entry["after"] > entry["before"] + 0.3
    assert entry["won"] > 0.65
    assert 0.3 < entry["kl"] < 2
    assert len(entry["rows"]) == entry["steps"] == 40


def test_texts_by_grpo_and_the_start_stays(teller: Generator, tmp_path: Path) -> None:
    before = teller.sample(50, seed=3)
    better = teller.align(owls, method="grpo", beta=0.2, steps=40, rate=3e-3, progress=False)
    assert teller.sample(50, seed=3) == before
    assert np.mean(owls(better.sample(200, seed=3))) > 0.85 > np.mean(owls(before))
    better.save(tmp_path / "owls.likely")
    again = likely.load(tmp_path / "owls.likely")
    assert again.sample(20, seed=1) == better.sample(20, seed=1)
    assert again.card["alignment"][-1]["reward"] == "owls"
    twice = again.align([(owls, -1.0)], beta=0.2, steps=5, progress=False)
    assert [entry["reward"] for entry in twice.card["alignment"]] == ["owls", "-1 owls"]


def test_images_by_ppo() -> None:
    """A flow of pictures: brighter ones become likelier. Its choices are steps of a denoising."""
    draw = np.random.default_rng(0)
    pictures = np.clip(draw.normal(90, 40, (200, 1, 1)) + draw.normal(0, 10, (200, 2, 2)), 0, 255).astype(np.uint8)
    painter = likely.fit(pictures, family="flow", given=False, minutes=0.1, progress=False)

    def bright(made: Any) -> Any:
        return np.asarray(made).reshape(len(made), -1).mean(1) / 40

    better = painter.align(bright, beta=0.2, steps=12, rate=1e-3, samples=64, epochs=2, progress=False)
    entry = better.card["alignment"][-1]
    assert entry["after"] > entry["before"] + 0.3 * entry["spread before"]


def test_families_without_steps_learn_from_the_best(table: Generator) -> None:
    trees = likely.fit(ROWS, family="trees", progress=False)
    with pytest.raises(Unsupported, match="best_of"):
        trees.align(large, method="ppo", progress=False)
    better = trees.align(large, n=4, items=800, progress=False)
    assert better.card["alignment"][-1]["method"] == "best_of"
    assert better.card["alignment"][-1]["notes"] == [
        "Trees does not say how likely its steps are: best_of moved it, not ppo."
    ]
    assert better.card["alignment"][-1]["bound"] == pytest.approx(np.log(4) - 3 / 4)
    page = better.price.to_html()
    assert "At most 0.64 nats an item" in page
    assert "Reward against distance" in page
    assert share(trees.sample(500, seed=1)) < 0.45
    assert share(better.sample(500, seed=1)) == pytest.approx(1 - (2 / 3) ** 4, abs=0.08)


def test_items_are_asked_for_while_learning(table: Generator, teller: Generator) -> None:
    """Only under the wish: small ones become cheap, and nobody asked about the others."""

    def cheap(rows: pl.DataFrame) -> Any:
        assert set(rows["size"]) == {"small"}
        return -rows["price"].to_numpy() / 3

    table.align(cheap, given={"size": "small"}, beta=0.5, steps=3, progress=False)

    def sings(texts: Sequence[str]) -> list[float]:
        assert all(text.startswith("a d") for text in texts)
        return [float("sings" in text) for text in texts]

    better = teller.align(sings, given=["a d"], method="grpo", beta=0.2, steps=25, rate=3e-3, progress=False)
    made = better.fill(["a dog"] * 100, seed=0)
    assert np.mean(["sings" in text for text in made]) > 0.7
    with pytest.raises(ConditionError, match="single values"):
        table.align(large, given={"price": (5, 9)}, steps=1, progress=False)
    with pytest.raises(DataError, match="the list is empty"):
        teller.align(owls, given=[], steps=1, progress=False)


def test_rewards_that_are_none(table: Generator) -> None:
    with pytest.raises(OptionError, match="function of items"):
        table.align("large", progress=False)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="No reward was given"):
        table.align([], progress=False)

    def broken(rows: Any) -> list[float]:
        return [1.0]

    with pytest.raises(RewardError, match=r"broken gave values of shape \(1,\)"):
        table.align(broken, steps=3, progress=False)
    with pytest.raises(RewardError, match=r"KeyError|ColumnNotFound"):
        table.align(lambda rows: rows["sizee"], steps=3, progress=False)


def test_options_that_are_none(table: Generator) -> None:
    with pytest.raises(UnknownName, match="ppoo"):
        table.align(large, method="ppoo", progress=False)
    with pytest.raises(UnknownName, match="sample"):
        table.align(large, sample=9, progress=False)
    with pytest.raises(OptionError, match="beta=0"):
        table.align(large, beta=0, progress=False)
    with pytest.raises(OptionError, match="rate=nan"):
        table.align(large, rate=float("nan"), progress=False)
    with pytest.raises(OptionError, match="n and items"):
        table.align(large, method="best_of", m=4, progress=False)


def test_a_reward_that_was_changed_is_another(table: Generator, tmp_path: Path) -> None:
    """Two functions of one name, and one that closes over other values."""
    table.align(lambda rows: rows["price"].to_list(), steps=2, progress=False, report=False, checkpoint=tmp_path)
    with pytest.raises(likely.LikelyError, match="its reward is"):
        table.align(lambda rows: [-price for price in rows["price"]], steps=2, progress=False, checkpoint=tmp_path)
    one, same, other = (Weighted(by(weight)).identity for weight in (1.0, 1.0, 2.0))
    assert one == same != other
    assert Weighted(lambda rows: [len(str(row)) for row in rows]).identity.startswith("<lambda> ")
    assert Weighted(len).identity == "len"


def by(weight: float) -> Any:
    def liked(rows: Any) -> Any:
        return [weight * price for price in rows["price"]]

    return liked


def test_texts_with_labels_are_priced_without_asking_for_them(tmp_path: Path) -> None:
    """The text codec does not carry labels: what the model knows is asked with those it learned."""
    texts = [f"{who} {does}" for who in ("a cat", "a dog", "an owl") for does in ("sings", "sleeps")] * 40
    labels = ["sings" if "sings" in text else "sleeps" for text in texts]
    gen = likely.fit(texts, family="lstm", width=16, depth=1, steps=60, given=labels, progress=False)

    def long(made: Sequence[str]) -> list[int]:
        return [len(text) for text in made]

    better = gen.align(long, steps=2, progress=False)
    assert better.price["perplexity"].before is not None
    assert better.notes == []
    unknown = gen.align(long, steps=2, progress=False, holdout=["a cat sings"] * 5)
    assert "What it knows of real items was not measured" in unknown.notes[-1]
    assert unknown.card["alignment"][-1]["notes"] == unknown.notes


def test_a_run_goes_on_and_another_is_refused(table: Generator, tmp_path: Path) -> None:
    straight = table.align(large, beta=0.3, steps=6, progress=False)
    once = table.align(large, beta=0.3, steps=6, progress=False, checkpoint=tmp_path)
    again = table.align(large, beta=0.3, steps=6, progress=False, checkpoint=tmp_path)
    assert straight.sample(50, seed=1).equals(once.sample(50, seed=1))
    assert straight.sample(50, seed=1).equals(again.sample(50, seed=1))
    with pytest.raises(likely.LikelyError, match="its beta is"):
        table.align(large, beta=0.4, steps=6, progress=False, checkpoint=tmp_path)
    with pytest.raises(likely.LikelyError, match="its rate is"):
        table.align(large, beta=0.3, steps=6, rate=1e-4, progress=False, checkpoint=tmp_path)
    with pytest.raises(likely.LikelyError, match="its start is"):  # else its weights would be put into this one
        once.align(large, beta=0.3, steps=6, progress=False, checkpoint=tmp_path)


def test_the_price_is_measured_before_and_after(table: Generator, tmp_path: Path) -> None:
    """What was won is in the reward; what it cost is in the card: a table of large ones alone is told apart."""
    better = table.align(large, beta=0.1, steps=40, rate=3e-3, progress=False)
    price = better.price
    assert price["shapes"].turn == -1
    assert price["shapes"].change == pytest.approx(-0.33, abs=0.15)  # of two columns one is large throughout
    assert price["surprise"].turn == -1
    assert price["valid"].after == 1
    (x, y), *_, (far, most) = price.entry["frontier"]
    assert (x, y) == (0, pytest.approx(price.entry["before"]))
    assert most == pytest.approx(1)
    assert far == pytest.approx(np.log(1 / price.entry["before"]) ** 0.5, abs=0.01)  # KL of large ones alone
    page = price.to_html(tmp_path / "price.html")
    assert "Told apart by a classifier" in page
    assert page.count('<div class="example">') == 2
    better.save(tmp_path / "better.likely")
    again = likely.load(tmp_path / "better.likely")
    assert again.price.figures == price.figures
    assert '<div class="example">' not in again.price.to_html()  # no file holds them
    # A file holds no real rows, so that only the draws are told of, unless rows are given.
    assert {one.name for one in again.align(large, steps=1, progress=False).price.figures} < {
        one.name for one in price.figures
    }
    assert again.align(large, steps=1, progress=False, holdout=ROWS).price["c2st"].after is not None
    assert not any(
        "Report" in one.group for one in table.align(large, steps=1, report=False, progress=False).price.figures
    )


def test_without_an_alignment_there_is_no_price(table: Generator) -> None:
    with pytest.raises(NotFitted, match="not aligned"):
        _ = table.price


def test_texts_without_an_end_are_punished(teller: Generator) -> None:
    """Long ones are liked, so that the end is put off, unless that costs more."""

    def endless(texts: Sequence[str]) -> list[float]:
        return [len(text) / 3 for text in texts]

    run = {
        "method": "grpo",
        "beta": 0.1,
        "steps": 25,
        "rate": 3e-3,
        "progress": False,
        "holdout": ["a dog sings.", "an owl."],
    }
    free, bound = (teller.align(endless, missing=missing, **run).price for missing in (0.0, 20.0))  # type: ignore[arg-type]
    assert bound["ended"].after > 0.9 > 0.75 > free["ended"].after  # type: ignore[operator]
    assert bound.entry["options"]["missing"] == 20
    assert bound["perplexity"].before > 1  # type: ignore[operator]


@pytest.mark.parametrize("missing", [-1, float("nan"), float("inf"), "1", True])
def test_a_penalty_is_a_number(teller: Generator, missing: Any) -> None:
    with pytest.raises(OptionError, match="missing="):
        teller.align(owls, missing=missing, progress=False)


def test_a_penalty_is_for_texts(table: Generator) -> None:
    with pytest.raises(Unsupported, match="without an end"):
        table.align(large, missing=1.0, progress=False)
