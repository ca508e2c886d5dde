"""What a translation must not touch: placeholders, markup, numbers, addresses. Each becomes one mark, a private letter.

    "Saved %d of {total} files."   ->   "Saved \\ue100 of \\ue101 files."  and  ["%d", "{total}"]

A writer sees marks only, and whoever calls it checks that each came back once: what cannot be changed cannot be lost.
Accelerators ("_File", "&File": the letter that a menu is opened with) are taken out and set before the first letter of
the translation.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

FIRST, MOST = 0xE100, 16  # marks of one text
MARK = re.compile(f"[{chr(FIRST)}-{chr(FIRST + MOST - 1)}]")
PRIVATE = re.compile("[\ue000-\uf8ff]")
KEPT = re.compile(
    r"</?[A-Za-z][^<>\n]{0,300}>"  # markup
    r"|&(?:[A-Za-z]\w{1,20}|#\d{1,7}|#x[0-9A-Fa-f]{1,6});"
    r"|(?:https?|ftp)://[^\s<>\"]{1,500}[\w/]|[\w.+-]{1,64}@[\w-]{1,64}(?:\.[\w-]{1,64}){1,8}"
    r"|%(?:\d{1,3}\$|\([^()\n]{1,80}\))?[#0+-]{0,3}(?:\d{1,4}|\*)?(?:\.(?:\d{1,4}|\*))?(?:hh|ll|[hlLqjzt])?"
    r"[diouxXeEfFgGcrsapS@]|%%"
    r"|%<\w{1,40}>|[#%]\{[^{}\n]{1,80}\}|\$\{[^{}\n]{1,80}\}|\{\{[^{}\n]{1,80}\}\}|\{[^{}\n]{0,80}\}|\$[A-Za-z_]\w{0,60}(?:\|[^\s.,;:!?]{0,40})?"
    r"|@[A-Za-z_]\w{0,60}@|\\[ntr\"\\]"
    r"|\d+"
)
ACCELERATOR = re.compile(r"(?<![\w_&\ue000-\uf8ff])([_&])(?=[^\W\d_])")


class Shielded(NamedTuple):
    """A text with marks, what they stand for, and its accelerator, or ""."""

    text: str
    kept: tuple[str, ...]
    accelerator: str


def shield(text: str) -> Shielded:
    """The text with marks. Of more than MOST things to keep the rest stays as it is; see `runs`."""
    text = PRIVATE.sub("\ufffd", text)
    found: list[str] = []

    def mark(match: re.Match[str]) -> str:
        if len(found) == MOST:
            return match[0]
        found.append(match[0])
        return chr(FIRST + len(found) - 1)

    marked = KEPT.sub(mark, text)
    places = list(ACCELERATOR.finditer(marked))
    if len(places) != 1 or "__" in marked or len(marked) > 60:
        return Shielded(marked, tuple(found), "")
    at = places[0]
    return Shielded(marked[: at.start()] + marked[at.end() :], tuple(found), at[1])


def twin(text: str, kept: Sequence[str]) -> str:
    """A text that says the same, with the marks that stand for the same things; for learning."""
    free = list(kept)

    def mark(match: re.Match[str]) -> str:
        if match[0] not in free:
            return match[0]
        at = free.index(match[0])
        free[at] = ""
        return chr(FIRST + at)

    return KEPT.sub(mark, PRIVATE.sub("\ufffd", text))


def unshield(text: str, shielded: Shielded) -> str:
    """The text with what its marks stand for, and the accelerator."""
    letter = next((at for at, c in enumerate(text) if c.isalpha()), None)
    if shielded.accelerator:
        at = len(text) if letter is None else letter
        text = text[:at] + shielded.accelerator + text[at:]
    return MARK.sub(lambda found: shielded.kept[ord(found[0]) - FIRST], text)


def kept(text: str) -> list[str]:
    """What must be in a translation, too, in its order: placeholders, markup, addresses, numbers."""
    return [found[0] for found in KEPT.finditer(text)]
