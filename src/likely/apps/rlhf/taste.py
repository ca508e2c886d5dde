"""What is liked in answers: functions of texts, learned rewards, or both with weights, as one judge of paths.

A function takes a list of answers and gives a number each. One with a second argument named `prompts` is given the
prompts, too, as they were said.

Letters: B answers.
"""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor

from likely.align.reward import RewardModel
from likely.align.rewards import Reward, Rewards, Weighted
from likely.core import Path
from likely.language.checkpoint import Checkpoint
from likely.language.policy import listed


class Taste:
    """A judge of answers of a checkpoint. `said`: prompts by their ids."""

    def __init__(self, checkpoint: Checkpoint, signal: Rewards, said: dict[tuple[int, ...], Any]) -> None:
        self.checkpoint, self.said, self.liked = checkpoint, said, Weighted(signal)

    def __call__(self, path: Path) -> Tensor:
        """(B,) rewards. Raises RewardError."""
        assert path.given is not None
        answers = texts(self.checkpoint, path)
        return self.rewards(answers, [self.said[ids] for ids in listed(path.given)])

    def rewards(self, answers: list[str], prompts: list[Any]) -> Tensor:
        """(B,) of texts."""
        return self.liked.total(
            lambda part: part(answers, **({"prompts": prompts} if wants(part) else {})), len(answers)
        )


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
