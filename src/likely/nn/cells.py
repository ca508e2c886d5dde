"""Wishes over cells: reading a `Known`, and drawing a code from the part of a distribution that a wish admits.

Let p be a model's distribution of one variable, g the weights of a grammar and w those of a wish (a range, a set),
all over its C codes. What is drawn is

    q(c) = p(c) g(c) w(c) / sum_c' p(c') g(c') w(c'),      mass = sum_c p(c) g(c) w(c) / sum_c p(c) g(c),

where `mass` is the probability that the wish comes true under the (grammatical) model: the weight that importance
sampling needs. All arithmetic is in float64: the sums are small and a code of weight 0 must never be drawn.

Letters: B rows, D variables, C codes of one variable.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from likely.core import Cells, Known
from likely.errors import ConditionError, OptionError


class Wish(NamedTuple):
    """A `Known` over cells that was read and found in order: `x` (B, D) int64, `mask` (B, D) bool, and
    `soft[j]` (B, sizes[j]) float64. Undecided codes are 0."""

    x: Tensor
    mask: Tensor
    soft: dict[int, Tensor]

    def rows(self, rows: slice) -> Wish:
        """The same for some rows."""
        return Wish(self.x[rows], self.mask[rows], {j: weights[rows] for j, weights in self.soft.items()})

    def repeat(self, m: int) -> Wish:
        """Every row m times in a row: (B * m, D)."""
        soft = {j: weights.repeat_interleave(m, 0) for j, weights in self.soft.items()}
        return Wish(self.x.repeat_interleave(m, 0), self.mask.repeat_interleave(m, 0), soft)


def read(known: Known | None, space: Cells, n: int | None = None) -> Wish:
    """The wish of n rows. A `known` of one row stands for all n; None leaves everything open.

    Raises ConditionError where codes or weights do not fit the space, or where a soft variable admits no code.
    """
    d = len(space.sizes)
    if known is None:
        if n is None:
            raise ConditionError("Give a known or a number of rows.")
        return Wish(torch.zeros(n, d, dtype=torch.int64), torch.zeros(n, d, dtype=torch.bool), {})
    if known.x.ndim != 2 or known.x.shape[1] != d or known.mask.shape != known.x.shape:
        raise ConditionError(
            f"A known has x {tuple(known.x.shape)} and mask {tuple(known.mask.shape)}; both must be (rows, {d})."
        )
    b = known.x.shape[0]
    n = b if n is None else n
    if b not in (1, n):
        raise ConditionError(f"A known of {b} rows was given for {n} rows: give one row for all, or {n}.")
    mask = known.mask.to(torch.bool)
    x = torch.where(mask, known.x, 0).to(torch.int64)
    sizes = torch.tensor(space.sizes, device=x.device)
    wrong = ((x < 0) | (x >= sizes)).any(0).nonzero().flatten().tolist()
    if wrong:
        j = wrong[0]
        raise ConditionError(f"Variable {j} was given a code outside of 0..{space.sizes[j] - 1}.")
    soft: dict[int, Tensor] = {}
    for j, weights in sorted((known.soft or {}).items()):
        if not 0 <= j < d:
            raise ConditionError(f"Weights were given for variable {j}; there are 0..{d - 1}.")
        if weights.ndim != 2 or weights.shape[1] != space.sizes[j] or weights.shape[0] not in (1, n):
            raise ConditionError(
                f"The weights of variable {j} are {tuple(weights.shape)}; they must be ({n}, {space.sizes[j]})."
            )
        weights = weights.to(torch.float64).expand(n, -1)
        if not bool((torch.isfinite(weights) & (weights >= 0)).all()):
            raise ConditionError(f"The weights of variable {j} must be numbers of at least 0.")
        if bool(((weights.sum(1) <= 0) & ~mask[:, j].expand(n)).any()):
            raise ConditionError(f"The condition on variable {j} admits none of its {space.sizes[j]} codes.")
        soft[j] = weights
    return Wish(x.expand(n, d).clone(), mask.expand(n, d).clone(), soft)


def admit(
    logits: Tensor, *, temperature: float = 1.0, grammar: Tensor | None = None, wish: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The distribution that is left of softmax(logits / temperature): log q (B, C) and log mass (B,), float64.

    `grammar` and `wish` are weights (B, C) or (1, C). Where nothing is left, log q is all -inf; the log mass is
    -inf where the wish is to blame or the grammar allows nothing.
    """
    law = torch.log_softmax(logits.to(torch.float64) / temperature, 1)
    if grammar is not None:
        law = _normalise(law + torch.log(grammar.to(torch.float64)))[0]
    if wish is None:
        dead = torch.isneginf(law).all(1)
        return law, torch.where(dead, -torch.inf, 0.0).to(law)
    return _normalise(law + torch.log(wish.to(torch.float64)))


def pick(law: Tensor, rng: torch.Generator) -> Tensor:
    """One code a row from log-probabilities (B, C), by inverting the distribution function: (B,) int64.

    Never a code of probability 0 in a row that has any other. A row of nothing gives an arbitrary code.
    """
    return _invert(torch.exp(law), rng)


def choose(logits: Tensor, rng: torch.Generator, temperature: float = 1.0) -> Tensor:
    """One code a row of softmax(logits / temperature), logits (B, C): (B,) int64. What `pick` gives for the law that
    `admit` leaves where nothing is asked for."""
    law = logits.to(torch.float64)
    return _invert(torch.softmax(law if temperature == 1 else law / temperature, 1), rng)


def _invert(law: Tensor, rng: torch.Generator) -> Tensor:
    total = law.cumsum(1)
    # 1 - 1e-12: rounding must not lift the threshold to the total, beyond which the last code would be taken.
    u = torch.rand(len(law), 1, generator=rng, dtype=torch.float64, device=law.device) * (1 - 1e-12)
    return torch.searchsorted(total, u * total[:, -1:], right=True).squeeze(1).clamp_(max=law.shape[1] - 1)


def effective(weights: Tensor) -> Tensor:
    """The effective sample size of log-weights (B, M): (sum w)^2 / sum w^2, in [1, M]; (B,). Kong 1992."""
    return torch.exp(2 * torch.logsumexp(weights, 1) - torch.logsumexp(2 * weights, 1))


def check_temperature(temperature: float) -> None:
    """Raises OptionError unless the temperature is a positive number."""
    if not 0 < temperature < float("inf"):
        raise OptionError(f"temperature={temperature} was given; it must be above 0 (1 is the model as it learned).")


def require_left(mass: Tensor, j: int) -> None:
    """Raises ConditionError where a row's mass is nothing: no code of variable j agrees with the wish."""
    dead = int(torch.isneginf(mass).sum())
    if dead:
        raise ConditionError(
            f"Nothing is left for variable {j} in {dead} rows: the given values, ranges and constraints exclude "
            "each other there. Loosen one of them."
        )


def in_order(space: Cells) -> list[int]:
    """The variables as they stand, the targets last: what people predict is drawn from everything else."""
    last = [j for j in space.targets if 0 <= j < len(space.sizes)]
    return [j for j in range(len(space.sizes)) if j not in last] + last


def _normalise(law: Tensor) -> tuple[Tensor, Tensor]:
    """log q and the log of the sum; rows of nothing stay -inf instead of becoming NaN."""
    mass = torch.logsumexp(law, 1)
    return law - torch.where(torch.isneginf(mass), 0.0, mass)[:, None], mass
