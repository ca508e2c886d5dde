"""Several processes, one training: which process does what, over torch.distributed and nothing else.

    torchrun --nproc-per-node 2 train.py          # train.py: with join("ddp") as mesh: fit(..., mesh=mesh)

Every process takes its slice of the same batch. With n_r items on rank r of W, B in all, and the mean loss l_r of a
slice, processes descend  sum_r (n_r / B) l_r , the loss that one process would see; as gradients are averaged
over processes, each multiplies its own by W n_r / B.

    single   one process
    ddp      a copy of all weights in each process; gradients averaged (Li et al., 2020, arXiv:2006.15704)
    fsdp     weights, gradients and optimiser cut in W shards (FSDP2; Zhao et al., 2023, arXiv:2304.11277)

Sharding, collectives and resharding are torch's own. What is ours: a family is trained by `loss`, not by `forward`,
so it is wrapped in a module whose forward *is* the loss; the hooks of DDP and FSDP then run where they should.

Letters: W processes, r the rank of one, B items a step.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from likely.core import Batch, Family, Objective
from likely.errors import OptionError, TrainingError
from likely.registry import require

Kind = Literal["single", "ddp", "fsdp"]
Share = Callable[[int, Batch], Tensor]  # number of an objective, batch -> its loss, gradients kept in step


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that this process holds: its shard, or all of it."""
    return cast(Tensor, tensor.to_local()) if hasattr(tensor, "to_local") else tensor


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor: shards of all processes together. Every process must call it."""
    return cast(Tensor, tensor.full_tensor()) if hasattr(tensor, "full_tensor") else tensor


class Losses(nn.Module):
    """A module whose forward is the loss of one of the objectives of `model`."""

    def __init__(self, model: nn.Module, objectives: Sequence[Objective]) -> None:
        super().__init__()
        self.model = model
        self._losses = [objective.loss for objective in objectives]

    def forward(self, k: int, batch: Batch) -> Tensor:
        return self._losses[k](batch)


@dataclass(frozen=True)
class Mesh:
    """The processes of one run. `rank` in [0, world); `device` is where this one computes."""

    kind: Kind = "single"
    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def place(self, family: Family[Any]) -> Family[Any]:
        """The model to train on the device: the family itself, or a copy where its weights will be cut in shards."""
        return (copy.deepcopy(family) if self.kind == "fsdp" else family).to(self.device)

    def wrap(self, model: Family[Any], objectives: Sequence[Objective]) -> Share:
        """The losses of `model`, such that backward leaves the same gradients that one process would see."""
        losses = Losses(model, objectives)
        if self.kind == "ddp":
            devices = [self.device.index] if self.device.type == "cuda" else None
            # An objective of several touches only some of the parameters: unused ones must be looked for.
            return cast(Share, DistributedDataParallel(losses, devices, find_unused_parameters=True))
        if self.kind == "fsdp":
            fsdp = require("torch.distributed.fsdp", "sharded training")
            device_mesh = require("torch.distributed.device_mesh", "sharded training")
            mesh = device_mesh.init_device_mesh(self.device.type, (self.world,))
            for block in _blocks(model):
                fsdp.fully_shard(block, mesh=mesh)
            # The root would stay whole after a forward without backward, and then miss that weights were changed.
            fsdp.fully_shard(losses, mesh=mesh, reshard_after_forward=True)
        return cast(Share, losses)

    @contextmanager
    def exchange(self, share: Share, now: bool) -> Iterator[None]:
        """Within: gradients are exchanged between processes `now`, or left for the last part of a step."""
        if isinstance(share, DistributedDataParallel) and not now:
            with share.no_sync():
                yield
        else:  # shards are exchanged part by part: whole gradients would not fit
            yield

    def part(self, rows: Tensor) -> tuple[Tensor, float]:
        """This process's slice of the items of a step, and the weight W n_r / B of its mean loss."""
        mine = rows[self.rank :: self.world]
        if len(mine) == 0:  # fewer items than processes: compute with the others, count for nothing
            return rows[:1], 0.0
        return mine, self.world * len(mine) / len(rows)

    def seed(self, number: int) -> None:
        """Seed the global generators that a loss may draw from."""
        torch.default_generator.manual_seed(number)  # torch.manual_seed seeks every kind of device: 2 ms a step
        if self.device.type == "cuda":
            torch.cuda.manual_seed(number)

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over processes."""
        if self.kind == "single":
            return value
        total = value.detach().clone()
        dist.all_reduce(total)
        return total / self.world

    def largest(self, *values: float) -> list[float]:
        """The largest of each number over processes: what must not differ between them."""
        if self.kind == "single":
            return list(values)
        most = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(most, dist.ReduceOp.MAX)
        return [float(value) for value in most]

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.kind != "single":
            dist.barrier()


@contextmanager
def join(kind: Kind = "ddp", *, device: torch.device | str | None = None) -> Iterator[Mesh]:
    """The mesh of the processes that torchrun started; one process where it did not start this one.

    `device` defaults to the process's own GPU, and the CPU where there is none. Raises OptionError for another kind.
    """
    if kind not in ("single", "ddp", "fsdp"):
        raise OptionError(f"kind is {kind!r}; processes share the work as 'single', 'ddp' or 'fsdp'.")
    launched = dist.is_available() and dist.is_torchelastic_launched()
    if device is None:
        number = dist.get_node_local_rank(fallback_rank=0) if dist.is_available() else 0
        device = torch.device("cuda", number) if torch.cuda.is_available() else torch.device("cpu")
    device = torch.device(device)
    if str(device) == "cuda":
        device = torch.device("cuda", torch.cuda.current_device())
    if kind == "single" or not launched:
        yield Mesh(device=device)
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    try:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    except (RuntimeError, ValueError) as error:
        raise TrainingError(f"The processes of torchrun cannot reach each other: {str(error)[:200]}") from error
    try:
        yield Mesh(kind, dist.get_rank(), dist.get_world_size(), device)
    finally:
        dist.destroy_process_group()


def _blocks(model: nn.Module) -> list[nn.Module]:
    """The layers of a stack, the innermost first: members of a ModuleList that have parts of their own.

    Plain layers in a list (an embedding a variable) stay with the root: families read their weights directly, which
    no hook would see.
    """
    stacks = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    return [block for stack in reversed(stacks) for block in stack if any(True for _ in block.children())]
