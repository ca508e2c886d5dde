"""What is given: the conditions of a model p(x | c), with a codec of their own and a prior p(c) learned beside it.

Conditions are rows of a table: a label an image, two properties a molecule. Because p(c) is learned too, items can be
drawn without a wish (c is drawn first), with one about all of c, or about some part of it: the rest follows.

Letters: B items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import polars as pl
import torch

from likely import registry
from likely.choice import configure
from likely.core import Batch, Budget, Codec, Family, Known
from likely.errors import ArtifactError, ConditionError, DataError, Mismatch

PREFIX = "given/"  # of the prior's tensors in a model file


@dataclass(frozen=True)
class Conditions:
    """The codec of the conditions and the law they follow."""

    codec: Codec[Any]
    prior: Family[Any]
    name: str  # of the prior's family

    @classmethod
    def learn(cls, items: Any, n: int, rows: np.ndarray, rng: torch.Generator) -> tuple[Self, Batch, Any]:
        """From conditions of all n items, of which `rows` are learned from: itself, those rows encoded, and all.

        Raises Mismatch for more or fewer than n, DataError for conditions that say nothing.
        """
        codec: Codec[Any] = registry.get("codec", "table")()
        frame = codec.read(_table(items))
        if len(frame) != n:
            raise Mismatch(f"{len(frame):,} conditions were given for {n:,} items: one for each is wanted.")
        codec.fit(frame[rows])
        batch = codec.encode(frame[rows])
        if not batch.x.shape[1]:
            raise DataError("The condition is the same for all items, or an id: there is nothing to be given.")
        # One column follows its shares; several are tied to each other.
        name = "exact" if batch.x.shape[1] == 1 else "trees"
        prior: Family[Any] = registry.get("family", name)(codec.space)
        prior.fit(batch, Budget(), rng=rng)
        return cls(codec, prior, name), batch, frame

    def draw(self, n: int, wish: Mapping[str, Any] | Any | None, rng: torch.Generator) -> tuple[Batch, Any]:
        """n conditions that agree with the wish: encoded, and as rows. A table of n rows is taken as it stands."""
        if wish is None or isinstance(wish, Mapping):
            if wish:
                known = self.codec.condition(wish)
                many = Known(
                    known.x.expand(n, -1), known.mask.expand(n, -1),
                    {j: w.expand(n, -1) for j, w in known.soft.items()} if known.soft else None,
                )  # fmt: skip
                x = self.prior.complete(many, rng=rng).x  # type: ignore[operator]
            else:
                x = self.prior.sample(n, rng=rng)
            return Batch(x), self.codec.make(x, rng=rng, within=wish)
        frame = self.codec.read(_table(wish))
        if len(frame) != n:
            raise ConditionError(f"{len(frame)} conditions were given for {n} items: give one for each, or a wish.")
        return self.codec.encode(frame), frame

    def of(self, frame: pl.DataFrame | None) -> Batch:
        """The conditions of given items, encoded. Raises Mismatch where they are not known."""
        if frame is None:
            names = ", ".join(map(repr, self.names[:5]))
            raise Mismatch(f"This model knows items by {names}: give them with the items, as in (images, labels).")
        return self.codec.encode(frame.select(self.names))

    @property
    def names(self) -> list[str]:
        """The columns of a condition."""
        return list(dict.fromkeys(self.codec.cells))

    def card(self) -> dict[str, Any]:
        """What `load` needs, as JSON."""
        return {"codec": self.codec.state(), "prior": self.name, "config": asdict(self.prior.config)}

    def tensors(self) -> dict[str, torch.Tensor]:
        """The prior's tensors, by names that no family has."""
        return {PREFIX + name: tensor for name, tensor in self.prior.tensors().items()}

    @classmethod
    def load(cls, card: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Self:
        """From a model file. Raises LikelyError, KeyError or ValueError where it is damaged."""
        codec: Codec[Any] = registry.get("codec", "table")().load(card["codec"])
        if card["prior"] not in ("exact", "trees"):
            raise ArtifactError(
                f"The prior of the conditions is {str(card['prior'])[:40]!r}, which is no family for it."
            )
        family = registry.get("family", card["prior"])
        config = configure(family.Config(), card["config"], card["prior"])
        prior = family(codec.space, None, config)
        own = {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items() if name.startswith(PREFIX)}
        return cls(codec, prior.restore(own), card["prior"])


def _table(items: Any) -> Any:
    """Labels as a table of one column; a table as it is."""
    if isinstance(items, np.ndarray) and items.ndim == 1:
        items = items.tolist()
    if isinstance(items, pl.Series):
        return items.to_frame(items.name or "label")
    if isinstance(items, list | tuple) and items and not isinstance(items[0], Mapping):
        return pl.DataFrame({"label": [str(one) if isinstance(one, bool) else one for one in items]}, strict=False)
    return items
