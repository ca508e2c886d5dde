"""The encoder-decoder: T5's logits, caches, masks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import T5Config, T5ForConditionalGeneration

from likely.nn.decoder import Cache
from likely.nn.encoder_decoder import Architecture, EncoderDecoder, bucket
from likely.nn.rope import Rope

OWN = Architecture(vocab=20, source=15, width=24, encoder=2, layers=2, heads=3, head=8, hidden=32)
LAYERS = {"norm1": "0.layer_norm", "out": "0.SelfAttention.o"}
CROSS = {"norm_cross": "1.layer_norm", "q": "1.EncDecAttention.q", "out_cross": "1.EncDecAttention.o"}


def t5(feed: str, tied: bool) -> tuple[EncoderDecoder, Any]:
    """The same weights in both."""
    torch.manual_seed(0)
    config = T5Config(
        vocab_size=30, d_model=24, d_kv=8, d_ff=32, num_layers=2, num_decoder_layers=3, num_heads=3,
        relative_attention_num_buckets=8, relative_attention_max_distance=20, feed_forward_proj=feed,
        tie_word_embeddings=tied, dropout_rate=0.0,
    )  # fmt: skip
    config.tie_word_embeddings = tied
    theirs = T5ForConditionalGeneration(config).eval()
    theirs.encoder.embed_tokens.weight = theirs.decoder.embed_tokens.weight = theirs.shared.weight
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    gated = feed != "relu"
    arch = Architecture(
        vocab=30, source=30, width=24, encoder=2, layers=3, heads=3, head=8, hidden=32, shared=True, rope=None,
        buckets=8, reach=20, scaled=False, activation="gelu_tanh" if gated else "relu", gated=gated, tied=tied,
        shrink=tied,
    )  # fmt: skip
    ours, state = EncoderDecoder(arch), theirs.state_dict()
    own: dict[str, Tensor] = {"embed.weight": state["shared.weight"], "front.weight": state["shared.weight"]}
    if not tied:
        own["head.weight"] = state["lm_head.weight"]
    for half, count, norm in (("encoder", 2, "encoder_norm"), ("decoder", 3, "norm")):
        own[f"{norm}.weight"] = state[f"{half}.final_layer_norm.weight"]
        bias = f"{half}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
        own[f"{half}_bias.weight"] = state[bias]
        for k in range(count):
            there, last = f"{half}.block.{k}.layer.", 2 if half == "decoder" else 1
            names = {**LAYERS, **(CROSS if half == "decoder" else {}), "norm2": f"{last}.layer_norm"}
            for name, their in {**names, "down": f"{last}.DenseReluDense.wo"}.items():
                own[f"{half}.{k}.{name}.weight"] = state[f"{there}{their}.weight"]
            wi = ["wi_0", "wi_1"] if gated else ["wi"]
            joint = {"qkv": [f"0.SelfAttention.{x}" for x in "qkv"], "up": [f"{last}.DenseReluDense.{x}" for x in wi]}
            if half == "decoder":
                joint["kv"] = ["1.EncDecAttention.k", "1.EncDecAttention.v"]
            for name, several in joint.items():
                own[f"{half}.{k}.{name}.weight"] = torch.cat([state[f"{there}{each}.weight"] for each in several])
    ours.load_state_dict(own)
    return ours.eval(), theirs


def sentences(S: int = 40, T: int = 35) -> tuple[Tensor, Tensor, Tensor]:
    """Sources (3, S), which steps of them are real, targets (3, T)."""
    rng = torch.Generator().manual_seed(2)
    seen = torch.arange(S) < torch.tensor([S, S - 10, 5])[:, None]
    return torch.randint(3, 15, (3, S), generator=rng), seen, torch.randint(3, 20, (3, T), generator=rng)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("feed", ["relu", "gated-gelu"])
@torch.no_grad()
def test_t5(feed: str, tied: bool) -> None:
    ours, theirs = t5(feed, tied)
    source, seen, target = sentences()
    want = theirs(input_ids=source, attention_mask=seen.long(), decoder_input_ids=target).logits
    got = ours.logits(ours(source, target, seen=seen))
    assert want.abs().max() > 1
    assert (got - want).abs().max() < 1e-4


def several() -> list[Any]:
    reals = Architecture(vocab=20, source=5, width=24, encoder=2, layers=2, heads=3, head=8, hidden=32, reals=True)
    t5_like = Architecture(
        vocab=20, source=15, width=24, encoder=1, layers=2, heads=3, head=8, hidden=32, rope=None, scaled=False,
        buckets=8, reach=16, gated=False, activation="relu", tied=False,
    )  # fmt: skip
    return [pytest.param(OWN, id="rope"), pytest.param(reals, id="reals"), pytest.param(t5_like, id="t5")]


@pytest.mark.parametrize("arch", several())
@torch.no_grad()
def test_a_cache_remembers_and_padding_is_not_seen(arch: Architecture) -> None:
    torch.manual_seed(0)
    model = EncoderDecoder(arch).eval()
    for weight in model.parameters():
        weight.add_(0.2 * torch.randn_like(weight))
    source, seen, target = sentences(12, 9)
    x = torch.randn(3, 12, 5) if arch.reals else source
    whole = model(x, target, seen=seen)
    assert torch.allclose(model(x[2:, :5], target[2:]), whole[2:], atol=1e-5)
    recall = model.recall(model.encode(x, seen=seen))
    cache = Cache(arch, 3, 9, torch.float32, x.device)
    parts = [model.decode(part, recall, cache=cache) for part in target[:, :6].split([3, 1, 2], 1)]
    assert torch.allclose(torch.cat(parts, 1), whole[:, :6], atol=1e-5)
    rows = torch.tensor([1, 1, 2, 0])
    recall.keep(rows)
    cache.keep(rows)
    assert torch.allclose(model.decode(target[rows, 6:], recall, cache=cache), whole[rows, 6:], atol=1e-5)


def test_buckets_of_distances() -> None:
    away = torch.arange(-200, 201)
    both, back = bucket(away, 32, 128, True), bucket(away, 32, 128, False)
    assert both.min() == 0
    assert both.max() == 31
    assert bool((back[away >= 0] == 0).all())
    assert back[away == -15] == 15
    assert back[away == -200] == 31
    assert bool((back[away <= 0].diff() <= 0).all())


def test_first_weights_of_both_kinds_learn() -> None:
    """A copying task: the loss falls by half within a few steps, whatever the style."""
    for rope, scaled, shrink in ((Rope(), True, False), (None, False, True)):
        torch.manual_seed(0)
        arch = Architecture(
            vocab=12, source=12, width=32, encoder=1, layers=1, heads=2, head=16, hidden=64, rope=rope, scaled=scaled,
            shrink=shrink,
        )  # fmt: skip
        model = EncoderDecoder(arch)
        optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
        losses = []
        for _ in range(90):
            x = torch.randint(2, 12, (32, 4))
            before = torch.cat([torch.ones_like(x[:, :1]), x[:, :-1]], 1)
            logits = model.logits(model(x, before))
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), x.flatten())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < 0.6 * losses[0]
