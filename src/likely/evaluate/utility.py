"""Is it useful? Learn on made rows, test on real ones: TSTR over TRTR.

A gradient boosting model predicts one column from all others. Learned on made rows (train on synthetic, test on real)
and on as many real rows (train on real, test on real), both are tested on rows that neither the generator nor the
models have seen. The ratio of the two scores says how much of what can be learned from the real table can be learned
from the made one (Esteban, Hyland & Raetsch 2017, arXiv:1706.02633). The score is the AUROC for a category (mean of
one against the rest), Spearman's rank correlation of forecast and truth for a number: it is in [-1, 1], does not
depend on units, and no single huge value decides it, as it would R^2.

Shape letters: N rows, D columns, K classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from likely.evaluate.auroc import macro_auroc, midranks
from likely.evaluate.columns import Floats, Rows
from likely.evaluate.detection import codes_within, one_thread
from likely.evaluate.fidelity import Trends

CLASSES = 20  # a category with more levels is no target
LEAST_CLASS = 20  # rows of the second most frequent class
LEAST_ROWS = 50  # rows with a known target, to learn from and to test on
DISTINCT = 12  # a number with fewer different values than this is predicted as a class
FEW = 3  # classes of the targets that are chosen first: boosting costs one forest a class
TWIN = 0.9  # |r| or Cramer's V above which one column is another one in disguise
CHANCE = {"auroc": 0.55, "spearman": 0.1}  # real rows that score no better teach nothing
ROUNDS = 100  # bootstrap rounds of the interval
TESTED = 4000  # test rows of the bootstrap


@dataclass(frozen=True)
class Utility:
    """Of one target: TRTR `real`, TSTR `made`, and their `ratio` with a 95 % interval (over test rows only)."""

    target: str
    measure: str
    real: float
    made: float
    ratio: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Forecast:
    """What a model says of the test rows: scores (N, K) or (N,), and the truth (N,)."""

    measure: str
    scores: Floats
    truth: Floats

    def score(self, rows: np.ndarray | None = None) -> float:
        """AUROC or Spearman's correlation, of all test rows or some; NaN where it is undefined."""
        scores, truth = (self.scores, self.truth) if rows is None else (self.scores[rows], self.truth[rows])
        if self.measure == "auroc":
            return macro_auroc(scores, truth.astype(np.int64))
        a, b = midranks(scores), midranks(truth)
        if a.std() == 0 or b.std() == 0:
            return 0.0
        return float(np.corrcoef(a, b)[0, 1])


def classes(real: Rows, j: int) -> Floats | None:
    """The (K,) values that column j takes, as classes; None where it is a number with many values."""
    values = np.unique(real.x[~np.isnan(real.x[:, j]), j])
    return values if real.columns[j].discrete or len(values) < DISTINCT else None


def reason_against(real: Rows, j: int) -> str | None:
    """Why column j cannot be a target; None if it can."""
    column, x = real.columns[j], real.x[:, j]
    x = x[~np.isnan(x)]
    if len(x) < LEAST_ROWS:
        return f"{column.name!r} is known in {len(x)} real rows only; {LEAST_ROWS} are needed"
    if classes(real, j) is None:
        return None
    counts = np.sort(np.unique(x, return_counts=True)[1])[::-1]
    if len(counts) < 2:
        return f"{column.name!r} has one value only: there is nothing to predict"
    if len(counts) > CLASSES:
        return f"{column.name!r} has {len(counts)} levels; more than {CLASSES} are too many to predict"
    if counts[1] < LEAST_CLASS:
        return f"all but {int(counts[1:].sum())} real rows have the same {column.name!r}"
    return None


def targets(real: Rows, trends: Trends, most: int = 3) -> list[int]:
    """Columns worth predicting: the last suitable one (tables end with the outcome), then those most tied to others."""
    fit = [j for j in range(len(real.columns)) if reason_against(real, j) is None]
    if not fit:
        return []
    strength, copied = np.zeros(len(real.columns)), np.zeros(len(real.columns), bool)
    for (i, j), value in zip(trends.pairs, np.nan_to_num(trends.strength), strict=True):
        strength[[i, j]] += value**2  # squared: a few strong ties count more than many weak ones
        copied[[i, j]] |= value > TWIN  # to say a column from its twin shows nothing
    kinds = {j: classes(real, j) for j in fit}
    few = {j: values is None or len(values) <= FEW for j, values in kinds.items()}
    rest = sorted(fit[:-1], key=lambda j: (bool(copied[j]), not few[j], -strength[j], j))
    return [fit[-1], *rest][:most]


def forecast(learn: Rows, test: Rows, j: int, values: Floats | None, seed: int) -> Forecast | None:
    """Predict column j of the test rows by a model of the learning rows; None where these are too few to learn from.

    `values` are its `classes` (K,), or None for a number. Rows with any other value are left out.
    """
    others = np.delete(np.arange(len(test.columns)), j)
    discrete = test.discrete[others]
    known, asked = _usable(learn.x[:, j], values), _usable(test.x[:, j], values)
    x, y = codes_within(learn.x[known][:, others], discrete), learn.x[known, j]
    z, truth = codes_within(test.x[asked][:, others], discrete), test.x[asked, j]
    used = np.flatnonzero(~np.isnan(x).all(axis=0)) if len(x) else np.empty(0, np.int64)
    if len(y) < LEAST_ROWS or not len(used):
        return None
    x, z, discrete = x[:, used], z[:, used], discrete[used]
    if values is None:
        low, high = np.quantile(y, [0.005, 0.995])  # a few huge values would take all the splits
        model = HistGradientBoostingRegressor(categorical_features=discrete, random_state=seed)
        with one_thread():
            model.fit(x, np.clip(y, low, high))
            return Forecast("spearman", model.predict(z), truth)
    y, truth = np.searchsorted(values, y), np.searchsorted(values, truth)
    scores = np.zeros((len(z), len(values)))
    met, counts = np.unique(y, return_counts=True)
    if len(met) > 1:  # a made table may hold one class only: it teaches nothing, and scores .5
        early: bool | str = "auto" if counts.min() > 10 else False  # its inner split needs rows of each class
        classifier = HistGradientBoostingClassifier(
            categorical_features=discrete, random_state=seed, early_stopping=early
        )
        with one_thread():
            classifier.fit(x, y)
            scores[:, met] = classifier.predict_proba(z)
    return Forecast("auroc", scores, truth.astype(np.float64))


def _usable(x: Floats, values: Floats | None) -> np.ndarray:
    return ~np.isnan(x) if values is None else np.isin(x, values)


def compare(real: Forecast, made: Forecast | None, name: str, rng: np.random.Generator) -> Utility:
    """TRTR and TSTR forecasts of the same rows -> their ratio. Raises ValueError where the real rows teach nothing."""
    best = real.score()
    if math.isnan(best) or best < CHANCE[real.measure]:
        raise ValueError(f"even the real rows do not say {name!r} from the other columns ({_say(real.measure, best)})")
    if made is None:
        return Utility(name, real.measure, best, 0.0, 0.0, (0.0, 0.0))
    got = made.score()
    ratios = []
    n = min(len(real.truth), TESTED)
    widen = math.sqrt(n / len(real.truth))  # fewer rows than there are spread more
    for _ in range(ROUNDS):
        rows = rng.integers(0, len(real.truth), n)
        a, b = real.score(rows), made.score(rows)
        if a > 0 and not math.isnan(b):
            ratios.append(b / a)
    spread = float(np.std(ratios)) * widen if ratios else math.nan
    ratio = got / best
    return Utility(name, real.measure, best, got, ratio, (ratio - 1.96 * spread, ratio + 1.96 * spread))


def _say(measure: str, value: float) -> str:
    return f"AUROC {value:.2f}" if measure == "auroc" else f"rank correlation {value:.2f}"
