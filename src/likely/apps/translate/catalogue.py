"""Message catalogues of gettext (.po), by the library `polib` (MIT): what is untranslated is filled in.

Filled entries are flagged `fuzzy`, as gettext's own tools flag what a person has to look at; `reviewed=True` leaves
the flag out. An entry with plural forms gets one for each that the header asks for (nplurals): the singular's
translation as the first, the plural's as the others; where the two do not hold the same placeholders ("One file", "%d
files") and the language has not two forms, the plural's throughout. Forms that are there stay.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from likely.apps.translate.shield import kept
from likely.errors import DataError
from likely.registry import require

QUOTED = r'"(?:\\.|[^"\\])*"\s*'
LINE = re.compile(rf"\s*(?:#.*|(?:msgctxt|msgid|msgid_plural|msgstr(?:\[\d{{1,3}}\])?)\s*{QUOTED}|{QUOTED})?")
LARGEST = 256 << 20
FORMS = re.compile(r"nplurals\s*=\s*(\d{1,2})")
KEEPS = 2_000_000  # columns that a line may have: long ones stay long


class Filled(NamedTuple):
    """What was done with a catalogue: entries in it, translated before, filled in now."""

    entries: int
    before: int
    filled: int


def entries_of(path: Path) -> Any:
    """The entries of a .po or .mo file. Raises DataError for what is none, MissingExtra."""
    polib = require("polib", "reading .po and .mo files")
    if path.stat().st_size > LARGEST:
        raise DataError(f"{path.name!r} has {path.stat().st_size >> 20} MB; up to {LARGEST >> 20} MB are read.")
    try:
        if path.suffix.lower() == ".mo":
            return polib.mofile(str(path), check_for_duplicates=False)
        # polib passes over an entry whose quotation mark is missing, and it would be lost.
        for number, line in enumerate(path.read_bytes().decode("utf-8-sig", "replace").split("\n"), 1):
            if not LINE.fullmatch(line.rstrip("\r")):
                raise DataError(f"{path.name!r}, line {number} is no line of a .po file: {line.strip()[:60]!r}")
        return polib.pofile(str(path), wrapwidth=KEEPS)
    except DataError:
        raise
    except (OSError, ValueError, LookupError, UnicodeError, MemoryError, OverflowError) as error:
        raise DataError(f"{path.name!r} is no message catalogue: {str(error)[:160]}") from error
    except Exception as error:  # struct.error and what else a damaged .mo file brings about
        raise DataError(f"{path.name!r} is a damaged catalogue: {type(error).__name__}.") from error


def fill(
    path: str | Path, translate: Callable[[Sequence[str]], Sequence[str]], *, reviewed: bool = False
) -> tuple[str, Filled]:
    """The text of the catalogue with its untranslated entries filled in. Raises DataError."""
    path = Path(path)
    if path.suffix.lower() == ".mo":
        raise DataError(f"{path.name!r} is compiled, and holds only what is translated already: give the .po file.")
    catalogue = entries_of(path)
    found = FORMS.search(catalogue.metadata.get("Plural-Forms", ""))
    forms = min(int(found[1]), 6) if found else 2
    live = [entry for entry in catalogue if not entry.obsolete]
    empty = [entry for entry in live if not _done(entry, forms)]
    texts = [text for entry in empty for text in (entry.msgid, entry.msgid_plural) if text]
    said = dict(zip(texts, translate(texts), strict=True)) if texts else {}
    for entry in empty:
        if entry.msgid_plural:
            alike = forms == 2 or Counter(kept(entry.msgid)) == Counter(kept(entry.msgid_plural))
            entry.msgstr_plural = {
                form: entry.msgstr_plural.get(form)
                or said[entry.msgid if alike and form == 0 < forms - 1 else entry.msgid_plural]
                for form in range(forms)
            }
        else:
            entry.msgstr = said[entry.msgid]
        if not reviewed and "fuzzy" not in entry.flags:
            entry.flags.insert(0, "fuzzy")
    return str(catalogue) + "\n", Filled(len(live), len(live) - len(empty), len(empty))


def _done(entry: Any, forms: int) -> bool:
    if entry.msgid_plural:
        return all(entry.msgstr_plural.get(form) for form in range(forms))
    return bool(entry.msgstr)
