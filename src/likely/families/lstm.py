"""The `lstm` family: tokens from left to right by a recurrent network with gates.

    log p(x | c) = sum_s log softmax(head(h_s))[x_s],    h_s, m_s = lstm(embed(x_{s-1}) + f(c), h_{s-1}, m_{s-1})

(Hochreiter and Schmidhuber 1997, doi:10.1162/neco.1997.9.8.1735; as a law of texts: Graves 2013, arXiv:1308.0850.) All
it knows of what was written is the state (h, m): memory does not grow with the text, and a step costs the same at any
place. A condition of any space, as one vector f(c), is added to each input. Head and embedding are one matrix (Press
and Wolf 2017, arXiv:1608.05859); dropout
is between layers and before the head (Zaremba et al. 2014, arXiv:1409.2329).

Letters: B items, T steps, W width, K layers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likely.core import Batch, Space, Tokens, Training
from likely.errors import OptionError
from likely.families.autoregressive import Autoregressive
from likely.families.scale import scale
from likely.nn.condition import Condition, required
from likely.nn.decoder import drop

WIDTHS = (64, 128, 256, 384, 512, 768)


@dataclass(frozen=True)
class LstmConfig:
    """`width` of the state, 0 = chosen by the data; `depth` layers; `dropout` in [0, 1); `batch` items a step, `steps`
    and `rate` of training, 0 = chosen."""

    width: int = 0
    depth: int = 1
    dropout: float = 0.0
    batch: int = 0
    steps: int = 0
    rate: float = 0.0

    def __post_init__(self) -> None:
        for name, least in (("width", 0), ("depth", 1), ("batch", 0), ("steps", 0), ("rate", 0.0)):
            if not least <= getattr(self, name) < math.inf:
                raise OptionError(f"{name}={getattr(self, name)} was given; it must be at least {least}.")
        if not 0 <= self.dropout < 1:
            raise OptionError(f"dropout={self.dropout} was given; it must be in [0, 1).")


class Lstm(Autoregressive):
    """Recurrent network with gates."""

    Config: ClassVar[type] = LstmConfig

    def __init__(self, space: Tokens, given: Space | None = None, config: LstmConfig | None = None) -> None:
        super().__init__(space, given, config)
        config = cast(LstmConfig, self.config)
        W = config.width or 128
        self.embed = nn.Embedding(space.vocab, W)
        self.layers = nn.ModuleList([nn.LSTM(W, W, batch_first=True) for _ in range(config.depth)])
        self.bias = nn.Parameter(torch.zeros(space.vocab))
        self.condition = Condition(given, W) if given is not None else None
        nn.init.normal_(self.embed.weight, std=W**-0.5)
        for layer in self.layers:
            with torch.no_grad():  # what was seen is kept at first (Jozefowicz et al. 2015)
                cast(Tensor, layer.bias_ih_l0)[W : 2 * W] = 1.0

    @classmethod
    def sized(cls, config: Any, space: Tokens, tokens: int, items: int, minutes: float | None) -> Any:
        """The largest width of `WIDTHS` that data and time allow, where it is left open."""
        allowed = scale(tokens, items, minutes)
        fits = [w for w in WIDTHS if 8 * w * w * config.depth <= allowed.parameters] or WIDTHS[:1]
        width = config.width or fits[-1]
        steps = config.steps or allowed.steps(8 * width * width * config.depth + space.vocab * width)
        return replace(config, width=width, batch=config.batch or allowed.batch, steps=steps)

    def plan(self) -> Training:
        """Small steps of the weights: the same ones act at every step of the text."""
        config = cast(LstmConfig, self.config)
        return Training(
            batch=config.batch or 32, steps=config.steps or 2000, rate=config.rate or 3e-3, warmup=0.03, decay=0.02,
            clip=float(self.space.length), ema=0.99,
        )  # fmt: skip

    # --------------------------------------------------------------------------------------- the network

    def told(self, given: Batch | None) -> Tensor | None:
        """What is given, as one vector (B, 1, W)."""
        given = required(given, self.given)
        if given is None or self.condition is None:
            return None
        c: Tensor = self.condition(given)
        return c[:, None]

    def run(
        self, seen: Tensor, told: Tensor | None, state: list[tuple[Tensor, Tensor]] | None, dropout: float
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Hidden states (B, T, W) behind tokens seen (B, T), and the state (1, B, W) twice of each layer."""
        h = self.embed(seen) * self.embed.embedding_dim**0.5
        h = h + told if told is not None else h
        after = []
        for k, layer in enumerate(self.layers):
            h, (hidden, memory) = layer(drop(h, dropout), state[k] if state is not None else None)
            after.append((hidden, memory))
        return drop(h, dropout), after

    def states(self, seen: Tensor, given: Batch | None, dropout: float) -> Tensor:
        return self.run(seen, self.told(given), None, dropout)[0]

    def head(self, hidden: Tensor) -> Tensor:
        return F.linear(hidden, self.embed.weight, self.bias)

    def walk(self, n: int, given: Batch | None) -> Carried:
        return Carried(self, self.told(given))


class Carried:
    """Rows on their way: the state behind what was written so far."""

    def __init__(self, model: Lstm, told: Tensor | None) -> None:
        self.model, self.told = model, told
        self.state: list[tuple[Tensor, Tensor]] | None = None

    def step(self, tokens: Tensor) -> Tensor:
        """Take in tokens (B, T); the hidden state (B, W) behind the last."""
        hidden, self.state = self.model.run(tokens, self.told, self.state, 0.0)
        return hidden[:, -1]

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows only."""
        self.told = self.told[rows] if self.told is not None else None
        if self.state is not None:
            self.state = [(h[:, rows].contiguous(), m[:, rows].contiguous()) for h, m in self.state]
