"""Work in portions: as many items at a time as give full speed in little memory, whatever the batch holds.

Letters: B items, L steps, * the event shape.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from likely.core import Batch
from likely.nn.networks import flat

ROWS = {"cpu": 4096, "cuda": 65536}  # rows of a perceptron at a time, without gradients


def rows(shape: Sequence[int], device: torch.device) -> int:
    """How many items of this shape a network takes at a time."""
    most = ROWS.get(device.type, 4096)
    return most if flat(shape) else max(1, most * 64 // math.prod(shape))


def portions(batch: Batch, size: int) -> Iterator[Batch]:
    """The items of a batch, `size` at a time."""
    for at in range(0, len(batch.x), max(1, size)):
        yield take(batch, slice(at, at + max(1, size)))


def take(batch: Batch, rows: Tensor | slice) -> Batch:
    """Some items of a batch, with their conditions and masks."""
    given = take(batch.given, rows) if batch.given is not None else None
    return Batch(batch.x[rows], given, batch.mask[rows] if batch.mask is not None else None)


def only(mask: Tensor | None, values: Tensor) -> Tensor:
    """`values` (B, L, ...) where mask (B, L) is true, else 0; all of them without a mask."""
    if mask is None:
        return values
    return values * mask.to(values.dtype).view(*mask.shape, *[1] * (values.ndim - mask.ndim))
