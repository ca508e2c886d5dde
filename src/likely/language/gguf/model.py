"""A GGUF file -> Checkpoint.

The network has plain weights. Who wants the quantised ones takes `network_plan`: it names the tensors of every
parameter, and `Tensor.blocks()` are their raw blocks; rows of queries and keys go in the order of `Source.order`.
"""

from __future__ import annotations

from pathlib import Path

import torch

from likely.errors import ArtifactError
from likely.language import weights
from likely.language.fields import Fields
from likely.language.gguf import architecture as architectures
from likely.language.gguf.reader import File, damaged, read
from likely.language.gguf.vocabulary import tokenizer
from likely.language.model import Checkpoint
from likely.language.template import Template
from likely.nn.decoder import Decoder

# Control tokens that end a turn in the templates of well-known models; only some files name theirs.
TURNS = ("<|im_end|>", "<|eot_id|>", "<|end|>", "<end_of_turn>", "<|end_of_text|>", "<|eom_id|>")
ENDS = ("eos_token_id", "eot_token_id", "eom_token_id")


def load(path: str | Path, *, dtype: torch.dtype = torch.float32, name: str | None = None) -> Checkpoint:
    """The model in a file, its weights as `dtype`.

    Raises ArtifactError where the file is damaged or contradicts itself, Unsupported where the model or a format of
    weights is none that we know, Mismatch where the vocabulary is larger than the embedding.
    """
    file = read(path)
    network, plan = network_plan(file)
    spoken = tokenizer(file.metadata, file.path)
    weights.load(network, plan, lambda tensor: file.tensors[tensor].dense(dtype), dtype)
    fields = Fields(file.metadata, str(file.path), "tokenizer.ggml.")
    template = _template(file)
    ends = {id for key in ENDS for id in fields.ids(key)}
    if template is not None:
        ends |= {id for token in TURNS if token in template.source and (id := spoken.specials.get(token)) is not None}
    called = file.metadata.get("general.name")
    bos = next(iter(fields.ids("bos_token_id")), None)
    sentencepiece = fields.get("model") == "llama"
    begins = fields.flag("add_bos_token", sentencepiece or fields.get("pre") in ("llama-bpe", "tekken"))
    return Checkpoint(
        network, spoken, template, frozenset(id for id in ends if id < network.arch.vocab),
        bos if bos is not None and bos < network.arch.vocab else None, begins,
        name or (called if isinstance(called, str) and called else file.path.stem), str(path),
    )  # fmt: skip


def network_plan(file: File) -> tuple[Decoder, weights.Plan]:
    """The network of a file, without memory, and which tensors its parameters are. Raises as `load`."""
    arch, names, interleaved = architectures.architecture(file)
    if arch.layers > len(file.tensors):
        raise ArtifactError(f"{str(file.path)!r} claims {arch.layers} layers, but has {len(file.tensors)} tensors.")
    network = weights.empty(lambda: Decoder(arch))
    plan = weights.plan(network, names, interleaved=interleaved)
    shapes = {name: tensor.shape for name, tensor in file.tensors.items()}
    weights.check(network, plan, shapes, repr(str(file.path)), lambda name: name == architectures.FREQUENCIES)
    return network, plan


def _template(file: File) -> Template | None:
    """The chat template of a file, if it has one, and the special tokens it may name."""
    source = file.metadata.get("tokenizer.chat_template")
    if source is None:
        return None
    if not isinstance(source, str):
        raise damaged(file.path, "its chat template is no text")
    tokens, fields = file.metadata.get("tokenizer.ggml.tokens"), Fields(file.metadata, "", "tokenizer.ggml.")
    named = {"bos_token": "bos_token_id", "eos_token": "eos_token_id", "unk_token": "unknown_token_id",
             "pad_token": "padding_token_id"}  # fmt: skip
    found = {}
    for word, key in named.items():
        ids = fields.ids(key)
        if ids and isinstance(tokens, list) and ids[0] < len(tokens):
            found[word] = str(tokens[ids[0]])
    return Template(source, found)
