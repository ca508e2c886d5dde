"""Judgements as the signal of alignment: pairs for DPO, a reward model on the generator's own steps for the others."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

import likely
from likely.align.encoding import items_of, pairs_of, readable
from likely.align.preference import Candidate, Comparison, Item, Judgements
from likely.align.reward import RewardModel, fit_reward
from likely.align.states import Steps
from likely.codecs.text import Text
from likely.errors import DataError, LikelyError, Mismatch, OptionError, Unsupported

WORDS = ("aba", "abb", "baa", "bab", "bba", "aab")


@pytest.fixture(scope="module", params=["transformer", "lstm"])
def writer(request: pytest.FixtureRequest) -> likely.Generator:
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abc"), 6)) for _ in range(200)]
    sizes = {"width": 16, "depth": 1} | ({"heads": 2} if request.param == "transformer" else {})
    return likely.fit(texts, family=request.param, codec=Text(tokens="characters"), steps=40, batch=32, seed=0,
                      progress=False, **sizes)  # fmt: skip


@pytest.fixture(scope="module")
def table() -> likely.Generator:
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"town": rng.choice(["Ulm", "Bonn", "Kiel"], 200), "pet": rng.choice(["cat", "dog"], 200)})
    return likely.fit(frame, family="masked", minutes=0.03, seed=0, progress=False, width=16, hidden=16, embedding=4)


def judged(contents: list[str], worth: Any, media: str, prompt: Any = None, n: int = 40) -> Judgements:
    """Pairs of contents, the worthier preferred; equal ones tie."""
    rng, items, said = np.random.default_rng(1), [], []
    for k in range(n):
        a, b = (contents[int(at)] for at in rng.choice(len(contents), 2, replace=False))
        item = Item(f"i{k}", prompt, (Candidate(a.encode(), media), Candidate(b.encode(), media)))
        items.append(item)
        choice = "tie" if worth(a) == worth(b) else "left" if worth(a) > worth(b) else "right"
        said.append(Comparison(item.id, tuple(item.by_id), "ann", choice))
    return Judgements(tuple(items), tuple(said))


def letters(n: int = 40) -> Judgements:
    """Texts with many a are liked."""
    rng = np.random.default_rng(3)
    texts = sorted({"".join(rng.choice(list("abc"), 6)) for _ in range(60)})
    return judged(texts, lambda text: text.count("a"), "text/plain", n=n)


def share(texts: list[str]) -> float:
    return float(np.mean([text.count("a") / max(1, len(text)) for text in texts]))


def test_a_store_of_texts_and_rows_gives_each_model_what_it_reads(table: likely.Generator) -> None:
    rows = judged([json.dumps({"town": town, "pet": "cat"}) for town in ("Ulm", "Bonn")], len, "application/json")
    rows = Judgements(
        tuple(Item(f"row {item.id}", item.prompt, item.candidates) for item in rows.items),
        tuple(Comparison(f"row {one.item}", one.shown, one.annotator, one.choice) for one in rows.comparisons),
    )
    both = letters(20).merge(rows)
    mine, notes = readable(both, ("application/json",), "table data")
    assert mine.comparisons == rows.comparisons
    assert {item.id for item in mine.items} == {item.id for item in rows.items}
    assert notes == ["20 judgements are not of table data, and were left away: 40 are."]
    assert readable(rows, ("application/json",), "table data") == (rows, [])
    assert readable(rows, ("image/png",), "images") == (rows, [])  # refused by those who read them
    better = table.align(both, method="dpo", steps=2, progress=False, report=False)
    assert better.card["alignment"][-1]["notes"][0] == notes[0]
    assert better.notes[0] == notes[0]


@pytest.mark.parametrize("method", ["dpo", "ppo"])
def test_texts_move_to_what_is_liked(writer: likely.Generator, method: str) -> None:
    options = {"samples": 32} if method == "ppo" else {"batch": 16}
    better = writer.align(letters(), method=method, steps=25, beta=0.05, rate=5e-3, progress=False, **options)
    entry = better.card["alignment"][-1]
    assert entry["judgements"]["items"] == 40
    assert 0 <= entry["judgements"]["accuracy"] <= 1
    assert entry["after"] > entry["before"]
    assert entry["reward"] == "RewardModel"
    assert share(better.sample(300, seed=1)) > share(writer.sample(300, seed=1)) + 0.05


@pytest.mark.parametrize("method", ["dpo", "ppo"])
def test_rows_move_to_what_is_liked(table: likely.Generator, method: str) -> None:
    rows = [json.dumps({"town": town, "pet": pet}) for town in ("Ulm", "Bonn", "Kiel") for pet in ("cat", "dog")]
    judgements = judged(rows, lambda row: "Ulm" in row, "application/json")
    better = table.align(judgements, method=method, steps=25, beta=0.05, rate=5e-3, progress=False)
    before, after = ((one.sample(300, seed=1)["town"] == "Ulm").mean() for one in (table, better))
    assert after > before + 0.05


def test_texts_that_never_ended_can_be_judged(writer: likely.Generator) -> None:
    """They fill every step there is: with an end they would be a token too long."""
    full = writer.codec.space.length
    contents = ["a" * full, "b" * full, "ab", "ba"]
    model = fit_reward(judged(contents, lambda text: text.count("a"), "text/plain", n=30), Steps(writer))
    assert model(["a" * full])[0] > model(["b" * full])[0]
    with pytest.raises(DataError, match="longer than"):
        fit_reward(judged(["a" * (full + 1), "b"], len, "text/plain", n=30), Steps(writer))


def test_a_saved_reward_on_steps_needs_the_same_generator(writer: likely.Generator, table: Any, tmp_path: Any) -> None:
    model = fit_reward(letters(), Steps(writer))
    path = model.save(tmp_path / "taste.likely")
    assert RewardModel.load(path, writer)(list(WORDS)) == model(list(WORDS))
    other = RewardModel.load(path, writer)
    other.features.width -= 1  # type: ignore[attr-defined]  # as one of a version that saw less
    with pytest.raises(Mismatch, match="Fit it again"):
        other(list(WORDS))
    with pytest.raises(OptionError, match="model=generator"):
        RewardModel.load(path)
    with pytest.raises(Mismatch, match="another generator"):
        RewardModel.load(path, table)


def test_a_reward_of_words_is_a_signal(writer: likely.Generator) -> None:
    model = fit_reward(letters(), "words")
    better = writer.align(model, steps=2, progress=False, samples=32)
    assert better.card["alignment"][-1]["reward"] == "RewardModel"


def test_pairs_are_encoded_with_ties_and_prompts(writer: likely.Generator) -> None:
    judgements = judged(["aab", "aba", "bbb"], lambda text: text.count("a"), "text/plain", prompt="ab", n=20)
    pairs = pairs_of(judgements.pairs(), writer.codec, writer.family)
    assert set(pairs.share.tolist()) == {0.0, 0.5, 1.0}
    assert len(pairs.left.x) == 20
    made = writer.codec.give(writer.codec.make(pairs.left.x, rng=torch.Generator()))
    assert all(text.startswith("ab") for text in made)


def test_what_cannot_be_encoded_is_refused(writer: likely.Generator, table: likely.Generator) -> None:
    picture = judged(["a", "b", "c"], len, "image/png", n=12)
    with pytest.raises(Unsupported, match="image/png"):
        writer.align(picture, method="dpo", progress=False)
    with pytest.raises(Unsupported, match="text/plain"):
        table.align(letters(), method="dpo", progress=False)
    for content in ("[1]", '{"town": {"x": 1}}', "no JSON"):
        with pytest.raises(DataError, match="candidate"):
            items_of(table.codec, [Candidate(content.encode(), "application/json")], [None])
    long = judged(["a" * 50, "b" * 60], len, "text/plain", n=12)
    with pytest.raises(DataError, match="longer than"):
        writer.align(long, method="dpo", progress=False)
    with pytest.raises(DataError, match="at least 10"):
        writer.align(letters(6), method="dpo", progress=False)
    with pytest.raises(LikelyError, match="judged pairs"):
        writer.align(Judgements(), method="ppo", progress=False)


def test_families_without_steps_follow_judgements_by_what_their_codec_measures(tmp_path: Any) -> None:
    """What `fit` takes by default for tables; nothing has to be known of policies."""
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"age": rng.normal(50, 10, 300).round(1), "pet": rng.choice(["cat", "dog"], 300)})
    trees = likely.fit(frame, seed=0, progress=False)
    rows = [json.dumps({"age": age, "pet": pet}) for age in range(30, 70, 3) for pet in ("cat", "dog")]
    older = judged(rows, lambda row: json.loads(row)["age"], "application/json", n=60)
    better = trees.align(older, items=400, progress=False)
    entry = better.card["alignment"][-1]
    assert entry["method"] == "best_of"
    assert entry["judgements"]["accuracy"] > 0.9
    assert better.sample(300, seed=1)["age"].mean() > trees.sample(300, seed=1)["age"].mean() + 5
    with pytest.raises(Unsupported, match="method='best_of'"):
        trees.align(older, method="dpo", progress=False)
    model = fit_reward(older, Steps(trees))
    path = model.save(tmp_path / "older.likely")
    assert RewardModel.load(path, trees)(frame) == model(frame)


def test_texts_with_conditions_follow_judgements(writer: likely.Generator) -> None:
    assert writer.evidence is not None
    texts = writer.codec.give(writer.evidence.train)
    known = ["many" if text.count("a") > 2 else "few" for text in texts]
    told = likely.fit(texts, family="lstm", codec=Text(tokens="characters"), given=known, steps=40, batch=32, width=16,
                      depth=1, progress=False)  # fmt: skip
    better = told.align(letters(), steps=25, beta=0.05, rate=5e-3, samples=32, progress=False)
    assert better.card["alignment"][-1]["after"] > better.card["alignment"][-1]["before"]
    with pytest.raises(Unsupported, match="method='ppo'"):
        told.align(letters(), method="dpo", progress=False)
