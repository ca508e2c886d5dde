"""What alignment relies on: scores that repeat, masks that tell choices, gradients. See `likely.testing`.

Letters: B items, D variables, L and S steps.
"""

from __future__ import annotations

from typing import Any

import torch

from likely.core import Batch, Cells, Density, Family, Known, Policy, Space, Tokens
from likely.testing.family import learn
from likely.testing.law import check_tensor, hold, prefixes, rng, under


def check_policy(
    cls: type[Family[Any]], space: Space, batch: Batch, config: Any = None, *, given: Space | None = None
) -> None:
    """Learn `batch` and check what alignment relies on: scores that repeat, masks that tell choices, gradients.

    `given`: the space of `batch.given`, for p(x | c)."""
    family = learn(cls, space, batch, config, given=given)
    hold(isinstance(family, Policy), f"{cls.__name__} offers rollout, retrace and score")
    policy: Any = family
    c = under(batch, 64)
    path = policy.rollout(64, c, rng=rng(3))
    check_tensor(path.x, space, "rollout")
    hold(path.mask.dtype == torch.bool and path.mask.ndim == 2 and len(path.mask) == 64, "a path's mask is bool (B, S)")
    hold(torch.equal(path.x, policy.rollout(64, c, rng=rng(3)).x), "rollout with the same rng is the same")
    scores, again = policy.score(path), policy.score(path)
    hold(torch.equal(scores.logp, again.logp), "score twice is the same: the first ratio of PPO is 1")
    family.train()
    hold(torch.equal(scores.logp, policy.score(path).logp), "score does not change with the training mode")
    family.eval()
    hold(scores.logp.shape == path.mask.shape, "score gives (B, S)")
    hold(scores.features.shape[:2] == path.mask.shape and scores.features.ndim == 3, "features are (B, S, F)")
    hold(bool((scores.logp[~path.mask] == 0).all()), "steps that were no choice have logp 0")

    way = policy.retrace(batch)
    hold(torch.equal(way.x, batch.x), "retrace ends in the data")
    if given is not None:
        hold(path.given is not None and way.given is not None, "a path remembers its condition")
    if isinstance(family, Density) and family.exact:
        for which, steps in (("rollout", path), ("retrace", way)):
            if isinstance(space, Cells | Tokens):  # of reals, steps are noise and log_prob is a density of x alone
                total = policy.score(steps).logp.sum(1).detach().double()
                close = torch.allclose(total, family.log_prob(Batch(steps.x, steps.given)).double(), atol=1e-3)
                hold(close, f"the scores of a {which} sum to log_prob")

    if isinstance(space, Tokens):
        _check_steps(policy, space, batch)
    if isinstance(space, Cells):
        mask = torch.zeros(30, len(space.sizes), dtype=torch.bool)
        mask[:, 0] = True
        held = policy.rollout(30, known=Known(batch.x[:30], mask), rng=rng(3))
        hold(bool((held.x[:, 0] == batch.x[:30, 0]).all()), "a rollout holds what is known")
        hold(bool((held.mask.sum(1) == len(space.sizes) - 1).all()), "a known cell is no choice of the model")
    family.zero_grad()
    policy.score(path).logp.mean().backward()
    moved = [p for p in family.parameters() if p.grad is not None and bool((p.grad != 0).any())]
    hold(bool(moved), "score is differentiable with respect to the parameters")


def _check_steps(policy: Any, space: Tokens, batch: Batch) -> None:
    """Choices of tokens end where the item does, begin where it is known, and do not see what comes later."""
    path = policy.rollout(30, under(batch, 30), rng=rng(3))
    behind = (path.x == space.eos).cumsum(1) - (path.x == space.eos).long() > 0
    hold(torch.equal(path.mask, ~behind), "every step up to the end is a choice, and none behind it")
    mask = prefixes(batch.x[:30], space)
    held = policy.rollout(30, under(batch, 30), Known(batch.x[:30], mask), rng=rng(3))
    hold(bool((held.x == batch.x[:30])[mask].all()), "a rollout holds what is known")
    hold(not bool((held.mask & mask).any()), "a known step is no choice of the model")
    scores = policy.score(path)
    other = path._replace(x=torch.where(behind, space.vocab - 1, path.x))
    hold(torch.allclose(policy.score(other).logp, scores.logp, atol=1e-5), "what stands behind the end has no say")
    some = path._replace(x=path.x[::3], trace=path.trace[::3], mask=path.mask[::3], given=under(batch, 10))
    alike = torch.allclose(policy.score(some).logp, scores.logp[::3], atol=1e-4)
    hold(alike, "rows are scored alone or together alike, as minibatches want it")
