"""What every detector is: it learns normal rows, says how strange a new one is, and which of its numbers make it so.

A row here is a vector of F scaled numbers: a row of a table, or a window of T moments of C sensors laid flat. A part
keeps what it learned as named float32 arrays and nothing else, so that a monitor is a file of arrays and no code.

Letters: N rows to learn from, B rows to score, F numbers a row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor

CHUNK = 4096  # rows scored at a time: distances to 1,024 references then fill 16 MB


class Part(ABC):
    """One detector. `arrays` is all that it learned."""

    name: ClassVar[str]
    wants: ClassVar[tuple[str, ...]]  # the names of its arrays

    def __init__(self) -> None:
        self.arrays: dict[str, Tensor] = {}

    @abstractmethod
    def fit(self, x: Tensor, rng: np.random.Generator) -> Self:
        """Learn from rows x (N, F)."""

    @abstractmethod
    def score(self, x: Tensor) -> Tensor:
        """Rows x (B, F) -> strangeness (B,), in units of the part's own; larger is stranger."""

    @abstractmethod
    def blame(self, x: Tensor) -> Tensor:
        """Rows x (B, F) -> what each number adds to the strangeness (B, F), at least 0."""

    def own(self, x: Tensor) -> Tensor:
        """The score of the very rows that `fit` saw, as if each had not been there. The plain score unless
        overridden."""
        return self.scores(x)

    def scores(self, x: Tensor) -> Tensor:
        """`score` in chunks: memory stays flat for any B."""
        with torch.inference_mode():
            return torch.cat([self.score(x[i : i + CHUNK]) for i in range(0, len(x), CHUNK)] or [x.new_zeros(0)])
