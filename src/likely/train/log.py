"""What a person sees while work goes on: a bar with stage, share done, loss, speed and time left.

    with bar() as listen:
        fit(family, batch, budget, listen=listen)

On a terminal the bar moves; in a file or a pipe each stage is one line when it begins, and nothing else.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.text import Text

from likely.core import Listener, Progress


class Quiet:
    """Listens and says nothing."""

    def __call__(self, progress: Progress) -> None: ...


@contextmanager
def bar(stream: TextIO | None = None) -> Iterator[Listener]:
    """A listener that draws on `stream` (standard error where None) until the end of the `with`."""
    stream = stream if stream is not None else sys.stderr
    console = Console(file=stream)
    if not console.is_terminal:
        yield _Lines(stream)
        return
    columns = (TextColumn("{task.description}"), BarColumn(24), TextColumn("{task.percentage:3.0f}%"), _Figures())
    with Bars(*columns, console=console, transient=False) as bars:
        yield _Bar(bars)


class _Bar:
    """One line a stage; the line of a finished stage stays."""

    def __init__(self, bars: Bars) -> None:
        self.bars, self.stage = bars, ""
        self.task: TaskID | None = None

    def __call__(self, progress: Progress) -> None:
        if self.task is None or progress.stage != self.stage:
            if self.task is not None:
                self.bars.update(self.task, completed=1.0, left=None)
            self.stage = progress.stage
            self.task = self.bars.add_task(progress.stage, total=1.0, loss=None, speed=None, left=None)
        done = min(max(progress.done, 0.0), 1.0)
        self.bars.update(self.task, completed=done, loss=progress.loss, speed=progress.speed, left=progress.left)


class _Lines:
    """One line when a stage begins, for streams that are no terminal."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.stage = stream, ""

    def __call__(self, progress: Progress) -> None:
        if progress.stage != self.stage:
            self.stage = progress.stage
            self.stream.write(f"{progress.stage} ...\n")
            self.stream.flush()


class _Figures(ProgressColumn):
    """Loss, speed and time left, as far as they are known."""

    def render(self, task: Task) -> Text:
        loss, speed, left = (task.fields.get(name) for name in ("loss", "speed", "left"))
        parts = []
        if loss is not None:
            parts.append(f"loss {loss:.4g}")
        if speed is not None:
            parts.append(f"{speed:.3g} steps/s")
        if left is not None:
            parts.append(f"{_clock(left)} left")
        return Text("  ".join(parts))


def _clock(seconds: float) -> str:
    """65 -> "1:05"; 3665 -> "1:01:05"."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
