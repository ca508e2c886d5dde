"""Completing any subset of the variables of a chain, by sequential importance resampling.

A chain draws x_1, x_2, ... in its own order; what is known may stand anywhere in it. So each row is completed by M
particles that walk the chain with the known values clamped: a free variable is drawn from p(x_v | x_<v), a known
one multiplies the particle's weight by p(known | x_<v), a wish (a range, a set) draws from the admitted codes and
multiplies by their total probability. When few particles carry the weight, they are resampled; at the end one is
drawn by weight. As M grows this is exactly p(rest | known). What comes before the first free variable or after the
last known one needs no weights and is exact as it stands.

Sources: Gordon, Salmond and Smith 1993 (doi:10.1049/ip-f-2.1993.0015); Liu and Chen 1998
(doi:10.1080/01621459.1998.10473765); unbiased weight estimates: Andrieu and Roberts 2009 (arXiv:0903.5480).

Letters: B rows, M particles a row, D variables, C codes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from likely.core import Grammar
from likely.errors import ConditionError
from likely.families.trees.chain import Chain, Floats, Ints

SPREAD = 0.5  # resample when fewer than this share of the particles carry the weight


@dataclass(frozen=True)
class Wish:
    """What is known of B rows: decided `codes` (B, D) where `mask`, and weights `soft[v]` (B, C)."""

    codes: Ints
    mask: NDArray[np.bool_]
    soft: Mapping[int, Floats]

    def rows(self, rows: Ints) -> Wish:
        """The same for some rows."""
        return Wish(self.codes[rows], self.mask[rows], {v: w[rows] for v, w in self.soft.items()})


def follow_rules(chain: Chain, wish: Wish) -> Wish:
    """What is known of a variable that an earlier one determines, said of the earlier one."""
    soft = dict(wish.soft)
    mask = wish.mask.copy()
    for v in chain.order[::-1]:
        u = int(chain.source[v])
        if u < 0:
            continue
        rule = chain.rules[v]
        decided = wish.mask[:, v]
        if decided.any():
            agrees = rule[None, :] == wish.codes[:, v, None]
            clash = decided & mask[:, u] & ~agrees[np.arange(len(mask)), wish.codes[:, u]]
            if clash.any():
                raise ConditionError(
                    "These given values exclude each other: in all rows learned from, one of them decides the other."
                )
            _narrow(soft, u, np.where((decided & ~mask[:, u])[:, None], agrees, 1.0))
        if v in soft:
            _narrow(soft, u, soft.pop(int(v))[:, rule])
    return Wish(wish.codes, mask, soft)


def _narrow(soft: dict[int, Floats], v: int, weights: Floats) -> None:
    soft[v] = soft[v] * weights if v in soft else weights


class Walk:
    """Draws variables of many rows along a chain, under an optional grammar."""

    def __init__(self, chain: Chain, rng: np.random.Generator, temperature: float, grammar: Grammar | None) -> None:
        self.chain, self.rng, self.temperature, self.grammar = chain, rng, temperature, grammar

    def step(self, v: int, x: NDArray[np.float32], done: NDArray[np.bool_], soft: Floats | None) -> tuple[Ints, Floats]:
        """Codes of variable v for rows x (B, D), and the log of the probability that `soft` (B, C) admits."""
        allowed = self._allowed(v, x, done)
        if soft is None and allowed is None:
            return self.chain.draw(v, x, self.rng, self.temperature), np.zeros(len(x))
        p = self.chain.distribution(v, x)
        if self.temperature != 1.0:
            p = p ** (1 / self.temperature)
            p /= p.sum(1, keepdims=True)
        if allowed is not None:
            # Where earlier choices left nothing, the codec mends the row: any code will do.
            kept = p * allowed
            p = np.where(kept.sum(1, keepdims=True) > 0, kept, p)
            p /= p.sum(1, keepdims=True)
        if soft is not None:
            p = p * soft
        total = p.sum(1)
        edges = np.cumsum(p, 1)
        pick = (edges < (self.rng.random(len(p)) * total)[:, None]).sum(1)
        with np.errstate(divide="ignore"):
            return np.minimum(pick, p.shape[1] - 1), np.log(total)

    def weigh(self, v: int, x: NDArray[np.float32], done: NDArray[np.bool_], codes: Ints) -> Floats:
        """log p(x_v = codes | before): (B,), an unbiased estimate of p."""
        allowed = self._allowed(v, x, done)
        if allowed is None:
            return self.chain.log_prob(v, x, codes, self.rng)
        p = self.chain.distribution(v, x) * allowed
        with np.errstate(divide="ignore"):
            logp: Floats = np.log(p[np.arange(len(p)), codes]) - np.log(np.maximum(p.sum(1), 1e-300))
        return logp

    def _allowed(self, v: int, x: NDArray[np.float32], done: NDArray[np.bool_]) -> Floats | None:
        if self.grammar is None:
            return None
        weights = self.grammar.allow(v, torch.from_numpy(x.astype(np.int64)), torch.from_numpy(done))
        return None if weights is None else np.broadcast_to(weights.numpy(), (len(x), self.chain.space.sizes[v]))


def complete(walk: Walk, wish: Wish, particles: int) -> tuple[Ints, Floats]:
    """Codes (B, D) that agree with the wish, and the effective number of particles (B,), infinite where exact."""
    chain = walk.chain
    b, d = wish.mask.shape
    order = chain.order
    evidence = wish.mask.copy()
    for v in wish.soft:
        evidence[:, v] = True
    evidence[:, chain.source >= 0] = False  # said of the variable that decides it (`follow_rules`)
    ranked = evidence[:, order]
    loose = ~wish.mask[:, order]  # drawn, freely or among the admitted codes
    first = np.where(loose.any(1), np.argmax(loose, 1), d)
    last = np.where(ranked.any(1), d - 1 - np.argmax(ranked[:, ::-1], 1), -1)
    ess = np.full(b, np.inf)

    # Rows with something known behind a free variable: M particles walk from the first free to the last known.
    hard = np.flatnonzero(last > first)
    x = np.where(wish.mask, wish.codes, 0).astype(np.float32)
    done = wish.mask.copy()
    if len(hard):
        part = wish.rows(hard)
        swarm, drawn, ess[hard] = _swarm(walk, part, first[hard], last[hard], particles)
        x[hard], done[hard] = swarm, drawn
    for v in order:
        rows = np.flatnonzero(~done[:, v])
        if len(rows):
            soft = wish.soft[v][rows] if v in wish.soft else None
            codes, total = walk.step(v, x[rows], done[rows], soft)
            if np.isneginf(total).any():
                raise _impossible()
            x[rows, v], done[rows, v] = codes, True
    return x.astype(np.int64), ess


def _swarm(
    walk: Walk, wish: Wish, first: Ints, last: Ints, m: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_], Floats]:
    """Rows (B, D) filled up to `last`, what is filled, and their effective number of particles."""
    rng = walk.rng
    b = len(wish.mask)
    x = np.repeat(np.where(wish.mask, wish.codes, 0).astype(np.float32), m, 0)
    done = np.repeat(wish.mask, m, 0)
    logw = np.zeros((b, m))
    ess = np.full(b, float(m))
    for p, v in enumerate(walk.chain.order):
        rows = np.flatnonzero((first <= p) & (p <= last))
        if len(rows) == 0:
            continue
        decided = rows[wish.mask[rows, v]]
        drawn = rows[~wish.mask[rows, v]]
        if len(drawn):
            flat = _particles(drawn, m)
            soft = np.repeat(wish.soft[v][drawn], m, 0) if v in wish.soft else None
            # A row without a wish of its own carries weights of one, which change nothing.
            codes, total = walk.step(v, x[flat], done[flat], soft)
            x[flat, v], done[flat, v] = codes, True
            logw[drawn] += total.reshape(len(drawn), m)
        if len(decided):
            flat = _particles(decided, m)
            codes = np.repeat(wish.codes[decided, v], m)
            logw[decided] += walk.weigh(v, x[flat], done[flat], codes).reshape(len(decided), m)
        if v in wish.soft or len(decided):
            touched = rows if v in wish.soft else decided
            peak = logw[touched].max(1, keepdims=True)
            if np.isneginf(peak).any():
                raise _impossible()
            w = np.exp(logw[touched] - peak)
            effective = w.sum(1) ** 2 / (w**2).sum(1)
            ess[touched] = np.minimum(ess[touched], effective)
            thin = np.flatnonzero((effective < SPREAD * m) & (p < last[touched]))
            if len(thin):
                chosen = _resample(w[thin], rng)
                target, source = _particles(touched[thin], m), (touched[thin][:, None] * m + chosen).ravel()
                x[target], done[target] = x[source], done[source]
                logw[touched[thin]] = 0.0
    w = np.exp(logw - logw.max(1, keepdims=True))
    edges = np.cumsum(w, 1)
    pick = np.minimum((edges < (rng.random(b) * edges[:, -1])[:, None]).sum(1), m - 1)
    flat = np.arange(b) * m + pick
    return x[flat], done[flat], ess


def weigh_proposals(walk: Walk, wish: Wish, x: Ints, logq: Floats) -> tuple[Ints, Floats]:
    """One of M proposed rows x (B, M, D), drawn with log-probabilities logq (B, M), for each of B rows; and the
    effective number of proposals: importance resampling with weights p(x) * soft(x) / q(x)."""
    b, m, d = x.shape
    flat = x.reshape(b * m, d)
    dense = flat.astype(np.float32)
    logw = -logq.reshape(b * m)
    with np.errstate(divide="ignore"):
        for v in walk.chain.order:
            logw += walk.chain.log_prob(v, dense, flat[:, v], walk.rng)
        for v, weights in wish.soft.items():
            logw += np.log(np.repeat(weights, m, 0)[np.arange(b * m), flat[:, v]])
    logw = logw.reshape(b, m)
    peak = logw.max(1, keepdims=True)
    w = np.exp(logw - np.where(np.isneginf(peak), 0.0, peak))
    total = w.sum(1)
    pick = np.minimum((np.cumsum(w, 1) < (walk.rng.random(b) * total)[:, None]).sum(1), m - 1)
    ess = np.where(total > 0, total**2 / np.maximum((w**2).sum(1), 1e-300), 0.0)
    return x[np.arange(b), pick], ess


def _particles(rows: Ints, m: int) -> Ints:
    flat: Ints = (rows[:, None] * m + np.arange(m)).ravel()
    return flat


def _resample(w: Floats, rng: np.random.Generator) -> Ints:
    """Systematic resampling: (B, M) weights to (B, M) indices, each particle kept about in proportion to its weight."""
    b, m = w.shape
    edges = np.cumsum(w, 1)
    edges /= edges[:, -1:]
    points = (np.arange(m) + rng.random((b, 1))) / m
    # Row-wise searchsorted: shift each row into its own unit interval.
    shift = np.arange(b)[:, None]
    found = np.searchsorted((edges + shift).ravel(), (points + shift).ravel()).reshape(b, m) - shift * m
    return np.clip(np.asarray(found, np.int64), 0, m - 1)


def _impossible() -> ConditionError:
    return ConditionError(
        "No row can meet this condition: the given values exclude each other under the model or the constraints. "
        "Give fewer of them, or wider ranges."
    )
