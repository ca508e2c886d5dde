"""Which items a step sees: a pure function of (seed, step), so that a resumed run needs no memory of the past.

All items are laid end to end, epoch after epoch, each epoch in its own order:

    item(i) = pi_e(i mod n),     e = i div n,     pi_e a permutation drawn from hash(seed, e)

and step s takes the draws s B .. (s + 1) B - 1. Nothing is carried from step to step, so killing and resuming, or
sharing the batch among several processes, cannot repeat, skip or reorder an item.

Where items differ in length, most of a batch of mixed ones is padding. Then the draws of P steps are a pool, which is
put in order of length and cut into P batches of like ones, taken in an order drawn from hash(seed, pool): still a
function of (seed, step), and every item is seen as often.

Letters: n items, B items a step, P steps of a pool.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from likely.core import Batch
from likely.errors import DataError, OptionError

SPLIT, EPOCH, STEP, EVALUATION, FINISH, POOL = range(6)  # purposes: streams that must not be the same stream
FEWEST = 20  # items left out at least, where a fifth of the data is not less
MOST = 4096  # items left out at most: more would only make evaluations slow


def whole_seed(seed: int) -> int:
    """The seed itself. Raises OptionError unless it is a whole number that a generator takes."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**63:
        raise OptionError(f"seed is {seed!r}; it is a whole number from 0 to 2**63 - 1.")
    return int(seed)


def mix(*numbers: int) -> int:
    """One 63-bit seed from several non-negative whole numbers (numpy's SeedSequence: O'Neill's hash, 2015)."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def split(n: int, share: float, seed: int) -> tuple[Tensor, Tensor]:
    """Indices to learn from and indices left out, disjoint and each in rising order.

    About `share` of n is left out, at least 20 (or a fifth of few items) and at most 4,096; none if share is 0.
    """
    aside = min(max(int(n * share), min(FEWEST, n // 5)), MOST) if share > 0 else 0
    order = torch.randperm(n, generator=torch.Generator().manual_seed(mix(SPLIT, seed)))
    return order[aside:].sort().values, order[:aside].sort().values


def draw(step: int, size: int, n: int, seed: int) -> Tensor:
    """The positions (size,) in [0, n) that step number `step` (from 0) learns from."""
    first, parts = step * size, []
    while size > 0:
        epoch, start = divmod(first, n)
        part = _permutation(n, mix(EPOCH, seed, epoch))[start : start + size]
        parts.append(part)
        first, size = first + len(part), size - len(part)
    return torch.cat(parts)


class Alike:
    """Draws of like length: `lengths` (n,), pools of `pool` steps of `size` items."""

    def __init__(self, lengths: Tensor, pool: int, size: int, seed: int) -> None:
        self.lengths, self.pool, self.size, self.seed = lengths, pool, size, seed
        self._at, self._batches = -1, torch.empty(0)

    def draw(self, step: int) -> Tensor:
        """The positions (size,) that step number `step` (from 0) learns from."""
        at, place = divmod(step, self.pool)
        if at != self._at:
            whole = draw(at, self.pool * self.size, len(self.lengths), self.seed)
            whole = whole[self.lengths[whole].argsort(stable=True)].view(self.pool, self.size)
            self._at, self._batches = at, whole[_permutation(self.pool, mix(POOL, self.seed, at))]
        return self._batches[place]


@lru_cache(maxsize=2)
def _permutation(n: int, seed: int) -> Tensor:
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))


def take(batch: Batch, rows: Tensor, device: torch.device) -> Batch:
    """The items `rows` of a batch, of its condition and of its mask, on `device`."""
    given = take(batch.given, rows, device) if batch.given is not None else None
    mask = batch.mask[rows.to(batch.mask.device)].to(device) if batch.mask is not None else None
    return Batch(batch.x[rows.to(batch.x.device)].to(device), given, mask)


def check(batch: Batch) -> None:
    """Raise DataError where there is nothing to learn from, or parts differ in length."""
    n, part, where = len(batch.x), batch, "x"
    if n == 0:
        raise DataError("There are no items to learn from: give at least one.")
    while True:
        for name, tensor in ((where, part.x), (f"mask of {where}", part.mask)):
            if tensor is not None and len(tensor) != n:
                raise DataError(
                    f"The batch has {n} items, but its {name} has {len(tensor)}: they must belong together."
                )
        if part.given is None:
            return
        part, where = part.given, f"given.{where}"


def fingerprint(batch: Batch) -> str:
    """SHA-256 of names, types, shapes and bytes of all tensors of a batch."""
    digest, part, where = hashlib.sha256(), batch, "x"
    while True:
        for name, tensor in ((where, part.x), (f"mask of {where}", part.mask)):
            if tensor is not None:
                digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
                flat = tensor.detach().cpu().contiguous().flatten()
                digest.update(flat.view(torch.uint8).numpy().data if flat.numel() else b"")
        if part.given is None:
            return digest.hexdigest()
        part, where = part.given, f"given.{where}"
