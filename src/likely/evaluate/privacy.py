"""Is it private? Copies, near copies, membership, each against what fresh real rows would score.

The question is never "is a made row close to a training row" (real people resemble each other) but "is it closer than
a row that the model never saw would be". Hold-out rows answer that:

    copies       share of made rows that equal a training row; the same share of hold-out rows is what is harmless
    near copies  the same, with "equal" replaced by "nearer than all but 1 % of the hold-out rows are"
    membership   an attacker ranks real rows by the distance to their nearest made row, to say which were trained on:
                 AUROC, .5 = blind guessing (distance-based attack: van Breugel et al. 2023, arXiv:2302.12580; Chen et
                 al. 2020, "GAN-Leaks", arXiv:1909.03935)
    DCR share    share of made rows nearer to a training row than to a hold-out row, out of equally many of each;
                 .5 is ideal

The DCR share is for screening only: a table can pass it and still leak (Yao et al. 2025, "The DCR Delusion",
arXiv:2505.01524). The attack here is a simple one too; passing it is evidence, not proof.

Distances are those of `distance.py`. Memory is one block of distances, whatever the number of rows.
Shape letters: T training rows, H hold-out rows, M made rows, F features.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from likely.evaluate.auroc import Z95, Area, auroc
from likely.evaluate.columns import Floats, Rows
from likely.evaluate.distance import Features, nearest
from likely.evaluate.diversity import keys

FINE = 100  # a numeric column with more values than this, and than a tenth of the rows, is too fine to be copied
NEAR = 0.01  # share of hold-out rows that count as near a training row


class Rate(NamedTuple):
    """How often made rows do something, and how often hold-out rows do; 95 % intervals of the made rows' rate, and of
    the difference, `excess`."""

    made: float
    fresh: float
    interval: tuple[float, float]
    excess: tuple[float, float]


class Distances(NamedTuple):
    """To the nearest training row from made rows `made` (M,) and hold-out rows `fresh` (H,)."""

    made: Floats
    fresh: Floats


def coarse(train: Rows) -> NDArray[np.int64]:
    """The columns that two people may well share: all but the numbers with (nearly) as many values as rows."""
    limit = max(FINE, len(train) / 10)
    return np.array([
        j for j, column in enumerate(train.columns) if column.discrete or len(np.unique(train.x[:, j])) <= limit
    ], np.int64)  # fmt: skip


def copies(train: Rows, fresh: Rows, made: Rows, columns: NDArray[np.int64] | None = None) -> Rate:
    """Rows that equal some training row in all, or the given, columns."""
    known = keys(train, columns)
    return rate(np.isin(keys(made, columns), known), np.isin(keys(fresh, columns), known))


def near_copies(distances: Distances, share: float = NEAR) -> Rate:
    """Rows that are as near to a training row as the nearest `share` of the hold-out rows."""
    limit = float(np.quantile(distances.fresh, share, method="higher"))
    return rate(distances.made <= limit, distances.fresh <= limit)


def rate(made: NDArray[np.bool_], fresh: NDArray[np.bool_]) -> Rate:
    """Two groups' yes and no -> their rates, and the difference with Newcombe's interval (1998, method 10)."""
    (p, low_p, high_p), (q, low_q, high_q) = _wilson(made), _wilson(fresh)
    low = p - q - math.hypot(p - low_p, high_q - q)
    return Rate(p, q, (low_p, high_p), (low, p - q + math.hypot(high_p - p, q - low_q)))


def _wilson(hits: NDArray[np.bool_]) -> tuple[float, float, float]:
    """A share with Wilson's 95 % interval, which is honest near 0 and 1."""
    n, p = len(hits), float(hits.mean())
    middle = (p + Z95**2 / (2 * n)) / (1 + Z95**2 / n)
    half = Z95 * math.sqrt(p * (1 - p) / n + Z95**2 / (4 * n**2)) / (1 + Z95**2 / n)
    return p, max(0.0, middle - half), min(1.0, middle + half)


class Attack(NamedTuple):
    """The membership attack's AUROC, and the share of made rows nearer to training rows than to hold-out rows."""

    membership: Area
    dcr: float


def attack(train: Features, fresh: Features, made: Features) -> Attack:
    """Training (T, F) and hold-out (H, F) rows, T = H; made (M, F). Raises ValueError where T != H."""
    if len(train) != len(fresh):
        raise ValueError(f"equally many rows of both are needed, got {len(train)} and {len(fresh)}")
    train_to_made, made_to_train = nearest(train, made)
    fresh_to_made, made_to_fresh = nearest(fresh, made)
    closer = (made_to_train < made_to_fresh).mean() + (made_to_train == made_to_fresh).mean() / 2
    return Attack(auroc(-train_to_made, -fresh_to_made), float(closer))
