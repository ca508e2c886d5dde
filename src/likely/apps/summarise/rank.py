"""Which sentences say most of a text, and the summary made of them: the floor that a written one has to beat.

TextRank (Mihalcea and Tarau 2004, "TextRank: bringing order into texts"; LexRank, Erkan and Radev 2004,
arXiv:1109.2128): sentences are the nodes of a graph, edges the cosine of their tf-idf vectors; a sentence counts as
much as those that resemble it,

    r = (1 - d) / n + d * W^T r        W rows sum to one, d = .85

and r is found by going round until it stands still. To r comes the place: what stands first counts more (lead). Then
sentences are taken one at a time by what they add (maximal marginal relevance, Carbonell and Goldstein 1998,
doi:10.1145/290941.291025):

    argmax  weight * r - (1 - weight) * max similarity to those taken

Letters: n sentences, V words.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from likely.apps.summarise.sentence import Sentence, words

DAMPING, ROUNDS = 0.85, 100
LEAD = 0.35  # how much of the rank the place has: what stands first says most, in news nearly all
MOST = 500  # sentences compared each with each; a longer text is ranked in stretches
SAME = 0.9  # cosine from which two sentences say the same
LEAST = 4  # words; less is a heading or a cry

_STOP = (
    "a about above after again against all also although am an and any are as at be became because been before being "
    "below between both but by came can could did do does doing down during each even few for from further get got "
    "had has have having he her here hers herself him himself his how however i if in into is it its itself just like "
    "made make many may me might more most much must my myself near never no nor not now of off on once one only or "
    "other our out over own per said same say says shall she should since so some such than that the their them then "
    "there these they this those though through to too under until up upon us very was we well went were what when "
    "where which while who whom why will with within without would yet you your yours"
)
STOP = frozenset(_STOP.split())


def terms(text: str) -> list[str]:
    """The words of a text that carry its matter, small and without endings: s, es, ed, ing, ly."""
    return [
        stem(word) for word in map(str.lower, words(text))
        if word not in STOP and len(word) > 1 and not word.endswith("n't")
    ]  # fmt: skip


def stem(word: str) -> str:
    """A word without its commonest endings: not a word any more, but the same for its forms, mostly."""
    word = word.removesuffix("'s")
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    for ending in ("ing", "edly", "ed", "es", "ly", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith(("ss", "us")):
            word = word[: -len(ending)]
            break
    return word[:-1] if len(word) > 3 and (word.endswith("e") or word[-1] == word[-2] not in "aeiouls") else word


def vectors(texts: Sequence[str]) -> NDArray[np.float64]:
    """(n, V) tf-idf vectors of unit length; zeros for texts without terms."""
    counts = [Counter(terms(text)) for text in texts]
    index = {word: at for at, word in enumerate(dict.fromkeys(word for count in counts for word in count))}
    matrix = np.zeros((len(texts), max(len(index), 1)))
    for row, count in enumerate(counts):
        for word, times in count.items():
            matrix[row, index[word]] = 1 + np.log(times)
    seen = (matrix > 0).sum(0)
    matrix *= np.log((1 + len(texts)) / (1 + seen)) + 1
    length = np.linalg.norm(matrix, axis=1, keepdims=True)
    unit: NDArray[np.float64] = np.divide(matrix, length, out=np.zeros_like(matrix), where=length > 0)
    return unit


def textrank(similarity: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, n) similarities, at least 0 -> (n,) ranks that sum to 1."""
    n = len(similarity)
    edges = similarity.copy()
    np.fill_diagonal(edges, 0)
    total = edges.sum(1, keepdims=True)
    steps = np.divide(edges, total, out=np.full_like(edges, 1 / n), where=total > 0)
    rank: NDArray[np.float64] = np.full(n, 1 / n)
    for _ in range(ROUNDS):
        new = (1 - DAMPING) / n + DAMPING * (rank @ steps)
        moved, rank = float(np.abs(new - rank).sum()), new / new.sum()
        if moved < 1e-10:
            break
    return rank


class Ranking:
    """The sentences of a text, and how much each of them says: `score` (n,), 1 = most."""

    def __init__(self, sentences: Sequence[Sentence], lead: float = LEAD) -> None:
        self.sentences = list(sentences)
        n = len(self.sentences)
        self.score = np.zeros(n)
        for begin in range(0, n, MOST):
            rows = slice(begin, min(begin + MOST, n))
            matrix = vectors([sentence.text for sentence in self.sentences[rows]])
            rank = textrank(matrix @ matrix.T)
            self.score[rows] = rank / rank.max()
        place = 1 / (1 + np.arange(n))
        self.score = (1 - lead) * self.score + lead * place
        self.score[[self._idle(sentence.text) for sentence in self.sentences]] *= 0.1

    @staticmethod
    def _idle(text: str) -> bool:
        """Headings, cries and questions are no summary."""
        return (
            len(words(text)) < LEAST
            or text.rstrip("\"'\u2019\u201d").endswith("?")
            or not re.search(r"[.!\u3002]", text)
        )

    def take(self, count: int, weight: float = 0.7) -> list[int]:
        """The places of `count` sentences that together say most, in their order in the text."""
        pool = np.argsort(-self.score, kind="stable")[: max(50, 5 * count)]
        matrix = vectors([self.sentences[at].text for at in pool])
        near = np.zeros(len(pool))
        taken: list[int] = []
        free = np.array([bool(words(self.sentences[at].text)) for at in pool])
        while free.any() and len(taken) < count:
            gain = np.where(free, weight * self.score[pool] - (1 - weight) * near, -np.inf)
            best = int(gain.argmax())
            taken.append(int(pool[best]))
            free[best] = False
            near = np.maximum(near, matrix @ matrix[best])
            free &= near < SAME
        return sorted(taken)


def nearest(text: str, sentences: Sequence[Sentence], count: int = 1) -> list[tuple[int, float]]:
    """The places of the sentences most like `text`, and the share of its terms that each has, best first."""
    wanted = set(terms(text))
    if not wanted:
        return []
    shares = [(at, len(wanted & set(terms(sentence.text))) / len(wanted)) for at, sentence in enumerate(sentences)]
    best = sorted((pair for pair in shares if pair[1] > 0), key=lambda pair: (-pair[1], pair[0]))
    return best[:count]
