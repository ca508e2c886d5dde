"""A Hugging Face folder -> Checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from likely.errors import ArtifactError, Unsupported
from likely.language import weights
from likely.language.fields import Fields, read_json
from likely.language.huggingface import config as configs
from likely.language.huggingface.tensors import Arrays
from likely.language.model import Checkpoint
from likely.language.template import Template
from likely.language.tokenizer import Tokenizer
from likely.nn.decoder import Decoder

TOKENIZER_BYTES = 2**28
# Buffers that older files keep beside the weights.
BUFFERS = (".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias")
EMBEDDINGS = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")  # T5's, beside the one they share


def load(folder: str | Path, *, dtype: torch.dtype = torch.float32) -> Checkpoint:
    """The model in a folder, with weights of `dtype`.

    Raises ArtifactError where files are missing, damaged or contradict each other, Unsupported where the model is none
    that we know, Mismatch where the tokenizer is another model's.
    """
    folder = Path(folder)
    config = Fields(read_json(folder / "config.json"), str(folder / "config.json"))
    if config.get("model_type") == "t5":
        raise Unsupported(f"{str(folder)!r} is an encoder-decoder: likely.language.huggingface.t5.load reads it.")
    network = decoder(folder, config, dtype)
    tokenizer, words = tokenizer_of(folder)
    generation = optional(folder, "generation_config.json")
    vocabulary = network.arch.vocab
    named = [id for token in ("eos_token",) if (id := _id(tokenizer, words.get(token))) is not None]
    ends = {*named, *generation.ids("eos_token_id"), *config.ids("eos_token_id")}
    begin = _id(tokenizer, words.get("bos_token"))
    bos = begin if begin is not None else next(iter(config.ids("bos_token_id")), None)
    return Checkpoint(
        network, tokenizer, template_of(folder, words),
        # Configs often name ids of the model they were copied from: what is no id here can never come.
        frozenset(id for id in ends if id < vocabulary),
        bos if bos is not None and bos < vocabulary else None,
        _begins(tokenizer, words, bos), folder.resolve().name, str(folder),
    )  # fmt: skip


def decoder(folder: Path, config: Fields, dtype: torch.dtype) -> Decoder:
    """The network of a folder."""
    arch = configs.architecture(config)
    gpt2 = arch.rope is None
    arrays = Arrays(folder, "transformer." if gpt2 else "model.")
    names, transposed = (configs.GPT2, configs.GPT2_TRANSPOSED) if gpt2 else (configs.LLAMA, ())

    def planned(network: Decoder) -> weights.Plan:
        return weights.plan(network, names, transposed=transposed)

    return assembled(lambda: Decoder(arch), planned, arrays, arch.layers, arch.tied, dtype)


def assembled(
    make: Callable[[], weights.Network], planned: Callable[[weights.Network], weights.Plan], arrays: Arrays,
    layers: int, tied: bool, dtype: torch.dtype,
) -> weights.Network:  # fmt: skip
    """A network, and in it the arrays of a folder. Nothing is allocated before the arrays are known to fit."""
    where = repr(str(arrays.folder))
    if layers > len(arrays.shapes):
        raise ArtifactError(f"The config in {where} wants {layers} layers, but there are {len(arrays.shapes)} arrays.")
    network = weights.empty(make)
    plan = planned(network)

    def spare(name: str) -> bool:
        return name.endswith((*BUFFERS, *EMBEDDINGS)) or (tied and name == "lm_head.weight")

    weights.check(network, plan, arrays.shapes, where, spare)
    weights.load(network, plan, arrays.fetch, dtype)
    return network


def tokenizer_of(folder: Path) -> tuple[Tokenizer, dict[str, Any]]:
    """The tokenizer of a folder, and what its tokenizer_config.json says."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        others = ("tokenizer.model", "spiece.model", "vocab.json")
        other = next((name for name in others if (folder / name).is_file()), "")
        how = f"; {other} is not read: transformers' AutoTokenizer converts it when it is saved again" if other else ""
        raise ArtifactError(f"There is no tokenizer.json in {str(folder)!r}{how}.")
    if path.stat().st_size > TOKENIZER_BYTES:
        raise ArtifactError(f"{str(path)!r} has {path.stat().st_size} bytes; {TOKENIZER_BYTES} are read at most.")
    return Tokenizer.read(path), dict(optional(folder, "tokenizer_config.json").values)


def template_of(folder: Path, words: dict[str, Any]) -> Template | None:
    """The chat template of a folder, if it has one."""
    source: Any = words.get("chat_template")
    if (folder / "chat_template.jinja").is_file():
        try:
            source = (folder / "chat_template.jinja").read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ArtifactError(f"Cannot read chat_template.jinja in {str(folder)!r}: {error}") from error
    elif source is None:
        source = optional(folder, "chat_template.json").get("chat_template")
    if isinstance(source, list):  # several by name
        named = {item.get("name"): item.get("template") for item in source if isinstance(item, dict)}
        source = named.get("default", next(iter(named.values()), None))
    if source is None:
        return None
    if not isinstance(source, str):
        raise ArtifactError(f"The chat template in {str(folder)!r} is no text.")
    return Template(source, {name: text for name in words if name.endswith("_token") and (text := _text(words[name]))})


def optional(folder: Path, name: str) -> Fields:
    """The values of a file that need not be there."""
    path = folder / name
    return Fields(read_json(path) if path.is_file() else {}, str(path))


def _text(token: Any) -> str:
    """A special token as configs write it: a text, or an object with a content."""
    found = token.get("content") if isinstance(token, dict) else token
    return found if isinstance(found, str) else ""


def _id(tokenizer: Tokenizer, token: Any) -> int | None:
    text = _text(token)
    return tokenizer.id(text) if text else None


def _begins(tokenizer: Tokenizer, words: dict[str, Any], bos: int | None) -> bool:
    """Whether texts begin with `bos`: as the config says, else as the tokenizer does it."""
    said = words.get("add_bos_token")
    return said if isinstance(said, bool) else bos is not None and tokenizer.affixes()[0][:1] == [bos]
