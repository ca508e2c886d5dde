"""Completing items whose parts are given, with help where what is given is rare.

A family says for each item how many effective draws stood behind it. Where these are too few in many items, and the
family names one that learns quickly from its samples (`distils`), a network of that kind is learned from the model's
own samples, no data needed, and proposes from then on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from likely import registry
from likely.core import Batch, Budget, Codec, Completion, Conditional, Family, Known
from likely.errors import Unsupported
from likely.train import loop

THIN = 0.1  # share of items with too few effective draws from which a proposal network pays
FEW = 20  # such items, at least
SAMPLES = (4_000, 20_000)  # that it learns from, at least and at most
MINUTES = 0.5
DISTILLED = "Some conditions are rare: a proposal network was learned from the model's own samples."


class Completer:
    """A family that completes; `card` is the generator's. Keeps the proposal network once it was learned."""

    def __init__(self, family: Family[Any], codec: Codec[Any], card: Mapping[str, Any]) -> None:
        self.family, self.codec, self.card = family, codec, card
        self.proposal: Family[Any] | None = None

    def complete(self, known: Known, temperature: float, rng: torch.Generator) -> tuple[Completion, str]:
        """Items (B, D) in which what is known stays, and a remark, or "". Raises Unsupported."""
        family, grammar = self.family, self.codec.grammar
        if not isinstance(family, Conditional):
            raise Unsupported(
                f"{self.card['family']['name']!r} cannot complete what is given. "
                "Families that can: trees, masked, exact; transformer and lstm for texts."
            )
        done = family.complete(known, rng=rng, temperature=temperature, grammar=grammar, proposal=self.proposal)
        thin = int((done.ess < getattr(self.family.config, "enough", 0.0)).sum())
        if thin < max(FEW, THIN * len(done.ess)) or self.proposal is not None or not hasattr(family, "distils"):
            return done, ""
        self.proposal = self._distil(str(family.distils))
        done = family.complete(known, rng=rng, temperature=temperature, grammar=grammar, proposal=self.proposal)
        return done, DISTILLED

    def _distil(self, name: str) -> Family[Any]:
        """A network that learned from this model's samples."""
        proposal: Family[Any] = registry.get("family", name)(self.codec.space)
        seed, (least, most) = int(self.card["seed"]), SAMPLES
        rng = torch.Generator().manual_seed(seed)
        x = self.family.sample(min(most, max(least, 2 * int(self.card["rows"]))), rng=rng)
        loop.fit(proposal, Batch(x), Budget(minutes=MINUTES, steps=proposal.plan().steps), seed=seed)
        return proposal


def repeat(known: Known, n: int) -> Known:
    """What is known (1, D) of each of n items (n, D)."""
    soft = {j: w.expand(n, -1) for j, w in known.soft.items()} if known.soft else None
    return Known(known.x.expand(n, -1), known.mask.expand(n, -1), soft)


def thinness(ess: np.ndarray, config: Any) -> list[str]:
    """What there is to say of the effective numbers of draws (n,) behind items; inf where nothing was weighed."""
    weighted = ess[np.isfinite(ess)]
    if not len(weighted):
        return []
    thin = int((weighted < getattr(config, "enough", 0.0)).sum())
    return [
        f"{len(weighted):,} rows were chosen among weighted draws: effective number {np.median(weighted):.0f} "
        f"(median), {weighted.min():.1f} (lowest)"
        + (f"; {thin:,} rows are approximate, their condition is rare." if thin else ".")
    ]
