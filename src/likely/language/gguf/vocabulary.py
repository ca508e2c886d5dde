"""The tokenizer of a GGUF file, rebuilt as a tokenizer.json from its metadata.

Two kinds. `gpt2`: byte-level BPE; the merges are in the file, and `tokenizer.ggml.pre` names how text is cut into words
before, which no file spells out: the expressions here are those of the tokenizers the names stand for. `llama`:
SentencePiece BPE; there are scores instead of merges. Those neighbours are joined first whose union scores best, so
every way to split a token into two tokens is a merge, ranked by the token's score (Kudo and Richardson 2018,
arXiv:1808.06226).

Source of the names: llama.cpp (MIT), src/llama-vocab.cpp.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from likely.errors import UnknownName
from likely.language.gguf.reader import damaged
from likely.language.tokenizer import LARGEST, Tokenizer

NORMAL, UNKNOWN, CONTROL, USER = 1, 2, 3, 4  # types of tokens
LONGEST = 256  # characters of a token whose splits are merges

_CONTRACTION = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_LLAMA3 = _CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + _REST
_QWEN2 = _CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _REST
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED = r"[^\r\n\p{L}\p{N}]?" + _UPPER + "*" + _LOWER + r"+%s|[^\r\n\p{L}\p{N}]?" + _UPPER + "+" + _LOWER + "*%s|"
_SLASH = _REST.replace(r"[\r\n]*", r"[\r\n/]*")
_TEKKEN = _CASED.replace("%s", "") + r"\p{N}" + _SLASH
_GPT4O = _CASED.replace("%s", _CONTRACTION + "?") + r"\p{N}{1,3}" + _SLASH
_DEFAULT = (r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]")

# How text is cut: one expression after the other; then whether a word that is a token is taken whole.
PRE: dict[str, tuple[tuple[str, ...], bool]] = {
    "default": (_DEFAULT, False),
    **dict.fromkeys(("gpt-2", "phi-2", "mpt", "olmo", "jais"), ((_GPT2,), False)),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone"), ((r"\p{N}", _GPT2), False)),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "falcon3", "pixtral", "lfm2"), ((_LLAMA3,), True)),
    **dict.fromkeys(("dbrx", "smaug-bpe"), ((_LLAMA3,), False)),
    **dict.fromkeys(("qwen2", "deepseek-r1-qwen", "stablelm2", "megrez"), ((_QWEN2,), False)),
    "tekken": ((_TEKKEN,), True),
    **dict.fromkeys(("gpt-4o", "llama4"), ((_GPT4O,), False)),
}


def tokenizer(metadata: Mapping[str, Any], path: Path) -> Tokenizer:
    """The tokenizer that metadata describe. Raises ArtifactError where they contradict themselves, UnknownName for
    a kind that is not read."""
    tokens, kinds = _tokens(metadata, path)
    kind = metadata.get("tokenizer.ggml.model")
    makers = {"gpt2": _byte_level, "llama": _sentencepiece}
    if not isinstance(kind, str) or kind not in makers:
        raise UnknownName("kind of GGUF tokenizer", kind, makers)
    described = makers[kind](metadata, path, tokens, kinds)
    described |= {"version": "1.0", "truncation": None, "padding": None, "post_processor": None}
    described["added_tokens"] = [
        {"id": id, "content": token, "special": kinds[id] != USER, "normalized": False, "single_word": False,
         "lstrip": False, "rstrip": False}
        for id, token in enumerate(tokens) if kinds[id] in (UNKNOWN, CONTROL, USER)
    ]  # fmt: skip
    return Tokenizer(json.dumps(described), f"{path} (tokenizer)")


def _tokens(metadata: Mapping[str, Any], path: Path) -> tuple[list[str], list[int]]:
    """The tokens by id, and their types."""
    tokens = metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, list) or not 1 <= len(tokens) <= LARGEST or not all(isinstance(t, str) for t in tokens):
        raise damaged(path, "it has no vocabulary (tokenizer.ggml.tokens)")
    if len(set(tokens)) != len(tokens):
        twice = max(Counter(tokens).items(), key=lambda item: item[1])[0]
        raise damaged(path, f"the token {twice[:40]!r} stands twice in its vocabulary")
    kinds = metadata.get("tokenizer.ggml.token_type")
    if kinds is None:
        return tokens, [NORMAL] * len(tokens)
    if not isinstance(kinds, np.ndarray) or len(kinds) != len(tokens) or kinds.dtype.kind not in "iu":
        raise damaged(path, "tokenizer.ggml.token_type does not fit its vocabulary")
    return tokens, kinds.tolist()


def _byte_level(metadata: Mapping[str, Any], path: Path, tokens: list[str], kinds: list[int]) -> dict[str, Any]:
    name = metadata.get("tokenizer.ggml.pre", "default")
    if not isinstance(name, str) or name not in PRE:
        raise UnknownName("way to cut text before BPE (tokenizer.ggml.pre)", name, PRE)
    merges = metadata.get("tokenizer.ggml.merges")
    if not isinstance(merges, list) or not all(isinstance(merge, str) and " " in merge for merge in merges):
        raise damaged(path, "it has no merges (tokenizer.ggml.merges)")
    cuts, whole = PRE[name]
    splits = [{"type": "Split", "pattern": {"Regex": cut}, "behavior": "Isolated", "invert": False} for cut in cuts]
    prefix = metadata.get("tokenizer.ggml.add_space_prefix") is True
    bytes = {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": False}
    return {
        "normalizer": {"type": "NFC"} if name == "qwen2" else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [*splits, bytes]},
        "decoder": bytes,
        "model": {
            "type": "BPE", "vocab": {token: id for id, token in enumerate(tokens)}, "ignore_merges": whole,
            "merges": [list(merge.split(" ", 1)) for merge in merges], "unk_token": None, "byte_fallback": False,
        },
    }  # fmt: skip


def _sentencepiece(metadata: Mapping[str, Any], path: Path, tokens: list[str], kinds: list[int]) -> dict[str, Any]:
    scores = metadata.get("tokenizer.ggml.scores")
    if not isinstance(scores, np.ndarray) or len(scores) != len(tokens) or scores.dtype.kind != "f":
        raise damaged(path, "tokenizer.ggml.scores does not fit its vocabulary")
    plain = {token for token, kind in zip(tokens, kinds, strict=True) if kind in (NORMAL, USER)}
    order = np.argsort(-np.nan_to_num(scores, nan=-1e30), kind="stable")
    merges = [
        [token[:at], token[at:]]
        for token in (tokens[id] for id in order)
        if token in plain and len(token) <= LONGEST
        for at in range(1, len(token))
        if token[:at] in plain and token[at:] in plain
    ]
    prefix = metadata.get("tokenizer.ggml.add_space_prefix") is not False
    unknown = next((token for token, kind in zip(tokens, kinds, strict=True) if kind == UNKNOWN), None)
    space = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    back = [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]
    return {
        "normalizer": {"type": "Sequence", "normalizers": [*([{"type": "Prepend", "prepend": "▁"}] * prefix), space]},
        "pre_tokenizer": None,
        "decoder": {"type": "Sequence", "decoders": [
            *back, *([{"type": "Strip", "content": " ", "start": 1, "stop": 0}] * prefix)
        ]},
        "model": {
            "type": "BPE", "vocab": {token: id for id, token in enumerate(tokens)}, "merges": merges,
            "unk_token": unknown, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
        },
    }  # fmt: skip
