"""Candidates: of checkpoints and generators, made once, never equal, found again when a run is resumed."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

import likely
from likely.align.preference import Candidate
from likely.align.prompts import read
from likely.errors import ArtifactError, DataError, LikelyError, OptionError
from likely.language.decode import Engine
from likely.server.rank import Session
from likely.server.rank.couples import couples_of
from likely.server.rank.making import Making, item_id, plan
from likely.server.rank.outputs import Maker, Settings, Wanted, makers
from likely.server.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "judgements.db") as made:
        yield made


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    draw = np.random.default_rng(0)
    frame = pl.DataFrame({"age": draw.normal(60, 10, 200).round(1), "sex": draw.choice(["F", "M"], 200)})
    path = tmp_path_factory.mktemp("models") / "people.likely"
    likely.fit(frame, family="trees", progress=False).save(path)
    return path


class Words(Maker):
    """Says little, so that it often says the same; counts what it was asked for."""

    def __init__(self, name: str, choices: int = 3) -> None:
        self.name, self.choices, self.settings, self.generator = name, choices, Settings(), True
        self.asked, self.artifact = 0, name * 20  # type: ignore[misc]

    model = None  # type: ignore[assignment]

    def make(self, wanted: Any) -> list[list[Candidate]]:
        self.asked += sum(len(one.seeds) for one in wanted)
        return [[self._says(seed) for seed in one.seeds] for one in wanted]

    def _says(self, seed: int) -> Candidate:
        return self._candidate(f"{self.name} says {seed % self.choices}".encode(), "text/plain", seed)


def work(store: Store, asked: list[Any], models: list[Any], pairs: int, seed: int = 0) -> Making:
    made = Making(store, models, plan(asked, len(models), pairs, seed), seed)
    made.work()
    return made


def test_a_run_begun_again_makes_only_what_is_missing(store: Store) -> None:
    asked = [f"question {k}" for k in range(6)]
    maker = Words("one", choices=1000)
    stopped = Making(store, [maker], plan(asked, 1, 6, 0), 0, tell=lambda _: stopped.stop())
    stopped.work()
    first = maker.asked
    assert 0 < first < 12
    work(store, asked, [maker], 6)
    assert maker.asked == 12
    before = store.outlines()
    assert work(store, asked, [maker], 6).state.made == 6
    assert maker.asked == 12
    assert store.outlines() == before
    assert sum(len(couples_of(line)) for line in before) == 6
    other = Words("two", choices=1000)
    work(store, asked, [maker, other], 6)  # a second model answers the same prompts: the items grow
    assert maker.asked == 12
    assert {len(line.candidates) for line in store.outlines()} == {3}


def test_equal_outputs_are_drawn_again_and_never_shown_as_a_pair(store: Store) -> None:
    asked = [f"question {k}" for k in range(30)]
    maker = Words("one", choices=3)
    made = work(store, asked, [maker], 30)
    lines = store.outlines()
    assert len(lines) == 30
    differ = sum(len(couples_of(line)) for line in lines)
    assert differ == 30 - made.state.equal
    assert differ >= 28  # three tries more: 1 in 81 stays equal
    same = Words("dull", choices=1)
    assert work(store, ["what?"], [same], 1).state.equal == 1
    assert Session(store, scope=[item_id("what?")]).next("anna") is None
    asked_for = same.asked
    work(store, ["what?"], [same], 1)
    assert same.asked == asked_for  # nor made again


def test_plans() -> None:
    assert len(plan(["a", "b"], 1, 2, 0)) == 2
    several = plan(["a", "b"], 3, 6, 0)
    assert [slot.needs for slot in several] == [((0, 0), (1, 0), (2, 0))] * 2
    rounds = plan(["a"], 1, 3, 0)
    assert [slot.needs for slot in rounds] == [((0, 0), (0, 1)), ((0, 2), (0, 3)), ((0, 4), (0, 5))]
    assert len({slot.item for slot in rounds}) == 1
    assert len({slot.item for slot in plan([], 2, 5, 0)}) == 5
    assert len({slot.item for slot in plan([{"sex": "F"}], 1, 5, 0)}) == 5
    assert {slot.item for slot in plan([], 1, 5, 0)}.isdisjoint(slot.item for slot in plan([], 1, 5, 1))
    forms = [["rows", "age"], ["rows", "town"], ["images"]]
    assert len({slot.item for form in forms for slot in plan([], 1, 5, 0, form)}) == 15
    assert plan(["a"], 1, 3, 0, ["texts"]) == rounds  # a prompt is one item, whoever answers
    with pytest.raises(OptionError, match="32 pairs at most"):
        plan(["a"], 1, 33, 0)
    with pytest.raises(OptionError, match="--pairs 0"):
        plan(["a"], 1, 0, 0)


def test_rows_hold_the_wish_and_can_be_made_again(store: Store, rows: Path) -> None:
    (maker,) = makers([f"people={rows}"], [1.0], 10)
    work(store, [{"sex": "F"}], [maker], 3)
    items = store.items()
    assert len(items) == 3
    for one in items[0].candidates:
        assert (one.media, one.model, one.artifact) == ("application/json", "people", maker.artifact)
        row = json.loads(one.content)
        assert row["sex"] == "F"
        again = likely.load(rows).sample(
            1, given={"sex": "F"}, seed=one.seed, temperature=one.parameters["temperature"]
        )
        assert again.to_dicts() == [row]
    with pytest.raises(DataError, match="answers no texts"):
        maker.make([Wanted("Why?", (1,))])


def test_images_windows_and_texts_are_candidates(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    pixels = draw.integers(0, 255, (60, 6, 6), dtype=np.uint8)
    likely.fit(pixels, family="vae", minutes=0.01, progress=False).save(tmp_path / "pictures.likely")
    windows = draw.normal(size=(60, 12, 2)).cumsum(1)
    likely.fit(windows, codec="series", family="vae", minutes=0.01, progress=False).save(tmp_path / "windows.likely")
    told = [f"Once upon a time there was a {w}." for w in ("king", "queen", "cat", "dog", "fox")] * 8
    likely.fit(told, family="lstm", minutes=0.01, progress=False).save(tmp_path / "tales.likely")
    pictures, curves, tales = makers(
        [str(tmp_path / f"{n}.likely") for n in ("pictures", "windows", "tales")], [1.0], 9
    )
    (one,) = pictures.make([Wanted(None, (3,))])[0]
    assert one.media == "image/png"
    assert Image.open(io.BytesIO(one.content)).size == (6, 6)
    (one,) = curves.make([Wanted(None, (3,))])[0]
    assert np.array(json.loads(one.content)).shape == (12, 2)
    (one,) = tales.make([Wanted("Once upon", (3,))])[0]
    assert one.media == "text/plain"
    assert not one.words().startswith("Once upon")


def test_a_checkpoint_answers_by_its_template(engine: Engine) -> None:
    maker = Words("toy")
    maker.generator, maker.settings, maker.artifact = False, Settings(1.0, 12), "a" * 64  # type: ignore[assignment]
    maker.model = engine  # type: ignore[assignment]
    talk = [{"role": "user", "content": "Hello"}]
    found = Maker.make(maker, [Wanted("Hello", (1, 2)), Wanted(talk, (1,))])
    assert found[0][0].content == found[1][0].content  # a text is what a user says
    assert found[0][0].content != found[0][1].content
    assert found == Maker.make(maker, [Wanted("Hello", (1, 2)), Wanted(talk, (1,))])
    assert dict(found[0][0].parameters) == {"temperature": 1.0, "tokens": 12}
    with pytest.raises(DataError, match="--prompts"):
        Maker.make(maker, [Wanted(None, (1,))])


def test_a_failure_is_told_and_what_was_made_stays(store: Store) -> None:
    class Breaks(Words):
        def make(self, wanted: Any) -> list[list[Candidate]]:
            if self.asked >= 2:
                raise LikelyError("There is no memory left.")
            return super().make(wanted)

    heard: list[str] = []
    made = Making(store, [Breaks("one", 1000)], plan(["a", "b", "c"], 1, 3, 0), 0, listen=heard.append)
    made.start()
    made.wait(60)
    assert (made.state.stage, made.state.error) == ("failed", "There is no memory left.")
    assert "There is no memory left." in heard
    assert made.state.made == len(store.outlines()) > 0


def test_prompts(tmp_path: Path) -> None:
    lines = ['{"prompt": "Why?", "id": 3}', "", '"How?"', '{"messages": [{"role": "user", "content": "Who?"}, '
             '{"role": "assistant", "content": "I."}]}', '{"given": {"sex": "F"}}', '{"prompt": "Why?"}']  # fmt: skip
    (tmp_path / "p.jsonl").write_text("\n".join(lines))
    assert read(tmp_path / "p.jsonl") == ["Why?", "How?", [{"role": "user", "content": "Who?"}], {"sex": "F"}]
    (tmp_path / "p.txt").write_text("\ufeffWhy?\n\n {odd} \nWhy?\n")
    assert read(tmp_path / "p.txt") == ["Why?", "{odd}"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no prompts"), ("Why?", "line 1 is no JSON"), ('[\n{"prompt": "a"}]', "one JSON list"),
        ('{"question": "Why?"}', "line 1 is .*question.*wanted is"), ('{"prompt": ""}', "says something"),
        ("3", "wanted is"),
        ('{"prompt": "a"}\n{"messages": [{"role": 1}]}', "line 2, messages"), ('{"given": {}}', "a wish"),
        ('{"messages": [{"role": "assistant", "content": "I."}]}', "nobody asks"),
        ('{"prompt": "\\ud800"}', "surrogate"),
    ],
)  # fmt: skip
def test_bad_prompts_name_the_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        read(path)


def test_bad_models_and_settings(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="There is no model"):
        makers(["nowhere.likely"], [1.0], 10)
    (tmp_path / "a.likely").write_text("")
    with pytest.raises(OptionError, match="Two models are called 'a'"):
        makers([str(tmp_path / "a.likely")] * 2, [1.0], 10)
    assert [one.name for one in makers([str(tmp_path / "a.likely")], [0.5, 1.0], 10)] == ["a@0.5", "a@1"]
    for wrong in ({"temperature": -1.0}, {"tokens": 0}, {"temperature": float("nan")}):
        with pytest.raises(OptionError):
            Settings(**wrong)  # type: ignore[arg-type]
