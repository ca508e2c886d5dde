"""likely align: from a file of rewards or judgements to a model that follows them, and every mistake on the way."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

import likely
from likely import alignment
from likely.align.preference import Candidate, Comparison, Item, Judgements
from likely.apps.rlhf.plan import BETA
from likely.language import huggingface
from likely.server.store import Store
from tests.cli.shell import check_refused, run
from tests.language import tune_toys

TEXTS = [f"{who} {does}" for who in ("a cat", "a dog", "an owl") for does in ("sings.", "sleeps.")]
TASTE = """
def owls(texts):
    return [float("owl" in text) for text in texts]

def short(texts):
    return [-len(text) for text in texts]

def broken(texts):
    return texts[0] / 2
"""


def judged() -> Judgements:
    """One person who likes owls."""
    draw, items, said = random.Random(0), [], []
    for k in range(40):
        item = Item(f"i{k}", None, tuple(Candidate.text(text) for text in draw.sample(TEXTS, 2)))
        worth = [("owl" in one.words()) + 0.3 * draw.random() for one in item.candidates]
        items.append(item)
        said.append(Comparison(item.id, tuple(item.by_id), "ann", "left" if worth[0] > worth[1] else "right"))
    return Judgements(tuple(items), tuple(said))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("align")
    small = {"width": 32, "depth": 1, "steps": 150, "batch": 32, "rate": 1e-2}
    likely.fit(TEXTS * 20, codec="text", family="lstm", progress=False, **small).save(place / "teller.likely")
    (place / "taste.py").write_text(TASTE)
    (place / "unseen.txt").write_text("a dog sings.\nan owl sleeps.\na cat sings.\n")
    (place / "what").mkdir()
    with Store(place / "judgements.db") as store:
        known = judged()
        for item in known.items:
            store.add_item(item)
        for one in known.comparisons:
            store.add(one)
    return place


def owls(folder: Path, name: str) -> float:
    return float(np.mean(["owl" in text for text in likely.load(folder / name).sample(200, seed=1)]))


def test_a_reward_from_a_file(folder: Path) -> None:
    done = run(
        "align teller.likely --reward taste.py:owls --reward taste.py:short=0.01 -o liked.likely --method grpo "
        "--beta 0.2 --steps 30 --rate 3e-3",
        folder,
    )
    assert done.returncode == 0, done.stderr
    assert "better than the start in" in done.stderr
    assert "Wrote liked.likely and liked.html." in done.stderr
    page = (folder / "liked.html").read_text()
    assert "Reward against distance" in page
    assert page.count('<div class="example">') == 12
    assert "aligning" in done.stderr
    assert owls(folder, "liked.likely") > 0.7 > owls(folder, "teller.likely")


def test_judgements_from_a_database(folder: Path) -> None:
    done = run(
        "align teller.likely --judgements judgements.db -o judged.likely --beta 0.2 --steps 30 --rate 3e-3 "
        "--missing 0.1 --holdout unseen.txt --page what/it_cost.html -q",
        folder,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert owls(folder, "judged.likely") > owls(folder, "teller.likely") + 0.2
    page = (folder / "what" / "it_cost.html").read_text()
    assert "The judgements behind the reward" in page
    assert "Held-out perplexity" in page


def test_the_price_is_that_of_who_is_aligned(folder: Path) -> None:
    """Unless it is said: a generator's own, and that of a checkpoint, as `likely rlhf` has it."""
    huggingface.save(tune_toys.checkpoint(), folder / "toy")
    (folder / "prompts.txt").write_text("\n".join(f"Say {k}" for k in range(12)))
    done = run("align teller.likely --reward taste.py:short -o own.likely --steps 1 -q", folder)
    assert done.returncode == 0, done.stderr
    assert likely.load(folder / "own.likely").card["alignment"][-1]["beta"] == alignment.BETA
    for words, beta in [("", BETA), ("--beta 0.4", 0.4)]:
        out = f"liked{beta}"
        done = run(
            f"align toy --reward taste.py:short --prompts prompts.txt -o {out} --steps 1 --tokens 8 -q {words}", folder
        )
        assert done.returncode == 0, done.stderr
        assert json.loads((folder / out / "alignment.json").read_text())["beta"] == beta
    check_refused(
        "align toy --reward taste.py:short --prompts prompts.txt -o taste.py/x -q", "'taste.py' is a file", folder
    )
    done = run("align teller.likely --judgements judgements.db -o judged.likely --steps 1", folder)
    assert done.returncode == 0, done.stderr
    assert likely.load(folder / "judged.likely").card["alignment"][-1]["beta"] == alignment.JUDGED
    assert "judged pairs, is right on" in done.stderr
    assert f"{alignment.BETA}, judgements {alignment.JUDGED}, a checkpoint {BETA}.".replace("0.", ".") in " ".join(
        run("align --help", folder).stdout.split()
    )


def test_the_model_itself_is_not_written_over(folder: Path) -> None:
    before = (folder / "teller.likely").read_bytes()
    check_refused("align teller.likely --reward taste.py:owls -o teller.likely -q", "the model it starts from", folder)
    check_refused("align teller.likely --reward taste.py:owls -o owls -q", "such as -o owls.likely", folder)
    (folder / "texts.csv").write_text("a,b")
    check_refused("align texts.csv --reward taste.py:owls -o owls.likely -q", "likely fit texts.csv", folder)
    assert (folder / "teller.likely").read_bytes() == before


def test_a_reward_that_fails_says_where_and_what_it_was_given(folder: Path) -> None:
    (folder / "wrong.py").write_text(
        "def first(texts):\n    return [text.len for text in texts]\n\ndef none(texts):\n    [len(t) for t in texts]\n"
    )
    check_refused("align teller.likely -o none.likely --reward wrong.py:first -q",
                  "'len' (wrong.py, line 2; first was given a list of str.)", folder)  # fmt: skip
    check_refused("align teller.likely -o none.likely --reward wrong.py:none -q", "is there no return in it?", folder)
    check_refused("align teller.likely -o none.likely --reward judgements.db -q", "--judgements judgements.db", folder)


@pytest.mark.parametrize(("words", "message"), [
    ("", "--reward taste.py:older, or --judgements"),
    ("--reward taste.py:owls --judgements judgements.db", "not both"),
    ("--reward taste.py", "wanted is FILE.py:FUNCTION"),
    ("--reward nowhere.py:owls", "there is no file 'nowhere.py'"),
    ("--reward taste.py:cats", "has no function 'cats'; it has: owls, short, broken"),
    ("--reward taste.py:owls=much", "the weight 'much' is no number"),
    ("--reward taste.py:broken", "The reward failed on 512 items: TypeError"),
    ("--reward taste.py:owls --method ppoo", "ppoo"),
    ("--judgements gone.db", "there is no such file"),
    ("--judgements sqlite:///gone.db", "There is no database 'sqlite:///gone.db'"),
    ("--reward taste.py:owls --rate -1", "--rate is -1; it is above 0, or 0"),
    ("--reward taste.py:owls --rate nan", "--rate is nan"),
    ("--reward taste.py:owls --beta 0", "--beta is 0; it is above 0."),
    ("--reward taste.py:owls --limit inf", "--limit is inf"),
    ("--reward taste.py:owls --minutes -1", "--minutes is -1"),
    ("--reward taste.py:owls --steps 0", "--steps is 0; it is 1 or more."),
    ("--reward taste.py:owls --tokens 0", "--tokens is 0; it is 1 or more."),
    ("--reward taste.py:owls --checkpoint taste.py", "'taste.py' is a file; give a folder"),
    ("--reward taste.py:owls --checkpoint taste.py/run", "'taste.py' is a file; give a folder"),
    ("--reward taste.py:owls --given colour=red", "say how they begin"),
    ("--reward taste.py:owls --missing -1", "missing=-1.0 was given"),
    ("--reward taste.py:owls --page page.pdf", "the page is written as .html"),
    ("--reward taste.py:owls --page nowhere/page.html", "There is no folder 'nowhere'"),
    ("--reward taste.py:owls --holdout gone.txt --steps 1000000", "gone.txt"),
])  # fmt: skip
def test_mistakes(folder: Path, words: str, message: str) -> None:
    check_refused(f"align teller.likely -o none.likely --steps 2 -q {words}", message, folder)
    assert not (folder / "none.likely").exists()
    assert not (folder / "gone.db").exists()


def test_a_file_that_cannot_be_run(folder: Path) -> None:
    (folder / "bad.py").write_text("def owls(:")
    check_refused("align teller.likely -o none.likely --reward bad.py:owls -q", "cannot be run: SyntaxError", folder)
