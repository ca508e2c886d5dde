"""An encoder that reads a source and a decoder that writes what follows from it: a network of p(x | c).

    m = norm(encode(c))                 every step of the source sees every other
    h = h + attend(norm(h))             the decoder: each step sees itself and what is before it,
    h = h + cross(norm(h), m)           all of the source,
    h = h + feed(norm(h))
    logits = head(norm(h))

(Vaswani et al. 2017, arXiv:1706.03762; before normalisation of sums: Xiong et al. 2020, arXiv:2002.04745.) Two ways to
say where a step stands, differences are values of `Architecture`:

    rope      queries and keys are turned (rope.py); RMS norm, SwiGLU, attention scaled by 1 / sqrt(D)
    buckets   a learned number for each head and bucket of distances is added to the scores, the same in all layers: the
              first half of the buckets holds small distances one by one, the other half larger ones by their log, up to
              `reach`; attention is not scaled (T5: Raffel et al. 2020, arXiv:1910.10683)

A source is tokens, or real numbers (S, C) that a linear layer brings to the width. While text is written step by step,
keys and values of earlier steps are kept (`Cache`), and those of the source are computed once (`Recall`).

Letters: B items, S steps of the source, T of the target, W width, H heads, D numbers a head, C channels, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likely.nn.decoder import ACTIVATIONS, Cache, RMSNorm, drop, feed
from likely.nn.rope import Rope, angles, rotate


@dataclass(frozen=True)
class Architecture:
    """`vocab` tokens of the target; `source` tokens of the source, or numbers a step where `reals`; `width`, `encoder`
    and `layers` blocks of either half, `heads` of `head` numbers, `hidden` units of the feed-forward layers.

    `shared`: source and target have one embedding. `rope` None: `buckets` of distances up to `reach`. `scaled`:
    attention by 1 / sqrt(head). `gated`: SwiGLU and its like. `tied`: the head is the target's embedding; `shrink`:
    the last hidden states are multiplied by 1 / sqrt(width) before it.
    """

    vocab: int
    source: int
    width: int
    encoder: int
    layers: int
    heads: int
    head: int
    hidden: int
    reals: bool = False
    shared: bool = False
    rope: Rope | None = field(default_factory=Rope)
    buckets: int = 32
    reach: int = 128
    scaled: bool = True
    eps: float = 1e-6
    activation: str = "silu"
    gated: bool = True
    tied: bool = True
    shrink: bool = False

    @property
    def groups(self) -> int:
        """Heads of keys and values: as many as of queries."""
        return self.heads


class Memory(NamedTuple):
    """What the encoder made of sources: `hidden` (B, S, W), `seen` (B, S) true = real, None = all are."""

    hidden: Tensor
    seen: Tensor | None = None


class Recall:
    """Keys and values of the source for each layer of the decoder, each (B, H, S, D), and which are real."""

    def __init__(self, keys: list[Tensor], values: list[Tensor], mask: Tensor | None) -> None:
        self.keys, self.values, self.mask = keys, values, mask  # mask (B, 1, 1, S)

    def keep(self, rows: Tensor) -> None:
        """Keep these rows (m,) in this order; a row may be named more than once."""
        self.keys, self.values = [k[rows] for k in self.keys], [v[rows] for v in self.values]
        self.mask = self.mask[rows] if self.mask is not None else None


class Block(nn.Module):
    """One layer of either half; `cross`: it looks at the source, too."""

    def __init__(self, arch: Architecture, cross: bool) -> None:
        super().__init__()
        self.arch, W, N = arch, arch.width, arch.heads * arch.head
        self.norm1, self.norm2 = RMSNorm(W, arch.eps), RMSNorm(W, arch.eps)
        self.qkv, self.out = nn.Linear(W, 3 * N, bias=False), nn.Linear(N, W, bias=False)
        if cross:
            self.norm_cross = RMSNorm(W, arch.eps)
            self.q, self.kv = nn.Linear(W, N, bias=False), nn.Linear(W, 2 * N, bias=False)
            self.out_cross = nn.Linear(N, W, bias=False)
        self.up = nn.Linear(W, arch.hidden * (2 if arch.gated else 1), bias=False)  # gate first, then up
        self.down = nn.Linear(arch.hidden, W, bias=False)
        self.act = ACTIVATIONS[arch.activation]

    def attend(self, x: Tensor, turn: tuple[Tensor, Tensor] | None, mask: Tensor | None, causal: bool,
               cache: Cache | None, layer: int) -> Tensor:  # fmt: skip
        """What each step takes from those of its own half (B, T, W). `mask` (., ., T, S): bool, or numbers to add."""
        q, k, v = (self.heads(part) for part in self.qkv(x).chunk(3, -1))
        if turn is not None:
            q, k = rotate(q, *turn, False), rotate(k, *turn, False)
        if cache is not None:
            k, v = cache.extend(layer, k, v)
        out: Tensor = self.out(self.look(q, k, v, mask, causal and mask is None and q.shape[2] > 1))
        return out

    def cross(self, x: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """What each step takes from the source (B, T, W)."""
        out: Tensor = self.out_cross(self.look(self.heads(self.q(x)), k, v, mask, False))
        return out

    def recall(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values (B, H, S, D) of the encoder's output."""
        k, v = self.kv(memory).chunk(2, -1)
        return self.heads(k), self.heads(v)

    def feed(self, x: Tensor) -> Tensor:
        """The feed-forward layers (B, T, W)."""
        return feed(x, self.up, self.down, self.act, self.arch.gated)

    def heads(self, x: Tensor) -> Tensor:
        """(B, T, H * D) -> (B, H, T, D)."""
        return x.view(*x.shape[:2], self.arch.heads, self.arch.head).transpose(1, 2)

    def look(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
        """Values weighed by attention (B, T, H * D)."""
        scale = None if self.arch.scaled else 1.0
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, scale=scale)
        return seen.transpose(1, 2).flatten(2)


class EncoderDecoder(nn.Module):
    """A source and the target so far -> hidden states (B, T, W) -> logits (B, T, V)."""

    def __init__(self, arch: Architecture) -> None:
        super().__init__()
        self.arch = arch
        self.embed = nn.Embedding(arch.vocab, arch.width)
        self.front: nn.Module = nn.Linear(arch.source, arch.width) if arch.reals else self.embed
        if not arch.reals and not arch.shared:
            self.front = nn.Embedding(arch.source, arch.width)
        self.encoder = nn.ModuleList([Block(arch, False) for _ in range(arch.encoder)])
        self.decoder = nn.ModuleList([Block(arch, True) for _ in range(arch.layers)])
        self.encoder_norm, self.norm = RMSNorm(arch.width, arch.eps), RMSNorm(arch.width, arch.eps)
        self.head = None if arch.tied else nn.Linear(arch.width, arch.vocab, bias=False)
        if arch.rope is None:
            self.encoder_bias = nn.Embedding(arch.buckets, arch.heads)
            self.decoder_bias = nn.Embedding(arch.buckets, arch.heads)
        self.begin()

    def blocks(self, of: nn.ModuleList) -> list[Block]:
        """The blocks of a half, by their type."""
        return [cast(Block, block) for block in of]

    def begin(self) -> None:
        """First weights: N(0, .02^2), those that add to the stream smaller by sqrt of the branches of their half.

        Where attention is not scaled, queries start smaller by sqrt(D) instead; where the last states are shrunk, the
        embedding starts at unit size (both as in T5).
        """
        arch = self.arch
        for name, weight in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(weight)
            elif weight.ndim == 2:
                branches = 2 * arch.encoder if name.startswith("encoder.") else 3 * arch.layers
                last = name.endswith(("out.weight", "out_cross.weight", "down.weight"))
                nn.init.normal_(weight, std=0.02 / math.sqrt(branches) if last else 0.02)
        with torch.no_grad():
            if not arch.scaled:
                for block in self.blocks(self.encoder) + self.blocks(self.decoder):
                    block.qkv.weight[: arch.heads * arch.head] *= arch.head**-0.5
                for block in self.blocks(self.decoder):
                    block.q.weight *= arch.head**-0.5
            if arch.shrink:
                self.embed.weight *= 50
                if isinstance(self.front, nn.Embedding) and self.front is not self.embed:
                    self.front.weight *= 50
            elif arch.reals:
                nn.init.normal_(self.front.weight, std=arch.source**-0.5)  # type: ignore[arg-type]

    # ------------------------------------------------------------------------------------------- the source

    def encode(
        self, source: Tensor, *, seen: Tensor | None = None, dropout: float = 0.0, beside: Tensor | None = None
    ) -> Memory:
        """Sources, ids (B, S) or reals (B, S, C), read. `seen` (B, S) true = real; a source must have a real step.
        `beside` (B, S, W) is added to what is read."""
        x = self.front(source)
        x = drop(x if beside is None else x + beside, dropout)
        S = x.shape[1]
        if seen is not None and bool(seen.all()):
            seen = None
        turn = self.turn(0, S, x)
        mask = seen[:, None, None] if seen is not None else None
        if self.arch.rope is None:
            mask = self.bias(self.encoder_bias, 0, S, S, True, mask)
        for block in self.blocks(self.encoder):
            x = x + drop(block.attend(block.norm1(x), turn, mask, False, None, 0), dropout)
            x = x + drop(block.feed(block.norm2(x)), dropout)
        return Memory(drop(self.encoder_norm(x), dropout), seen)

    def recall(self, memory: Memory) -> Recall:
        """Keys and values of the source for all layers of the decoder: once for all steps."""
        pairs = [block.recall(memory.hidden) for block in self.blocks(self.decoder)]
        mask = memory.seen[:, None, None] if memory.seen is not None else None
        return Recall([k for k, _ in pairs], [v for _, v in pairs], mask)

    # ------------------------------------------------------------------------------------------- the target

    def decode(self, ids: Tensor, recall: Recall, *, cache: Cache | None = None, dropout: float = 0.0) -> Tensor:
        """Hidden states (B, T, W), normed, of target tokens ids (B, T). With a cache they come after those in it."""
        x = drop(self.embed(ids), dropout)
        T, used = ids.shape[1], cache.used if cache is not None else 0
        turn, mask = self.turn(used, T, x), None
        if self.arch.rope is None or (used and T > 1):
            row = torch.arange(used, used + T, device=ids.device)[:, None]
            sight = torch.arange(used + T, device=ids.device) <= row
            mask = sight[None, None]
        if self.arch.rope is None:
            mask = self.bias(self.decoder_bias, used, T, used + T, False, mask)
        for layer, block in enumerate(self.blocks(self.decoder)):
            x = x + drop(block.attend(block.norm1(x), turn, mask, True, cache, layer), dropout)
            k, v = recall.keys[layer], recall.values[layer]
            x = x + drop(block.cross(block.norm_cross(x), k, v, recall.mask), dropout)
            x = x + drop(block.feed(block.norm2(x)), dropout)
        if cache is not None:
            cache.seen[:, used : used + T] = True
            cache.used += T
        return drop(self.norm(x), dropout)

    def logits(self, hidden: Tensor) -> Tensor:
        """(..., W) -> (..., V)."""
        if self.arch.shrink:
            hidden = hidden * self.arch.width**-0.5
        return F.linear(hidden, self.embed.weight) if self.head is None else self.head(hidden)

    def forward(self, source: Tensor, ids: Tensor, *, seen: Tensor | None = None, dropout: float = 0.0) -> Tensor:
        """Hidden states (B, T, W) of target tokens ids (B, T), given their sources."""
        return self.decode(ids, self.recall(self.encode(source, seen=seen, dropout=dropout)), dropout=dropout)

    # ------------------------------------------------------------------------------------------- positions

    def turn(self, first: int, T: int, x: Tensor) -> tuple[Tensor, Tensor] | None:
        """The angles of T steps from `first` on; None without rotary positions."""
        if self.arch.rope is None:
            return None
        positions = torch.arange(first, first + T, device=x.device)[None]
        return angles(self.arch.rope, self.arch.head, positions, x.dtype)

    def bias(self, table: nn.Embedding, first: int, T: int, S: int, both: bool, mask: Tensor | None) -> Tensor:
        """What is added to the scores of T steps from `first` on towards S steps: (B or 1, H, T, S)."""
        device = table.weight.device
        away = torch.arange(S, device=device) - torch.arange(first, first + T, device=device)[:, None]
        bias: Tensor = table(bucket(away, self.arch.buckets, self.arch.reach, both)).permute(2, 0, 1)[None]
        return bias if mask is None else bias.masked_fill(~mask, -torch.inf)


def bucket(away: Tensor, buckets: int, reach: int, both: bool) -> Tensor:
    """The bucket of each distance `away` (key minus query). `both`: keys may come later, and have half of the buckets;
    without, all that comes later is as near as the query itself."""
    if both:
        buckets //= 2
        side, size = (away > 0).long() * buckets, away.abs()
    else:
        side, size = torch.zeros_like(away), (-away).clamp_min(0)
    near = buckets // 2  # distances that have a bucket of their own
    share = torch.log(size.float().clamp_min(1) / near) / math.log(reach / near)
    far = (near + (share * (buckets - near)).long()).clamp_max(buckets - 1)
    return side + torch.where(size < near, size, far)
