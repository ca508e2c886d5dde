"""A reward, or a weighted sum of several, over raw items: functions, reward models, classifiers.

Each takes a collection of items and gives a number each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from likely.errors import OptionError, RewardError

Reward = Callable[..., Any]
Rewards = Reward | Sequence[tuple[Reward, float]]


class Weighted:
    """Rewards with their weights. Raises OptionError for what is none."""

    def __init__(self, signal: Rewards) -> None:
        self.parts = [(signal, 1.0)] if callable(signal) else list(signal) if isinstance(signal, list | tuple) else []
        for part in self.parts:
            good = isinstance(part, tuple) and len(part) == 2 and callable(part[0])
            if not good or not isinstance(part[1], int | float) or not math.isfinite(part[1]):
                raise OptionError(
                    "A reward is a function of items that gives a number each, or a list of (function, weight); "
                    f"{part!r} was given."
                )
        if not self.parts:
            raise OptionError("No reward was given: a function of items, or a list of (function, weight).")

    @property
    def name(self) -> str:
        """The names of its functions, with their weights."""
        named = [(str(getattr(part, "__name__", type(part).__name__)), weight) for part, weight in self.parts]
        return " + ".join(name if weight == 1 else f"{weight:g} {name}" for name, weight in named)

    @property
    def identity(self) -> str:
        """The same, and which one a learned reward is."""
        return " ".join([self.name, *(part.digest for part, _ in self.parts if hasattr(part, "digest"))])

    def total(self, ask: Callable[[Reward], Any], n: int) -> Tensor:
        """(n,) the weighted sum of what `ask` has from each of them. Raises RewardError."""
        total = np.zeros(n)
        for part, weight in self.parts:
            values = np.asarray(ask(part), dtype=float)
            if values.shape != (n,):
                raise RewardError(
                    f"{getattr(part, '__name__', 'The reward')} gave values of shape {values.shape} for {n} items: one "
                    "number an item is wanted."
                )
            total += weight * values
        return torch.from_numpy(total).float()
