"""One reader a kind of file: its text -> lines with numbers. See `reading` for what a line is."""

from __future__ import annotations

import ast
import csv
import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser

from likely.errors import DataError
from likely.registry import require

MOST_ROWS, MOST_PAGES, MOST_CELL, MOST_SOURCE = 200_000, 5_000, 5_000, 1 << 20


@dataclass(frozen=True)
class Line:
    """`kind`: "text", "item" or "heading" (then `level` 1 = foremost). Empty text: a gap between paragraphs."""

    number: int
    text: str
    kind: str = "text"
    level: int = 0


Reader = Callable[[str, bytes], Iterator[Line]]

# ------------------------------------------------------------------------------------------------- plain and Markdown

BULLET = re.compile(r"\s{0,12}(?:[-*+•–]|\d{1,3}[.)]|[a-z][.)])\s+(?=\S)")
RULE = re.compile(r"\s*([-=_*~#.])(?:\s*\1){2,}\s*")


def plain(text: str, data: bytes) -> Iterator[Line]:
    """A heading is a short line without a full stop that begins a paragraph, or is underlined, or all capitals."""
    rows = text.splitlines()
    for at, row in enumerate(rows):
        said = row.strip()
        if not said or RULE.fullmatch(said):
            yield Line(at + 1, "")
        elif BULLET.match(row):
            yield Line(at + 1, BULLET.sub("", row, count=1).strip(), "item")
        elif level := _heading(rows, at):
            yield Line(at + 1, said, "heading", level)
        else:
            yield Line(at + 1, said)


def _heading(rows: list[str], at: int) -> int:
    """Level of the heading that a row is, or 0."""
    said = rows[at].strip()
    before = rows[at - 1].strip() if at else ""
    after = rows[at + 1].strip() if at + 1 < len(rows) else ""
    if len(said) > 70 or said.endswith((".", ",", ";", "?", "!")) or not any(c.isalpha() for c in said):
        return 0
    if after and re.fullmatch(r"={3,}|-{3,}|~{3,}", after):
        return 1 if after[0] == "=" else 2
    if before and not RULE.fullmatch(before):
        return 0
    if said.isupper():
        return 1
    follows = any(row.strip() for row in rows[at + 1 : at + 3]) and not after[:1].islower()
    return 2 if follows and len(said.split()) <= 7 and said[0].isupper() and ":" not in said[:-1] else 0


def markdown(text: str, data: bytes) -> Iterator[Line]:
    """Headings, lists, tables; code stands as it is."""
    rows, fenced, header = text.splitlines(), "", None
    start = 0
    if rows and rows[0].strip() == "---":  # front matter
        start = next((at + 1 for at in range(1, min(len(rows), 200)) if rows[at].strip() in ("---", "...")), 0)
    for at in range(start, len(rows)):
        row, said = rows[at], rows[at].strip()
        mark = re.match(r"(`{3,}|~{3,})", said)
        if mark and (not fenced or said.startswith(fenced)):
            fenced = "" if fenced else mark.group()[:3]
            yield Line(at + 1, "")
        elif fenced:
            yield Line(at + 1, said, "item")
        elif match := re.match(r"(#{1,6})\s+(.*?)\s*#*$", said):
            yield Line(at + 1, _unmarked(match[2]), "heading", len(match[1]))
        elif said and at + 1 < len(rows) and re.fullmatch(r"={3,}|-{3,}", rows[at + 1].strip()) and "|" not in said:
            yield Line(at + 1, _unmarked(said), "heading", 1 if rows[at + 1].strip()[0] == "=" else 2)
        elif said.startswith("|") or (header and "|" in said):
            cells = [_unmarked(cell.strip()) for cell in said.strip("|").split("|")]
            if not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
                if header is None:
                    header = cells
                else:
                    yield Line(at + 1, _row(header, cells), "item")
            continue
        elif not said or RULE.fullmatch(said) or said.startswith("<!--"):
            yield Line(at + 1, "")
        elif BULLET.match(row):
            yield Line(at + 1, _unmarked(BULLET.sub("", row, count=1).strip()), "item")
        else:
            yield Line(at + 1, _unmarked(said.lstrip("> ")))
        header = None


def _unmarked(text: str) -> str:
    """Without Markdown's marks: links show their text, emphasis nothing."""
    text = re.sub(r"!?\[([^\]\[]{0,300})\]\([^()\s]{0,500}(?:\s\"[^\"]{0,200}\")?\)", r"\1", text)
    text = re.sub(r"(\*\*|__)(?=\S)(.{1,500}?)(?<=\S)\1", r"\2", text)
    text = re.sub(r"(?<![\w*])[*_](?=\S)([^*_]{1,500})(?<=\S)[*_](?![\w*])", r"\1", text)
    return re.sub(r"(`+)(.{1,500}?)\1", r"\2", text).strip()


def _row(header: list[str], cells: list[str]) -> str:
    """A row of a table as a sentence: Name: value; name: value."""
    parts = []
    for at, cell in enumerate(cells):
        cell = " ".join(cell.split())[:MOST_CELL]
        name = " ".join(header[at].split())[:200] if at < len(header) else ""
        if cell:
            parts.append(f"{name}: {cell}" if name else cell)
    return "; ".join(parts)


# --------------------------------------------------------------------------------------------------------------- HTML

SKIPPED = frozenset(("script", "style", "template", "noscript", "svg", "math", "iframe", "object", "select", "nav"))
INLINE = frozenset(
    ("a", "abbr", "b", "bdi", "bdo", "big", "br", "cite", "code", "data", "del", "dfn", "em", "font", "i", "img", "input",  # noqa: E501
     "ins", "kbd", "label", "mark", "q", "s", "samp", "small", "span", "strong", "sub", "sup", "time", "tt", "u", "var",
     "wbr")
)  # fmt: skip
VOID = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr")
)  # fmt: skip


class _Page(HTMLParser):
    """Collects lines from the events of the standard library's parser, which loads and runs nothing."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.lines: list[Line] = []
        self.skipped: list[str] = []
        self.kind, self.level = "text", 0
        self.header: list[str] | None = None
        self.cells: list[str] | None = None
        self.row, self.heads, self.inside = 1, False, 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self.skipped or tag in SKIPPED:
            if tag not in VOID and (not self.skipped or tag == self.skipped[-1]):
                self.skipped.append(tag)
            return
        if tag == "br":
            self.handle_data(" ")
        elif tag == "table":
            self.header = None
        elif tag == "tr":
            self.cells, self.row, self.heads = [], self.getpos()[0], True
        elif tag in ("td", "th") and self.cells is not None:
            self.cells.append("")
            self.heads = self.heads and tag == "th"
        elif tag not in INLINE and self.cells is None:
            self._gap()
            if re.fullmatch("h[1-6]|title", tag):
                self.kind, self.level = "heading", 1 if tag == "title" else int(tag[1])
            elif tag in ("li", "dt", "dd", "option"):
                self.kind = "item"

    def handle_endtag(self, tag: str) -> None:
        if self.skipped:
            if tag == self.skipped[-1]:
                self.skipped.pop()
            return
        if tag == "tr" and self.cells is not None:
            self._end_row(self.cells)
            self.cells = None
        elif tag not in INLINE and self.cells is None:
            self._gap()

    def handle_data(self, data: str) -> None:
        if self.skipped:
            return
        if self.cells is not None:
            if self.cells:
                self.cells[-1] = (self.cells[-1] + data)[:MOST_CELL]
            return
        number = self.getpos()[0]
        for offset, part in enumerate(data.split("\n")):
            said = " ".join(part.split())
            if said and self.lines and self.lines[-1].number == number + offset and self.lines[-1].text:
                space = " " if part[:1].isspace() else ""
                last = self.lines.pop()
                said = last.text + space + said + (" " if part[-1:].isspace() else "")
                self.lines.append(Line(last.number, said, last.kind, last.level))
            elif part and not said and self.lines and self.lines[-1].text and not self.lines[-1].text.endswith(" "):
                last = self.lines.pop()
                self.lines.append(Line(last.number, last.text + " ", last.kind, last.level))
            elif said:
                self.lines.append(
                    Line(number + offset, said + (" " if part[-1:].isspace() else ""), self.kind, self.level)
                )

    def _gap(self) -> None:
        if self.lines and self.lines[-1].text:
            self.lines.append(Line(self.getpos()[0], ""))
        self.kind, self.level = "text", 0

    def _end_row(self, cells: list[str]) -> None:
        if self.heads and self.header is None:
            self.header = cells
        elif said := _row(self.header or [], cells):
            self.lines.append(Line(self.row, said, "item"))


def html(text: str, data: bytes) -> Iterator[Line]:
    """What a reader of the page sees."""
    page = _Page()
    page.feed(text)
    page.close()
    for line in page.lines:
        yield Line(line.number, " ".join(line.text.split()), line.kind, line.level)


# ------------------------------------------------------------------------------------------- tables, sources, PDF


def table(text: str, data: bytes, mark: str = "") -> Iterator[Line]:
    """Each row is an item: column: cell; column: cell."""
    if not mark:
        first = text[:20_000].partition("\n")[0]
        mark = max(",;\t|", key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark)
    header: list[str] | None = None
    start = 1
    try:
        for count, cells in enumerate(reader):
            if count > MOST_ROWS:
                raise DataError(f"it has more than {MOST_ROWS:,} rows")
            if header is None:
                header = cells
            elif said := _row(header, cells):
                yield Line(start, said, "item")
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"line {reader.line_num}: {error}") from error


def source(text: str, data: bytes) -> Iterator[Line]:
    """Docstrings of a Python file, under the names of what they describe. Nothing is run."""
    if len(text) > MOST_SOURCE:
        raise DataError(f"it has {len(text) >> 10} kB; sources up to {MOST_SOURCE >> 10} kB are read")
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"it is no Python this version can read ({type(error).__name__})") from error
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            said = ast.get_docstring(node, clean=False)
            if said:
                if not isinstance(node, ast.Module):
                    yield Line(node.lineno, node.name, "heading", 2)
                first = node.body[0].lineno
                for offset, row in enumerate(said.split("\n")):
                    yield Line(first + offset, row.strip())
                yield Line(first + offset, "")


def pdf(text: str, data: bytes) -> Iterator[Line]:
    """The text of each page, its number for a line number."""
    pypdf = require("pypdf", "reading PDF files")
    try:
        pages = pypdf.PdfReader(io.BytesIO(data)).pages
        if len(pages) > MOST_PAGES:
            raise DataError(f"it has {len(pages)} pages; up to {MOST_PAGES:,} are read")
        for number, page in enumerate(pages, 1):
            for line in plain(page.extract_text(), b""):
                yield Line(number, line.text, line.kind, line.level)
            yield Line(number, "")
    except (DataError, ImportError):
        raise
    except Exception as error:  # whatever a stranger's file runs a parser into
        raise DataError(f"it cannot be read ({type(error).__name__})") from error


READERS: dict[str, Reader] = {
    ".txt": plain, ".text": plain, ".rst": plain, ".md": markdown, ".markdown": markdown, ".html": html, ".htm": html,
    ".csv": table, ".tsv": lambda text, data: table(text, data, "\t"), ".py": source, ".pdf": pdf,
}  # fmt: skip
