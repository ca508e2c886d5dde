"""Checkpoint -> a Hugging Face folder that transformers loads again.

All is written into a folder beside the target, which is then renamed: there is a whole folder or none.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
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
    folder = Path(folder)
    config = configs.describe(checkpoint.network.arch) | _ids(checkpoint)
    config["dtype"] = config["torch_dtype"] = str(checkpoint.network.embed.weight.dtype).removeprefix("torch.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StorageError(f"{str(folder)!r} exists and is not empty: give a new name, or remove it first.")
    folder = Path(os.path.abspath(folder))
    scratch = folder.parent / f".{folder.name}.{secrets.token_hex(6)}.tmp"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch.mkdir()
        _write(checkpoint, scratch, config, shard)
        if folder.exists():
            folder.rmdir()
        os.replace(scratch, folder)
    except OSError as error:
        raise StorageError(f"Cannot write {str(folder)!r}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _write(checkpoint: Checkpoint, folder: Path, config: dict[str, Any], shard: int) -> None:
    _json(folder / "config.json", config)
    _json(folder / "generation_config.json", _ids(checkpoint))
    (folder / "tokenizer.json").write_text(checkpoint.tokenizer.json(), "utf-8")
    _json(folder / "tokenizer_config.json", _words(checkpoint))
    network = checkpoint.network
    gpt2, rope = network.arch.rope is None, network.arch.rope
    plan = weights.plan(
        network, configs.GPT2 if gpt2 else configs.LLAMA, transposed=configs.GPT2_TRANSPOSED if gpt2 else (),
        interleaved=rope is not None and rope.interleaved,
    )  # fmt: skip
    _weights(network, plan, folder, shard)


def _weights(network: Any, plan: weights.Plan, folder: Path, shard: int) -> None:
    """One file, or several and an index; no more than one of them is in memory."""
    place: dict[str, str] = {}
    held: dict[str, Tensor] = {}
    written: list[list[str]] = []
    total, size = 0, 0

    def flush() -> None:
        safetensors.torch.save_file(held, str(folder / f"part-{len(written)}"), {"format": "pt"})
        written.append(list(held))
        held.clear()

    for name, array in weights.arrays(network, plan):
        bytes = array.numel() * array.element_size()
        if held and size + bytes > shard:
            flush()
            size = 0
        held[name] = array
        size, total = size + bytes, total + bytes
    flush()
    if len(written) == 1:
        os.replace(folder / "part-0", folder / ONE)
        return
    for number, names in enumerate(written):
        file = f"model-{number + 1:05}-of-{len(written):05}.safetensors"
        os.replace(folder / f"part-{number}", folder / file)
        place.update(dict.fromkeys(names, file))
    _json(folder / INDEX, {"metadata": {"total_size": total}, "weight_map": place})


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


def _json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, ensure_ascii=False, indent=2) + "\n", "utf-8")
