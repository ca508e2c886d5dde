"""Rotary positions: queries and keys turned by angles that grow with the position, so that their product depends on the
distance alone (Su et al. 2021, arXiv:2104.09864).

Pair i of a head of D numbers is turned by position * theta^(-2i / D). Which numbers are a pair is a matter of layout:

    halves        (x_i, x_{i + D/2})     GPT-NeoX, Hugging Face
    interleaved   (x_{2i}, x_{2i+1})     the paper, Meta's own LLaMA files, GGUF's "llama"

A model trained on short texts reads longer ones when its frequencies are scaled:

    linear        every frequency by 1 / factor                       (Chen et al. 2023, arXiv:2306.15595)
    dynamic       theta grows with the length, once it is over the trained one (NTK-aware; bloc97 2023)
    llama3        slow pairs by 1 / factor, fast ones not, a blend between them       (Llama 3.1, arXiv:2407.21783)
    yarn          the same idea by turns over the trained length, and attention a little sharper
                                                                      (Peng et al. 2023, arXiv:2309.00071)

Letters: B items, H heads, T steps, D numbers a head.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SCALINGS = ("none", "linear", "dynamic", "llama3", "yarn")


@dataclass(frozen=True)
class Rope:
    """What turns: base `theta`; a scaling of `SCALINGS` with `factor`, and `trained`, the length it was trained on.

    `low`, `high`: of llama3, wavelengths a trained length holds; of yarn, beta_slow and beta_fast, turns in it.
    `sharpen`: yarn's factor on both queries and keys, 0 = by the formula of the paper.
    """

    theta: float = 10_000.0
    interleaved: bool = False
    scaling: str = "none"
    factor: float = 1.0
    trained: int = 0
    low: float = 1.0
    high: float = 4.0
    sharpen: float = 0.0

    def frequencies(self, D: int, length: int = 0) -> Tensor:
        """(D / 2) radians a position, for texts of `length` (only `dynamic` asks)."""
        theta = self.theta
        if self.scaling == "dynamic" and length > self.trained:
            grown = self.factor * length / self.trained - (self.factor - 1)
            theta = theta * grown ** (D / (D - 2))
        found = 1.0 / theta ** (torch.arange(0, D, 2, dtype=torch.int64).float() / D)
        if self.scaling == "linear":
            return found / self.factor
        if self.scaling == "llama3":
            return self._llama3(found)
        if self.scaling == "yarn":
            return self._yarn(found, D)
        return found

    @property
    def gain(self) -> float:
        """What queries and keys are multiplied by."""
        if self.scaling != "yarn":
            return 1.0
        return self.sharpen or (0.1 * math.log(self.factor) + 1.0 if self.factor > 1 else 1.0)

    def _llama3(self, found: Tensor) -> Tensor:
        wave = 2 * math.pi / found
        blend = (self.trained / wave - self.low) / (self.high - self.low)
        blended = (1 - blend) * found / self.factor + blend * found
        out = torch.where(wave > self.trained / self.low, found / self.factor, found)
        middle = (wave >= self.trained / self.high) & (wave <= self.trained / self.low)
        return torch.where(middle, blended, out)

    def _yarn(self, found: Tensor, D: int) -> Tensor:
        def pair(turns: float) -> float:  # the pair that makes so many turns in the trained length
            return D * math.log(self.trained / (turns * 2 * math.pi)) / (2 * math.log(self.theta))

        first, last = max(math.floor(pair(self.high)), 0), min(math.ceil(pair(self.low)), D - 1)
        ramp = ((torch.arange(D // 2).float() - first) / max(last - first, 0.001)).clamp(0, 1)
        return found / self.factor * ramp + found * (1 - ramp)


def angles(rope: Rope, D: int, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """cos and sin (B or 1, 1, T, D / 2) of positions (B or 1, T), in float32 whatever the model's type, then
    rounded."""
    length = int(positions.max()) + 1 if rope.scaling == "dynamic" and positions.numel() else 0
    turns = positions[:, None, :, None].float() * rope.frequencies(D, length).to(positions.device)
    return (turns.cos() * rope.gain).to(dtype), (turns.sin() * rope.gain).to(dtype)


def rotate(x: Tensor, cos: Tensor, sin: Tensor, interleaved: bool) -> Tensor:
    """x (B, H, T, D), each pair turned."""
    if interleaved:
        a, b = x[..., ::2], x[..., 1::2]
        return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)
