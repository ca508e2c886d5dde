"""The chain: cells as an autoregressive product of boosted bit-trees.

    p(x) = prod_j p(x_j | x_<j),      p(x_j = v | x_<j) = prod over questions on the way to v of p(answer | x_<j)

Each variable is a tree of yes/no questions (`bits`); each question is a mean of boosted classifiers of the earlier
variables, stopped where left-out rows stop gaining (`boost`); the order is chosen by shared
information (`order`). A variable that an earlier one determines in every row is a table instead of a model.
Sampling draws one of the K models afresh at each question, which has the same distribution as their
mean at 1/K of the cost.

Sources: chains of trees for synthetic data, Reiter 2005 (Journal of Official Statistics 21); binary trees of
boosted classifiers, McCarter 2024 (arXiv:2407.05593).

Letters: B items, D variables, Q questions of all variables together, K folds, C codes.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from likely.core import Cells, Listener, Progress
from likely.families.trees.bits import BitTree, grow
from likely.families.trees.boost import GROUPS, Boosting, Question, Table, ask
from likely.families.trees.forest import Forest, collect
from likely.families.trees.order import choose, coarsen

ALIKE = 256  # rows from which it pays to look for alike ones
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Chain:
    """What was learned, as arrays: the order, the rules, the bit trees and the forest."""

    def __init__(
        self, space: Cells, order: Ints, source: Ints, rules: list[Ints], trees: list[BitTree],
        prior: Floats, first: Ints, count: Ints, forest: Forest,
    ) -> None:  # fmt: skip
        self.space, self.order, self.source, self.rules, self.trees = space, order, source, rules, trees
        self.prior, self.first, self.count, self.forest = prior, first, count, forest
        self.offset = np.concatenate([[0], np.cumsum([tree.questions for tree in trees])])
        self.models: NDArray[np.bool_] = np.array(np.max(count, axis=1, initial=0) > 0, bool)
        self._used: dict[int, tuple[Ints, Floats]] = {}

    def odds(self, q: int, x: NDArray[np.float32], k: Ints | None = None) -> Floats:
        """p(yes) of question q for rows x (B, D): (B,) of model k[b], or of the mean of all models."""
        if not self.models[q]:
            return np.full(len(x), _sigmoid(self.prior[q]))
        folds = np.flatnonzero(self.first[q] >= 0)
        if k is None:
            p = np.zeros(len(x))
            for fold in folds:
                p += _sigmoid(self.prior[q] + self._margin(q, int(fold), x))
            return p / len(folds)
        p = np.empty(len(x))
        pick = k % len(folds)
        for i, fold in enumerate(folds):
            rows = np.flatnonzero(pick == i)
            p[rows] = _sigmoid(self.prior[q] + self._margin(q, int(fold), x[rows]))
        return p

    def _margin(self, q: int, fold: int, x: NDArray[np.float32]) -> Floats:
        """Log-odds (B,) that model `fold` of question q adds for rows x (B, D): once for rows that look alike to it."""
        first, count = int(self.first[q, fold]), int(self.count[q, fold])
        used, radix = self._features(q)
        if len(x) < ALIKE or not len(radix):
            return self.forest.margin(x, first, count)
        _, index, inverse = np.unique(x[:, used].astype(np.float64) @ radix, return_index=True, return_inverse=True)
        if len(index) > 0.8 * len(x):
            return self.forest.margin(x, first, count)
        return self.forest.margin(x[index], first, count)[inverse]

    def _features(self, q: int) -> tuple[Ints, Floats]:
        """The variables that the models of question q ask about, and weights that make one number of their codes."""
        if q not in self._used:
            parts = [
                self.forest.feature[self.forest.starts[low] : self.forest.starts[low + n]]
                for low, n in zip(self.first[q], self.count[q], strict=True)
                if n
            ]
            used = np.unique(np.concatenate(parts)).astype(np.int64)
            weights = [1.0, *(float(self.space.sizes[v]) for v in used)]
            radix: Floats = np.asarray(np.cumprod(weights), np.float64)
            # Beyond 2^53 the number would not be exact: such rows are not looked at for likeness.
            self._used[q] = used, radix[:-1] if radix[-1] < 2**53 else radix[:0]
        return self._used[q]

    def draw(self, v: int, x: NDArray[np.float32], rng: np.random.Generator, temperature: float) -> Ints:
        """Codes of variable v for rows x (B, D) of which the earlier variables are filled: (B,)."""
        if self.source[v] >= 0:
            codes: Ints = self.rules[v][x[:, self.source[v]].astype(np.int64)]
            return codes
        tree, base = self.trees[v], int(self.offset[v])
        at = np.zeros(len(x), np.int64)
        if tree.questions == 0:
            return at
        for q in range(tree.questions):
            rows = np.flatnonzero(at == q)
            if len(rows) == 0:
                continue
            k = rng.integers(0, 2**31, len(rows))
            p = self.odds(base + q, x[rows], k)
            if temperature != 1.0:
                p = _sigmoid(np.log(p / (1 - p)) / temperature)
            at[rows] = np.where(rng.random(len(rows)) < p, tree.yes[q], tree.no[q])
        return ~at

    def log_prob(self, v: int, x: NDArray[np.float32], codes: Ints, rng: np.random.Generator | None = None) -> Floats:
        """log p(x_v = codes | earlier variables of x): (B,) nats.

        With `rng`, the log of an unbiased estimate at 1/K of the cost: one of the K models a question.
        """
        if self.source[v] >= 0:
            ruled = self.rules[v][x[:, self.source[v]].astype(np.int64)]
            return np.where(codes == ruled, 0.0, -np.inf)
        logp = np.zeros(len(x))
        tree, base = self.trees[v], int(self.offset[v])
        sides = tree.sides()
        for q in range(tree.questions):
            side = sides[q][codes]
            rows = np.flatnonzero(side)
            if len(rows) == 0:
                continue
            p = self.odds(base + q, x[rows], rng.integers(0, 2**31, len(rows)) if rng is not None else None)
            logp[rows] += np.log(np.where(side[rows] > 0, p, 1 - p))
        return logp

    def distribution(self, v: int, x: NDArray[np.float32]) -> Floats:
        """p(x_v | earlier variables of x): (B, C)."""
        c = self.space.sizes[v]
        if self.source[v] >= 0:
            return np.eye(c)[self.rules[v][x[:, self.source[v]].astype(np.int64)]]
        tree, base = self.trees[v], int(self.offset[v])
        reach = np.ones((len(x), max(tree.questions, 1)))
        p = np.ones((len(x), c))
        for q in range(tree.questions):
            yes = self.odds(base + q, x)
            for child, share in ((int(tree.yes[q]), yes), (int(tree.no[q]), 1 - yes)):
                if child < 0:
                    p[:, ~child] = reach[:, q] * share
                else:
                    reach[:, child] = reach[:, q] * share
        return p


def learn(
    x: Ints,
    space: Cells,
    boosting: Boosting,
    rule: int,
    rng: np.random.Generator,
    listen: Listener | None,
    threads: int,
    order: list[int] | None = None,
) -> Chain:
    """Learn a chain from codes x (N, D)."""
    n, d = x.shape
    order = order if order is not None else choose(x, space)
    k = boosting.folds_for(n)
    folds: Ints = np.asarray(rng.permutation(n), np.int64) % k
    seeds: Ints = np.asarray(rng.integers(0, 2**16, d), np.int64)
    source, rules = find_rules(x, space, order, rule)
    trees = [
        grow(np.bincount(x[:, v], minlength=space.sizes[v]), space.ordered[v])
        if source[v] < 0
        else grow(np.ones(1, np.int64), True)
        for v in range(d)
    ]
    dense = np.ascontiguousarray(x, np.float32)
    coarse = np.stack([coarsen(x[:, v], space.sizes[v], space.ordered[v], GROUPS) for v in range(d)], 1)
    weights: Floats = np.array(
        [0.0 if source[v] >= 0 else 1.0 + j * np.log2(space.sizes[v] + 1) for j, v in enumerate(order)]
    )
    finished: Floats = np.zeros(d)
    halt = Event()

    def one(j: int) -> list[Question]:
        v = order[j]
        if source[v] >= 0:
            return []
        features = order[:j]
        table = None
        if features and n >= boosting.rows:  # under that, every question is a constant
            unordered = [i for i, f in enumerate(features) if not space.ordered[f]]
            table = Table(dense[:, features], coarse[:, features], unordered, boosting)
        questions = []
        codes = x[:, v]
        sides = trees[v].sides()
        for q in range(trees[v].questions):
            side = sides[q][codes]
            rows = np.flatnonzero(side)
            questions.append(ask(table, rows, side[rows] > 0, folds[rows], int(seeds[v])))
            if halt.is_set():
                break
            finished[j] = weights[j] * (q + 1) / trees[v].questions
            if listen:
                listen(Progress("growing trees", min(1.0, finished.sum() / weights.sum())))
        return questions

    with ThreadPoolExecutor(max_workers=max(1, threads)) as pool:
        # The longest first, so that the last thread is not left with the heaviest variable.
        # Ctrl-C reaches this thread only: the others are told to stop at their next question.
        jobs = {j: pool.submit(one, j) for j in sorted(range(d), key=lambda j: -weights[j])}
        try:
            learned = {order[j]: job.result() for j, job in jobs.items()}
        except BaseException:
            halt.set()
            pool.shutdown(cancel_futures=True)
            raise

    place = {v: j for j, v in enumerate(order)}
    questions = [(v, question) for v in range(d) for question in learned[v]]
    models = [
        (i, fold, model) for i, (_, question) in enumerate(questions) for fold, model in enumerate(question.models)
    ]
    forest, grown = collect(
        [model for _, _, model in models],
        [np.array(order[: place[questions[i][0]]], np.int64) for i, _, _ in models],
        d,
    )
    first, count = np.full((len(questions), k), -1, np.int64), np.zeros((len(questions), k), np.int64)
    starts = np.cumsum(grown) - grown
    for (i, fold, _), start, size in zip(models, starts, grown, strict=True):
        first[i, fold], count[i, fold] = start, size
    prior = np.array([question.prior for _, question in questions], np.float64)
    return Chain(space, np.array(order, np.int64), source, rules, trees, prior, first, count, forest)


def find_rules(x: Ints, space: Cells, order: list[int], limit: int) -> tuple[Ints, list[Ints]]:
    """For each variable an earlier one of at most `limit` codes that determines it in every row, or -1; its table."""
    d = x.shape[1]
    source, rules = np.full(d, -1, np.int64), [np.zeros(0, np.int64)] * d
    for j, v in enumerate(order):
        for u in order[:j]:
            if space.sizes[u] > limit or space.sizes[v] < 2 or space.sizes[u] < space.sizes[v]:
                continue
            pairs = np.unique(x[:, u] * space.sizes[v] + x[:, v])
            causes = pairs // space.sizes[v]
            if len(np.unique(causes)) == len(pairs) == space.sizes[u]:
                source[v], rules[v] = u, pairs % space.sizes[v]
                break
    return source, rules


def _sigmoid(odds: Any) -> Any:
    """Never exactly 0 or 1: logarithms of it stay finite."""
    return np.clip(expit(odds), 1e-12, 1 - 1e-12)
