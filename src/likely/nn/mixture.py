"""A mixture of normal laws, fitted by expectation maximisation: what the latents of a data set look like.

    p(z) = sum_m w_m N(z; mu_m, S_m)

    E   r_nm = w_m N(z_n; mu_m, S_m) / p(z_n)
    M   w_m = mean_n r_nm,  mu_m = sum_n r_nm z_n / sum_n r_nm,  S_m likewise, shrunk towards its pooled diagonal

(Dempster, Laird and Rubin 1977, doi:10.1111/j.2517-6161.1977.tb01600.x; start by k-means++, Arthur and Vassilvitskii
2007.)
A covariance of few points is singular; as if it had seen a few more points with the pooled diagonal covariance within
components, it never is. How many components there are is judged by a tenth of the items, left out: 1, 2, 4, 8, ...
until two in a row bring nothing. (BIC was tried: on latents of 1,200 digits it stopped at 10 where unseen digits were
likelier under 30, and samples nearer to them.) 10,000 items are enough to judge by; the law that won there is where
the fit to all of them starts.

Everything is buffers of fixed size, so that a model file holds it; components that are not used have weight 0.
A fresh mixture is the standard normal law.

Letters: n items or points, S points an item, Z their size, M components.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

ROUNDS = 20  # of EM at most, from a fresh start and again with all items
JUDGED = 10_000  # items that judge the number of components
TOLERANCE = 1e-3  # nats a point a round: below it EM has arrived
NOTHING = 1e-7  # a responsibility that counts as none
SHRINK = 2.0  # points' worth of the pooled diagonal covariance added to each component, beyond Z
CHUNK = 1 << 22  # numbers at a time


class Mixture(nn.Module):
    """Up to `components` normal laws of `size` variables."""

    weight: Tensor
    mean: Tensor
    root: Tensor

    def __init__(self, size: int, components: int) -> None:
        super().__init__()
        self.size, self.components = size, components
        # Weights, not their logarithms: those of unused components are not finite, and training checks that all is.
        self.register_buffer("weight", torch.eye(components)[0])
        self.register_buffer("mean", torch.zeros(components, size))
        self.register_buffer("root", torch.eye(size).repeat(components, 1, 1))  # S = root root^T, lower triangular

    def log_prob(self, z: Tensor, weights: Tensor | None = None) -> Tensor:
        """log p(z) of z (B, *, Z): (B, *), nats. `weights` (B, M) take the place of w, for each of the B."""
        used = self.weight.nonzero().flatten()
        flat = z.reshape(-1, self.size)
        own = self.weight[used].log()
        law = Law(torch.zeros_like(own) if weights is not None else own, self.mean[used], self.root[used])
        if weights is not None:
            times = len(flat) // max(len(weights), 1)
            own = weights[:, used].log().repeat_interleave(times, 0)
        parts = []
        for rows in torch.split(torch.arange(len(flat), device=z.device), law.rows()):
            joint = law.joint(flat[rows])
            parts.append(torch.logsumexp(joint if weights is None else joint + own[rows], 1))
        return (torch.cat(parts) if parts else flat.new_zeros(0)).view(z.shape[:-1])

    def sample(self, n: int, rng: torch.Generator, temperature: float = 1.0, weights: Tensor | None = None) -> Tensor:
        """(n, Z) draws; `temperature` scales the spread of each component. `weights` (n, M) take the place of w."""
        if weights is None:
            place = torch.multinomial(self.weight.cpu(), n, replacement=True, generator=rng)
        else:
            place = torch.multinomial(weights.cpu(), 1, generator=rng)[:, 0] if n else torch.zeros(0, dtype=torch.long)
        place, noise = place.to(self.mean.device), torch.randn(n, self.size, generator=rng).to(self.mean.device)
        return self.mean[place] + temperature * torch.einsum("nij,nj->ni", self.root[place], noise)

    def shares(self, z: Tensor, weights: Tensor | None = None) -> Tensor:
        """p(component | z) of z (n, Z): (n, M); `weights` (n, M) as above."""
        used = self.weight.nonzero().flatten()
        own = (self.weight[used] if weights is None else weights[:, used]).log()
        law = Law(torch.zeros(len(used), device=z.device), self.mean[used], self.root[used])
        found = z.new_zeros(len(z), self.components)
        for rows in torch.split(torch.arange(len(z), device=z.device), law.rows()):
            joint = law.joint(z[rows]) + (own if weights is None else own[rows])
            found[rows[:, None], used] = torch.softmax(joint, 1)
        return found

    @torch.no_grad()
    def fit(self, z: Tensor, *, rng: torch.Generator) -> None:
        """Fit to z (n, S, Z): n items that gave S points each."""
        points = z.flatten(0, 1)
        centre = points.mean(0)
        spread = points.std(0).clamp_min(1e-6) if len(points) > 1 else torch.ones_like(centre)
        z = (z - centre) / spread  # sums of squares lose digits where the mean is far from 0
        order = torch.randperm(len(z), generator=rng)[:JUDGED].to(z.device)
        left, kept = z[order[: len(order) // 10]].flatten(0, 1), z[order[len(order) // 10 :]].flatten(0, 1)
        best, least, worse = start(kept, 1, rng), math.inf, 0
        for m in ladder(min(self.components, len(order) // 4)):
            law = improve(start(kept, m, rng), kept)
            loss = -float(torch.logsumexp(law.joint(left), 1).mean()) if len(left) else 0.0
            worse = worse + 1 if loss >= least else 0
            if worse == 2:  # one rung can fail by an unlucky start
                break
            if not worse:
                best, least = law, loss
        best = improve(best, z.flatten(0, 1))
        m = len(best.mean)
        self.weight.zero_()[:m] = best.log_weight.exp()
        self.mean.zero_()[:m] = centre + spread * best.mean
        self.root.copy_(torch.eye(self.size))[:m] = spread[:, None] * best.root


class Law:
    """m components while they are being worked with."""

    def __init__(self, log_weight: Tensor, mean: Tensor, root: Tensor) -> None:
        self.log_weight, self.mean, self.root = log_weight, mean, root
        m, size = mean.shape
        eye = torch.eye(size, device=mean.device).expand(m, -1, -1)
        inverse = torch.linalg.solve_triangular(root, eye, upper=False)  # (m, Z, Z)
        self.map = inverse.permute(2, 0, 1).reshape(size, m * size)
        self.offset = torch.einsum("mij,mj->mi", inverse, mean).flatten()
        half = torch.diagonal(root, dim1=1, dim2=2).log().sum(1)
        self.constant = log_weight - half - 0.5 * size * math.log(2 * math.pi)

    def rows(self) -> int:
        """Points at a time."""
        return int(max(1, CHUNK // max(self.map.shape[1], 1)))

    def joint(self, z: Tensor) -> Tensor:
        """log w_m N(z; m): (n, m)."""
        white: Tensor = (z @ self.map).sub_(self.offset).view(len(z), *self.mean.shape)
        joint: Tensor = self.constant - 0.5 * white.square_().sum(2)
        return joint


def ladder(most: int) -> list[int]:
    """1, 2, 4, 8, ...: components to try, up to `most`, but 1 at least."""
    return [1 << k for k in range(max(most, 1).bit_length())]


def start(z: Tensor, m: int, rng: torch.Generator) -> Law:
    """A first law of m components for z (n, Z): one for each group that k-means finds."""
    resp = torch.zeros(len(z), m, device=z.device)
    resp[torch.arange(len(z), device=z.device), nearest(z, seeds(z, m, rng))] = 1.0
    return maximise(z, resp)


def improve(law: Law, z: Tensor, rounds: int = ROUNDS) -> Law:
    """Expectation maximisation on z (n, Z), from a law of m components."""
    resp = torch.ones(len(z), len(law.mean), device=z.device)
    if len(law.mean) == 1:
        return maximise(z, resp)
    before = -math.inf
    for _ in range(rounds):
        total, at = 0.0, 0
        for part in torch.split(z, law.rows()):
            joint = law.joint(part)
            norm = torch.logsumexp(joint, 1)
            resp[at : at + len(part)] = torch.exp(joint - norm[:, None])
            total += float(norm.sum())
            at += len(part)
        if total / len(z) - before < TOLERANCE:
            break
        before = total / len(z)
        law = maximise(z, resp)
    return law


def maximise(z: Tensor, resp: Tensor) -> Law:
    """The M step from responsibilities (n, m)."""
    size, m = z.shape[1], resp.shape[1]
    resp = torch.where(resp > NOTHING, resp, 0.0)
    count = resp.sum(0).clamp_min(1e-6)
    mean = (resp.T @ z) / count[:, None]
    scatter = z.new_zeros(m, size, size)
    for k in range(m):  # most points belong to few components
        rows = (resp[:, k] > NOTHING).nonzero().flatten()
        scatter[k] = (z[rows] * resp[rows, k, None]).T @ z[rows]
    scatter -= count[:, None, None] * mean[:, :, None] * mean[:, None, :]
    pooled = (torch.diagonal(scatter, dim1=1, dim2=2).sum(0) / len(z)).clamp_min(1e-6)
    # A component of one point would be narrow in every direction; these pseudo-points keep it as wide as the others.
    extra = size + SHRINK
    cov = (scatter + extra * torch.diag(pooled)) / (count + extra)[:, None, None]
    cov = 0.5 * (cov + cov.transpose(1, 2))
    return Law(torch.log(count / count.sum()), mean, torch.linalg.cholesky(cov))


def seeds(z: Tensor, m: int, rng: torch.Generator) -> Tensor:
    """m points of z (n, Z), each far from those before it: (m, Z)."""
    chosen = z[torch.randint(len(z), (1,), generator=rng).to(z.device)]
    far = torch.full((len(z),), torch.inf, device=z.device)
    for _ in range(m - 1):
        far = torch.minimum(far, (z - chosen[-1]).square().sum(1))
        weight = (far / far.sum()).cpu() if float(far.sum()) > 0 else torch.ones(len(z))
        # One uniform number and a running sum: torch.multinomial takes at most 2^24 categories.
        climb = weight.double().cumsum(0)
        place = torch.searchsorted(climb, climb[-1] * torch.rand(1, generator=rng, dtype=torch.float64))
        chosen = torch.cat([chosen, z[place.clamp_max(len(z) - 1).to(z.device)]])
    return chosen


def nearest(z: Tensor, centres: Tensor, rounds: int = 5) -> Tensor:
    """k-means from these centres (m, Z): the centre of each point, (n,)."""
    for k in range(rounds):
        place = torch.cdist(z, centres).argmin(1)
        if k < rounds - 1:
            count = torch.bincount(place, minlength=len(centres)).clamp_min(1)[:, None]
            total = torch.zeros_like(centres).index_add_(0, place, z)
            kept = torch.bincount(place, minlength=len(centres))[:, None] > 0
            centres = torch.where(kept, total / count, centres)
    return place
