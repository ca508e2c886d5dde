"""Where made items lie among real ones: precision, recall, coverage, density, nearest neighbours.

The set of real items is drawn as balls, one around each, that reach to its k-th nearest real neighbour:

    precision   share of made items inside some real ball: what is made looks like something real
    recall      share of real items inside some *made* ball: what is real could have been made
                (Kynkaanniemi et al. 2019, "Improved precision and recall metric", arXiv:1904.06991, eq. 2)
    coverage    share of real balls that hold a made item; density: how many balls hold a made item, over k
                (Naeem et al. 2020, arXiv:2002.09797; see `diversity.spread`)

One odd made item far from all others has a huge ball and feigns recall; coverage does not fall for it, for its balls
are those of real items. Read both. And the two-sample test that has nothing to tune:

    neighbours  of all items together, the share whose nearest other item is of its own kind (Lopez-Paz & Oquab 2017,
                "Revisiting classifier two-sample tests", arXiv:1610.06545): .5 for one law, 1 for two that lie
                apart, and *below* .5 where each made item sits on top of a real one: copies

Shape letters: N real rows, M made rows, F features.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from likely.evaluate.columns import Floats
from likely.evaluate.distance import Features, inside, nearest, reach
from likely.evaluate.diversity import NEIGHBOURS, spread


class Manifold(NamedTuple):
    """Precision, recall and coverage in [0, 1], and density, about 1."""

    precision: float
    recall: float
    coverage: float
    density: float


def manifold(real: Features, made: Features, k: int = NEIGHBOURS) -> Manifold:
    """Real (N, F) and made (M, F), best N = M. Raises ValueError for fewer than k + 1 rows of either."""
    if len(made) <= k:
        raise ValueError(f"it needs more than {k} made rows, there are {len(made)}")
    met = spread(real, made, k)
    precision = float(inside(real, reach(real, k), made).mean())
    recall = float(inside(made, reach(made, k), real).mean())
    return Manifold(precision, recall, met.coverage, met.density)


class Neighbours(NamedTuple):
    """The share of items whose nearest other one is of its own kind: over all, of the real, of the made ones."""

    accuracy: float
    real: float
    made: float

    @property
    def off(self) -> float:
        """How far both kinds are from .5, on average: 0 perfect, .5 the worst."""
        return (abs(self.real - 0.5) + abs(self.made - 0.5)) / 2


def neighbours(real: Features, made: Features) -> Neighbours:
    """Real (N, F) and made (M, F), N = M, at least 2. A tie counts half. Raises ValueError where N != M."""
    if len(real) != len(made) or len(real) < 2:
        raise ValueError(f"equally many rows of both are needed, 2 at least, got {len(real)} and {len(made)}")
    real_to_made, made_to_real = nearest(real, made)
    p, q = _own(reach(real, 1), real_to_made), _own(reach(made, 1), made_to_real)
    return Neighbours((p + q) / 2, p, q)


def _own(own: Floats, other: Floats) -> float:
    return float((own < other).mean() + (own == other).mean() / 2)


def unit(reference: Features, *others: Features) -> list[Features]:
    """All features about the reference's mean, in units of its spread: so that `distance.EQUAL` means equal."""
    centre = reference.mean(axis=0, dtype=np.float64)
    scale = math.sqrt(float(((reference - centre) ** 2).sum(axis=1).mean())) or 1.0
    return [((one - centre) / scale).astype(np.float32) for one in (reference, *others)]
