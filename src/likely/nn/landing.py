"""Where the outputs of a network land: in the space, whatever the weights.

    bounds [a, b]   (a + b) / 2 + (b - a) / 2 * tanh(u)
    onehot slice    softmax((u + g) / T) with Gumbel noise g while learning (Jang et al. 2016, arXiv:1611.01144), the
                    largest alone when items are made: by the Gumbel-max rule both are draws from softmax(u)
    else            u

`land` is differentiable, for a generator that learns; `settle` brings numbers that came from elsewhere (the end of an
integration) to the nearest item of the space.

Letters: B items, * the event shape.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from likely.core import Reals

HEAT = 0.5  # temperature T of the softmax while learning: soft enough for gradients, hard enough to look like items


def land(u: Tensor, space: Reals, *, rng: torch.Generator | None = None, hard: bool = False) -> Tensor:
    """Outputs u (B, *shape) of a network as items (B, *shape); `hard` makes each slice one category.

    Noise of the slices comes from `rng`, or from torch's global generator.
    """
    x = u
    if space.bounds is not None:
        low, high = space.bounds
        x = (low + high) / 2 + (high - low) / 2 * torch.tanh(u)
    if not space.onehot:
        return x
    parts, last = [], 0
    for start, stop in space.onehot:
        noise = torch.empty_like(u[..., start:stop]).exponential_(generator=rng).log()
        law = torch.softmax((u[..., start:stop] - noise) / HEAT, -1)
        if hard:
            law = F.one_hot(law.argmax(-1), stop - start).to(law.dtype)
        parts += [x[..., last:start], law]
        last = stop
    return torch.cat([*parts, x[..., last:]], -1)


def settle(x: Tensor, space: Reals) -> Tensor:
    """The items nearest to x (B, *shape): within bounds, one category a slice. `levels` are left to the codec."""
    if space.bounds is not None:
        x = x.clamp(*space.bounds)
    if space.onehot:
        x = x.clone()
        for start, stop in space.onehot:
            part = x[..., start:stop]
            x[..., start:stop] = F.one_hot(part.argmax(-1), stop - start).to(x.dtype)
    return x
