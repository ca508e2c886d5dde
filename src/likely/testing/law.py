"""What all checks share: a law that holds or is told, items of tiny spaces, and counts beside probabilities.

Sums over all items want a tiny space. With E items and n draws of a distribution p, the counts' chi-square

    X2 = sum_e (count_e - n p_e)^2 / (n p_e),    mean E - 1, variance about 2 (E - 1),

is held below mean + 5 standard deviations after items of fewer than 5 expected draws were pooled (Cochran 1954,
doi:10.2307/3001666). A family may know its conditionals only approximately where they go against its own order: there
`slack` (a chi-square distance of distributions, X2 / n) is allowed on top.

Letters: B items, D variables, L steps, E items of the whole space, n draws.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import torch
from torch import Tensor

from likely.core import Batch, Cells, Reals, Space, Tokens

ENUMERABLE = 5000  # items of a space that can be summed over
DRAWS = 4000  # for chi-square


def enumerate_cells(space: Cells) -> Tensor:
    """All items of a tiny space: (E, D) int64."""
    return torch.cartesian_prod(*(torch.arange(size) for size in space.sizes)).reshape(-1, len(space.sizes))


def enumerate_tokens(space: Tokens) -> Tensor:
    """All items of a tiny space: (E, L) int64, the shorter ones ended by `eos` and padded."""
    inner = [t for t in range(space.vocab) if t not in (space.pad, space.bos, space.eos)]
    rows = []
    for n in range(space.length + 1):
        tail = [space.eos, *[space.pad] * space.length] if n < space.length else []
        rows += [(list(word) + tail)[: space.length] for word in product(inner, repeat=n)]
    return torch.tensor(rows)


def enumerate_items(space: Space) -> Tensor | None:
    """All items of a space; None where they are too many, or no finite number."""
    if isinstance(space, Cells) and int(np.prod(space.sizes)) <= ENUMERABLE:
        return enumerate_cells(space)
    if isinstance(space, Tokens) and (space.vocab - 2) ** (space.length + 1) <= ENUMERABLE:
        return enumerate_tokens(space)
    return None


def under(batch: Batch, n: int) -> Batch | None:
    """The condition of the first item, n times; None where there is no condition."""
    given = batch.given
    if given is None:
        return None
    mask = given.mask[:1].expand(n, *given.mask.shape[1:]) if given.mask is not None else None
    return Batch(given.x[:1].expand(n, *given.x.shape[1:]), None, mask)


def prefixes(x: Tensor, space: Tokens) -> Tensor:
    """(B, L) masks of beginnings of items x (B, L), of 0, 1, 2, .. steps in turn, none of which is an end."""
    length = ((x == space.eos).cumsum(1) == 0).sum(1)
    count = torch.arange(len(x)) % (space.length + 1)
    return torch.arange(space.length) < torch.minimum(count, length)[:, None]


def check_counts(draws: Tensor, items: Tensor, p: Tensor, slack: float, what: str) -> None:
    """Chi-square of draws (n, D) against probabilities p (E,) of items (E, D)."""
    place = {tuple(item): e for e, item in enumerate(items.tolist())}
    count = torch.bincount(torch.tensor([place[tuple(x)] for x in draws.tolist()]), minlength=len(items)).double()
    hold(bool((p[count > 0] > 0).all()), f"{what}: nothing impossible is drawn")
    rare = len(draws) * p < 5
    expected = torch.cat([len(draws) * p[~rare], (len(draws) * p[rare]).sum()[None]])
    count = torch.cat([count[~rare], count[rare].sum()[None]])
    if expected[-1] < 5:  # too few to say anything of
        expected, count = expected[:-1], count[:-1]
    chi2, df = float(((count - expected) ** 2 / expected).sum()), max(len(count) - 1, 1)
    bound = df + 5 * (2 * df) ** 0.5 + slack * len(draws)
    hold(chi2 <= bound, f"{what}: frequencies agree with log_prob (chi-square {chi2:.0f}, at most {bound:.0f})")


def check_tensor(x: Tensor, space: Space, what: str) -> None:
    """Items x (B, *) have the type, shape and values of their space."""
    match space:
        case Cells(sizes=sizes):
            hold(x.dtype == torch.int64 and x.ndim == 2 and x.shape[1] == len(sizes), f"{what} gives int64 (B, D)")
            inside = (x >= 0) & (x < torch.tensor(sizes))
            hold(bool(inside.all()), f"{what} gives codes within sizes")
        case Tokens(vocab=vocab, length=length):
            hold(x.dtype == torch.int64 and x.shape[1:] == (length,), f"{what} gives int64 (B, {length})")
            hold(bool(((x >= 0) & (x < vocab)).all()), f"{what} gives tokens within the vocabulary")
            behind = (x == space.eos).cumsum(1) - (x == space.eos).long() > 0
            hold(bool((x == space.pad)[behind].all()), f"{what} gives padding behind the end, and nothing else")
            barred = torch.tensor(sorted({space.pad, space.bos} - {space.eos}))
            hold(not bool(torch.isin(x[~behind], barred).any()), f"{what} gives neither padding nor bos before the end")
        case Reals(shape=shape):
            hold(x.dtype == torch.float32 and x.shape[1:] == shape, f"{what} gives float32 (B, *{shape})")
            hold(bool(torch.isfinite(x).all()), f"{what} gives finite numbers")


def same(a: Any, b: Any) -> bool:
    """Whether two collections of items are equal; data frames say so themselves, NaN equals NaN in arrays."""
    if hasattr(a, "equals"):
        return bool(a.equals(b))
    if isinstance(a, np.ndarray):
        return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
    if isinstance(a, Sequence) and not isinstance(a, str | bytes):
        return len(a) == len(b) and all(same(p, q) for p, q in zip(a, b, strict=True))
    return bool(a == b)


def rng(seed: int) -> torch.Generator:
    """A stream of random numbers."""
    return torch.Generator().manual_seed(seed)


def hold(law: bool, sentence: str) -> None:
    """Raises AssertionError with the sentence unless the law holds; works under python -O, too."""
    if not law:
        raise AssertionError(f"Broken: {sentence}.")
