"""The laws of a family: drawing, storing and, where offered, likelihood and completion. See `likely.testing`.

Letters: B items, D variables, L steps, E items of the whole space, n draws.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from likely.core import Batch, Budget, Cells, Conditional, Density, Family, Known, Space, Tokens
from likely.nn.portion import take
from likely.testing.law import DRAWS, check_counts, check_tensor, enumerate_items, hold, prefixes, rng, under

STEPS, RATE = 300, 5e-3  # of AdamW, falling to 0, before the laws of a family that learns by gradients are checked
FEWER = 60  # of them for tokens, whose laws hold for any weights


def check_family(
    cls: type[Family[Any]], space: Space, batch: Batch, config: Any = None, *, given: Space | None = None,
    slack: float = 0.1,
) -> Family[Any]:  # fmt: skip
    """Learn `batch` and check the laws of drawing, storing and, where offered, likelihood and completion.

    Takes seconds on a tiny space. `given`: the space of `batch.given`, for p(x | c); draws are made under the condition
    of the first item. `slack`: see `law`. Returns what was learned.
    """
    family = learn(cls, space, batch, config, given=given)
    hold(isinstance(space, cls.accepts), f"{cls.__name__}.accepts names the space it learned")
    _check_drawing(family, space, batch)

    tensors = {name: tensor.clone() for name, tensor in family.tensors().items()}
    hold(all(isinstance(tensor, Tensor) for tensor in tensors.values()), "tensors() are tensors")
    other = cls(space, given, config).restore(tensors)
    c = under(batch, 50)
    same = torch.equal(other.sample(50, given=c, rng=rng(7)), family.sample(50, given=c, rng=rng(7)))
    hold(same, "what restore(tensors()) draws is what the original draws")
    hold(set(other.tensors()) == set(tensors), "restore(tensors()) has the same names")
    hold(all(torch.equal(other.tensors()[name], tensors[name]) for name in tensors), "restore(tensors()) is unchanged")

    if isinstance(family, Density):
        _check_density(family, space, batch)
    if isinstance(family, Conditional) and isinstance(space, Cells):
        _check_conditional(family, space, batch, slack)
    if isinstance(family, Conditional) and isinstance(space, Tokens) and given is None:
        _check_continuation(family, space, batch)
    return family


def learn(
    cls: type[Family[Any]], space: Space, batch: Batch, config: Any = None, seed: int = 0, given: Space | None = None
) -> Family[Any]:
    """A family that has learned `batch`: by its `fit`, or by a few steps of AdamW on its objectives."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        family = cls(space, given, config)
        objectives = family.objectives()
        if not objectives:
            family.fit(batch, Budget(), rng=rng(seed))
            return family
        family.prepare(batch)
        family.train()
        optimisers = [torch.optim.AdamW(objective.module.parameters(), lr=RATE) for objective in objectives]
        steps = FEWER if isinstance(space, Tokens) else STEPS
        for step in range(steps):
            rows = torch.randint(len(batch.x), (min(len(batch.x), 256),))
            part = take(batch, rows)
            for objective, optimiser in zip(objectives, optimisers, strict=True):
                if step % objective.every:
                    continue
                for group in optimiser.param_groups:
                    group["lr"] = RATE * (1 - step / steps)
                loss = objective.loss(part)
                hold(loss.ndim == 0 and bool(torch.isfinite(loss)), f"loss {objective.name!r} is finite at step {step}")
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                optimiser.step()
        family.eval().finish(batch, rng=rng(seed))
    return family


def _check_drawing(family: Family[Any], space: Space, batch: Batch) -> None:
    def draw(n: int, seed: int | torch.Generator = 3, **options: Any) -> Tensor:
        stream = rng(seed) if isinstance(seed, int) else seed
        return family.sample(n, given=under(batch, n), rng=stream, **options)

    for n in (1, 200):
        x = draw(n)
        hold(len(x) == n, f"sample({n}) draws {n} items")
        check_tensor(x, space, "sample")
        hold(not x.requires_grad, "samples carry no gradients")
    hold(torch.equal(x, draw(200)), "the same rng draws the same bytes")
    hold(not torch.equal(x, draw(200, 4)), "another rng draws something else")
    stream = rng(3)
    hold(not torch.equal(draw(200, stream), draw(200, stream)), "a second call goes on in the stream of its rng")
    torch.manual_seed(123)
    torch.rand(5)
    hold(torch.equal(x, draw(200)), "the global generator has no say in samples")
    check_tensor(draw(50, temperature=0.5), space, "sample at temperature 0.5")
    if isinstance(space, Cells):
        mask = torch.zeros_like(batch.x[:40], dtype=torch.bool)
        mask[torch.arange(len(mask)), torch.arange(len(mask)) % mask.shape[1]] = True
        x = draw(len(mask), 5, known=Known(batch.x[:40], mask))
        hold(bool((x == batch.x[:40])[mask].all()), "known cells are held")
        x = draw(30, 5, known=Known(batch.x[:1], mask[:1]))
        hold(bool((x == batch.x[:1])[:, mask[0]].all()) and len(x) == 30, "a known of one row stands for all")
    if isinstance(space, Tokens):
        mask = prefixes(batch.x[:40], space)
        x = draw(len(mask), 5, known=Known(batch.x[:40], mask))
        check_tensor(x, space, "sample from a beginning")
        hold(bool((x == batch.x[:40])[mask].all()), "known beginnings are held")
        x = draw(30, 5, known=Known(batch.x[1:2], mask[1:2]))
        hold(bool((x == batch.x[1:2])[:, mask[1]].all()) and len(x) == 30, "a known of one row stands for all")


def _check_density(family: Any, space: Space, batch: Batch) -> None:
    logp, parts = family.log_prob(batch), family.log_probs(batch)
    hold(logp.shape == (len(batch.x),), "log_prob is (B,)")
    hold(len(parts) == len(batch.x) and parts.ndim == 2, "log_probs is (B, D)")
    hold(torch.allclose(parts.sum(1).double(), logp.double(), atol=1e-4), "log_probs sums to log_prob")
    hold(torch.allclose(family.log_prob(batch), logp), "log_prob twice is the same")
    if isinstance(space, Tokens):
        hold(parts.shape[1] == space.length, "log_probs is (B, L)")
        behind = (batch.x == space.eos).cumsum(1) - (batch.x == space.eos).long() > 0
        hold(bool((parts[behind] == 0).all()), "padding costs nothing")
        other = torch.where(behind, space.vocab - 1, batch.x)
        same = torch.allclose(family.log_prob(batch._replace(x=other)), logp, atol=1e-4)
        hold(same, "what stands behind the end has no say")
    whole = enumerate_items(space) if family.exact else None
    if whole is not None:
        law = family.log_prob(Batch(whole, under(batch, len(whole)))).double().exp()
        hold(abs(float(law.sum()) - 1) < 1e-4, f"exp(log_prob) sums to 1 over all items, not to {float(law.sum()):.6f}")
        draws = family.sample(DRAWS, given=under(batch, DRAWS), rng=rng(11))
        check_counts(draws, whole, law, 0.0, "sample")


def _check_continuation(conditional: Conditional, space: Tokens, batch: Batch) -> None:
    """Beginnings that are known: what is drawn behind them follows the law of items that begin so."""
    family: Any = conditional
    mask = prefixes(batch.x[:20], space)
    done = family.complete(Known(batch.x[:20], mask), rng=rng(5))
    check_tensor(done.x, space, "complete")
    hold(bool((done.x == batch.x[:20])[mask].all()), "completion keeps what is known")
    hold(done.ess.shape == (20,) and bool((done.ess >= 1).all()), "ess is (B,) and at least 1")
    known = Known(batch.x[:20], mask)
    hold(torch.equal(done.x, family.complete(known, rng=rng(5)).x), "completion with the same rng is the same")
    whole = Known(batch.x[:5], torch.ones(5, space.length, dtype=torch.bool))
    hold(torch.equal(family.complete(whole, rng=rng(5)).x, batch.x[:5]), "nothing is left to draw in whole items")
    items = enumerate_items(space)
    if items is None or not isinstance(conditional, Density) or not conditional.exact:
        return
    first = int(batch.x[:, 0].mode().values)
    if first == space.eos:
        return
    mask = torch.zeros(DRAWS, space.length, dtype=torch.bool)
    mask[:, 0] = True
    draws = family.complete(Known(torch.full((DRAWS, space.length), first), mask), rng=rng(17)).x
    law = family.log_prob(Batch(items)).double().exp() * (items[:, 0] == first)
    check_counts(draws, items, law / law.sum(), 0.0, "complete, first step known")


def _check_conditional(conditional: Conditional, space: Cells, batch: Batch, slack: float) -> None:
    family: Any = conditional
    d = len(space.sizes)
    known = Known(batch.x[:20], torch.rand(20, d, generator=rng(2)) < 0.5)
    done = family.complete(known, rng=rng(5))
    check_tensor(done.x, space, "complete")
    hold(bool((done.x == known.x)[known.mask].all()), "completion keeps what is known")
    hold(done.ess.shape == (20,) and bool((done.ess >= 1).all()), "ess is (B,) and at least 1")
    hold(torch.equal(done.x, family.complete(known, rng=rng(5)).x), "completion with the same rng is the same")
    whole = Known(batch.x[:5], torch.ones(5, d, dtype=torch.bool))
    hold(torch.equal(family.complete(whole, rng=rng(5)).x, batch.x[:5]), "nothing is left to draw in whole items")
    items = enumerate_items(space)
    if items is None or not isinstance(conditional, Density) or not conditional.exact:
        return
    p = family.log_prob(Batch(items)).double().exp()
    for j in sorted({0, d - 1}):
        code = int(batch.x[:, j].mode().values)
        mask = torch.zeros(DRAWS, d, dtype=torch.bool)
        mask[:, j] = True
        draws = family.complete(Known(torch.full((DRAWS, d), code), mask), rng=rng(17 + j)).x
        law = p * (items[:, j] == code)
        check_counts(draws, items, law / law.sum(), slack, f"complete, variable {j} known")
    j = max(range(d), key=lambda j: space.sizes[j])
    weights = torch.linspace(0, 1, space.sizes[j], dtype=torch.float64) if space.sizes[j] > 1 else torch.ones(1)
    soft = Known(torch.zeros(DRAWS, d, dtype=torch.int64), torch.zeros(DRAWS, d, dtype=torch.bool), {j: weights[None]})
    draws = family.complete(soft._replace(soft={j: weights.expand(DRAWS, -1)}), rng=rng(23)).x
    law = p * weights[items[:, j]]
    check_counts(draws, items, law / law.sum(), slack, f"complete, variable {j} a wish")
