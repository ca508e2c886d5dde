"""The sums that alignment descends, as plain functions of tensors.

What is wanted of a policy pi that starts as pi_0, for a reward R of whole items:

    maximise  E_pi[R(x)] - beta KL(pi || pi_0),      solved by  pi*(x) = pi_0(x) exp(R(x) / beta) / Z

Letters: B items, S steps of an item, of which `mask` (B, S) says which were choices; P pairs.

Sources: proximal policy optimisation, Schulman et al. 2017, arXiv:1707.06347; generalised advantages, Schulman et al.
2016, arXiv:1506.02438; what both need to work on texts, Huang et al. 2024, arXiv:2403.17031; direct preference
optimisation, Rafailov et al. 2023, arXiv:2305.18290; its square form IPO, Azar et al. 2024, arXiv:2310.12036;
group-relative advantages (GRPO), Shao et al. 2024, arXiv:2402.03300; without the group's spread and with one divisor
for all (Dr. GRPO), Liu et al. 2025, arXiv:2503.20783; all steps alike and a wider upper clip (DAPO), Yu et al. 2025,
arXiv:2503.14476; leave-one-out (RLOO), Ahmadian et al. 2024, arXiv:2402.14740; augmented likelihood (REINVENT),
Olivecrona et al. 2017, arXiv:1704.04555; estimates of KL, Schulman 2020, http://joschu.net/blog/kl-approx.html.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

LARGEST = 20.0  # of a log-ratio, before it is exponentiated
EVEN = 1e-6  # spread under which rewards of a group count as equal
REDUCTIONS = ("token", "sequence", "constant")
ADVANTAGES = ("grpo", "dr_grpo", "rloo")
PREFERENCES = ("sigmoid", "ipo")


# ------------------------------------------------------------------------------------------------ of steps


def gae(reward: Tensor, value: Tensor, mask: Tensor, gamma: float = 1.0, lam: float = 0.95) -> Tensor:
    """Advantages (B, S) of steps with rewards and values (B, S); nothing is earned behind the last choice.

        delta_s = r_s + gamma V_next - V_s,    A_s = delta_s + gamma lam A_next

    "next" is the next choice: steps that were none are passed over, and have advantage 0."""
    advantage = torch.zeros_like(value)
    ahead, later = value.new_zeros(len(value)), value.new_zeros(len(value))
    for s in reversed(range(value.shape[1])):
        delta = reward[:, s] + gamma * ahead - value[:, s]
        here = mask[:, s]
        later = torch.where(here, delta + gamma * lam * later, later)
        ahead = torch.where(here, value[:, s], ahead)
        advantage[:, s] = torch.where(here, later, 0.0)
    return advantage


def whiten(x: Tensor, mask: Tensor, centre: bool = True) -> Tensor:
    """x (B, S) with mean 0 (where `centre`) and standard deviation 1 over the mask, 0 outside of it."""
    some = x[mask]
    if len(some) < 2:
        return torch.where(mask, x, 0.0)
    mean, spread = some.mean(), some.std(correction=0)
    out = (x - mean) / (spread + 1e-8)
    return torch.where(mask, out if centre else out + mean, 0.0)


def mean(x: Tensor, mask: Tensor, reduction: str = "token", steps: int = 0) -> Tensor:
    """The mean of x (B, S) over choices: of all ("token"), of each item and then of items ("sequence"), or their sum
    an item divided by the same number, `steps`, for all ("constant")."""
    total = torch.where(mask, x, 0.0)
    match reduction:
        case "token":
            return total.sum() / mask.sum().clamp_min(1)
        case "sequence":
            return (total.sum(1) / mask.sum(1).clamp_min(1)).mean()
        case _:
            return total.sum() / (len(x) * (steps or x.shape[1]))


class Clipped(NamedTuple):
    """The loss of each step (B, S), and the probability ratios (B, S) it was made of."""

    loss: Tensor
    ratio: Tensor


def clipped(
    logp: Tensor, old: Tensor, advantage: Tensor, low: float = 0.2, high: float = 0.2, worst: float = 0.0
) -> Clipped:
    """-min(ratio A, clip(ratio, 1 - low, 1 + high) A), ratio = p / p_old; gains beyond the clip are not sought.

    `worst` above 1: where A is negative the loss is at most -worst A, however large the ratio (Ye et al. 2020,
    arXiv:1912.09729)."""
    ratio = torch.exp((logp - old).clamp(-LARGEST, LARGEST))
    loss = torch.maximum(-advantage * ratio, -advantage * ratio.clamp(1 - low, 1 + high))
    if worst > 1:
        loss = torch.where(advantage < 0, torch.minimum(loss, -worst * advantage), loss)
    return Clipped(loss, ratio)


def value_loss(value: Tensor, old: Tensor, target: Tensor, clip: float = 0.2) -> Tensor:
    """Half the square error (B, S) of values, that of clipped ones where it is larger: values move slowly, too."""
    near = old + (value - old).clamp(-clip, clip)
    return 0.5 * torch.maximum((value - target) ** 2, (near - target) ** 2)


def divergence(logp: Tensor, start: Tensor, kind: str = "k3") -> Tensor:
    """An estimate (B, S) of KL(pi || pi_0) at steps drawn from pi, d = log pi - log pi_0: "k1" d (for rewards: its
    gradient in a loss is that of nothing); "k2" d^2 / 2 and "k3" exp(-d) - 1 + d (for losses)."""
    d = (logp - start).clamp(-LARGEST, LARGEST)
    match kind:
        case "k1":
            return d
        case "k2":
            return d**2 / 2
        case _:
            return torch.expm1(-d) + d


# ------------------------------------------------------------------------------------------------ of groups


def relative(reward: Tensor, kind: str = "grpo") -> Tensor:
    """Advantages (G, K) of the K items of G groups by their rewards (G, K): the reward less the group's mean, divided
    by its spread ("grpo") or not ("dr_grpo"); or less the mean of the others ("rloo"). 0 where all are equal."""
    K = reward.shape[1]
    apart = reward - reward.mean(1, keepdim=True)
    spread = reward.std(1, correction=0, keepdim=True)
    match kind:
        case "grpo":
            apart = apart / (spread + 1e-4)
        case "rloo":
            apart = apart * K / max(1, K - 1)
    return torch.where(spread > EVEN, apart, 0.0)


def augmented(logp: Tensor, start: Tensor, reward: Tensor, beta: float) -> Tensor:
    """The square (B,) of what is missing to the optimum, log pi*(x) - log pi(x), log Z taken as the mean of the batch:

        (log pi_0 + R / beta - log pi - mean)^2

    For log pi, log pi_0 (B,) of whole items, however they were drawn: earlier ones may be seen again. REINVENT takes
    Z = 1, which no law has; with the mean the optimum is pi* itself (the log-variance loss: Richter et al. 2020,
    arXiv:2010.10436)."""
    missing = start + reward / beta - logp
    return (missing - missing.mean()) ** 2


# ------------------------------------------------------------------------------------------------- of pairs


def preference(
    better: Tensor, worse: Tensor, beta: float, kind: str = "sigmoid", share: Tensor | float = 1.0,
    margin: Tensor | float = 0.0,
) -> Tensor:  # fmt: skip
    """What a pair costs (P,), from log pi / pi_0 of the better and of the worse item, each (P,).

        sigmoid   -share log sigmoid(z) - (1 - share) log sigmoid(-z),    z = beta (better - worse) - margin
        ipo       (better - worse - share' / beta)^2,    share' = share - 1/2

    `share` (P,) in [0, 1]: how sure it is that the better one is better; 1/2 is a tie, .9 allows for wrong labels
    (conservative DPO: Mitchell 2023)."""
    apart = better - worse
    if kind == "ipo":
        return (apart - (torch.as_tensor(share) - 0.5) / beta) ** 2
    z = beta * apart - margin
    return -share * F.logsigmoid(z) - (1 - share) * F.logsigmoid(-z)
