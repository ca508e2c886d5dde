"""A text as sentences and what stands between them, so that each is translated alone and the whole looks as before.

cut("  One. Two!\n\nThree")   ->   ["  ", "One.", " ", "Two!", "\n\n", "Three", ""]     gaps and sentences in turn
"""

from __future__ import annotations

import re

GAP = re.compile(r"(?<=[.!?\u2026])(?=\s)\s+|(?<=[.!?\u2026][\"'\u201d\u2019\u00bb)])(?=\s)\s+|\s*\n\s*")
SHORT = re.compile(r"(?:^|\s)(?:Mr|Mrs|Ms|Dr|St|vs|etc|e\.g|i\.e|No|approx|\w)\.$", re.IGNORECASE)


def cut(text: str) -> list[str]:
    """Gaps (even places) and sentences (odd places); joined they are the text."""
    body = text.strip()
    if not body:
        return [text]
    start = text.index(body)
    parts, at = [text[:start]], 0
    for gap in GAP.finditer(body):
        if "\n" not in gap[0] and SHORT.search(body[at : gap.start()]):
            continue
        if gap.start() > at:
            parts += [body[at : gap.start()], gap[0]]
            at = gap.end()
    return [*parts, body[at:], text[start + len(body) :]]


def halves(text: str) -> list[str]:
    """A sentence that is too long, in two: at the comma or blank nearest to its middle. One part: it cannot be cut."""
    for pattern in (r"(?<=[,;:])\s+", r"\s+"):
        gaps = [gap for gap in re.finditer(pattern, text) if gap.start() > 0 and gap.end() < len(text)]
        if gaps:
            best = min(gaps, key=lambda gap: abs(gap.start() - len(text) // 2))
            return [text[: best.start()], text[best.end() :]]
    return [text] if len(text) < 2 else [text[: len(text) // 2], text[len(text) // 2 :]]
