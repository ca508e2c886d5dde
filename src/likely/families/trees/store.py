"""A chain as named arrays, and back: every index is proven before it is followed.

Letters: D variables, Q questions of all variables together, K folds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from likely.core import Cells
from likely.errors import ArtifactError
from likely.families.trees.bits import BitTree
from likely.families.trees.chain import Chain
from likely.families.trees.forest import Forest

Arrays = dict[str, NDArray[np.generic]]

_TYPES = {
    "starts": np.int64, "feature": np.int32, "kind": np.uint8, "cut": np.int32, "left": np.int16, "right": np.int16,
    "leaf": np.float32, "sets": np.int64, "words": np.int64,
}  # fmt: skip


def pack(chain: Chain) -> Arrays:
    """All that the chain learned."""
    return {
        "order": chain.order,
        "source": chain.source,
        "rules": np.concatenate([*chain.rules, np.zeros(0, np.int64)]),
        "yes": np.concatenate([*[tree.yes for tree in chain.trees], np.zeros(0, np.int64)]),
        "no": np.concatenate([*[tree.no for tree in chain.trees], np.zeros(0, np.int64)]),
        "prior": chain.prior,
        "first": chain.first,
        "count": chain.count,
        **{f"forest.{name}": array for name, array in chain.forest.arrays().items()},
    }


def unpack(arrays: Arrays, space: Cells) -> Chain:
    """The inverse of `pack`. Raises ArtifactError where an array is not what `pack` could have written."""
    d = len(space.sizes)
    order, source = _ints(arrays, "order"), _ints(arrays, "source")
    _insist(sorted(order.tolist()) == list(range(d)), "order")
    place = np.argsort(order)
    _insist(source.shape == (d,) and bool(((source >= -1) & (source < d)).all()), "sources")
    _insist(all(source[v] < 0 or place[source[v]] < place[v] for v in range(d)), "sources")

    rules, low = [], 0
    flat = _ints(arrays, "rules")
    for v in range(d):
        size = space.sizes[source[v]] if source[v] >= 0 else 0
        rule = flat[low : low + size]
        _insist(len(rule) == size and bool(((rule >= 0) & (rule < space.sizes[v])).all()), "rules")
        rules.append(rule)
        low += size
    _insist(low == len(flat), "rules")

    trees, low = [], 0
    yes, no = _ints(arrays, "yes"), _ints(arrays, "no")
    for v in range(d):
        codes = 1 if source[v] >= 0 else space.sizes[v]
        tree = BitTree(yes[low : low + codes - 1], no[low : low + codes - 1], codes)
        _insist(_walks(tree), "bit trees")
        trees.append(tree)
        low += codes - 1
    _insist(low == len(yes) == len(no), "bit trees")

    prior, first, count = arrays["prior"], _ints(arrays, "first", 2), _ints(arrays, "count", 2)
    _insist(prior.dtype == np.float64 and prior.shape == (low,) and bool(np.isfinite(prior).all()), "priors")
    _insist(first.shape == count.shape and first.shape[0] == low and first.shape[1] <= 64, "models")
    loaded = {}
    for name, kind in _TYPES.items():
        array = arrays[f"forest.{name}"]
        _insist(array.dtype == kind, name)
        loaded[name] = array
    forest = Forest(**loaded, variables=d).check(space.sizes)  # type: ignore[arg-type]
    used = first >= 0
    _insist(bool(((first >= -1) & (count >= 0)).all()) and bool((count[~used] == 0).all()), "models")
    _insist(bool((first[used] + count[used] <= forest.trees).all()) and bool((count < 2**31).all()), "models")
    return Chain(space, order, source, rules, trees, prior.astype(np.float64), first, count, forest)


def _ints(arrays: Arrays, name: str, ndim: int = 1) -> NDArray[np.int64]:
    array = arrays[name]
    _insist(array.dtype == np.int64 and array.ndim == ndim, name)
    return array.astype(np.int64)


def _walks(tree: BitTree) -> bool:
    """Whether every question after the root is reached once, from an earlier one, and every code once."""
    q = tree.questions
    if len(tree.yes) != tree.codes - 1 or len(tree.no) != tree.codes - 1:
        return False
    ends = np.concatenate([tree.yes, tree.no])
    parents = np.concatenate([np.arange(q), np.arange(q)])
    inner = ends >= 0
    good = bool((ends[inner] > parents[inner]).all())
    return (
        good
        and sorted(ends[inner].tolist()) == list(range(1, q))
        and sorted((~ends[~inner]).tolist()) == (list(range(tree.codes)) if q else [])
    )


def _insist(good: bool, what: str) -> None:
    if not good:
        raise ArtifactError(f"The trees in this model file are damaged ({what}). Fit the model again.")
