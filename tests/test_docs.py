"""What the pages and the examples show is run: every block of a page in order, in one namespace, in an empty folder."""

from __future__ import annotations

import datetime as dt
import re
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

import likely
from tests.cli.shell import run

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def blocks(page: Path, language: str, flag: str = "") -> list[tuple[int, str]]:
    """(line number, text) of the page's blocks in a language that are marked so: "no-run" is run by nobody, "toy" by
    tests/align/test_pages.py, on small models."""
    text = page.read_text(encoding="utf-8")
    return [
        (text.count("\n", 0, found.start(3)), found[3])
        for found in BLOCK.finditer(text)
        if found[1] == language and found[2].strip() == flag
    ]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=name_of)
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {"__name__": "page"}
    for line, text in blocks(page, "python"):
        # Blank lines before the block, so that a traceback names the line of the page.
        exec(compile("\n" * line + text, str(page), "exec"), space)


def draw_pictures(folder: Path) -> None:
    """Two sub-folders of 120 small pictures: dark ones and bright ones."""
    rng = np.random.default_rng(0)
    for label, middle in (("cat", 80), ("dog", 180)):
        (folder / label).mkdir(parents=True)
        for k in range(120):
            pixels = np.clip(rng.normal(middle, 30, (8, 8)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{k}.png")


def sensors(n: int) -> pl.DataFrame:
    """Readings of a machine, one every five minutes."""
    draw, t = np.random.default_rng(0), np.arange(n)
    start = dt.datetime(2024, 3, 1)
    return pl.DataFrame(
        {
            "time": [start + dt.timedelta(minutes=5 * int(i)) for i in t],
            "heat": 60 + 10 * np.sin(2 * np.pi * t / 24) + draw.normal(size=n),
            "flow": 5 + draw.normal(size=n),
        }
    )


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "console")], ids=name_of)
def test_the_commands_of_a_page_run(page: Path, tmp_path: Path) -> None:
    """On small data in the place of the reader's own, and in three seconds where a page allows minutes."""
    table = likely.data.support2()["age", "sex", "dzgroup", "num.co", "meanbp", "crea", "hospdead"]
    table[:400].write_csv(tmp_path / "patients.csv")
    table[400:500].write_csv(tmp_path / "new.csv")
    table[500:550].write_csv(tmp_path / "holes.csv")
    draw_pictures(tmp_path / "pictures")
    readings = sensors(1200)
    readings[:900].write_csv(tmp_path / "sensors.csv")
    readings[900:].write_csv(tmp_path / "later.csv")
    for _, text in blocks(page, "console"):
        for command in re.findall(r"^\$ likely (.*?)(?:\s+#.*)?$", text, re.MULTILINE):
            if not command.startswith("demo"):  # minutes; it has a test of its own
                done = run(re.sub(r"--minutes \S+", "--minutes 0.05", command), tmp_path)
                assert done.returncode == 0, f"likely {command}\n{done.stderr}"


@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
def test_the_examples_run(
    example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert len(example.read_text().splitlines()) < 40
    runpy.run_path(str(example), run_name="__main__")
    assert len(capsys.readouterr().out) > 100


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{name_of(page)} links to {target}"
