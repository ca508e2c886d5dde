"""Proximal policy optimisation: draw, judge, credit each choice, and step no further than the draw can be trusted.

    r_s  = -beta (log pi - log pi_0)_s,  and the reward of the item at its last choice
    A    = gae(r, V), whitened over all choices of the draw
    for some epochs over the draw, in minibatches: descend
        mean of -min(ratio A, clip(ratio) A)  over choices,     half the clipped square error of V

(Schulman et al. 2017, arXiv:1707.06347; for generators of whole items Ziegler et al. 2019, arXiv:1909.08593, who also
steer beta so that KL stays near a target; what it takes in practice: Huang et al. 2024, arXiv:2403.17031.)

The critic V reads the features of the draw and nothing else: it is small, learns fast, and cannot pull at the policy.

Letters: B items, S choices, F features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from likely.align import objective
from likely.align.trial import Graded, Trial, descend, first, positive, rows_of
from likely.errors import OptionError
from likely.train.order import mix

HIDDEN = 64


@dataclass(frozen=True)
class PPOConfig:
    """`samples` an update, seen `epochs` times in `minibatches` parts; `low` and `high` clips of the ratio, `worst` (0:
    none) of losses; `gamma` and `lam` of credit; `value_clip`; `value_rate` of the critic, over the policy's; `stop`:
    KL to the draw that ends the epochs, 0: none; `target` KL to the start that beta is steered to over `horizon` items,
    0: beta stays; it falls no lower than `least` times what was given; `whiten`: rewards are divided by their spread,
    too; `group`: so many items are made for one wish, and what an item earns is counted from the mean of the others:
    what a prompt is worth needs no critic then (Ahmadian et al. 2024, arXiv:2402.14740)."""

    samples: int = 64
    epochs: int = 4
    minibatches: int = 1
    low: float = 0.2
    high: float = 0.2
    worst: float = 0.0
    gamma: float = 1.0
    lam: float = 0.95
    value_clip: float = 0.2
    value_rate: float = 10.0
    stop: float = 0.0
    target: float = 0.0
    horizon: int = 10_000
    least: float = 0.0
    whiten: bool = False
    group: int = 1

    def __post_init__(self) -> None:
        positive(samples=self.samples, epochs=self.epochs, minibatches=self.minibatches, horizon=self.horizon)
        positive(low=self.low, high=self.high, value_clip=self.value_clip, value_rate=self.value_rate)
        if not 0 <= self.gamma <= 1 or not 0 <= self.lam <= 1:
            raise OptionError(f"gamma={self.gamma} and lam={self.lam} were given; both go from 0 to 1.")
        if min(self.stop, self.target, self.least, self.worst) < 0 or self.minibatches > self.samples:
            raise OptionError(
                "stop, target, least and worst are 0 or more, and minibatches at most as many as samples."
            )
        if self.target and self.horizon < self.samples:
            raise OptionError(
                f"horizon={self.horizon} of samples={self.samples}: beta is steered over one draw or more."
            )
        if self.group < 1 or self.samples % self.group:
            raise OptionError(f"group={self.group} of samples={self.samples}: groups fill the draw; 1 = no groups.")


class Critic(nn.Module):
    """What a choice is worth before it is made: (B, S) from features (B, S, F)."""

    shift: Tensor
    scale: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(features, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1))
        for weight in self.net[2].parameters():
            nn.init.zeros_(weight)
        self.register_buffer("shift", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))

    def settle(self, features: Tensor) -> None:
        """Take zero and unit of the features (N, F) from a first look."""
        self.shift.copy_(features.mean(0))
        self.scale.copy_(1 / (features.std(0, correction=0) + 1e-3))

    def forward(self, features: Tensor) -> Tensor:
        value: Tensor = self.net((features - self.shift) * self.scale)
        return value.squeeze(-1)


class PPO:
    """One update after another."""

    Config: ClassVar[type] = PPOConfig

    def __init__(self, trial: Trial, config: PPOConfig, beta: float, rate: float, seed: int) -> None:
        self.trial, self.config, self.beta, self.rate, self.seed = trial, config, beta, rate, seed
        self.least = config.least * beta
        self.optimiser = trial.optimiser(rate)
        features = trial.look(torch.Generator().manual_seed(mix(seed)))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mix(seed, 1))
            self.critic = Critic(features.shape[-1]).to(features.device)
        self.learner = torch.optim.Adam(self.critic.parameters(), lr=rate * config.value_rate, eps=1e-5)
        self.updates = 0

    def step(self, share: float, rng: torch.Generator) -> dict[str, float]:
        """One update at this share of the rate."""
        config, trial = self.config, self.trial
        drawn = trial.draw(config.samples, rng, config.group)
        mask = drawn.path.mask
        if self.updates == 0:
            self.critic.settle(drawn.features[mask])
        with torch.no_grad():
            value = torch.where(mask, self.critic(drawn.features), 0.0)
        reward = self.earned(drawn)
        credit = objective.gae(reward, value, mask, config.gamma, config.lam)
        target = credit + value
        credit = objective.whiten(credit, mask) * drawn.weight
        told = trial.numbers(drawn) | self.learn(drawn, credit, value, target, share, rng)
        error = (target - value)[mask]
        told["beta"], told["unexplained"] = self.beta, float(error.var() / target[mask].var().clamp_min(1e-8))
        if config.target:  # a proportional controller, cut off: Ziegler et al. 2019, section 2.2
            away = max(-0.2, min(0.2, told["kl"] / config.target - 1))
            self.beta = max(self.least, self.beta * (1 + away * config.samples / config.horizon))
        self.updates += 1
        return told

    def earned(self, drawn: Graded) -> Tensor:
        """What each choice earns (B, S): the price of leaving the start, and at the last choice the reward."""
        mask = drawn.path.mask
        earned = -self.beta * torch.where(mask, drawn.old - drawn.start, 0.0)
        whole = drawn.reward
        if self.config.group > 1:
            whole = objective.relative(whole.view(-1, self.config.group), "rloo").flatten()
        if self.config.whiten:
            whole = whole / (whole.std(correction=0) + 1e-8)
        rows = mask.any(1).nonzero().flatten()
        last = mask.shape[1] - 1 - mask.flip(1).long().argmax(1)
        earned[rows, last[rows]] += whole[rows]
        return earned

    def learn(
        self, drawn: Graded, credit: Tensor, value: Tensor, target: Tensor, share: float, rng: torch.Generator
    ) -> dict[str, float]:
        """The epochs over one draw."""
        config, n, choices = self.config, len(drawn.reward), int(drawn.path.mask.sum())
        for optimiser, rate in ((self.optimiser, self.rate), (self.learner, self.rate * config.value_rate)):
            for group in optimiser.param_groups:
                group["lr"] = rate * share
        seen: dict[str, list[float]] = {"clipped": [], "ratio": [], "gradient": [], "moved": []}
        for epoch in range(config.epochs):
            order = torch.randperm(n, generator=rng).to(drawn.reward.device)
            for number, rows in enumerate(order.tensor_split(config.minibatches)):
                mask = drawn.path.mask[rows]
                logp = self.trial.score(rows_of(drawn.path, rows)).logp
                loss, ratio = objective.clipped(
                    logp, drawn.old[rows], credit[rows], config.low, config.high, config.worst
                )
                if epoch == 0 and number == 0:
                    first(ratio.detach(), mask)
                part = float(mask.sum()) * config.minibatches / max(1, choices)  # every choice of a draw counts alike
                seen["gradient"].append(descend(self.optimiser, part * objective.mean(loss, mask), 1.0))
                guess = self.critic(drawn.features[rows])
                slow = objective.value_loss(guess, value[rows], target[rows], config.value_clip)
                descend(self.learner, part * objective.mean(slow, mask), 1.0)
                at = ratio.detach()[mask]
                seen["clipped"].append(float(((at < 1 - config.low) | (at > 1 + config.high)).float().mean()))
                seen["ratio"].append(float(at.max()))
                seen["moved"].append(float((at - 1 - at.log()).mean()))
            if config.stop and seen["moved"][-1] > config.stop:
                break
        mean = {name: sum(values) / len(values) for name, values in seen.items()}
        return mean | {"ratio": max(seen["ratio"]), "moved": seen["moved"][-1], "epochs": epoch + 1.0}

    def parts(self) -> dict[str, Any]:
        """What a checkpoint must hold beside the policy."""
        return {"optimiser": self.optimiser, "critic": self.critic, "learner": self.learner}

    def numbers(self) -> dict[str, float]:
        """What else changes; `take` takes it back."""
        return {"beta": self.beta, "updates": self.updates}

    def take(self, numbers: dict[str, float], tensors: dict[str, Tensor]) -> None:
        """Go on from these."""
        self.beta, self.updates = float(numbers["beta"]), int(numbers["updates"])
