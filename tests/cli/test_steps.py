"""The steps of a run as a person sees them: in a terminal, in a log, and where steps do not tell the same."""

from __future__ import annotations

import os
import pty
import sys
from typing import Any

import pytest

from likely.cli.steps import shown
from likely.core import Progress

# What dpo tells: KL is looked at every tenth step.
ROWS = [{"step": float(k), "loss": 0.69 - 0.01 * k, "right": 0.5} | ({"kl": 0.25} if k == 9 else {}) for k in range(11)]


def watched() -> None:
    with shown(False) as (listen, watch):
        listen(Progress("aligning", 0.0))
        for k, row in enumerate(ROWS):
            watch(k, row)
            listen(Progress("aligning", (k + 1) / 11, left=1.0))
        listen(Progress("answering after", 0.0))


def test_a_log_has_a_line_a_step_as_it_comes(capsys: pytest.CaptureFixture[str]) -> None:
    watched()
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "aligning ..."
    assert lines[1].split() == ["step", "loss", "right"]
    assert lines[2].split() == ["0", "0.690", "0.500"]
    assert lines[11].split() == ["step", "kl", "loss", "right"]
    assert lines[12].split() == ["9", "0.250", "0.600", "0.500"]
    assert lines[13].split() == ["10", "0.590", "0.500"]
    assert lines[14] == "answering after ..."
    assert len(lines) == 15


def test_a_terminal_has_a_table_of_the_last_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = pty.openpty()
    monkeypatch.setenv("TERM", "xterm")
    with os.fdopen(writing, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        watched()
        terminal.flush()
        said = os.read(reading, 100_000).decode()
    os.close(reading)
    assert "answering after" in said
    assert "0.250" in said


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with shown(True) as pair:
        assert pair == (None, None)
    silent: Any = capsys.readouterr()
    assert silent.err == ""
