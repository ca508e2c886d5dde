"""Small policies whose best law is known: all items can be counted."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from likely.core import Batch, Budget, Cells, Family, Path, Tokens
from likely.families.exact import Exact
from likely.families.lstm import Lstm
from likely.families.transformer import Transformer
from likely.testing import enumerate_tokens

BETA = 0.5
WORTH = torch.tensor([[0.0, 0.0, 0.3, 1.0, -0.5], [0.0, 0.0, -0.4, 0.2, 0.8], [0.0, 0.0, 0.5, -0.2, 0.1]])


def worth(x: Tensor) -> Tensor:
    """What items (B, S) are worth: a number for each code at each of three places."""
    return torch.stack([WORTH[s][x[:, s]] for s in range(x.shape[1])]).sum(0)


def judge(path: Path) -> Tensor:
    return worth(path.x)


def bandit(name: str = "exact") -> tuple[Family[Any], Tensor]:
    """One choice of two: a table of one variable whose codes are 70 % and 30 %, or a text that ends or has a letter."""
    if name != "exact":
        torch.manual_seed(1)
        return _texts(name, Tokens(4, 1))
    model = Exact(Cells((2,)))
    model.fit(Batch(torch.tensor([[0]] * 70 + [[1]] * 30)), Budget(), rng=torch.Generator().manual_seed(0))
    return model, torch.tensor([[0], [1]])


def chain(name: str) -> tuple[Family[Any], Tensor]:
    """Three choices, and every item there is."""
    torch.manual_seed(1)
    if name == "exact":
        sizes, rng = (3, 2, 4), torch.Generator().manual_seed(0)
        model: Family[Any] = Exact(Cells(sizes))
        rows = torch.stack([torch.randint(0, size, (300,), generator=rng) for size in sizes], 1)
        model.fit(Batch(rows), Budget(), rng=rng)
        return model.eval(), torch.cartesian_prod(*[torch.arange(size) for size in sizes])
    return _texts(name, Tokens(5, 3))


def _texts(name: str, space: Tokens) -> tuple[Family[Any], Tensor]:
    """An untrained model of texts."""
    model: Family[Any]
    if name == "lstm":
        model = Lstm(space, None, Lstm.Config(width=16, depth=1))
    else:
        model = Transformer(space, None, Transformer.Config(width=16, depth=1, heads=2))
    return model.eval(), enumerate_tokens(space)


def best(model: Family[Any], items: Tensor, value: Tensor, beta: float = BETA) -> Tensor:
    """p_0 exp(R / beta) / Z of all items."""
    start: Tensor = model.log_prob(Batch(items)).detach()  # type: ignore[operator]
    return torch.softmax(start + value / beta, 0)
