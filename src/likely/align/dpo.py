"""Direct preference optimisation: pairs of items, one better than the other, and no reward between.

    z = beta (log pi / pi_0 (better) - log pi / pi_0 (worse)),    descend -log sigmoid(z)

The policy is its own reward model: R(x) = beta log pi / pi_0 (x) + c (Rafailov et al. 2023, arXiv:2305.18290). `kind`
"ipo" has a square in place of the log (Azar et al. 2024, arXiv:2310.12036). Where a choice is a sum of many steps,
`per_step` divides it by their number; `likelihood` adds the price of the better item itself, since otherwise both may
become less likely (Pang et al. 2024, arXiv:2404.19733). `doubt` is the share of wrong labels that is allowed for
(Mitchell 2023). A tie is a pair with share 1/2.

From a reward pairs are made: items drawn from the start, and the share that a Bradley-Terry judge of that reward gives.

Letters: P pairs, S choices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from likely.align import objective
from likely.align.trial import Trial, descend, positive, rows_of, telling
from likely.core import Path
from likely.errors import DataError, OptionError, UnknownName


class Pairs(NamedTuple):
    """P pairs: two paths, how sure it is that the first is better (P,) in [0, 1], and how much each counts (P,)."""

    left: Path
    right: Path
    share: Tensor
    weight: Tensor


@dataclass(frozen=True)
class DPOConfig:
    """`batch` pairs a step; `kind` "sigmoid" or "ipo"; `doubt` in [0, 1/2); `per_step`; `likelihood` 0 or more;
    `samples`: pairs made from a reward, where that is the signal."""

    batch: int = 32
    kind: str = "sigmoid"
    doubt: float = 0.0
    per_step: bool = False
    likelihood: float = 0.0
    samples: int = 512

    def __post_init__(self) -> None:
        positive(batch=self.batch, samples=self.samples)
        if self.kind not in objective.PREFERENCES:
            raise UnknownName("kind", self.kind, objective.PREFERENCES)
        if not 0 <= self.doubt < 0.5 or self.likelihood < 0:
            raise OptionError(
                f"doubt={self.doubt} is at least 0 and below 1/2, likelihood={self.likelihood} 0 or more."
            )


class DPO:
    """One step after another over the same pairs."""

    Config: ClassVar[type] = DPOConfig

    def __init__(
        self, trial: Trial, config: DPOConfig, beta: float, rate: float, seed: int, pairs: Pairs | None = None
    ) -> None:
        self.trial, self.config, self.beta, self.rate, self.seed = trial, config, beta, rate, seed
        self.optimiser = trial.optimiser(rate)
        self.pairs = pairs if pairs is not None else made(trial, config.samples, seed)
        if not len(self.pairs.share):
            raise DataError("There are no pairs to learn from: ties and skipped showings alone say nothing.")
        # The start does not move: its log p are computed once.
        self.start = [self.summed(path) for path in self.pairs[:2]]
        self.updates = 0

    @torch.no_grad()
    def summed(self, path: Path) -> Tensor:
        """log p (P,) of whole items under the start, portion by portion."""
        rows = torch.split(torch.arange(len(path.x), device=path.x.device), 2 * self.config.batch)
        return torch.cat([self.trial.score_start(rows_of(path, some)).sum(1) for some in rows])

    def step(self, share: float, rng: torch.Generator) -> dict[str, float]:
        """One step at this share of the rate."""
        config, pairs = self.config, self.pairs
        rows = torch.randperm(len(pairs.share), generator=rng)[: config.batch].to(pairs.share.device)
        sides, logs = [], []
        for path, start in zip(pairs[:2], self.start, strict=True):
            some = rows_of(path, rows)
            logp = self.trial.score(some).logp.sum(1)
            count = some.mask.sum(1).clamp_min(1)
            sides.append((logp - start[rows]) / (count if config.per_step else 1))
            logs.append(logp / count)
        sure = pairs.share[rows] * (1 - 2 * config.doubt) + config.doubt
        weight = pairs.weight[rows] / pairs.weight[rows].mean()
        loss = (weight * objective.preference(sides[0], sides[1], self.beta, config.kind, sure)).mean()
        if config.likelihood:  # of the better one, whichever side it stands on; of a tie half of each
            said = pairs.share[rows]
            loss = loss - config.likelihood * (weight * (said * logs[0] + (1 - said) * logs[1])).mean()
        for part in self.optimiser.param_groups:
            part["lr"] = self.rate * share
        norm = descend(self.optimiser, loss, 1.0)
        self.updates += 1
        left, right = (side.detach() for side in sides)
        return {"loss": float(loss.detach()), **self.told(left, right, sure), "gradient": norm, "beta": self.beta}

    def told(self, left: Tensor, right: Tensor, sure: Tensor) -> dict[str, float]:
        """What a row says of pairs that were decided: log pi / pi_0 (P,) of the better and of the worse side."""
        decided = sure != 0.5
        if not bool(decided.any()):
            return {"right": 0.5, "margin": 0.0, "better": 0.0, "worse": 0.0}
        first = (sure > 0.5)[decided]
        better, worse = (
            torch.where(first, left[decided], right[decided]),
            torch.where(first, right[decided], left[decided]),
        )
        return {
            "right": float((better > worse).float().mean()), "margin": float(self.beta * (better - worse).mean()),
            "better": float(better.mean()), "worse": float(worse.mean()),
        }  # fmt: skip

    def parts(self) -> dict[str, Any]:
        """What a checkpoint must hold beside the policy."""
        return {"optimiser": self.optimiser}

    def numbers(self) -> dict[str, float]:
        """What else changes; `take` takes it back."""
        return {"updates": self.updates}

    def take(self, numbers: dict[str, float], tensors: dict[str, Tensor]) -> None:
        """Go on from these."""
        self.updates = int(numbers["updates"])


def made(trial: Trial, n: int, seed: int) -> Pairs:
    """n pairs of items for the same wish, drawn from the policy as it is, and compared by its judge.

    Raises RewardError, where it says the same of all, too."""
    drawn = trial.draw(2 * n, torch.Generator().manual_seed(seed), group=2)
    reward = telling(drawn.reward)
    sides = [torch.arange(side, 2 * n, 2, device=reward.device) for side in (0, 1)]
    share = torch.sigmoid(reward[sides[0]] - reward[sides[1]])
    left, right = (rows_of(drawn.path, rows) for rows in sides)
    return Pairs(left, right, share, torch.ones_like(share))
