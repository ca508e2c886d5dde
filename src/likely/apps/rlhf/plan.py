"""What is asked of an alignment, looked at before anything is done: a slip of the keyboard costs no minutes of work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from likely import registry
from likely.align.preference import Judgements
from likely.align.rewards import Weighted
from likely.align.trial import positive
from likely.apps.rlhf.asking import Prompts, judged, prepare
from likely.choice import configure
from likely.core import Budget, Training
from likely.errors import OptionError, UnknownName
from likely.language.checkpoint import Checkpoint
from likely.language.policy import Speaking
from likely.train.schedule import Clock

BETA = 0.2  # where rewards spread by about 1, the best law is some six nats away at .3
RATE = 1.25e-3
LIMIT = 15.0  # nats an answer: beyond, a small model speaks no English any more
# What suits answers of a checkpoint: a draw is dear beside a step, and a critic that has seen a few hundred answers
# knows little: what a prompt is worth is told by other answers to it, and credit is not discounted by what the critic
# says; the price of a nat is steered, since rewards have any scale (docs/log.md).
DEFAULTS: dict[str, dict[str, Any]] = {
    "ppo": {
        "samples": 32,
        "epochs": 2,
        "minibatches": 4,
        "lam": 1.0,
        "group": 4,
        "target": 6.0,
        "horizon": 64,
        "least": 1.0,
    },
    "grpo": {"samples": 32, "epochs": 2, "minibatches": 4, "group": 4},
    "dpo": {"batch": 8},
}


@dataclass(frozen=True)
class Plan:
    """What is asked for, looked at before anything is done."""

    cls: Any
    config: Any
    asked: Prompts
    speaking: Speaking

    @classmethod
    def of(  # noqa: PLR0913  (all that is asked for)
        cls, base: Checkpoint, prompts: Sequence[Any] | None, signal: Any, method: str, speaking: Speaking | None,
        seed: int, options: dict[str, Any], *, beta: float, rate: float = 0.0, missing: float = 0.0,
        limit: float = LIMIT, steps: int | None = None, minutes: float | None = None,
    ) -> Plan:  # fmt: skip
        """Raises OptionError, UnknownName, DataError for what would fail after minutes of work."""
        positive(beta=beta, limit=limit)
        if not 0 <= missing < math.inf or not 0 <= rate < math.inf:
            raise OptionError(f"missing={missing!r} and rate={rate!r} were given; they are 0 or more.")
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
            raise OptionError(f"seed={seed!r} was given; it is a whole number from 0 to 2**32 - 1.")
        if method not in DEFAULTS:
            raise UnknownName("method for answers of a checkpoint", method, DEFAULTS)
        if not isinstance(signal, Judgements):
            Weighted(signal)
        Clock(Budget(minutes, steps), Training())
        speaking = speaking or Speaking()
        speaking.check(base)
        made = registry.get("method", method)
        config = configure(made.Config(**DEFAULTS[method]), options, method)
        if prompts is None:
            if not isinstance(signal, Judgements):
                raise OptionError("Prompts are needed to draw answers to: a list of texts or of conversations.")
            prompts = judged(signal)
        return cls(made, config, prepare(base, prompts, speaking.tokens, seed=seed), speaking)
