"""An affine-coupling flow: an invertible network that turns a cloud of points into a standard normal one.

    u_a = z_a,   u_b = (z_b - t(z_a)) exp(-s(z_a)),   log p(z) = log N(u; 0, I) - sum s

Each layer moves half of the variables by what it sees in the other half; halves are drawn anew for every pair of
layers (Dinh, Sohl-Dickstein and Bengio 2017, arXiv:1605.08803). Learned by maximum likelihood. A flow can be sure of
too much: a point between two islands of its data may lie hundreds of nats below them. So s is kept within +-1 a layer,
and one draw in a hundred is from a normal law as wide as all the data,

    p(z) = 0.99 p_flow(z) + 0.01 N(z; centre, (2 spread)^2).

Letters: n points, Z their size, L layers.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from likely.nn.mlp import MLP

STEPS, BATCH, RATE = 800, 256, 4e-3  # of Adam, falling to 0
WIDE, WIDTH = 0.01, 2.0  # share and width of the normal law


class Coupling(nn.Module):
    """`layers` couplings of `size` variables by perceptrons of one hidden layer of `width`. Starts as the identity."""

    seen: Tensor
    centre: Tensor
    spread: Tensor

    def __init__(self, size: int, layers: int = 6, width: int = 64) -> None:
        super().__init__()
        self.size = size
        pick = torch.Generator().manual_seed(0)
        halves: list[Tensor] = []
        for k in range(layers):
            halves.append(1 - halves[-1] if k % 2 else (torch.randperm(size, generator=pick) % 2).float())
        self.register_buffer("seen", torch.stack(halves))
        self.register_buffer("centre", torch.zeros(size))
        self.register_buffer("spread", torch.ones(size))
        self.moves = nn.ModuleList(MLP((size,), (2, size), width, 2) for _ in range(layers))
        for move in self.moves:
            nn.init.zeros_(move.head.weight)  # type: ignore[arg-type, union-attr]
            nn.init.zeros_(move.head.bias)  # type: ignore[arg-type, union-attr]

    def log_prob(self, z: Tensor) -> Tensor:
        """log p(z) of z (*, Z): (*), nats."""
        u = start = (z.reshape(-1, self.size) - self.centre) / self.spread
        log = -self.spread.log().sum().expand(len(u))
        for seen, move in zip(self.seen, self.moves, strict=True):
            shift, scale = move(u * seen).unbind(1)
            scale = torch.tanh(scale) * (1 - seen)
            u = torch.where(seen > 0, u, (u - shift) * torch.exp(-scale))
            log = log - scale.sum(1)
        constant = 0.5 * self.size * math.log(2 * math.pi)
        flow = log - 0.5 * u.square().sum(1) - constant
        wide = -0.5 * (start / WIDTH).square().sum(1) - self.size * math.log(WIDTH) - self.spread.log().sum() - constant
        return torch.logaddexp(flow + math.log(1 - WIDE), wide + math.log(WIDE)).view(z.shape[:-1])

    def sample(self, n: int, rng: torch.Generator, temperature: float = 1.0) -> Tensor:
        """(n, Z) draws; `temperature` scales the normal noise they start from."""
        u = temperature * torch.randn(n, self.size, generator=rng).to(self.centre.device)
        wide, start = (torch.rand(n, 1, generator=rng) < WIDE).to(u.device), u
        for seen, move in zip(self.seen.flip(0), reversed(self.moves), strict=True):
            shift, scale = move(u * seen).unbind(1)
            scale = torch.tanh(scale)
            u = torch.where(seen > 0, u, u * torch.exp(scale) + shift)
        return self.centre + self.spread * torch.where(wide, WIDTH * start, u)

    def fit(self, z: Tensor, *, rng: torch.Generator) -> None:
        """Fit to z (n, S, Z), n items that gave S points each, by gradients; a tenth is left out to keep the best."""
        order = torch.randperm(len(z), generator=rng).to(z.device)
        aside = len(z) // 10
        left, kept = z[order[:aside]].flatten(0, 1), z[order[aside:]].flatten(0, 1)
        self.centre.copy_(kept.mean(0))
        if len(kept) > 1:
            self.spread.copy_(kept.std(0).clamp_min(1e-6))
        optimiser = torch.optim.Adam(self.parameters(), lr=RATE)
        best = math.inf
        weights: dict[str, Tensor] = {}
        with torch.enable_grad():
            for step in range(STEPS):
                if step % 100 == 0 and aside:
                    best, weights = self._judge(left, best, weights)
                for group in optimiser.param_groups:
                    group["lr"] = RATE * (1 - step / STEPS)
                rows = torch.randint(len(kept), (min(BATCH, len(kept)),), generator=rng).to(z.device)
                loss = -self.log_prob(kept[rows]).mean()
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(self.parameters(), 1.0)
                optimiser.step()
        if aside:
            _, weights = self._judge(left, best, weights)
            self.load_state_dict(weights)
        self.zero_grad(set_to_none=True)

    @torch.no_grad()
    def _judge(self, left: Tensor, best: float, weights: dict[str, Tensor]) -> tuple[float, dict[str, Tensor]]:
        """The lowest left-out loss so far and the weights that had it."""
        loss = -float(self.log_prob(left).mean())
        if loss < best or not weights:
            return loss, {name: tensor.clone() for name, tensor in self.state_dict().items()}
        return best, weights
