"""Compiled steps of a decoder are the decoder: hidden states, keys and values, for all it covers, on every path."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from likely.core import Known, Tokens
from likely.families.transformer import Transformer, TransformerConfig
from likely.nn.decoder import Architecture, Cache, Decoder
from likely.nn.rope import Rope
from likely.nn.stride import LONG, Stride, library, why_not

FOUND, WHY = library()
needed = pytest.mark.skipif(FOUND is None, reason=f"nothing compiled: {WHY}")
GPT2 = dict(rope=None, norm="layer", gated=False, activation="gelu", bias_qkv=True, bias_out=True, bias_feed=True)
SHAPES: dict[str, dict[str, object]] = {
    "gpt2": dict(width=64, heads=2, groups=2, head=32, hidden=256, **GPT2),
    "llama": dict(width=48, heads=6, groups=2, head=16, hidden=80),
    "mistral": dict(width=64, heads=1, groups=1, head=64, hidden=96, window=5, activation="gelu_tanh"),
    "qwen3": dict(
        width=32, heads=2, groups=1, head=48, hidden=48, qk_norm=True, bias_qkv=True, rope=Rope(interleaved=True)
    ),
    "opt": dict(width=32, heads=2, groups=2, head=16, hidden=64, **{**GPT2, "activation": "relu"}),
}  # fmt: skip
PATHS = {"native": None, "avx2": ("-march=haswell",), "plain": ()}


def network(name: str) -> Decoder:
    """One whose weights are large enough for everything to count."""
    torch.manual_seed(3)
    made = Decoder(Architecture(vocab=37, layers=2, context=24, eps=1e-5, **SHAPES[name]))  # type: ignore[arg-type]
    with torch.no_grad():
        for name_, weight in made.named_parameters():
            weight.copy_(torch.randn_like(weight) * 0.3 + (1.0 if weight.ndim == 1 and "bias" not in name_ else 0.0))
    return made.eval()


def cache(source: Decoder, rows: int) -> Cache:
    return Cache(source.arch, rows, 24, torch.float32, torch.device("cpu"))


@needed
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", SHAPES)
@torch.no_grad()
def test_steps_are_those_of_the_decoder(name: str, path: str) -> None:
    if path == "avx2" and "avx2" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("not on this processor")
    found, why = library(PATHS[path])
    assert found is not None, why
    source, rows = network(name), 19  # some whole parts of a product, and a rest
    assert why_not(source) == ""
    ids = torch.randint(0, 37, (rows, 13), generator=torch.Generator().manual_seed(1))
    stays = torch.tensor([18, 3, 7, 7, 0])
    ours, theirs = cache(source, rows), cache(source, rows)
    stride = Stride(found, source, ours)
    for begin, end in ((0, 6), (6, 7), (7, 9), (9, 10), (10, 11), (11, 13)):
        if begin == 9:  # rows that have ended are left behind
            for one in (ours, theirs):
                one.keep(stays)
            ids = ids[stays]
        expected = source(ids[:, begin:end], cache=theirs)[:, -1]
        torch.testing.assert_close(stride.step(ids[:, begin:end]), expected, atol=1e-4, rtol=1e-4)
        assert ours.used == theirs.used == end
    torch.testing.assert_close(ours.keys, theirs.keys, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.values, theirs.values, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.seen, theirs.seen)


@needed
@pytest.mark.parametrize("style", ["gpt2", "llama"])
def test_what_is_drawn_is_what_the_network_says(style: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same items with compiled steps and without, in a vocabulary that leaves no room for ties; also behind a
    condition and a prompt longer than is compiled."""
    torch.manual_seed(0)
    space = Tokens(50, LONG + 12)
    model = Transformer(space, None, TransformerConfig(style=style, width=32, depth=2, heads=2, hidden=64)).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.05)
    drawn = {}
    for held in (0, 3, LONG + 1):
        x = torch.full((40, space.length), 9)
        known = torch.arange(space.length).lt(held).expand(40, -1)
        for compiled in (True, False):
            if not compiled:
                monkeypatch.setattr("likely.families.transformer.why_not", lambda network: "asked for")
            path = model.rollout(40, known=Known(x, known), rng=torch.Generator().manual_seed(4))
            drawn[compiled] = path.x
            monkeypatch.undo()
        assert float((drawn[True] == drawn[False]).float().mean()) > 0.999


@needed
def test_what_is_not_covered_is_named() -> None:
    assert "exchanged" in why_not(_exchanged())
    assert "16" in why_not(Decoder(Architecture(9, 24, 1, 1, 1, 24, 48, 8)))
    assert "float64" in why_not(network("llama").double())
    assert "MB" in why_not(_meta())
    assert FOUND is not None
    source = network("llama")
    stride = Stride(FOUND, source, cache(source, 3))
    with pytest.raises(ValueError, match="fit"):  # the library itself looks at nothing
        stride.step(torch.zeros(3, 25, dtype=torch.int64))


def _exchanged() -> Decoder:
    made = network("llama")
    made.blocks[0].qkv = nn.Sequential(made.blocks[0].qkv)  # type: ignore[assignment]
    return made


def _meta() -> Decoder:
    with torch.device("meta"):
        made = Decoder(Architecture(9, 4096, 8, 32, 32, 128, 16384, 8))
    made.embed = nn.Embedding(9, 16)
    return made
