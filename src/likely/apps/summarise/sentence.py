"""Where sentences begin and end, and what stands in them: spans of a text, with the lines they come from.

A sentence ends at . ! ? or an ellipsis (and the quotes and brackets that close after it) before white space and what
can begin a new one, at a blank line, and at the end of a line that is a heading, a list item or a short line alone.
It does not end after an initial (J.), after a title or another abbreviation of a closed list, or inside a number. The
list is English; for other languages that write capitals and full stops the rule is the same with a few more breaks.

All white space lies between sentences: the spans, in order, cover every other character exactly once.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

LONGEST = 1_000  # words without a full stop are cut into pieces of so many characters at least, at white space

_TITLES = "mr mrs ms dr prof rev hon gen col lt capt sgt cpt cmdr sen rep gov pres st mt ft sr"
_SHORT = (
    "jr vs etc inc ltd co corp dept est no nos vol fig figs eq pp al cf ca approx jan feb mar apr jun jul aug sep "
    "sept oct nov dec mon tue wed thu fri sat sun ave blvd rd hr hrs min sec ed eds e.g i.e a.m p.m"
)
TITLES, SHORT = frozenset(_TITLES.split()), frozenset(_SHORT.split())
NEVER_LAST = ("no", "vs", "e.g", "i.e", "fig", "al")
# Each begins where a run begins, not inside it: endless dots or spaces cost no more than their number.
_END = re.compile(
    r"(?<![.!?\u2026])[.!?\u2026]++[\"'\u2019\u201d\u00bb)\]]*+(?=\s|$)|[\u3002\uff01\uff1f]+[\u300d\u201d\u2019]*"
)
_BREAK = re.compile(r"\n[^\S\n]*+\n\s*+")
_ITEM = re.compile(r"\n(?=[^\S\n]*+(?:[-*\u2022]\s|\d{1,3}[.)]\s|#{1,6}\s))")
_OPENS = re.compile(r"[\"'\u2018\u201c\u00ab(\[]*")
WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+(?:['\u2019\u2010-][^\W\d_]+)*", re.UNICODE)


@dataclass(frozen=True)
class Sentence:
    """One sentence: its text with inner white space made single, its span in the source, its first and last line,
    counted from 1."""

    text: str
    start: int
    end: int
    first: int
    last: int

    @property
    def lines(self) -> str:
        """ "12" or "12-14"."""
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"


def split(text: str) -> list[Sentence]:
    """The sentences of a text, in order; none for white space alone."""
    starts = [0, *(found.end() for found in re.finditer(r"\n", text))]
    made = []
    for begin, end in _spans(text):
        first, last = bisect_right(starts, begin), bisect_right(starts, end - 1)
        made.append(Sentence(" ".join(text[begin:end].split()), begin, end, first, last))
    return made


def words(text: str) -> list[str]:
    """Words and numbers of a text, as they are written."""
    return WORD.findall(text.replace("\u2019", "'"))


def _spans(text: str) -> list[tuple[int, int]]:
    cuts = sorted({0, len(text), *_ends(text)})
    spans = []
    for begin, end in pairwise(cuts):
        part = text[begin:end]
        inner = part.strip()
        if inner:
            start = begin + len(part) - len(part.lstrip())
            spans += _pieces(text, start, start + len(inner))
    return spans


def _ends(text: str) -> list[int]:
    found = [match.end() for match in _BREAK.finditer(text)] + [match.end() for match in _ITEM.finditer(text)]
    for match in _END.finditer(text):
        if match.group()[0] in "\u3002\uff01\uff1f" or _closes(text, match):
            found.append(match.end())
    return found


def _closes(text: str, match: re.Match[str]) -> bool:
    """Whether these marks end a sentence: not after an abbreviation, and not before a word in small letters."""
    after = text[match.end() : match.end() + 80].lstrip()
    following = after[_OPENS.match(after).end() :] if after else ""  # type: ignore[union-attr]
    if following[:1].islower():
        return False
    if match.group()[0] != "." or match.group().startswith(".."):
        return True
    before = text[max(0, match.start() - 40) : match.start()].split()
    word = before[-1].lstrip("\"'\u2018\u201c([") if before else ""
    if word.lower() in TITLES or (len(word) == 1 and word.isupper() and word != "I"):
        return not following
    if re.fullmatch(r"(?:[A-Z]\.)+[A-Z]", word):  # U.S.
        return not following
    if word.lower() in SHORT:
        return not following or (following[:1].isupper() and word.lower() not in NEVER_LAST)
    return True


def _pieces(text: str, start: int, end: int) -> list[tuple[int, int]]:
    """An endless sentence as several."""
    spans = []
    while end - start > 2 * LONGEST:
        space = re.compile(r"\s+").search(text, start + LONGEST, end)
        if space is None or space.end() >= end:
            break
        spans.append((start, space.start()))
        start = space.end()
    return [*spans, (start, end)]


def pack(sizes: Sequence[int], most: int) -> list[range]:
    """Neighbours together, at most `most` in sum, parts as equal as their number allows; each stands in one part.

    One that is larger than `most` is alone.
    """
    parts = max(1, -(-sum(sizes) // most))
    while True:
        ranges = _packed(sizes, most, -(-sum(sizes) // parts))
        if len(ranges) <= parts or parts >= len(sizes):
            return ranges
        parts += 1


def _packed(sizes: Sequence[int], most: int, wanted: int) -> list[range]:
    ranges, start, held = [], 0, 0
    for at, size in enumerate(sizes):
        full = held + size > most or (held >= wanted and held > 0)
        if full and at > start:
            ranges.append(range(start, at))
            start, held = at, 0
        held += size
    if start < len(sizes):
        ranges.append(range(start, len(sizes)))
    return ranges
