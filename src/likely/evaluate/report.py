"""The report card that a user holds: in the terminal, as JSON, as one page to send on.

print(report)                    the answer, then a line a metric
report["membership"].value       one figure
report.to_html("report.html")    a self-contained page: no scripts, nothing loaded from anywhere
Report.from_dict(report.to_dict())
"""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

from likely.errors import OptionError, StorageError
from likely.evaluate import page
from likely.evaluate.card import Card, Group, Row
from likely.evaluate.sheet import SHOWN, Picture, Show, permitted
from likely.evaluate.vocabulary import WORDS

HEADS: dict[Group, str] = {
    "true": "Is it true?",
    "varied": "Is it varied?",
    "valid": "Is it valid?",
    "private": "Is it private?",
}
VERDICTS = {"good": "good", "look": "look", "bad": "BAD", "none": "-"}
WIDTH = 100


@dataclass(frozen=True)
class Report(Card):
    """A `Card` (see there for the fields) that can show itself.

    `pictures` of images and windows are for the page alone: no JSON and no model file holds them.
    """

    pictures: tuple[Picture, ...] = field(default=(), compare=False, repr=False, metadata={"stored": False})

    def __str__(self) -> str:
        words = WORDS[self.kind]
        wide = max(11, len(words.many) + 6)
        lines = [*textwrap.wrap(self.answer, WIDTH), ""]
        lines.append(f"{'':32}{'made':>9}{'real ' + words.many:>{wide}}{'floor':>9}   {'95% interval':14} verdict")
        for group, head in HEADS.items():
            rows = [row for row in self.rows if row.group == group]
            if rows:
                lines.append(head)
                lines += [_line(row, wide) for row in rows]
        reasons = self.reasons or tuple(row.sentence for row in self.rows if row.name in ("c2st", "membership"))
        lines += ["", *("\n".join(textwrap.wrap(f"* {one}", WIDTH, subsequent_indent="  ")) for one in reasons[:8])]
        counts = self.counts
        lines += ["", (
            f"{counts.get('made', 0):,} made {words.many} beside {counts.get('holdout', 0):,} unseen and "
            f"{counts.get('train', 0):,} training {words.many}; seed {self.seed}. real {words.many} = what real "
            f"{words.many} score in their place; floor = {words.bad} (privacy: a copy of the training {words.many})."
        )]  # fmt: skip
        lines[-1] = "\n".join(textwrap.wrap(lines[-1], WIDTH))
        lines += ["\n".join(textwrap.wrap(f"Note: {note}", WIDTH)) for note in self.notes]
        return "\n".join(lines)

    def to_html(self, path: str | Path | None = None, *, show: Show = "made") -> str:
        """The page; written to `path` if one is given. Raises StorageError.

        A page is made to be passed on, so of images and windows it shows the made ones only. show="real" puts unseen
        real ones beside them, show="nearest" also the made ones that are nearest to a training item, with that item.
        A report that comes from a file has no pictures.
        """
        if show not in SHOWN:
            raise OptionError(f"show is {show!r}; a page shows {', '.join(map(repr, SHOWN))}.")
        shown = permitted(self.pictures, show)
        many = WORDS[self.kind].many
        hidden = {one.show for one in self.pictures} - {one.show for one in shown}
        hint = ""
        if hidden:
            hint = f"Real {many} are" if "real" in hidden else f"Training {many} are"
            hint += ' left out of a page that may be passed on; to_html(path, show="nearest") shows them.'
        text = page.html(self, shown, hint)
        if path is not None:
            write(Path(path), text)
        return text

    def save(self, path: str | Path, *, show: Show = "made") -> None:
        """A page (.html; for `show` see `to_html`) or figures (.json), by the ending. Raises OptionError for another
        one, StorageError."""
        path = Path(path)
        if path.suffix.lower() in (".html", ".htm"):
            self.to_html(path, show=show)
        elif path.suffix.lower() == ".json":
            write(path, json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False, indent=1) + "\n")
        else:
            raise OptionError(
                f"A report is written as .html or .json, not {path.suffix or path.name!r}: try report.html"
            )


def _line(row: Row, wide: int) -> str:
    """One metric on one line of the terminal."""
    title = row.title.replace("\n", " ")
    title = title if len(title) <= 29 else title[:28] + "…"
    value, ceiling, floor = (_short(x) for x in (row.value, row.ceiling, row.floor))
    if row.value is None:
        return f"  {title:30}{'n/a':>9}   {row.sentence.removeprefix('Not applicable ')[:70]}"
    interval = f"{row.low:.3f}-{row.high:.3f}"[:14] if row.low is not None and row.high is not None else ""
    return f"  {title:30}{value:>9}{ceiling:>{wide}}{floor:>9}   {interval:14} {VERDICTS[row.verdict]}"


def _short(x: float | None) -> str:
    """Four decimals, fewer where the number is large."""
    return "n/a" if x is None else f"{x:.4f}" if abs(x) < 100 else f"{x:.1f}" if abs(x) < 10_000 else f"{x:.3g}"


def write(path: Path, text: str) -> None:
    """Write a page or figures. Raises StorageError."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"Cannot write {str(path)!r}: {error.strerror}. Give another path.") from error
