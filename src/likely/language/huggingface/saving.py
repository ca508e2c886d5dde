"""Checkpoint -> a Hugging Face folder that transformers loads again.

All is written into a folder beside the target, which is then renamed: there is a whole folder or none.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from likely.errors import StorageError
from likely.language import weights
from likely.language.huggingface import config as configs
from likely.language.huggingface.tensors import INDEX, ONE
from likely.language.model import Checkpoint

SHARD = 5 * 10**9  # bytes of weights in one file


def save(checkpoint: Checkpoint, folder: str | Path, *, shard: int = SHARD) -> None:
    """Write config, weights, tokenizer and chat template into a new folder, weights in files of about `shard` bytes.

    Raises StorageError where the folder exists and is not empty, or cannot be written; Unsupported where no model of
    transformers is like the network.
    """
    network = checkpoint.network
    rope = network.arch.rope
    gpt2 = rope is None
    config = configs.describe(network.arch) | _ids(checkpoint)
    plan = weights.plan(
        network, configs.GPT2 if gpt2 else configs.LLAMA, transposed=configs.GPT2_TRANSPOSED if gpt2 else (),
        interleaved=rope is not None and rope.interleaved,
    )  # fmt: skip
    with whole(folder) as scratch:
        write(scratch, network, plan, config, shard)
        write_json(scratch / "generation_config.json", _ids(checkpoint))
        (scratch / "tokenizer.json").write_text(checkpoint.tokenizer.json(), "utf-8")
        write_json(scratch / "tokenizer_config.json", _words(checkpoint))


@contextmanager
def whole(folder: str | Path) -> Iterator[Path]:
    """A folder to write into, which becomes `folder` when all went well and vanishes when not."""
    folder = Path(os.path.abspath(folder))
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StorageError(f"{str(folder)!r} exists and is not empty: give a new name, or remove it first.")
    scratch = folder.parent / f".{folder.name}.{secrets.token_hex(6)}.tmp"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch.mkdir()
        yield scratch
        if folder.exists():
            folder.rmdir()
        os.replace(scratch, folder)
    except OSError as error:
        raise StorageError(f"Cannot write {str(folder)!r}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def write(folder: Path, network: Any, plan: weights.Plan, config: dict[str, Any], shard: int) -> None:
    """config.json and the weights: one file, or several and an index. No more than one of them is in memory."""
    dtype = str(network.embed.weight.dtype).removeprefix("torch.")
    write_json(folder / "config.json", {**config, "dtype": dtype, "torch_dtype": dtype})  # older readers: the second
    held: dict[str, Tensor] = {}
    files: list[list[str]] = []
    total, size = 0, 0

    def flush() -> None:
        safetensors.torch.save_file(held, str(folder / f"part-{len(files)}"), {"format": "pt"})
        files.append(list(held))
        held.clear()

    for name, array in weights.arrays(network, plan):
        bytes = array.numel() * array.element_size()
        if held and size + bytes > shard:
            flush()
            size = 0
        held[name] = array
        size, total = size + bytes, total + bytes
    flush()
    if len(files) == 1:
        os.replace(folder / "part-0", folder / ONE)
        return
    place: dict[str, str] = {}
    for number, names in enumerate(files):
        file = f"model-{number + 1:05}-of-{len(files):05}.safetensors"
        os.replace(folder / f"part-{number}", folder / file)
        place.update(dict.fromkeys(names, file))
    write_json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": place})


def _ids(checkpoint: Checkpoint) -> dict[str, Any]:
    """Ids that begin and end texts, as configs name them."""
    ends = sorted(checkpoint.ends)
    return {"bos_token_id": checkpoint.bos, "eos_token_id": ends[0] if len(ends) == 1 else ends or None}


def _words(checkpoint: Checkpoint) -> dict[str, Any]:
    """The tokenizer_config.json."""
    tokenizer, template = checkpoint.tokenizer, checkpoint.template
    source = template.source if template is not None else ""
    ends = [token for id in sorted(checkpoint.ends) if (token := tokenizer.token(id)) is not None]
    ends.sort(key=lambda token: token not in source)  # the one that ends a turn first
    found: dict[str, Any] = dict(template.tokens) if template is not None else {}
    found |= {
        "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": checkpoint.network.arch.context,
        "clean_up_tokenization_spaces": False, "add_bos_token": checkpoint.begins,
    }  # fmt: skip
    if ends:
        found["eos_token"] = ends[0]
    if checkpoint.bos is not None and (token := tokenizer.token(checkpoint.bos)) is not None:
        found["bos_token"] = token
    if template is not None:
        found["chat_template"] = source
    return found


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a file of JSON."""
    path.write_text(json.dumps(values, ensure_ascii=False, indent=2) + "\n", "utf-8")
