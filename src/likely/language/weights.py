"""Arrays of a file <-> parameters of our networks.

Queries, keys and values are one matrix here and three in most files; gate and up likewise; GPT-2 stores matrices
transposed; GGUF stores the rows of a head in another order. A `Source` says so for one parameter, a plan for all, and
the same plan loads and saves. Before anything is allocated the plan is held against the shapes that the file claims:
what is missing, what is too much and what has another shape is named, with both shapes.

Letters: W width, D numbers a head.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from likely.errors import ArtifactError
from likely.nn.decoder import Decoder

Shape = tuple[int, ...]
Names = Mapping[str, tuple[str, ...]]  # a part of a decoder -> arrays of a file; {} is the layer
Network = TypeVar("Network", bound=nn.Module)
LAYERS = 2048


@dataclass(frozen=True)
class Source:
    """Where one parameter comes from: arrays `names`, one below the other, `rows` of each.

    `transposed`: they lie as (in, out). `heads`: per array, in how many heads the rows go from interleaved pairs to
    halves on the way (see likely.nn.rope); 0 = as they are.
    """

    names: tuple[str, ...]
    rows: tuple[int, ...]
    transposed: bool = False
    heads: tuple[int, ...] = ()

    def shapes(self, whole: Shape) -> list[Shape]:
        """The shapes in the file of a parameter shaped `whole`."""
        found = [(rows, *whole[1:]) for rows in self.rows]
        return [shape[::-1] for shape in found] if self.transposed else found

    def order(self, part: int) -> Tensor | None:
        """Which row of array `part` goes where (rows,), None = as they are."""
        heads = self.heads[part] if self.heads else 0
        return halves(self.rows[part], heads) if heads else None


Plan = dict[str, Source]


def halves(rows: int, heads: int) -> Tensor:
    """(rows,) the order that brings interleaved pairs of each head to halves: 0, 2, 4, ..., 1, 3, 5, ..."""
    return torch.arange(rows).view(heads, -1, 2).transpose(1, 2).reshape(-1)


def plan(network: Decoder, names: Names, *, transposed: Collection[str] = (), interleaved: bool = False) -> Plan:
    """What each parameter of a decoder is called in a file. `interleaved`: rows of queries and keys change order."""
    arch, found = network.arch, {}
    turned = (arch.heads, arch.groups, 0) if interleaved else ()
    for name, weight in network.named_parameters():
        *path, part, kind = name.split(".")
        layer = path[1] if path else ""
        arrays = tuple(f"{array.replace('{}', layer)}.{kind}" for array in names[part])
        rows: tuple[int, ...] = (weight.shape[0],)
        if len(arrays) > 1:
            rows = arch.sizes if part == "qkv" else (arch.hidden,) * len(arrays)
        heads: tuple[int, ...] = turned if part == "qkv" else ()
        if part in ("q_norm", "k_norm") and interleaved:
            heads = (1,)
        found[name] = Source(arrays, rows, part in transposed and weight.ndim == 2, heads)
    return found


def check(network: nn.Module, plan: Plan, shapes: Mapping[str, Shape], where: str,
          spare: Callable[[str], bool] = lambda name: False) -> None:  # fmt: skip
    """Raises ArtifactError unless the file's arrays are those of the plan. `spare` names arrays that do not matter."""
    wanted: dict[str, Shape] = {}
    for name, weight in network.named_parameters():
        wanted.update(zip(plan[name].names, plan[name].shapes(tuple(weight.shape)), strict=True))
    faults = [f"{name} {list(shape)} is missing" for name, shape in wanted.items() if name not in shapes]
    faults += [
        f"{name} is {list(shapes[name])} where the config wants {list(shape)}"
        for name, shape in wanted.items()
        if name in shapes and tuple(shapes[name]) != shape
    ]
    others = [name for name in shapes if name not in wanted and not spare(name)]
    faults += [f"{name[:100]} {list(shapes[name])} has no place" for name in others]
    if faults:
        more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise ArtifactError(f"The weights in {where} do not fit their config: {'; '.join(faults[:5])}{more}.")


def load(network: nn.Module, plan: Plan, fetch: Callable[[str], Tensor], dtype: torch.dtype) -> None:
    """Give a network made on the device "meta" the arrays that `fetch` reads, in memory of its own."""
    made = {}
    for name, weight in network.named_parameters():
        source = plan[name]
        out, start = torch.empty(weight.shape, dtype=dtype), 0
        for part, array in enumerate(source.names):
            read, order = fetch(array), source.order(part)
            read = read.T if source.transposed else read
            out[start : start + source.rows[part]] = read if order is None else read[order]
            start += source.rows[part]
        made[id(weight)] = out
    # A module that stands twice in a network has two names and one weight.
    state = {name: made[id(weight)] for name, weight in network.named_parameters(remove_duplicate=False)}
    network.load_state_dict(state, strict=True, assign=True)
    network.requires_grad_(True)
    network.eval()


def arrays(network: nn.Module, plan: Plan) -> Iterator[tuple[str, Tensor]]:
    """The arrays of a file, one after the other, each contiguous and in memory of its own."""
    for name, weight in network.named_parameters():
        source, start = plan[name], 0
        for part, array in enumerate(source.names):
            rows, order = weight.detach()[start : start + source.rows[part]], source.order(part)
            rows = rows if order is None else rows[order]
            yield array, (rows.T if source.transposed else rows).clone(memory_format=torch.contiguous_format)
            start += source.rows[part]


def empty(make: Callable[[], Network]) -> Network:
    """A network without memory: its parameters have shapes and nothing else."""
    with torch.device("meta"), _Bare():
        return make()


class _Bare(TorchFunctionMode):
    """Leaves out first weights: without memory there is nothing to fill, and torch takes seconds to find that out."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
