"""Boosted regression trees as arrays: grown by LightGBM, kept as numbers, walked by numpy.

A model file must hold no text that a foreign parser reads and no pickle; a tree is five small arrays. A row goes left
where its feature is <= the threshold. All trees are walked at once, one level a step.

Source of the method: Friedman 2001, doi:10.1214/aos/1013203451; Ke et al. 2017 (LightGBM).

Letters: B rows, F features, N nodes of all trees, K trees.
"""

from __future__ import annotations

from typing import Any, Self

import lightgbm
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

DEEPEST = 64
CHUNK = 2000  # rows at a time: their places in 300 trees fill 5 MB
SETTINGS: dict[str, Any] = {
    "objective": "l2", "num_leaves": 16, "learning_rate": 0.04, "feature_fraction": 0.5, "bagging_fraction": 0.7,
    "bagging_freq": 1, "lambda_l2": 5.0, "max_bin": 127, "verbose": -1, "num_threads": 1, "deterministic": True,
}  # fmt: skip
ROUNDS = 300


class Forest:
    """A sum of trees."""

    def __init__(self, arrays: dict[str, Tensor]) -> None:
        self.arrays = arrays
        self.feature, self.cut = arrays["feature"].numpy(), arrays["cut"].numpy()
        self.left, self.right = arrays["left"].numpy(), arrays["right"].numpy()
        self.value, self.root = arrays["value"].numpy(), arrays["root"].numpy()

    @classmethod
    def grow(cls, x: NDArray[np.float64], y: NDArray[np.float64], weight: NDArray[np.float64], seed: int) -> Self:
        """Least-squares boosting of rows x (N, F) towards y (N,)."""
        settings = SETTINGS | {"seed": seed, "min_data_in_leaf": max(2, min(40, len(x) // 50))}
        booster = lightgbm.train(settings, lightgbm.Dataset(x, y, weight=weight, free_raw_data=True), ROUNDS)
        nodes: dict[str, list[float]] = {name: [] for name in ("feature", "cut", "left", "right", "value")}
        roots = [_plant(tree["tree_structure"], nodes) for tree in booster.dump_model()["tree_info"]]
        kinds = {"feature": np.int32, "cut": np.float64, "left": np.int32, "right": np.int32, "value": np.float64}
        arrays = {name: torch.from_numpy(np.array(nodes[name], kind)) for name, kind in kinds.items()}
        return cls(arrays | {"root": torch.from_numpy(np.array(roots, np.int32))})

    def predict(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rows (B, F) -> (B,)."""
        out = np.empty(len(x))
        for i in range(0, len(x), CHUNK):
            part = x[i : i + CHUNK]
            place = np.repeat(self.root[None], len(part), 0)
            for _ in range(DEEPEST):
                feature = self.feature[place]
                if (feature < 0).all():
                    break
                seen = np.take_along_axis(part, np.maximum(feature, 0), 1)
                onward = np.where(seen <= self.cut[place], self.left[place], self.right[place])
                place = np.where(feature < 0, place, onward)
            out[i : i + CHUNK] = self.value[place].sum(1)
        return out

    def check(self, features: int) -> Self:
        """The same, once it is sure that no walk leaves the arrays. Raises ValueError."""
        N = len(self.feature)
        inner = self.feature >= 0
        here = np.arange(N)[inner]
        sizes = {len(array) for array in (self.cut, self.left, self.right, self.value)}
        if sizes != {N} or not len(self.root) or self.root.min() < 0 or self.root.max() >= N:
            raise ValueError("trees of uneven arrays")
        # Children come after their parent, so every walk ends.
        for child in (self.left[inner], self.right[inner]):
            if (child <= here).any() or (child >= N).any():
                raise ValueError("trees with broken branches")
        if (self.feature >= features).any() or not np.isfinite(self.value).all():
            raise ValueError("trees over unknown features")
        return self


def _plant(node: dict[str, Any], nodes: dict[str, list[float]]) -> int:
    """Append a node and all below it; returns its place."""
    place = len(nodes["feature"])
    for name, empty in (("feature", -1), ("cut", 0.0), ("left", 0), ("right", 0), ("value", 0.0)):
        nodes[name].append(empty)
    if "split_feature" not in node:
        nodes["value"][place] = node["leaf_value"]
        return place
    nodes["feature"][place], nodes["cut"][place] = node["split_feature"], node["threshold"]
    nodes["left"][place] = _plant(node["left_child"], nodes)
    nodes["right"][place] = _plant(node["right_child"], nodes)
    return place
