"""What critic and generator descend: plain functions of the critic's scores D of real and made items.

    non-saturating   critic  softplus(-D(x)) + softplus(D(y))        generator  softplus(-D(y))
                     (Goodfellow et al. 2014, arXiv:1406.2661; the best D is log p(x) / q(x), and 2 log 2 a draw)
    wasserstein      critic  D(y) - D(x)                             generator  -D(y)
                     + weight (|grad D(u)| - 1)^2 at u between x and y (Gulrajani et al. 2017, arXiv:1704.00028)
    hinge            critic  relu(1 - D(x)) + relu(1 + D(y))         generator  -D(y)
                     with spectral normalisation (Miyato et al. 2018, arXiv:1802.05957)
    relativistic     critic  softplus(D(y) - D(x))                   generator  softplus(D(x) - D(y))
                     + gamma / 2 (|grad D(x)|^2 + |grad D(y)|^2): each made item is judged beside a real one, so that no
                     two modes can be traded for one (Jolicoeur-Martineau 2019, arXiv:1807.00734; with both penalties
                     it converges: Huang et al. 2024, arXiv:2501.05441, eq. 5 and 6)
    squares          critic  (D(x) - 1)^2 + D(y)^2                   generator  (D(y) - 1)^2
                     (Mao et al. 2017, arXiv:1611.04076)

Letters: B items, x real, y made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

Duel = Callable[[Tensor, Tensor], Tensor]  # scores of real and of made items (B,) -> a scalar
Critic = Callable[[Tensor], Tensor]  # items (B, *) -> scores (B,)


def relativistic_critic(real: Tensor, made: Tensor) -> Tensor:
    """Mean of softplus(made - real)."""
    return F.softplus(made - real).mean()


def relativistic_generator(real: Tensor, made: Tensor) -> Tensor:
    """Mean of softplus(real - made)."""
    return F.softplus(real - made).mean()


def saturating_critic(real: Tensor, made: Tensor) -> Tensor:
    """Cross-entropy of "real" against "made", the critic's scores being logits."""
    return F.softplus(-real).mean() + F.softplus(made).mean()


def non_saturating_generator(real: Tensor, made: Tensor) -> Tensor:
    """-log of the probability of "real" that made items are given."""
    return F.softplus(-made).mean()


def wasserstein_critic(real: Tensor, made: Tensor) -> Tensor:
    """The difference of mean scores: minus an estimate of the distance, if the critic is 1-Lipschitz."""
    return made.mean() - real.mean()


def hinge_critic(real: Tensor, made: Tensor) -> Tensor:
    """No more reward beyond +1 and -1."""
    return F.relu(1 - real).mean() + F.relu(1 + made).mean()


def plain_generator(real: Tensor, made: Tensor) -> Tensor:
    """Minus the mean score."""
    return -made.mean()


def squares_critic(real: Tensor, made: Tensor) -> Tensor:
    """Least squares to 1 and 0."""
    return (real - 1).square().mean() + made.square().mean()


def squares_generator(real: Tensor, made: Tensor) -> Tensor:
    """Least squares to 1."""
    return (made - 1).square().mean()


class Game(NamedTuple):
    """An objective by name: what both sides descend, how the critic is held, and how often the generator moves."""

    critic: Duel
    generator: Duel
    hold: str  # "both" (gradients at real and made), "between" (at mixtures), "spectral" or "" (not at all)
    every: int = 1


GAMES = {
    "relativistic": Game(relativistic_critic, relativistic_generator, "both"),
    "non-saturating": Game(saturating_critic, non_saturating_generator, ""),
    "wasserstein": Game(wasserstein_critic, plain_generator, "between", every=5),
    "hinge": Game(hinge_critic, plain_generator, "spectral"),
}


def slope(score: Tensor, x: Tensor) -> Tensor:
    """|grad_x score|^2 of each item (B,), itself differentiable. Scores must not look at other items of a batch."""
    (gradient,) = torch.autograd.grad(score.sum(), x, create_graph=True)
    return gradient.flatten(1).square().sum(1)


def between(critic: Critic, real: Tensor, made: Tensor) -> Tensor:
    """(|grad D(u)| - 1)^2 at random mixtures u of real and made items: (B,). Draws from torch's global generator."""
    share = torch.rand(len(real), *[1] * (real.ndim - 1), device=real.device)
    u = (share * real + (1 - share) * made).detach().requires_grad_()
    return ((slope(critic(u), u) + 1e-12).sqrt() - 1).square()
