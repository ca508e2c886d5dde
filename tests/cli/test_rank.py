"""likely rank as a user types it: a table's rows judged in the terminal, a page served and ended, results, mistakes."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
import polars as pl
import pytest

import likely
from likely.align.preference import Candidate, Item
from likely.cli.rank import _named
from likely.server.rank.host import tokens
from likely.server.store import Store
from tests.cli.shell import Done, check_refused, run, start
from tests.server.rank.conftest import texts


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models of people, and prompts."""
    made, draw = tmp_path_factory.mktemp("rank"), np.random.default_rng(0)
    for name, age in (("young", 30), ("old", 70)):
        frame = pl.DataFrame({"age": draw.normal(age, 5, 120).round(1), "sex": draw.choice(["F", "M"], 120)})
        likely.fit(frame, family="trees", progress=False).save(made / f"{name}.likely")
    (made / "prompts.txt").write_text("Why?\n")
    return made


def typed(command: str, lines: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Done:
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    return run(command, folder)


def test_rows_are_judged_in_the_terminal_and_a_run_goes_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("young", "old"):
        (tmp_path / f"{name}.likely").symlink_to(folder / f"{name}.likely")
    command = "rank young.likely old.likely --pairs 12 --store j.db --terminal --annotators ann --repeats 0"
    first = typed(command, "l\nwhat\nr3\nu\nleft\nq\n", tmp_path, monkeypatch)
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("[LEFT]\nage: ") == 5
    assert "2 judgements are kept in j.db" in first.stderr
    assert not re.search("young|old|seed|artifact", first.stdout)
    again = typed(command, "l\n" * 10, tmp_path, monkeypatch)
    assert "--- 3 of 12 " in again.stdout
    assert "12 judgements are kept" in again.stderr
    third = typed(command, "", tmp_path, monkeypatch)
    assert "12 judgements are kept" in third.stderr
    assert "Loading" not in third.stderr  # nothing was to be made
    with Store(tmp_path / "j.db") as store:
        kept = store.judgements()
    assert kept.counts()["active"] == kept.counts()["items"] == 12
    assert {one.model for item in kept.items for one in item.candidates} == {"young", "old"}
    assert all(one.flags == ("terminal",) and one.seconds is not None for one in kept.active())

    told = run("rank --results --store j.db -o results.html", tmp_path)
    assert told.returncode == 0, told.stderr
    assert "12 judgements of 12 items by 1 annotator (1 taken back, 0 repeats)" in told.stdout
    assert re.search(r"^(young|old) +-?\d", told.stdout, re.MULTILINE)
    assert "said left in all 12 decisions" in told.stdout
    assert re.search("Judge on.*\n  likely rank --store j.db --annotators ann\n", told.stdout)
    assert "likely rank --store j.db --annotators ann,bob" in told.stdout
    assert "likely align MODEL.likely --judgements j.db" in told.stdout
    assert "likely rlhf" not in told.stdout  # rows are not for language models
    other = typed(command.replace("ann ", "me "), "", tmp_path, monkeypatch)
    assert "12 judgements are kept in j.db, 0 of them by me. Results" in other.stderr
    both = typed(command.replace("ann ", "me "), "l\n", tmp_path, monkeypatch)
    assert "13 judgements are kept in j.db, 1 of them by me. Results" in both.stderr
    assert "--store j.db --annotators ann,me\n" in run("rank --results --store j.db", tmp_path).stdout
    page = (tmp_path / "results.html").read_text()
    assert "Which model is preferred?" in page
    assert "<script" not in page


def test_a_wish_holds_in_all_that_is_shown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = "rank young.likely --given sex=F --given age=30..40 --pairs 3 --store wish-f.db --terminal"
    done = typed(command, "t\n" * 3, folder, monkeypatch)
    assert done.returncode == 0, done.stderr
    ages = [float(found) for found in re.findall(r"\]\nage: ([\d.]+)\nsex: F\n", done.stdout)]
    assert len(ages) == 6
    assert all(30 <= age <= 40 for age in ages)


def test_rows_and_pictures_are_ranked_apart_in_one_store(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (60, 6, 6), dtype=np.uint8)
    likely.fit(pixels, family="vae", minutes=0.01, progress=False).save(tmp_path / "flat.likely")
    (tmp_path / "young.likely").symlink_to(folder / "young.likely")
    check_refused("rank young.likely flat.likely --store j.db", "'young' makes rows, 'flat' makes images", tmp_path)
    assert not (tmp_path / "j.db").exists()
    typed("rank young.likely --pairs 4 --store j.db --terminal", "t\n" * 4, tmp_path, monkeypatch)
    typed("rank flat.likely --pairs 4 --store j.db --terminal", "", tmp_path, monkeypatch)
    with Store(tmp_path / "j.db") as store:
        media = [{one.media for one in line.candidates} for line in store.outlines()]
    assert media.count({"application/json"}) == 4
    assert {"image/png"} in media
    assert all(len(one) == 1 for one in media)


def test_a_page_is_served_and_ended(tmp_path: Path) -> None:
    with Store(tmp_path / "j.db") as store:
        store.add_items(texts(3))
    running = start("rank --store j.db --port 0 --no-open --annotators anna,bob", tmp_path)
    assert running.stdout is not None
    assert running.stderr is not None
    links = dict(running.stdout.readline().decode().split() for _ in range(3))
    assert list(links) == ["anna", "bob", "results"]
    address, _, token = links["anna"].partition("/#")
    answer = httpx.get(f"{address}/api/state", headers={"authorization": f"Bearer {token}"}).json()
    said = {"id": answer["showing"]["id"], "choice": "right"}
    assert (
        httpx.post(f"{address}/api/answer", headers={"authorization": f"Bearer {token}"}, json=said).status_code == 200
    )
    running.send_signal(signal.SIGINT)
    _, said_aloud = running.communicate(timeout=60)
    assert running.returncode == 0
    assert "1 judgement is kept in j.db" in said_aloud.decode()
    assert token not in said_aloud.decode()
    with Store(tmp_path / "j.db") as store:
        assert [one.choice for one in store.judgements().comparisons] == ["right"]


def test_a_terminal_shows_no_pictures_and_obeys_no_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J\x9b31mtext\r\n\tkept"
    with Store(tmp_path / "j.db") as store:
        store.add_item(Item("a", evil, tuple(Candidate.text(evil + str(k), model=f"\x1b[5mm{k}") for k in range(2))))
    done = typed("rank --terminal --store j.db --annotators me", "r\n", tmp_path, monkeypatch)
    assert done.returncode == 0, done.stderr
    assert not set(done.stdout) & {"\x1b", "\x07", "\x9b", "\r"}
    assert "kept0" in done.stdout
    told = run("rank --results --store j.db", tmp_path)
    assert "[5mm1" in told.stdout
    assert "\x1b" not in told.stdout
    with Store(tmp_path / "pictures.db") as store:
        store.add_item(Item("a", None, tuple(Candidate(bytes([k]), "image/png") for k in range(2))))
    monkeypatch.setattr(sys, "stdin", io.StringIO("l\n"))
    check = run("rank --terminal --store pictures.db", tmp_path)
    assert check.returncode == 2
    assert "leave --terminal out" in check.stderr


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("rank", "There is no 'judgements.db' yet"),
        ("rank smollm --prompts prompts.txt", "There is no model 'smollm'"),
        ("rank prompts.txt", "is no model; prompts come behind one"),
        ("rank young.likely --prompts nowhere.txt", "There is no file 'nowhere.txt'"),
        ("rank --prompts prompts.txt", "Name a model"),
        ("rank young.likely young.likely", "Two models are called 'young'"),
        ("rank young.likely --pairs 0", "--pairs 0"),
        ("rank young.likely --temperature -1", "--temperature -1"),
        ("rank young.likely --temperature 0", "says the same twice"),
        ("rank young.likely --repeats 2", "--repeats 2"),
        ("rank young.likely --annotators ,", "--annotators"),
        ("rank young.likely --annotators a,a", "different names"),
        ("rank young.likely --annotators a,b --terminal", "one person"),
        ("rank young.likely --criteria a,a", "--criteria"),
        ("rank young.likely --host 0.0.0.0", "--public"),
        ("rank young.likely --store prompts.txt", "is no SQLite database"),
        ("rank young.likely --store mysql://x/y", "cannot be kept at mysql"),
        ("rank young.likely --reward young.likely", "reward"),
        ("rank young.likely --results", "leave models"),
        ("rank young.likely --given sex", "--given"),
        ("rank young.likely --given sex=X --terminal --store wish.db", "sex"),
        ("rank young.likely --given sex=F --prompts prompts.txt", "not both"),
        ("rank --given sex=F", "name one"),
        ("rank -o x.html", "likely rank --results"),
        ("rank --results --store nowhere.db", "There is no 'nowhere.db' yet"),
        ("rank --results --store sqlite:///nowhere.db", "There is no 'sqlite:///nowhere.db' yet"),
        ("rank --store sqlite:///nowhere.db", "There is no 'sqlite:///nowhere.db' yet"),
        ("rank young.likely --terminal --prompts prompts.txt --store fails.db", "answers no texts"),
    ],
)
def test_mistakes_are_told_in_one_line(command: str, message: str, folder: Path) -> None:
    check_refused(command, message, folder)
    assert not (folder / "nowhere.db").exists()


@pytest.mark.parametrize(
    "asked", ["--given sex=X", "--given weight=3", "--given age=500..600", "--prompts prompts.txt"]
)
def test_what_a_model_cannot_be_asked_is_told_once_before_a_page_is_served(
    asked: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def served(*_: object) -> None:
        raise AssertionError("a page was served")

    monkeypatch.setattr("likely.cli.rank._page", served)
    done = run(f"rank young.likely {asked} --store unasked.db --no-open --port 0", folder)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert not (folder / "unasked.db").exists()


def test_an_empty_store_has_results_that_say_so(tmp_path: Path) -> None:
    with Store(tmp_path / "j.db") as store:
        store.add_items(texts(1))
    done = run("rank --results --store j.db -o r.html", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "There are no judgements." in done.stdout
    assert "No pair is judged yet: likely rank --store j.db\n" in done.stdout
    assert "by='candidate'" not in done.stdout
    assert "Judge on: 0 pairs are decided" in done.stdout


def test_help_and_the_page_need_no_torch() -> None:
    code = (
        "import sys, likely.cli.rank, likely.server.rank.routes, likely.server.rank.host, likely.server.rank.making; "
        "sys.exit('torch' in sys.modules or 'scipy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_links_are_kept_with_a_secret_and_passwords_are_not_shown() -> None:
    assert tokens(["anna", "bob"], "secret") == tokens(["anna", "bob"], "secret")
    assert tokens(["anna", "bob"], "secret")[0] != tokens(["anna", "bob"], "other")[0]
    assert len(set(tokens(["anna", "bob"]))) == 3
    assert _named("postgresql://ann:pa@ss@host:5432/db") == "postgresql://host:5432/db"
