"""How large a model of tokens should be, and how long it should learn: by the amount of data and the time allowed.

With N parameters a token costs about 6 N operations of learning (Kaplan et al. 2020, arXiv:2001.08361), and a model
is worth its size where it sees many tokens for each parameter (Hoffmann et al. 2022, arXiv:2203.15556: twenty, of
texts that never repeat). Here few tokens are seen again and again, on a CPU, so that

    6 N S = F t,    S >= SEEN N,    N <= ROOM D,    S <= PASSES D

for S tokens seen in t seconds at F operations a second, and D tokens of data. The run ends early where texts left out
no longer gain.

Letters: N parameters, D tokens of data, S tokens seen.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

SPEED = 4e10  # operations a second and thread that small models reach in fp32, of learning as a whole
MINUTES = 10.0  # of learning where nobody says how long
SEEN = 6.0  # tokens seen for each parameter, at least
ROOM = 4.0  # parameters for each token of data, at most
PASSES = 60.0  # over the data, at most
STEP = 4096  # tokens of a step
LEAST = 300  # steps, at least


class Scale(NamedTuple):
    """At most so many `parameters`; `batch` items a step; S = `budget` / parameters tokens seen, at most `most`."""

    parameters: float
    batch: int
    budget: float
    most: float
    each: float  # tokens of an item

    def steps(self, parameters: float) -> int:
        """Steps of a model of so many parameters."""
        seen = min(self.budget / parameters, self.most)
        return max(LEAST, round(seen / (self.batch * self.each)))


def scale(tokens: int, items: int, minutes: float | None) -> Scale:
    """What so many tokens in so many items, and so many minutes, allow."""
    seconds = 60 * (minutes if minutes is not None else MINUTES)
    budget = SPEED * torch.get_num_threads() * seconds / 6
    each = max(1.0, tokens / max(items, 1))
    batch = max(8, min(64, 8 * round(STEP / each / 8)))
    return Scale(min(math.sqrt(budget / SEEN), ROOM * tokens), batch, budget, PASSES * tokens, each)
