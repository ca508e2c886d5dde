"""Which passages a question may be about: BM25 over stems, by SQLite's FTS5, or by a dictionary where SQLite lacks it.

    score(q, p) = sum over stems t of q   idf(t) * f (k + 1) / (f + k (1 - b + b |p| / mean |p|))
    idf(t)      = log((N - n + 1/2) / (n + 1/2)), at least 1e-6           f = how often t stands in p, k = 1.2, b = 0.75

(Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond".) Both engines hold the stems of
`words`, so that they, the gate and the verification agree on what a word is; both give the same scores.

Letters: N passages, n of them hold the stem.
"""

from __future__ import annotations

import math
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence

from likely.apps.chat.passages import Passage
from likely.apps.chat.words import stems

K, B, LEAST = 1.2, 0.75, 1e-6
Ranked = list[tuple[int, float]]  # numbers of passages with their scores, best first


class Index:
    """Passages, and the file names and headings they stand under. `engine`: "fts5", "own", or "auto"."""

    def __init__(self, passages: Sequence[Passage], engine: str = "auto") -> None:
        self.passages = list(passages)
        self.stems = [_stems(passage) for passage in self.passages]
        self.holding = Counter(stem for found in self.stems for stem in set(found))
        self._engine: Fts5 | Okapi
        try:
            self._engine = Okapi(self.stems, self.holding) if engine == "own" else Fts5(self.stems)
        except sqlite3.OperationalError:  # this SQLite was built without FTS5
            if engine == "fts5":
                raise
            self._engine = Okapi(self.stems, self.holding)

    def search(self, query: Iterable[str], most: int) -> Ranked:
        """The passages that hold any of these stems."""
        return self._engine.search(list(dict.fromkeys(query)), most)

    def rarity(self, stem: str) -> float:
        """What a stem tells, in nats: -log of the share of passages that hold it, about. One that none holds tells no
        more than one that a single passage holds: it may be but another word for something that is there."""
        return math.log(1 + (len(self.passages) + 0.5) / (max(self.holding[stem], 1) + 0.5))


def _stems(passage: Passage) -> list[str]:
    return stems(" ".join((*passage.headings, passage.text)))


class Fts5:
    """SQLite's full-text index, in memory."""

    def __init__(self, all_stems: Sequence[Sequence[str]]) -> None:
        self.base = sqlite3.connect(":memory:", check_same_thread=False)
        self.base.execute(
            "CREATE VIRTUAL TABLE passage USING fts5(stems, detail=none, "
            "tokenize=\"unicode61 remove_diacritics 0 tokenchars '.,:'\")"
        )
        self.base.executemany(
            "INSERT INTO passage(rowid, stems) VALUES (?, ?)",
            ((number, " ".join(found)) for number, found in enumerate(all_stems)),
        )

    def search(self, query: Sequence[str], most: int) -> Ranked:
        """The best passages for any of these stems."""
        if not query:
            return []
        wanted = " OR ".join('"' + stem.replace('"', "") + '"' for stem in query)
        rows = self.base.execute(
            "SELECT rowid, -bm25(passage) FROM passage WHERE passage MATCH ? ORDER BY bm25(passage), rowid LIMIT ?",
            (wanted, most),
        )
        return [(int(number), float(score)) for number, score in rows]


class Okapi:
    """The same by hand: an inverted index."""

    def __init__(self, all_stems: Sequence[Sequence[str]], holding: Counter[str]) -> None:
        self.lengths = [len(found) for found in all_stems]
        self.mean = sum(self.lengths) / max(len(self.lengths), 1)
        self.places: dict[str, list[tuple[int, int]]] = {stem: [] for stem in holding}
        for number, found in enumerate(all_stems):
            for stem, count in Counter(found).items():
                self.places[stem].append((number, count))

    def search(self, query: Sequence[str], most: int) -> Ranked:
        """The best passages for any of these stems."""
        scores: dict[int, float] = {}
        N = len(self.lengths)
        for stem in query:
            places = self.places.get(stem, [])
            rare = max(math.log((N - len(places) + 0.5) / (len(places) + 0.5)), LEAST)
            for number, count in places:
                norm = K * (1 - B + B * self.lengths[number] / self.mean)
                scores[number] = scores.get(number, 0.0) + rare * count * (K + 1) / (count + norm)
        return sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:most]
