"""Texts through the same verbs as tables: in Python and on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import likely
from likely.codecs.text import Text
from likely.errors import ConditionError, DataError, LikelyError, Unsupported
from likely.learning import infer
from tests.cli.shell import run

ANIMALS, VERBS = ["cat", "dog", "owl"], ["sleeps", "sings", "eats"]
SMALL: dict[str, Any] = {
    "width": 64, "depth": 1, "heads": 2, "batch": 32, "steps": 120, "rate": 1e-2, "progress": False
}  # fmt: skip


def stories(n: int = 400, seed: int = 0) -> list[str]:
    """Each animal does what it does."""
    draw = np.random.default_rng(seed)
    kinds = draw.integers(0, 3, n)
    return [
        f"A {ANIMALS[k]} {VERBS[k]}{' and ' + VERBS[k] if d else ''}."
        for k, d in zip(kinds, draw.integers(0, 2, n), strict=True)
    ]


@pytest.fixture(scope="module")
def teller() -> likely.Generator:
    return likely.fit(stories(), codec="text", **SMALL)


def told(text: str) -> bool:
    return text in set(stories(2000))


def test_made_texts_are_like_those_learned(teller: likely.Generator) -> None:
    made = teller.sample(60, seed=0)
    assert isinstance(made, list)
    assert sum(map(told, made)) > 45
    assert made == teller.sample(60, seed=0)
    assert len(set(made)) > 4
    assert str(teller).startswith("transformer over text")


def test_prompts_are_gone_on_with(teller: likely.Generator) -> None:
    made = teller.fill(["A cat", "A dog sings an", ""], seed=0)
    assert made[0].startswith("A cat sleeps")
    assert made[1].startswith("A dog sings an")
    assert teller.fill([made[0][:-1]])[0].startswith(made[0][:-1])
    asked = teller.sample(20, given={"prompt": "A owl e"}, seed=0)
    assert all(text.startswith("A owl e") for text in asked)
    assert sum(map(told, asked)) > 14
    with pytest.raises(ConditionError, match="shorten"):
        teller.fill(["A cat " * 50])
    with pytest.raises(ConditionError, match="prompt"):
        teller.sample(2, given={"animal": "cat"})


def test_surprise_finds_the_odd_word(teller: likely.Generator) -> None:
    texts = ["A cat sleeps.", "A cat sings.", "A cat " * 30]
    total, each = teller.surprise(texts), teller.surprise(texts, each=True)
    assert total.shape == (3,)
    assert total[1] > total[0] + 3
    assert total[2] > 50  # longer than a row: summed over its rows
    for row, nats in zip(each, total, strict=True):
        assert sum(value for _, value in row) == pytest.approx(nats, rel=1e-4)
    assert [token for token, _ in each[1]] == [*texts[1], "<end>"]
    odd = max(each[1], key=lambda one: one[1])
    assert odd[0] in "sing"


def test_a_file_holds_all(teller: likely.Generator, tmp_path: Path) -> None:
    again = likely.load(teller.save(tmp_path / "t.likely"))
    assert again.sample(5, seed=3) == teller.sample(5, seed=3)
    assert again.fill(["A d"], seed=3) == teller.fill(["A d"], seed=3)
    with pytest.raises(Unsupported, match="report card"):
        again.report()
    with pytest.raises(Unsupported, match="report card"):
        teller.report()


@pytest.mark.parametrize("family", ["transformer", "lstm"])
def test_conversations_and_pairs(family: str) -> None:
    pairs = [{"prompt": f"What does a {ANIMALS[k % 3]} do?", "answer": f"It {VERBS[k % 3]}."} for k in range(300)]
    options = {
        name: value for name, value in SMALL.items() if family == "transformer" or name not in ("heads", "depth")
    }
    model = likely.fit(pairs, codec="text", family=family, **options)
    done = model.fill([{"prompt": "What does a dog do?", "answer": None}], seed=0)
    assert done[0]["answer"] == "It sings."
    assert model.sample(1, given={"prompt": "What does a owl do?"}, seed=0)[0]["answer"] == "It eats."


def test_labels_are_conditions() -> None:
    texts = stories()
    kind = [next(animal for animal in ANIMALS if animal in text) for text in texts]
    model = likely.fit(texts, codec="text", given=kind, **SMALL)
    made = model.sample(20, given={"label": "owl"}, seed=0)
    assert sum("owl" in text for text in made) > 14


def test_what_is_text(tmp_path: Path) -> None:
    assert infer(["one", "two"]) == infer("book.txt") == infer(Path("book.txt.gz")) == "text"
    with pytest.raises(DataError, match="the same"):
        likely.fit(["x"] * 30, codec="text", progress=False)
    with pytest.raises(LikelyError, match="seq2seq"):
        likely.fit(stories(50), family="seq2seq", progress=False)
    with pytest.raises(LikelyError, match="Families that fit: transformer, lstm, seq2seq"):
        likely.fit(stories(50), family="trees", progress=False)
    model = likely.fit(stories(60), codec=Text(tokens="bpe", vocabulary=280), **{**SMALL, "steps": 3})
    assert len(model.sample(3)) == 3


def test_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in stories()))
    (tmp_path / "p.txt").write_text("A cat\n")
    done = run("fit t.jsonl --codec text -o t.likely --minutes 0.05 --family lstm", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "no report card" in done.stderr
    assert "texts" in done.stderr
    done = run("sample t.likely -n 4 --seed 1", tmp_path)
    assert len(done.stdout.strip().split("\n")) >= 4
    for suffix in ("txt", "jsonl"):
        assert run(f"sample t.likely -n 4 --seed 1 -o m.{suffix}", tmp_path).returncode == 0
    records = [json.loads(line) for line in (tmp_path / "m.jsonl").read_text().splitlines()]
    assert [record["text"] for record in records] == (tmp_path / "m.txt").read_text().rstrip("\n").split("\n\n")
    assert run("fill t.likely p.txt", tmp_path).stdout.startswith("A cat")
    done = run("score t.likely t.jsonl --flag 1% -o s.csv", tmp_path)
    table = pl.read_csv(tmp_path / "s.csv")
    assert table.columns == ["row", "surprise", "strangest", "tokens", "a_token", "flag"]
    assert table["flag"].sum() >= 4
    for command in ("report t.likely", "sample t.likely -o m.csv", "sample t.likely --given length=3"):
        done = run(command, tmp_path)
        assert done.returncode == 2
        assert done.stderr.startswith("likely: ")
        assert "Traceback" not in done.stderr
