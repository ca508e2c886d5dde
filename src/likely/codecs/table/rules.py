"""The grammar of a table: which codes a cell may take, given the cells decided before.

Four sorts of rules speak over codes: linear ones (`linear`), fixed combinations, one-hot groups, and cells of one
column that are missing together. Each says for a cell which codes are allowed; the grammar is their product.

Shape letters: B rows, D cells, K codes of a cell, G combinations, C cells of a rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor


class Rule(Protocol):
    """One sort of rule over codes."""

    def involves(self, j: int) -> Sequence[int]: ...
    def allow(self, j: int, x: Tensor, done: Tensor) -> Tensor | None: ...


class Combinations:
    """Only listed tuples of codes `table` (G, C) for `cells` (C,)."""

    def __init__(self, cells: Sequence[int], sizes: Sequence[int], table: Tensor) -> None:
        self.cells, self.sizes, self.table = list(cells), list(sizes), table

    def involves(self, j: int) -> list[int]:
        return [cell for cell in self.cells if cell != j] if j in self.cells else []

    def allow(self, j: int, x: Tensor, done: Tensor) -> Tensor | None:
        if j not in self.cells:
            return None
        table = self.table.to(x.device)
        own = self.cells.index(j)
        fits = torch.ones((len(x), len(table)), dtype=torch.bool, device=x.device)
        for place, cell in enumerate(self.cells):
            if place != own:
                fits &= (x[:, cell, None] == table[None, :, place]) | ~done[:, cell, None]
        hot = torch.nn.functional.one_hot(table[:, own], self.sizes[own]).float()
        return (fits.float() @ hot).clamp(max=1.0)

    def holds(self, x: Tensor) -> Tensor:
        """(B,) whether the codes are a listed combination."""
        own = x[:, self.cells]
        return torch.stack([(own == row).all(1) for row in self.table]).any(0)


class Hot:
    """Exactly one of `cells` takes its code of `ones`, all others their code of `zeros`; `sizes` of the cells."""

    def __init__(self, cells: Sequence[int], sizes: Sequence[int], zeros: Sequence[int], ones: Sequence[int]) -> None:
        self.cells, self.sizes, self.zeros, self.ones = list(cells), list(sizes), list(zeros), list(ones)

    def involves(self, j: int) -> list[int]:
        return [cell for cell in self.cells if cell != j] if j in self.cells else []

    def allow(self, j: int, x: Tensor, done: Tensor) -> Tensor | None:
        if j not in self.cells:
            return None
        own = self.cells.index(j)
        taken = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        rest = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        for place, cell in enumerate(self.cells):
            if place != own:
                taken |= done[:, cell] & (x[:, cell] == self.ones[place])
                rest |= ~done[:, cell]
        weights = torch.zeros((len(x), self.sizes[own]), device=x.device)
        weights[:, self.ones[own]] = (~taken).float()
        weights[:, self.zeros[own]] = (taken | rest).float()
        return weights


class Together:
    """The cells of one column are all missing (code 0) or all present."""

    def __init__(self, cells: Sequence[int], sizes: Sequence[int]) -> None:
        self.cells, self.sizes = list(cells), list(sizes)

    def involves(self, j: int) -> list[int]:
        return [cell for cell in self.cells if cell != j] if j in self.cells else []

    def allow(self, j: int, x: Tensor, done: Tensor) -> Tensor | None:
        if j not in self.cells:
            return None
        weights = torch.ones((len(x), self.sizes[self.cells.index(j)]), device=x.device)
        for cell in self.involves(j):
            missing = done[:, cell] & (x[:, cell] == 0)
            present = done[:, cell] & (x[:, cell] != 0)
            weights[missing, 1:] = 0.0
            weights[present, 0] = 0.0
        return weights


class Rules:
    """The grammar: the product of all rules."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = list(rules)

    def involves(self, j: int) -> list[int]:
        """The cells whose codes `allow(j, ..)` reads."""
        return sorted({cell for rule in self.rules for cell in rule.involves(j)})

    def allow(self, j: int, x: Tensor, done: Tensor) -> Tensor | None:
        """Weights (B, K) of the codes of cell j, or None where anything goes."""
        weights: Tensor | None = None
        for rule in self.rules:
            part = rule.allow(j, x, done)
            if part is not None:
                weights = part if weights is None else weights * part
        return weights
