"""Augmented likelihood with a memory: what molecules are tuned by, for any policy.

    descend the mean over items of (log pi_0 + R / beta - log pi - log Z)^2,    log Z: the mean of the rest

(REINVENT: Olivecrona et al. 2017, arXiv:1704.04555; sigma there is 1 / beta here, and Z is 1. With Z found from the
batch the optimum is the one that all methods here have.) The square asks nothing of how items were drawn, so the best
ones of earlier draws are kept and seen again (experience replay), which is what makes it frugal with the reward.

Letters: B items, S choices, M items kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from likely.align import objective
from likely.align.trial import Graded, Trial, descend, positive, rows_of
from likely.core import Batch, Path
from likely.errors import OptionError

REST = ("reward", "old", "start", "features")  # of Graded, beside its path


@dataclass(frozen=True)
class ReinventConfig:
    """`samples` an update, `epochs` over them; `replay` of the `memory` best items so far are seen with them."""

    samples: int = 64
    epochs: int = 1
    memory: int = 256
    replay: int = 16

    def __post_init__(self) -> None:
        positive(samples=self.samples, epochs=self.epochs)
        if self.memory < 0 or not 0 <= self.replay <= self.memory:
            raise OptionError(f"replay={self.replay} is 0 or more, and at most memory={self.memory}.")


class Reinvent:
    """One update after another."""

    Config: ClassVar[type] = ReinventConfig

    def __init__(self, trial: Trial, config: ReinventConfig, beta: float, rate: float, seed: int) -> None:
        self.trial, self.config, self.beta, self.rate, self.seed = trial, config, beta, rate, seed
        self.optimiser = trial.optimiser(rate)
        self.memory: Graded | None = None
        self.updates = 0

    def step(self, share: float, rng: torch.Generator) -> dict[str, float]:
        """One update at this share of the rate."""
        config, trial = self.config, self.trial
        drawn = trial.draw(config.samples, rng)
        told = trial.numbers(drawn)
        seen = drawn
        if self.memory is not None and config.replay:
            rows = torch.randperm(len(self.memory.reward), generator=rng)[: config.replay].to(drawn.reward.device)
            seen = joined(drawn, some(self.memory, rows))
        for part in self.optimiser.param_groups:
            part["lr"] = self.rate * share
        start = seen.start.sum(1)
        for _ in range(config.epochs):
            logp = trial.score(seen.path).logp.sum(1)
            loss = objective.augmented(logp, start, seen.reward, self.beta).mean()
            norm = descend(self.optimiser, loss, 1.0)
        if config.memory:
            self.remember(drawn)
        self.updates += 1
        kept = 0 if self.memory is None else len(self.memory.reward)
        return told | {"loss": float(loss.detach()), "gradient": norm, "kept": float(kept), "beta": self.beta}

    def remember(self, drawn: Graded) -> None:
        """Keep the best items, each once."""
        every = drawn if self.memory is None else joined(self.memory, drawn)
        flat = every.path.x.flatten(1)
        if every.path.given is not None and not every.path.given.x.is_floating_point():
            flat = torch.cat([flat, every.path.given.x.flatten(1).to(flat)], 1)  # the same for another wish is another
        _, which = torch.unique(flat, dim=0, return_inverse=True)
        at = torch.full((int(which.max()) + 1,), len(flat), device=flat.device)
        at.scatter_reduce_(0, which, torch.arange(len(flat), device=flat.device), "amin")
        best = at[every.reward[at].argsort(descending=True, stable=True)][: self.config.memory]
        self.memory = some(every, best)

    def parts(self) -> dict[str, Any]:
        """What a checkpoint must hold beside the policy."""
        return {"optimiser": self.optimiser, **(_flat(self.memory) if self.memory is not None else {})}

    def numbers(self) -> dict[str, float]:
        """What else changes; `take` takes it back."""
        return {"updates": self.updates}

    def take(self, numbers: dict[str, float], tensors: dict[str, Tensor]) -> None:
        """Go on from these."""
        self.updates = int(numbers["updates"])
        kept = {name.removeprefix("memory/"): part for name, part in tensors.items() if name.startswith("memory/")}
        if kept:
            device = next(self.trial.policy.parameters()).device
            kept = {name: part.to(device) for name, part in kept.items()}
            given = Batch(kept["given"], None, kept.get("given mask")) if "given" in kept else None
            path = Path(kept["x"], kept["trace"], kept["mask"], given)
            self.memory = Graded(path, *(kept[name] for name in REST))


# ------------------------------------------------------------------------------------------------------ parts


def some(graded: Graded, rows: Tensor) -> Graded:
    """These rows."""
    path = rows_of(graded.path, rows)
    return Graded(path, graded.reward[rows], graded.old[rows], graded.start[rows], graded.features[rows])


def joined(one: Graded, other: Graded) -> Graded:
    """Both, one behind the other."""
    a, b = one.path, other.path
    given = None
    if a.given is not None and b.given is not None:
        given = a.given._replace(
            x=torch.cat([a.given.x, b.given.x]),
            mask=None if a.given.mask is None or b.given.mask is None else torch.cat([a.given.mask, b.given.mask]),
        )
    path = Path(torch.cat([a.x, b.x]), torch.cat([a.trace, b.trace]), torch.cat([a.mask, b.mask]), given)
    return Graded(path, *(torch.cat([getattr(one, name), getattr(other, name)]) for name in REST))


def _flat(graded: Graded) -> dict[str, Tensor]:
    """Its tensors by name."""
    path = graded.path
    named = {"x": path.x, "trace": path.trace, "mask": path.mask, **{name: getattr(graded, name) for name in REST}}
    if path.given is not None:
        named["given"] = path.given.x
        if path.given.mask is not None:
            named["given mask"] = path.given.mask
    return {f"memory/{name}": tensor for name, tensor in named.items()}
