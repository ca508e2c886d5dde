"""Lines -> passages of some 100 words, cut into sentences; every sentence knows its line, every passage its headings.

A passage never spans two headings. Short paragraphs under one heading stay together, long ones are cut between
sentences. What a quotation needs is kept: a sentence is the text of the document, white space apart.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from likely.apps.chat.formats import Line
from likely.apps.chat.reading import Document

WORDS, LONGEST = 120, 90  # of a passage, about; of a sentence: longer ones are cut
ABBREVIATIONS = frozenset(
    ("mr", "mrs", "ms", "dr", "prof", "st", "no", "nos", "vs", "etc", "approx", "tel", "fig", "figs", "sec", "ch", "vol",  # noqa: E501
     "ca", "e.g", "i.e", "eg", "ie", "resp", "min", "max", "jan", "feb", "mar", "apr", "jun", "jul", "aug", "sep",
     "sept", "oct", "nov", "dec", "inc", "ltd", "co")
)  # fmt: skip
END = re.compile(r"[.!?][\"'”’)\]]*(?=\s+\S)|(?<=[。！？])(?=\S)")
WORD_BEFORE = re.compile(r"\S+\Z")
PIECE = re.compile(rf"\S+(?:\s+\S+){{0,{LONGEST - 1}}}")


@dataclass(frozen=True)
class Sentence:
    """`text`, and the `line` on which it begins."""

    text: str
    line: int


@dataclass(frozen=True)
class Passage:
    """`document`: the file's name. `unit`: what lines count ("line", "page"). `headings`: outermost first."""

    document: str
    unit: str
    headings: tuple[str, ...]
    sentences: tuple[Sentence, ...]

    @property
    def text(self) -> str:
        """The sentences, joined."""
        return " ".join(sentence.text for sentence in self.sentences)

    @property
    def title(self) -> str:
        """The headings, joined."""
        return " > ".join(self.headings)


def passages(document: Document) -> list[Passage]:
    """All passages of a document, in order."""
    found: list[Passage] = []
    headings: list[tuple[int, str]] = []
    group: list[Sentence] = []
    size = 0

    def close() -> None:
        nonlocal size
        if group:
            titles = tuple(dict.fromkeys(text for _, text in headings))
            found.append(Passage(document.name, document.unit, titles, tuple(group)))
        group.clear()
        size = 0

    for block in _blocks(document.lines):
        if block[0].kind == "heading":
            close()
            level = block[0].level
            headings[:] = [item for item in headings if item[0] < level]
            headings.append((level, " ".join(line.text for line in block)))
            continue
        for sentence in sentences(block):
            count = len(sentence.text.split())
            if group and size + count > WORDS:
                close()
            group.append(sentence)
            size += count
    close()
    return found


def _blocks(lines: tuple[Line, ...]) -> list[list[Line]]:
    """Lines that belong together: headings, items with what goes on below them, paragraphs."""
    blocks: list[list[Line]] = []
    gap = True
    for line in lines:
        if not line.text:
            gap = True
            continue
        joins = line.kind == "text" and not gap and blocks and blocks[-1][0].kind != "heading"
        joins = joins or (line.kind == "heading" and not gap and blocks and blocks[-1][0] == line)
        if joins:
            blocks[-1].append(line)
        else:
            blocks.append([line])
        gap = False
    return blocks


def sentences(block: list[Line]) -> list[Sentence]:
    """The sentences of a block of lines."""
    starts, pieces, size = [], [], 0
    for at, line in enumerate(block):
        after = at + 1 < len(block) and block[at + 1].text[:1].islower()
        piece = line.text + ("" if after and re.search(r"[A-Za-z]-$", line.text[-2:]) else " ")  # a word cut in two
        starts.append(size)
        pieces.append(piece)
        size += len(piece)
    text = "".join(pieces)
    found, begin = [], 0
    for end in [*_ends(text), len(text)]:
        for match in _parts(text[begin:end]):
            number = block[bisect_right(starts, begin + match.start()) - 1].number
            found.append(Sentence(match.group(), number))
        begin = end
    return found


def _ends(text: str) -> list[int]:
    """Where sentences end."""
    found = []
    for match in END.finditer(text):
        following = text[match.end() : match.end() + 40].lstrip()[:1]
        word = WORD_BEFORE.search(text, max(match.start() - 12, 0), match.start())
        said = word.group().lower().lstrip("(\"'“‘") if word else ""
        if following.islower() and text[match.start() : match.end()] != "":
            continue
        if match.group().startswith(".") and (said in ABBREVIATIONS or re.fullmatch(r"[a-z](\.[a-z])*", said)):
            continue
        found.append(match.end())
    return found


def _parts(text: str) -> Iterator[re.Match[str]]:
    """A sentence, whole; one without end (a list, a table as text) in pieces that can be quoted."""
    return PIECE.finditer(text)
