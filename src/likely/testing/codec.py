"""The laws of a codec. See `likely.testing`.

Letters: B items, D variables.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from likely.core import Cells, Codec, Reals, Space, Tokens
from likely.errors import ConditionError
from likely.testing.law import check_tensor, hold, rng, same

NEAR, MOST = 0.02, 0.99  # how close reals without levels come back, and how many of them


def check_codec(codec: Codec[Any], items: Any, *, strangers: float = 0.05) -> None:
    """Fit `codec` (fresh from its constructor) on `items` (any input it reads; 20 or more) and check its laws.

    `strangers`: the share of these items that `check` may call invalid. It is not 0 because a codec that keeps no
    single person's value (the highest salary) does not know the extremes again. What it makes must all be valid.
    """
    own = codec.read(items)
    hold(codec.fit(own) is codec, "fit returns the codec itself")
    batch = codec.encode(own)
    n, space = len(batch.x), codec.space
    hold(n == len(own), "encode gives one row for each item")
    check_tensor(batch.x, space, "encode")
    check_range(batch.x, space)

    hold(isinstance(space, codec.spaces), "space is one of spaces")
    if isinstance(space, Cells | Reals):
        elements = len(space.sizes) if isinstance(space, Cells) else math.prod(space.shape)
        hold(len(codec.cells) == elements, "cells names the part of an item that each variable or element belongs to")

    made = codec.make(batch.x, rng=rng(1))
    hold(same(made, codec.make(batch.x, rng=rng(1))), "make with the same seed makes the same items")
    hold(alike(codec.encode(made).x, batch.x, space), "encode(make(x)) = x")
    whole = codec.join([made, made])
    hold(
        alike(codec.encode(whole).x, torch.cat([batch.x, batch.x]), space),
        "join puts collections one after another",
    )
    odd = np.arange(n) % 2 == 1
    others = codec.make(_repeat(batch.x[:1], int(odd.sum())), rng=rng(2))
    mixed = codec.encode(codec.replace(made, odd, others)).x
    where = torch.from_numpy(odd).reshape(-1, *[1] * (batch.x.ndim - 1))
    hold(alike(mixed, torch.where(where, batch.x[:1], batch.x), space), "replace replaces")
    hold(np.asarray(codec.rejects(made)).shape == (n,), "rejects gives one truth value for each item")
    hold(type(codec.give(own)) is type(items), "give(read(items)) has the type of items")
    for name, some, share in (("its own training data", own, strangers), ("what it made itself", made, 0.0)):
        reasons = codec.check(some)
        hold(len(reasons) == n, "check gives one list for each item")
        found = [reason for reason in reasons if reason]
        hold(len(found) <= share * n, f"check finds {name} valid, not {found[:1]} in {len(found)} items")
    if isinstance(space, Reals):
        _check_any(codec, space, n)
    if isinstance(space, Tokens):
        _check_any_tokens(codec, space)

    if isinstance(space, Tokens):  # a text that leaves no room to go on may be refused
        room = [k for k in range(n) if _goes_on(codec, own[k : k + 1])]
        hold(bool(room), "partial takes some of the items as beginnings")
        known, beginnings = codec.partial(own[room]), batch.x[room]
    else:
        known, beginnings = codec.partial(own), batch.x
    hold(known.mask.dtype == torch.bool and known.mask.shape == known.x.shape, "partial's mask is bool, shaped like x")
    hold(bool((known.x == beginnings)[known.mask].all()), "partial of whole items decides what encode gives")
    if isinstance(space, Tokens):
        hold(not bool((known.mask[:, 1:] & ~known.mask[:, :-1]).any()), "partial of tokens decides a beginning")
        hold(not bool((known.x == space.eos)[known.mask].any()), "partial leaves open where an item ends")
    features = codec.features(own)
    hold(features.ndim == 2 and len(features) == n, "features are (B, F)")
    hold(bool(np.isfinite(features).all()), "features are finite")
    volume = codec.volume(own)
    hold(len(volume) == n and bool(torch.isfinite(volume).all()), "volume gives finite nats for each item")
    hold(volume.ndim == 2 and volume.shape[1] in (1, len(codec.cells)), "volume is (B, D), or (B, 1) for all alike")
    shown = codec.render(own)
    hold(
        "/" in shown.media and isinstance(shown.data, bytes) and shown.data != b"", "render gives media type and bytes"
    )

    state = codec.state()
    text = json.dumps(state, allow_nan=False)
    other = type(codec)().load(json.loads(text))
    hold(json.dumps(other.state(), allow_nan=False) == text, "load(state()) has the same state")
    hold(other.space == space, "load(state()) has the same space")
    hold(bool((other.encode(own).x == batch.x).all()), "load(state()) encodes alike")
    hold(same(other.make(batch.x, rng=rng(1)), made), "load(state()) makes the same items")


def _check_any(codec: Codec[Any], space: Reals, n: int) -> None:
    """Whatever a family draws is an item."""
    for scale in (1.0, 30.0):
        noise = scale * torch.randn(n, *space.shape, generator=rng(5))
        some = codec.make(noise, rng=rng(6))
        found = [reason for reason in codec.check(some) if reason]
        hold(not found, f"any reals make valid items, not {found[:1]}")
        again = codec.encode(some).x
        check_tensor(again, space, "encode")
        check_range(again, space)
        hold(alike(codec.encode(codec.make(again, rng=rng(7))).x, again, space), "what any reals made survives")


def _goes_on(codec: Codec[Any], item: Any) -> bool:
    try:
        codec.partial(item)
    except ConditionError:
        return False
    return True


def _check_any_tokens(codec: Codec[Any], space: Tokens) -> None:
    """Whatever a family draws under the grammar is an item."""
    draw, n = rng(5), 40
    x, done = torch.full((n, space.length), space.pad), torch.zeros(n, space.length, dtype=torch.bool)
    weight = torch.ones(space.vocab, dtype=torch.float64)
    weight[sorted({space.pad, space.bos} - {space.eos})] = 0.0
    for s in range(space.length):
        allowed = codec.grammar.allow(s, x, done) if codec.grammar is not None else None
        each = weight * allowed if allowed is not None else weight.expand(n, -1)
        hold(bool((each.sum(1) > 0).all()), "the grammar leaves something to come next")
        over = (x == space.eos).any(1)
        x[:, s] = torch.where(over, space.pad, torch.multinomial(each, 1, generator=draw)[:, 0])
        done[:, s] = True
    some = codec.make(x, rng=rng(6))
    found = [reason for reason in codec.check(some) if reason]
    hold(not found, f"any tokens that the grammar allows make valid items, not {found[:1]}")
    check_tensor(codec.encode(some).x, space, "encode")


def check_range(x: Tensor, space: Space) -> None:
    """Reals lie where their space says."""
    if isinstance(space, Reals) and space.bounds is not None:
        low, high = space.bounds
        hold(bool(((x >= low) & (x <= high)).all()), "encode gives reals within bounds")
        if space.levels:
            codes = (x - low) * (space.levels - 1) / (high - low)
            hold(bool((codes - codes.round()).abs().max() < 1e-3), "encode gives evenly spaced levels")
    if isinstance(space, Reals):
        for start, stop in space.onehot:
            part = x[..., start:stop]
            hold(bool(((part == 0) | (part == 1)).all() and (part.sum(-1) == 1).all()), "one-hot slices hold one 1")


def alike(a: Tensor, b: Tensor, space: Space) -> bool:
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
