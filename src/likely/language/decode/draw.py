"""From logits to a token: penalties, constraint, temperature, truncation, and one random number a token.

A token is drawn by inverting the distribution function: the first token whose cumulated probability passes u, u uniform
in [0, 1). Each text has its own stream of such numbers, the t-th token takes the t-th: what else is in the batch
changes nothing, and a draft that is verified draws what would have been drawn without it.

Letters: B texts, V vocabulary, C candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from likely.language.decode.sampling import Sampling

BLOCK, CANDIDATES, AHEAD = 256, 256, 64


class Noise:
    """Uniform numbers in [0, 1) of sample `index` of a prompt under a seed; those of other prompts are independent."""

    def __init__(self, seed: int, index: int, prompt: Sequence[int]) -> None:
        said = ",".join(map(str, (seed, index, *prompt))).encode()
        self.rng = torch.Generator().manual_seed(int.from_bytes(blake2b(said, digest_size=8).digest(), "big") >> 1)
        self.ahead: list[float] = []

    def draw(self) -> float:
        """The next number."""
        if not self.ahead:
            self.ahead = torch.rand(AHEAD, generator=self.rng, dtype=torch.float64).tolist()[::-1]
        return self.ahead.pop()


class State(Protocol):
    """What drawing has to know of a text."""

    @property
    def sampling(self) -> Sampling: ...
    @property
    def prompt(self) -> Sequence[int]: ...
    @property
    def ids(self) -> Sequence[int]: ...  # of the text so far, without the prompt
    @property
    def noise(self) -> Noise: ...
    def allowed(self, vocab: int) -> Tensor | None: ...  # (vocab,) true = may come next; None = all


class Drawn(NamedTuple):
    """Tokens (B) with their log-probabilities (B), and the likeliest alternatives of each that asked for them."""

    tokens: list[int]
    logprobs: list[float]
    tops: list[tuple[tuple[int, float], ...]]


@torch.inference_mode()
def draw(logits: Tensor, states: Sequence[State]) -> Drawn:
    """One token a row of logits (B, V) float32, which are changed. Log-probabilities are those before any change."""
    total = logits.logsumexp(1)
    tops = [top(row - lse, state.sampling.logprobs) for row, lse, state in zip(logits, total, states, strict=True)]
    before: dict[int, Tensor] = {}
    for i, state in enumerate(states):
        allowed = state.allowed(logits.shape[1])
        if allowed is not None or _penalised(state.sampling):
            before[i] = logits[i].clone()
            reshape(logits[i], state, allowed)
    tokens = torch.zeros(len(states), dtype=torch.long, device=logits.device)
    for shape, rows in _alike(states).items():
        part = logits if len(rows) == len(states) else logits[rows]
        if shape.greedy:
            tokens[rows] = part.argmax(1)
        else:
            u = torch.tensor([states[i].noise.draw() for i in rows], dtype=torch.float64, device=logits.device)
            tokens[rows] = pick(part, shape, u)
    found = logits.gather(1, tokens[:, None])[:, 0]
    for i, row in before.items():
        found[i] = row[tokens[i]]
    return Drawn(tokens.tolist(), (found - total).tolist(), tops)


class _Shape(NamedTuple):
    """The part of a sampling that rows must share to be drawn together."""

    temperature: float
    top_k: int
    top_p: float
    min_p: float

    @property
    def greedy(self) -> bool:
        return self.temperature == 0


def _alike(states: Sequence[State]) -> dict[_Shape, list[int]]:
    groups: dict[_Shape, list[int]] = {}
    for i, state in enumerate(states):
        s = state.sampling
        shape = _Shape(s.temperature, s.top_k, s.top_p, s.min_p) if not s.greedy else _Shape(0.0, 0, 1.0, 0.0)
        groups.setdefault(shape, []).append(i)
    return groups


def top(logprobs: Tensor, k: int) -> tuple[tuple[int, float], ...]:
    """The k likeliest of (V,) with their log-probabilities, likeliest first."""
    if not k:
        return ()
    values, ids = logprobs.topk(min(k, len(logprobs)))
    return tuple(zip(ids.tolist(), values.tolist(), strict=True))


def _penalised(s: Sampling) -> bool:
    return bool(s.repetition != 1 or s.presence or s.frequency or s.bias)


def reshape(z: Tensor, state: State, allowed: Tensor | None) -> None:
    """Penalties, bias and constraint on the logits z (V,) of one text, in place."""
    s = state.sampling
    if s.repetition != 1:
        ids = torch.tensor(sorted({*state.prompt, *state.ids}), device=z.device)
        old = z[ids]
        z[ids] = torch.where(old > 0, old / s.repetition, old * s.repetition)
    if (s.presence or s.frequency) and state.ids:
        ids, counts = torch.unique(torch.tensor(state.ids, device=z.device), return_counts=True)
        z[ids] -= s.presence + s.frequency * counts
    for token, value in s.bias.items():
        z[token] += value
    if allowed is not None:
        z.masked_fill_(~allowed.to(z.device), -torch.inf)


def pick(z: Tensor, shape: Sampling | _Shape, u: Tensor) -> Tensor:
    """(B,) tokens of logits z (B, V), all drawn the same way with the numbers u (B,)."""
    if shape.temperature != 1:
        z = (z - z.amax(1, keepdim=True)) / shape.temperature
    V = z.shape[1]
    if not shape.top_k and shape.top_p >= 1:
        p = z.softmax(1)
        if shape.min_p:
            p = p.masked_fill(p < shape.min_p * p.amax(1, keepdim=True), 0.0)
        return invert(p, u)
    count = min(shape.top_k or CANDIDATES, V)
    values, ids = z.topk(count)
    p = values.softmax(1) if shape.top_k else (values - z.logsumexp(1, keepdim=True)).exp()
    if not shape.top_k and bool((p.sum(1) < shape.top_p).any()):  # rare: a flat distribution
        values, ids = z.sort(1, descending=True)
        p = values.softmax(1)
    p = truncate(p, shape.top_p, shape.min_p)
    return ids.gather(1, invert(p, u)[:, None])[:, 0]


def truncate(p: Tensor, top_p: float, min_p: float) -> Tensor:
    """Probabilities p (B, C), likeliest first, without those that top_p and min_p leave out; not normalised."""
    if top_p < 1:
        before = p.cumsum(1) - p
        p = p.masked_fill(before >= top_p, 0.0)
        # where rounding would leave out all, `before` of the first is 0 and keeps it
    return p.masked_fill(p < min_p * p[:, :1], 0.0) if min_p else p


def invert(p: Tensor, u: Tensor) -> Tensor:
    """(B,) the first index of p (B, C), weights that need no normalising, whose cumulated weight passes u * total."""
    B, C = p.shape
    if C > 4 * BLOCK:  # sums of blocks first: a cumulated sum over the whole vocabulary is slow
        blocks = -(-C // BLOCK)
        p = torch.nn.functional.pad(p, (0, blocks * BLOCK - C)).view(B, blocks, BLOCK)
        upto = p.sum(2, dtype=torch.float64).cumsum(1)
        target = _below(u, upto)
        block = _passed(upto, target)
        row = torch.arange(B, device=p.device)
        target = target - torch.where(block > 0, upto[row, (block - 1).clamp_min(0)], 0.0)
        inner = p[row, block]
        return block * BLOCK + _settle(inner, _passed(inner.cumsum(1, dtype=torch.float64), target))
    upto = p.cumsum(1, dtype=torch.float64)
    return _settle(p, _passed(upto, _below(u, upto)))


def _below(u: Tensor, upto: Tensor) -> Tensor:
    """u * total, less than the total however it is rounded."""
    total = upto[:, -1]
    return torch.minimum(u * total, total.nextafter(torch.zeros_like(total)))


def _passed(upto: Tensor, target: Tensor) -> Tensor:
    """The first index whose cumulated weight is over the target."""
    return torch.searchsorted(upto, target[:, None], right=True)[:, 0].clamp_max(upto.shape[1] - 1)


def _settle(p: Tensor, index: Tensor) -> Tensor:
    """The index, or the last one with weight where rounding led to one without."""
    row = torch.arange(len(p), device=p.device)
    bad = p[row, index] <= 0
    if not bool(bad.any()):
        return index
    last = p.shape[1] - 1 - (p > 0).flip(1).int().argmax(1)
    return torch.where(bad, last, index)
