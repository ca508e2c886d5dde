"""Group-relative policy optimisation: no critic; an item is as good as it is better than others for the same wish.

    A = (R - mean of the group) / spread of the group        "grpo", see objective.relative for "dr_grpo" and "rloo"

every choice of an item gets its A, and the clipped objective of PPO is descended (Shao et al. 2024, arXiv:2402.03300).
The price of leaving the start is taken from the reward, or added to the loss: as "k2", whose gradient is that of
KL(pi || pi_0), too, or as in the paper as "k3", whose gradient is that of KL(pi_0 || pi): another optimum.
`recipe` names what a paper changed: see RECIPES. Where nothing is wished for, the whole draw is one group.

Letters: G groups of K items, S choices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from likely.align import objective
from likely.align.trial import Trial, descend, first, positive, rows_of
from likely.errors import OptionError, UnknownName

RECIPES: dict[str, dict[str, Any]] = {
    "grpo": {"advantage": "grpo", "reduction": "sequence"},
    "dr_grpo": {"advantage": "dr_grpo", "reduction": "constant"},
    "dapo": {"advantage": "grpo", "reduction": "token", "high": 0.28, "drop": True},
    "rloo": {"advantage": "rloo", "reduction": "sequence"},
}


@dataclass(frozen=True)
class GRPOConfig:
    """`samples` an update in groups of `group` (0 = all in one where nothing is wished for, else 8 or fewer); `recipe`;
    `epochs`, `minibatches`, `low` and `high` as in PPO; `kl` in the "reward", or in the loss as "k2" or "k3";
    `advantage`, `reduction`, `drop` (groups without a spread are left out of the mean) as the recipe says unless
    given."""

    samples: int = 64
    group: int = 0
    recipe: str = "grpo"
    epochs: int = 2
    minibatches: int = 1
    low: float = 0.2
    high: float = 0.0
    kl: str = "reward"
    advantage: str = ""
    reduction: str = ""
    drop: bool = False

    def __post_init__(self) -> None:
        positive(samples=self.samples, epochs=self.epochs, minibatches=self.minibatches, low=self.low)
        for name, known in (("recipe", tuple(RECIPES)), ("kl", ("reward", "k2", "k3"))):
            if getattr(self, name) not in known:
                raise UnknownName(name, getattr(self, name), known)
        for name, known in (("advantage", objective.ADVANTAGES), ("reduction", objective.REDUCTIONS)):
            if getattr(self, name) and getattr(self, name) not in known:
                raise UnknownName(name, getattr(self, name), known)
        if self.group == 1 or self.group < 0 or (self.group and self.samples % self.group):
            raise OptionError(
                f"group={self.group} of samples={self.samples}: groups have 2 items or more, and fill the draw."
            )

    def filled(self) -> GRPOConfig:
        """With what the recipe says."""
        said = RECIPES[self.recipe]
        return replace(
            self, advantage=self.advantage or said["advantage"], reduction=self.reduction or said["reduction"],
            high=self.high or said.get("high", self.low), drop=self.drop or said.get("drop", False),
        )  # fmt: skip


class GRPO:
    """One update after another."""

    Config: ClassVar[type] = GRPOConfig

    def __init__(self, trial: Trial, config: GRPOConfig, beta: float, rate: float, seed: int) -> None:
        self.trial, self.config, self.beta, self.rate, self.seed = trial, config.filled(), beta, rate, seed
        self.optimiser = trial.optimiser(rate)
        self.updates = 0

    def step(self, share: float, rng: torch.Generator) -> dict[str, float]:
        """One update at this share of the rate."""
        config, trial = self.config, self.trial
        group = self.size()
        drawn = trial.draw(config.samples, rng, group)
        mask, worth = drawn.path.mask, drawn.reward
        if config.kl == "reward":
            worth = worth - self.beta * drawn.kl
        credit = objective.relative(worth.view(-1, group), config.advantage).flatten()
        told = trial.numbers(drawn) | {"beta": self.beta, "alike": float((credit == 0).float().mean())}
        each = credit[:, None] * drawn.weight
        for part in self.optimiser.param_groups:
            part["lr"] = self.rate * share
        clipped, ratios, norms = [], [1.0], [0.0]
        for epoch in range(config.epochs):
            order = torch.randperm(len(credit), generator=rng).to(credit.device)
            if config.drop:
                order = order[credit[order] != 0]
            for number, rows in enumerate(order.tensor_split(config.minibatches)):
                if not len(rows):
                    continue
                some = mask[rows]
                logp = trial.score(rows_of(drawn.path, rows)).logp
                loss, ratio = objective.clipped(logp, drawn.old[rows], each[rows], config.low, config.high)
                if epoch == 0 and number == 0:
                    first(ratio.detach(), some)
                if config.kl != "reward":
                    away = objective.divergence(logp, drawn.start[rows], config.kl)
                    loss = loss + self.beta * away * ratio.detach()  # drawn from the old policy: weighed
                norms.append(descend(self.optimiser, objective.mean(loss, some, config.reduction), 1.0))
                at = ratio.detach()[some]
                clipped.append(float(((at < 1 - config.low) | (at > 1 + config.high)).float().mean()))
                ratios.append(float(at.max()))
        self.updates += 1
        share_clipped = sum(clipped) / max(1, len(clipped))
        return told | {"clipped": share_clipped, "ratio": max(ratios), "gradient": norms[-1]}

    def size(self) -> int:
        """Items of a group."""
        samples = self.config.samples
        if self.config.group:
            return self.config.group
        if self.trial.source(1, torch.Generator().manual_seed(0)) == (None, None):
            return samples
        return next((k for k in (8, 4, 2) if samples % k == 0), samples)

    def parts(self) -> dict[str, Any]:
        """What a checkpoint must hold beside the policy."""
        return {"optimiser": self.optimiser}

    def numbers(self) -> dict[str, float]:
        """What else changes; `take` takes it back."""
        return {"beta": self.beta, "updates": self.updates}

    def take(self, numbers: dict[str, float], tensors: dict[str, Tensor]) -> None:
        """Go on from these."""
        self.beta, self.updates = float(numbers["beta"]), int(numbers["updates"])
