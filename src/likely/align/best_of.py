"""Best of n: for families that do not say how likely their steps are, and for anybody in a hurry.

    draw n items for each one wanted, keep the best, and learn from what was kept

What is kept is tilted towards the reward, at a price that is known beforehand: KL = log n - (n - 1) / n nats an item at
most (Beirami et al. 2024, arXiv:2401.01879). A family learned from it makes such items without drawing n times.

Letters: B items kept, n drawn for each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from likely.align.trial import Source, Wish, anything, graded, repeated, telling
from likely.core import Batch, Family, Listener, Path, Progress
from likely.errors import OptionError
from likely.nn.portion import take

PART = 1024  # items drawn at once


def price(n: int) -> float:
    """KL (nats an item) of the best of n to what it was drawn from, at most."""
    return math.log(n) - (n - 1) / n


def keep(
    family: Family[Any], judge: Callable[[Path], Sequence[float] | Tensor], items: int, n: int, *,
    rng: torch.Generator, source: Source = anything, listen: Listener | None = None,
) -> tuple[Batch, Tensor, Tensor]:  # fmt: skip
    """The best of n for each of so many items; their rewards (B,), and those of all that were drawn (B * n,).

    Raises OptionError, RewardError."""
    if n < 2 or items < 1:
        raise OptionError(f"n={n} items are drawn for each of {items}: 2 or more for 1 or more.")
    kept, rewards, seen = [], [], []
    for first in range(0, items, max(1, PART // n)):
        size = min(items - first, max(1, PART // n))
        wish: Wish = repeated(source(size, rng), n)
        with torch.no_grad():
            x = family.sample(size * n, given=wish.given, known=wish.known, rng=rng)
        path = Path(x, x[:, :0], x.new_zeros(len(x), 0, dtype=torch.bool), wish.given)
        reward = graded(judge, path)
        best = reward.view(size, n).argmax(1) + torch.arange(size) * n
        kept.append(Batch(x[best], take(wish.given, best) if wish.given is not None else None))
        rewards.append(reward[best])
        seen.append(reward)
        if listen is not None:
            listen(Progress("choosing", (first + size) / items))
    given = Batch(torch.cat([part.given.x for part in kept if part.given is not None])) if kept[0].given else None
    return Batch(torch.cat([part.x for part in kept]), given), torch.cat(rewards), telling(torch.cat(seen))
