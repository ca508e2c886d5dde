"""Whether an answer says nothing but what its source says: reasons against it, none = it may be shown.

Every number and name of the answer must stand in the quoted sentence or its headings, every other content word at
least in its passage. That alone would pass "open on Saturday until 21:00" where 21:00 belongs to Friday, or "bring a
card" where an identity card is asked for, so four more:

    numbers    all numbers of the sentence, in its order; the words around each come from its own clause, from before
               the first number, or from the headings; "at most", "up to", "from" before a number are kept
    kept       all names of the sentence; and what stands right before a content word that is kept: no card without its
               "identity"
    denial     no, not, never, only, except, unless ... are as many in the answer as in the sentence
    form       it ends, is no longer than the sentence by more than a few words, and judges nothing (Yes, No, I think)

Strict on purpose: what is refused is replaced by a quotation, which costs elegance; what is let through wrongly costs
trust. The order of words is not checked: "A before B" and "B before A" are the same to it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable

from likely.apps.chat.words import NEGATIONS, Word, words

LONGER = 6  # words more than the sentence
BOUNDS = frozenset(
    ("most", "least", "to", "about", "around", "from", "over", "under", "than", "until", "till", "before", "after",
     "nearly", "almost", "within", "every")
)  # fmt: skip
CLAUSE = re.compile(r"[,;:()]|\s[-–]\s|\b(?:and|but|or|while|whereas|unless|if)\b", re.IGNORECASE)
JUDGES = re.compile(
    r"\W*(?:yes|no|yeah|nope|sure|sorry|i|i'm|as an|based on|according to|the (?:text|passage|document))\b",
    re.IGNORECASE,
)


def reasons(answer: str, sentence: str, passage: str = "", headings: str = "", *, finished: bool = True) -> list[str]:
    """Why `answer` may not stand for `sentence`, which is quoted from `passage` under `headings`."""
    said, source, above = words(answer), words(sentence), words(headings)
    if not any(word.content for word in said):
        return ["it says nothing"]
    found = []
    if not finished or answer.rstrip()[-1:] not in tuple(".!)”\"'"):
        found.append("it does not end")
    if len(said) > len(source) + LONGER:
        found.append("it is longer than the sentence")
    if JUDGES.match(answer):
        found.append("it judges")
    if denials(said) != denials(source):
        found.append("it denies more or less than the sentence")
    near = {word.stem for word in (*source, *above)}
    found += _foreign(said, near, near | {word.stem for word in words(passage)})
    found += _lost(said, _clauses(sentence, source))
    return found + _company(_clauses(answer, said), _clauses(sentence, source), {word.stem for word in above})


def foreign_numbers(answer: str, *sources: str) -> list[str]:
    """Numbers of a text that none of its sources holds."""
    known = {word.stem for source in sources for word in words(source)}
    return [word.text for word in words(answer) if word.number and word.stem not in known]


def denials(said: Iterable[Word]) -> int:
    """How often it is denied, or limited."""
    return sum(word.text in NEGATIONS or word.text.endswith("n't") for word in said)


def _foreign(said: list[Word], near: set[str], far: set[str]) -> list[str]:
    found = []
    for word in said:
        if (word.number or word.name) and word.stem not in near:
            found.append(f"the {'number' if word.number else 'name'} {word.text!r} is not in the sentence")
        elif word.content and word.stem not in far:
            found.append(f"the word {word.text!r} is not in the passage")
    return found


Clauses = list[list[Word]]


def _lost(said: list[Word], source: Clauses) -> list[str]:
    """What the sentence says and the answer leaves out, though it changes what is said."""
    have = {word.stem for word in said}
    found = [
        f"the name {word.text!r} is left out"
        for clause in source
        for word in clause
        if word.name and word.stem not in have
    ]
    for clause in source:
        for before, word in itertools.pairwise(clause):
            if before.content and word.content and word.stem in have and before.stem not in have:
                found.append(f"{before.text!r} before {word.text!r} is left out")
    return found


def _company(said: Clauses, source: Clauses, above: set[str]) -> list[str]:
    """What is wrong with the numbers of the answer, beyond that they stand in the sentence."""
    mine = [(word, clause) for clause in said for word in clause if word.number]
    theirs = [(word, clause) for clause in source for word in clause if word.number]
    if [word.stem for word, _ in mine] != [word.stem for word, _ in theirs]:
        return ["its numbers are not those of the sentence, in that order"]
    if not mine:
        return []
    first = theirs[0][0].start
    shared = above | {word.stem for clause in source for word in clause if word.end <= first}
    found = []
    for (number, clause), (twin, place) in zip(mine, theirs, strict=True):
        known = shared | {word.stem for word in place}
        if any(word.content and not word.number and word.stem not in known for word in clause):
            found.append(f"the number {number.text!r} has other words around it in the sentence")
        if _bound(twin, place) != _bound(number, clause):
            found.append(f"the number {number.text!r} is not bounded as in the sentence")
    return found


def _bound(number: Word, clause: list[Word]) -> str:
    """The word before a number that limits it, or none."""
    at = clause.index(number)
    before = clause[at - 1].text if at else ""
    return before if before in BOUNDS else ""


def _clauses(text: str, found: list[Word]) -> Clauses:
    """The words of a text by clause; a comma inside a number is none."""
    cuts = [match.start() for match in CLAUSE.finditer(text)]
    clauses: Clauses = [[]]
    for word in found:
        while cuts and cuts[0] < word.start:
            cuts.pop(0)
            clauses.append([])
        while cuts and cuts[0] < word.end:
            cuts.pop(0)
        clauses[-1].append(word)
    return [clause for clause in clauses if clause]
