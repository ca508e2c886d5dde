"""Ctrl-C and the request to end, put off until the weights are in a state worth keeping.

A signal may come between two halves of an update. While training runs, SIGINT (Ctrl-C) and SIGTERM (a scheduler that
takes the machine back) only leave a note, which the loop reads between steps. A second Ctrl-C is not put off. When
training has stopped and saved, SIGTERM is delivered again to whoever handled it before: by default the process ends.

Handlers belong to the main thread; elsewhere (a job of a server) nothing is installed and nothing is ever noted.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Asked:
    """What was asked for while it was put off."""

    interrupt: bool = False
    terminate: bool = False


@contextmanager
def deferred() -> Iterator[Asked]:
    """Within: SIGINT and SIGTERM are noted in what is yielded, and a second SIGINT raises KeyboardInterrupt."""
    asked = Asked()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        if asked.interrupt:
            raise KeyboardInterrupt
        asked.interrupt = True

    def terminate(number: int, frame: FrameType | None) -> None:
        asked.terminate = True

    before = {}
    for number, handler in ((signal.SIGINT, interrupt), (signal.SIGTERM, terminate)):
        if signal.getsignal(number) is not signal.SIG_IGN:  # started under nohup: stay deaf
            # None = a handler that was not set from Python, which cannot be put back: the default is the nearest.
            before[number] = signal.signal(number, handler) or signal.SIG_DFL
    try:
        yield asked
    finally:
        for number, old in before.items():
            signal.signal(number, old)
        if asked.terminate:
            signal.raise_signal(signal.SIGTERM)
