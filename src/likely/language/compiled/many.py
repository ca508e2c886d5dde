"""What stands between the products of many rows, compiled: norms, rotary positions, gates.

Where a prompt is read, torch's products in bfloat16 are the fastest there is, but its norm is a dozen small steps, a
turn as many, and a gate two: a quarter of the whole. Here each is one pass over memory, computed in float32 and rounded
once.

Letters: B texts, T tokens, S steps in sight, W width.
"""

from __future__ import annotations

import ctypes
from ctypes import c_float, c_int32, c_int64, c_void_p

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likely.language.compiled.step import KINDS
from likely.language.quantize import shallow
from likely.nn.decoder import Block, Cache, Decoder
from likely.nn.texts import Texts


class Norm(nn.Module):
    """x / rms(x) * weight."""

    def __init__(self, library: ctypes.CDLL, weight: Tensor, eps: float) -> None:
        super().__init__()
        self.library, self.scale, self.eps = library, weight.detach().float().contiguous(), eps

    def forward(self, x: Tensor) -> Tensor:
        """(..., W) -> the same."""
        x = x.contiguous()
        y = torch.empty_like(x)
        width = x.shape[-1]
        self.library.norms(
            x.data_ptr(), self.scale.data_ptr(), y.data_ptr(), x.numel() // width, width, self.eps, KINDS[x.dtype]
        )
        return y


class Quick(Block):
    """A block with compiled turns and gates; made of another one, with which it shares all weights."""

    library: ctypes.CDLL

    def turned(self, x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
        """Queries, keys and values (B, T, N) with queries and keys turned by angles (B or 1, 1, T, D / 2)."""
        arch, (B, T, N) = self.arch, x.shape
        x = x.contiguous()
        cos, sin = (part.expand(B, 1, T, arch.head // 2).float().contiguous() for part in turn)
        heads, mixed = arch.heads + arch.groups, arch.rope is not None and arch.rope.interleaved
        self.library.turns(
            x.data_ptr(), cos.data_ptr(), sin.data_ptr(), B * T, N, heads, arch.head, int(mixed), KINDS[x.dtype]
        )
        return x

    def attend(self, x: Tensor, turn: tuple[Tensor, Tensor] | None, mask: Tensor | Texts | None,
               cache: Cache | None, layer: int) -> Tensor:  # fmt: skip
        """What each step takes from those in sight (B, T, H * D)."""
        arch, (B, T, _) = self.arch, x.shape
        if turn is None or cache is None or arch.qk_norm or isinstance(mask, Texts):
            return super().attend(x, turn, mask, cache, layer)
        both = self.turned(self.qkv(x), turn)
        q, k, v = (part.view(B, T, -1, arch.head).transpose(1, 2) for part in torch.split(both, list(arch.sizes), -1))
        k, v = cache.extend(layer, k, v)
        seen = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=mask is None and T > 1, enable_gqa=arch.heads != arch.groups
        )
        return seen.transpose(1, 2).reshape(B, T, -1)

    def feed(self, x: Tensor) -> Tensor:
        """The feed-forward layers (B, T, W)."""
        both = self.up(x).contiguous()
        hidden = both.shape[-1] // 2
        y = both.new_empty(*both.shape[:-1], hidden)
        gelu = int(self.arch.activation == "gelu_tanh")
        self.library.gates(both.data_ptr(), y.data_ptr(), y.numel() // hidden, hidden, gelu, KINDS[y.dtype])
        out: Tensor = self.down(y)
        return out


def quick(network: Decoder, library: ctypes.CDLL) -> Decoder:
    """The network with all between its products compiled, sharing its weights; of the kind that the pass covers."""
    size, half = c_int64, c_int32
    library.norms.restype, library.norms.argtypes = None, (c_void_p, c_void_p, c_void_p, size, half, c_float, half)
    library.gates.restype, library.gates.argtypes = None, (c_void_p, c_void_p, size, half, half, half)
    library.turns.restype, library.turns.argtypes = None, (c_void_p, c_void_p, c_void_p, size, size, *[half] * 4)

    def norm(old: nn.Module) -> Norm:
        return Norm(library, old.get_parameter("weight"), network.arch.eps)

    made = shallow(network)
    made.blocks = nn.ModuleList([shallow(block) for block in network.blocks])
    for block in made.blocks:
        block.__class__ = Quick
        block.library = library  # type: ignore[assignment]
        block.norm1, block.norm2 = norm(block.get_submodule("norm1")), norm(block.get_submodule("norm2"))
    made.norm = norm(network.norm)
    return made
