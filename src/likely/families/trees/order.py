"""In which order a chain learns its variables.

The chain rule p(x) = prod_j p(x_j | x_<j) holds in any order, but what can be *learned* from finite data does not:
a variable that nothing depends on, placed early, is one more feature for every later question to be
misled by. So variables that share much information with others come first, noise late, and
targets last, so that each is learned by the models that will be judged by it.

The shared information is measured pair by pair as mutual information of coarse codes, less what
independent variables of the same sizes would show by chance (Miller 1955: (R - 1)(C - 1) / 2N nats).

Letters: N rows, D variables.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from likely.core import Cells

COARSE = 24  # codes a variable is reduced to for counting pairs


def shared(x: NDArray[np.int64], space: Cells) -> NDArray[np.float64]:
    """(D, D) nats: mutual information of each pair, corrected for chance, at least 0; entropies on the diagonal."""
    n, d = x.shape
    coarse = np.stack([coarsen(x[:, j], space.sizes[j], space.ordered[j], COARSE) for j in range(d)], 1)
    width = coarse.max(0) + 1
    marginal = [np.bincount(coarse[:, j], minlength=width[j]) / n for j in range(d)]
    entropy = np.array([-(p[p > 0] * np.log(p[p > 0])).sum() for p in marginal])
    table = np.diag(entropy)
    for i in range(d):
        for j in range(i):
            joint = np.bincount(coarse[:, i] * width[j] + coarse[:, j], minlength=width[i] * width[j]) / n
            together = -(joint[joint > 0] * np.log(joint[joint > 0])).sum()
            chance = (width[i] - 1) * (width[j] - 1) / (2 * n)
            table[i, j] = table[j, i] = max(0.0, entropy[i] + entropy[j] - together - chance)
    return table


def choose(x: NDArray[np.int64], space: Cells) -> list[int]:
    """The order of the D variables: strongest ties first, targets last."""
    d = len(space.sizes)
    information = shared(x, space)
    ties = information - np.diag(np.diag(information))
    strength = ties.sum(1)
    targets = set(space.targets)
    return sorted((j for j in range(d) if j not in targets), key=lambda j: -strength[j]) + list(space.targets)


def coarsen(codes: NDArray[np.int64], size: int, ordered: bool, groups: int) -> NDArray[np.int64]:
    """Codes (N,) in at most `groups` groups: of equal mass where ordered, else the most frequent by themselves."""
    if size <= groups:
        return codes
    counts = np.bincount(codes, minlength=size)
    if ordered:
        middle = np.cumsum(counts) - counts / 2
        group = np.minimum((middle * groups / counts.sum()).astype(np.int64), groups - 1)
    else:
        group = np.empty(size, np.int64)
        group[np.argsort(-counts, kind="stable")] = np.minimum(np.arange(size), groups - 1)
    coarse: NDArray[np.int64] = group[codes]
    return coarse
