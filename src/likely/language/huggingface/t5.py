"""T5 in a Hugging Face folder <-> our encoder-decoder (Raffel et al. 2020, arXiv:1910.10683).

The first T5 ties head and embedding, and shrinks the last states; version 1.1 has a head of its own, does not shrink,
and its feed-forward layers are gated. A config says both with one word, `tie_word_embeddings`, unless it has
`scale_decoder_outputs`, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from likely.errors import Mismatch, Unsupported
from likely.language import weights
from likely.language.fields import Fields, read_json
from likely.language.huggingface.config import ACTIVATIONS
from likely.language.huggingface.folder import assembled, optional, tokenizer_of
from likely.language.huggingface.saving import SHARD, whole, write, write_json
from likely.language.huggingface.tensors import Arrays
from likely.language.tokenizer import Tokenizer
from likely.nn.encoder_decoder import Architecture, EncoderDecoder

TOP = {"embed": "shared", "encoder_norm": "encoder.final_layer_norm", "norm": "decoder.final_layer_norm",
       "head": "lm_head", "encoder_bias": "encoder.block.0.layer.0.SelfAttention.relative_attention_bias",
       "decoder_bias": "decoder.block.0.layer.0.SelfAttention.relative_attention_bias"}  # fmt: skip
HEAD = "lm_head.weight"


@dataclass
class Seq2seqCheckpoint:
    """A network of a target given a source, and the tokenizer of both. A target begins after id `start`."""

    network: EncoderDecoder
    tokenizer: Tokenizer
    start: int
    ends: frozenset[int]
    name: str
    source: str

    def __post_init__(self) -> None:
        if self.tokenizer.size > self.network.arch.vocab or self.start >= self.network.arch.vocab:
            raise Mismatch(
                f"The tokenizer of {self.source!r} has {self.tokenizer.size} ids and a target begins after id "
                f"{self.start}, but its network knows {self.network.arch.vocab}: they belong to different models."
            )
        self.tokenizer.control(self.ends)

    def encode(self, text: str) -> list[int]:
        """Ids of a source, with what the tokenizer puts around one."""
        before, after = self.tokenizer.affixes()
        return [*before, *self.tokenizer.encode(text), *after]


def load(folder: str | Path, *, dtype: torch.dtype = torch.float32) -> Seq2seqCheckpoint:
    """The T5 in a folder. Raises as `huggingface.load`."""
    folder = Path(folder)
    config = Fields(read_json(folder / "config.json"), str(folder / "config.json"))
    config.word("model_type", {"t5": "t5"})
    arrays = Arrays(folder)
    arch = architecture(config, HEAD in arrays.shapes)
    layers = arch.encoder + arch.layers
    network = assembled(lambda: EncoderDecoder(arch), plan, arrays, layers, arch.tied, dtype)
    tokenizer, _ = tokenizer_of(folder)
    ends = {*config.ids("eos_token_id"), *optional(folder, "generation_config.json").ids("eos_token_id")} or {1}
    return Seq2seqCheckpoint(
        network, tokenizer, config.whole("decoder_start_token_id", config.get("pad_token_id", 0), low=0),
        frozenset(id for id in ends if id < arch.vocab), folder.resolve().name, str(folder),
    )  # fmt: skip


def save(checkpoint: Seq2seqCheckpoint, folder: str | Path, *, shard: int = SHARD) -> None:
    """Write a new folder that transformers loads. Raises as `huggingface.save`."""
    ends = sorted(checkpoint.ends)
    ids = {"eos_token_id": ends[0] if len(ends) == 1 else ends or None, "decoder_start_token_id": checkpoint.start,
           "pad_token_id": checkpoint.start}  # fmt: skip
    config, network = describe(checkpoint.network.arch) | ids, checkpoint.network
    words = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False,
             "eos_token": next((token for id in ends if (token := checkpoint.tokenizer.token(id))), None),
             "pad_token": checkpoint.tokenizer.token(checkpoint.start)}  # fmt: skip
    with whole(folder) as scratch:
        write(scratch, network, plan(network), config, shard)
        write_json(scratch / "generation_config.json", ids)
        (scratch / "tokenizer.json").write_text(checkpoint.tokenizer.json(), "utf-8")
        write_json(scratch / "tokenizer_config.json", {key: word for key, word in words.items() if word is not None})


def architecture(config: Fields, head: bool) -> Architecture:
    """The network of a config; `head`: the file has a head of its own."""
    tied, word = config.flag("tie_word_embeddings", True), str(config.get("feed_forward_proj", "relu"))
    shrink = config.flag("scale_decoder_outputs", tied)
    gated = word.startswith("gated-")
    plain = "gelu_new" if word == "gated-gelu" else word.removeprefix("gated-")
    layers = config.whole("num_layers", 6, high=weights.LAYERS)
    buckets = config.whole("relative_attention_num_buckets", 32, low=4, high=2**16)
    vocabulary, reach = config.whole("vocab_size", 32128), config.whole("relative_attention_max_distance", 128, low=2)
    if reach <= buckets // 2:
        raise config.wrong("relative_attention_max_distance", reach, f"more than half of {buckets} buckets")
    return Architecture(
        vocab=vocabulary, source=vocabulary, width=config.whole("d_model", 512), encoder=layers,
        layers=config.whole("num_decoder_layers", layers, high=weights.LAYERS), heads=config.whole("num_heads", 8),
        head=config.whole("d_kv", 64, high=2**16), hidden=config.whole("d_ff", 2048), shared=True, rope=None,
        buckets=buckets, reach=reach, scaled=False, eps=config.real("layer_norm_epsilon", 1e-6, high=1.0),
        activation=Fields({"feed_forward_proj": plain}, config.where).word("feed_forward_proj", ACTIVATIONS),
        gated=gated, tied=tied or not head, shrink=shrink,
    )  # fmt: skip


def describe(arch: Architecture) -> dict[str, Any]:
    """The config.json of a network. Raises Unsupported where it is not like T5."""
    words = {("gelu_tanh", True): "gated-gelu", ("gelu_tanh", False): "gelu_new", ("gelu", False): "gelu",
             ("relu", False): "relu", ("relu", True): "gated-relu", ("silu", False): "silu",
             ("silu", True): "gated-silu"}  # fmt: skip
    word = words.get((arch.activation, arch.gated))
    shaped = arch.rope is None and arch.shared and not (arch.scaled or arch.reals)
    if not shaped or word is None or (arch.shrink and not arch.tied):
        raise Unsupported(
            "An encoder-decoder is written as T5, which has buckets of distances, attention that is not scaled, one "
            "embedding for source and target, and shrinks its last states only where the head is tied; this one "
            "differs. Save an artifact instead."
        )
    return {
        "architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "is_encoder_decoder": True,
        "vocab_size": arch.vocab, "d_model": arch.width, "d_kv": arch.head, "d_ff": arch.hidden,
        "num_layers": arch.encoder, "num_decoder_layers": arch.layers, "num_heads": arch.heads,
        "relative_attention_num_buckets": arch.buckets, "relative_attention_max_distance": arch.reach,
        "layer_norm_epsilon": arch.eps, "feed_forward_proj": word, "tie_word_embeddings": arch.tied,
        "scale_decoder_outputs": arch.shrink, "dropout_rate": 0.0,
    }  # fmt: skip


def plan(network: EncoderDecoder) -> weights.Plan:
    """What each parameter is called in a file."""
    arch, found = network.arch, {}
    N = arch.heads * arch.head
    for name, weight in network.named_parameters():
        half, *rest = name.removesuffix(".weight").split(".")
        if not rest:
            found[name] = weights.Source((f"{TOP[half]}.weight",), (weight.shape[0],))
            continue
        last = 1 if half == "encoder" else 2  # where the feed-forward layers are
        up = ("wi_0", "wi_1") if arch.gated else ("wi",)
        own, across, feed = "0.SelfAttention", "1.EncDecAttention", f"{last}.DenseReluDense"
        parts = {
            "qkv": [f"{own}.{part}" for part in "qkv"], "out": [f"{own}.o"], "norm1": ["0.layer_norm"],
            "q": [f"{across}.q"], "kv": [f"{across}.{part}" for part in "kv"], "out_cross": [f"{across}.o"],
            "norm_cross": ["1.layer_norm"], "up": [f"{feed}.{part}" for part in up], "down": [f"{feed}.wo"],
            "norm2": [f"{last}.layer_norm"],
        }  # fmt: skip
        arrays = parts[rest[1]]
        rows = {"qkv": (N, N, N), "kv": (N, N), "up": (arch.hidden,) * len(up)}.get(rest[1], (weight.shape[0],))
        found[name] = weights.Source(tuple(f"{half}.block.{rest[0]}.layer.{array}.weight" for array in arrays), rows)
    return found
