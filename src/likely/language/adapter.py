"""Adapters as the world keeps them: folders in the format of PEFT, in and out.

    FOLDER/adapter_config.json           which matrices, rank r, alpha, dropout
    FOLDER/adapter_model.safetensors     lora_A (r, in) and lora_B (out, r) of each

A folder is a stranger's: names, shapes and numbers are held against the network before anything is changed, and what
would alter the mathematics (DoRA, biases, whole modules saved beside, first weights that change the base) is refused by
name. Pickled adapters are not opened.

The format does not say which weights an adapter was learned on, only a name. So a few of the base's numbers go into
the metadata of ours, where PEFT does not look, and `load` refuses a base whose numbers point elsewhere. A quantised
copy, or a base that was tuned a little further, points the same way and is fine.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from likely.errors import ArtifactError, Mismatch, Unsupported
from likely.language import lora as loras
from likely.language.fields import Fields, read_json
from likely.language.lora import Lora, Slice
from likely.language.weights import halves
from likely.nn.decoder import Decoder
from likely.train.checkpoint import write_atomic

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
ARRAYS = 500_000
SAMPLE, ALIKE = 256, 0.8  # numbers of the base that are kept, and the cosine that those of the same base have at least
# Settings of a config that change what is computed, and that ours does not do.
REFUSED = (
    "use_dora", "lora_bias", "modules_to_save", "layer_replication", "trainable_token_indices", "target_parameters",
    "alora_invocation_tokens", "use_qalora", "arrow_config", "use_bdlora", "velora_config",
)  # fmt: skip
_NAME = re.compile(r"(?:base_model\.model\.)?(.{1,300})\.lora_([AB])(?:\.default)?\.weight")


def save(network: Decoder, folder: str | Path, *, base: str = "") -> None:
    """Write the adapter of a network; `base` names the model it belongs to.

    Raises Mismatch where the network has none, StorageError where the folder cannot be written.
    """
    pairs = _pairs(network)
    if not pairs:
        raise Mismatch("The network has no adapter to save: attach one, or save the whole model.")
    arrays = {}
    for name, (piece, pair) in pairs.items():
        b = pair.b.detach()
        b = b[halves(len(b), piece.heads)] if piece.heads else b
        for letter, tensor in (("A", pair.a.detach()), ("B", b)):
            arrays[f"base_model.model.{name}.lora_{letter}.weight"] = tensor.float().cpu().contiguous()
    sample = " ".join(f"{value:.4g}" for value in _sample(network).tolist())
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    content = safetensors.torch.save(arrays, {"format": "pt", "base": sample})
    write_atomic(folder / WEIGHTS, _ordered(content))
    write_atomic(folder / CONFIG, (json.dumps(_describe(network, base), indent=2) + "\n").encode())


def _ordered(content: bytes) -> bytes:
    """The same file with a header in one order: the library writes what it is told beside tensors in any, and the same
    adapter would not be the same bytes."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def load(network: Decoder, folder: str | Path) -> Lora:
    """Attach the adapter in a folder to the network it was made for; what it was made with.

    The base is frozen, the adapter ready to use or to train further; `lora.merge(network)` makes it as fast as without.
    Raises ArtifactError where files are missing, damaged or contradict each other, Unsupported where the adapter is of
    a kind that we do not do, Mismatch where it belongs to another base.
    """
    folder = Path(folder)
    loras.clear(network)
    config = _config(folder)
    arrays, sample = _read(folder)
    slots = {piece.name.format(layer): (layer, piece)
             for layer in range(network.arch.layers) for piece in loras.slices(network.arch)}  # fmt: skip
    found = _match(arrays, slots, network, folder)
    _check_base(network, sample, folder)
    rslora, alpha = config.flag("use_rslora", False), config.real("lora_alpha", 8)
    dropout = config.real("lora_dropout", 0.0, low=-1.0, high=1.0)
    made = Lora(max(len(a) for a, _ in found.values()), alpha, min(max(dropout, 0.0), 0.99), rslora,
                tuple(dict.fromkeys(slots[name][1].short for name in found)))  # fmt: skip
    alphas = _patterns(config, "alpha_pattern")
    for name, (a, b) in found.items():
        layer, piece = slots[name]
        pair = loras.put(network, layer, piece, len(a), _pattern(alphas, name, alpha), made)
        with torch.no_grad():
            pair.a.copy_(a)
            pair.b.copy_(b[halves(len(b), piece.heads).argsort()] if piece.heads else b)
    loras.freeze(network)
    return made


# --------------------------------------------------------------------------------------------- the way out


def _pairs(network: Decoder) -> dict[str, tuple[Slice, loras.Pair]]:
    """The pairs of a network by the names of Hugging Face."""
    pieces = loras.slices(network.arch)
    found = {}
    for at, matrix in loras.adapted(network):
        _, layer, part = at.split(".")
        for piece in pieces:
            if piece.part == part and piece.key in matrix.pairs:
                found[piece.name.format(layer)] = piece, next(p for p in matrix.each() if p.start == piece.start)
    return found


def _describe(network: Decoder, base: str) -> dict[str, Any]:
    """The adapter_config.json of a network."""
    pairs = _pairs(network)
    first = next(iter(pairs.values()))[1]
    _, matrix = next(loras.adapted(network))
    layers = network.arch.layers
    shorts = dict.fromkeys(piece.short for piece, _ in pairs.values())
    alike = len(pairs) == layers * len(shorts)
    targets = [_short(name, list(shorts)) for name in shorts] if alike else list(pairs)
    return {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base or None, "inference_mode": True,
        "r": first.rank, "lora_alpha": _whole(first.alpha), "lora_dropout": matrix.dropout,
        "use_rslora": first.rank > 1 and math.isclose(first.scale, first.alpha / math.sqrt(first.rank)),
        "target_modules": targets, "fan_in_fan_out": network.arch.rope is None, "bias": "none", "use_dora": False,
        "init_lora_weights": True, "modules_to_save": None,
        "rank_pattern": {name: pair.rank for name, (_, pair) in pairs.items() if pair.rank != first.rank},
        "alpha_pattern": {name: _whole(p.alpha) for name, (_, p) in pairs.items() if p.alpha != first.alpha},
    }  # fmt: skip


def _short(name: str, names: list[str]) -> str:
    """q_proj of self_attn.q_proj; the whole where GPT-2 has two of a name."""
    last = name.rpartition(".")[2]
    return name if last == "c_proj" or [other.rpartition(".")[2] for other in names].count(last) > 1 else last


def _whole(number: float) -> float:
    return int(number) if number == int(number) else number


def _sample(network: Decoder) -> Tensor:
    """Some numbers of the base (S,), the same places whatever they hold."""
    blocks: list[Any] = list(network.blocks)
    each, found = max(1, SAMPLE // max(1, len(blocks))), []
    for block in blocks[:SAMPLE]:
        weight = block.down.weight.detach()
        places = torch.linspace(0, weight.numel() - 1, each, dtype=torch.float64).round().long()
        found.append(weight.flatten()[places.to(weight.device)].float().cpu())
    return torch.cat(found) if found else torch.zeros(0)


# ---------------------------------------------------------------------------------------------- the way in


def _config(folder: Path) -> Fields:
    """The config of an adapter that we can do."""
    if not (folder / CONFIG).is_file():
        if (folder / "config.json").is_file():
            raise ArtifactError(f"{str(folder)!r} is a whole model, no adapter: give it as the model itself.")
        raise ArtifactError(
            f"There is no {CONFIG} in {str(folder)!r}: an adapter is a folder with {CONFIG} and {WEIGHTS}."
        )
    config = Fields(read_json(folder / CONFIG), str(folder / CONFIG))
    config.word("peft_type", {"LORA": 0})
    for name in REFUSED:
        if config.get(name):
            raise Unsupported(f"{config.where} wants {name} = {str(config.get(name))[:60]!r}, which ours does not do.")
    config.word("bias", {"none": 0}, "none")
    if config.get("init_lora_weights") not in (None, True, False, "gaussian", "orthogonal", "eva"):
        raise Unsupported(
            f"{config.where} was learned with init_lora_weights = {str(config.get('init_lora_weights'))[:40]!r}, which "
            "changes the base too: have PEFT convert it to plain LoRA when it saves."
        )
    return config


def _read(folder: Path) -> tuple[dict[str, Tensor], str]:
    """The arrays of an adapter, and the sample of its base, if it has one."""
    path = folder / WEIGHTS
    if not path.is_file():
        pickle = next((name for name in ("adapter_model.bin", "adapter_model.pt") if (folder / name).is_file()), "")
        if pickle:
            raise ArtifactError(
                f"{str(folder)!r} has its weights only as {pickle!r}, which may run code when opened: save it as "
                "safetensors with the library that made it."
            )
        raise ArtifactError(f"There is no {WEIGHTS} in {str(folder)!r}.")
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            names, metadata = list(file.keys()), file.metadata() or {}
            if len(names) > ARRAYS:
                raise ValueError(f"{len(names)} arrays")
            arrays = {name: file.get_tensor(name).clone() for name in names}
    except Exception as error:  # whatever the library makes of a hostile file
        raise ArtifactError(f"{str(path)!r} is damaged or cut off ({str(error)[:120]}).") from error
    for name, array in arrays.items():
        if not array.is_floating_point() or not bool(torch.isfinite(array).all()):
            raise ArtifactError(f"{name[:100]!r} in {str(path)!r} holds values that are not finite numbers.")
    return arrays, str(metadata.get("base", ""))


def _check_base(network: Decoder, sample: str, folder: Path) -> None:
    """Raises Mismatch where the sample of the base points elsewhere than the network's numbers."""
    try:
        theirs = torch.tensor([float(word) for word in sample[: 32 * SAMPLE].split()])
    except ValueError:
        return  # another program's words
    ours = _sample(network)
    if not len(theirs) or len(theirs) != len(ours) or not bool(theirs.any()) or not bool(ours.any()):
        return  # shapes are told apart below
    cosine = float(torch.nn.functional.cosine_similarity(theirs, ours, dim=0))
    if not cosine >= ALIKE:
        raise Mismatch(
            f"The adapter in {str(folder)!r} was learned on other weights than these: numbers taken from both have a "
            f"cosine of {cosine:.2f}, those of the same base about 1. Load the base it belongs to{_base(folder)}."
        )


def _base(folder: Path) -> str:
    name = read_json(folder / CONFIG).get("base_model_name_or_path")
    return f" ({name[:200]})" if isinstance(name, str) and name else ""


def _match(arrays: dict[str, Tensor], slots: dict[str, tuple[int, Slice]], network: Decoder,
           folder: Path) -> dict[str, tuple[Tensor, Tensor]]:  # fmt: skip
    """A and B of each matrix by its name. Raises ArtifactError and Mismatch that say what does not fit."""
    halved: dict[str, dict[str, Tensor]] = {}
    strange = []
    prefix = "model." if network.arch.rope is not None else "transformer."
    for name, array in arrays.items():
        match = _NAME.fullmatch(name)
        at = match[1] if match else ""
        at = at if at in slots else prefix + at  # adapters of a model without a head
        if match is None or at not in slots:
            strange.append(name[:100])
            continue
        halved.setdefault(at, {})[match[2]] = array
    where, base = repr(str(folder)), _base(folder)
    if strange:
        raise Mismatch(
            f"The adapter in {where} is for another base model{base}: {strange[0]} has no place in one of "
            f"{network.arch.layers} layers{f', nor have {len(strange) - 1} more' if len(strange) > 1 else ''}. "
            f"Matrices that can be adapted: {', '.join(dict.fromkeys(piece.short for _, piece in slots.values()))}."
        )
    if not halved:
        raise ArtifactError(f"The adapter in {where} is empty.")
    found = {}
    for name, parts in halved.items():
        if set(parts) != {"A", "B"}:
            raise ArtifactError(f"In {where} {name} has lora_{next(iter(parts))}, but not the other of A and B.")
        a, b = parts["A"], parts["B"]
        layer, piece = slots[name]
        inputs, rows = getattr(network.blocks[layer], piece.part).in_features, piece.stop - piece.start
        rank = a.shape[0] if a.ndim else 0
        if rank == 0 or tuple(a.shape) != (rank, inputs) or tuple(b.shape) != (rows, rank):
            raise Mismatch(
                f"The adapter in {where} is for another base model{base}: {name} has A {list(a.shape)} and "
                f"B {list(b.shape)} where this model takes [r, {inputs}] and [{rows}, r]."
            )
        found[name] = a, b
    return found


def _patterns(config: Fields, name: str) -> dict[str, float]:
    """Exceptions by module: names, or endings of names."""
    given = config.fields(name)
    return {key: given.real(key, high=1e6) for key in given.values}


def _pattern(patterns: dict[str, float], name: str, otherwise: float) -> float:
    """The first exception that a module falls under. PEFT reads keys as regular expressions; names and endings are what
    it writes, and all that is read here: a stranger's expression may run for ever."""
    for key, value in patterns.items():
        plain = key.removeprefix("^").replace("\\.", ".")
        if name == plain or name.endswith(f".{plain}"):
            return value
    return otherwise
