"""The `flow` family: noise is carried to data along (nearly) straight lines, and back.

Let z ~ N(0, I), x an item and x_t = (1 - t) z + t x their straight line, t from 0 to 1. A network learns the mean
velocity E[x - z | x_t], by which d x_t / dt moves noise into data (rectified flow: Liu et al. 2022, arXiv:2209.03003;
flow matching: Lipman et al. 2023, arXiv:2210.02747). Moments are drawn as t = sigmoid(N(0, 1)) (Esser et al. 2024,
arXiv:2403.03206).

*What is known is not learned.* Were the items Gaussian with mean mu and covariance V diag(s^2) V', that velocity would
be known. In the coordinates y = V'(x - mu), each component i of the line has at the moment t the spread

    r_i(t) = sqrt((t s_i)^2 + (1 - t)^2),          w_i = y_i(t) / r_i(t) = sin(a_i) y_i / s_i + cos(a_i) z_i,
    a_i(t) = atan2(t s_i, 1 - t)  from 0 to pi/2,  d w_i / d a_i = cos(a_i) y_i / s_i - sin(a_i) z_i =: f_i,

so that each component turns by its own clock, and E[f | w] = 0 for Gaussian items: w stands still. The network learns
f(w, t), what is left; the rest is done in closed form. (With s = 1 this is the network preconditioning of Karras et al.
2022, arXiv:2206.00364, in the form of Lu and Song 2024, arXiv:2410.11081.) As the velocity is (s_i / r_i) f_i plus a
known function of x_t, the plain loss of rectified flow is

    loss = E sum_i (s_i / r_i)^2 (f_i(w, t) - f_i)^2 / sum_i s_i^2,

and a few steps of w <- w + (change of a) f(w, t) make items: `euler`; `multistep` extrapolates from the step before
(Adams and Bashforth 1883), `heun` averages two evaluations. Steps are evenly spaced in the angle of the widest part.

*Likelihood.* By the instantaneous change of variables (Chen et al. 2018, arXiv:1806.07366),

    log p(x) = log N(w(0)) - int_0^1 sum_i (d a_i / dt) (d f_i / d w_i) dt - sum_i log s_i,

with the exact divergence up to 256 elements, and Hutchinson's estimate (1990, doi:10.1080/03610919008812866) with fixed
signs beyond (`exact` says which). It is that of the velocity itself, without guidance.

*Conditions* come with classifier-free guidance (Ho and Salimans 2022, arXiv:2207.12598): while learning, the condition
is dropped in a share of items; f = f(no condition) + guidance (f(condition) - f(no condition)) while drawing.

*Policy.* The same laws at every moment has the diffusion  dw = f da - k^2 / 2 (w - tan(a) f) da + k dB  (Song et al.
2021, arXiv:2011.13456, eq. 13, as the score of w is tan(a) f - w; for flows Liu et al. 2025, arXiv:2505.05470). One
step of it, exact where f = 0,

    w' = p w + (a' - a + (1 - p) tan(a)) f(w, t) + q N(0, I),     p = sqrt(1 - q^2),
    q^2 = noise^2 cos(a')^2 (1 - (tan(a) / tan(a'))^2),

is a Gaussian, and its log-density the score of the step (Black et al. 2024, arXiv:2305.13301). q is that of Song et al.
2021 (arXiv:2010.02502, eq. 16) in this flow's clock; it is 0 in the last step, which is no choice. From an item x, the
bridge of eq. 7 there, sin(a') y / s + sqrt(cos(a')^2 - q^2) z + q N(0, I), leads back.

Letters: B items, * the event shape, D elements, N steps, P directions of a divergence, Q size of a condition.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from likely.core import Batch, Family, Grammar, Known, Path, Reals, Scores, Space, Training
from likely.errors import OptionError, Unsupported
from likely.nn.cells import check_temperature
from likely.nn.components import Components
from likely.nn.condition import Condition, required
from likely.nn.landing import settle
from likely.nn.velocity import plain, velocity

PLAIN = (256, 2, 8)  # width, depth and steps for vectors
GRID = (64, 1, 16)  # for images and windows
SOLVERS = ("euler", "multistep", "heun")
CHUNK = 4096  # rows at a time without gradients
TALL = 32_768  # rows of the network at a time for a divergence: items times directions
EXACT = 256  # elements up to which the divergence is exact
PROBES = 8  # directions of Hutchinson's estimate beyond
BRIDGE = 4_091_778_153  # seed of the bridges' noise: a number that nobody draws toy data with
SHARPEST = 1e-4  # least noise of a step that is scored

Field = Callable[[Tensor, Tensor], Tensor]  # w (B, D), t () -> f (B, D)


@dataclass(frozen=True)
class FlowConfig:
    """`width` and `depth` of the network; `steps` and `solver` of drawing (heun: two evaluations a step); 0 = chosen by
    the shape of an item. `guidance` of a condition, 1 = none; `drop`, the share of conditions hidden while learning;
    `noise` in (0, 1] of a policy's steps; `precise`, steps of Heun for likelihoods and latents."""

    width: int = 0
    depth: int = 0
    steps: int = 0
    solver: str = "multistep"
    guidance: float = 1.0
    drop: float = 0.1
    noise: float = 0.7
    precise: int = 32

    def __post_init__(self) -> None:
        for name, least in (("width", 0), ("depth", 0), ("steps", 0), ("precise", 1)):
            if getattr(self, name) < least:
                raise OptionError(f"{name}={getattr(self, name)} was given; it must be at least {least}.")
        if self.solver not in SOLVERS:
            raise OptionError(f"solver={self.solver!r} was given; it is one of {', '.join(SOLVERS)}.")
        if not 0 <= self.drop < 1 or not 0 < self.noise <= 1 or not math.isfinite(self.guidance):
            raise OptionError(
                f"drop={self.drop} must be in [0, 1), noise={self.noise} in (0, 1], guidance={self.guidance} a number."
            )


class Flow(Family[Reals]):
    """Rectified flow in the coordinates where Gaussian data stand still."""

    accepts: ClassVar[type] = Reals
    Config: ClassVar[type] = FlowConfig
    # A new flow is the best Gaussian: at first it gets worse before it gets better, so that patience is long.
    regimen: ClassVar[Training] = Training(batch=128, steps=6000, rate=2e-3, decay=0.01, ema=0.999, patience=25)
    ready: Tensor

    def __init__(self, space: Reals, given: Space | None = None, config: FlowConfig | None = None) -> None:
        super().__init__(space, given, config)
        if space.ragged:
            raise Unsupported("flow makes arrays of one length only: cut or pad the items to one length.")
        usual = PLAIN if plain(space.shape) else GRID
        W, depth, self.steps = (
            getattr(self.config, name) or value for name, value in zip(("width", "depth", "steps"), usual, strict=True)
        )
        self.size = math.prod(space.shape)
        self.condition = Condition(given, W) if given is not None else None
        self.absent = nn.Parameter(torch.zeros(W)) if given is not None else None
        self.network = velocity(space.shape, W, depth, W if given is not None else 0)
        self.exact = self.size <= EXACT
        self.components = Components(space.shape)
        self.register_buffer("ready", torch.tensor(False))

    # ------------------------------------------------------------------------------------------ learning

    @torch.no_grad()
    def prepare(self, batch: Batch) -> None:
        """Find mean and components of items x (B, *). The first `loss` in training does so where nobody did before."""
        self.components.look(batch.x)
        self.ready.fill_(True)

    def residue(self, w: Tensor, t: Tensor, c: Tensor | None) -> Tensor:
        """The network's f (B, D) at w (B, D), moments t (B,) and condition c (B, Q)."""
        f: Tensor = self.network(w.view(-1, *self.space.shape), self.components.clock(t), c)
        return f.flatten(1)

    def loss(self, batch: Batch) -> Tensor:
        """Squared error of the velocity, as a share of the items' variance. Draws from torch's global generator."""
        if self.training and not bool(self.ready):
            self.prepare(batch)
        B, device = len(batch.x), batch.x.device
        # Stratified: every batch sees all of the line, which halves the noise of the loss.
        u = (torch.randperm(B, device=device) + torch.rand(B, device=device)) / B
        t = torch.special.ndtri(u.clamp(1e-6, 1 - 1e-6)).sigmoid()
        c = self.embedding(batch.given, B)
        if c is not None and self.absent is not None and self.training:
            c = torch.where(torch.rand(B, 1, device=device) < self.config.drop, self.absent, c)
        d = self.components.inward(batch.x)
        e = torch.randn_like(d)
        a = self.components.angle(t)
        sin, cos = a.sin(), a.cos()
        f = self.residue(sin * d + cos * e, t, c)
        weight = (sin / t[:, None]).square()  # (s / r)^2
        error: Tensor = (weight * (f - (cos * d - sin * e)).square()).sum()
        return error / (B * self.components.spread.square().sum())

    def embedding(self, given: Batch | None, n: int) -> Tensor | None:
        """The condition of n items as vectors (n, Q); None where the model knows none."""
        given = required(given, self.given, n)
        if self.condition is None or given is None:
            return None
        c: Tensor = self.condition(given)
        return c

    # ------------------------------------------------------------------------------------------- drawing

    def field(self, c: Tensor | None, guidance: float) -> Field:
        """f of w and t, guided."""

        def f(w: Tensor, t: Tensor) -> Tensor:
            t = t.expand(len(w))
            if c is None or guidance == 1:
                return self.residue(w, t, c)
            assert self.absent is not None
            two = self.residue(w.repeat(2, 1), t.repeat(2), torch.cat([self.absent.expand_as(c), c]))
            without, with_ = two.chunk(2)
            return without + guidance * (with_ - without)

        return f

    def walk(self, w: Tensor, f: Field, grid: Tensor, solver: str) -> Tensor:
        """Integrate w (B, D) along the moments of `grid`, forwards or backwards."""
        before: tuple[Tensor, Tensor] | None = None
        for t, after in pairwise(grid):
            step = self.components.angle(after) - self.components.angle(t)
            now = f(w, t)
            if solver == "heun":
                slope = (now + f(w + step * now, after)) / 2
            elif solver == "multistep" and before is not None:
                slope = now + step / before[1] / 2 * (now - before[0])
            else:
                slope = now
            before = now, step
            w = w + step * slope
        return w

    @torch.no_grad()
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
        """Draw (n, *) items; `temperature` scales the noise they come from."""
        _refuse(known)
        check_temperature(temperature)
        given = required(given, self.given, n)
        parts = []
        for rows in _chunks(n, CHUNK):
            size = rows.stop - rows.start
            w = torch.randn(size, self.size, generator=rng).to(self.components.mean) * temperature
            f = self.field(self.embedding(_rows(given, rows), size), self.config.guidance)
            w = self.walk(w, f, self.components.grid(self.steps), self.config.solver)
            parts.append(settle(self.components.outward(w), self.space))
        return torch.cat(parts) if parts else torch.zeros(0, *self.space.shape)

    # ----------------------------------------------------------------------------------- latents, density

    @torch.no_grad()
    def embed(self, batch: Batch) -> Tensor:
        """The noise (B, D) that items come from."""
        parts = [self.trace_back(part, False)[0] for part in _split(batch, CHUNK)]
        return torch.cat(parts)

    @torch.no_grad()
    def restore_from(self, z: Tensor, given: Batch | None = None) -> Tensor:
        """Items (B, *) from their noise z (B, D); a conditional model goes without a condition unless one is given."""
        grid = self.components.grid(self.config.precise)
        parts = []
        for rows in _chunks(len(z), CHUNK):
            part = z[rows].to(self.components.mean)
            if given is None and self.absent is not None:
                c: Tensor | None = self.absent.expand(len(part), -1)
            else:
                c = self.embedding(_rows(required(given, self.given, len(z)), rows), len(part))
            parts.append(settle(self.components.outward(self.walk(part, self.field(c, 1.0), grid, "heun")), self.space))
        return torch.cat(parts)

    @torch.no_grad()
    def log_probs(self, batch: Batch) -> Tensor:
        """Each element's share of log p(x): (B, D) nats. With components turned, the shares are those of the items
        decorrelated in their own coordinates (V w(0)), the divergence along each element, and the log of the spreads'
        square matrix: for Gaussian items, of -((Sigma^-1/2 (x - mu))_j)^2 / 2."""
        directions = self.size if self.exact else PROBES
        volume = self.components.volume()
        parts = []
        for part in _split(batch, max(1, min(CHUNK, TALL // directions))):
            w, divergence = self.trace_back(part, True)
            z = self.components.unturn(w)
            parts.append(-z.square() / 2 - math.log(2 * math.pi) / 2 - divergence - volume)
        return torch.cat(parts)

    def log_prob(self, batch: Batch) -> Tensor:
        """log p(x) under the flow followed with small steps: (B,) nats."""
        return self.log_probs(batch).sum(1)

    def trace_back(self, batch: Batch, diverge: bool) -> tuple[Tensor, Tensor]:
        """Follow items back to their noise: w(0) (B, D), and the divergence of the way there, by element (B, D)."""
        w = self.components.inward(batch.x)
        f = self.field(self.embedding(batch.given, len(w)), 1.0)
        grid = self.components.grid(self.config.precise).flip(0)
        if not diverge:
            return self.walk(w, f, grid, "heun"), torch.zeros_like(w)
        directions = self.directions()
        total = torch.zeros_like(w)
        for t, before in pairwise(grid):
            step = self.components.angle(before) - self.components.angle(t)
            now, here = self.spreading(w, t, f, directions, step)
            then, there = self.spreading(w + step * now, before, f, directions, step)
            w = w + step * (now + then) / 2
            total = total - (here + there) / 2  # the way back has the other sign
        return w, total

    def directions(self) -> Tensor:
        """Directions (P, D) in the items' own coordinates: all of them, or fixed random signs over sqrt(P)."""
        if self.exact:
            return torch.eye(self.size, device=self.components.mean.device)
        signs = torch.randint(0, 2, (PROBES, self.size), generator=torch.Generator().manual_seed(0))
        return (2.0 * signs - 1).to(self.components.mean) / math.sqrt(PROBES)

    def spreading(self, w: Tensor, t: Tensor, f: Field, directions: Tensor, step: Tensor) -> tuple[Tensor, Tensor]:
        """f (B, D) at w, and the share of each element in sum_i step_i d f_i / d w_i (B, D)."""
        turned = self.components.turn(directions)  # (P, D)
        with torch.enable_grad():
            w = w.detach().requires_grad_()
            now = f(w, t)
            pulls = (turned * step)[:, None].expand(-1, *now.shape)
            # Backwards, as one pass forward serves all directions.
            (slopes,) = torch.autograd.grad(now, w, pulls, is_grads_batched=True)  # (P, B, D)
        if self.exact:
            return now.detach(), torch.einsum("pbd,pd->bp", slopes, turned)
        return now.detach(), (self.components.unturn(slopes) * directions[:, None]).sum(0)

    # -------------------------------------------------------------------------------------------- policy

    @torch.no_grad()
    def rollout(self, n: int, given: Batch | None = None, known: Known | None = None, *, rng: torch.Generator) -> Path:
        """Draw n items step by step; `trace` (n, N + 1, D) holds w, from noise to data. The last step is no choice."""
        _refuse(known)
        given = required(given, self.given, n)
        f = self.field(self.embedding(given, n), self.config.guidance)
        w = torch.randn(n, self.size, generator=rng).to(self.components.mean)
        trace = [w]
        for t, after in self.moments():
            a, b = self.components.angle(t), self.components.angle(after)
            q = self.jitter(a, b)
            w = self.centre(w, f(w, t), a, b, q) + q * torch.randn(w.shape, generator=rng).to(w)
            trace.append(w)
        return self.path(settle(self.components.outward(w), self.space), trace, given)

    @torch.no_grad()
    def retrace(self, batch: Batch) -> Path:
        """A way that ends in the items: the bridge of the true ends. Always the same noise, but while learning."""
        rng = None if self.training else torch.Generator().manual_seed(BRIDGE)
        d = self.components.inward(batch.x)
        w = torch.randn(d.shape, generator=rng).to(d)
        trace = [w]
        for t, after in self.moments():
            a, b = self.components.angle(t), self.components.angle(after)
            q = self.jitter(a, b)
            e = (w - a.sin() * d) / a.cos()
            w = b.sin() * d + (b.cos().square() - q.square()).clamp(min=0).sqrt() * e
            w = w + q * torch.randn(d.shape, generator=rng).to(d) if after < 1 else d
            trace.append(w)
        return self.path(batch.x, trace, batch.given)

    def score(self, path: Path) -> Scores:
        """log-density of each step (B, N), differentiable, guided as it was drawn; features: the item that the step
        guesses, and its moment."""
        B, N = path.mask.shape
        start, end = self.components.grid(self.steps)[:-1], self.components.grid(self.steps)[1:]
        a, b = self.components.angle(start), self.components.angle(end)  # (N, D)
        q = self.jitter(a, b)
        w, after = path.trace[:, :-1], path.trace[:, 1:]
        c = self.embedding(path.given, B)
        field = self.field(None if c is None else c.repeat_interleave(N, 0), self.config.guidance)
        f = field(w.reshape(B * N, -1), start.repeat(B)).view(B, N, -1)
        z = (after - self.centre(w, f, a, b, q)) / q.clamp(min=SHARPEST)
        logp = -(z.square() / 2 + q.clamp(min=SHARPEST).log() + math.log(2 * math.pi) / 2).sum(2)
        guess = a.sin() * w + a.cos() * f
        moment = torch.stack([start, 1 - start], 1).expand(B, N, 2)
        return Scores(torch.where(path.mask, logp, 0.0), torch.cat([guess, moment], 2))

    def centre(self, w: Tensor, f: Tensor, a: Tensor, b: Tensor, q: Tensor) -> Tensor:
        """The mean of a step from angles a to b with noise q."""
        p = (1 - q.square()).sqrt()
        return p * w + (b - a + (1 - p) * a.tan()) * f

    def jitter(self, a: Tensor, b: Tensor) -> Tensor:
        """The noise q of a step from angles a to b: none at the end."""
        share = 1 - (a.tan() / b.tan()).square()
        q: Tensor = self.config.noise * b.cos() * share.clamp(min=0).sqrt()
        return torch.where(b.cos() < 1e-6, 0.0, q)

    def path(self, x: Tensor, trace: list[Tensor], given: Batch | None) -> Path:
        """A path whose last step is no choice."""
        mask = torch.ones(len(x), len(trace) - 1, dtype=torch.bool, device=x.device)
        mask[:, -1] = False
        return Path(x, torch.stack(trace, 1), mask, given)

    def moments(self) -> list[tuple[Tensor, Tensor]]:
        """Pairs of moments, from step to step."""
        grid = self.components.grid(self.steps)
        return list(pairwise(grid))


def _refuse(known: Known | None) -> None:
    if known is not None:
        raise Unsupported(
            "flow does not complete items: learn what you want to give as a condition (given=...). "
            "Families that complete: trees, masked (over cells)."
        )


def _chunks(n: int, size: int) -> list[slice]:
    return [slice(i, min(i + size, n)) for i in range(0, n, size)]


def _rows(batch: Batch | None, rows: slice) -> Batch | None:
    if batch is None:
        return None
    return Batch(batch.x[rows], _rows(batch.given, rows), batch.mask[rows] if batch.mask is not None else None)


def _split(batch: Batch, size: int) -> list[Batch]:
    parts = [_rows(batch, rows) for rows in _chunks(len(batch.x), size)]
    return [part for part in parts if part is not None]
