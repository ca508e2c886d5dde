"""likely translate: learn from pairs, translate texts and catalogues; mistakes are one line."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import polib
import pytest

from tests.apps.test_translate import PO, pairs
from tests.cli.shell import check_refused, run, start


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("translate")
    rows = [f"{pair.source}\t{pair.target}" for pair in pairs(200)]
    (place / "pairs.tsv").write_text("\n".join(rows) + "\n")
    (place / "text.txt").write_text("the red dog sings.\n\nthe old cat eats.\n")
    (place / "messages.po").write_text(PO)
    done = run("translate fit pairs.tsv -o de.likely --steps 30 --width 32 --depth 1", place)
    assert done.returncode == 0, done.stderr
    assert "Wrote de.likely" in done.stderr
    assert done.stdout == ""
    return place


def test_a_text_a_file_and_a_catalogue(folder: Path) -> None:
    done = run("translate apply de.likely text.txt", folder)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    assert done.stdout.splitlines()[1] == ""
    (folder / "odd.txt").write_text("the red dog\u2028sings.\n\nthe old cat eats.\n", encoding="utf-8")
    assert run("translate apply de.likely odd.txt", folder).stdout.count("\n") == 3
    done = run("translate apply de.likely node.js", folder)  # no file: a text
    assert done.returncode == 0, done.stderr
    done = run("translate apply de.likely messages.po -o filled.po", folder)
    assert done.returncode == 0, done.stderr
    assert "2 of 3 entries filled in, 1 were translated. They are flagged fuzzy" in done.stderr
    made = polib.pofile(str(folder / "filled.po"))
    assert made[0].msgstr.count("%s") == 1
    assert [form.count("%d") for form in made[2].msgstr_plural.values()] == [1, 1, 1]


def test_a_score_stands_beside_copying(folder: Path) -> None:
    (folder / "held.tsv").write_text("".join(f"{a}\t{b}\n" for a, b in pairs(10, seed=3)))
    done = run("translate score de.likely held.tsv", folder)
    assert done.returncode == 0, done.stderr
    assert "chrF" in done.stdout
    assert "copy of the source" in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_keeps_the_best_and_the_same_line_goes_on(folder: Path) -> None:
    line = "translate fit pairs.tsv -o stopped.likely --width 32 --depth 1 --checkpoint run --steps {}"
    process = start(line.format(100_000), folder)
    assert process.stderr is not None
    while b"learning" not in process.stderr.readline():
        assert process.poll() is None
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said.decode()
    assert b"Stopped early, the best so far is kept. The same line goes on" in said
    assert run("translate apply stopped.likely Hello", folder).returncode == 0
    assert list((folder / "run").iterdir())


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("fit missing.tsv -o x.likely", "There is no file 'missing.tsv'"),
        ("fit pairs.tsv -o x.likely --minutes 0", "must be above 0"),
        ("fit pairs.tsv -o x.likely --source en", "--source and --target"),
        ("apply Hello", "The translator comes first"),
        ("apply de.likely", "One text or file"),
        ("apply de.likely one two", "Quote a text"),
        ("apply de.likely missing.po", "There is no file 'missing.po'"),
        ("apply de.likely missing.txt", "There is no file 'missing.txt'"),
        ("apply pairs.likely Hello", "pairs.likely"),
        ("apply de.likely Hello --to German", "--to goes with --model"),
        ("apply Hello --model smollm2", "--to German"),
    ],
)
def test_mistakes_are_one_line(line: str, message: str, folder: Path) -> None:
    check_refused(f"translate {line}", message, folder)
    assert not (folder / "x.likely").exists()
