"""The contracts as checks: hold your own codec, family or policy to them.

    from likely.testing import check_codec, check_family, check_policy

    def test_mine() -> None:
        check_codec(MyCodec(), items)
        check_family(MyFamily, Cells((2, 3, 2)), Batch(codes))

Each check runs the laws that everything else in likely relies on and raises AssertionError with one sentence that says
which law is broken. They are deterministic: a check that passes once passes always on the same machine.

Sums over all items want a tiny space. With E items and n draws of a distribution p, the counts' chi-square

    X2 = sum_e (count_e - n p_e)^2 / (n p_e),    mean E - 1, variance about 2 (E - 1),

is held below mean + 5 standard deviations after items of fewer than 5 expected draws were pooled (Cochran 1954,
doi:10.2307/3001666). A family may know its conditionals only approximately where they go against its own order: there
`slack` (a chi-square distance of distributions, X2 / n) is allowed on top.

Letters: B items, D variables, E items of the whole space, n draws.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from likely.core import (
    Batch,
    Budget,
    Cells,
    Codec,
    Conditional,
    Density,
    Family,
    Known,
    Policy,
    Reals,
    Space,
    Tokens,
)

ENUMERABLE = 5000  # items of a space that can be summed over
DRAWS = 4000  # for chi-square
NEAR, MOST = 0.02, 0.99  # how close reals without levels come back, and how many of them
STEPS, RATE = 300, 5e-3  # of AdamW, falling to 0, before the laws of a family that learns by gradients are checked


# ------------------------------------------------------------------------------------------------ codecs


def check_codec(codec: Codec[Any], items: Any, *, strangers: float = 0.05) -> None:
    """Fit `codec` (fresh from its constructor) on `items` (any input it reads; 20 or more) and check its laws.

    `strangers`: the share of these items that `check` may call invalid. It is not 0 because a codec that keeps no
    single person's value (the highest salary) does not know the extremes again. What it makes must all be valid.
    """
    own = codec.read(items)
    _hold(codec.fit(own) is codec, "fit returns the codec itself")
    batch = codec.encode(own)
    n, space = len(batch.x), codec.space
    _hold(n == len(own), "encode gives one row for each item")
    _check_tensor(batch.x, space, "encode")
    _check_range(batch.x, space)

    _hold(isinstance(space, codec.spaces), "space is one of spaces")
    if isinstance(space, Cells | Reals):
        elements = len(space.sizes) if isinstance(space, Cells) else math.prod(space.shape)
        _hold(len(codec.cells) == elements, "cells names the part of an item that each variable or element belongs to")

    made = codec.make(batch.x, rng=_rng(1))
    _hold(_same(made, codec.make(batch.x, rng=_rng(1))), "make with the same seed makes the same items")
    _hold(_alike(codec.encode(made).x, batch.x, space), "encode(make(x)) = x")
    whole = codec.join([made, made])
    _hold(
        _alike(codec.encode(whole).x, torch.cat([batch.x, batch.x]), space),
        "join puts collections one after another",
    )
    odd = np.arange(n) % 2 == 1
    others = codec.make(_repeat(batch.x[:1], int(odd.sum())), rng=_rng(2))
    mixed = codec.encode(codec.replace(made, odd, others)).x
    where = torch.from_numpy(odd).reshape(-1, *[1] * (batch.x.ndim - 1))
    _hold(_alike(mixed, torch.where(where, batch.x[:1], batch.x), space), "replace replaces")
    _hold(np.asarray(codec.rejects(made)).shape == (n,), "rejects gives one truth value for each item")
    _hold(type(codec.give(own)) is type(items), "give(read(items)) has the type of items")
    for name, some, share in (("its own training data", own, strangers), ("what it made itself", made, 0.0)):
        reasons = codec.check(some)
        _hold(len(reasons) == n, "check gives one list for each item")
        found = [reason for reason in reasons if reason]
        _hold(len(found) <= share * n, f"check finds {name} valid, not {found[:1]} in {len(found)} items")
    if isinstance(space, Reals):
        _check_any(codec, space, n)

    known = codec.partial(own)
    _hold(known.mask.dtype == torch.bool and known.mask.shape == known.x.shape, "partial's mask is bool, shaped like x")
    _hold(bool((known.x == batch.x)[known.mask].all()), "partial of whole items decides what encode gives")
    features = codec.features(own)
    _hold(features.ndim == 2 and len(features) == n, "features are (B, F)")
    _hold(bool(np.isfinite(features).all()), "features are finite")
    volume = codec.volume(own)
    _hold(len(volume) == n and bool(torch.isfinite(volume).all()), "volume gives finite nats for each item")
    _hold(volume.ndim == 2 and volume.shape[1] in (1, len(codec.cells)), "volume is (B, D), or (B, 1) for all alike")
    shown = codec.render(own)
    _hold(
        "/" in shown.media and isinstance(shown.data, bytes) and shown.data != b"", "render gives media type and bytes"
    )

    state = codec.state()
    text = json.dumps(state, allow_nan=False)
    other = type(codec)().load(json.loads(text))
    _hold(json.dumps(other.state(), allow_nan=False) == text, "load(state()) has the same state")
    _hold(other.space == space, "load(state()) has the same space")
    _hold(bool((other.encode(own).x == batch.x).all()), "load(state()) encodes alike")
    _hold(_same(other.make(batch.x, rng=_rng(1)), made), "load(state()) makes the same items")


def _check_any(codec: Codec[Any], space: Reals, n: int) -> None:
    """Whatever a family draws is an item."""
    for scale in (1.0, 30.0):
        noise = scale * torch.randn(n, *space.shape, generator=_rng(5))
        some = codec.make(noise, rng=_rng(6))
        found = [reason for reason in codec.check(some) if reason]
        _hold(not found, f"any reals make valid items, not {found[:1]}")
        again = codec.encode(some).x
        _check_tensor(again, space, "encode")
        _check_range(again, space)
        _hold(_alike(codec.encode(codec.make(again, rng=_rng(7))).x, again, space), "what any reals made survives")


def _check_range(x: Tensor, space: Space) -> None:
    if isinstance(space, Reals) and space.bounds is not None:
        low, high = space.bounds
        _hold(bool(((x >= low) & (x <= high)).all()), "encode gives reals within bounds")
        if space.levels:
            codes = (x - low) * (space.levels - 1) / (high - low)
            _hold(bool((codes - codes.round()).abs().max() < 1e-3), "encode gives evenly spaced levels")
    if isinstance(space, Reals):
        for start, stop in space.onehot:
            part = x[..., start:stop]
            _hold(bool(((part == 0) | (part == 1)).all() and (part.sum(-1) == 1).all()), "one-hot slices hold one 1")


def _alike(a: Tensor, b: Tensor, space: Space) -> bool:
    """Whether two codings say the same."""
    if a.shape != b.shape:
        return False
    if not isinstance(space, Reals):
        return bool((a == b).all())
    if space.levels:
        return bool(torch.allclose(a, b, atol=1e-6))
    for start, stop in space.onehot:
        if not torch.equal(a[..., start:stop], b[..., start:stop]):
            return False
    return bool(((a - b).abs() < NEAR).double().mean() >= MOST)


def _repeat(x: Tensor, n: int) -> Tensor:
    return x.expand(n, *x.shape[1:])


# ---------------------------------------------------------------------------------------------- families


def check_family(
    cls: type[Family[Any]], space: Space, batch: Batch, config: Any = None, *, slack: float = 0.1
) -> Family[Any]:
    """Learn `batch` and check the laws of drawing, storing and, where offered, likelihood and completion.

    Takes seconds on a tiny space. `slack`: see the module. Returns what was learned.
    """
    family = learn(cls, space, batch, config)
    _hold(isinstance(space, cls.accepts), f"{cls.__name__}.accepts names the space it learned")
    _check_drawing(family, space, batch)

    tensors = {name: tensor.clone() for name, tensor in family.tensors().items()}
    _hold(all(isinstance(tensor, Tensor) for tensor in tensors.values()), "tensors() are tensors")
    other = cls(space, None, config).restore(tensors)
    same = torch.equal(other.sample(50, rng=_rng(7)), family.sample(50, rng=_rng(7)))
    _hold(same, "what restore(tensors()) draws is what the original draws")
    _hold(set(other.tensors()) == set(tensors), "restore(tensors()) has the same names")
    _hold(all(torch.equal(other.tensors()[name], tensors[name]) for name in tensors), "restore(tensors()) is unchanged")

    if isinstance(family, Density):
        _check_density(family, space, batch)
    if isinstance(family, Conditional) and isinstance(space, Cells):
        _check_conditional(family, space, batch, slack)
    return family


def learn(cls: type[Family[Any]], space: Space, batch: Batch, config: Any = None, seed: int = 0) -> Family[Any]:
    """A family that has learned `batch`: by its `fit`, or by a few steps of AdamW on its objectives."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        family = cls(space, None, config)
        objectives = family.objectives()
        if not objectives:
            family.fit(batch, Budget(), rng=_rng(seed))
            return family
        family.prepare(batch)
        family.train()
        optimisers = [torch.optim.AdamW(objective.module.parameters(), lr=RATE) for objective in objectives]
        for step in range(STEPS):
            rows = torch.randint(len(batch.x), (min(len(batch.x), 256),))
            part = Batch(batch.x[rows], mask=batch.mask[rows] if batch.mask is not None else None)
            for objective, optimiser in zip(objectives, optimisers, strict=True):
                if step % objective.every:
                    continue
                for group in optimiser.param_groups:
                    group["lr"] = RATE * (1 - step / STEPS)
                loss = objective.loss(part)
                _hold(
                    loss.ndim == 0 and bool(torch.isfinite(loss)), f"loss {objective.name!r} is finite at step {step}"
                )
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
                optimiser.step()
        family.eval().finish(batch, rng=_rng(seed))
    return family


def _check_drawing(family: Family[Any], space: Space, batch: Batch) -> None:
    for n in (1, 200):
        x = family.sample(n, rng=_rng(3))
        _hold(len(x) == n, f"sample({n}) draws {n} items")
        _check_tensor(x, space, "sample")
        _hold(not x.requires_grad, "samples carry no gradients")
    _hold(torch.equal(x, family.sample(200, rng=_rng(3))), "the same rng draws the same bytes")
    _hold(not torch.equal(x, family.sample(200, rng=_rng(4))), "another rng draws something else")
    rng = _rng(3)
    first = family.sample(200, rng=rng)
    _hold(not torch.equal(first, family.sample(200, rng=rng)), "a second call goes on in the stream of its rng")
    torch.manual_seed(123)
    torch.rand(5)
    _hold(torch.equal(x, family.sample(200, rng=_rng(3))), "the global generator has no say in samples")
    _check_tensor(family.sample(50, rng=_rng(3), temperature=0.5), space, "sample at temperature 0.5")
    if isinstance(space, Cells):
        mask = torch.zeros_like(batch.x[:40], dtype=torch.bool)
        mask[torch.arange(len(mask)), torch.arange(len(mask)) % mask.shape[1]] = True
        x = family.sample(len(mask), known=Known(batch.x[:40], mask), rng=_rng(5))
        _hold(bool((x == batch.x[:40])[mask].all()), "known cells are held")
        x = family.sample(30, known=Known(batch.x[:1], mask[:1]), rng=_rng(5))
        _hold(bool((x == batch.x[:1])[:, mask[0]].all()) and len(x) == 30, "a known of one row stands for all")


def _check_density(family: Any, space: Space, batch: Batch) -> None:
    logp, parts = family.log_prob(batch), family.log_probs(batch)
    _hold(logp.shape == (len(batch.x),), "log_prob is (B,)")
    _hold(len(parts) == len(batch.x) and parts.ndim == 2, "log_probs is (B, D)")
    _hold(torch.allclose(parts.sum(1).double(), logp.double(), atol=1e-4), "log_probs sums to log_prob")
    _hold(torch.allclose(family.log_prob(batch), logp), "log_prob twice is the same")
    if isinstance(space, Cells) and family.exact and int(np.prod(space.sizes)) <= ENUMERABLE:
        whole = enumerate_cells(space)
        total = float(family.log_prob(Batch(whole)).double().exp().sum())
        _hold(abs(total - 1) < 1e-4, f"exp(log_prob) sums to 1 over all items, not to {total:.6f}")
        draws = family.sample(DRAWS, rng=_rng(11))
        _check_counts(draws, whole, family.log_prob(Batch(whole)).double().exp(), 0.0, "sample")


def _check_conditional(conditional: Conditional, space: Cells, batch: Batch, slack: float) -> None:
    family: Any = conditional
    d = len(space.sizes)
    known = Known(batch.x[:20], torch.rand(20, d, generator=_rng(2)) < 0.5)
    done = family.complete(known, rng=_rng(5))
    _check_tensor(done.x, space, "complete")
    _hold(bool((done.x == known.x)[known.mask].all()), "completion keeps what is known")
    _hold(done.ess.shape == (20,) and bool((done.ess >= 1).all()), "ess is (B,) and at least 1")
    _hold(torch.equal(done.x, family.complete(known, rng=_rng(5)).x), "completion with the same rng is the same")
    whole = Known(batch.x[:5], torch.ones(5, d, dtype=torch.bool))
    _hold(torch.equal(family.complete(whole, rng=_rng(5)).x, batch.x[:5]), "nothing is left to draw in whole items")
    if not isinstance(conditional, Density) or not conditional.exact or int(np.prod(space.sizes)) > ENUMERABLE:
        return
    items = enumerate_cells(space)
    p = family.log_prob(Batch(items)).double().exp()
    for j in sorted({0, d - 1}):
        code = int(batch.x[:, j].mode().values)
        mask = torch.zeros(DRAWS, d, dtype=torch.bool)
        mask[:, j] = True
        draws = family.complete(Known(torch.full((DRAWS, d), code), mask), rng=_rng(17 + j)).x
        law = p * (items[:, j] == code)
        _check_counts(draws, items, law / law.sum(), slack, f"complete, variable {j} known")
    j = max(range(d), key=lambda j: space.sizes[j])
    weights = torch.linspace(0, 1, space.sizes[j], dtype=torch.float64) if space.sizes[j] > 1 else torch.ones(1)
    soft = Known(torch.zeros(DRAWS, d, dtype=torch.int64), torch.zeros(DRAWS, d, dtype=torch.bool), {j: weights[None]})
    draws = family.complete(soft._replace(soft={j: weights.expand(DRAWS, -1)}), rng=_rng(23)).x
    law = p * weights[items[:, j]]
    _check_counts(draws, items, law / law.sum(), slack, f"complete, variable {j} a wish")


# ---------------------------------------------------------------------------------------------- policies


def check_policy(cls: type[Family[Any]], space: Space, batch: Batch, config: Any = None) -> None:
    """Learn `batch` and check what alignment relies on: scores that repeat, masks that tell choices, gradients."""
    family = learn(cls, space, batch, config)
    _hold(isinstance(family, Policy), f"{cls.__name__} offers rollout, retrace and score")
    policy: Any = family
    path = policy.rollout(64, rng=_rng(3))
    _check_tensor(path.x, space, "rollout")
    _hold(
        path.mask.dtype == torch.bool and path.mask.ndim == 2 and len(path.mask) == 64, "a path's mask is bool (B, S)"
    )
    _hold(torch.equal(path.x, policy.rollout(64, rng=_rng(3)).x), "rollout with the same rng is the same")
    scores, again = policy.score(path), policy.score(path)
    _hold(torch.equal(scores.logp, again.logp), "score twice is the same: the first ratio of PPO is 1")
    family.train()
    _hold(torch.equal(scores.logp, policy.score(path).logp), "score does not change with the training mode")
    family.eval()
    _hold(scores.logp.shape == path.mask.shape, "score gives (B, S)")
    _hold(scores.features.shape[:2] == path.mask.shape and scores.features.ndim == 3, "features are (B, S, F)")
    _hold(bool((scores.logp[~path.mask] == 0).all()), "steps that were no choice have logp 0")

    way = policy.retrace(batch)
    _hold(torch.equal(way.x, batch.x), "retrace ends in the data")
    if isinstance(family, Density) and family.exact:
        for which, steps in (("rollout", path), ("retrace", way)):
            if isinstance(space, Cells):  # of reals, steps are noise and log_prob is a density of x alone
                total = policy.score(steps).logp.sum(1).detach().double()
                close = torch.allclose(total, family.log_prob(Batch(steps.x)).double(), atol=1e-3)
                _hold(close, f"the scores of a {which} sum to log_prob")

    if isinstance(space, Cells):
        mask = torch.zeros(30, len(space.sizes), dtype=torch.bool)
        mask[:, 0] = True
        held = policy.rollout(30, known=Known(batch.x[:30], mask), rng=_rng(3))
        _hold(bool((held.x[:, 0] == batch.x[:30, 0]).all()), "a rollout holds what is known")
        _hold(bool((held.mask.sum(1) == len(space.sizes) - 1).all()), "a known cell is no choice of the model")
    family.zero_grad()
    policy.score(path).logp.mean().backward()
    moved = [p for p in family.parameters() if p.grad is not None and bool((p.grad != 0).any())]
    _hold(bool(moved), "score is differentiable with respect to the parameters")


# ------------------------------------------------------------------------------------------------- means


def enumerate_cells(space: Cells) -> Tensor:
    """All items of a tiny space: (E, D) int64."""
    return torch.cartesian_prod(*(torch.arange(size) for size in space.sizes)).reshape(-1, len(space.sizes))


def _check_counts(draws: Tensor, items: Tensor, p: Tensor, slack: float, what: str) -> None:
    """Chi-square of draws (n, D) against probabilities p (E,) of items (E, D)."""
    place = {tuple(item): e for e, item in enumerate(items.tolist())}
    count = torch.bincount(torch.tensor([place[tuple(x)] for x in draws.tolist()]), minlength=len(items)).double()
    _hold(bool((p[count > 0] > 0).all()), f"{what}: nothing impossible is drawn")
    rare = len(draws) * p < 5
    expected = torch.cat([len(draws) * p[~rare], (len(draws) * p[rare]).sum()[None]])
    count = torch.cat([count[~rare], count[rare].sum()[None]])
    if expected[-1] < 5:  # too few to say anything of
        expected, count = expected[:-1], count[:-1]
    chi2, df = float(((count - expected) ** 2 / expected).sum()), max(len(count) - 1, 1)
    bound = df + 5 * (2 * df) ** 0.5 + slack * len(draws)
    _hold(chi2 <= bound, f"{what}: frequencies agree with log_prob (chi-square {chi2:.0f}, at most {bound:.0f})")


def _check_tensor(x: Tensor, space: Space, what: str) -> None:
    match space:
        case Cells(sizes=sizes):
            _hold(x.dtype == torch.int64 and x.ndim == 2 and x.shape[1] == len(sizes), f"{what} gives int64 (B, D)")
            inside = (x >= 0) & (x < torch.tensor(sizes))
            _hold(bool(inside.all()), f"{what} gives codes within sizes")
        case Tokens(vocab=vocab, length=length):
            _hold(x.dtype == torch.int64 and x.shape[1:] == (length,), f"{what} gives int64 (B, {length})")
            _hold(bool(((x >= 0) & (x < vocab)).all()), f"{what} gives tokens within the vocabulary")
        case Reals(shape=shape):
            _hold(x.dtype == torch.float32 and x.shape[1:] == shape, f"{what} gives float32 (B, *{shape})")
            _hold(bool(torch.isfinite(x).all()), f"{what} gives finite numbers")


def _same(a: Any, b: Any) -> bool:
    """Whether two collections of items are equal; data frames say so themselves, NaN equals NaN in arrays."""
    if hasattr(a, "equals"):
        return bool(a.equals(b))
    if isinstance(a, np.ndarray):
        return bool(np.array_equal(a, b, equal_nan=a.dtype.kind == "f"))
    if isinstance(a, Sequence) and not isinstance(a, str | bytes):
        return len(a) == len(b) and all(_same(p, q) for p, q in zip(a, b, strict=True))
    return bool(a == b)


def _rng(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _hold(law: bool, sentence: str) -> None:
    """Raises AssertionError with the sentence unless the law holds; works under python -O, too."""
    if not law:
        raise AssertionError(f"Broken: {sentence}.")
