"""Rewards as a command line says them: functions, reward models, classifiers; each with a weight, or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from likely.align.preference import Candidate, Comparison, Item, Judgements
from likely.align.reward import fit_reward
from likely.align.states import Language
from likely.apps.label.model import Labeller
from likely.cli.liking import load_reward, signal_of
from likely.errors import ArtifactError, LikelyError, OptionError
from likely.language import huggingface
from likely.language.checkpoint import load
from tests.language import tune_toys


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("liking")
    huggingface.save(tune_toys.checkpoint(), place / "toy")
    base = load(place / "toy")
    texts = [f"the {word} {k}" for word in ("dog", "fox") for k in range(12)]
    Labeller.fit(texts, ["dog"] * 12 + ["fox"] * 12, model=base).save(place / "beast.labels")
    items = [Item(f"i{k}", None, (Candidate.text(f"a dog {k}"), Candidate.text(f"a fox jumps {k}"))) for k in range(14)]
    said = [
        Comparison(item.id, tuple(item.by_id)[:: 1 if k % 2 else -1], "ann", "right" if k % 2 else "left")
        for k, item in enumerate(items)
    ]
    fit_reward(Judgements(tuple(items), tuple(said))).save(place / "taste.likely")
    (place / "taste.py").write_text("def size(texts):\n    return [len(text) for text in texts]\n\nhere = 3\n")
    return place


def test_each_kind_with_and_without_a_weight(folder: Path) -> None:
    texts = ["a dog 3", "a fox jumps 3"]
    size, weight = load_reward(f"{folder}/taste.py:size=0.5")
    assert (size(texts), weight) == ([7, 13], 0.5)
    taste, weight = load_reward(f"{folder}/taste.likely")
    assert weight == 1
    assert taste(texts)[1] > taste(texts)[0]
    assert load_reward(f"{folder}/taste.likely=-2")[1] == -2
    fox, weight = load_reward(f"{folder}/beast.labels:fox=3")
    assert weight == 3
    assert fox.__name__ == "fox"
    told = Labeller.load(folder / "beast.labels").probabilities(["the fox 3"])
    assert fox(["the fox 3"]) == pytest.approx([float(np.log(told[0, 1]))])
    assert fox(["", " \n", "the fox 3"]) == pytest.approx([np.log(0.5), np.log(0.5), fox(["the fox 3"])[0]])
    assert len(signal_of([f"{folder}/taste.likely", f"{folder}/taste.py:size=0.1"], None)) == 2


@pytest.mark.parametrize(("said", "message"), [
    ("taste.py", "wanted is FILE.py:FUNCTION"),
    ("taste.py:size=", "is no number"),
    ("taste.py:size=inf", "no finite number"),
    ("taste.py:here", "no function 'here'; it has: size"),
    ("gone.py:size", "there is no file"),
    ("gone.likely", "there is no file"),
    ("gone.labels:fox", "there is no file"),
    ("taste.likely:fox", "has no labels"),
    ("beast.labels", "label"),
    ("beast.labels:owl", "owl"),
])  # fmt: skip
def test_mistakes(folder: Path, said: str, message: str) -> None:
    with pytest.raises(LikelyError, match=message):
        load_reward(f"{folder}/{said}")


def test_a_file_that_is_no_reward(folder: Path) -> None:
    (folder / "noise.likely").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    with pytest.raises(ArtifactError):
        load_reward(f"{folder}/noise.likely")


def test_a_reward_on_states_of_a_checkpoint_is_given_that_and_no_generator(folder: Path) -> None:
    items = [Item(f"i{k}", None, (Candidate.text(f"a dog {k}"), Candidate.text(f"a fox jumps {k}"))) for k in range(14)]
    said = [
        Comparison(item.id, tuple(item.by_id)[:: 1 if k % 2 else -1], "ann", "right" if k % 2 else "left")
        for k, item in enumerate(items)
    ]
    model = fit_reward(Judgements(tuple(items), tuple(said)), Language(str(folder / "toy")))
    model.save(folder / "states.likely")
    texts = ["a dog 3", "a fox jumps 3"]
    found, _ = load_reward(f"{folder}/states.likely", str(folder / "toy"))
    assert found(texts) == pytest.approx(model(texts))
    with pytest.raises(OptionError, match="its path"):  # and no word of damage
        load_reward(f"{folder}/states.likely", object())
