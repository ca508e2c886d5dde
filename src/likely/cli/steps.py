"""The steps of a run of alignment, on standard error: a live table in a terminal, a line a step elsewhere.

step reward    kl entropy clipped ratio unexplained length ended mismatch  beta
   0 -0.853 0.000    2.92   0.157    23           1   29.7 0.219    0.039 0.200
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from likely.core import Progress
from likely.errors import LikelyError

SHOWN = ("reward", "kl", "entropy", "clipped", "ratio", "unexplained", "length", "ended", "mismatch", "loss",
         "right", "beta")  # fmt: skip
KEPT = 12  # rows of the live table
Row = dict[str, float]


@contextmanager
def shown(quiet: bool) -> Iterator[tuple[Any, Any]]:
    """A listener and a watcher to give to `align`; both None where it is to be `quiet`."""
    console = Console(stderr=True)
    if quiet:
        yield None, None
    elif not console.is_terminal:
        lines = _Lines(console)
        yield lines.listen, lines.watch
    else:
        with Live(console=console, refresh_per_second=4) as live:
            table = _Table(live)
            try:
                yield table.listen, table.watch
            except LikelyError:
                live.update("")
                raise


class _Lines:
    """For logs: what begins, and each step as it comes."""

    def __init__(self, console: Console) -> None:
        self.console, self.stage, self.names = console, "", list[str]()

    def listen(self, told: Progress) -> None:
        """A line where something else begins."""
        if told.stage != self.stage:
            self.stage = told.stage
            self._say(f"{told.stage} ...")

    def watch(self, step: int, row: Row) -> None:
        """A line a step, below the names of its numbers."""
        if not self.names or any(name in row and name not in self.names for name in SHOWN):
            self.names = ["step", *(name for name in SHOWN if name in row)]
            self._say(" ".join(f"{name:>6}" for name in self.names))
        self._say(" ".join(f"{_cell(name, row):>{max(6, len(name))}}" for name in self.names))

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)


class _Table:
    """For people: what is under way, and the last steps."""

    def __init__(self, live: Live) -> None:
        self.live, self.rows, self.told = live, list[Row](), Progress("aligning", 0.0)

    def listen(self, told: Progress) -> None:
        """How far it is."""
        self.told = told
        self._draw()

    def watch(self, step: int, row: Row) -> None:
        """One more step."""
        self.rows.append(row)
        self._draw()

    def _draw(self) -> None:
        left = f", {self.told.left:.0f} s left" if self.told.left is not None else ""
        title = f"{self.told.stage}: {self.told.done:.0%}{left}"
        table = Table(box=None, padding=(0, 1, 0, 0))
        last = self.rows[-KEPT:]
        names = ["step", *(name for name in SHOWN if any(name in row for row in last))]
        for name in names:
            table.add_column(name, justify="right")
        for row in last:
            table.add_row(*(_cell(name, row) for name in names))
        # A title of the table would be as narrow as the table.
        self.live.update(Group(title, table) if self.rows else title)


def _cell(name: str, row: Row) -> str:
    """In six characters: eleven columns fit into eighty. Not every step tells everything: dpo looks at KL at times."""
    value = row.get(name)
    if value is None:
        return ""
    if name == "step":
        return f"{value:.0f}"
    return f"{value:.3f}" if abs(value) < 1 else f"{value:.3g}"
