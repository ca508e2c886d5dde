"""A reward, or a weighted sum of several, over raw items: functions, reward models, classifiers.

Each takes a collection of items and gives a number each.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from types import CodeType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from likely.errors import OptionError, RewardError

Reward = Callable[..., Any]
Rewards = Reward | Sequence[tuple[Reward, float]]


def which(part: Reward) -> str:
    """What tells a reward from another of its name: its `digest`, or a hash of its code, its defaults and the plain
    values it closes over; "" where it has none. What it calls, or reads from outside, is not looked at."""
    if hasattr(part, "digest"):
        return str(part.digest)
    call = part if hasattr(part, "__code__") else getattr(type(part), "__call__", None)  # noqa: B004  (not whether)
    code = getattr(call, "__code__", None)
    if code is None:
        return ""
    cells = [cell.cell_contents for cell in getattr(call, "__closure__", None) or () if _full(cell)]
    said = (_code(code), _plain(getattr(call, "__defaults__", None)), _plain(tuple(cells)))
    return hashlib.sha256(repr(said).encode()).hexdigest()[:12]


def _full(cell: Any) -> bool:
    try:
        return cell.cell_contents is not cell
    except ValueError:  # not filled yet
        return False


def _code(code: CodeType) -> Any:
    inside = tuple(_code(one) if isinstance(one, CodeType) else _plain(one) for one in code.co_consts)
    return code.co_code.hex(), code.co_names, inside


def _plain(value: Any) -> Any:
    """A value as it is where its repr is the same in every process, else its type."""
    if isinstance(value, tuple | list):
        return tuple(_plain(one) for one in value)
    if isinstance(value, frozenset | set):
        return tuple(sorted(repr(_plain(one)) for one in value))
    if isinstance(value, dict):
        return tuple((repr(_plain(key)), _plain(one)) for key, one in value.items())
    known = value is None or isinstance(value, bool | int | float | complex | str | bytes)
    return value if known else type(value).__qualname__


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
        """The same, and which ones they are: what a reward learned, what a function does."""
        return " ".join([self.name, *filter(None, (which(part) for part, _ in self.parts))])

    def total(self, ask: Callable[[Reward], Any], n: int) -> Tensor:
        """(n,) the weighted sum of what `ask` has from each of them. Raises RewardError."""
        total = np.zeros(n)
        for part, weight in self.parts:
            said = ask(part)
            if said is None:
                raise RewardError(f"{getattr(part, '__name__', 'The reward')} gave nothing: is there no return in it?")
            values = np.asarray(said, dtype=float)
            if values.shape != (n,):
                raise RewardError(
                    f"{getattr(part, '__name__', 'The reward')} gave values of shape {values.shape} for {n} items: one "
                    "number an item is wanted."
                )
            total += weight * values
        return torch.from_numpy(total).float()
