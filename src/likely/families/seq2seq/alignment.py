"""What a token of the source stands for in the target: shares learned from pairs alone, before any network.

Two models of words that stand for words are learned at once, from source to target and back (model 1 of Brown et al.
1993, aclanthology J93-2003), and a link counts as far as both believe in it (Liang, Taskar and Klein 2006,
aclanthology N06-1014). What stands at the same place of its sentence is likelier linked (Dyer, Chahuneau and Smith
2013, aclanthology N13-1073):

    forth(i, j) = f(y_j | x_i) near(i, j) / sum_i',    back(i, j) = r(x_i | y_j) near(i, j) / sum_j'
    f(y | x) = sum of forth * back over the links of x and y / sum over all links of x,    r likewise

    near(i, j) = exp(-4 |(i + 1/2) / S - (j + 1/2) / T|)

Letters: S tokens of a source, T of its target, P pairs, C cells (i, j) of all pairs, V tokens, K candidates of a token.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
Shares = NDArray[np.float64]

ROUNDS = 6  # the first two without agreement: it needs something to agree on
STEEP = 4.0
DOUBT = 1e-3  # that a token stands for none
FEW = 0.01  # added to the links of a token: what was seen once is no certainty
CELLS = 20_000_000  # looked at; of more, pairs at even distances are taken


def align(
    sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]], source: int, target: int, size: int
) -> tuple[Ids, NDArray[np.float32]]:
    """Of each of `source` tokens the `size` of `target` tokens that it stands for most: ids and shares, each
    (source, size), the largest first, shares 0 where there are fewer; the shares of a token sum to at most 1."""
    pairs = [(np.asarray(x), np.asarray(y)) for x, y in zip(sources, targets, strict=True) if len(x) and len(y)]
    cells = sum(len(x) * len(y) for x, y in pairs)
    pairs = pairs[:: max(1, -(-cells // CELLS))]
    ids, shares = np.zeros((source, size), np.int64), np.zeros((source, size), np.float32)
    if not pairs:
        return ids, shares
    x = np.concatenate([np.tile(x, len(y)) for x, y in pairs])
    y = np.concatenate([np.repeat(y, len(x)) for x, y in pairs])
    near = np.concatenate([_near(len(x), len(y)) for x, y in pairs])
    ends = np.cumsum([(len(x), len(y)) for x, y in pairs], 0)  # so many tokens of either side up to a pair's end
    column = np.concatenate(
        [np.repeat(np.arange(end - len(y), end), len(x)) for (x, y), (_, end) in zip(pairs, ends, strict=True)]
    )
    row = np.concatenate(
        [np.tile(np.arange(end - len(x), end), len(y)) for (x, y), (end, _) in zip(pairs, ends, strict=True)]
    )
    links, link = np.unique(x.astype(np.int64) * target + y, return_inverse=True)
    mine, theirs = links // target, links % target
    forth, back = np.ones(len(links)), np.ones(len(links))
    for turn in range(ROUNDS):
        f, r = _normed(forth[link] * near, column), _normed(back[link] * near, row)
        both = f * r
        forth = _share(_total(link, both if turn > 1 else f, len(links)), mine, source)
        back = _share(_total(link, both if turn > 1 else r, len(links)), theirs, target)
    order = np.lexsort((-forth, mine))
    first, last = (np.searchsorted(mine[order], np.arange(source), side) for side in ("left", "right"))
    for token in range(source):
        best = order[first[token] : min(last[token], first[token] + size)]
        ids[token, : len(best)], shares[token, : len(best)] = theirs[best], forth[best]
    return ids, shares


def _near(S: int, T: int) -> Shares:
    """(T * S,): how near two tokens stand, target by target."""
    apart = (np.arange(S) + 0.5)[None] / S - (np.arange(T) + 0.5)[:, None] / T
    near: Shares = np.exp(-STEEP * np.abs(apart)).ravel()
    return near


def _normed(weight: Shares, group: Ids) -> Shares:
    """Weights (C,) that sum to less than 1 in each group."""
    return weight / (_total(group, weight, 0)[group] + DOUBT)


def _share(count: Shares, token: Ids, tokens: int) -> Shares:
    """Counts of links as shares of all links of their token."""
    return count / (_total(token, count, tokens)[token] + FEW)


def _total(group: Ids, weight: Shares, groups: int) -> Shares:
    """The sum of weights in each group."""
    total: Shares = np.bincount(group, weight, groups).astype(np.float64)
    return total
