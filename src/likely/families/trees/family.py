"""Trees: the default family for tables. See `chain` for the model, `particles` for conditions.

Learns in seconds on two cores, gives exact likelihoods, samples, and completes any subset of known cells. What
was learned is kept as plain arrays (`forest`), proven well formed before they are used.

Letters: B items, D variables, Q questions, K folds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from likely.core import Batch, Budget, Cells, Completion, Family, Grammar, Known, Listener, Objective
from likely.errors import ArtifactError, Mismatch, NotFitted, OptionError
from likely.families.trees.boost import Boosting
from likely.families.trees.chain import Chain, Floats, Ints, learn
from likely.families.trees.particles import Walk, Wish, complete, follow_rules, weigh_proposals
from likely.families.trees.store import pack, unpack

CHUNK = 25_000  # rows worked on at once: keeps memory flat
SWARM = 131_072  # particles worked on at once


@dataclass(frozen=True)
class TreesConfig(Boosting):
    """Settings of `Trees`: those of the boosting, and of conditions."""

    rule: int = 64  # a variable of at most so many codes may determine another one exactly
    particles: int = 32  # drawn for each row that is conditioned on something late in the chain
    most: int = 512  # particles at the most, where the effective number stays low
    enough: float = 8.0  # effective number of particles to be content with

    def __post_init__(self) -> None:
        for name in ("leaves", "smallest", "rounds", "patience", "rows", "particles", "most"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name}={getattr(self, name)} was given; it must be at least 1.")
        if not (0 <= self.folds <= 20 and self.folds != 1 and 0 < self.rate <= 1 and 0 < self.fraction <= 1):
            raise OptionError("folds is 0 (chosen) or 2 to 20; rate and fraction lie in (0, 1].")


class Trees(Family[Cells]):
    """An autoregressive chain of boosted bit-trees over `Cells`."""

    accepts: ClassVar[type] = Cells
    Config: ClassVar[type] = TreesConfig
    exact = True
    distils: ClassVar[str] = "masked"  # the family that may learn from our samples to propose rare rows

    def __init__(self, space: Cells, given: Any = None, config: TreesConfig | None = None) -> None:
        super().__init__(space, given, config)
        if given is not None:
            raise Mismatch(
                "'trees' learns P(X), not P(X | C): put the condition's columns into the table "
                "and name them in `given=` when sampling."
            )
        self._chain: Chain | None = None

    @classmethod
    def setting(cls, privacy: str) -> TreesConfig:
        """Faithful trees follow weaker hints in finer steps; private ones ask for more rows behind every answer."""
        if privacy == "faithful":
            return TreesConfig(rate=0.1, leaves=8, patience=15, rows=50, gain=0.0)
        if privacy == "private":
            return TreesConfig(folds=2, smallest=60, ridge=30.0, fraction=0.5, rows=200, gain=6.0)
        return TreesConfig()

    @property
    def chain(self) -> Chain:
        """What was learned. Raises NotFitted before `fit`."""
        if self._chain is None:
            raise NotFitted("These trees have learned nothing yet: call fit(batch, budget) first.")
        return self._chain

    def objectives(self) -> list[Objective]:
        """None: trees are not trained by gradients."""
        return []

    def fit(self, batch: Batch, budget: Budget, *, rng: torch.Generator, listen: Listener | None = None) -> None:
        """Learn from codes `batch.x` (B, D)."""
        self._chain = learn(
            batch.x.numpy(), self.space, self.config, self.config.rule, _numpy(rng), listen, torch.get_num_threads()
        )

    # -------------------------------------------------------------------------------------------- density

    def log_probs(self, batch: Batch) -> Tensor:
        """(B, D) nats: log p(x_v | variables before v in the chain)."""
        codes = batch.x.numpy()
        parts = []
        for low in range(0, len(codes), CHUNK):
            part = codes[low : low + CHUNK]
            dense = part.astype(np.float32)
            parts.append(np.stack([self.chain.log_prob(v, dense, part[:, v]) for v in range(part.shape[1])], 1))
        return torch.from_numpy(np.concatenate(parts) if parts else np.zeros(codes.shape))

    def log_prob(self, batch: Batch) -> Tensor:
        """(B,) nats, exact."""
        return self.log_probs(batch).sum(1)

    # ------------------------------------------------------------------------------------------- sampling

    def sample(
        self,
        n: int,
        given: Batch | None = None,
        known: Known | None = None,
        *,
        rng: torch.Generator,
        temperature: float = 1.0,
        grammar: Grammar | None = None,
    ) -> Tensor:
        """Draw (n, D) codes."""
        if known is None:
            d = len(self.space.sizes)
            known = Known(torch.zeros((1, d), dtype=torch.int64), torch.zeros((1, d), dtype=torch.bool))
        if len(known.x) == 1:
            known = _repeat(known, n)
        return self.complete(known, rng=rng, temperature=temperature, grammar=grammar).x

    def complete(
        self,
        known: Known,
        *,
        rng: torch.Generator,
        temperature: float = 1.0,
        grammar: Grammar | None = None,
        proposal: Family[Any] | None = None,
    ) -> Completion:
        """Rows that agree with `known` (B, D); more particles, then `proposal`, where the effective number is low."""
        config: TreesConfig = self.config
        random = _numpy(rng)
        walk = Walk(self.chain, random, temperature, grammar)
        wish = follow_rules(self.chain, _wish(known, self.space))
        b = len(wish.mask)
        x, ess = np.empty((b, len(self.space.sizes)), np.int64), np.empty(b)
        pending, m = np.arange(b), config.particles
        free = not wish.soft and not wish.mask.any()  # nothing is known: a row is one particle
        while len(pending):
            size = CHUNK if free else max(1, min(CHUNK, SWARM // m))
            for low in range(0, len(pending), size):
                rows = pending[low : low + size]
                x[rows], ess[rows] = complete(walk, wish.rows(rows), m)
            pending, m = pending[ess[pending] < config.enough], m * 4
            if m > config.most:
                break
        if proposal is not None and grammar is None and temperature == 1.0:
            self._propose(walk, wish, known, proposal, rng, x, ess)
        return Completion(torch.from_numpy(x), torch.from_numpy(ess))

    def _propose(
        self, walk: Walk, wish: Wish, known: Known, proposal: Any, rng: torch.Generator, x: Ints, ess: Floats
    ) -> None:
        """Replace, in place, rows of too few effective particles where a proposal network does better."""
        m = self.config.most
        thin = np.flatnonzero(ess < self.config.enough)
        for low in range(0, len(thin), SWARM // m):
            rows = thin[low : low + SWARM // m]
            some = torch.from_numpy(rows)
            soft = {v: w[some] for v, w in known.soft.items()} if known.soft else None
            drawn, logq = proposal.propose(Known(known.x[some], known.mask[some], soft), m, rng=rng)
            found, better = weigh_proposals(walk, wish.rows(rows), drawn.numpy(), logq.numpy())
            gains = better > ess[rows]
            x[rows[gains]], ess[rows[gains]] = found[gains], better[gains]

    # ---------------------------------------------------------------------------------------------- state

    def tensors(self) -> dict[str, Tensor]:
        """The chain as named arrays."""
        return {name: torch.from_numpy(array) for name, array in pack(self.chain).items()}

    def restore(self, tensors: dict[str, Tensor]) -> Self:
        """Take back what `tensors` gave. Raises ArtifactError unless every array is well formed."""
        try:
            self._chain = unpack({name: tensor.numpy() for name, tensor in tensors.items()}, self.space)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ArtifactError(f"The trees in this model file are damaged ({error}). Fit the model again.") from error
        return self


def _numpy(rng: torch.Generator) -> np.random.Generator:
    return np.random.default_rng(int(torch.randint(2**62, (), generator=rng)))


def _repeat(known: Known, n: int) -> Known:
    soft = {v: w.expand(n, -1) for v, w in known.soft.items()} if known.soft else None
    return Known(known.x.expand(n, -1), known.mask.expand(n, -1), soft)


def _wish(known: Known, space: Cells) -> Wish:
    b = len(known.x)
    soft = {
        v: np.broadcast_to(w.numpy().astype(np.float64), (b, space.sizes[v])) for v, w in (known.soft or {}).items()
    }
    return Wish(known.x.numpy(), known.mask.numpy(), soft)
