"""The decoder: what a cache remembers, what padding hides, and gradients that are written out."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likely.nn.decoder import Architecture, Cache, Decoder, RMSNorm
from likely.nn.rope import Rope

SMALL = Architecture(vocab=20, width=24, layers=2, heads=4, groups=2, head=6, hidden=32, context=16)
KINDS = {
    "llama": SMALL,
    "interleaved": replace(SMALL, rope=Rope(interleaved=True), qk_norm=True, tied=False),
    "window": replace(SMALL, window=3),
    "gpt2": replace(
        SMALL, groups=4, rope=None, norm="layer", activation="gelu_tanh", gated=False, bias_qkv=True, bias_out=True,
        bias_feed=True,
    ),
}  # fmt: skip


def built(arch: Architecture) -> Decoder:
    torch.manual_seed(0)
    model = Decoder(arch)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return model.eval()


def tokens(B: int = 3, T: int = 10) -> Tensor:
    return torch.randint(0, 20, (B, T), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_a_cache_remembers(kind: str) -> None:
    """Text in pieces gives what the whole gives, also when rows are reordered, repeated and dropped on the way."""
    model, ids = built(KINDS[kind]), tokens()
    whole = model(ids)
    cache = Cache(model.arch, 3, 12, torch.float32, ids.device)
    parts = [model(ids[:, :4], cache=cache), model(ids[:, 4:5], cache=cache), model(ids[:, 5:8], cache=cache)]
    assert torch.allclose(torch.cat(parts, 1), whole[:, :8], atol=1e-5)
    assert cache.used == 8
    assert cache.room == 4
    rows = torch.tensor([2, 0, 0, 1])
    cache.keep(rows)
    assert torch.allclose(model(ids[rows, 8:9], cache=cache), whole[rows, 8:9], atol=1e-5)
    cache.keep(torch.tensor([1, 3]))
    cache.cut(6)
    assert torch.allclose(model(ids[[0, 1], 6:], cache=cache), whole[[0, 1], 6:], atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_padding_is_not_seen(kind: str) -> None:
    """Left and right padding leave real steps as they are without it, with a cache and without."""
    model, ids = built(KINDS[kind]), tokens()
    want = [model(ids[:1, :7]), model(ids[1:2, :4])]
    for left in (True, False):
        seen = torch.ones(2, 7, dtype=torch.bool)
        padded = ids[:2, :7].clone()
        seen[1, : 3 if left else None] = not left
        if not left:
            seen[1, 4:] = False
        else:
            padded[1, 3:] = ids[1, :4]
        cache = Cache(model.arch, 2, 9, torch.float32, ids.device)
        for got in (model(padded, seen=seen), model(padded, seen=seen, cache=cache)):
            assert torch.allclose(got[:1], want[0], atol=1e-5)
            assert torch.allclose(got[1:][seen[1:]], want[1][0], atol=1e-5)
        more = torch.cat([ids[1:2, :4], ids[1:2, 7:9]], 1)
        step = model(ids[:2, 7:9], seen=torch.ones(2, 2, dtype=torch.bool), cache=cache)
        assert torch.allclose(step[1], model(more)[0, 4:], atol=1e-5)


def test_the_gradient_of_rms_norm() -> None:
    torch.manual_seed(0)
    norm = RMSNorm(16, 1e-5)
    nn.init.normal_(norm.weight)
    x = torch.randn(3, 5, 16, requires_grad=True)
    way = torch.randn(3, 16, 5).transpose(1, 2)
    made = torch.autograd.grad(norm(x), (x, norm.weight), way)
    want = torch.autograd.grad(F.rms_norm(x, (16,), norm.weight, 1e-5), (x, norm.weight), way)
    assert torch.allclose(norm(x), F.rms_norm(x, (16,), norm.weight, 1e-5), atol=1e-6)
    for a, b in zip(made, want, strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_dropout_is_asked_for() -> None:
    """A module in training mode drops nothing of its own accord."""
    model, ids = built(SMALL).train(), tokens()
    with torch.no_grad():
        assert torch.equal(model(ids), model(ids))
        assert not torch.allclose(model(ids, dropout=0.3), model(ids, dropout=0.3))
