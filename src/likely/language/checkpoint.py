"""`Checkpoint`, and `load`, which takes what a person has: a Hugging Face folder, a .gguf file, or the name of a model
that a package ships."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from likely.errors import ArtifactError
from likely.language import gguf, huggingface, packaged
from likely.language.model import Checkpoint

SAMPLE = 256  # numbers of a matrix that its fingerprint looks at

__all__ = ["Checkpoint", "fingerprint", "hastened", "load", "opened"]


def load(path: str | Path, *, dtype: torch.dtype = torch.float32) -> Checkpoint:
    """A Hugging Face folder, a .gguf file, or the name of a packaged model ("smollm2"), with weights of `dtype`.

    Raises ArtifactError for anything else, and for files that are damaged or contradict each other.
    """
    if str(path) in packaged.NAMES and not Path(path).exists():
        return gguf.load(packaged.find(str(path)), dtype=dtype, name=str(path))
    path = Path(path)
    if path.is_dir():
        return huggingface.load(path, dtype=dtype)
    if path.is_file():
        with path.open("rb") as file:
            if file.read(4) == b"GGUF":
                return gguf.load(path, dtype=dtype)
        inside = path.suffix in (".safetensors", ".json", ".bin")
        wanted = "Give the folder it is in." if inside else "Wanted is a .gguf file or a Hugging Face folder."
        raise ArtifactError(f"{str(path)!r} is no GGUF file. {wanted}")
    raise ArtifactError(
        f"There is no {str(path)[:200]!r}. A model is a Hugging Face folder (config.json, model.safetensors, "
        f"tokenizer.json), a .gguf file, or one of: {', '.join(packaged.NAMES)}."
    )


def opened(model: Checkpoint | str | Path) -> Checkpoint:
    """A checkpoint, loaded where a path or a name is given, in bfloat16 where the machine multiplies that quickly."""
    if isinstance(model, Checkpoint):
        return model
    return hastened(load(model))


def hastened(checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint itself, its network in bfloat16 where the machine multiplies that quickly."""
    if _quick():
        checkpoint.network.to(torch.bfloat16)
    return checkpoint


def _quick() -> bool:
    """Whether the machine has units for bfloat16."""
    able: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))


def fingerprint(checkpoint: Checkpoint) -> str:
    """What tells a checkpoint from another: its shape, its vocabulary, its last norm and some numbers of each block,
    rounded to what all types of weights hold."""
    network = checkpoint.network
    downs = [weight for name, weight in network.named_parameters() if name.endswith("down.weight")]
    parts = [next(iter(network.norm.parameters())), *downs]
    arch, size = network.arch, checkpoint.tokenizer.size
    digest = hashlib.sha256(
        f"{arch.vocab} {arch.width} {arch.layers} {arch.heads} {arch.groups} {arch.hidden} {size} ".encode()
    )
    for part in parts:
        flat = part.detach().flatten()
        some = flat[:: max(1, len(flat) // SAMPLE)].to(torch.bfloat16).cpu()
        digest.update(some.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:32]
