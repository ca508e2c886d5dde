"""Which sentences may answer a question, and what speaks for each: numbers that the gate weighs.

    cover      rarity-weighted share of the question's content words that stand in the sentence (a synonym counts .7)
    titled     the same for the sentence with its headings and the name of its file
    passage    the same for the whole passage
    missing    1 where the question names something (a name, a number, a code such as E5) that the passage lacks
    fits       1 where a kind of answer is asked for (see `asked`) and the sentence holds one
    lift       with a model only: nats a token by which the sentence makes the question likelier than nothing does
    left       with a model only: nats a content word of the question that the sentence leaves unexplained

        lift(q, s) = mean over tokens t of q          log p(t | s, q before t) - log p(t | q before t)
        left(q, s) = mean over content words w of q  -log p(w | s, q before w)

(Query likelihood: Ponte and Croft 1998; as a zero-shot ranker: Sachan et al. 2022, arXiv:2204.07496.) A sentence that
lacks the kind of answer that is asked for is no candidate, whatever it shares.

A sentence that begins with a pronoun is taken together with the one before it: alone it says little, to the index, to
the gate and to the reader.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from likely.apps.chat.asked import ANYTHING, holds
from likely.apps.chat.index import Index
from likely.apps.chat.passages import Passage, Sentence
from likely.apps.chat.synonyms import Synonyms
from likely.apps.chat.words import words

PASSAGES, SYNONYM = 8, 0.7
LEANING = frozenset(
    ("it", "they", "them", "he", "she", "this", "that", "these", "those", "its", "their", "such", "then", "otherwise",
     "after")
)  # fmt: skip
SIGNS = ("cover", "titled", "passage", "missing", "fits", "lift", "left")
LOOSE = frozenset((ANYTHING, "place"))  # kinds that a sentence may answer without showing it


@dataclass(frozen=True)
class Evidence:
    """A quotation that may answer, and what speaks for it. `sentences`: of the passage, those quoted. `sure`: the
    probability that it answers, as the gate sees it."""

    passage: Passage
    sentences: tuple[Sentence, ...]
    signs: tuple[float, ...]  # in the order of SIGNS
    sure: float = 0.0

    @property
    def quote(self) -> str:
        """The sentences, verbatim."""
        return " ".join(sentence.text for sentence in self.sentences)

    @property
    def line(self) -> int:
        """Where the quotation begins."""
        return self.sentences[0].line

    def told(self, lift: float, left: float) -> Evidence:
        """The same, with what a model says."""
        return replace(self, signs=(*self.signs[:-2], lift, left))


@dataclass(frozen=True)
class Wanted:
    """A question as the index sees it: content `stems` with their weights, the `kind` of answer, what it `names`, and
    the stem that is to be counted ("how many dogs")."""

    stems: dict[str, float]
    kind: str
    names: frozenset[str]
    counted: str = ""


def wanted(question: str, kind: str) -> Wanted:
    """What a question asks for."""
    found = words(question)
    stems = {word.stem: word.weight for word in found if word.content}
    names = frozenset(word.stem for word in found if word.content and (word.name or word.stem[0].isdigit()))
    counted = ""
    if kind == "number":
        many = next((at for at, word in enumerate(found) if word.text in ("many", "number")), 0)
        counted = next((word.stem for word in found[many + 1 : many + 4] if word.content), "")
    return Wanted(stems, kind, names, counted)


def candidates(index: Index, synonyms: Synonyms, question: Wanted, most: int = PASSAGES) -> list[Evidence]:
    """All sentences of the passages that share a word, or a synonym, with the question."""
    groups = {stem: synonyms.more(stem) for stem in question.stems}
    query = dict.fromkeys((*question.stems, *sorted(set().union(*groups.values()))))
    weights = {stem: index.rarity(stem) * weight for stem, weight in question.stems.items()}
    found = []
    for number, _ in index.search(query, most):
        passage, around = index.passages[number], set(index.stems[number])
        above = _stems((*passage.headings, passage.document.rpartition(".")[0]))
        missing = float(any(name not in around and not groups[name] & around for name in question.names))
        share = _cover(weights, groups, around | above)
        for sentences in quotations(passage):
            inside = _stems(sentence.text for sentence in sentences)
            text = " ".join(sentence.text for sentence in sentences)
            fits = question.kind != ANYTHING and holds(text, question.kind) and counts(text, question, groups)
            if not fits and question.kind not in LOOSE:
                continue
            cover, titled = _cover(weights, groups, inside), _cover(weights, groups, inside | above)
            signs = (cover, titled, share, missing, float(fits), 0.0, 0.0)
            found.append(Evidence(passage, sentences, signs))
    return found


def counts(text: str, question: Wanted, groups: dict[str, set[str]]) -> bool:
    """Whether what is to be counted is: a number stands at most three words before it, or two after it."""
    if not question.counted:
        return True
    meant, found = {question.counted, *groups[question.counted]}, words(text)
    near = [
        word
        for at, it in enumerate(found)
        if it.stem in meant
        for word in (*found[max(at - 3, 0) : at], *found[at + 1 : at + 3])
    ]
    return any(word.number or word.text in ("no", "one", "single", "several") for word in near)


def quotations(passage: Passage) -> list[tuple[Sentence, ...]]:
    """Each sentence, with the one before it where it leans on that."""
    found: list[tuple[Sentence, ...]] = []
    for at, sentence in enumerate(passage.sentences):
        first = sentence.text.split(None, 1)[0].lower().strip("\"'“‘(,.:;") if sentence.text else ""
        leans = at > 0 and first in LEANING
        found.append((*(found[-1][-1:] if leans else ()), sentence))
    return found


def _stems(texts: Iterable[str]) -> set[str]:
    return {word.stem for text in texts for word in words(text)}


def _cover(weights: dict[str, float], groups: dict[str, set[str]], have: set[str]) -> float:
    """Share of the weights of stems that are there, themselves or by a synonym; 0 where nothing is asked."""
    total = sum(weights.values())
    there = sum(w * (1.0 if stem in have else SYNONYM * bool(groups[stem] & have)) for stem, w in weights.items())
    return there / total if total else 0.0


def best(found: Sequence[Evidence]) -> list[Evidence]:
    """Surest first; of equals the earlier."""
    return sorted(found, key=lambda evidence: -evidence.sure)
