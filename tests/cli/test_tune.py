"""likely tune, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from likely import registry
from likely.cli import app
from likely.language import adapter, huggingface
from tests.cli.shell import check_refused, run
from tests.language.tune_toys import checkpoint, pairs

if "tune" not in registry.TABLES["command"]:  # until the table has it
    registry.TABLES["command"]["tune"] = "likely.cli.tune:tune"
    app._lazily("tune")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tune")
    huggingface.save(checkpoint(), place / "model")
    lines = [json.dumps(item) for item in pairs()]
    (place / "pairs.jsonl").write_text("\n".join(lines) + "\n")
    (place / "broken.jsonl").write_text("\n".join([*lines[:4], '{"prompt": "x"}', *lines]))
    (place / "cut.jsonl").write_text(lines[0] + "\n" + lines[1][:-3])
    return place


def test_an_adapter_is_learned_and_loads(folder: Path) -> None:
    done = run("tune model pairs.jsonl -o mine --steps 30 --rate 0.02 --rank 4 --json", folder)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["perplexity_after"] < 0.5 * figures["perplexity_before"]
    assert figures["steps"] == 30
    assert "60 examples" in done.stderr
    assert "Next: likely chat --model model --adapter mine" in done.stderr
    assert sorted(path.name for path in (folder / "mine").iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors"
    ]  # fmt: skip
    network = huggingface.load(folder / "model").network
    assert adapter.load(network, folder / "mine").rank == 4


def test_a_whole_model_is_written_and_nothing_is_said(folder: Path) -> None:
    for words, name in (("--merge --steps 3", "merged"), ("--method full --steps 3 --save-memory", "full")):
        done = run(f"tune model pairs.jsonl -o {name} {words} -q", folder)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        made = huggingface.load(folder / name)
        assert made.template is not None
        assert not torch.equal(made.network.blocks[0].down.weight, checkpoint().network.blocks[0].down.weight)


def test_a_run_goes_on(folder: Path) -> None:
    line = "tune model pairs.jsonl -o {} --checkpoint run --json -q --steps {}"
    assert run(line.format("first", 4), folder).returncode == 0
    done = run(line.format("second", 8), folder)
    assert json.loads(done.stdout)["steps"] == 8
    done = run(line.format("third", 8) + " --rate 0.5", folder)
    assert done.returncode == 2
    assert "of another run: its training is" in done.stderr


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("pairs.jsonl model -o new", "The model comes first, then the examples"),
        ("model model -o new", "is a folder; examples are a JSONL file"),
        ("model pairs.jsonl -o model", "exists and is not empty"),
        ("model missing.jsonl -o new", "There is no 'missing.jsonl'"),
        ("missing pairs.jsonl -o new", "There is no 'missing'. A model is"),
        ("model broken.jsonl -o new", r"Example 5: it has 'prompt'; wanted is one of"),
        ("model cut.jsonl -o new", "cut.jsonl, line 2 is no JSON"),
        ("model pairs.jsonl -o new --method lore", "method is 'lore'; it is lora or full"),
        ("model pairs.jsonl -o new --rate 0", "--rate is 0; it is above 0"),
        ("model pairs.jsonl -o new --minutes -3", "--minutes is -3"),
        ("model pairs.jsonl -o new --steps 0", "--steps is 0"),
        ("model pairs.jsonl -o new --rank 0", "rank"),
        ("model pairs.jsonl -o new --length 9999", "reads 256 steps at most"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(line: str, message: str, folder: Path) -> None:
    check_refused(f"tune {line}", message, folder)
    assert not (folder / "new").exists()
