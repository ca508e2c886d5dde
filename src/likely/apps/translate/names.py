"""Names: words that no vocabulary knows are carried over, not spelt anew.

    "Tell Haldric that Brena fell."   ->   "Tell \\ue100 that \\ue101 fell."  and  ["Haldric", "Brena"]

A word is taken for a name if it begins with a capital letter and is no token, nor its small form; the first word of a
text only where it stands alone before a sign ("Haldric, ..."), since any may have a capital there. In pairs to learn
from it becomes a mark where the translation holds it as often (Luong et al. 2015, arXiv:1410.8206, who let unknown
words point back to their source); so the writer learns where names go, and learns nothing about any one of them.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from likely.apps.translate.pairs import Pair
from likely.apps.translate.shield import FIRST, MARK, MOST
from likely.codecs.text.vocabulary import Vocabulary

WORD = re.compile(r"(?<![\w'’-])[^\W\d_](?:[\w-]*[^\W\d_])?(?!\w)")

FIRST_WORD = re.compile(r"\W*[\w-]+(?=\s|$)")  # not: a word before a comma


class Named(NamedTuple):
    """A text with marks, and the names by mark."""

    text: str
    names: dict[str, str]


class Names:
    """Tells names by a vocabulary."""

    def __init__(self, words: Vocabulary) -> None:
        self.words = words
        self.known: dict[str, bool] = {}

    def name(self, word: str) -> bool:
        """Whether a word is taken for a name."""
        if not word[0].isupper():
            return False
        if word not in self.known:
            forms = [word, " " + word, word.lower(), " " + word.lower()]
            self.known[word] = all(len(ids) > 1 for ids in self.words.encode(forms))
        return self.known[word]

    def hide(self, text: str) -> Named:
        """A text to be translated, marks for its names: as many as there are marks left."""
        used = {ord(mark) for mark in MARK.findall(text)}
        free = [chr(code) for code in range(FIRST, FIRST + MOST) if code not in used]
        first = FIRST_WORD.match(text)
        found = [word for word in dict.fromkeys(WORD.findall(text, first.end() if first else 0)) if self.name(word)]
        names = dict(zip(free, found, strict=False))
        for mark, word in names.items():
            text = _form(word).sub(mark, text)
        return Named(text, names)

    def pair(self, pair: Pair) -> Pair:
        """A pair to learn from, its common names marked."""
        source, target = pair
        for mark, word in self.hide(source).names.items():
            form = _form(word)
            if len(form.findall(source)) == len(form.findall(target)):
                source, target = form.sub(mark, source), form.sub(mark, target)
        return Pair(source, target)


def show(text: str, names: dict[str, str]) -> str:
    """The text with its names."""
    return MARK.sub(lambda found: names.get(found[0], found[0]), text)


def _form(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w'’-]){re.escape(word)}(?!\w)")
