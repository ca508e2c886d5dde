"""`Translator`: any text in, the same text in another language out, what must be kept kept.

    text -> sentences and gaps (`segment`) -> marks (`shield`) -> a writer -> every mark once? else in pieces -> text

A writer gets sentences with marks and may do anything with them. A sentence whose marks do not come back, each once, is
written again in the pieces between the marks, which hold none, and these are put together in the order of the source;
where even that would change what is kept, the sentence stays untranslated. So placeholders and markup are kept whatever
the writer does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from likely.apps.translate.catalogue import Filled, fill
from likely.apps.translate.segment import cut
from likely.apps.translate.shield import KEPT, MARK, PRIVATE, Shielded, kept, shield, unshield
from likely.core import Progress
from likely.errors import DataError

Listen = Callable[[Progress], None]
LONGEST = 1_000_000  # characters of a text
GROUP = 64  # sentences that are written at once


class Writer(Protocol):
    """Writes sentences in another language. `about` says what it is."""

    about: str

    def write(self, sentences: Sequence[str]) -> list[str]: ...


class Translator:
    """Sentences by a writer, texts and catalogues by what is around it. `again`: sentences whose marks did not come
    back, so that they were written in pieces."""

    def __init__(self, writer: Writer) -> None:
        self.writer, self.again = writer, 0

    def __str__(self) -> str:
        return f"translator: {self.writer.about}"

    def translate(self, texts: Sequence[str], listen: Listen | None = None) -> list[str]:
        """The translations of texts. Raises DataError for what is no text, or too long."""
        if isinstance(texts, str):
            raise DataError("One text was given; wanted is a list of texts: translate([text]).")
        cuts = []
        for text in texts:
            if not isinstance(text, str) or len(text) > LONGEST:
                what = f"a text of {len(text):,} characters" if isinstance(text, str) else type(text).__name__
                raise DataError(f"{what} was given; wanted are texts of at most {LONGEST:,} characters.")
            cuts.append(cut(text))
        wanted = list(dict.fromkeys(sentence for parts in cuts for sentence in parts[1::2] if _speaks(sentence)))
        said = dict(zip(wanted, self._sentences(wanted, listen), strict=True))
        return ["".join(said.get(part, part) if at % 2 else part for at, part in enumerate(parts)) for parts in cuts]

    def fill(self, path: str | Path, *, reviewed: bool = False, listen: Listen | None = None) -> tuple[str, Filled]:
        """The text of a .po file with its untranslated entries filled in; see `catalogue`."""
        return fill(path, lambda texts: self.translate(texts, listen), reviewed=reviewed)

    # ------------------------------------------------------------------------------------------------ sentences

    def _sentences(self, sentences: Sequence[str], listen: Listen | None) -> list[str]:
        marked = [shield(sentence) for sentence in sentences]
        over = {
            at for at, one in enumerate(marked) if KEPT.search(MARK.sub(" ", one.text))
        }  # more than there are marks
        drafts = self._write([one.text if at not in over else "" for at, one in enumerate(marked)], listen)
        out = []
        for at, (sentence, one, draft) in enumerate(zip(sentences, marked, drafts, strict=True)):
            made = unshield(draft, one) if at not in over and _whole(one, draft) else ""
            if not _same(made, sentence):  # words may run into what is kept: "$user" and "s"
                self.again += 1
                made = self._pieces(sentence)
            out.append(made if _same(made, sentence) else sentence)
        return out

    def _pieces(self, sentence: str) -> str:
        """Between what is kept, each run of words is written alone."""
        parts, at = [], 0
        for found in KEPT.finditer(sentence):
            parts += [sentence[at : found.start()], found[0]]
            at = found.end()
        parts.append(sentence[at:])
        runs = [part for part in parts[::2] if _speaks(part)]
        bare = [PRIVATE.sub("\ufffd", run.strip()) for run in runs]
        said = dict(zip(runs, self._write(bare, None), strict=True))
        out = []
        for place, part in enumerate(parts):
            if place % 2 or part not in said:
                out.append(part)
                continue
            words = KEPT.sub("", PRIVATE.sub("", said[part])).strip() or part.strip()
            left, right = len(part) - len(part.lstrip()), len(part.rstrip())
            out.append(part[:left] + words + part[right:])
        return "".join(out)

    def _write(self, texts: Sequence[str], listen: Listen | None) -> list[str]:
        """By the writer, sentences of like length together."""
        order = sorted((at for at, text in enumerate(texts) if text), key=lambda at: len(texts[at]))
        out = [""] * len(texts)
        for first in range(0, len(order), GROUP):
            rows = order[first : first + GROUP]
            for at, text in zip(rows, self.writer.write([texts[at] for at in rows]), strict=True):
                out[at] = " ".join(text.split())
            if listen is not None:
                listen(Progress("translating", (first + len(rows)) / len(order)))
        return out


def _whole(one: Shielded, draft: str) -> bool:
    """Whether every mark came back once, and nothing else that would have to be kept."""
    return Counter(MARK.findall(draft)) == Counter(MARK.findall(one.text)) and not KEPT.search(MARK.sub(" ", draft))


def _same(made: str, sentence: str) -> bool:
    """Whether a translation keeps what its sentence holds."""
    return Counter(kept(made)) == Counter(kept(sentence)) and bool(made)


def _speaks(text: str) -> bool:
    """Whether there is something to translate."""
    return any(c.isalpha() for c in KEPT.sub(" ", text))
