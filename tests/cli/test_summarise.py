"""likely summarise, as it is typed."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from likely.language import huggingface
from tests.apps.texts import TALE, shallow, toy
from tests.cli.shell import run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("summarise")
    huggingface.save(toy(1024), place / "toy")
    huggingface.save(shallow(), place / "shallow")
    (place / "tale.txt").write_text(TALE)
    (place / "empty.txt").write_text(" \n")
    (place / "latin.txt").write_bytes("Der Müller ging. Er kam zurück.".encode("latin-1"))
    (place / "zero.bin").write_bytes(b"\x00\x01\x02" * 50)
    return place


def test_quoted_with_the_lines_it_rests_on(folder: Path) -> None:
    done = run("summarise tale.txt --extract -n 2 --sources", folder)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 2
    assert lines[0].endswith("[quoted, line 1]")
    assert done.stderr == ""
    assert run("summarise latin.txt --extract --encoding latin-1", folder).stdout.startswith("Der Müller ging.")


def test_written_and_checked(folder: Path) -> None:
    done = run("summarise tale.txt --model toy -n 1 --json", folder)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["summary"] == " ".join(one["text"] for one in found["sentences"])
    assert found["flagged"]
    assert {problem["kind"] for flag in found["flagged"] for problem in flag["problems"]} <= {
        "number", "unit", "name", "negation", "unlike", "unfinished",
    }  # fmt: skip
    assert "Replaced: " in done.stderr
    quiet = run("summarise tale.txt --model toy -n 1 --both --quiet", folder)
    assert quiet.stderr == ""
    assert quiet.stdout.splitlines()[0] == found["summary"]
    assert quiet.stdout.splitlines()[-1] == found["extract"]


def test_from_standard_input(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(TALE.encode())))
    done = run("summarise - --headline --extract --words 8", folder)
    assert done.returncode == 0, done.stderr
    assert 1 <= len(done.stdout.split()) <= 9


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        ("summarise nothing.txt", "No file 'nothing.txt'"),
        ("summarise .", "is a folder"),
        ("summarise empty.txt --extract", "no words"),
        ("summarise latin.txt --extract", "is not utf-8"),
        ("summarise zero.bin --extract", "is no text"),
        ("summarise tale.txt --extract -n 0", "sentences=0"),
        ("summarise tale.txt --extract --headline --words 1", "words=1"),
        ("summarise tale.txt --model toy --doubtful keep", "replace, drop, flag"),
        ("summarise tale.txt --model toy --chunk 5000", "chunk=5000"),
        ("summarise tale.txt --model shallow", "too short to read and to write in"),
        ("summarise tale.txt --model nowhere", "There is no 'nowhere'"),
    ],
)
def test_mistakes_have_one_clear_line(folder: Path, command: str, wanted: str) -> None:
    done = run(command, folder)
    assert done.returncode == 2
    assert wanted in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_headline_as_it_is_named(folder: Path) -> None:
    named = run("headline tale.txt --extract", folder)
    assert named.returncode == 0, named.stderr
    assert 1 < len(named.stdout.split()) <= 13  # twelve words and an ellipsis
    assert named.stdout == run("summarise tale.txt --headline --extract", folder).stdout
    assert json.loads(run("headline tale.txt --extract --json", folder).stdout)["headline"] == named.stdout.strip()
    missing = run("headline nothing.txt", folder)
    assert missing.returncode == 2
    assert "No file 'nothing.txt'" in missing.stderr
