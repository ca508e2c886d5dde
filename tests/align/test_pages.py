"""What the pages on alignment show is run: toys for models, two steps for minutes, the terminal for a browser."""

from __future__ import annotations

import io
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.align import stage
from tests.cli.shell import run
from tests.test_docs import ROOT, blocks

PAGES = {"taste": "answers", "rlhf": "answers", "align": "texts", "rank": "rows"}  # and what is judged there
ANSWERS = "l\nr\nt\nq\n"


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models and files that the pages speak of."""
    folder = tmp_path_factory.mktemp("toys")
    stage.set_up(folder)
    return folder


@pytest.mark.parametrize("name", PAGES)
def test_the_commands_of_a_page_run_on_toys(
    name: str, toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(toys, tmp_path, dirs_exist_ok=True)
    stage.judge(tmp_path, PAGES[name])
    if name == "rank":
        shutil.copytree(toys / "toy", tmp_path / "mine" / "model")
    ran = 0
    for _, text in blocks(ROOT / "docs" / "align" / f"{name}.md", "console", "toy"):
        for command in re.findall(r"^\$ likely (.*?)(?:\s+#.*)?$", text, re.MULTILINE):
            short, said = stage.shortened(command), "Hello\n"
            if command.startswith("rank") and "--results" not in command:
                short, said = short.replace(" --terminal", "") + " --terminal", ANSWERS
            monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(said.encode())))
            done = run(short, tmp_path)
            assert done.returncode == 0, f"likely {short}\n{done.stderr}"
            ran += 1
    assert ran > 1


def test_the_python_of_rlhf_runs_on_a_toy(toys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(toys, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    page, space = ROOT / "docs" / "align" / "rlhf.md", dict[str, Any]({"__name__": "page"})
    for line, text in blocks(page, "python", "toy"):
        exec(compile("\n" * line + stage.shortened(text), str(page), "exec"), space)
    assert (tmp_path / "brief" / "alignment.html").is_file()
