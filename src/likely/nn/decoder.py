"""One decoder for all of GPT-2, LLaMA, Mistral, Qwen2 and Qwen3: a network of the next token, differences are values.

    h = embed(ids) [+ position]
    h = h + attend(norm(h))        each step sees itself and what is before it
    h = h + feed(norm(h))          for each step alone; gated: down(act(gate) * up)
    logits = head(norm(h))

(Vaswani et al. 2017, arXiv:1706.03762; Radford et al. 2019; Touvron et al. 2023, arXiv:2302.13971; grouped queries:
Ainslie et al. 2023, arXiv:2305.13245; RMS norm: Zhang and Sennrich 2019, arXiv:1910.07467; SwiGLU: Shazeer 2020,
arXiv:2002.05202.)

Queries, keys and values are one matrix, gate and up another: fewer, larger products. With a `Cache` the keys and values
of earlier steps are kept; a step that is padding is masked out for all later ones.

Letters: B items, T new steps, S steps in sight, W width, H query heads, G key heads, D numbers a head, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from likely.nn.rope import Rope, angles, rotate
from likely.nn.texts import Texts

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
}


@dataclass(frozen=True)
class Architecture:
    """The shape of a decoder. `vocab` tokens, `width`, `layers`, `heads` for queries and `groups` for keys and values,
    `head` numbers each, `hidden` units of the feed-forward layers, `context` steps at most.

    `rope` None: learned positions (GPT-2). `norm`: "rms" or "layer". `gated`: SwiGLU and its like. Biases: of
    queries, keys and values; of the way out of attention; of feed-forward layers. `qk_norm`: RMS norm of each query
    and key head (Qwen3). `window`: steps in sight at most, 0 = all (Mistral). `tied`: the head is the embedding.
    """

    vocab: int
    width: int
    layers: int
    heads: int
    groups: int
    head: int
    hidden: int
    context: int
    rope: Rope | None = field(default_factory=Rope)
    norm: str = "rms"
    eps: float = 1e-6
    activation: str = "silu"
    gated: bool = True
    bias_qkv: bool = False
    bias_out: bool = False
    bias_feed: bool = False
    qk_norm: bool = False
    window: int = 0
    tied: bool = True

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Rows of the joint matrix that are queries, keys, values."""
        return self.heads * self.head, self.groups * self.head, self.groups * self.head


class Heads(Protocol):
    """What a cache has to know of an architecture."""

    @property
    def layers(self) -> int: ...
    @property
    def groups(self) -> int: ...
    @property
    def head(self) -> int: ...


class Cache:
    """Keys and values of the steps so far, room for `length`: preallocated (layers, B, G, S, D).

    `seen` (B, S) true = a real step, false = padding; `used` steps are filled.
    """

    def __init__(self, arch: Heads, B: int, length: int, dtype: torch.dtype, device: torch.device) -> None:
        shape = (arch.layers, B, arch.groups, length, arch.head)
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)
        self.seen = torch.zeros(B, length, dtype=torch.bool, device=device)
        self.used = 0
        self.ragged = False  # whether any step so far is padding

    @property
    def room(self) -> int:
        """Steps that still fit."""
        return self.keys.shape[3] - self.used

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write k, v (B, G, T, D) of the new steps; all keys and values so far (B, G, S, D)."""
        end = self.used + k.shape[2]
        self.keys[layer, :, :, self.used : end] = k
        self.values[layer, :, :, self.used : end] = v
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def keep(self, rows: Tensor) -> None:
        """Keep these rows (m,) in this order; a row may be named more than once: that is how a prompt is shared."""
        used = self.used
        if len(rows) > self.seen.shape[0]:
            self.keys, self.values = self.keys[:, rows], self.values[:, rows]
        else:  # only what is filled needs to move
            self.keys[:, : len(rows), :, :used] = self.keys[:, rows, :, :used]
            self.values[:, : len(rows), :, :used] = self.values[:, rows, :, :used]
            self.keys, self.values = self.keys[:, : len(rows)], self.values[:, : len(rows)]
        self.seen = self.seen[rows]

    def cut(self, used: int) -> None:
        """Forget all steps from `used` on: drafts that were refused."""
        self.seen[:, used:] = False
        self.used = used


class RMSNorm(nn.Module):
    """x / rms(x) * weight, computed in float32."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(size)), eps

    def forward(self, x: Tensor) -> Tensor:
        """(..., size) -> the same."""
        if x.device.type == "cpu" and x.requires_grad and x.dtype == self.weight.dtype == torch.float32:
            out: Tensor = Scaled.apply(x, self.weight, self.eps)  # type: ignore[no-untyped-call]
            return out
        return F.rms_norm(x, x.shape[-1:], self.weight.to(x.dtype), self.eps)


class Scaled(torch.autograd.Function):
    """RMS norm while learning on a CPU, where torch has it as a dozen small steps; half the time of these.

    The gradient is that of layer norm, a single kernel, but for the mean, which layer norm takes away:
    dx = r (g w - x r^2 mean(g w x)), dw = sum g x r, r = 1 / rms(x).
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        r = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, r)
        out: Tensor = (x * r).mul_(weight)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight, r = ctx.saved_tensors
        W, grad = x.shape[-1], grad.contiguous()
        dx, dw, _ = torch.ops.aten.native_layer_norm_backward(
            grad, x.contiguous(), [W], torch.zeros_like(r), r, weight, None, [True, True, False]
        )
        dx += torch.mv(grad.view(-1, W), weight).view(r.shape) * (r / W)  # the mean, put back
        return dx, dw, None


def norm(arch: Architecture, size: int) -> nn.Module:
    """The norm of an architecture."""
    return RMSNorm(size, arch.eps) if arch.norm == "rms" else nn.LayerNorm(size, arch.eps)


class Block(nn.Module):
    """One layer: attention, then feed-forward."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.arch, W = arch, arch.width
        self.norm1, self.norm2 = norm(arch, W), norm(arch, W)
        self.qkv = nn.Linear(W, sum(arch.sizes), bias=arch.bias_qkv)
        self.out = nn.Linear(arch.heads * arch.head, W, bias=arch.bias_out)
        self.up = nn.Linear(W, arch.hidden * (2 if arch.gated else 1), bias=arch.bias_feed)  # gate first, then up
        self.down = nn.Linear(arch.hidden, W, bias=arch.bias_feed)
        if arch.qk_norm:
            self.q_norm, self.k_norm = RMSNorm(arch.head, arch.eps), RMSNorm(arch.head, arch.eps)
        self.act = ACTIVATIONS[arch.activation]

    def forward(self, h: Tensor, turn: tuple[Tensor, Tensor] | None, mask: Tensor | Texts | None,
                cache: Cache | None, layer: int, dropout: float = 0.0) -> Tensor:  # fmt: skip
        """h (B, T, W) -> (B, T, W). `mask` (B or 1, 1, T, S) true = in sight, None = all that is before."""
        h = h + drop(self.out(self.attend(self.norm1(h), turn, mask, cache, layer)), dropout)
        return h + drop(self.feed(self.norm2(h)), dropout)

    def attend(self, x: Tensor, turn: tuple[Tensor, Tensor] | None, mask: Tensor | Texts | None,
               cache: Cache | None, layer: int) -> Tensor:  # fmt: skip
        """What each step takes from those in sight (B, T, H * D)."""
        arch, (B, T, _) = self.arch, x.shape
        q, k, v = (part.view(B, T, -1, arch.head).transpose(1, 2) for part in self.qkv(x).split(arch.sizes, -1))
        if arch.qk_norm:
            q, k = self.q_norm(q), self.k_norm(k)
        if turn is not None and arch.rope is not None:
            q, k = rotate(q, *turn, arch.rope.interleaved), rotate(k, *turn, arch.rope.interleaved)
        if cache is not None:
            k, v = cache.extend(layer, k, v)
        if isinstance(mask, Texts):
            return mask.attend(q, k, v)
        causal = mask is None and T > 1
        seen = F.scaled_dot_product_attention(
            q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=arch.heads != arch.groups
        )
        return seen.transpose(1, 2).reshape(B, T, -1)

    def feed(self, x: Tensor) -> Tensor:
        """The feed-forward layers (B, T, W)."""
        return feed(x, self.up, self.down, self.act, self.arch.gated)


def drop(x: Tensor, share: float) -> Tensor:
    """x with a share of its numbers set to 0, the others larger to make up for it."""
    return F.dropout(x, share) if share else x


def feed(x: Tensor, up: nn.Module, down: nn.Module, act: Callable[[Tensor], Tensor], gated: bool) -> Tensor:
    """down(act(up(x))), or down(act(gate) * up) of a joint matrix whose first half is the gate: (B, T, W)."""
    x = up(x)
    if gated:
        gate, x = x.chunk(2, -1)
        x = act(gate) * x
    else:
        x = act(x)
    out: Tensor = down(x)
    return out


class Decoder(nn.Module):
    """ids (B, T) -> hidden states (B, T, W) -> logits (B, T, V)."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.arch = arch
        self.embed = nn.Embedding(arch.vocab, arch.width)
        self.position = nn.Embedding(arch.context, arch.width) if arch.rope is None else None
        self.blocks = nn.ModuleList([Block(arch) for _ in range(arch.layers)])
        self.norm = norm(arch, arch.width)
        self.head = None if arch.tied else nn.Linear(arch.width, arch.vocab, bias=False)
        self.recompute = False  # activations of blocks: computed again on the way back, not kept (Chen et al. 2016)
        self.begin()

    def begin(self) -> None:
        """First weights: N(0, .02^2), those that add to the stream smaller by sqrt(2 layers) (Radford et al. 2019)."""
        for name, weight in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(weight)
            elif weight.ndim == 2:
                last = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * self.arch.layers) if last else 0.02)

    def forward(
        self, ids: Tensor | None, *, seen: Tensor | None = None, cache: Cache | None = None,
        inputs: Tensor | None = None, positions: Tensor | None = None, texts: Tensor | None = None,
        dropout: float = 0.0,
    ) -> Tensor:  # fmt: skip
        """Hidden states (B, T, W), normed, of tokens `ids` (B, T) or of `inputs` (B, T, W) in the place of embeddings.

        `seen` (B, T) true = real: padding, left or right, is neither attended to nor counted. `positions` (B, T) only
        where they are not those that follow from `seen`. With a cache the steps come after those in it. `texts` (B, T)
        numbers texts that share a row, 0 = padding: none sees another (see `Texts`); not with `seen` or a cache.
        `dropout` of what enters and of what each half of a block adds, whatever the mode of the module.
        """
        x = self.embed(ids) if inputs is None else inputs
        B, T = x.shape[:2]
        mask: Tensor | Texts | None
        if texts is not None:
            mask = Texts(texts, self.arch.window)
            positions = mask.positions if positions is None else positions
        else:
            positions, mask = self._sight(B, T, x.device, seen, cache, positions)
        turn = self._turn(positions, x.dtype)
        if self.position is not None:
            x = x + self.position(positions)
        x = drop(x, dropout)
        for layer, block in enumerate(self.blocks):
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(block, x, turn, mask, cache, layer, dropout, use_reentrant=False)
            else:
                x = block(x, turn, mask, cache, layer, dropout)
        if cache is not None:
            cache.used += T
        out: Tensor = self.norm(x)
        return out

    def enter(self, ids: Tensor) -> Tensor:
        """What the first block sees (B, T, W) of whole texts ids (B, T), which may be padded behind."""
        x: Tensor = self.embed(ids)
        return x if self.position is None else x + self.position(torch.arange(ids.shape[1], device=ids.device))

    def through(self, x: Tensor, first: int, last: int) -> Tensor:
        """x (B, T, W) behind the blocks from `first` to before `last`: a part of the way, for whole texts."""
        positions, mask = self._sight(x.shape[0], x.shape[1], x.device, None, None, None)
        turn = self._turn(positions, x.dtype)
        for layer in range(first, last):
            if self.recompute and torch.is_grad_enabled():
                x = checkpoint(self.blocks[layer], x, turn, mask, None, layer, 0.0, use_reentrant=False)
            else:
                x = self.blocks[layer](x, turn, mask, None, layer)
        return x

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., W) -> (..., V)."""
        return F.linear(hidden, self.embed.weight) if self.head is None else self.head(hidden)

    def _turn(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
        rope = self.arch.rope
        return None if rope is None else angles(rope, self.arch.head, positions, dtype)

    def _sight(
        self, B: int, T: int, device: torch.device, seen: Tensor | None, cache: Cache | None, positions: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Positions (B or 1, T), and which steps each step sees (B or 1, 1, T, S); None = all up to itself."""
        used = cache.used if cache is not None else 0
        ragged = seen is not None and not bool(seen.all())
        if cache is not None:
            cache.seen[:, used : used + T] = True if seen is None else seen
            ragged = cache.ragged = cache.ragged or ragged
            seen = cache.seen[:, : used + T]
        if positions is None:
            if ragged and seen is not None:
                positions = (seen.long().cumsum(1) - 1).clamp_min(0)[:, used:]
            else:
                positions = torch.arange(used, used + T, device=device)[None]
        window = self.arch.window
        if not ragged and (used == 0 or T == 1) and not (window and used + T > window):
            return positions, None
        row = torch.arange(used, used + T, device=device)[:, None]
        column = torch.arange(used + T, device=device)
        sight = column <= row
        mask = sight[None, None]
        if window and not ragged:
            mask = mask & (column > row - window)
        if ragged and seen is not None:
            mask = mask & seen[:, None, None]
            if window:  # padding may stand between real steps: what counts is how many of these are between
                place = seen.long().cumsum(1) - 1
                mask = mask & (place[:, None, None] > place[:, None, used:, None] - window)
            mask = mask | torch.eye(T, used + T, dtype=torch.bool, device=device).roll(used, 1)  # never an empty row
        return positions, mask
