"""Several views as one: rows of a table are looked at in one way, windows of a series in two.

    rows     each row as it is              likelihood, neighbours, pca, margins: the mean of their nats
    shape    each window, laid flat         likelihood, neighbours, pca, reconstruction
    state    level and slope of each        state, margins
             sensor in the window

A window is as strange as the *louder* of its two views finds it: a beat that comes too early is a matter of shape and
hardly moves a level; wear moves levels and hardly changes a shape, and the mean of both would drown either. (On 13
labelled series VUS-PR was .56 to .57 for the shape alone, .58 for the louder of both; AUROC of worn against healthy
engines .971 and .987.)

Letters: B rows or windows, T readings a window, C numbers a reading, F = T * C.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likely.apps.monitor.view import Nats, View

TABLE: dict[str, tuple[str, ...]] = {"rows": ("likelihood", "neighbours", "pca", "margins")}
WINDOW: dict[str, tuple[str, ...]] = {
    "shape": ("likelihood", "neighbours", "pca", "reconstruction"),
    "state": ("state", "margins"),
}
STATE = ("state", "margins")  # parts that look at the state of a window


class Ensemble:
    """Views of rows (`length` 1) or windows of `length` readings."""

    def __init__(self, length: int = 1, parts: Sequence[str] | None = None, trim: float = 0.3) -> None:
        self.length = length
        plan = WINDOW if length > 1 else TABLE
        if parts is not None and length > 1:
            plan = {"shape": tuple(p for p in parts if p not in STATE), "state": tuple(p for p in parts if p in STATE)}
            plan = {name: names for name, names in plan.items() if names}
        elif parts is not None:
            plan = {"rows": tuple(parts)}
        self.views = {name: View(names, trim) for name, names in plan.items()}

    @property
    def parts(self) -> list[str]:
        """The names of all detectors."""
        return [name for view in self.views.values() for name in view.parts]

    def fit(self, x: NDArray[np.float64], rng: np.random.Generator) -> Self:
        """Learn from rows or flat windows x (N, F)."""
        for name, view in self.views.items():
            view.fit(self._seen(name, x), rng)
        return self

    def score(self, x: NDArray[np.float64]) -> Nats:
        """Rows or flat windows x (B, F) -> nats: the louder view, and all parts."""
        found = [view.score(self._seen(name, x)) for name, view in self.views.items()]
        total = torch.stack([nats.total for nats in found]).amax(0)
        return Nats(total, {name: part for nats in found for name, part in nats.parts.items()})

    def blame(self, x: NDArray[np.float64]) -> Tensor:
        """x (B, F) -> the share of each number in what the louder view finds (B, F), adding up to 1."""
        names = list(self.views)
        loud = torch.stack([self.views[name].score(self._seen(name, x)).total for name in names]).argmax(0)
        out = torch.zeros(x.shape)
        for k, name in enumerate(names):
            rows = loud == k
            if rows.any():
                part = x[rows.numpy()]
                share = self.views[name].blame(self._seen(name, part))
                out[rows] = self._spread(share, part) if name == "state" else share
        return out

    def tensors(self) -> dict[str, Tensor]:
        """All that was learned, by name."""
        return {f"{name}.{key}": value for name, view in self.views.items() for key, value in view.tensors().items()}

    def restore(self, tensors: dict[str, Tensor]) -> Self:
        """Take back what `tensors` gave. Raises ArtifactError where an array is missing."""
        for name, view in self.views.items():
            view.restore({key.removeprefix(f"{name}."): t for key, t in tensors.items() if key.startswith(f"{name}.")})
        return self

    def _seen(self, view: str, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """What a view looks at: x itself, or level and slope of each number."""
        if view != "state":
            return x
        windows = x.reshape(len(x), self.length, -1)
        level = windows.mean(1)
        t = np.arange(self.length) - (self.length - 1) / 2
        slope = np.einsum("btc,t->bc", windows - level[:, None], t / (t * t).sum())
        return np.concatenate([level, slope * self.length], 1)

    def _spread(self, share: Tensor, x: NDArray[np.float64]) -> Tensor:
        """Blame of levels and slopes (B, 2 C) -> of readings (B, T * C): most where a sensor is furthest from its
        middle."""
        windows = torch.from_numpy(np.ascontiguousarray(x, np.float64)).view(len(x), self.length, -1)
        middle = self.views["state"].scale.arrays["middle"][: windows.shape[2]]
        off = (windows - middle).square() + 1e-12
        each = share[:, : len(middle)] + share[:, len(middle) :]
        return (off / off.sum(1, keepdim=True) * each[:, None]).flatten(1).float()
