"""Tuning: it learns, keeps what it should, resumes to the bit, and two processes do what one does."""

from __future__ import annotations

import json
import math
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from likely.core import Progress
from likely.errors import DataError, LikelyError, Mismatch, OptionError, StorageError, TrainingError, UnknownName
from likely.language import adapter, huggingface, lora
from likely.language.checkpoint import Checkpoint
from likely.language.tune import Tuned, Tuning, tune
from likely.train import order
from tests.language.tune_toys import checkpoint, pairs
from tests.language.tune_worker import report, work

ROOT = Path(__file__).parents[2]
QUICK: dict[str, Any] = {"steps": 60, "rate": 0.02, "rank": 8, "batch": 4}


def state(model: Checkpoint) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.network.state_dict().items()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture(scope="module")
def tuned() -> Tuned:
    return tune(checkpoint(), pairs(), **QUICK)


def test_an_adapter_learns_the_answers_and_leaves_the_base(tuned: Tuned) -> None:
    assert tuned.before is not None
    assert tuned.after is not None
    assert tuned.before > 100  # a random network
    assert tuned.after < 5
    assert tuned.history.best is not None
    # The loop's own left-out loss is the same number but for its scale: nats a row over the mean tokens of a row.
    rows, left = order.split(len(tuned.packed.batch.x), 0.1, 0)
    scale = tuned.packed.learned / len(tuned.packed.batch.x)
    mask = tuned.packed.batch.mask
    assert mask is not None
    nats = tuned.history.best * scale * len(left) / int(mask[left].sum())
    assert math.exp(nats) == pytest.approx(tuned.after, rel=1e-4)
    assert (tuned.history.items, tuned.history.left_out) == (len(rows), len(left))
    fresh = state(checkpoint())
    kept = {name: tensor for name, tensor in state(tuned.checkpoint).items() if ".pairs." not in name}
    assert same(kept, fresh)
    assert "60 examples" in str(tuned)
    assert "Perplexity" in str(tuned)
    assert not tuned.checkpoint.network.training


def test_it_is_saved_as_an_adapter_and_merged(tuned: Tuned, tmp_path: Path) -> None:
    ids = torch.tensor([tuned.checkpoint.encode("the quick brown fox")])

    def logits(model: Checkpoint) -> torch.Tensor:
        with torch.no_grad():
            return model.network.logits(model.network(ids))

    before = logits(tuned.checkpoint)
    tuned.save(tmp_path / "adapter")
    again = checkpoint()
    adapter.load(again.network, tmp_path / "adapter")
    assert torch.equal(logits(again), before)
    assert (
        json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())["base_model_name_or_path"] == "toys/toy"
    )
    merged = replace(tuned, checkpoint=again)
    merged.save(tmp_path / "merged", merge=True)
    assert torch.allclose(logits(huggingface.load(tmp_path / "merged")), before, atol=1e-4)
    with pytest.raises(StorageError, match="is not empty"):
        merged.save(tmp_path / "merged", merge=True)


def test_all_weights_learn(tmp_path: Path) -> None:
    model = checkpoint()
    model.network.bfloat16()
    seen: list[Progress] = []
    done = tune(model, pairs(), method="full", steps=40, rate=3e-3, batch=4, listen=seen.append, recompute=True)
    assert done.before is not None
    assert done.after is not None
    assert done.after < 0.3 * done.before
    assert {weight.dtype for weight in model.network.parameters()} == {torch.float32}
    assert not model.network.recompute
    assert [stage for stage in dict.fromkeys(progress.stage for progress in seen)] == [
        "packing", "judging the start", "learning", "judging the end"
    ]  # fmt: skip
    done.save(tmp_path / "model")
    assert same(state(huggingface.load(tmp_path / "model")), state(model))


@pytest.mark.parametrize("method", ["lora", "full"])
def test_parts_and_recomputing_change_nothing_but_memory(method: str) -> None:
    options: dict[str, Any] = {"method": method, "steps": 5, "batch": 6, "rate": 1e-3, "rank": 4}
    whole, cut = (checkpoint() for _ in range(2))
    one = tune(whole, pairs(), **options)
    many = tune(cut, pairs(), accumulate=4, recompute=True, **options)
    assert one.after == pytest.approx(many.after, rel=1e-4)
    for name, tensor in state(whole).items():
        assert torch.allclose(tensor, state(cut)[name], atol=1e-4), name


def test_the_same_seed_gives_the_same_bytes_and_another_does_not() -> None:
    runs = [tune(checkpoint(), pairs(), seed=seed, dropout=0.1, **{**QUICK, "steps": 5}) for seed in (3, 3, 4)]
    first, again, other = (state(run.checkpoint) for run in runs)
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_it_resumes_to_the_bit(method: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"method": method, "steps": 12, "batch": 4, "rate": 1e-3, "rank": 4, "dropout": 0.1}
    whole = tune(checkpoint(), pairs(), **options)

    def interrupt(progress: Progress) -> None:
        if progress.stage == "learning" and progress.done >= 0.4:
            signal.raise_signal(signal.SIGINT)

    cut = tune(checkpoint(), pairs(), checkpoint_dir=tmp_path, listen=interrupt, **options)
    assert cut.history.stopped == "interrupted"
    assert cut.history.step < 12
    (path,) = tmp_path.iterdir()
    stored = safetensors.torch.load_file(path)
    assert any("pairs" in name for name in stored) == (method == "lora")
    assert any("embed" in name for name in stored) == (method == "full")
    resumed = tune(checkpoint(), pairs(), checkpoint_dir=tmp_path, **options)
    assert resumed.history.step == 12
    assert same(state(resumed.checkpoint), state(whole.checkpoint))
    assert (resumed.before, resumed.after) == (whole.before, whole.after)
    for change in ({"rank": 2} if method == "lora" else {}, {"method": "full" if method == "lora" else "lora"}):
        if change:
            with pytest.raises(TrainingError, match="is of another run"):
                tune(checkpoint(), pairs(), checkpoint_dir=tmp_path, **{**options, **change})
    with pytest.raises(TrainingError, match="its config is"):
        tune(checkpoint(seed=1), pairs(), checkpoint_dir=tmp_path, **options)


def test_it_stops_early_and_keeps_the_best() -> None:
    # Answers that are noise: what is learned of some is wrong of the others.
    rng = torch.Generator().manual_seed(0)
    noise = ["".join(chr(97 + int(c)) for c in torch.randint(0, 26, (12,), generator=rng)) for _ in range(40)]
    items = [{"prompt": f"Number {at}?", "answer": word} for at, word in enumerate(noise)]
    done = tune(checkpoint(), items, steps=400, rate=0.02, batch=4, holdout=0.3)
    assert done.history.stopped == "early"
    losses = [entry.left_out for entry in done.history.evaluations if entry.left_out is not None]
    assert done.history.best == min(losses)
    assert losses[-1] > min(losses)


def test_few_examples_and_no_holdout_are_fine() -> None:
    one = tune(checkpoint(), pairs(1), steps=2)
    assert (one.before, one.after, one.history.left_out) == (None, None, 0)
    assert "Nothing was left out to judge by" in str(one)
    none = tune(checkpoint(None), [{"text": "the lazy dog " * 3}] * 30, steps=2, holdout=0.0)
    assert none.after is None
    cut = tune(checkpoint(), [*pairs(5), {"prompt": "a " * 90, "answer": "b"}], steps=1, length=80)
    assert "1 examples were too long and cut at 80 tokens." in str(cut)
    assert "1 examples were left away" in str(cut)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"method": "qlora"}, OptionError, "method is 'qlora'; it is lora or full"),
        ({"length": 300}, OptionError, "length is 300; 'toy' reads 256 steps at most"),
        ({"length": 1}, OptionError, "length"),
        ({"rank": 0}, OptionError, "rank"),
        ({"rate": -1.0}, OptionError, "rate"),
        ({"minutes": 0.0}, OptionError, "minutes"),
        ({"holdout": 0.9}, OptionError, "holdout"),
        ({"modules": ("q_prof",)}, UnknownName, "Known: self_attn.q_proj"),
        ({"ranks": 3}, UnknownName, r"option of tune called 'ranks'. Did you mean 'rank'"),
        ({"length": 8}, DataError, "give a larger length"),
    ],
)
def test_senseless_wishes_are_refused_and_the_network_is_as_it_was(
    options: dict[str, Any], kind: type[LikelyError], message: str
) -> None:
    model = checkpoint()
    with pytest.raises(kind, match=message):
        tune(model, pairs(), **{"steps": 1, **options})
    assert same(state(model), state(checkpoint()))


def test_a_network_with_an_adapter_is_not_tuned_again_by_mistake(tuned: Tuned) -> None:
    model = checkpoint()
    lora.attach(model.network, lora.Lora(rank=2))
    for method in ("lora", "full"):
        with pytest.raises(Mismatch, match="has an adapter already"):
            tune(model, pairs(), steps=1, method=method)


def test_minutes_are_the_end() -> None:
    done = tune(checkpoint(), pairs(), minutes=0.03)
    assert done.history.stopped in ("budget", "early")
    assert done.history.seconds < 6


def test_steps_are_chosen_by_the_examples() -> None:
    small, large = Tuning().training(24, 512), Tuning().training(4000, 512)
    assert (small.batch, small.steps) == (3, 24)
    assert (large.batch, large.steps) == (4, 3000)
    assert Tuning(batch=10, passes=1).training(95, 64).steps == 10


def test_two_processes_do_what_one_does(tmp_path: Path) -> None:
    """One test, because torchrun takes seconds to start: see `tune_worker.py`."""
    one = {method: report(work(method, None, tmp_path / f"one {method}")) for method in ("lora", "full")}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-W", "error", "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    command += ["--master-port", str(port), "-m", "tests.language.tune_worker", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads((tmp_path / "told.json").read_text())
    assert len(told) == 4
    for name, other in told.items():
        mine = one[name.split()[1]]
        for key, value in mine.items():
            assert other[key] == pytest.approx(value, rel=1e-3, abs=1e-4), (name, key)
    assert all(math.isfinite(value) for value in one["lora"]["left_out"])
