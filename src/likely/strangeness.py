"""How strange items are: nats where the family has a likelihood, else what does not come back of them.

Letters: n items, B of them at once, D variables, steps or elements.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from torch import Tensor

from likely.core import Batch, Codec, Density, Family, Scorer, Tokens
from likely.errors import Unsupported


def require(family: Family[Any], name: str) -> None:
    """Raises Unsupported where a family can say nothing."""
    if not isinstance(family, Density | Scorer):
        raise Unsupported(
            f"{name!r} gives no likelihood. Families that do: trees, masked and exact for tables; vae and flow for "
            "images, series and tables; transformer and lstm for texts."
        )


def nats(codec: Codec[Any], family: Family[Any], part: Any, batch: Batch) -> Tensor:
    """(B, D) nats of items in the codec's own collection, encoded as `batch`."""
    if isinstance(family, Density):
        return codec.volume(part) - family.log_probs(batch)
    return cast(Scorer, family).errors(batch)


def told(codec: Codec[Any], items: Any, values: np.ndarray, each: bool) -> Any:
    """Nats (n, D) as a user wants them: (n,); with `each` a mapping part -> (n,), of texts a list of (token, nats)."""
    if isinstance(codec.space, Tokens):
        return spelt(codec, items, values) if each else cast(Any, codec).sums(items, values.sum(1))
    if not each:
        return values.sum(1)
    places: dict[str, list[int]] = {}
    for place, cell in enumerate(codec.cells):
        places.setdefault(cell, []).append(place)
    return {name: values[:, where].sum(1) for name, where in places.items()}


def spelt(codec: Codec[Any], items: Any, values: np.ndarray) -> list[list[tuple[str, float]]]:
    """The nats of each token of each text; a text of several rows has them one after another."""
    made: list[list[tuple[str, float]]] = []
    for row, (words, number) in enumerate(zip(cast(Any, codec).spell(items), items.number, strict=True)):
        if not row or number != items.number[row - 1]:
            made.append([])
        made[-1] += zip(words, values[row].tolist(), strict=False)
    return made
