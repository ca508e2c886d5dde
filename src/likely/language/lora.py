"""Low-rank adaptation: a checkpoint learns through a few small matrices, and stays what it was without them.

    y = W x + s B A x,     A (r, in) drawn at random, B (out, r) zero at first, s = alpha / r

W is frozen. Only A and B learn: for r = 16 some 3 % as many numbers as a small model has, and no optimiser memory for
the rest. `rslora` takes s = alpha / sqrt(r), with which a large r learns as well as a small one.

Queries, keys and values are one matrix in our decoder, gate and up another. What has a name in the wide world (q_proj,
up_proj, c_attn, ...) is a slice of rows of one of them, and has a pair of its own, so that adapters come and go in the
world's format (see `likely.language.adapter`). The pairs of one matrix are computed together, their A below one
another, their B in blocks: two thin products in place of six.

    attach(network, Lora(rank=16), seed=0)    pairs at every matrix of every block; the rest is frozen
    with off(network): ...                    as it was before: the reference of reinforcement learning
    merge(network), unmerge(network)          W + s B A in the place of W, and back, exact to rounding
    fold(network), remove(network)            plain matrices again, with what was learned, or without

Sources: Hu et al. 2021, arXiv:2106.09685; Kalajdzievski 2023, arXiv:2312.03732 (rsLoRA); first weights as there.

Letters: B items, T steps, r rank, R ranks of all pairs of a matrix.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likely.errors import Mismatch, OptionError, UnknownName
from likely.language.huggingface import config as configs
from likely.language.quantize import shallow
from likely.nn.decoder import Architecture, Decoder


@dataclass(frozen=True)
class Lora:
    """`rank` r and `alpha` of each pair; `dropout` of what enters A; `modules` by the names of Hugging Face, of one
    ("q_proj") or more parts ("attn.c_proj"); none named: every matrix of every block."""

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    rslora: bool = False
    modules: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        wants = {
            "rank": (type(self.rank) is int and self.rank >= 1, "a whole number, 1 or more"),
            "alpha": (0 < self.alpha < math.inf, "above 0, such as twice the rank"),
            "dropout": (0 <= self.dropout < 1, "from 0 to below 1"),
        }
        for name, (good, wanted) in wants.items():
            if not good:
                raise OptionError(f"Lora({name}={getattr(self, name)!r}) was given; {name} is {wanted}.")


@dataclass(frozen=True)
class Slice:
    """Rows `start` to `stop` of the matrix `part` of a block. `name` in a model of Hugging Face, {} is the layer.
    `heads`: in how many heads the rows lie as interleaved pairs, where the world has halves (likely.nn.rope); 0: none.
    """

    name: str
    part: str
    start: int
    stop: int
    heads: int = 0

    @property
    def short(self) -> str:
        """The name within a block: self_attn.q_proj."""
        return self.name.partition("{}.")[2]

    @property
    def key(self) -> str:
        """The name within its matrix: q_proj."""
        return self.name.rpartition(".")[2]


def slices(arch: Architecture) -> list[Slice]:
    """Every matrix of a block that can be adapted, by its name in the wide world."""
    names, found = (configs.LLAMA if arch.rope is not None else configs.GPT2), []
    turned = arch.rope is not None and arch.rope.interleaved
    wholes = {"qkv": sum(arch.sizes), "out": arch.width, "up": arch.hidden * (1 + arch.gated), "down": arch.width}
    for part, whole in wholes.items():
        parts = names[part] if part != "up" or arch.gated else names[part][-1:]
        sizes = arch.sizes if len(parts) == 3 else (whole // len(parts),) * len(parts)
        start = 0
        for number, (name, size) in enumerate(zip(parts, sizes, strict=True)):
            heads = (arch.heads, arch.groups, 0)[number] if turned and part == "qkv" else 0
            found.append(Slice(name, part, start, start + size, heads))
            start += size
    return found


class Pair(nn.Module):
    """A (r, in) and B (rows, r) of the rows `start` to `stop` of a matrix, and their factor."""

    def __init__(self, start: int, stop: int, inputs: int, rank: int, alpha: float, rslora: bool) -> None:
        super().__init__()
        self.start, self.stop, self.rank, self.alpha = start, stop, rank, alpha
        self.scale = alpha / (math.sqrt(rank) if rslora else rank)
        self.a, self.b = nn.Parameter(torch.empty(rank, inputs)), nn.Parameter(torch.zeros(stop - start, rank))

    def begin(self, rng: torch.Generator) -> None:
        """A uniform in +-1 / sqrt(in), B zero: the network is what it was."""
        bound = 1 / math.sqrt(self.a.shape[1])
        with torch.no_grad():
            self.a.copy_(torch.empty(self.a.shape).uniform_(-bound, bound, generator=rng))
            self.b.zero_()


class Adapted(nn.Linear):
    """A linear layer with pairs beside its matrix. The matrix is the very one of the layer it stands for, by the same
    name, so that who reads `weight` need not know of pairs; `merged` says whether they are in it."""

    def __init__(self, plain: nn.Linear, dropout: float) -> None:
        super().__init__(plain.in_features, plain.out_features, bias=plain.bias is not None, device="meta")
        self.weight, self.bias = plain.weight, plain.bias
        self.dropout, self.merged, self.active = dropout, False, True
        self.pairs = nn.ModuleDict()

    def each(self) -> list[Pair]:
        """The pairs, by rising rows."""
        return sorted((cast(Pair, pair) for pair in self.pairs.values()), key=lambda pair: pair.start)

    def forward(self, input: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        kind = input.device.type
        if torch.is_autocast_enabled(kind):  # once for both products
            input = input.to(torch.get_autocast_dtype(kind))
        y = F.linear(input, self.weight, self.bias)
        if self.merged or not self.active:
            return y
        pairs, rows = self.each(), self.out_features
        a = torch.cat([pair.scale * pair.a for pair in pairs])
        b = torch.cat([F.pad(pair.b, (0, 0, pair.start, rows - pair.stop)) for pair in pairs], 1)
        low = F.linear(F.dropout(input, self.dropout, self.training), a.to(input.dtype))
        return torch.addmm(y.flatten(0, -2), low.flatten(0, -2), b.to(low.dtype).t()).view(y.shape)

    @torch.no_grad()
    def shift(self, sign: float) -> None:
        """Add the pairs to the matrix, or take them away."""
        for pair in self.each():
            self.weight[pair.start : pair.stop] += (sign * pair.scale * (pair.b @ pair.a)).to(self.weight.dtype)
        self.merged = sign > 0

    def joined(self) -> Tensor:
        """The matrix with the pairs in it, a copy."""
        weight = self.weight.detach().clone()
        for pair in self.each() if not self.merged else ():
            weight[pair.start : pair.stop] += (pair.scale * (pair.b @ pair.a)).detach().to(weight.dtype)
        return weight

    def plain(self) -> nn.Linear:
        """The layer without pairs, with the matrix as it is."""
        made = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None, device="meta")
        made.weight, made.bias = self.weight, self.bias
        return made


# ------------------------------------------------------------------------------------------------ the network


def attach(network: Decoder, lora: Lora, *, seed: int = 0, first: int = 0) -> None:
    """Put pairs at the matrices that `lora` names, in blocks from `first` on, their A drawn from `seed`, and freeze all
    else.

    Raises UnknownName for a module that the network has not, Mismatch where it has an adapter already.
    """
    chosen = choose(network.arch, lora.modules)
    rng = torch.Generator().manual_seed(seed)
    clear(network)
    for layer in range(first, network.arch.layers):
        for piece in chosen:
            put(network, layer, piece, lora.rank, lora.alpha, lora).begin(rng)
    freeze(network)


def choose(arch: Architecture, modules: tuple[str, ...]) -> list[Slice]:
    """The slices that `modules` name; all of them where none are named."""
    every = slices(arch)
    for name in modules:
        if not any(_named(piece, name) for piece in every):
            raise UnknownName("module to adapt", name, [piece.short for piece in every])
    return [piece for piece in every if not modules or any(_named(piece, name) for name in modules)]


def _named(piece: Slice, name: str) -> bool:
    return f".{piece.name}".endswith(f".{name}")


def clear(network: Decoder) -> None:
    """Raises Mismatch where a network has an adapter already."""
    if any(True for _ in adapted(network)):
        raise Mismatch("The network has an adapter already: fold(network) keeps what it learned, remove(network) not.")


def put(network: Decoder, layer: int, piece: Slice, rank: int, alpha: float, lora: Lora) -> Pair:
    """A pair at a slice of a layer, with the weights it was given memory for. Raises Mismatch for quantised layers."""
    block = network.blocks[layer]
    matrix = getattr(block, piece.part)
    if not isinstance(matrix, nn.Linear) or not matrix.weight.is_floating_point():
        raise Mismatch(f"{piece.name.format(layer)} is a {type(matrix).__name__}: adapters go with plain weights only.")
    if not isinstance(matrix, Adapted):
        matrix = Adapted(matrix, lora.dropout)
        matrix.train(network.training)
        setattr(block, piece.part, matrix)
    pair = Pair(piece.start, piece.stop, matrix.in_features, rank, alpha, lora.rslora).to(matrix.weight.device)
    matrix.pairs[piece.key] = pair
    return pair


def freeze(network: Decoder) -> None:
    """Of all weights, only pairs learn."""
    network.requires_grad_(False)
    for _, matrix in adapted(network):
        matrix.pairs.requires_grad_(True)


def adapted(network: nn.Module) -> Iterator[tuple[str, Adapted]]:
    """The adapted matrices by name."""
    return ((name, module) for name, module in network.named_modules() if isinstance(module, Adapted))


@contextmanager
def off(network: nn.Module) -> Iterator[None]:
    """Within: the network as it was before it was adapted. Raises Mismatch where the adapter is merged."""
    found = [(matrix, matrix.active) for _, matrix in adapted(network)]
    if any(matrix.merged for matrix, _ in found):
        raise Mismatch("The adapter is merged into the weights and cannot be switched off: unmerge(network) first.")
    for matrix, _ in found:
        matrix.active = False
    try:
        yield
    finally:
        for matrix, before in found:
            matrix.active = before


def merge(network: nn.Module) -> None:
    """Add what was learned to the matrices: as fast as without an adapter. Merged ones stay as they are."""
    for _, matrix in adapted(network):
        if not matrix.merged:
            matrix.shift(1.0)


def unmerge(network: nn.Module) -> None:
    """Take away again what `merge` added: exact to rounding."""
    for _, matrix in adapted(network):
        if matrix.merged:
            matrix.shift(-1.0)


def whole(network: Decoder) -> Decoder:
    """A network of plain matrices with what was learned in them; this one stays as it is, and all else is shared."""
    made = shallow(network)
    made.blocks = nn.ModuleList([shallow(block) for block in network.blocks])
    for block in made.blocks:
        for name, matrix in list(block.named_children()):
            if isinstance(matrix, Adapted):
                plain = matrix.plain()
                plain.weight = nn.Parameter(matrix.joined(), requires_grad=False)
                setattr(block, name, plain)
    return made


def fold(network: Decoder) -> None:
    """Merge, and make plain matrices of the adapted ones: what `huggingface.save` and quantisation want."""
    merge(network)
    _strip(network)


def remove(network: Decoder) -> None:
    """Plain matrices again, without what was learned."""
    unmerge(network)
    _strip(network)


def _strip(network: Decoder) -> None:
    for name, matrix in list(adapted(network)):
        owner, _, part = name.rpartition(".")
        setattr(network.get_submodule(owner), part, matrix.plain())
    network.requires_grad_(True)
