"""Alignment of a checkpoint's answers, and the three stages, on a model so small that seconds do."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from likely.align.preference import Candidate, Comparison, Item, Judgements
from likely.apps.rlhf import answering, asking, recipe, taste
from likely.core import Progress
from likely.errors import DataError, LikelyError, OptionError, RewardError, UnknownName
from likely.language import adapter, huggingface, lora
from likely.language.checkpoint import Checkpoint, load
from likely.language.decode.engine import Engine
from likely.language.decode.sampling import Sampling
from likely.language.policy import Speaking
from likely.language.tune import tune
from tests.language import tune_toys

ASKED = [f"What colour has {thing} {k}?" for thing in ("grass", "snow", "coal") for k in range(5)]
SMALL = Speaking(tokens=24, layers=1, rank=8)
QUICK: dict[str, Any] = {"speaking": SMALL, "beta": 0.05, "rate": 1e-2, "samples": 24, "steps": 8}


def spoken() -> Checkpoint:
    """A model that says things like "It is green."; it ends, and knows no prompt well."""
    base = tune_toys.checkpoint()
    said = [{"prompt": p, "answer": f"It is {c}."} for p in ASKED for c in ("green", "white", "black")]
    tune(base, said, steps=120, rate=3e-3, batch=4, method="full", holdout=0.0)
    return base


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("rlhf") / "model"
    huggingface.save(spoken(), place)
    return place


def greens(answers: list[str]) -> list[float]:
    return [float("green" in text) for text in answers]


def greens_or_e(answers: list[str]) -> list[float]:
    return [float("green" in text) + text.count("e") / 10 for text in answers]


def judged(n: int = 40) -> Judgements:
    """One person who likes green."""
    items, said = [], []
    for k in range(n):
        both = (Candidate.text("It is green."), Candidate.text(f"It is {('white', 'black')[k % 2]}."))
        item = Item(f"i{k}", ASKED[k % len(ASKED)], both if k % 3 else both[::-1])
        items.append(item)
        ids = tuple(item.by_id)
        said.append(
            Comparison(item.id, ids, "ann", "left" if item.candidates[0].words() == "It is green." else "right")
        )
    return Judgements(tuple(items), tuple(said))


def test_a_function_of_answers_moves_them(folder: Path) -> None:
    base = load(folder)
    rows: list[dict[str, float]] = []
    done = answering.align(
        base,
        ASKED,
        greens,
        watch=lambda step, row: rows.append(row),
        held=["It is snow.", "coal"],
        judge=greens,
        **QUICK,
    )
    told = done.entry
    assert told["after"] > told["before"] + 0.2
    assert told["won"] > 0.55
    assert told["judge won"] == told["won"]  # the same law: ties count half for both
    assert 0 < told["kl"] < 20
    assert told["prompts"] + told["prompts left out"] == len(ASKED)
    assert told["answers"] >= answering.MEASURED
    assert told["perplexity after"] > 0
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-6)
    assert "better than the start" in str(done)
    assert set(told["examples"][0]) == {"prompt", "before", "after", "reward before", "reward after"}
    json.dumps(told)
    assert done.price["length"].before == pytest.approx(told["length before"])
    assert done.price["judge"].turn == 1
    page = done.price.to_html()
    assert "What colour has" in page
    assert page.count("<script") == 0


def test_the_saved_adapter_speaks_so(folder: Path, tmp_path: Path) -> None:
    done = answering.align(load(folder), ASKED, greens, **QUICK)
    done.save(tmp_path / "greener")
    assert json.loads((tmp_path / "greener" / "alignment.json").read_text())["method"] == "ppo"
    assert (tmp_path / "greener" / "alignment.html").stat().st_size > 5000
    again = load(folder)
    adapter.load(again.network, tmp_path / "greener")
    prompts = [again.chat([{"role": "user", "content": text}]) for text in ASKED]
    said = Engine(again, kernel="plain").generate(prompts, Sampling(tokens=24, seed=0), n=4)
    share = sum(greens([one.text for row in said for one in row])) / (4 * len(ASKED))
    assert abs(share - done.entry["after"]) < 0.2
    assert share > done.entry["before"] + 0.1


def test_a_stopped_run_goes_on_to_the_bit(folder: Path, tmp_path: Path) -> None:
    whole = answering.align(load(folder), ASKED, greens, **{**QUICK, "steps": 14})
    seen = 0

    def stop(step: int, row: dict[str, float]) -> None:
        nonlocal seen
        seen += 1
        if seen == 12:
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        answering.align(load(folder), ASKED, greens, watch=stop, checkpoint=tmp_path, **{**QUICK, "steps": 14})
    again = answering.align(load(folder), ASKED, greens, checkpoint=tmp_path, **{**QUICK, "steps": 14})
    assert len(again.record.rows) == 14
    assert again.record.rows == whole.record.rows
    pairs = [dict(one.checkpoint.network.named_parameters()) for one in (whole, again)]
    assert all(torch.equal(weight, pairs[1][name]) for name, weight in pairs[0].items())


@pytest.mark.parametrize("method", ["dpo", "ppo"])
def test_judgements_move_answers(folder: Path, method: str) -> None:
    options = {**QUICK, "steps": 12, "rate": 3e-3}  # faster, the reward model is fooled
    if method == "dpo":
        options |= {"rate": 1e-3, "batch": 16}
        options.pop("samples")
    done = answering.align(load(folder), None, judged(), method=method, judge=greens, **options)
    assert done.entry["judge after"] > done.entry["judge before"] + 0.1
    assert done.entry["judgements"]["pairs"] == 40
    assert done.reward is not None


def test_three_stages_and_going_on(tmp_path: Path) -> None:
    huggingface.save(tune_toys.checkpoint(), tmp_path / "base")
    examples = [{"prompt": p, "answer": f"It is {c}."} for p in ASKED for c in ("green", "white")]
    heard: list[str] = []
    given = {"examples": examples, "judgements": judged(), "steps": 3, "speaking": SMALL, "samples": 16}
    done = recipe.rlhf(tmp_path / "base", tmp_path / "out", tell=heard.append, **given)
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {
        "tuned", "reward.likely", "adapter", "model", "recipe.json", "rlhf.json", "run",
    }  # fmt: skip
    assert len(heard) == 3
    assert "Perplexity of answers" in heard[0]
    spoke = load(tmp_path / "out" / "model")
    texts = Engine(spoke).generate([spoke.chat([{"role": "user", "content": ASKED[0]}])], Sampling(tokens=24, seed=1))
    assert texts[0][0].text
    with pytest.raises(OptionError, match="it is done"):
        recipe.rlhf(tmp_path / "base", tmp_path / "out", **given)
    (tmp_path / "out" / "rlhf.json").unlink()  # as if it had been stopped before the end
    again = recipe.rlhf(tmp_path / "base", tmp_path / "out", tell=heard.append, **given)
    assert "before" in heard[3]  # neither tuned nor fitted again
    assert again.entry["after"] == done.entry["after"]
    for other in ({"steps": 4}, {"beta": 5.0}, {"samples": 8}):
        with pytest.raises(OptionError, match=r"another run"):
            recipe.rlhf(tmp_path / "base", tmp_path / "out", **{**given, **other})
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(OptionError, match="not empty"):
        recipe.rlhf(tmp_path / "base", tmp_path / "full", **given)
    with pytest.raises(OptionError, match="one of them"):
        recipe.rlhf(tmp_path / "base", tmp_path / "new")
    for wrong in ({"method": "pppo"}, {"missing": -1.0}, {"steps": 0}, {"speaking": Speaking(layers=9)}, {"seed": -1},
                  {"prompts": [{"sex": "F"}] * 12}, {"rate": -1.0}):  # fmt: skip
        with pytest.raises(LikelyError):
            recipe.rlhf(tmp_path / "base", tmp_path / "new", **{**given, **wrong})
        assert not (tmp_path / "new").exists()  # a slip of the keyboard claims no folder


@pytest.mark.parametrize("stage", ["aligning", "learning"])
def test_ctrl_c_stops_all_stages_and_the_same_line_goes_on(tmp_path: Path, stage: str) -> None:
    huggingface.save(tune_toys.checkpoint(), tmp_path / "base")
    examples = [{"prompt": p, "answer": f"It is {c}."} for p in ASKED for c in ("green", "white")]
    given: dict[str, Any] = {"examples": examples, "reward": greens_or_e, "prompts": ASKED, "steps": 3,
                             "speaking": SMALL, "samples": 16}  # fmt: skip
    heard: list[str] = []

    def listen(told: Progress) -> None:
        heard.append(told.stage)
        if told.stage == stage and heard.count(stage) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        recipe.rlhf(tmp_path / "base", tmp_path / "out", listen=listen, **given)
    made = {path.name for path in (tmp_path / "out").iterdir()}
    assert not made & {"model", "rlhf.json", "adapter"}
    assert ("tuned" in made) == (stage == "aligning")
    recipe.rlhf(tmp_path / "base", tmp_path / "out", **given)
    assert (tmp_path / "out" / "model").is_dir()


def test_what_is_missing_is_taken_in_the_figures_and_the_reward_stays_what_it_was(folder: Path) -> None:
    base = load(folder)
    done = answering.align(base, ASKED, greens_or_e, missing=10.0, **{**QUICK, "steps": 2})
    told = done.entry
    plain = sum(greens_or_e(done.before.texts)) / len(done.before.texts)
    assert told["before"] == pytest.approx(plain - 10 * (1 - told["ended before"]), abs=1e-4)
    assert not any(True for _ in lora.adapted(base.network))


def test_a_judge_that_fails_is_told(folder: Path) -> None:
    with pytest.raises(RewardError, match="nan"):
        answering.align(load(folder), ASKED, greens_or_e, judge=lambda texts: [float("nan")] * len(texts), **QUICK)


def test_rewards_see_prompts_where_they_ask_for_them() -> None:
    base = tune_toys.checkpoint()

    def echo(answers: list[str], prompts: list[Any]) -> list[float]:
        return [float(p == "b") + len(a) for a, p in zip(answers, prompts, strict=True)]

    def size(answers: list[str]) -> list[int]:
        return [len(a) for a in answers]

    one = taste.Taste(base, [(echo, 1.0), (size, -1.0)], {})
    assert one.rewards(["xx", "yyy"], ["a", "b"]).tolist() == [0.0, 1.0]
    assert one.liked.name == "echo + -1 size"
    with pytest.raises(RewardError, match="one number an item"):
        taste.Taste(base, lambda answers: [1.0], {}).rewards(["a", "b"], ["p", "p"])
    for wrong in ([], [(size, float("inf"))], ["size"]):
        with pytest.raises(OptionError):
            taste.Taste(base, wrong, {})  # type: ignore[arg-type]


def test_prompts_are_told_apart_and_some_left_out() -> None:
    base = tune_toys.checkpoint()
    found = asking.prepare(base, [*ASKED, ASKED[0], "x" * 4000], 24, seed=0)
    assert len(found.said) == len(ASKED)
    assert "1 prompts" in found.notes[0]
    assert not set(found.seen) & set(found.left)
    few = asking.prepare(base, ["a", "b"], 24, seed=0)
    assert few.seen == few.left
    assert "too few" in few.notes[0]
    with pytest.raises(DataError, match="Prompt 2"):
        asking.prepare(base, ["a", 7], 24, seed=0)
    with pytest.raises(DataError, match="no prompts"):
        asking.prepare(base, ["x" * 4000], 24, seed=0)


def test_refusals_leave_the_checkpoint_alone(folder: Path) -> None:
    base = load(folder)
    before = {name: weight.clone() for name, weight in base.network.state_dict().items()}
    with pytest.raises(RewardError, match="nan"):
        answering.align(base, ASKED, lambda answers: [float("nan")] * len(answers), **QUICK)
    with pytest.raises(RewardError, match="for every item"):
        answering.align(base, ASKED, lambda answers: [1.0] * len(answers), **QUICK)
    with pytest.raises(RewardError, match="ZeroDivisionError"):
        answering.align(base, ASKED, lambda answers: [1 / 0], **QUICK)
    with pytest.raises(UnknownName, match="best_of"):
        answering.align(base, ASKED, greens, method="best_of")
    with pytest.raises(OptionError, match="Prompts"):
        answering.align(base, None, greens)
    with pytest.raises(OptionError, match="missing"):
        answering.align(base, ASKED, greens, missing=-1.0)
    assert all(torch.equal(weight, before[name]) for name, weight in base.network.state_dict().items())
