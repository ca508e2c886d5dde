"""Walking through a latent space: what lies between two items, and what one more of an attribute looks like.

    latent.between(gen, a, b, 8)                 eight items on the way from a to b
    latent.attribute(gen, smiling, serious)      the direction from the mean of some items to the mean of others
    latent.shift(gen, items, direction, 1.0)     items, that far along it

Means of latents are where a normal prior is densest, so a straight way from one item to another leads through items
that are likelier than both and less sharp. On a sphere the way keeps its distance from the middle (White 2016,
arXiv:1609.04468): `between` takes it, for flows and VAEs alike. Attributes as differences of means: Larsen et al. 2016
(arXiv:1512.09300).

Letters: B items, Z latent variables, S steps.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from likely.errors import DataError, OptionError
from likely.generator import Generator

Floats = NDArray[np.float64]


def between(gen: Generator, a: Any, b: Any, steps: int = 8, *, given: Any = None) -> Any:
    """`steps` items from the first item of `a` to the first of `b`, both included, in the type that came in."""
    if steps < 2:
        raise OptionError(f"steps is {steps}; a way has 2 at least, its ends.")
    return gen.restore(arc(_first(gen, a), _first(gen, b), steps), given=given)


def attribute(gen: Generator, having: Any, lacking: Any) -> Floats:
    """The direction (Z,) from the mean of items that lack an attribute to the mean of those that have it."""
    direction: Floats = gen.embed(having).mean(0) - gen.embed(lacking).mean(0)
    return direction


def shift(gen: Generator, items: Any, direction: Floats, amount: float = 1.0, *, given: Any = None) -> Any:
    """Items moved by `amount` times a direction (Z,)."""
    return gen.restore(gen.embed(items) + amount * np.asarray(direction), given=given)


def arc(a: Floats, b: Floats, steps: int) -> Floats:
    """(S, Z) on the great arc from a to b (Z,), lengths in between; a straight line where both point the same way."""
    share = np.linspace(0, 1, steps)[:, None]
    long = np.linalg.norm(a), np.linalg.norm(b)
    if min(long) < 1e-9:
        return (1 - share) * a + share * b
    angle = float(np.arccos(np.clip(a @ b / (long[0] * long[1]), -1, 1)))
    if angle < 1e-4 or np.pi - angle < 1e-4:
        return (1 - share) * a + share * b
    ways = (np.sin((1 - share) * angle) * a / long[0] + np.sin(share * angle) * b / long[1]) / np.sin(angle)
    return np.asarray(ways * ((1 - share) * long[0] + share * long[1]))


def _first(gen: Generator, items: Any) -> Floats:
    z = gen.embed(items)
    if not len(z):
        raise DataError("There is no item to start from: give one at least.")
    return np.asarray(z[0], np.float64)
