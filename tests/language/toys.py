"""Small models and tokenizers, made on the spot, for the tests of this folder."""

import json

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

WORDS = [
    "the quick brown fox jumps over the lazy dog",
    "naïve café 😀 日本語 12345",
    "You're it's they'll",
    "\n\n  \t x",
]


def byte_level(size=320, ends=("<|end|>", "<|start|>")):
    """The JSON of a byte-level tokenizer whose first ids are control tokens."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=list(ends), initial_alphabet=alphabet, show_progress=False
    )
    made.train_from_iterator(WORDS * 3, trainer)
    made.add_tokens([AddedToken("<think>", normalized=False)])
    return made.to_str()


def sentencepiece():
    """Tokens and scores of a small SentencePiece vocabulary, as a GGUF file holds them, with their types."""
    pieces = ["▁", "t", "h", "e", "o", "n", "s", "a", "é", "▁t", "he", "▁the", "on", "▁▁", "▁s", "▁on", "▁a"]
    tokens = ["<unk>", "<s>", "</s>", *[f"<0x{byte:02X}>" for byte in range(256)], *pieces]
    scores = [0.0] * 259 + [float(-at) for at in range(len(pieces))]
    types = [2, 3, 3] + [6] * 256 + [1] * len(pieces)
    return tokens, scores, types


def settle(model, seed=0):
    """Random weights that make logits of about unit size, so that a tolerance means something."""
    noise = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            around = 1.0 if weight.ndim == 1 else 0.0
            scale = 0.1 if weight.ndim == 1 else 1.5 / weight.shape[-1] ** 0.5
            weight.copy_(around + scale * torch.randn(weight.shape, generator=noise))
    return model.eval()


def folder(path, model, tokenizer=None, **words):
    """Write a model of transformers and a tokenizer into a folder."""
    model.save_pretrained(path)
    (path / "tokenizer.json").write_text(tokenizer or byte_level(), "utf-8")
    (path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|end|>", **words}))
    return path
