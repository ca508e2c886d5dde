"""The rows of a card that come from neighbours: precision, recall, coverage, density, the nearest-neighbour test.

Shape letters: N items a side, F features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from likely.evaluate import judge
from likely.evaluate.card import Row
from likely.evaluate.columns import Rows
from likely.evaluate.detection import told
from likely.evaluate.distance import Features
from likely.evaluate.manifold import Neighbours, manifold, neighbours, unit
from likely.evaluate.vocabulary import Words

CLASSIFIED = 2_000  # items a side that the classifier learns from: boosting costs most of a card's time


@dataclass(frozen=True)
class Sides:
    """Features (N, F) of the unseen real items, of made ones, of real ones in their place (the ceiling), and of two
    floors: items that are `wrong`, and real ones `repeated`. `wrong_is` and `repeated_is` say what those are."""

    real: Features
    made: Features
    ceiling: Features
    wrong: Features
    repeated: Features
    wrong_is: str
    repeated_is: str


def near(sides: Sides, words: Words) -> list[Row]:
    """All rows of this module: those of "is it true?" first."""
    real, made, ceiling, wrong, repeated = unit(sides.real, sides.made, sides.ceiling, sides.wrong, sides.repeated)
    tests = [neighbours(real, one) for one in (made, ceiling, wrong)]
    value, best, low = (manifold(real, one) for one in (made, ceiling, wrong))
    worst = manifold(real, repeated)
    many, one = words.many, words.one
    return [
        _test(tests[0], tests[1], tests[2], words, sides.wrong_is),
        judge.similarity("precision", "Precision", "true", (value.precision, best.precision, low.precision),
                         f"{{made}} of the made {many} lie where real {many} are; of fresh real {many}, {{ceiling}}.",
                         (0.05, 0.15), sides.wrong_is),
        judge.similarity("recall", "Recall", "varied", (value.recall, best.recall, worst.recall),
                         f"{{made}} of the real {many} lie where made {many} are; among fresh real {many}, "
                         f"{{ceiling}}.",
                         (0.10, 0.30), sides.repeated_is),
        judge.similarity("coverage", "Coverage", "varied", (value.coverage, best.coverage, worst.coverage),
                         f"{{made}} of the real {many} have a made {one} in their neighbourhood; fresh real {many} "
                         "reach {ceiling}.", (0.05, 0.15), sides.repeated_is),
        judge.density(value.density, best.density, low.density, words, sides.wrong_is),
    ]  # fmt: skip


def _test(made: Neighbours, ceiling: Neighbours, floor: Neighbours, words: Words, floor_is: str) -> Row:
    """The nearest-neighbour test. Each kind on its own: noise is nearer to real items than to itself, and real items to
    real ones, so that over both together it would pass."""
    sentence = (
        f"The nearest neighbour of {judge.percent(made.real)} of the real {words.many} is real, of "
        f"{judge.percent(made.made)} of the made ones made; 50% each is perfect. So they are {{made}} off (fresh real "
        f"{words.many} {{ceiling}}, 0.5 is the worst)."
    )
    values = made.off, ceiling.off, floor.off
    return judge.distance("neighbours", "Nearest neighbours", values, sentence, floor_is, limits=(0.25, 0.6))


def classifier(
    tables: tuple[Rows, Rows, Rows, Rows], seed: int, words: Words, wrong_is: str
) -> tuple[Row, tuple[float, float, float]]:
    """How well boosting tells made items from real ones by what can be said of each: `tables` of real, made, ceiling
    and wrong items. Also the share it is right of, made, ceiling and wrong."""
    real, *others = (one.take(slice(0, CLASSIFIED)) for one in tables)
    made, ceiling, wrong = (told(real, one, seed) for one in others)
    row = judge.detection(made.area, ceiling.area, wrong.area, words, wrong_is)
    return row, (made.accuracy, ceiling.accuracy, wrong.accuracy)


def distinct(made: np.ndarray, ceiling: np.ndarray, repeated: np.ndarray, words: Words, floor_is: str) -> Row:
    """Keys (N,) of items -> the share that differs from all before."""
    shares = tuple(len(np.unique(one)) / len(one) for one in (made, ceiling, repeated))
    sentence = (
        f"{{made}} of the made {words.many} differ from all before them; of as many real {words.many} {{ceiling}}."
    )
    values = shares[0], shares[1], shares[2]
    return judge.similarity("distinct", f"Distinct {words.many}", "varied", values, sentence, floor_is=floor_is)


TENTH = 10  # one item in so many is repeated in the floor of variety


def repeated(n: int) -> np.ndarray:
    """(n,) places of the floor of variety: every tenth item, over and over."""
    return np.arange(n) % max(1, n // TENTH)
