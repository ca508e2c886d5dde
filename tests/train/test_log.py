"""The progress bar: on a terminal, and where there is none."""

from __future__ import annotations

import io

from likely.core import Progress
from likely.train.log import Quiet, bar


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


REPORTS = [
    Progress("reading", 0.0),
    Progress("learning", 0.1, 3.14159, 20.0, 3665.0),
    Progress("learning", 1.0, 2.0, 25.0, 0.0),
    Progress("sampling", 2.0),
]


def test_a_pipe_gets_one_line_a_stage() -> None:
    stream = io.StringIO()
    with bar(stream) as listen:
        for report in REPORTS:
            listen(report)
    assert stream.getvalue() == "reading ...\nlearning ...\nsampling ...\n"


def test_a_terminal_gets_stage_loss_speed_and_time() -> None:
    stream = Terminal()
    with bar(stream) as listen:
        for report in REPORTS:
            listen(report)
            listen.bars.refresh()  # type: ignore[attr-defined]
    told = stream.getvalue()
    for words in ("reading", "learning", "sampling", "loss 3.142", "20 steps/s", "1:01:05 left", "100%"):
        assert words in told


def test_quiet_says_nothing() -> None:
    for report in REPORTS:
        Quiet()(report)
