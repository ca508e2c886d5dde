"""What in a sentence its source does not bear out, as far as a program without knowledge of the world can tell.

    number      its value stands nowhere in the source
    unit        it stands there, but only with other units (5 miles, where the source has 5 km)
    name        a capitalised word, or a run of them, that does not stand in the source so
    negation    the sentence of the source that it repeats says no where it says yes, or the other way round
    unlike      too few of its words stand in any stretch of the source
    unfinished  it has no end

What passes is not thereby true: who did what to whom, comparisons, causes and times are not checked ("accused of a
21-person death" passes where the source has 21 people who died). A name is told by its capital letter, so texts in
scripts without capitals have none; where a sentence begins, a word of the closed list of openers, or one that the
source writes small, is no name. In doubt a sentence is flagged: the reader loses a sentence, not the truth.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from likely.apps.summarise.number import numbers
from likely.apps.summarise.rank import STOP, stem, terms
from likely.apps.summarise.sentence import WORD, Sentence, words

LIKE = 0.5  # least share of a sentence's terms that must stand together in the source
SPAN = 3  # in so many sentences of the source, neighbours or not
SCOPE = 5  # words that a no reaches
ECHO = 0.6  # share of terms from which a sentence repeats one of the source, so that their negations must agree
_OPENERS = (
    "according additionally additional although altogether amid among another around despite earlier either else "
    "eventually every everyone everything finally first five following four hence here in indeed instead last lastly "
    "later likewise many meanwhile moreover nearly neither nevertheless next nobody none nothing often others overall "
    "perhaps people rather recently second several similarly since six sometimes soon still suddenly ten thereafter "
    "therefore third three throughout thus today together tomorrow two unless unlike until upon usually various "
    "whenever whereas whether yesterday"
)
OPENERS = STOP | frozenset(_OPENERS.split())  # words that begin sentences and are no names
_NEGATIVE = (
    "no not never none nobody nothing neither nor without cannot hardly barely scarcely refuse refused refuses "
    "refusing deny denied denies fail failed fails failing unable lack lacks lacked"
)
NEGATIVE = frozenset(_NEGATIVE.split())
_LINKS = ("of", "the", "de", "la", "le", "du", "van", "von", "der", "den", "del", "da", "di", "bin", "al")
_DEMONYMS = ("n", "an", "ian", "ean", "ish", "ese", "i", "s", "es", "ns", "ans", "ians", "eans", "er", "ers")
_COUNTRIES = ("", "a", "y", "e", "ia", "o")
_MARKS = " \t\n\"'\u2018\u2019\u201c\u201d\u00ab([-*\u2022#"
_STARTS = re.compile(r"[.!?:;]\s|[\"\u201c\u201d\u00ab]\s*$|\s[-\u2013\u2014]\s")
_CLAUSES = re.compile(r"(?<![,.;:!?()\u2014])[,.;:!?()\u2014]++\s|\bbut\b")  # linear on endless marks
_END = re.compile(r"[.!?\u2026\u3002\uff01\uff1f][\"'\u2019\u201d\u00bb)\]]*$")


@dataclass(frozen=True)
class Problem:
    """One reason to doubt: `kind` as in the module's list, the words it is about, and what is wrong in words."""

    kind: str
    words: str
    reason: str

    def __str__(self) -> str:
        return self.reason


class Source:
    """A text that sentences are checked against."""

    def __init__(self, text: str, sentences: Sequence[Sentence]) -> None:
        self.sentences = list(sentences)
        self.numbers = numbers(text)
        cased = [_bare(word) for word in words(_undotted(text))]
        self.forms = set(cased)
        self.small = {word for word in cased if not word[:1].isupper()}
        self.stems = {stem(word.lower()) for word in cased}
        self.line = " " + " ".join(word.lower() for word in cased) + " "
        self.folded = {word.lower() for word in cased}
        self.terms = [set(terms(sentence.text)) for sentence in self.sentences]
        self.denied = [denied(sentence.text) for sentence in self.sentences]

    def problems(self, sentence: str, *, finished: bool = True) -> tuple[Problem, ...]:
        """Everything that speaks against a sentence. `finished` false: it needs no full stop, as a headline."""
        found = [*self._numbers(sentence), *self._names(sentence), *self._sense(sentence)]
        if finished and not _END.search(sentence.rstrip()):
            found.append(Problem("unfinished", sentence[-20:], "the sentence has no end"))
        return tuple(found)

    def _numbers(self, sentence: str) -> list[Problem]:
        found = []
        for number in numbers(sentence):
            same = [other for other in self.numbers if number.agrees(other)]
            if not same:
                found.append(Problem("number", number.text, f"the number {number.text!r} is not in the source"))
            elif number.unit and all(other.unit and other.unit != number.unit for other in same):
                units = " or ".join(sorted({other.unit for other in same}))
                reason = f"{number.text!r} is of {units} in the source, not of {number.unit}"
                found.append(Problem("unit", number.text, reason))
        return found

    def _names(self, sentence: str) -> list[Problem]:
        found = []
        for run in self.names(sentence):
            strange = [word for word in run if not self.has(word)]
            name = " ".join(run)
            if strange:
                found.append(Problem("name", name, f"the name {' '.join(strange)!r} is not in the source"))
            elif not self._together(run):
                found.append(Problem("name", name, f"{name!r} does not stand together in the source"))
        return found

    def names(self, sentence: str) -> list[list[str]]:
        """Runs of capitalised words, "Bank of England" one run; without openers and numbers."""
        runs: list[list[str]] = []
        run: list[str] = []
        links: list[str] = []
        end, titled = 0, _titled(sentence)
        sentence = _undotted(sentence.replace("\u2019", "'"))
        for match in WORD.finditer(sentence):
            word, between = _bare(match.group()), sentence[end : match.start()]
            first = not sentence[: match.start()].strip(_MARKS) or _STARTS.search(between) is not None
            if run and re.search(r"[^\s.]", between):  # a comma, a bracket
                runs, run, links = [*runs, run], [], []
            if word[:1].isupper() and not re.match(r"I(?:'\w+)?$", word) and not self._opens(word, first or titled):
                run, links = [*run, *links, word], []
            elif run and word in _LINKS:
                links.append(word)
            elif run:
                runs, run, links = [*runs, run], [], []
            end = match.end()
        return [*runs, run] if run else runs

    def _opens(self, word: str, first: bool) -> bool:
        """Whether a capital may be that of a beginning (a title has them everywhere): the word is an opener, or one
        that the source also writes small."""
        low = word.lower()
        return first and word == low.capitalize() and (low in OPENERS or low in self.small)

    def has(self, word: str) -> bool:
        """Whether a name stands in the source: as it is, or the people of a place that does (German, Germany)."""
        low = word.lower()
        if low in self.folded or word in _LINKS:
            return True
        if "-" in low:
            return all(part in self.folded or part in self.stems for part in low.split("-"))
        bases = {low.removesuffix(ending) for ending in _DEMONYMS if low.endswith(ending)}
        places = {f"{low}y", *(base + end for base in bases if len(base) >= 4 for end in _COUNTRIES)}
        return not places.isdisjoint(self.folded)

    def _together(self, run: list[str]) -> bool:
        """Whether the words of a name follow each other in the source, at most two others between (initials)."""
        if len(run) == 1:
            return True
        whole = " ".join(word.lower() for word in run)
        if f" {whole} " in self.line:
            return True
        loose = r"(?: \S+){0,2} ".join(re.escape(word.lower()) for word in run)
        return re.search(f" {loose} ", self.line) is not None

    def _sense(self, sentence: str) -> list[Problem]:
        wanted = set(terms(sentence))
        if not wanted or not self.sentences:
            return []
        shares = [len(wanted & own) / len(wanted) for own in self.terms]
        order = sorted(range(len(shares)), key=lambda at: (-shares[at], at))
        held = set().union(*(self.terms[at] & wanted for at in order[:SPAN]))
        if len(held) / len(wanted) < LIKE:
            missing = ", ".join(sorted(wanted - held)[:4])
            return [Problem("unlike", missing, f"little of it stands in the source (not: {missing})")]
        best = order[0]
        if shares[best] >= ECHO:
            shared = wanted & self.terms[best]
            own, other = denied(sentence) & shared, self.denied[best] & shared
            turned = sorted(own ^ other)
            if turned and not own & other:
                reason = f"line {self.sentences[best].lines} of the source says of {turned[0]!r} the opposite"
                return [Problem("negation", turned[0], reason)]
        return []

    def origins(self, sentence: str, most: int = 2) -> list[int]:
        """The places of the source's sentences that a sentence rests on, in their order."""
        wanted = set(terms(sentence))
        if not wanted:
            return []
        taken: list[int] = []
        left = set(wanted)
        while left and len(taken) < most:
            gains = [len(left & own) for own in self.terms]
            best = max(range(len(gains)), key=lambda at: (gains[at], -at))
            if gains[best] < max(1, 0.2 * len(wanted)):
                break
            taken.append(best)
            left -= self.terms[best]
        return sorted(taken)


def denied(text: str) -> set[str]:
    """The terms that stand under a no: up to five words behind it, in the same clause."""
    found: set[str] = set()
    for clause in _CLAUSES.split(text):
        reach = 0
        for word in words(clause):
            low = word.lower()
            if low in NEGATIVE or low.endswith("n't"):
                reach = SCOPE
            elif reach:
                found |= set(terms(word))
                reach -= 1
    return found


def _undotted(text: str) -> str:
    """U.S. as US."""
    return re.sub(r"\b(?:[A-Z]\.){2,}", lambda match: match.group().replace(".", ""), text)


def _bare(word: str) -> str:
    return word.removesuffix("'s").removesuffix("'S") if word.lower() != "it's" else word


def _titled(sentence: str) -> bool:
    """Whether it is written as titles are, Nearly Every Word With a Capital."""
    long = [word for word in words(sentence) if len(word) > 3 and word[:1].isalpha()]
    return len(long) > 1 and sum(word[:1].isupper() for word in long) > 0.6 * len(long)
