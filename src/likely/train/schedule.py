"""How far training is, and how large its steps are.

Progress t in [0, 1] is the larger of two shares: steps done of all steps, and time spent of the time allowed. A run
with a budget in minutes thus ends in time with its schedule complete, on a fast machine and on a slow one. The rate
climbs in a straight line over the first `warmup` of progress and then falls as half a cosine to 0:

    r(t) = rate * min(1, t / warmup) * (1 + cos(pi max(0, t - warmup) / (1 - warmup))) / 2

Where no minutes are given progress depends on the step alone, and so do the weights. Where minutes are given and no
steps, the time is there to be used: the family's own number of steps is raised to 200 passes over the items, if they
are many; a run that stops getting better still ends early.

Source: Loshchilov & Hutter, SGDR, 2017, arXiv:1608.03983 (the cosine); Goyal et al., 2017, arXiv:1706.02677 (warm-up).
"""

from __future__ import annotations

import math
import time

from likely.core import Budget, Training
from likely.errors import OptionError

PASSES = 200  # over the items at most, where minutes are the limit


class Clock:
    """Steps and seconds of one run over so many `items`. `before` seconds were spent before it was resumed."""

    def __init__(self, budget: Budget, training: Training, before: float = 0.0, items: int = 0) -> None:
        if budget.minutes is not None and not (budget.minutes > 0 and math.isfinite(budget.minutes)):
            raise OptionError(f"minutes is {budget.minutes!r}; give more than 0, or None to take what is needed.")
        if budget.steps is not None and budget.steps < 1:
            raise OptionError(f"steps is {budget.steps!r}; give 1 or more, or None to take what is needed.")
        passes = 0 if budget.minutes is None else PASSES * items // training.batch
        self.steps = budget.steps or max(training.steps, passes)
        self.seconds = 60 * budget.minutes if budget.minutes is not None else math.inf
        self._began = time.monotonic() - before

    def elapsed(self) -> float:
        """Seconds of training so far, those before a resumption included."""
        return time.monotonic() - self._began

    def progress(self, step: int, elapsed: float) -> float:
        """How much of the run is done after `step` steps and `elapsed` seconds, in [0, 1]."""
        return min(1.0, max(step / self.steps, elapsed / self.seconds))


def factor(progress: float, warmup: float, steps: int) -> float:
    """The share of the peak rate, in (0, 1], for the step that follows `progress`; `steps` is how many there may be."""
    ahead = progress + 1 / steps  # the first step must move, the last must not be wasted on a rate of 0
    if ahead < warmup:
        return ahead / warmup
    return max(0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))), 1e-3) if progress > warmup else 1.0
