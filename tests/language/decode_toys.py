"""A small random model that reads and writes bytes, for the tests of decoding."""

from __future__ import annotations

from functools import cache

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

import likely.language.tokenizer as ours
from likely.language.model import Checkpoint
from likely.nn.decoder import Architecture, Decoder
from likely.nn.rope import Rope

MERGES = ("t h", "th e", "Ġ the", "a n", "an d", "Ġ and", "Ã ©", "1 2", "e r", "Ġ a", "i n", "o n", "Ġ Ġ")
END = "<end>"


@cache
def tokenizer() -> ours.Tokenizer:
    """All bytes, some merges, one control token."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    words = [*letters, *(merge.replace(" ", "") for merge in MERGES)]
    merges = [tuple(merge.split()) for merge in MERGES]
    made = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(words)}, merges=merges))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(END, special=True)])
    return ours.Tokenizer(made.to_str())


def network(seed: int = 0, **changes: object) -> Decoder:
    """Two layers, grouped queries, weights large enough that its texts are not all alike."""
    shape = dict(vocab=tokenizer().size, width=32, layers=2, heads=4, groups=2, head=8, hidden=48, context=96)
    torch.manual_seed(seed)
    made = Decoder(Architecture(**{**shape, **changes})).eval()  # type: ignore[arg-type]
    with torch.no_grad():
        for weight in made.parameters():
            if weight.ndim == 2:
                weight.mul_(6)
    return made


def checkpoint(seed: int = 0, **changes: object) -> Checkpoint:
    """A checkpoint of such a network."""
    words = tokenizer()
    end = words.id(END)
    assert end is not None
    return Checkpoint(network(seed, **changes), words, None, frozenset({end}), None, False, "toy", "")


KINDS: dict[str, dict[str, object]] = {
    "llama": {},
    "gpt2": dict(rope=None, norm="layer", gated=False, activation="gelu_tanh", bias_qkv=True, bias_out=True,
                 bias_feed=True, groups=4),
    "qwen3": dict(qk_norm=True, tied=False, rope=Rope(theta=1e4, interleaved=True)),
    "mistral": dict(window=7),
    "dynamic": dict(rope=Rope(scaling="dynamic", factor=2.0, trained=8)),
}  # fmt: skip
