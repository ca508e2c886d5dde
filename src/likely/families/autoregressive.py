"""What all families of tokens share: items are written from left to right, and each step is a choice.

    log p(x | c) = sum_s log p(x_s | x_1 .. x_{s-1}, c),    s = 1 .. e,    e the step of `eos`, or L where there is none

An item x (L) of `Tokens` is its tokens, `eos` once, then `pad`. One that fills all L steps may lack `eos`: it goes on
beyond what the model can see. `bos` stands in no item: it is what a network sees before the first step. Neither `pad`
nor `bos` is an outcome (unless it is `eos`, too), so that exp(log p) sums to 1 over all items. Steps behind `eos` are
never looked at; which those are follows from `eos` alone, or from `Batch.mask` where there is one.

A family says how it looks at what was written (`states`, `walk`) and what it takes to come next (`head`); here is the
rest: loss, likelihood, drawing with known beginnings and grammars, and the steps that alignment scores.

A grammar's `allow(s, x, done)` gives weights (B, V) of the tokens that may stand at step s, from x (B, L), of which
`done` (B, L), the steps before s, is written.

Letters: B items, L steps of the space, T of them in use, V tokens, W width of hidden states, M single steps.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likely.core import Batch, Completion, Family, Grammar, Known, Path, Scores, Space, Tokens
from likely.errors import ConditionError, DataError, Unsupported
from likely.nn.cells import admit, check_temperature, choose, pick, require_left
from likely.nn.condition import required
from likely.nn.portion import take

NUMBERS = 30_000_000  # logits at a time without gradients
PARTS = 4  # groups of items of like length that a batch is cut into, at most,
SAVES, LEAST = 0.08, 1000  # where each cut saves this share of the steps, and so many: one more pass has its price
ENDED = 0.1  # share of rows that have ended from which the others move together


class Walk(Protocol):
    """Rows on their way: the network's memory of what was written so far."""

    def step(self, tokens: Tensor) -> Tensor:
        """Take in the next tokens (B, T); the hidden state (B, W) behind the last of them."""
        ...

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows (m,) only."""
        ...


class Autoregressive(Family[Tokens]):
    """Tokens from left to right. A family of this kind gives `states`, `head` and `walk`."""

    accepts: ClassVar[type] = Tokens
    exact = True
    barred: Tensor

    def __init__(self, space: Tokens, given: Space | None = None, config: Any = None) -> None:
        super().__init__(space, given, config)
        for name in ("pad", "bos", "eos"):
            if not 0 <= getattr(space, name) < space.vocab:
                raise DataError(f"{name}={getattr(space, name)} is no token of a vocabulary of {space.vocab}.")
        barred = sorted({space.pad, space.bos} - {space.eos})
        if space.vocab <= len(barred) or space.length < 1:
            raise DataError(f"There is nothing to choose from: {space.vocab} tokens, {space.length} steps.")
        self.register_buffer("barred", torch.tensor(barred, dtype=torch.int64), persistent=False)
        self.bias: nn.Parameter | None = None  # of the logits, where a family has one

    # -------------------------------------------------------------------------------- what a family gives

    @abstractmethod
    def states(self, seen: Tensor, given: Batch | None, dropout: float) -> Tensor:
        """Hidden states (B, T, W) behind each of the tokens seen (B, T), the first of which is `bos`."""

    @abstractmethod
    def head(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) of hidden states (..., W), in memory of their own."""

    def features(self, hidden: Tensor) -> Tensor:
        """The part of hidden states (..., W) that describes what was written, for whoever judges it."""
        return hidden

    @abstractmethod
    def walk(self, n: int, given: Batch | None) -> Walk:
        """n rows that have seen nothing yet, `bos` included, with room for L steps."""

    @classmethod
    def sized(cls, config: Any, space: Tokens, tokens: int, items: int, minutes: float | None) -> Any:
        """The config with its zeros chosen for so many tokens in so many items to learn from, in so many minutes."""
        return config

    # -------------------------------------------------------------------------------------------- learning

    def prepare(self, batch: Batch) -> None:
        """Look whether items are in order. Raises DataError."""
        x, space = batch.x, self.space
        if x.ndim != 2 or x.shape[1] != space.length:
            raise DataError(f"Items of {space.length} steps were wanted, tensors {tuple(x.shape)} were given.")
        if bool(((x < 0) | (x >= space.vocab)).any()):
            raise DataError(f"Some tokens are outside of 0..{space.vocab - 1}.")
        wrong = torch.isin(x, self.barred) & self.real(batch)
        if bool(wrong.any()):
            row, step = wrong.nonzero()[0].tolist()
            raise DataError(
                f"Token {int(x[row, step])} stands at step {step} of item {row}: padding ({space.pad}) comes after the "
                f"end ({space.eos}) only, and the beginning ({space.bos}) is no part of an item."
            )
        if self.bias is not None:
            # Learning starts from the share of each token, and so does not spend its first steps on finding them.
            count = torch.bincount(x[self.real(batch)], minlength=space.vocab).float() + 0.5
            with torch.no_grad():
                self.bias.copy_(torch.log(count / count.sum()))

    def lengths(self, batch: Batch) -> Tensor:
        """Steps of each item."""
        return steps(self.real(batch))

    def real(self, batch: Batch) -> Tensor:
        """(B, L) true up to and including the first `eos`; `Batch.mask` where there is one."""
        if batch.mask is not None:
            return batch.mask
        ends = (batch.x == self.space.eos).long()
        return (ends.cumsum(1) - ends) == 0

    def loss(self, batch: Batch) -> Tensor:
        """-log p(x | c), nats an item. Items of like length go through the network together."""
        required(batch.given, self.given)
        real = self.real(batch)
        dropout = getattr(self.config, "dropout", 0.0) if self.training else 0.0
        total = torch.zeros((), device=batch.x.device)
        for rows, T in groups(real):
            part = batch if rows is None else take(batch, rows)
            want = real[:, :T] if rows is None else real[rows, :T]
            logits, x, _ = self.laws(part, want, dropout)
            total = total + self.price(logits, x).sum()
        return total / len(batch.x)

    def price(self, logits: Tensor, x: Tensor) -> Tensor:
        """What learning pays (M,) for tokens x (M,) under laws of these logits (M, V): -log p."""
        return F.cross_entropy(logits, x, reduction="none")

    def laws(self, batch: Batch, want: Tensor, dropout: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
        """Logits (M, V) and tokens (M,) of the M wanted steps, want (B, T), row by row, and all hidden states
        (B, T, W)."""
        T = want.shape[1]
        x = batch.x[:, :T]
        hidden = self.states(self.shifted(x), batch.given, dropout)
        if not bool(want.all()):
            law, x = hidden[want], x[want]
        else:
            law, x = hidden.flatten(0, 1), x.flatten()
        return self.outcomes(law).float(), x, hidden

    def shifted(self, x: Tensor) -> Tensor:
        """What the network has seen before each step of x (B, T): `bos`, then the tokens before."""
        return torch.cat([torch.full_like(x[:, :1], self.space.bos), x[:, :-1]], 1)

    def outcomes(self, hidden: Tensor) -> Tensor:
        """Logits (..., V) of what may come: -inf for what is no outcome."""
        return self.head(hidden).index_fill_(-1, self.barred, -torch.inf)

    # ------------------------------------------------------------------------------------------ likelihood

    @torch.no_grad()
    def log_probs(self, batch: Batch) -> Tensor:
        """log p of each step: (B, L) nats, 0 behind the end."""
        required(batch.given, self.given)
        real = self.real(batch)
        out = torch.zeros(batch.x.shape, device=batch.x.device)
        size = max(1, NUMBERS // (self.space.length * self.space.vocab))
        used = steps(real)
        for rows in torch.split(used.argsort(stable=True), size):
            if not len(rows):
                continue
            T = max(1, int(used[rows].max()))
            want = real[rows, :T]
            values = out[rows, :T]
            logits, x, _ = self.laws(take(batch, rows), want)
            values[want] = -F.cross_entropy(logits, x, reduction="none")
            out[rows, :T] = values
        return out

    def log_prob(self, batch: Batch) -> Tensor:
        """log p(x | c): (B,) nats."""
        return self.log_probs(batch).sum(1)

    # --------------------------------------------------------------------------------------------- drawing

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
        """Draw (n, L) items; each begins with what `known` holds."""
        return self._draw(n, given, self.read(known, n), rng, temperature, grammar)

    def complete(
        self,
        known: Known,
        *,
        rng: torch.Generator,
        temperature: float = 1.0,
        grammar: Grammar | None = None,
        proposal: Family[Any] | None = None,
    ) -> Completion:
        """Go on from the beginnings that are known. `ess` is infinite: draws are exact. No `proposal` is needed."""
        x = self._draw(len(known.x), None, self.read(known, len(known.x)), rng, temperature, grammar)
        return Completion(x, torch.full((len(x),), torch.inf))

    def read(self, known: Known | None, n: int) -> tuple[Tensor, Tensor]:
        """Items x (n, L) as far as they are decided, and held (n, L), true for those steps.

        A `known` of one row stands for all n. Raises ConditionError, and Unsupported for what is no beginning.
        """
        space, device = self.space, self.barred.device
        x = torch.full((n, space.length), space.pad, device=device)
        held = torch.zeros(n, space.length, dtype=torch.bool, device=device)
        if known is None:
            return x, held
        if known.soft:
            raise Unsupported("Texts are asked for by how they begin, not by weights: 'masked' takes such wishes.")
        if known.x.ndim != 2 or known.x.shape[1] != space.length or known.mask.shape != known.x.shape:
            raise ConditionError(
                f"A known has x {tuple(known.x.shape)} and mask {tuple(known.mask.shape)}; both must be "
                f"(rows, {space.length})."
            )
        if len(known.x) not in (1, n):
            raise ConditionError(f"A known of {len(known.x)} rows was given for {n} rows: give one for all, or {n}.")
        held = known.mask.to(device).bool().expand(n, -1).clone()
        x = torch.where(held, known.x.to(device), space.pad)
        if bool(((x < 0) | (x >= space.vocab)).any()):
            raise ConditionError(f"Some known tokens are outside of 0..{space.vocab - 1}.")
        if bool((held[:, 1:] & ~held[:, :-1]).any()):
            raise Unsupported(
                "Items are written from left to right: what is known must be a beginning, without a hole before it."
            )
        return x, held

    @torch.no_grad()
    def _draw(
        self, n: int, given: Batch | None, known: tuple[Tensor, Tensor], rng: torch.Generator, temperature: float,
        grammar: Grammar | None,
    ) -> Tensor:  # fmt: skip
        check_temperature(temperature)
        given = required(given, self.given, n)
        parts = []
        for rows in torch.split(torch.arange(n, device=self.barred.device), self.rows()):
            some = take(given, rows) if given is not None else None
            parts.append(self._write(known[0][rows], known[1][rows], some, rng, temperature, grammar))
        return torch.cat(parts) if parts else known[0]

    def rows(self) -> int:
        """Items drawn at once."""
        return max(1, min(512, NUMBERS // (self.space.length * self.space.vocab)))

    def _write(
        self, x: Tensor, held: Tensor, given: Batch | None, rng: torch.Generator, temperature: float,
        grammar: Grammar | None,
    ) -> Tensor:  # fmt: skip
        """Go on with x (B, L) from what is held, in place. Rows that have ended are left behind."""
        eos, L = self.space.eos, self.space.length
        live = (~whole(x, held, self.space)).nonzero().flatten()
        if not len(live):
            return x
        first = int(held[live].all(0).long().cumprod(0).sum())  # steps that are decided in all rows
        walk = self.walk(len(live), take(given, live) if given is not None else None)
        hidden = walk.step(self.shifted(x[live, : first + 1]))
        some, fixed = x[live], held[live]
        mixed = fixed.any(0).tolist()  # steps that are decided in some of the rows
        over = torch.zeros_like(live, dtype=torch.bool)
        for s in range(first, L):
            allowed = None
            if grammar is not None:
                done = torch.zeros_like(fixed)
                done[:, :s] = True
                allowed = grammar.allow(s, some, done)
            free = ~(fixed[:, s] | over) if mixed[s] else ~over
            token = self._choose(hidden, rng, temperature, allowed, free, s)
            token = torch.where(fixed[:, s], some[:, s], token) if mixed[s] else token
            some[:, s] = torch.where(over, some[:, s], token)
            over = over | (free & (token == eos))
            ended = int(over.sum())
            if s + 1 == L or ended == len(over):
                break
            if ended > ENDED * len(over):
                x[live[over]] = some[over]
                stay = (~over).nonzero().flatten()
                live, some, fixed, token, over = live[stay], some[stay], fixed[stay], token[stay], over[stay]
                walk.keep(stay)
            hidden = walk.step(token[:, None])
        x[live] = some
        return x

    def _choose(
        self, hidden: Tensor, rng: torch.Generator, temperature: float, allowed: Tensor | None, free: Tensor, s: int
    ) -> Tensor:
        """A token a row (B,) by hidden states (B, W), of those allowed. Raises ConditionError where none is left in a
        row that is free."""
        logits = self.outcomes(hidden).to(rng.device)
        if allowed is None:
            return choose(logits, rng, temperature).to(hidden.device)
        law, mass = admit(logits, temperature=temperature, grammar=allowed)
        require_left(mass[free.to(rng.device)], s)
        return pick(law, rng).to(hidden.device)

    # ---------------------------------------------------------------------------------------------- policy

    def rollout(self, n: int, given: Batch | None = None, known: Known | None = None, *, rng: torch.Generator) -> Path:
        """Draw n items; step s is the token x[:, s], a choice where `known` had not decided it, up to the end."""
        start, held = self.read(known, n)
        given = required(given, self.given, n)
        x = self._draw(n, given, (start.clone(), held), rng, 1.0, None)
        ends = ((x == self.space.eos) & ~held).long()
        open_ = ((ends.cumsum(1) - ends) == 0) & ~held & ~whole(start, held, self.space)[:, None]
        return Path(x, x[:, :0], open_, given)

    def retrace(self, batch: Batch) -> Path:
        """The way to these items: every step up to the end is a choice."""
        return Path(batch.x, batch.x[:, :0], self.real(batch), batch.given)

    def score(self, path: Path) -> Scores:
        """log p (B, L) of each step, 0 where it was no choice, and the hidden states (B, L, W) it was chosen from.

        Free of dropout and differentiable. States behind the last choice of a batch are 0.
        """
        choice, (B, L) = path.mask, path.x.shape
        T = max(1, int(choice.any(0).nonzero().max()) + 1) if bool(choice.any()) else 1
        given = required(path.given, self.given, B)
        logits, x, hidden = self.laws(Batch(path.x, given), choice[:, :T])
        logp = -F.cross_entropy(logits, x, reduction="none")
        each = logp.new_zeros(B, T).masked_scatter(choice[:, :T], logp)
        return Scores(F.pad(each, (0, L - T)), F.pad(self.features(hidden).float(), (0, 0, 0, L - T)))


def whole(x: Tensor, held: Tensor, space: Tokens) -> Tensor:
    """(B,) whether nothing is left to write: all steps are held, or the last of them is an end."""
    count = held.sum(1)
    last = x.gather(1, (count - 1).clamp_min(0)[:, None]).squeeze(1)
    return (count == x.shape[1]) | ((count > 0) & ((last == space.eos) | (last == space.pad)))


def steps(real: Tensor) -> Tensor:
    """How many steps of real (B, L) there are up to the last true one: (B,)."""
    return torch.where(real, torch.arange(1, real.shape[1] + 1, device=real.device), 0).amax(1)


def groups(real: Tensor) -> Iterator[tuple[Tensor | None, int]]:
    """Rows of real (B, L) and the steps T that the longest of them needs, in few groups with little padding.

    (None, T) for all rows as they stand.
    """
    used = steps(real)
    order = used.argsort(descending=True, stable=True)
    lengths = used[order].clamp_min(1).cpu()
    runs = [(0, len(lengths))]
    total = int(lengths[0]) * len(lengths)
    while len(runs) < PARTS:
        # Where to cut: the rows from k on need no more than their own longest.
        best = (max(SAVES * total, LEAST), 0, 0)
        for r, (a, b) in enumerate(runs):
            saved = (lengths[a] - lengths[a:b]) * (b - torch.arange(a, b))
            k = int(saved.argmax())
            best = max(best, (float(saved[k]), r, a + k))
        if not best[2]:
            break
        (a, b), k = runs[best[1]], best[2]
        runs[best[1] : best[1] + 1] = [(a, k), (k, b)]
    for a, b in runs:
        yield (None if len(runs) == 1 else order[a:b]), int(lengths[a])
