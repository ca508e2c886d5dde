"""The `exact` family: independent columns, learned by counting.

    p(x) = prod_j p_j(x_j),      p_j(c) = (n_jc + 1/2) / (n + C_j / 2)

n_jc counts the rows in which variable j has code c. The 1/2 is the Krichevsky-Trofimov estimator (1981,
doi:10.1109/TIT.1981.1056331): the mean of the posterior under Jeffreys' Dirichlet(1/2) prior, whose excess over the
best fixed distribution is at most (C - 1)/2 log n + O(1) nats over n rows. No code ever has probability 0.

Everything about this model is known in closed form: likelihoods, conditionals, samples. That makes it the oracle of
the tests and the floor of the reports: a model that does not beat it has learned nothing of how columns hang
together.

As a policy each cell is a step. The log-probabilities are parameters, so that alignment can tune them; they are
normalised when read, so that any values the optimiser leaves behind are still a distribution.

Letters: B rows, D variables, C codes of one variable, S = D steps, F features.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from likely.core import (
    Batch,
    Budget,
    Cells,
    Completion,
    Family,
    Grammar,
    Known,
    Listener,
    Objective,
    Path,
    Progress,
    Scores,
    Space,
)
from likely.errors import DataError, OptionError, Unsupported
from likely.nn.cells import admit, check_temperature, in_order, pick, read, require_left


@dataclass(frozen=True)
class ExactConfig:
    """`smoothing`: what is added to each count, above 0; 1/2 is Krichevsky-Trofimov, 1 is Laplace."""

    smoothing: float = 0.5

    def __post_init__(self) -> None:
        if not self.smoothing > 0:
            raise OptionError(f"smoothing={self.smoothing} was given; it must be above 0, such as 0.5.")


class Exact(Family[Cells]):
    """Independent columns; before `fit` every column is uniform."""

    accepts: ClassVar[type] = Cells
    Config: ClassVar[type] = ExactConfig
    exact = True

    def __init__(self, space: Cells, given: Space | None = None, config: ExactConfig | None = None) -> None:
        super().__init__(space, given, config)
        if given is not None:
            raise Unsupported("exact has no separate condition: say what is known of its own variables by `known`.")
        self.order = in_order(space)
        self.logits = nn.ParameterList([torch.zeros(size) for size in space.sizes])  # D of (C,)

    def objectives(self) -> list[Objective]:
        """None: it learns by counting, in `fit`."""
        return []

    def fit(self, batch: Batch, budget: Budget, *, rng: torch.Generator, listen: Listener | None = None) -> None:
        """Count codes x (B, D). One pass, whatever the budget."""
        x = batch.x
        if len(x) == 0:
            raise DataError("There are no rows to learn from: give at least one.")
        with torch.no_grad():
            for j, size in enumerate(self.space.sizes):
                count = torch.bincount(x[:, j], minlength=size).to(torch.float64) + self.config.smoothing
                self.logits[j].copy_(torch.log(count / count.sum()))
        if listen:
            listen(Progress("counting", 1.0, loss=-float(self.log_prob(batch).mean())))

    # -------------------------------------------------------------------------------------- likelihood

    @torch.no_grad()
    def log_probs(self, batch: Batch) -> Tensor:
        """log p_j(x_j): (B, D) nats; no gradients (see `score`)."""
        return self._columns(batch.x)

    def _columns(self, x: Tensor) -> Tensor:
        return torch.stack([torch.log_softmax(logits, 0)[x[:, j]] for j, logits in enumerate(self.logits)], 1)

    def log_prob(self, batch: Batch) -> Tensor:
        """log p(x): (B,) nats."""
        return self.log_probs(batch).sum(1)

    # -------------------------------------------------------------------------------------------- drawing

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
        """Draw (n, D) codes that agree with `known` and `grammar`."""
        check_temperature(temperature)
        wish = read(known, self.space, n)
        x, done = wish.x, wish.mask.clone()
        # Columns are independent, so the order matters to a grammar only: wishes come first, that it sees them.
        for j in sorted(self.order, key=lambda j: j not in wish.soft):
            rows = (~done[:, j]).nonzero().flatten()
            if len(rows):
                allowed = grammar.allow(j, x[rows], done[rows]) if grammar is not None else None
                soft = wish.soft[j][rows] if j in wish.soft else None
                logits = self.logits[j].detach().expand(len(rows), -1)
                law, mass = admit(logits, temperature=temperature, grammar=allowed, wish=soft)
                require_left(mass, j)
                x[rows, j] = pick(law, rng)
            done[:, j] = True
        return x

    def complete(
        self,
        known: Known,
        *,
        rng: torch.Generator,
        temperature: float = 1.0,
        grammar: Grammar | None = None,
        proposal: Family[Cells] | None = None,
    ) -> Completion:
        """Fill the undecided cells of known (B, D). Exact: the effective number of draws is infinite.

        With a grammar, choices are restricted as they are made: what comes out is valid. `proposal` is not needed.
        """
        x = self.sample(len(known.x), known=known, rng=rng, temperature=temperature, grammar=grammar)
        return Completion(x, torch.full((len(x),), torch.inf))

    # ---------------------------------------------------------------------------------------------- policy

    def rollout(self, n: int, given: Batch | None = None, known: Known | None = None, *, rng: torch.Generator) -> Path:
        """Draw n rows; step s decides variable trace[:, s], a choice where `known` had not decided it."""
        if known is not None and known.soft:
            raise Unsupported("Alignment takes decided values only: ranges and sets are no steps of a policy.")
        decided = read(known, self.space, n).mask
        x = self.sample(n, known=known, rng=rng)
        path = self.retrace(Batch(x))
        return path._replace(mask=~decided.gather(1, path.trace))

    def retrace(self, batch: Batch) -> Path:
        """The one way to these rows: variable after variable, targets last."""
        trace = torch.tensor(self.order, device=batch.x.device).expand(len(batch.x), -1)
        return Path(batch.x, trace, torch.ones_like(trace, dtype=torch.bool))

    def score(self, path: Path) -> Scores:
        """log p of each step, 0 where it was no choice; features: which step it is, one-hot (B, S, D)."""
        logp = self._columns(path.x).gather(1, path.trace)
        features = torch.nn.functional.one_hot(path.trace, len(self.space.sizes)).to(logp)
        return Scores(torch.where(path.mask, logp, 0.0), features)
