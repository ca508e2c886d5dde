"""Metadata of a GGUF file -> Architecture, and what its tensors are called.

Files of "llama" (Mistral too) keep the rows of queries and keys in interleaved pairs; on the way in they are brought to
halves, so that one layout is enough behind this door. Llama 3's scaling of rotary positions is a tensor of divisors,
`rope_freqs.weight`: which scaling it is of is found by computing those of the published ones.

Source of the names: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from likely.errors import ArtifactError, Unsupported
from likely.language.fields import Fields
from likely.language.gguf.reader import File
from likely.language.weights import LAYERS, Names
from likely.nn.decoder import Architecture
from likely.nn.rope import Rope

MODELS = ("llama", "qwen2", "qwen3", "gpt2")
FREQUENCIES = "rope_freqs.weight"
TRAINED = 8192  # what Llama 3 was trained on before its context was stretched

_BLOCK = "blk.{}."
NAMES: Names = {
    "embed": ("token_embd",), "position": ("position_embd",), "norm": ("output_norm",), "head": ("output",),
    "norm1": (_BLOCK + "attn_norm",), "norm2": (_BLOCK + "ffn_norm",),
    "qkv": (_BLOCK + "attn_q", _BLOCK + "attn_k", _BLOCK + "attn_v"), "out": (_BLOCK + "attn_output",),
    "q_norm": (_BLOCK + "attn_q_norm",), "k_norm": (_BLOCK + "attn_k_norm",),
    "up": (_BLOCK + "ffn_gate", _BLOCK + "ffn_up"), "down": (_BLOCK + "ffn_down",),
}  # fmt: skip
GPT2: Names = {**NAMES, "qkv": (_BLOCK + "attn_qkv",), "up": (_BLOCK + "ffn_up",)}


def architecture(file: File) -> tuple[Architecture, Names, bool]:
    """The network of a file, the names of its tensors, and whether queries and keys are interleaved."""
    where = str(file.path)
    model = Fields(file.metadata, where).word("general.architecture", {name: name for name in MODELS})
    fields = Fields(file.metadata, where, f"{model}.")
    if fields.whole("expert_count", 0, low=0):
        raise Unsupported(f"{where} is a mixture of experts, which our decoder is not.")
    width, heads = fields.whole("embedding_length"), fields.whole("attention.head_count")
    head = fields.whole("attention.key_length", max(width // heads, 1), high=2**16)
    if fields.whole("attention.value_length", head) != head:
        raise Unsupported(f"{where} has values of another size than its keys.")
    groups = fields.whole("attention.head_count_kv", heads)
    if heads % groups or head % 2:
        raise ArtifactError(f"{where}: {heads} heads of {head} numbers do not share {groups} key heads.")
    embedding = file.tensors.get("token_embd.weight")
    gpt2 = model == "gpt2"
    norm = "attention.layer_norm_epsilon" if gpt2 else "attention.layer_norm_rms_epsilon"
    arch = Architecture(
        vocab=embedding.shape[0] if embedding is not None else fields.whole("vocab_size"), width=width,
        layers=fields.whole("block_count", high=LAYERS), heads=heads, groups=groups, head=head,
        hidden=fields.whole("feed_forward_length"), context=fields.whole("context_length"),
        rope=None if gpt2 else _rope(file, fields, head), norm="layer" if gpt2 else "rms",
        eps=_short(fields.real(norm, high=1.0)), activation="gelu_tanh" if gpt2 else "silu", gated=not gpt2,
        bias_qkv="blk.0.attn_q.bias" in file.tensors or gpt2, bias_out="blk.0.attn_output.bias" in file.tensors,
        bias_feed="blk.0.ffn_down.bias" in file.tensors, qk_norm=model == "qwen3",
        window=0 if gpt2 else fields.whole("attention.sliding_window", 0, low=0),
        tied="output.weight" not in file.tensors,
    )  # fmt: skip
    return arch, GPT2 if gpt2 else NAMES, model == "llama"


def _short(number: float) -> float:
    """The shortest number that is the same as a float32: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(number)))


def _rope(file: File, fields: Fields, head: int) -> Rope:
    """Rotary positions of a file."""
    if fields.whole("rope.dimension_count", head) != head:
        raise Unsupported(f"{fields.where} turns only a part of each head, which our decoder does not do.")
    theta = _short(fields.real("rope.freq_base", 10_000.0, low=1.0))
    context = fields.whole("context_length")
    trained = fields.whole("rope.scaling.original_context_length", context)
    old = fields.real("rope.scale_linear", 1.0, high=1e6)  # older files
    known = {"none": "none", "linear": "linear", "yarn": "yarn"}
    kind = fields.word("rope.scaling.type", known, "none" if old == 1.0 else "linear")
    factor = 1.0 if kind == "none" else _short(fields.real("rope.scaling.factor", old, high=1e6))
    if FREQUENCIES in file.tensors:
        if kind != "none":
            raise Unsupported(f"{fields.where} has both {FREQUENCIES} and the scaling {kind!r}.")
        return _llama3(file, theta, head, fields.whole("rope.scaling.original_context_length", TRAINED))
    if kind == "linear":
        return Rope(theta, scaling=kind, factor=factor)
    if kind == "none":
        return Rope(theta)
    gain = 0.1 * math.log(factor) + 1.0 if factor > 1 else 1.0
    own = fields.real("rope.scaling.attn_factor", 1.0, high=1e3)
    return Rope(
        theta, scaling=kind, factor=factor, trained=trained, sharpen=0.0 if own == 1.0 else own * gain,
        low=fields.real("rope.scaling.yarn_beta_slow", 1.0), high=fields.real("rope.scaling.yarn_beta_fast", 32.0),
    )  # fmt: skip


def _llama3(file: File, theta: float, head: int, trained: int) -> Rope:
    """The published scaling whose divisors of the frequencies these are."""
    tensor = file.tensors[FREQUENCIES]
    if tensor.shape != (head // 2,):
        raise ArtifactError(f"{file.path}: {FREQUENCIES} is {list(tensor.shape)} where {[head // 2]} is wanted.")
    divisors = tensor.dense()
    plain = Rope(theta).frequencies(head)
    for length in (trained, TRAINED):
        rope = Rope(theta, scaling="llama3", factor=_short(float(divisors.max())), trained=length, low=1.0, high=4.0)
        if torch.allclose(plain / rope.frequencies(head), divisors, rtol=1e-4, atol=0):
            return rope
    if bool((divisors == 1).all()):
        return Rope(theta)
    raise Unsupported(f"{file.path} scales rotary positions ({FREQUENCIES}) in a way that is none of those known.")
