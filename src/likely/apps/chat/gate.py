"""Before anything is answered: is there an answer? A logistic regression on the signs of each sentence.

    sure = 1 / (1 + exp(-(b + w . signs)))           the question is answered where the surest sentence reaches `least`

The weights are fitted, not set: `python benchmarks/documents_bench.py --fit` on three small corpora with 96 questions,
half of them without an answer; `least` is the threshold at which the smaller of two shares (answerable questions that
are answered by the right sentence, unanswerable ones that are refused) is largest, each corpus judged by weights that
the two others gave. There is one set of weights for words alone and one for words and a model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from likely.apps.chat.evidence import Evidence


@dataclass(frozen=True)
class Gate:
    """`weights` of the signs in order, `bias`, and the probability from which a sentence is taken as an answer."""

    weights: tuple[float, ...]
    bias: float
    least: float

    def weigh(self, found: Sequence[Evidence]) -> list[Evidence]:
        """The same evidence, surest first, with the probability that each answers."""
        weighed = [replace(evidence, sure=self._sure(evidence.signs)) for evidence in found]
        return sorted(weighed, key=lambda evidence: -evidence.sure)

    def opens(self, evidence: Evidence) -> bool:
        """Whether this is an answer."""
        return evidence.sure >= self.least

    def _sure(self, signs: Sequence[float]) -> float:
        return 1 / (1 + math.exp(-self.bias - sum(w * x for w, x in zip(self.weights, signs, strict=True))))


WORDS = Gate((3.560, 3.003, 1.195, -0.163, 0.298, 0.000, 0.000), -5.846, 0.127)
MODEL = Gate((3.507, 2.137, 0.471, -0.024, 0.158, 0.913, -0.279), -4.018, 0.201)
