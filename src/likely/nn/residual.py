"""Residual blocks of multilayer perceptrons: x + f(LayerNorm(x)).

With the normalisation inside the branch (Xiong et al. 2020, arXiv:2002.04745) the identity path stays clean, and with
the branch's last layer at zero the whole stack starts as the identity, so that depth does not slow the first steps.

Letters: B rows, W width, H hidden width.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


class Residual(nn.Module):
    """x + dropout(W2 silu(W1 LayerNorm(x))): (B, W) -> (B, W).

    Dropout is an argument, not a mode: a likelihood or a policy's score must not change because somebody forgot
    to call `eval`.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.down.bias)

    def forward(self, x: Tensor, dropout: float = 0.0) -> Tensor:
        """`dropout` is the share of the branch's outputs set to zero, in [0, 1)."""
        branch: Tensor = self.down(F.silu(self.up(self.norm(x))))
        return x + (F.dropout(branch, dropout) if dropout > 0 else branch)
