"""The artifact: a fitted generator as one file, `NAME.likely`.

A safetensors file: eight bytes of header length, a JSON header, raw arrays. Its metadata hold one string, `likely`
(one, since the library writes several in no fixed order): JSON with `format` (a number), `card` (codec and its
state, family and its config, seed, data hash, library version, report) and `sha256` (of the card and of every
array's name, type, shape and bytes). No pickle, no code; names are looked up in the registry and nowhere else. A
file is written beside its target and renamed, so a reader sees the old file or the new one, never half of either.

Nothing in a file is believed before it is checked: the header's length and depth, the number, names, types and exact
extent of the arrays, duplicate keys, then the hash.

Source: the safetensors format, https://huggingface.co/docs/safetensors.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from likely.errors import ArtifactError
from likely.train.checkpoint import write_atomic

FORMAT = 1
HEADER_BYTES = 64 * 2**20  # a card with codec state and report is far smaller
ARRAYS = 20_000
_NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,256}")
_SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2, "I32": 4, "F32": 4, "I64": 8, "F64": 8}


def write(path: str | Path, card: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write card and tensors to `path`, all or nothing. Raises StorageError where the disk refuses."""
    text = _canonical(card)
    arrays: dict[str, Tensor] = {}
    taken: set[int] = set()
    for name, tensor in sorted(tensors.items()):
        own = tensor.detach().cpu().contiguous()
        # Names that share memory (one matrix for head and embedding) are arrays of their own in a file.
        arrays[name] = own.clone() if own.data_ptr() in taken else own
        taken.add(arrays[name].data_ptr())
    if not arrays:
        arrays = {"nothing": torch.zeros(1, dtype=torch.uint8)}  # a file of no arrays cannot be told from a cut one
    label = {"format": FORMAT, "sha256": _digest(text, arrays), "card": json.loads(text)}
    write_atomic(Path(path), safetensors.torch.save(arrays, {"likely": _canonical(label)}))


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The card and the tensors of a file. Raises ArtifactError where it is not what `write` made."""
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise ArtifactError(f"No file {str(path)!r}. Fit a model first: likely fit data.csv -o {path.name}") from error
    except IsADirectoryError as error:
        raise ArtifactError(f"{str(path)!r} is a folder; a model is one file that ends in .likely") from error
    except OSError as error:
        raise ArtifactError(f"Cannot read {str(path)!r}: {error.strerror}") from error
    header = _header(path, data)
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or not isinstance(metadata.get("likely"), str):
        raise ArtifactError(f"{str(path)!r} is a safetensors file, but not a model of likely.")
    label = _json(path, metadata["likely"])
    if not isinstance(label, dict) or type(label.get("format")) is not int or not isinstance(label.get("card"), dict):
        raise _damaged(path, "its label is incomplete")
    if label["format"] > FORMAT:
        raise ArtifactError(
            f"{str(path)!r} has format {label['format']}; this version of likely reads up to {FORMAT}: "
            "pip install -U likely"
        )
    _check_arrays(path, header, len(data))
    try:
        tensors = safetensors.torch.load(data)
    except Exception as error:  # whatever the library makes of a hostile file
        raise _damaged(path, str(error)[:120]) from error
    card: dict[str, Any] = label["card"]
    if label.get("sha256") != _digest(_canonical(card), tensors):
        raise _damaged(path, "its contents do not match its checksum")
    return card, tensors


def read_app(path: str | Path, app: str, what: str, make: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The same of a file that an application wrote. Raises ArtifactError where it is none, with how to make it."""
    card, tensors = read(path)
    if card.get("app") != app:
        raise ArtifactError(f"{str(path)!r} is a model of likely, but not {what}. Make one: {make}")
    return card, tensors


def _header(path: Path, data: bytes) -> dict[str, Any]:
    if len(data) < 8:
        raise _damaged(path, f"it has {len(data)} bytes")
    # The length of a header of ours may begin with the same bytes as a pickle or a zip; but behind it stands a brace.
    if (data[:1] == b"\x80" or data[:2] == b"PK") and data[8:9] != b"{":
        raise ArtifactError(f"{str(path)!r} is a pickle or a zip, not a model of likely. It was not opened.")
    (length,) = struct.unpack("<Q", data[:8])
    if not 2 <= length <= min(HEADER_BYTES, len(data) - 8):
        raise _damaged(path, f"its header claims {length} bytes of a file of {len(data)}")
    header = _json(path, data[8 : 8 + length])
    if not isinstance(header, dict):
        raise _damaged(path, "its header is no object")
    header["__end__"] = 8 + length
    return header


def _check_arrays(path: Path, header: dict[str, Any], size: int) -> None:
    """Names, types and extents: the arrays lie end to end and fill the file exactly."""
    start = header.pop("__end__")
    if not 1 <= len(header) <= ARRAYS:
        raise _damaged(path, f"it claims {len(header)} arrays")
    spans = []
    for name, entry in header.items():
        if not _NAME.fullmatch(name) or not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise _damaged(path, f"array {name[:40]!r} is badly described")
        width, shape, span = _SIZES.get(str(entry["dtype"])), entry["shape"], entry["data_offsets"]
        good = (
            width is not None
            and isinstance(shape, list)
            and len(shape) <= 8
            and isinstance(span, list)
            and len(span) == 2
        )
        if not good or not all(type(number) is int and 0 <= number <= size for number in [*shape, *span]):
            raise _damaged(path, f"array {name[:40]!r} has no sensible type or shape")
        count = 1
        for number in shape:
            count *= number
        if span[1] - span[0] != count * (width or 0):
            raise _damaged(path, f"array {name[:40]!r} does not fill its place")
        spans.append(tuple(span))
    spans.sort()
    ends = [0, *[end for _, end in spans]]
    if any(begin != end for (begin, _), end in zip(spans, ends, strict=False)) or start + ends[-1] != size:
        raise _damaged(path, "its arrays do not fill the file exactly")


def _canonical(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, sort_keys=True)


def _json(path: Path, text: str | bytes) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name stands twice")
        return found

    try:
        return json.loads(text, object_pairs_hook=once, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"its header is no JSON: {str(error)[:80]}") from error


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _digest(card: str, tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256(card.encode("utf-8", "surrogatepass"))
    for name, tensor in sorted(tensors.items()):
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b"")
    return digest.hexdigest()


def _damaged(path: Path, why: str) -> ArtifactError:
    return ArtifactError(
        f"{str(path)!r} is not a model of likely, or is damaged ({why}). "
        "Copy it again from where it was made, or fit again."
    )
