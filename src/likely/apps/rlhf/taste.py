"""What is liked in answers: functions of texts, learned rewards, or both with weights, as one judge of paths.

A function takes a list of answers and gives a number each. One with a second argument named `prompts` is given the
prompts, too, as they were said.

Letters: B answers.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from likely.align.reward import RewardModel
from likely.core import Path
from likely.errors import OptionError, RewardError
from likely.language.checkpoint import Checkpoint
from likely.language.policy import listed

Reward = Callable[..., Any]


class Taste:
    """A judge of answers of a checkpoint. `said`: prompts by their ids."""

    def __init__(
        self, checkpoint: Checkpoint, signal: Reward | Sequence[tuple[Reward, float]], said: dict[tuple[int, ...], Any]
    ) -> None:
        self.checkpoint, self.said = checkpoint, said
        self.parts = [(signal, 1.0)] if callable(signal) else list(signal)
        for part in self.parts:
            if not isinstance(part, tuple) or len(part) != 2 or not callable(part[0]) or not math.isfinite(part[1]):
                raise OptionError(
                    "A reward is a function of a list of answers that gives a number each, or a list of "
                    f"(function, weight); {part!r} was given."
                )
        if not self.parts:
            raise OptionError("No reward was given: a function of answers, or a list of (function, weight).")

    @property
    def name(self) -> str:
        """The names of its functions, with their weights."""
        named = [(str(getattr(part, "__name__", type(part).__name__)), weight) for part, weight in self.parts]
        return " + ".join(name if weight == 1 else f"{weight:g} {name}" for name, weight in named)

    @property
    def identity(self) -> str:
        """The same, and which one a learned reward is."""
        return " ".join([self.name, *(part.digest for part, _ in self.parts if isinstance(part, RewardModel))])

    def __call__(self, path: Path) -> Tensor:
        """(B,) rewards. Raises RewardError."""
        assert path.given is not None
        answers = texts(self.checkpoint, path)
        return self.rewards(answers, [self.said[ids] for ids in listed(path.given)])

    def rewards(self, answers: list[str], prompts: list[Any]) -> Tensor:
        """(B,) of texts."""
        total = np.zeros(len(answers))
        for part, weight in self.parts:
            values = np.asarray(part(answers, **({"prompts": prompts} if wants(part) else {})), dtype=float)
            if values.shape != (len(answers),):
                raise RewardError(
                    f"{getattr(part, '__name__', 'The reward')} gave values of shape {values.shape} for "
                    f"{len(answers)} answers: one number an answer is wanted."
                )
            total += weight * values
        return torch.from_numpy(total).float()


def wants(part: Reward) -> bool:
    """Whether a reward takes prompts, too."""
    if isinstance(part, RewardModel):
        return True
    try:
        return "prompts" in inspect.signature(part).parameters
    except (TypeError, ValueError):  # a builtin, such as len
        return False


def texts(checkpoint: Checkpoint, path: Path) -> list[str]:
    """The answers of a path as texts, without the token that ends them."""
    tokenizer, ends = checkpoint.tokenizer, checkpoint.ends
    rows = zip(path.x.tolist(), path.mask.sum(1).tolist(), strict=True)
    return [tokenizer.decode([token for token in row[:n] if token not in ends]) for row, n in rows]
