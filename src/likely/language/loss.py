"""How many nats a network needs for chosen tokens, without the table of all logits.

    nats_n = -log p_n,y_n,     p_n = softmax(h_n w^T),     d nats_n / d logits_n = p_n - onehot(y_n)

With a vocabulary of 50,000 the logits of a thousand steps are 200 MB, their gradient as much again. Both are made for a
few steps at a time here, in the same memory, and the gradients with regard to h and w are summed up on the way: nothing
is computed twice (Wijmans et al. 2024, arXiv:2411.09009; Hsu et al. 2024, arXiv:2410.10989). Under autocast the table
is in bf16. There 1 - p would lose all digits where p is near 1, and a network that is nearly sure would learn nothing;
so the gradient at y is taken as minus the sum of all other p.

Letters: N steps, M of them at a time, W width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

# Steps at a time. The gradient of a head is as large as the head: the fewer times it is added to, the better.
FEW, MANY = 128, 1024


def nats(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """The nats of all targets (N,) together, given hidden states (N, W) and the head (V, W): a scalar."""
    if torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad):
        found: Tensor = _Nats.apply(hidden, weight, targets)  # type: ignore[no-untyped-call]
        return found
    total = torch.zeros((), device=hidden.device)
    for states, wanted in zip(torch.split(hidden, FEW), torch.split(targets, FEW), strict=True):
        total += F.cross_entropy(F.linear(states, weight).float(), wanted, reduction="sum")
    return total


class _Nats(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        device = hidden.device.type
        exact = torch.promote_types(hidden.dtype, weight.dtype)
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else exact
        wants_hidden, wants_weight = ctx.needs_input_grad[:2]
        M = MANY if wants_weight else FEW
        head = weight.detach().to(dtype)
        table = torch.empty(2, min(M, len(hidden)), len(head), dtype=dtype, device=hidden.device)
        to_hidden = torch.empty_like(hidden) if wants_hidden else None
        to_weight = torch.zeros_like(weight, dtype=torch.float32) if wants_weight else None
        total = torch.zeros((), device=hidden.device)
        with torch.autocast(device, enabled=False), torch.no_grad():
            for start in range(0, len(hidden), M):
                rows = slice(start, min(start + M, len(hidden)))
                states, wanted, m = hidden[rows].to(dtype), targets[rows, None], rows.stop - start
                p = torch.softmax(torch.mm(states, head.T, out=table[0, :m]), 1, out=table[1, :m])
                mine = p.gather(1, wanted).float()
                p.scatter_(1, wanted, 0.0)
                others = p.sum(1, keepdim=True, dtype=torch.float32)
                sure = -torch.log1p(-others.clamp_max(0.5))
                total += torch.where(others < 0.5, sure, -mine.clamp_min(1e-38).log()).sum()
                p.scatter_(1, wanted, (-others).to(dtype))
                if to_hidden is not None:
                    to_hidden[rows] = p @ head
                if to_weight is not None:
                    to_weight += p.T @ states
        ctx.save_for_backward(to_hidden, to_weight)
        ctx.kind = weight.dtype
        return total

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> tuple[Tensor | None, Tensor | None, None]:
        (to_hidden, to_weight), (slope,) = ctx.saved_tensors, slopes
        return (
            None if to_hidden is None else (to_hidden * slope).to(to_hidden.dtype),
            None if to_weight is None else (to_weight * slope).to(ctx.kind),
            None,
        )


def log_probs(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """log p (N,) float32 of each target (N,), given hidden states (N, W) and a frozen head (V, W).

    What a state gains by a step is one vector, d log p_n / d h_n = w_y - p_n w: it is found together with log p, and
    the way back is a product of numbers with it. Logits are in float32, whatever the states are: a ratio of
    probabilities needs more digits than bfloat16 has.
    """
    found: Tensor = _LogProbs.apply(hidden, weight, targets)  # type: ignore[no-untyped-call]
    return found


class _LogProbs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        wanted = ctx.needs_input_grad[0]
        out = torch.empty(len(hidden), device=hidden.device)
        gain = torch.empty_like(hidden) if wanted else None
        with torch.autocast(hidden.device.type, enabled=False), torch.no_grad():
            head = weight.detach()
            exact = head.float().T
            for start in range(0, len(hidden), FEW):
                rows = slice(start, start + FEW)
                table = hidden[rows].float() @ exact
                mine = targets[rows, None]
                y = table.gather(1, mine)
                top = table.amax(1, keepdim=True)
                p = table.sub_(top).exp_()
                total = p.sum(1, keepdim=True)
                out[rows] = (y - top - total.log()).squeeze(1)
                if gain is not None:
                    # 1 - p would lose its digits where p is near 1: what is missing to 1 is the sum of all others.
                    p = p.div_(total).scatter_(1, mine, 0.0).to(head.dtype)
                    others = p.sum(1, keepdim=True, dtype=torch.float32)
                    gain[rows] = (others * head[targets[rows]].float() - (p @ head).float()).to(gain.dtype)
        ctx.save_for_backward(gain)
        return out

    @staticmethod
    def backward(ctx: Any, *slopes: Any) -> tuple[Tensor, None, None]:
        (gain,) = ctx.saved_tensors
        return (gain * slopes[0][:, None]).to(gain.dtype), None, None
