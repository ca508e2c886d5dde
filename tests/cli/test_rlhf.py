"""likely rlhf: from files to a model that follows them, and mistakes on the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from likely.align import exchange
from likely.language import huggingface
from likely.language.checkpoint import load
from tests.align.stage import judged
from tests.cli.shell import check_refused, run
from tests.language import tune_toys

TASTE = """
import os, signal
from pathlib import Path

def stops(answers):
    calls = Path("calls")
    calls.write_text(calls.read_text() + "." if calls.exists() else ".")
    if calls.read_text() == "...":
        os.kill(os.getpid(), signal.SIGINT)
    return [-len(answer) for answer in answers]

def short(answers):
    return [-len(answer) for answer in answers]

def fits(answers, prompts):
    return [float(len(answer) < len(prompt)) for answer, prompt in zip(answers, prompts)]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("rlhf")
    huggingface.save(tune_toys.checkpoint(), place / "toy")
    (place / "taste.py").write_text(TASTE)
    (place / "prompts.txt").write_text("\n".join(f"Say {k}" for k in range(12)))
    lines = [json.dumps({"prompt": f"Say {k}", "answer": f"{k}, said."}) for k in range(12)]
    (place / "examples.jsonl").write_text("\n".join(lines))
    (place / "texts.txt").write_text("Once upon a time.\nThe end of it.")
    return place


def test_a_reward_with_prompts_from_files(folder: Path) -> None:
    done = run(
        "rlhf toy --examples examples.jsonl --reward taste.py:short=0.1 --reward taste.py:fits --prompts prompts.txt "
        "--held texts.txt -o out --steps 3 --tokens 8 --layers 1 --rank 4",
        folder,
    )
    assert done.returncode == 0, done.stderr
    assert "Perplexity of answers" in done.stderr
    assert "better than the start in" in done.stderr
    assert "Perplexity of other texts" in done.stderr
    assert "out/rlhf.html. Next: likely chat --model out/model" in done.stderr
    told = json.loads((folder / "out" / "rlhf.json").read_text())
    assert told["reward"] == "0.1 short + fits"
    assert len(told["rows"]) == 3
    assert load(folder / "out" / "model").template is not None


def test_ctrl_c_keeps_what_was_done_and_the_same_line_goes_on(folder: Path) -> None:
    line = "rlhf toy --reward taste.py:stops --prompts prompts.txt -o stopped --steps 3 --tokens 8 --layers 1 --rank 4"
    first = run(line, folder)
    assert first.returncode == 130, first.stderr
    assert "stopped holds what was done: the same line goes on from there." in first.stderr
    assert not (folder / "stopped" / "rlhf.json").exists()
    again = run(line, folder)
    assert again.returncode == 0, again.stderr
    assert len(json.loads((folder / "stopped" / "rlhf.json").read_text())["rows"]) == 3
    assert "it is done: likely chat --model stopped/model" in run(line, folder).stderr


@pytest.mark.parametrize(("words", "message"), [
    ("--prompts prompts.txt", "--reward taste.py:older, or --judgements"),
    ("--reward taste.py:short", "--prompts prompts.jsonl"),
    ("--reward taste.py:short --prompts none.jsonl", "There is no"),
    ("--reward taste.py:short --prompts prompts.txt --minutes -1", "--minutes is -1"),
    ("--reward taste.py:short --prompts prompts.txt --tokens 0", "tokens=0"),
    ("--reward taste.py:short --prompts prompts.txt --layers 9", "layers=9"),
    ("--reward taste.py:short --prompts prompts.txt --method best_of", "best_of"),
    ("--reward taste.py:short --prompts prompts.txt --examples taste.py", "no JSON"),
    ("--reward taste.py:short --prompts prompts.txt --method grpo --target 4", "--target is for ppo"),
    ("--reward taste.py:short --prompts prompts.txt --target -4", "target"),
])  # fmt: skip
def test_mistakes(folder: Path, words: str, message: str) -> None:
    check_refused(f"rlhf toy -o none --steps 2 -q {words}", message, folder)
    assert not (folder / "none" / "model").exists()


def test_judgements_of_rows_are_refused_before_a_folder_is_made(folder: Path) -> None:
    exchange.write(judged("rows"), folder / "rows.jsonl")
    check_refused("rlhf toy --judgements rows.jsonl -o rows -q", "a language model learns from texts", folder)
    assert not (folder / "rows").exists()
