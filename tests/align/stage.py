"""What the pages on alignment speak of, small: a folder in which their commands and their Python can be run."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl

import likely
from likely.align import exchange
from likely.align.preference import Candidate, Comparison, Item, Judgements
from likely.align.reward import fit_reward
from likely.apps.label.model import Labeller
from likely.language import huggingface
from likely.language.checkpoint import load
from likely.server.store import Store
from tests.language import tune_toys

TASTE = """
def older(rows):
    return rows["age"].to_list()

def cheap(rows):
    return [-cost for cost in rows["cost"]]

def short(answers):
    return [-len(answer) / 10 for answer in answers]

def brief(answers):
    return [-abs(len(answer.split()) - 12) / 10 for answer in answers]
"""


def shortened(text: str) -> str:
    """A command or a program of a page with a toy for the model, and few steps for minutes."""
    text = re.sub(r"\bsmollm2\b", "toy", text)
    text = re.sub(r"--(minutes|steps) \S+", "--steps 2", text)
    text = re.sub(r"\bsteps=\d+", "steps=2", text)
    if text.startswith(("align", "rlhf")) and "--steps" not in text:
        text += " --steps 2"
    if text.startswith("rlhf") and "--tokens" not in text:
        text += " --tokens 8"
    text = re.sub(r"--pairs \d+", "--pairs 3", text)
    return re.sub(r"--tokens \d+", "--tokens 8", text)


def judged(kind: str, n: int = 24) -> Judgements:
    """Somebody who likes shorter answers, dogs in texts, or older people in rows."""
    items, votes = [], []
    for k in range(n):
        both = {
            "answers": lambda k: (Candidate.text("dog " * (1 + k % 3)), Candidate.text("fox " * (6 + k % 4))),
            "texts": lambda k: (Candidate.text("a dog sings", seed=k), Candidate.text("a fox sleeps", seed=k)),
            "rows": lambda k: (_row(70.5 + k), _row(30.5 - k % 9)),
        }[kind](k)
        items.append(Item(f"{kind} {k}", f"Say {k}" if kind == "answers" else None, both))
        shown = tuple(one.id for one in both)[:: 1 if k % 2 else -1]
        votes.append(Comparison(items[-1].id, shown, "ann", "left" if k % 2 else "right"))
    return Judgements(tuple(items), tuple(votes))


def _row(age: float) -> Candidate:
    return Candidate(json.dumps({"age": age, "sex": "F", "cost": 3.0}).encode(), "application/json")


def judge(folder: Path, kind: str) -> None:
    """What somebody judged."""
    likes = judged(kind)
    exchange.write(likes, folder / "judgements.jsonl")
    with Store(folder / "judgements.db") as store:
        store.merge(likes)


def set_up(folder: Path) -> None:
    """Models, prompts, functions, rewards."""
    arch = replace(tune_toys.ARCH, context=1024)
    huggingface.save(tune_toys.checkpoint(arch=arch), folder / "toy")
    draw = np.random.default_rng(0)
    for name, age in (("patients", 50), ("old", 70), ("new", 60)):
        rows = {"age": draw.normal(age, 5, 200).round(1), "sex": draw.choice(["F", "M"], 200), "cost": draw.random(200)}
        made = likely.fit(pl.DataFrame(rows), progress=False)
        made.save(folder / f"{name}.likely")
    texts = [f"{who} {does}" for who in ("a dog", "a fox") for does in ("sings", "sleeps")] * 20
    likely.fit(texts, codec="text", family="lstm", width=16, depth=1, steps=30, progress=False).save(
        folder / "teller.likely"
    )
    (folder / "taste.py").write_text(TASTE)
    (folder / "prompts.txt").write_text("\n".join(f"Say {k}" for k in range(12)))
    lines = [{"prompt": f"Say {k}", "answer": f"{k}, said."} for k in range(12)]
    (folder / "prompts.jsonl").write_text("\n".join(json.dumps({"prompt": line["prompt"]}) for line in lines))
    (folder / "examples.jsonl").write_text("\n".join(json.dumps(line) for line in lines))
    (folder / "tales.txt").write_text("Once upon a time.\nThe end of it.")
    fit_reward(judged("answers")).save(folder / "taste.likely")
    words = [f"the {word} {k}" for word in ("dog", "fox") for k in range(12)]
    Labeller.fit(words, ["positive"] * 12 + ["negative"] * 12, model=load(folder / "toy")).save(folder / "mood.labels")
