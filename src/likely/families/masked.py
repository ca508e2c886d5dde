"""The `masked` family: a network that predicts any cells from any others.

Let x be D categorical variables and o an order of them. Any order gives an exact factorisation,

    p(x) = prod_k p(x_o(k) | x_o(1), ..., x_o(k-1)),

and one network can learn the factors of all orders at once (Uria, Murray and Larochelle 2014, arXiv:1310.1757): hide
a random subset of the cells and predict the hidden ones from the visible ones. With k visible cells, k uniform on
0..D-1 and the subset uniform given k,

    loss(x) = D / (D - k) * sum over hidden j of -log p(x_j | visible cells)

is an unbiased estimate of -E_o log p(x), an upper bound on the -log of the mean over orders (Hoogeboom et al.
2022, arXiv:2110.02037, eq. 6). TabularARGN (Tiwald et al. 2025, arXiv:2501.12012) is the same idea for tables.

Such a network conditions on *any* subset of decided cells directly. A wish (a range or a set of codes of one variable)
is drawn right after what is decided, from p(code | decided) * weight(code), which is exact for one wish; several wishes
are importance-resampled, and the effective number of draws is reported.

The input is one row of a table for each cell, its code or "hidden", and the rows are added up. The table (C + D, W)
is a product of small embeddings (E) and a matrix for each variable: as cheap as a sum, as regular as a bottleneck.
While sampling the sum is kept, and one cell changes it by one row.

Letters: B rows, D variables, C codes of all variables together, E embedding, W width, S = D steps, M particles.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likely.core import Batch, Cells, Completion, Family, Grammar, Known, Path, Scores, Space, Training
from likely.errors import OptionError, Unsupported
from likely.nn.cells import Wish, admit, check_temperature, effective, in_order, pick, read, require_left
from likely.nn.residual import Residual

CHUNK = 4096  # rows at a time without gradients: enough for full speed, 4 MB of activations a layer


@dataclass(frozen=True)
class MaskedConfig:
    """`width` of the residual stream, `hidden` width of its `depth` blocks, `embedding` size of a code, `dropout` in
    [0, 1) of the blocks' branches and of the features, `particles` a row where several wishes must come true."""

    width: int = 256
    hidden: int = 256
    depth: int = 1
    embedding: int = 24
    dropout: float = 0.2
    particles: int = 32

    def __post_init__(self) -> None:
        for name in ("width", "hidden", "embedding", "particles"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name}={getattr(self, name)} was given; it must be at least 1.")
        if self.depth < 0 or not 0 <= self.dropout < 1:
            raise OptionError(f"depth={self.depth} must be at least 0 and dropout={self.dropout} in [0, 1).")


class Masked(Family[Cells]):
    """Any-order autoregressive network over cells."""

    accepts: ClassVar[type] = Cells
    Config: ClassVar[type] = MaskedConfig
    regimen: ClassVar[Training] = Training(steps=2000, decay=0.5)
    exact = True
    ready: Tensor
    start: Tensor

    def __init__(self, space: Cells, given: Space | None = None, config: MaskedConfig | None = None) -> None:
        super().__init__(space, given, config)
        if given is not None:
            raise Unsupported("masked has no separate condition: say what is known of its own variables by `known`.")
        C, D, W, E = sum(space.sizes), len(space.sizes), self.config.width, self.config.embedding
        self.order = in_order(space)
        self.code = nn.Parameter(torch.randn(C + D, E) / math.sqrt(E))  # the last D rows mean "hidden"
        self.enter = nn.Parameter(torch.randn(D, E, W) / math.sqrt(D))
        self.shift = nn.Parameter(torch.zeros(W))
        self.blocks = nn.ModuleList(Residual(W, self.config.hidden) for _ in range(self.config.depth))
        self.norm = nn.LayerNorm(W)
        self.head = nn.Linear(W, C)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("ready", torch.tensor(False))
        starts = [sum(space.sizes[:j]) for j in range(D)]
        self.register_buffer("start", torch.tensor(starts), persistent=False)

    # --------------------------------------------------------------------------------------- the network

    def table(self) -> Tensor:
        """What each code, and each hidden variable, adds to the input: (C + D, W)."""
        # In float32 whatever the loop's precision: sums of D rows of it are kept and updated while sampling.
        with torch.autocast(self.code.device.type, enabled=False):
            *codes, hidden = torch.split(self.code, [*self.space.sizes, len(self.space.sizes)])
            rows = [embedding @ self.enter[j] for j, embedding in enumerate(codes)]
            return torch.cat([*rows, torch.einsum("de,dew->dw", hidden, self.enter)])

    def enter_sum(self, x: Tensor, visible: Tensor, table: Tensor) -> Tensor:
        """The input (B, W) of rows x (B, D) of which `visible` (B, D) is seen."""
        hidden = torch.arange(len(self.order), device=x.device) + sum(self.space.sizes)
        return F.embedding_bag(torch.where(visible, x + self.start, hidden), table, mode="sum") + self.shift

    def trunk(self, z: Tensor, dropout: float = 0.0) -> Tensor:
        """Input (B, W) -> features (B, W)."""
        for block in self.blocks:
            z = block(z, dropout)
        features: Tensor = self.norm(z)
        return F.dropout(features, dropout) if dropout > 0 else features

    def logits(self, features: Tensor, j: int) -> Tensor:
        """Logits of variable j alone: (B, sizes[j])."""
        part = slice(int(self.start[j]), int(self.start[j]) + self.space.sizes[j])
        return F.linear(features, self.head.weight[part], self.head.bias[part])

    # ------------------------------------------------------------------------------------------ learning

    def prepare(self, batch: Batch) -> None:
        """Set the head's bias to the log of each variable's shares in codes x (B, D), so that learning starts from
        independent columns. The first `loss` in training does so with its batch where nobody did before."""
        shares = []
        for j, size in enumerate(self.space.sizes):
            count = torch.bincount(batch.x[:, j], minlength=size) + 0.5
            shares.append(torch.log(count / count.sum()))
        with torch.no_grad():
            self.head.bias.copy_(torch.cat(shares))
            self.ready.fill_(True)

    def loss(self, batch: Batch) -> Tensor:
        """An unbiased estimate of the mean any-order -log p(x), nats an item.

        Training hides subsets by torch's global generator, as dropout does; in evaluation the subsets are the
        same at every call, so that two evaluations differ by the weights only.
        """
        x = batch.x
        B, D = x.shape
        if self.training and not bool(self.ready):
            self.prepare(batch)
        rng = None if self.training else torch.Generator(x.device).manual_seed(0)
        # k stratified over the batch: every count of visible cells comes up equally often, which halves the noise.
        k = ((torch.arange(B, device=x.device) + torch.rand(1, generator=rng, device=x.device)) * (D / B)).long()
        k = k.clamp_(max=D - 1)[torch.randperm(B, generator=rng, device=x.device), None]
        visible = torch.rand(B, D, generator=rng, device=x.device).argsort(1).argsort(1) < k
        features = self.trunk(self.enter_sum(x, visible, self.table()), self.config.dropout if self.training else 0.0)
        parts = self.head(features).split(self.space.sizes, 1)
        surprise = torch.stack([F.cross_entropy(part, x[:, j], reduction="none") for j, part in enumerate(parts)], 1)
        weight = torch.where(visible, 0.0, D / (D - k))
        return (surprise * weight).sum() / B

    # ---------------------------------------------------------------------------------------- likelihood

    @torch.no_grad()
    def log_probs(self, batch: Batch) -> Tensor:
        """log p(x_j | the variables before j in the order of sampling): (B, D) nats; no gradients (see `score`).

        The order is that of the space with the targets last. Another order is another, almost equal, distribution.
        """
        out = torch.empty(batch.x.shape, dtype=torch.float32)
        for rows in _chunks(len(batch.x), CHUNK):
            path = self.retrace(Batch(batch.x[rows]))
            out[rows] = torch.zeros_like(out[rows]).scatter(1, path.trace, self.score(path).logp)
        return out

    def log_prob(self, batch: Batch) -> Tensor:
        """log p(x) in the order of sampling: (B,) nats; sums to 1 over all items."""
        return self.log_probs(batch).sum(1)

    # ------------------------------------------------------------------------------------------- drawing

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
        return self._complete(read(known, self.space, n), rng, temperature, grammar).x

    def complete(
        self,
        known: Known,
        *,
        rng: torch.Generator,
        temperature: float = 1.0,
        grammar: Grammar | None = None,
        proposal: Family[Any] | None = None,
    ) -> Completion:
        """Fill the undecided cells of known (B, D). `ess` is infinite where at most one variable is a wish.

        With a grammar, choices are restricted as they are made: what comes out is valid. `proposal` is not
        needed. Raises ConditionError where nothing agrees with all that was asked.
        """
        return self._complete(read(known, self.space), rng, temperature, grammar)

    @torch.no_grad()
    def _complete(self, wish: Wish, rng: torch.Generator, temperature: float, grammar: Grammar | None) -> Completion:
        check_temperature(temperature)
        wishes = [j for j in self.order if j in wish.soft]
        m = self.config.particles if len(wishes) > 1 else 1
        x, ess = torch.empty_like(wish.x), torch.full((len(wish.x),), torch.inf)
        for rows in _chunks(len(x), max(1, CHUNK // m)):
            walk = Walk(self, wish.rows(rows).repeat(m), rng, temperature, grammar)
            for j in wishes:
                walk.step(j, walk.wish.soft[j])
            if m > 1:
                # Each particle drew from q; its weight p/q is the product of what the wishes admitted on its way.
                weight = walk.mass.view(-1, m)
                require_left(weight.amax(1), wishes[-1])
                ess[rows] = effective(weight).to(ess)
                walk.keep(torch.arange(len(weight), device=x.device) * m + pick(torch.log_softmax(weight, 1), rng))
            for j in self.order:
                walk.step(j, None)
                require_left(walk.mass, j)
            x[rows] = walk.x
        return Completion(x, ess)

    @torch.no_grad()
    def propose(self, known: Known, m: int, *, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw m completions of each row of known (B, D): x (B, m, D), and log q (B, m), the nats each was drawn with
        given what is decided and, wish after wish, what is admitted. For importance sampling from another model."""
        wish = read(known, self.space)
        x = wish.x[:, None].repeat(1, m, 1)
        logq = torch.zeros(x.shape[:2], dtype=torch.float64)
        for rows in _chunks(len(x), max(1, CHUNK // m)):
            walk = Walk(self, wish.rows(rows).repeat(m), rng)
            for j in sorted(self.order, key=lambda j: j not in wish.soft):
                walk.step(j, walk.wish.soft.get(j))
            x[rows], logq[rows] = walk.x.view(-1, m, walk.x.shape[1]), walk.logq.view(-1, m)
        return x, logq

    # -------------------------------------------------------------------------------------------- policy

    def rollout(self, n: int, given: Batch | None = None, known: Known | None = None, *, rng: torch.Generator) -> Path:
        """Draw n rows; step s decides variable trace[:, s], a choice where `known` had not decided it."""
        if known is not None and known.soft:
            raise Unsupported("Alignment takes decided values only: ranges and sets are no steps of a policy.")
        wish = read(known, self.space, n)
        path = self.retrace(Batch(self._complete(wish, rng, 1.0, None).x))
        return path._replace(mask=~wish.mask.gather(1, path.trace))

    def retrace(self, batch: Batch) -> Path:
        """The way to these rows in the order of sampling: all cells are choices."""
        trace = torch.tensor(self.order, device=batch.x.device).expand(len(batch.x), -1)
        return Path(batch.x, trace, torch.ones_like(trace, dtype=torch.bool))

    def score(self, path: Path) -> Scores:
        """log p of each step, 0 where it was no choice, and the features it was made from: (B, S), (B, S, W).

        Cells that were no choice are visible from the start. Any order of the trace will do, another in each row. Free
        of dropout and differentiable: S passes of the network.
        """
        x, trace, choice = path.x, path.trace, path.mask
        table, hidden = self.table(), sum(self.space.sizes)
        decided = torch.zeros_like(choice).scatter(1, trace, ~choice)
        z = self.enter_sum(x, decided, table)
        logps, features = [], []
        for s in range(trace.shape[1]):
            v, chosen = trace[:, s], choice[:, s]
            h = self.trunk(z)
            logp = h.new_zeros(len(x))
            for j in torch.unique(v).tolist():
                rows = ((v == j) & chosen).nonzero().flatten()
                law = torch.log_softmax(self.logits(h[rows], j), 1)
                logp = logp.index_put((rows,), law.gather(1, x[rows, j, None]).squeeze(1).to(logp))
            logps.append(logp)
            features.append(h)
            code = x.gather(1, v[:, None]).squeeze(1) + self.start[v]
            z = torch.where(chosen[:, None], z + table[code] - table[hidden + v], z)
        return Scores(torch.stack(logps, 1), torch.stack(features, 1))


class Walk:
    """Rows on their way from what is decided to whole items: codes x, done, the network's input z, the nats logq of
    all choices and the nats mass that wishes admitted."""

    def __init__(
        self, model: Masked, wish: Wish, rng: torch.Generator, temperature: float = 1.0, grammar: Grammar | None = None
    ) -> None:
        self.model, self.wish, self.rng, self.temperature, self.grammar = model, wish, rng, temperature, grammar
        self.x, self.done, self.table = wish.x.clone(), wish.mask.clone(), model.table()
        self.z = model.enter_sum(self.x, self.done, self.table)
        self.logq = torch.zeros(len(self.x), dtype=torch.float64, device=self.x.device)
        self.mass = torch.zeros_like(self.logq)

    def step(self, j: int, soft: Tensor | None) -> None:
        """Draw variable j in the rows that have not decided it, where `soft` (B, sizes[j]) or None admits."""
        rows: Tensor | slice = (~self.done[:, j]).nonzero().flatten()
        if isinstance(rows, Tensor) and len(rows) == 0:
            return
        if isinstance(rows, Tensor) and len(rows) == len(self.x):
            rows = slice(None)  # a view instead of a copy
        allowed = self.grammar.allow(j, self.x[rows], self.done[rows]) if self.grammar is not None else None
        logits = self.model.logits(self.model.trunk(self.z[rows]), j)
        law, mass = admit(
            logits, temperature=self.temperature, grammar=allowed, wish=None if soft is None else soft[rows]
        )
        codes = pick(law, self.rng)
        self.x[rows, j] = codes
        self.done[rows, j] = True
        self.z[rows] += self.table[codes + self.model.start[j]] - self.table[sum(self.model.space.sizes) + j]
        self.logq[rows] += law.gather(1, codes[:, None]).squeeze(1)
        self.mass[rows] += mass

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows only; what wishes admitted is accounted for."""
        self.x, self.done, self.z, self.logq = self.x[rows], self.done[rows], self.z[rows], self.logq[rows]
        self.mass = torch.zeros_like(self.logq)


def _chunks(n: int, size: int) -> list[slice]:
    return [slice(i, min(i + size, n)) for i in range(0, n, size)]
