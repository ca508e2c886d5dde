"""likely chat, as it is typed."""

from __future__ import annotations

import io
import json
import os
import pty
import select
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import pytest

from likely.cli.app import fail
from likely.cli.chat import chat
from likely.errors import LikelyError
from likely.language import huggingface
from likely.language.template import Template
from tests.apps.test_chat_conversation import TEMPLATE
from tests.cli.shell import Done
from tests.language import decode_toys

LIBRARY = Path(__file__).parents[2] / "benchmarks" / "documents" / "tuning" / "library"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("chat")
    made = replace(decode_toys.checkpoint(seed=2, context=6000), template=Template(TEMPLATE))
    huggingface.save(made, place / "model")
    return place


def run(command: str, folder: Path, given: bytes | None = None) -> Done:
    """`likely chat COMMAND`, with `given` on standard input."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    piped = io.TextIOWrapper(io.BytesIO(given or b""), encoding="utf-8")
    with chdir(folder), patch.object(sys, "stdin", piped), redirect_stdout(out), redirect_stderr(err):
        try:
            try:
                chat(shlex.split(command), prog_name="likely chat")
            except LikelyError as error:
                fail(str(error))
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    return Done(code, out.getvalue(), err.getvalue())


def test_one_question_prints_the_answer_only(folder: Path) -> None:
    done = run("--model model --tokens 9 --seed 1 -p Hello", folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.endswith("\n")
    assert run("--model model --tokens 9 --seed 1", folder, b"Hello\n") == done
    assert run("--model model --tokens 9 --seed 2 -p Hello", folder).stdout != done.stdout


def test_answers_from_documents(folder: Path) -> None:
    question = b"What does a colour page cost to print?\n\nHow much?\nIs there a zebra?\n"
    done = run(f"--about {LIBRARY} --quote", folder, question)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.count("[house.txt:12]") == 2
    assert "'zebra'" in done.stdout
    lines = run(f"--about {LIBRARY} --quote --json", folder, question).stdout.splitlines()
    answers = [json.loads(line) for line in lines]
    assert [answer["refused"] for answer in answers] == [False, False, True]
    assert answers[0]["document"] == "house.txt"
    assert answers[0]["line"] == 12


def test_an_examination_prints_a_table(folder: Path) -> None:
    test = LIBRARY.with_suffix(".jsonl")
    done = run(f"--about {LIBRARY} --quote --test {test}", folder)
    assert done.returncode == 0, done.stderr
    assert "answerable      16   right" in done.stdout
    assert "hit@1" in done.stdout
    counts = json.loads(run(f"--about {LIBRARY} --quote --test {test} --json -q", folder).stdout)
    assert counts["foreign"] == 0


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("--model nowhere -p x", "There is no 'nowhere'"),
        ("--model model -p '  '", "Nothing was asked"),
        ("--model model", "Nothing was asked"),
        ("--model model -p x --temperature -1", "temperature=-1"),
        ("--model model -p x --tokens 0", "tokens=0"),
        ("--model model -p x --quote", "--quote goes with --about"),
        ("--model model -p x --json", "--json goes with --about"),
        ("--test t.jsonl", "--test goes with --about"),
        ("--about nowhere --quote -p x", "No folder"),
        ("--about empty --quote -p x", "Nothing to read"),
        ("--about empty --quote --model model -p x", "without a model"),
        ("--about empty --system x -p x", "--system is for conversations"),
        ("--about empty --quote --test none.jsonl", "No file"),
        ("--model model -p x --sytem y", "--sytem"),
    ],
)
def test_refusals_are_one_line_and_exit_code_2(folder: Path, command: str, says: str) -> None:
    (folder / "empty").mkdir(exist_ok=True)
    done = run(command, folder)
    assert done.returncode == 2, done.stdout
    assert says in done.stderr
    assert done.stdout == ""


def test_what_is_piped_is_capped_and_may_be_odd(folder: Path) -> None:
    assert "over 1 MB" in run("--model model", folder, b"x" * (1 << 21)).stderr
    done = run("--model model --tokens 3", folder, b"\xff\xfe odd <end> \xc3")
    assert done.returncode == 0, done.stderr


class Terminal:
    """`likely chat` on a terminal of its own."""

    def __init__(self, command: str, folder: Path) -> None:
        main, sub = pty.openpty()
        words = [sys.executable, "-c", "from likely.cli.chat import chat; chat()", *shlex.split(command)]
        self.process = subprocess.Popen(
            words, cwd=folder, stdin=sub, stdout=sub, stderr=sub, start_new_session=True, preexec_fn=_control,
            env=os.environ | {"TERM": "dumb"},
        )  # fmt: skip
        os.close(sub)
        self.main, self.seen = main, ""

    def type(self, text: str) -> None:
        os.write(self.main, text.encode())

    def until(self, wanted: str) -> str:
        """What came since the last time, up to and with `wanted`."""
        self._read(lambda: wanted in self.seen, wanted)
        before, _, self.seen = self.seen.partition(wanted)
        return before + wanted

    def more(self, count: int) -> None:
        """Wait until so many characters came."""
        self._read(lambda: len(self.seen) >= count, f"{count} characters")

    def _read(self, enough: Callable[[], bool], wanted: str) -> None:
        end = time.monotonic() + 200
        while not enough():
            assert time.monotonic() < end, f"no {wanted!r} in {self.seen!r}"
            if select.select([self.main], [], [], 0.2)[0]:
                self.seen += os.read(self.main, 4096).decode("utf-8", "replace")


def _control() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def test_a_dialogue_in_a_terminal(folder: Path) -> None:
    """Messages, commands, a mistyped one; Ctrl-C stops the answer and not the program; Ctrl-D leaves."""
    terminal = Terminal("--model model --tokens 5000 --seed 3", folder)
    terminal.until("Ctrl-D leaves.")
    terminal.until("> ")
    terminal.type("Hello\n")
    terminal.until("Hello")
    terminal.more(40)
    terminal.type("\x03")
    terminal.until("> ")
    terminal.type("/halp\n")
    assert "/help?" in terminal.until("message.")
    terminal.type("/system Be brief.\n")
    terminal.until("System: Be brief.")
    terminal.type("/save talk.jsonl\n")
    terminal.until("Wrote talk.jsonl.")
    terminal.type("/save\n")
    terminal.until("Where to?")
    terminal.type("\x03")
    terminal.until("(Ctrl-D or /quit leaves.)")
    terminal.until("> ")  # what is typed before a prompt stands there may be lost
    terminal.type("\x04")
    assert terminal.process.wait(60) == 0
    os.close(terminal.main)
    saved = json.loads((folder / "talk.jsonl").read_text())
    assert saved["messages"][:2] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]


def test_a_dialogue_with_documents(folder: Path) -> None:
    terminal = Terminal(f"--about {LIBRARY} --quote", folder)
    terminal.until("2 documents")
    terminal.until("> ")
    terminal.type("What does a colour page cost to print?\n")
    terminal.until("[house.txt:12]")
    terminal.type("/why\n")
    terminal.until("An answer needs")
    terminal.type("/sources\n")
    terminal.until("lending.md")
    terminal.type("/quit\n")
    assert terminal.process.wait(60) == 0
    os.close(terminal.main)
