"""Scores into probabilities that mean what they say, and the measure of how far they do.

A label's probability is p = softmax(slope * s + bias) of its scores s; slope and bias are learned from scores of
examples that the classifier has not seen (Platt 1999; temperature scaling, Guo et al. 2017, arXiv:1706.04599, is the
slope alone), drawn a little towards slope 1, bias 0.

Without labelled examples the prior of a model can still be removed: of unlabelled texts the labels should come out,
on average, as often as the `wanted` shares say, so

    mean over texts of softmax(s + bias) = wanted

(batch calibration, Zhou et al. 2023, arXiv:2309.17249; with texts that say nothing: Zhao et al. 2021,
arXiv:2102.09690).

ECE, the expected calibration error: answers in ten groups of equal number by their probability; the mean over groups
of |share right - mean probability|. It is over zero by chance alone, about sqrt(p (1 - p) / group) of each group.

Letters: n texts, K labels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Scores = NDArray[np.float64]  # (n, K)
GROUPS = 10


def softmax(scores: Scores) -> Scores:
    """(n, K) -> (n, K), rows sum to 1."""
    raised = np.exp(scores - scores.max(1, keepdims=True))
    shares: Scores = raised / raised.sum(1, keepdims=True)
    return shares


def remove_prior(scores: Scores, wanted: NDArray[np.float64] | None = None, rounds: int = 500) -> NDArray[np.float64]:
    """The bias (K,), mean 0, with which unlabelled texts get labels in the `wanted` shares (K,), by default equal."""
    K = scores.shape[1]
    target = np.full(K, 1 / K) if wanted is None else wanted / wanted.sum()
    bias = -scores.mean(0)
    for _ in range(rounds):  # iterative scaling: every round divides by the shares that came out
        step = np.log(target) - np.log(np.clip(softmax(scores + bias).mean(0), 1e-12, None))
        bias = bias + step
        if np.abs(step).max() < 1e-9:
            break
    found: NDArray[np.float64] = bias - bias.mean()
    return found


def fit_scale(scores: Scores, labels: NDArray[np.int64], pull: float = 1.0) -> tuple[float, NDArray[np.float64]]:
    """Slope > 0 and bias (K,) that make unseen `scores` of `labels` (n,) probabilities. `pull`: examples' worth of
    wish for slope 1 and bias 0."""
    n, K = scores.shape

    def cost(theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        slope, bias = np.exp(theta[0]), theta[1:]
        p = softmax(slope * scores + bias)
        loss = -np.log(np.clip(p[np.arange(n), labels], 1e-300, None)).sum() + pull * (theta @ theta) / 2
        excess = p.copy()
        excess[np.arange(n), labels] -= 1
        gradient = np.concatenate([[(excess * scores).sum() * slope], excess.sum(0)]) + pull * theta
        return float(loss), gradient

    found = minimize(cost, np.zeros(K + 1), jac=True, method="L-BFGS-B", bounds=[(-5, 5), *[(-20, 20)] * K])
    return float(np.exp(found.x[0])), np.asarray(found.x[1:])


def calibration_error(p: Scores, labels: NDArray[np.int64], groups: int = GROUPS) -> float:
    """ECE of probabilities (n, K) of true `labels` (n,), in [0, 1]."""
    top, right = p.max(1), p.argmax(1) == labels
    order = np.argsort(top, kind="stable")
    parts = np.array_split(order, min(groups, len(order)))
    return float(sum(abs(right[part].mean() - top[part].mean()) * len(part) for part in parts) / len(order))


def coverage(p: Scores, labels: NDArray[np.int64], sure: float) -> tuple[float, float]:
    """Share of texts whose best label has at least probability `sure`, and the share of those that are right (NaN
    where there are none)."""
    answered = p.max(1) >= sure
    right = (p.argmax(1) == labels)[answered]
    return float(answered.mean()), float(right.mean()) if len(right) else float("nan")
