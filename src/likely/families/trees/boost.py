"""Boosting one yes/no question: K models on K folds, stopped together where left-out rows stop gaining.

Each of the K models learns from K - 1 folds of the rows that reach the question and is judged on the fold it
never saw; all K stop at the round that minimises their summed left-out loss, and all are kept: the answer's
probability is their mean. Stopping each question by itself is what keeps single rows from being remembered: where the
earlier variables say nothing about the answer, the best round is 0 and the question is a constant.

Sources: gradient boosting, Friedman 2001 (doi:10.1214/aos/1013203451); LightGBM, Ke et al. 2017;
stopping on left-out folds, Stone 1974 (doi:10.1111/j.2517-6161.1974.tb00994.x).

Letters: N rows, F features, K folds.
"""

from __future__ import annotations

from dataclasses import dataclass

import lightgbm
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from likely.families.trees.forest import shorten

GROUPS = 8  # groups of codes that a feature is reduced to before trees are tried
SURE = 1000  # rows from which trees are tried in any case


@dataclass(frozen=True)
class Boosting:
    """How a question's models are grown. The defaults are the `balanced` privacy setting."""

    folds: int = 0  # K: models a question, each blind to one fold; 0 = 3, or more where rows are few
    rate: float = 0.2  # shrinkage of each tree
    leaves: int = 6  # largest number of leaves of a tree
    smallest: int = 20  # fewest rows in a leaf
    ridge: float = 10.0  # L2 penalty on leaf values
    fraction: float = 0.7  # share of features a tree may use
    rounds: int = 200  # most trees a model
    patience: int = 8  # rounds without a better left-out loss before stopping
    rows: int = 80  # questions reached by fewer rows are constants
    chance: float = 0.5  # a question under 1,000 rows is a constant if chance alone would often (this share of
    #                      times) tie some feature to it as strongly as any is tied; 1 = no such test
    gain: float = 2.0  # nats that the left-out rows must gain together, else the question is a constant

    def folds_for(self, rows: int) -> int:
        """K for a table of so many rows: where rows are few, each model should miss fewer of them."""
        return self.folds or (3 if rows >= 10_000 else 4 if rows >= 3_000 else 6)

    def parameters(self, seed: int) -> dict[str, object]:
        """LightGBM's names for these settings."""
        return {
            "objective": "binary",
            "metric": "binary_logloss",
            "boost_from_average": False,
            "learning_rate": self.rate,
            "num_leaves": self.leaves,
            "min_data_in_leaf": self.smallest,
            "lambda_l2": self.ridge,
            "feature_fraction": self.fraction,
            "min_data_per_group": self.smallest,
            "min_data_in_bin": 1,
            "max_bin": 512,
            "feature_pre_filter": False,
            "force_col_wise": True,
            "deterministic": True,
            "num_threads": 1,
            "seed": seed,
            "verbose": -1,
        }


@dataclass(frozen=True)
class Question:
    """What was learned about one question: `prior`, the log-odds of yes, and the models to add to it."""

    prior: float
    models: list[str]  # LightGBM's text, shortened, one a fold


class Table:
    """The features of one variable's questions, binned once and shared by all of them.

    x (N, F) are the codes; `coarse` (N, F) the same in at most `GROUPS` groups, for the quick test of `hopeless`.
    """

    def __init__(
        self, x: NDArray[np.float32], coarse: NDArray[np.int64], unordered: list[int], setting: Boosting
    ) -> None:
        self.coarse = coarse + GROUPS * np.arange(x.shape[1])
        zeros = np.zeros(len(x))
        self.setting, self.rows = setting, len(x)
        self.data = lightgbm.Dataset(
            x,
            label=zeros,
            init_score=zeros,
            categorical_feature=unordered or "auto",
            params=setting.parameters(0),
            free_raw_data=False,
        ).construct()

    def hopeless(self, rows: NDArray[np.int64], answers: NDArray[np.bool_]) -> bool:
        """Whether no feature is tied to the answers (N,) more than the best of F unrelated ones would be by chance.

        Pearson's chi-square of each feature's groups, made comparable by Wilson and Hilferty (1931,
        doi:10.1073/pnas.17.12.684), against the Bonferroni bound. Costs a hundredth of growing trees in vain.
        """
        groups = self.coarse[rows]
        size = GROUPS * groups.shape[1]
        met = np.bincount(groups.ravel(), minlength=size).reshape(-1, GROUPS)
        yes = np.bincount(groups[answers].ravel(), minlength=size).reshape(-1, GROUPS)
        share = answers.mean()
        chi2 = ((yes - share * met) ** 2 / np.maximum(met * share * (1 - share), 1e-9)).sum(1)
        freedom = np.maximum((met > 0).sum(1) - 1, 1)
        z = (np.cbrt(chi2 / freedom) - 1 + 2 / (9 * freedom)) / np.sqrt(2 / (9 * freedom))
        return bool(z.max() < ndtri(1 - self.setting.chance / len(z)))

    def part(self, rows: NDArray[np.int64], answers: NDArray[np.bool_], prior: float) -> lightgbm.Dataset:
        """The rows with their answers, starting from the prior's log-odds."""
        part = self.data.subset(rows.tolist()).construct()
        part.set_label(answers.astype(np.float32))
        part.set_init_score(np.full(len(rows), prior))
        part.reference = self.data
        return part


def constant(yes: int, no: int) -> float:
    """Log-odds of yes by the Krichevsky-Trofimov estimate: half a row is added to each side."""
    return float(np.log((yes + 0.5) / (no + 0.5)))


def ask(
    table: Table | None, rows: NDArray[np.int64], answers: NDArray[np.bool_], folds: NDArray[np.int64], seed: int
) -> Question:
    """Learn one question from the `rows` (N,) that reach it, their `answers` (N,) and their `folds` (N,) in 0..K-1."""
    yes = int(answers.sum())
    prior = constant(yes, len(answers) - yes)
    if table is None or len(rows) < table.setting.rows or min(yes, len(answers) - yes) < 5:
        return Question(prior, [])
    setting = table.setting
    if setting.chance < 1 and len(rows) < SURE and table.hopeless(rows, answers):
        return Question(prior, [])
    runs: list[tuple[lightgbm.Booster, int]] = []
    for k in range(setting.folds_for(table.rows)):
        kept, left = folds != k, folds == k
        if not left.any() or answers[kept].all() or not answers[kept].any():
            continue
        model = lightgbm.Booster(setting.parameters(seed + k), table.part(rows[kept], answers[kept], prior))
        model.add_valid(table.part(rows[left], answers[left], prior), "left out")
        runs.append((model, int(left.sum())))
    if not runs:
        return Question(prior, [])
    judged = sum(n for _, n in runs)
    share = yes / len(answers)
    constant_loss = -(share * np.log(share) + (1 - share) * np.log1p(-share))
    best, best_round = constant_loss, 0
    for done in range(1, setting.rounds + 1):
        stuck = [model.update() for model, _ in runs]
        loss = sum(model.eval_valid()[0][2] * n for model, n in runs) / judged
        if loss < best:
            best, best_round = loss, done
        elif done - best_round >= setting.patience or all(stuck):
            break
    # The best of several rounds beats the constant by chance now and then; a gain that small is no knowledge.
    if (constant_loss - best) * judged < setting.gain:
        return Question(prior, [])
    return Question(prior, [shorten(model.model_to_string(num_iteration=best_round)) for model, _ in runs])
