"""What people say of two items, as a law with a reward inside; and the reward under which they said most likely that.

A reward is linear in features, r(x) = w.f(x). Of a pair with d = f(left) - f(right), annotator a says

    z = s_a d.w,    q(left, right, tie) = softmax(z/2, -z/2, log nu),    P = (1 - eps) q + eps / K

so that log P(left) / P(right) = z where nobody throws coins: Bradley and Terry (1952), with ties by Davidson (1970).
s_a is how reliable an annotator is: log s_a ~ N(0, 1/2), fixed to 0 where there is one. eps is the share of answers
thrown by coin (K = 3 sides, 2 where nobody ever ties): logit eps ~ N(-3, 1). It bounds what one mistaken answer costs.
log nu ~ N(0, 2); w ~ N(0, 1/ridge), a ridge a feature.

*Strength* (0 unsaid, 1 slightly, 2, 3 clearly) is a weight: 1, 1/2, 1, 3/2. Not a margin (-log sigmoid(z - m), Touvron
et al. 2023, arXiv:2307.09288): a margin is no likelihood of an answer, it makes P(left) wrong by the margin, and what
is wanted of P(left) here is that it can be believed. A slight preference is often noise: it counts less.

The maximum is found by Newton's method; where the curvature is not that of a hill, by its expected value (Fisher
scoring), which always is; steps are halved until they climb. In float64, no random number: the same machine gives the
same bytes.

Sources: Bradley and Terry, Biometrika 39 (1952); Davidson, JASA 65 (1970) 317-328; annotators: Dawid and Skene, Appl.
Statist. 28 (1979), Chen et al., WSDM 2013 (Crowd-BT).

Letters: M pairs, D features, A annotators.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

WEIGHTS = (1.0, 0.5, 1.0, 1.5)  # of strengths 0 to 3
SPREAD = 0.5  # of log s_a
LAPSE = (-3.0, 1.0)  # of logit eps
TIES = 2.0  # of log nu
STEPS = 200


class Said(NamedTuple):
    """M judged pairs: `apart` (M, D) f(left) - f(right), `outcome` (M,) 0 left, 1 right, 2 tie, `weight` (M,),
    `annotator` (M,) in [0, A)."""

    apart: Tensor
    outcome: Tensor
    weight: Tensor
    annotator: Tensor

    def take(self, rows: Tensor) -> Said:
        """Some of them."""
        return Said(*[part[rows] for part in self])


@dataclass(frozen=True)
class Law:
    """What was found: `w` (D,), `s` (A,) log reliabilities, `nu` its log (-inf without ties), `eps` its logit."""

    w: Tensor
    s: Tensor
    nu: float
    eps: float

    def shares(self, apart: Tensor, annotator: Tensor | None = None) -> Tensor:
        """P (M, 3) of left, right, tie; for an annotator that is not known, one of reliability 1."""
        z = apart @ self.w
        return outcomes(z if annotator is None else z * self.s[annotator].exp(), self.nu, self.eps)


def outcomes(z: Tensor, nu: float, eps: float) -> Tensor:
    """P (M, 3) of left, right and tie, from z (M,), log nu and logit eps."""
    q = torch.softmax(torch.stack([z / 2, -z / 2, torch.full_like(z, nu)], 1), 1)
    e, even = _sigmoid(eps), _even(nu).to(z)
    return (1 - e) * q + e * even


def fit(
    said: Said, ridge: Tensor, annotators: int, *, ties: bool, start: Law | None = None, near: float = 0.0,
    hold: bool = False,
) -> Law:  # fmt: skip
    """The law at the maximum of the posterior; `ridge` (D,) > 0, `ties` whether there are any, `start` to begin from.
    `near`: nats from the maximum that will do, as the next step promises; 0 = until the slope is 0. `hold`: w alone."""
    D, A = said.apart.shape[1], annotators
    law = start or Law(said.apart.new_zeros(D), said.apart.new_zeros(A), 0.0, LAPSE[0])
    law = replace(law, nu=(law.nu if math.isfinite(law.nu) else 0.0) if ties else -math.inf)
    value = posterior(law, said, ridge)
    free = torch.arange(D) if hold else _free(D, A, ties)
    enough = 1e-9 * (1 + float(said.weight.sum()))
    for _ in range(STEPS):
        slope, curves = derivatives(law, said, ridge)
        step = torch.zeros_like(slope)
        for curve in curves:
            root, wrong = torch.linalg.cholesky_ex(curve[free][:, free])
            if int(wrong) == 0:
                step[free] = torch.cholesky_solve(slope[free, None], root).squeeze(1)
                break
        if float(slope[free].abs().max()) < enough or float(slope @ step) / 2 < near:
            break
        size = 1.0
        while True:
            tried = _moved(law, size * step, D, A, ties)
            new = posterior(tried, said, ridge)
            if new >= value - 1e-13 * abs(value) or size < 1e-8:
                break
            size /= 2
        law, value = tried, new
    return law


def posterior(law: Law, said: Said, ridge: Tensor) -> float:
    """The log-likelihood of what was said, and the log-priors, up to constants."""
    P = law.shares(said.apart, said.annotator)
    likelihood = (said.weight * P.gather(1, said.outcome[:, None]).squeeze(1).log()).sum()
    prior = (ridge * law.w**2).sum() + (law.s**2).sum() / SPREAD**2 + ((law.eps - LAPSE[0]) / LAPSE[1]) ** 2
    prior = prior + ((law.nu / TIES) ** 2 if math.isfinite(law.nu) else 0.0)
    return float(likelihood - prior / 2)


def derivatives(law: Law, said: Said, ridge: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """The slope (N,) of the log-posterior in (w, s, log nu, logit eps), N = D + A + 2, and the curvature (N, N) of its
    negative, as it is and as it is to be expected."""
    (M, D), A = said.apart.shape, len(law.s)
    s = law.s.exp()[said.annotator]
    z = s * (said.apart @ law.w)
    q = torch.softmax(torch.stack([z / 2, -z / 2, torch.full_like(z, law.nu)], 1), 1)
    e, even = _sigmoid(law.eps), _even(law.nu).to(z)
    P = (1 - e) * q + e * even
    side, tie = z.new_tensor([0.5, -0.5, 0.0]), z.new_tensor([0.0, 0.0, 1.0])
    by = torch.stack([
        (1 - e) * q * (side - (q * side).sum(1, keepdim=True)),  # dP / dz
        (1 - e) * q * (tie - q[:, 2:]),  # dP / dlog nu
        e * (1 - e) * (even - q),  # dP / dlogit eps
    ], 2)  # fmt: skip  # (M, 3 answers, 3 letters)
    sure = torch.where(P > 0, P, 1.0)
    at = (torch.arange(M), said.outcome)
    score = said.weight[:, None] * by[at] / sure[at][:, None]
    expected = torch.einsum("mki,mkj->mij", by * (said.weight[:, None] / sure)[:, :, None], by)
    # -d2 log P = (dP / P)(dP / P)' - d2P / P of what was said, in the same three letters.
    turn = torch.stack([side, tie], 1)  # (3 answers, 2)
    u = turn - (q @ turn)[:, None]  # (M, 3, 2)
    bend = u[at][:, :, None] * u[at][:, None] - torch.einsum("mk,mki,mkj->mij", q, u, u)
    second = z.new_zeros(M, 3, 3)
    second[:, :2, :2] = (1 - e) * q[at][:, None, None] * bend
    second[:, :2, 2] = second[:, 2, :2] = -e * by[at][:, :2]
    second[:, 2, 2] = e * (1 - e) * (1 - 2 * e) * (even[said.outcome] - q[at])
    seen = (
        score[:, :, None] * (score / said.weight[:, None])[:, None] - (said.weight / sure[at])[:, None, None] * second
    )
    # How z moves with w and with log s.
    who = torch.nn.functional.one_hot(said.annotator, A).to(z)
    J = torch.cat([s[:, None] * said.apart, z[:, None] * who], 1)
    N = D + A
    slope = torch.cat([J.T @ score[:, 0], score[:, 1:].sum(0)])
    observed = _spread(J, seen)
    # z = exp(log s) d.w bends: d2z / dw dlog s = s d, d2z / dlog s2 = z.
    cross = J[:, :D].T @ (score[:, :1] * who)
    observed[:D, D:N] -= cross
    observed[D:N, :D] -= cross.T
    observed[D:N, D:N] -= torch.diag(who.T @ (score[:, 0] * z))
    nu = law.nu if math.isfinite(law.nu) else 0.0
    there = torch.cat([law.w, law.s, z.new_tensor([nu, law.eps - LAPSE[0]])])
    prior = torch.cat([ridge, torch.full((A,), SPREAD**-2).to(z), z.new_tensor([TIES**-2, LAPSE[1] ** -2])])
    return slope - prior * there, (observed + torch.diag(prior), _spread(J, expected) + torch.diag(prior))


def _spread(J: Tensor, by: Tensor) -> Tensor:
    """Curvatures (M, 3, 3) in (z, log nu, logit eps), summed, in all letters; J (M, N - 2) how z moves."""
    side = J.T @ by[:, 0, 1:]
    return torch.cat([
        torch.cat([J.T @ (by[:, :1, 0] * J), side], 1), torch.cat([side.T, by[:, 1:, 1:].sum(0)], 1)
    ])  # fmt: skip


def _free(D: int, A: int, ties: bool) -> Tensor:
    """Which of the letters move: one annotator's reliability does not, nor nu where nobody ties."""
    return torch.tensor([True] * D + [A > 1] * A + [ties, True]).nonzero().flatten()


def _moved(law: Law, step: Tensor, D: int, A: int, ties: bool) -> Law:
    nu = law.nu + float(step[D + A]) if ties else law.nu
    return Law(law.w + step[:D], law.s + step[D : D + A], nu, law.eps + float(step[-1]))


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def _even(nu: float) -> Tensor:
    return torch.tensor([1 / 3] * 3 if math.isfinite(nu) else [0.5, 0.5, 0.0], dtype=torch.float64)
