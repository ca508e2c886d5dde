"""The `transformer` family: tokens from left to right by a decoder, as GPT-2 and LLaMA are.

    log p(x | c) = sum_s log softmax(head(h_s))[x_s],    h = decoder(prefix(c), bos, x_1 .. x_{L-1})

The network is nn/decoder.py; `style` says which: "llama" (rotary positions, RMS norm, SwiGLU, no biases) or "gpt2"
(learned positions, layer norm, GELU, biases). A condition of any space becomes one or a few vectors that stand before
the first token (prefix: Li and Liang 2021, arXiv:2101.00190; the encoder is nn/condition.py). While drawing, keys and
values of earlier steps are kept, and rows that have ended are left behind.

Letters: B items, T steps, P vectors of the prefix, W width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likely.core import Batch, Space, Tokens, Training
from likely.errors import Mismatch, OptionError
from likely.families.autoregressive import Autoregressive
from likely.families.scale import scale
from likely.nn.condition import Condition, required
from likely.nn.decoder import Architecture, Cache, Decoder
from likely.nn.rope import Rope
from likely.nn.stride import LONG, Stride, library, why_not

STYLES = ("llama", "gpt2")
SIZES = ((64, 2), (128, 3), (192, 4), (256, 6), (384, 6), (512, 8))  # width and depth
HEAD = 32  # numbers a head, where nobody says how many heads there are
BYTES = 256 * 2**20  # of keys and values while drawing


@dataclass(frozen=True)
class TransformerConfig:
    """`style`: "llama" or "gpt2". `width` of the stream, `depth` blocks, `heads` for queries and `groups` of heads for
    keys and values, `hidden` units of the feed-forward layers; 0 = chosen by the data. `dropout` in [0, 1). `prefix`:
    vectors that a condition is told by. `batch` items a step, `steps` and `rate` of training, 0 = chosen."""

    style: str = "llama"
    width: int = 0
    depth: int = 0
    heads: int = 0
    groups: int = 0
    hidden: int = 0
    dropout: float = 0.0
    prefix: int = 1
    batch: int = 0
    steps: int = 0
    rate: float = 0.0

    def __post_init__(self) -> None:
        for name in ("width", "depth", "heads", "groups", "hidden", "batch", "steps", "rate"):
            if not 0 <= getattr(self, name) < math.inf:
                raise OptionError(f"{name}={getattr(self, name)} was given; it must be at least 0 (0: chosen by data).")
        if self.style not in STYLES:
            raise OptionError(f"style={self.style!r} was given; it is one of {', '.join(STYLES)}.")
        if not 0 <= self.dropout < 1 or self.prefix < 1:
            raise OptionError(f"dropout={self.dropout} must be in [0, 1), prefix={self.prefix} at least 1.")
        heads, groups = self.heads, self.groups
        if (self.width and heads and self.width % heads) or (heads and groups and heads % groups):
            raise OptionError(
                f"width={self.width}, heads={heads}, groups={groups}: the heads must divide the width, and the groups "
                "the heads."
            )


class Transformer(Autoregressive):
    """Decoder of the GPT-2 and LLaMA kind."""

    Config: ClassVar[type] = TransformerConfig

    def __init__(
        self, space: Tokens, given: Space | None = None, config: TransformerConfig | None = None,
        *, decoder: Decoder | None = None,
    ) -> None:  # fmt: skip
        """`decoder`: a network that is there already (a checkpoint's), in the place of one that the config says."""
        super().__init__(space, given, config)
        config = cast(TransformerConfig, self.config)
        steps = space.length + (config.prefix if given is not None else 0)
        self.decoder = decoder if decoder is not None else Decoder(architecture(config, space.vocab, steps))
        arch = self.decoder.arch
        if arch.vocab < space.vocab or arch.context < steps:
            raise Mismatch(
                f"The network knows {arch.vocab} tokens and {arch.context} steps; {space.vocab} and {steps} are needed."
            )
        self.condition = Condition(given, config.prefix * arch.width) if given is not None else None
        if decoder is None:
            self.bias = nn.Parameter(torch.zeros(space.vocab))

    @classmethod
    def sized(cls, config: Any, space: Tokens, tokens: int, items: int, minutes: float | None) -> Any:
        """The largest shape of `SIZES` that data and time allow, where width and depth are left open."""
        allowed = scale(tokens, items, minutes)
        fits = [(w, d) for w, d in SIZES if 12 * w * w * d <= allowed.parameters] or SIZES[:1]
        width, depth = config.width or fits[-1][0], config.depth or fits[-1][1]
        steps = config.steps or allowed.steps(12 * width * width * depth + space.vocab * width)
        return replace(config, width=width, depth=depth, batch=config.batch or allowed.batch, steps=steps)

    def plan(self) -> Training:
        """The rate falls with the width, as the steps do that a wide network can bear."""
        config, width = cast(TransformerConfig, self.config), self.decoder.arch.width
        # The loss is nats an item, the norm that gradients are cut to is meant for nats a token.
        return Training(
            batch=config.batch or 32, steps=config.steps or 2000, rate=config.rate or min(3e-3, 0.3 / width),
            warmup=0.03, decay=0.1, betas=(0.9, 0.99), clip=float(self.space.length), ema=0.99,
        )  # fmt: skip

    # --------------------------------------------------------------------------------------- the network

    def prefix(self, given: Batch | None) -> Tensor | None:
        """What is given, as vectors (B, P, W)."""
        given = required(given, self.given)
        if given is None or self.condition is None:
            return None
        c: Tensor = self.condition(given)
        return c.view(len(c), self.config.prefix, -1)

    def states(self, seen: Tensor, given: Batch | None, dropout: float) -> Tensor:
        prefix = self.prefix(given)
        if prefix is None:
            hidden: Tensor = self.decoder(seen, dropout=dropout)
            return hidden
        inputs = torch.cat([prefix, self.decoder.embed(seen)], 1)
        hidden = self.decoder(None, inputs=inputs, dropout=dropout)
        return hidden[:, prefix.shape[1] :]

    def head(self, hidden: Tensor) -> Tensor:
        if self.bias is not None:
            return F.linear(hidden, self.decoder.embed.weight, self.bias)
        return self.decoder.logits(hidden)[..., : self.space.vocab]

    def walk(self, n: int, given: Batch | None) -> Written:
        return Written(self, n, self.prefix(given))

    def rows(self) -> int:
        """Items drawn at once: keys and values stay within 256 MB."""
        arch = self.decoder.arch
        each = 8 * arch.layers * arch.groups * arch.head * self.space.length
        return max(1, min(super().rows(), BYTES // each))


class Written:
    """Rows on their way: keys and values of what was written so far."""

    def __init__(self, model: Transformer, n: int, prefix: Tensor | None) -> None:
        self.decoder = model.decoder
        weight = self.decoder.embed.weight
        room = model.space.length + (prefix.shape[1] if prefix is not None else 0)
        self.cache = Cache(self.decoder.arch, n, room, weight.dtype, weight.device)
        self.prefix = prefix
        found = library()[0] if not torch.is_grad_enabled() and not why_not(self.decoder) else None
        self.stride = Stride(found, self.decoder, self.cache) if found is not None else None

    def step(self, tokens: Tensor) -> Tensor:
        """Take in tokens (B, T); the hidden state (B, W) behind the last."""
        if self.stride is not None and self.prefix is None and tokens.shape[1] <= LONG:
            return self.stride.step(tokens)
        if self.prefix is None:
            return cast(Tensor, self.decoder(tokens, cache=self.cache)[:, -1])
        inputs = torch.cat([self.prefix, self.decoder.embed(tokens)], 1)
        self.prefix = None
        return cast(Tensor, self.decoder(None, inputs=inputs, cache=self.cache)[:, -1])

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows only."""
        self.cache.keep(rows)


def architecture(config: TransformerConfig, vocab: int, context: int) -> Architecture:
    """The decoder that a config describes, its zeros filled in."""
    config = filled(config)
    llama = config.style == "llama"
    return Architecture(
        vocab=vocab, width=config.width, layers=config.depth, heads=config.heads, groups=config.groups,
        head=config.width // config.heads, hidden=config.hidden, context=context, rope=Rope() if llama else None,
        norm="rms" if llama else "layer", eps=1e-5, activation="silu" if llama else "gelu", gated=llama,
        bias_qkv=not llama, bias_out=not llama, bias_feed=not llama,
    )  # fmt: skip


def filled(config: TransformerConfig) -> TransformerConfig:
    """The config without zeros in its shape. Feed-forward layers of both styles have as many weights."""
    width = config.width or (HEAD * config.heads if config.heads else 128)
    heads = config.heads or max(1, width // max(HEAD, min(64, width // 4)))
    while width % heads:
        heads -= 1
    hidden = config.hidden or (8 * (-(-width // 3)) if config.style == "llama" else 4 * width)
    return replace(
        config, width=width, depth=config.depth or 4, heads=heads, groups=config.groups or heads, hidden=hidden
    )
