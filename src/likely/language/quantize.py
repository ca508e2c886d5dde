"""Weights in 8 or 4 bits, for reading one token or a few at a time.

A token needs every weight once, so at batch 1 speed is the number of bytes a weight has. What is computed stays in
bfloat16 or float32; only the weights are rounded:

    int8    w ~ s_r q            one scale a row r, q in -127 .. 127
    int4    w ~ s_g q + z_g      one scale and one zero a group g of 32 weights of a row, q in 0 .. 15

(Dettmers et al. 2022, arXiv:2208.07339; Frantar et al. 2022, arXiv:2210.17323, for groups.) Of int4 the scale and zero
are those of the smallest squared error among several ranges, refined by least squares; weights that came from such
blocks (GGUF's Q4_0, Q4_1) are on a grid of 16 levels already and stay what they are, up to the rounding of the scales.

Where many rows are read at once (prompts, large batches) the arithmetic is the limit, and a bfloat16 product is faster:
both forms are kept, and the number of rows decides.

Letters: M rows of activations, N outputs, K inputs, g weights a group.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Protocol, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likely.errors import OptionError
from likely.nn.decoder import Decoder

GROUP = 32
Kind = TypeVar("Kind", bound=nn.Module)
ROWS = 8  # up to so many rows the packed products are the faster ones, on all processors measured
RANGES = (1.0, 0.9, 0.8)  # of a group's range: cutting off the outermost may pay
EXACT = 1e-7  # squared error, of the weights' own square, below which they were on such a grid already


def to_int8(weight: Tensor, kind: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    """(N, K) -> q int8 (N, K), scales (N) rounded to `kind` before they are used: their rounding costs nothing then."""
    weight = weight.detach().float()
    scale = (weight.abs().amax(1) / 127).clamp_min(1e-12).to(kind)
    q = (weight / scale.float()[:, None]).round_().clamp_(-127, 127)
    return q.to(torch.int8), scale


def to_int4(weight: Tensor, group: int = GROUP, kind: torch.dtype = torch.float16) -> tuple[Tensor, Tensor, Tensor]:
    """(N, K) -> q uint8 (N, K) of 0 .. 15, scales and zeros (N, K / g), rounded to `kind`: w ~ scale * q + zero.

    Raises OptionError where K is no multiple of the group.
    """
    N, K = weight.shape
    if K % group:
        raise OptionError(f"Rows of {K} weights are no whole groups of {group}.")
    w = weight.detach().float().reshape(N, K // group, group)
    low, high = w.amin(-1, keepdim=True), w.amax(-1, keepdim=True)
    found = _rounded(w, (high - low) / 15, low, kind)
    if float(found[3].sum()) > EXACT * float(w.square().sum()):  # not on a grid of 16 levels already
        for part in RANGES:
            scale, zero = (high - low) * (part / 15), low + (1 - part) / 2 * (high - low)
            other = _rounded(w, *_least_squares(w, _levels(w, scale, zero)), kind)
            better = other[3] < found[3]
            found = tuple(torch.where(better, new, old) for new, old in zip(other, found, strict=True))
    q, scale, zero, _ = found
    return q.to(torch.uint8).view(N, K), scale[..., 0].to(kind), zero[..., 0].to(kind)


def _rounded(w: Tensor, scale: Tensor, zero: Tensor, kind: torch.dtype) -> tuple[Tensor, ...]:
    """Levels, scale and zero as they will be kept, and the squared error of each group."""
    scale, zero = scale.to(kind).float(), zero.to(kind).float()
    q = _levels(w, scale, zero)
    return q, scale, zero, (scale * q).add_(zero).sub_(w).square_().sum(-1, keepdim=True)


def _levels(w: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
    return ((w - zero) / scale.abs().clamp_min(1e-12)).round_().clamp_(0, 15)


def _least_squares(w: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """The scale and zero of the smallest squared error for given levels; a flat group keeps a scale of 0."""
    qm, wm = q.mean(-1, keepdim=True), w.mean(-1, keepdim=True)
    spread = (q - qm).square().sum(-1, keepdim=True)
    scale = ((q - qm) * (w - wm)).sum(-1, keepdim=True) / spread.clamp_min(1e-12)
    return scale.clamp_min(0), wm - scale.clamp_min(0) * qm


class Packed(nn.Module):
    """A linear layer: a packed product up to ROWS rows, a dense one in the type of `dense` for more."""

    def __init__(self, dense: Tensor, bias: Tensor | None, small: Callable[[Tensor], Tensor], size: int) -> None:
        super().__init__()
        self.dense, self.bias, self.small, self.size = dense, bias, small, size

    def forward(self, x: Tensor) -> Tensor:
        """(..., K) -> (..., N)."""
        rows = x.numel() // x.shape[-1]
        if rows > ROWS:
            return F.linear(x, self.dense, self.bias)
        out = self.small(x.reshape(rows, -1)).view(*x.shape[:-1], -1)
        return out if self.bias is None else out + self.bias


class Maker(Protocol):
    """Makes the packed form of a weight (N, K) in float32, with `dense` its dense form."""

    def __call__(self, weight: Tensor, dense: Tensor, bias: Tensor | None) -> Packed: ...


def int8(weight: Tensor, dense: Tensor, bias: Tensor | None) -> Packed:
    """8 bits a weight."""
    q, scale = to_int8(weight, dense.dtype)

    def small(x: Tensor) -> Tensor:
        out: Tensor = torch._weight_int8pack_mm(x, q, scale)
        return out

    return Packed(dense, bias, small, q.nbytes + scale.nbytes)


def int4(weight: Tensor, dense: Tensor, bias: Tensor | None) -> Packed:
    """4 bits a weight and a scale and zero each 32 of them; int8 where the shape does not allow it."""
    N, K = weight.shape
    if K % GROUP or N % 16:
        return int8(weight, dense, bias)
    q, scale, zero = to_int4(weight, kind=dense.dtype)
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(q.int(), 1)
    both = torch.stack((scale, zero.float().add(8 * scale.float()).to(scale.dtype)), -1).transpose(0, 1).contiguous()

    def small(x: Tensor) -> Tensor:
        out: Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(x, packed, GROUP, both)
        return out

    return Packed(dense, bias, small, packed.nbytes + both.nbytes)


def cast(network: Decoder, dtype: torch.dtype) -> Decoder:
    """A copy of the network in another type; the network itself where it has that type already."""
    if network.embed.weight.dtype == dtype:
        return network
    return copy.deepcopy(network).to(dtype).eval()


def pack(network: Decoder, dense: Decoder, make: Maker, head: Maker = int8) -> Decoder:
    """A decoder whose matrices are packed by `make`, its head by `head`; all else is shared with `dense`, a copy of the
    network in the type that is computed in. The values packed are those of `network`, before they were rounded."""
    made = shallow(dense)
    made.blocks = nn.ModuleList([shallow(block) for block in dense.blocks])
    for exact, block in zip(network.blocks, made.blocks, strict=True):
        for name in ("qkv", "out", "up", "down"):
            source, layer = getattr(exact, name), getattr(block, name)
            if type(source) is nn.Linear:  # an adapter stays what it is
                setattr(block, name, make(source.weight, layer.weight.detach(), layer.bias))
    source, layer = network.head or network.embed, dense.head or dense.embed
    if type(source) in (nn.Linear, nn.Embedding):
        made.head = head(source.weight, layer.weight.detach(), None)  # type: ignore[assignment]
    return made


def shallow(module: Kind) -> Kind:
    """A copy that shares parameters and children, of which others can be put in without changing the original."""
    made = copy.copy(module)
    made._modules, made._parameters = dict(module._modules), dict(module._parameters)
    return made
