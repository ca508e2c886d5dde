"""Runs `likely ...` as a user types it: in this process, since torch takes seconds to import, or in one of its own."""

from __future__ import annotations

import io
import os
import shlex
import subprocess
import sys
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from likely.cli import main


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


def run(command: str, folder: Path | str = ".") -> Done:
    """`likely COMMAND` in `folder`, through the entry point. An exception that gets out of it fails the test."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    argv = ["likely", *shlex.split(command)]
    with chdir(folder), patch.object(sys, "argv", argv), redirect_stdout(out), redirect_stderr(err):
        try:
            main()
        except SystemExit as leaving:
            code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    return Done(code, out.getvalue(), err.getvalue())


def check_refused(command: str, message: str, folder: Path) -> None:
    """That `likely COMMAND` is refused in one line that says `message`, and that standard output stays empty."""
    done = run(command, folder)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr.splitlines()[-1]
    assert done.stdout == ""


def start(command: str, folder: Path) -> subprocess.Popen[bytes]:
    """`likely COMMAND` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "likely", *shlex.split(command)],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
