"""Forests as plain arrays: what boosting learned, in a form that can be saved, checked and trusted.

LightGBM grows the trees and, for speed, also evaluates them; but a model file must never reach its parser
unchecked, since that parser trusts its input. So a forest lives as a few integer arrays (saved as tensors),
`Forest.check` proves them well formed, and only then is LightGBM's own text written from them and loaded.
One LightGBM model holds all trees of all node models; a node model is a range of trees.

Letters: T trees, I inner nodes of all trees together (a tree with L leaves has L - 1), W 32-bit words of
category sets, N rows, D variables.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property

import lightgbm
import numpy as np
from numpy.typing import NDArray

from likely.errors import ArtifactError

CATEGORY, NUMBER = 1, 0  # bit 0 of LightGBM's decision_type
_LIMIT = 50_000_000  # entries in one array of a model file


@dataclass(frozen=True)
class Forest:
    """T trees end to end. Inner nodes of tree t are `starts[t] .. starts[t+1] - 1`, its leaves are
    `starts[t] + t .. starts[t+1] + t` (one more leaf than inner nodes). A child >= 0 is an inner node of
    the same tree, counted from its start; a child < 0 is the leaf ~child."""

    starts: NDArray[np.int64]  # (T + 1,)
    feature: NDArray[np.int32]  # (I,) the variable asked about
    kind: NDArray[np.uint8]  # (I,) NUMBER: x <= cut goes left; CATEGORY: x in set number `cut` goes left
    cut: NDArray[np.int32]  # (I,) the largest code that goes left, or the number of a category set
    left: NDArray[np.int16]  # (I,)
    right: NDArray[np.int16]  # (I,)
    leaf: NDArray[np.float32]  # (I + T,) log-odds that each leaf adds
    sets: NDArray[np.int64]  # (number of sets + 1,) where each set's words start
    words: NDArray[np.int64]  # (W,) bit c % 32 of word c // 32 set: code c goes left
    variables: int = 0

    @property
    def trees(self) -> int:
        """T, the number of trees."""
        return len(self.starts) - 1

    # ------------------------------------------------------------------------------------------ evaluate

    @cached_property
    def _booster(self) -> lightgbm.Booster:
        return lightgbm.Booster(model_str=_write(self))

    def margin(self, x: NDArray[np.float32], first: int, count: int) -> NDArray[np.float64]:
        """Sum of the leaves that rows `x` (N, D) reach in trees first .. first + count - 1: (N,) log-odds."""
        if count == 0 or len(x) == 0:
            return np.zeros(len(x))
        margin = self._booster.predict(
            x, start_iteration=first, num_iteration=count, raw_score=True, num_threads=1, validate_features=False
        )
        return np.asarray(margin, np.float64)

    # --------------------------------------------------------------------------------------- save, check

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """All arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "variables"}

    def check(self, sizes: tuple[int, ...]) -> Forest:
        """Itself, once every index is proven to stay inside its tree. Raises ArtifactError otherwise."""

        def insist(good: bool | np.bool_, what: str) -> None:
            if not good:
                raise ArtifactError(f"The trees in this model file are damaged ({what}). Fit the model again.")

        inner, trees = len(self.feature), self.trees
        insist(all(array.ndim == 1 and array.size <= _LIMIT for array in self.arrays().values()), "array shapes")
        insist(trees >= 0 and self.starts[0] == 0 and self.starts[-1] == inner, "tree starts")
        widths = np.diff(self.starts)
        insist(bool((widths >= 1).all()) and bool((widths < 2**15).all()), "tree widths")
        insist(all(len(a) == inner for a in (self.kind, self.cut, self.left, self.right)), "array lengths")
        insist(len(self.leaf) == inner + trees and bool(np.isfinite(self.leaf).all()), "leaf values")
        insist(len(self.sets) >= 1 and self.sets[0] == 0 and self.sets[-1] == len(self.words), "category sets")
        insist(bool((np.diff(self.sets) >= 1).all()), "category sets")
        insist(bool(((self.words >= 0) & (self.words < 2**32)).all()), "category words")
        insist(bool(((self.feature >= 0) & (self.feature < len(sizes))).all()), "variables")
        insist(bool(np.isin(self.kind, (NUMBER, CATEGORY)).all()), "kinds of question")
        category = self.kind == CATEGORY
        insist(bool((self.cut >= 0).all()), "cuts")
        insist(bool((self.cut[category] < len(self.sets) - 1).all()), "category cuts")
        if inner:
            # A child must come after its parent and be met once: then every walk ends in a leaf.
            here = np.arange(inner) - np.repeat(self.starts[:-1], widths)
            wide = np.repeat(widths, widths)
            tree = np.repeat(np.arange(trees), widths)
            for child in (self.left.astype(np.int64), self.right.astype(np.int64)):
                insist(bool((np.where(child >= 0, child > here, True)).all()), "child order")
                insist(bool((child < wide).all()) and bool((~child <= wide).all()), "children")
            ends = np.concatenate([self.left, self.right]).astype(np.int64)
            owner = np.concatenate([tree, tree])
            leaves, nodes = ends < 0, ends >= 0
            met = np.bincount(self.starts[owner[leaves]] + owner[leaves] + ~ends[leaves], minlength=inner + trees)
            insist(bool((met == 1).all()), "leaves met")
            met = np.bincount(self.starts[owner[nodes]] + ends[nodes], minlength=inner)
            met[self.starts[:-1]] += 1  # the roots
            insist(bool((met == 1).all()), "nodes met")
        return self


NAMES = [
    "num_leaves", "num_cat", "split_feature", "threshold", "decision_type", "left_child", "right_child", "leaf_value",
    "cat_boundaries", "cat_threshold",
]  # fmt: skip


def shorten(text: str) -> str:
    """The lines of a LightGBM model string that `collect` reads: a third of it."""
    return "\n".join(line for line in text.split("\n") if line.partition("=")[0] in NAMES)


def collect(texts: list[str], variables: list[NDArray[np.int64]], d: int) -> tuple[Forest, NDArray[np.int64]]:
    """One forest of the trees of all `texts` (shortened LightGBM model strings), in their order, and the number of
    trees of each; `variables[m]` maps the features of model m to variables.
    """
    text: dict[str, list[str]] = {name: [] for name in NAMES}
    grown = []  # trees of each model
    for model in texts:
        before = len(text["num_leaves"])
        stump = False
        for line in model.split("\n"):
            name, _, values = line.partition("=")
            if name == "num_leaves" and values == "1":
                # A tree that found nothing to ask: written as a question whose answers are alike.
                stump, values = True, "2"
                for absent, value in (("split_feature", "0"), ("threshold", "0.5"), ("decision_type", "0")):
                    text[absent].append(value)
                text["left_child"].append("-1")
                text["right_child"].append("-2")
            elif name == "leaf_value" and stump:
                stump, values = False, f"{values} {values}"
            text[name].append(values)
        grown.append(len(text["num_leaves"]) - before)

    def numbers(name: str) -> NDArray[np.float64]:
        return np.fromstring(" ".join(text.pop(name)), np.float64, sep=" ")

    leaves = numbers("num_leaves").astype(np.int64)
    starts = np.concatenate([[0], np.cumsum(leaves - 1)])
    of_tree = np.repeat(np.arange(len(leaves)), leaves - 1)
    of_model = np.repeat(np.arange(len(texts)), grown)[of_tree]
    table = np.zeros((len(texts), max(map(len, variables), default=1)), np.int64)
    for m, mapping in enumerate(variables):
        table[m, : len(mapping)] = mapping
    kind = numbers("decision_type").astype(np.uint8) & 1
    cut = np.floor(numbers("threshold")).astype(np.int64)  # codes are integers: x <= 3.5 is x <= 3
    # Category sets are numbered within each tree; make the numbers global.
    of_tree_sets = numbers("num_cat").astype(np.int64)
    cut += np.where(kind == CATEGORY, (np.cumsum(of_tree_sets) - of_tree_sets)[of_tree], 0)
    steps = np.diff(numbers("cat_boundaries").astype(np.int64), prepend=0)
    forest = Forest(
        starts=starts,
        feature=table[of_model, numbers("split_feature").astype(np.int64)].astype(np.int32),
        kind=kind.astype(np.uint8),
        cut=cut.astype(np.int32),
        left=numbers("left_child").astype(np.int16),
        right=numbers("right_child").astype(np.int16),
        leaf=numbers("leaf_value").astype(np.float32),
        sets=np.concatenate([[0], np.cumsum(steps[steps > 0])]),  # each tree's own count starts again at 0
        words=numbers("cat_threshold").astype(np.int64),
        variables=d,
    )
    return forest, np.array(grown, np.int64)


def _write(forest: Forest) -> str:
    """The forest as LightGBM's model text. Only numbers from checked arrays enter it."""
    d = forest.variables
    parts = [
        "\n".join([
            "tree", "version=v4", "num_class=1", "num_tree_per_iteration=1", "label_index=0",
            f"max_feature_idx={d - 1}", "objective=binary sigmoid:1",
            "feature_names=" + " ".join(f"x{j}" for j in range(d)), "feature_infos=" + " ".join(["none"] * d), "", "",
        ])
    ]  # fmt: skip
    parts += ["\n".join(_write_tree(forest, t)) for t in range(forest.trees)]
    parts.append("end of trees\n\npandas_categorical:null\n")
    return "".join(parts)


def _write_tree(forest: Forest, t: int) -> list[str]:
    low, high = int(forest.starts[t]), int(forest.starts[t + 1])
    kind = forest.kind[low:high].tolist()
    cut: list[int] = forest.cut[low:high].tolist()
    bounds, chosen = [0], []
    for i, is_set in enumerate(kind):
        if is_set:
            words = forest.words[forest.sets[cut[i]] : forest.sets[cut[i] + 1]].tolist()
            cut[i] = len(bounds) - 1  # the tree's own number of the set
            bounds.append(bounds[-1] + len(words))
            chosen += words
    lines = [
        f"Tree={t}",
        f"num_leaves={high - low + 1}",
        f"num_cat={len(bounds) - 1}",
        _line("split_feature", forest.feature[low:high].tolist()),
        _line("threshold", cut),
        _line("decision_type", kind),
        _line("left_child", forest.left[low:high].tolist()),
        _line("right_child", forest.right[low:high].tolist()),
        _line("leaf_value", forest.leaf[low + t : high + t + 1].astype(np.float64).tolist()),
    ]
    if chosen:
        lines += [_line("cat_boundaries", bounds), _line("cat_threshold", chosen)]
    return [*lines, "is_linear=0", "shrinkage=1", "", "", ""]


def _line(name: str, numbers: list[int] | list[float]) -> str:
    return f"{name}=" + " ".join(map(repr, numbers))
