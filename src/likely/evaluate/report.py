"""The report card that a user holds: in the terminal, as JSON, as one page to send on.

print(report)                    the answer, then a line a metric
report["membership"].value       one figure
report.to_html("report.html")    a self-contained page: no scripts, nothing loaded from anywhere
Report.from_dict(report.to_dict())
"""

from __future__ import annotations

import json
import textwrap
from dataclasses import dataclass
from pathlib import Path

from likely.errors import OptionError, StorageError
from likely.evaluate import page
from likely.evaluate.card import Card, Group, Row

HEADS: dict[Group, str] = {
    "true": "Is it true?",
    "varied": "Is it varied?",
    "valid": "Is it valid?",
    "private": "Is it private?",
}
WORDS = {"good": "good", "look": "look", "bad": "BAD", "none": "-"}
WIDTH = 100


@dataclass(frozen=True)
class Report(Card):
    """A `Card` (see there for the fields) that can show itself."""

    def __str__(self) -> str:
        lines = [*textwrap.wrap(self.answer, WIDTH), ""]
        lines.append(f"{'':32}{'made':>9}{'real rows':>11}{'floor':>9}   {'95% interval':14} verdict")
        for group, head in HEADS.items():
            rows = [row for row in self.rows if row.group == group]
            if rows:
                lines.append(head)
                lines += [_line(row) for row in rows]
        reasons = self.reasons or tuple(row.sentence for row in self.rows if row.name in ("c2st", "membership"))
        lines += ["", *("\n".join(textwrap.wrap(f"* {one}", WIDTH, subsequent_indent="  ")) for one in reasons[:8])]
        counts = self.counts
        lines += ["", (
            f"{counts.get('made', 0):,} made rows beside {counts.get('holdout', 0):,} unseen and "
            f"{counts.get('train', 0):,} training rows; seed {self.seed}. real rows = what real rows score in their "
            "place; floor = shuffled columns (privacy: a copy of the training rows)."
        )]  # fmt: skip
        lines[-1] = "\n".join(textwrap.wrap(lines[-1], WIDTH))
        lines += ["\n".join(textwrap.wrap(f"Note: {note}", WIDTH)) for note in self.notes]
        return "\n".join(lines)

    def to_html(self, path: str | Path | None = None) -> str:
        """The page; written to `path` if one is given. Raises StorageError."""
        text = page.html(self)
        if path is not None:
            _write(Path(path), text)
        return text

    def save(self, path: str | Path) -> None:
        """A page (.html) or figures (.json), by the ending. Raises OptionError for another one, StorageError."""
        path = Path(path)
        if path.suffix.lower() in (".html", ".htm"):
            self.to_html(path)
        elif path.suffix.lower() == ".json":
            _write(path, json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False, indent=1) + "\n")
        else:
            raise OptionError(
                f"A report is written as .html or .json, not {path.suffix or path.name!r}: try report.html"
            )


def _line(row: Row) -> str:
    """One metric on one line of the terminal."""
    title = row.title.replace("\n", " ")
    title = title if len(title) <= 29 else title[:28] + "…"
    value, ceiling, floor = (f"{x:.4f}" if x is not None else "n/a" for x in (row.value, row.ceiling, row.floor))
    if row.value is None:
        return f"  {title:30}{'n/a':>9}   {row.sentence.removeprefix('Not applicable ')[:70]}"
    interval = f"{row.low:.3f}-{row.high:.3f}" if row.low is not None and row.high is not None else ""
    return f"  {title:30}{value:>9}{ceiling:>11}{floor:>9}   {interval:14} {WORDS[row.verdict]}"


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"Cannot write {str(path)!r}: {error.strerror}. Give another path.") from error
