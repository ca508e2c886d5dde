"""Can a classifier tell made rows from real ones? The classifier two-sample test.

If P_made = P_real no classifier can do better than guessing: AUROC .5. Gradient boosting learns, on two folds of three,
to separate equally many real and made rows, and ranks the third; the value is the mean AUROC of the three folds
(Lopez-Paz & Oquab 2017, "Revisiting classifier two-sample tests", arXiv:1610.06545, with AUROC in place of accuracy).
The real rows must be rows that the model never saw: against its own training rows a memoriser looks perfect.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedKFold
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # comes with scikit-learn

from likely.evaluate.auroc import Area, auroc
from likely.evaluate.columns import Floats, Rows

FOLDS = 3
LEVELS = 255  # categories that gradient boosting takes; the rarer ones share the last code
LEAST = 2 * FOLDS  # rows a side


def codes_within(x: Floats, discrete: NDArray[np.bool_], levels: int = LEVELS) -> Floats:
    """(N, D) -> the same with codes of categories capped: codes fall by frequency, so the rarest are pooled."""
    capped = x.copy()
    capped[:, discrete] = np.minimum(capped[:, discrete], levels - 1)  # NaN stays NaN
    return capped


def one_thread() -> threadpool_limits:
    """A context in which boosting uses one thread.

    On tables of this size threads save little, and on a busy machine they wait for each other: 1,600 rows x 6 columns
    took 77 CPU seconds instead of 0.3.
    """
    return threadpool_limits(limits=1, user_api="openmp")


class Told(NamedTuple):
    """How well made rows are told from real ones: AUROC, .5 = impossible (the error is DeLong's over the pooled
    folds), and the share of rows of which the classifier says rightly what they are."""

    area: Area
    accuracy: float


def classifier_test(real: Rows, made: Rows, seed: int) -> Area:
    """The AUROC of `told`."""
    return told(real, made, seed).area


def told(real: Rows, made: Rows, seed: int) -> Told:
    """Uses the first min(N, M) rows of each. Raises ValueError for fewer than 6 rows a side."""
    scores = _scores(real, made, seed)
    if not scores:
        return Told(Area(0.5, 0.0), 0.5)
    areas = [auroc(score[is_made == 1], score[is_made == 0]) for score, is_made in scores]
    error = float(np.sqrt(np.mean([area.error**2 for area in areas]) / FOLDS))
    right = [((score > 0.5) == (is_made == 1)).mean() for score, is_made in scores]
    return Told(Area(float(np.mean([area.value for area in areas])), error), float(np.mean(right)))


def _scores(real: Rows, made: Rows, seed: int) -> list[tuple[Floats, NDArray[np.int64]]]:
    """Of each fold: the probability of being made (N,), and whether it is; nothing where all cells are missing."""
    n = min(len(real), len(made))
    if n < LEAST:
        raise ValueError(f"it needs {LEAST} rows of each kind, there are {n}")
    discrete = real.discrete
    x = codes_within(np.concatenate([real.x[:n], made.x[:n]]), discrete)
    is_made = np.repeat([0, 1], n)
    found: list[tuple[Floats, NDArray[np.int64]]] = []
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    for learn, test in folds.split(x, is_made):
        used = np.flatnonzero(~np.isnan(x[learn]).all(axis=0))  # boosting refuses columns that are missing throughout
        if not len(used):
            return []
        model = HistGradientBoostingClassifier(categorical_features=discrete[used], random_state=seed)
        with one_thread():
            model.fit(x[np.ix_(learn, used)], is_made[learn])
            score = model.predict_proba(x[np.ix_(test, used)])[:, 1]
        found.append((score, is_made[test]))
    return found
