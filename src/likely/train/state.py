"""All that changes while a model is trained: what a checkpoint must hold for a resumed run to be the same run.

    weights      live tensors of the model, by name; not those frozen by `requires_grad = False`, which no step changes
    optim        what AdamW remembers: two moments and a count, an objective and parameter
    average      the running average of the weights
    best         the average with the lowest left-out loss so far
    numbers      steps, seconds, losses, counters

The tensors are named once, and are the model's own: a checkpoint reads and writes them in place, whether they are
plain or shards of a larger one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

import torch
from torch import Tensor, nn

from likely.core import Objective, Training
from likely.train.distribute import local, whole
from likely.train.ema import Average


@dataclass
class Numbers:
    """The counters of a run, all plain JSON."""

    step: int = 0  # steps done
    elapsed: float = 0.0  # seconds spent
    mark: int = 0  # evaluations due so far
    at: int = 0  # step of the last evaluation
    best: float = math.inf  # lowest left-out loss, nats an item
    stale: int = 0  # evaluations since then
    scale: float = 1.0  # share of the scheduled rate that is left after bad steps
    strikes: int = 0  # bad steps since the last clean evaluation
    bad: int = 0  # bad steps in all
    forgiven: int = 0  # of them, those before the last look
    sums: list[float] = field(default_factory=list)  # of losses since the last evaluation, an objective
    counts: list[int] = field(default_factory=list)  # how many losses each sum has
    record: list[dict[str, Any]] = field(default_factory=list)  # one entry an evaluation

    @classmethod
    def read(cls, values: dict[str, Any]) -> Numbers:
        """From what `asdict` gave. Raises KeyError where one is missing."""
        return cls(**{entry.name: values[entry.name] for entry in fields(cls)})


class State:
    """Weights, optimisers, average, best and numbers of one run."""

    def __init__(self, model: nn.Module, objectives: Sequence[Objective], training: Training, keep_best: bool) -> None:
        frozen = {name for name, weight in model.named_parameters(remove_duplicate=False) if not weight.requires_grad}
        self.weights = _distinct({name: value for name, value in model.state_dict().items() if name not in frozen})
        self.optimisers = [_adamw(objective.module, training) for objective in objectives]
        self.average = Average(self.weights, training.ema)
        self.best = {name: tensor.clone() for name, tensor in self.average.final.items()} if keep_best else {}
        self.numbers = Numbers(sums=[0.0] * len(objectives), counts=[0] * len(objectives))

    def moving(self) -> dict[str, Tensor]:
        """What a step changes, by name: weights, optimisers, average."""
        named = {f"weights/{name}": tensor for name, tensor in self.weights.items()}
        named |= {f"average/{name}": tensor for name, tensor in self.average.tensors.items()}
        for k, optimiser in enumerate(self.optimisers):
            parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
            for i, parameter in enumerate(parameters):
                named |= {f"optim/{k}/{i}/{what}": tensor for what, tensor in optimiser.state[parameter].items()}
        return named

    def tensors(self) -> dict[str, Tensor]:
        """All tensors of a checkpoint, by name."""
        return self.moving() | {f"best/{name}": tensor for name, tensor in self.best.items()}

    def values(self) -> dict[str, Any]:
        """All numbers of a checkpoint."""
        return asdict(self.numbers)

    @torch.no_grad()
    def copy(self) -> dict[str, Tensor]:
        """What a step changes, as it is now."""
        return {name: tensor.clone() for name, tensor in self.moving().items()}

    @torch.no_grad()
    def restore(self, kept: dict[str, Tensor]) -> None:
        """Go back to what `copy` gave."""
        for name, tensor in self.moving().items():
            tensor.copy_(kept[name])

    @torch.no_grad()
    def keep(self) -> None:
        """The average as it is now is the best so far."""
        for name, tensor in self.best.items():
            tensor.copy_(self.average.final[name])

    def healthy(self) -> bool:
        """Whether all weights that this process holds are finite."""
        held = [local(tensor) for tensor in self.weights.values()]
        return all(bool(torch.isfinite(tensor).all()) for tensor in held if tensor.is_floating_point())

    @torch.no_grad()
    def give(self, family: nn.Module) -> None:
        """Put the best weights, or the last average where nothing was left out to judge by, into `family`."""
        final = self.best if math.isfinite(self.numbers.best) else self.average.final
        own = family.state_dict()
        for name, tensor in final.items():
            own[name].copy_(whole(tensor))


def _distinct(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Each tensor once: tied weights go by their first name."""
    seen: set[tuple[int, torch.Size]] = set()
    kept = {}
    for name, tensor in tensors.items():
        key = (local(tensor).data_ptr(), tensor.shape)
        if key not in seen or tensor.numel() == 0:
            kept[name] = tensor.detach()
        seen.add(key)
    return kept


def _adamw(module: nn.Module, training: Training) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter, 2019, arXiv:1711.05101): decay for matrices, none for biases and scales."""
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": training.decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in parameters)  # five times faster than the loop
    groups = [group for group in groups if group["params"]]
    optimiser = torch.optim.AdamW(groups, lr=training.rate, betas=training.betas, fused=fused)
    # The optimiser makes its memory at the first step; a checkpoint must find it there before. So: one step that moves
    # nothing, and all back to zero.
    for group in optimiser.param_groups:
        group["lr"] = 0.0
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    optimiser.step()
    for memory in optimiser.state.values():
        for tensor in memory.values():
            tensor.zero_()
    optimiser.zero_grad(set_to_none=True)
    return optimiser
