"""A GGUF file: metadata and tensors, of which nothing is believed before it is checked.

    "GGUF"  version u32  tensors u64  pairs u64
    pairs:     key (u64 length, bytes), type u32, value
    tensors:   name, dimensions u32, each u64, type u32, offset u64
    data:      begins at the next multiple of `general.alignment`; offsets count from there

All little-endian. Every count, length, dimension and offset is held against what is left of the file before anything is
read or allocated; duplicate names, overlapping tensors and unknown types are refused. The file is mapped, never loaded:
a tensor is read when it is asked for.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from likely.errors import ArtifactError, Unsupported
from likely.language.gguf.dequantize import KINDS, OTHERS, Kind, dequantize

PAIRS, TENSORS = 65_536, 65_536  # far above any real file
NAME = 1024  # bytes of a key or a tensor's name
ELEMENTS = 4_000_000  # of arrays that become Python objects: vocabularies have under a million
DEPTH = 4  # arrays within arrays
CHUNK = 2**20  # numbers turned into floats at a time

_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True)
class Tensor:
    """One array of a file. `shape` as torch has it: rows first; a row is a whole number of blocks."""

    name: str
    kind: Kind
    shape: tuple[int, ...]
    data: NDArray[np.uint8]  # its bytes, mapped

    def blocks(self) -> NDArray[np.uint8]:
        """The raw blocks (rows, blocks a row, bytes a block), a view of the file."""
        rows = self.data.size // (self.shape[-1] // self.kind.count * self.kind.size)
        return self.data.reshape(rows, -1, self.kind.size)

    def dense(self, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """The numbers, in memory of their own, shaped as `shape`."""
        flat, out = self.data.reshape(-1, self.kind.size), torch.empty(self.shape, dtype=dtype)
        view, step = out.view(-1, self.kind.count), max(CHUNK // self.kind.count, 1)
        for start in range(0, len(flat), step):
            view[start : start + step] = torch.from_numpy(np.array(dequantize(flat[start : start + step], self.kind)))
        return out


@dataclass(frozen=True)
class File:
    """What stands in a GGUF file. Arrays of numbers are numpy arrays, arrays of strings are lists."""

    path: Path
    metadata: dict[str, Any]
    tensors: dict[str, Tensor]


def read(path: str | Path) -> File:
    """Map a file. Raises ArtifactError where it is none or is damaged, Unsupported where a type is not read."""
    path = Path(path)
    try:
        if path.stat().st_size < 24:
            raise damaged(path, f"it has {path.stat().st_size} bytes")
        data: NDArray[np.uint8] = np.memmap(path, np.uint8, "r")
    except OSError as error:
        raise ArtifactError(f"Cannot read {str(path)!r}: {error.strerror or error}") from error
    return _Reader(path, data).file()


def damaged(path: Path, why: str) -> ArtifactError:
    """The error of a file that contradicts itself."""
    return ArtifactError(f"{str(path)!r} is no GGUF file, or is damaged ({why}). Copy or download it again.")


class _Reader:
    """A position in a file, moved on only over what is there."""

    def __init__(self, path: Path, data: NDArray[np.uint8]) -> None:
        self.path, self.data, self.view = path, data, memoryview(data.data)
        self.size, self.at, self.elements = data.size, 0, 0

    def file(self) -> File:
        magic, version, tensors, pairs = struct.unpack("<4sIQQ", self.take(24))
        if magic != b"GGUF":
            raise damaged(self.path, "it does not begin with GGUF")
        if version not in (2, 3):
            swapped = int.from_bytes(version.to_bytes(4, "little"), "big")
            if swapped in (1, 2, 3):
                raise Unsupported(f"{str(self.path)!r} is big-endian; only little-endian GGUF is read.")
            raise Unsupported(f"{str(self.path)!r} is GGUF version {version}; versions 2 and 3 are read.")
        if pairs > PAIRS or tensors > TENSORS:
            raise damaged(self.path, f"it claims {pairs} keys and {tensors} tensors")
        metadata: dict[str, Any] = {}
        for _ in range(pairs):
            key = self.name("key")
            if key in metadata:
                raise damaged(self.path, f"the key {key[:60]!r} stands twice")
            metadata[key] = self.value(self.number("I"), key, 0)
        plans = [self.plan() for _ in range(tensors)]
        return File(self.path, metadata, self.place(plans, self.begin(metadata)))

    def take(self, count: int) -> bytes:
        if count > self.size - self.at:
            raise damaged(self.path, f"{count} bytes are wanted at {self.at}, of {self.size}")
        self.at += count
        return bytes(self.view[self.at - count : self.at])

    def number(self, code: str) -> Any:
        return struct.unpack("<" + code, self.take(struct.calcsize("<" + code)))[0]

    def text(self, what: str) -> str:
        try:
            return self.take(self.number("Q")).decode()
        except UnicodeDecodeError as error:
            raise damaged(self.path, f"{what} is not UTF-8") from error

    def name(self, what: str) -> str:
        start, found = self.at, self.text(f"a {what}")
        if not found or self.at - start - 8 > NAME:
            raise damaged(self.path, f"a {what} of {self.at - start - 8} bytes")
        return found

    def value(self, kind: int, key: str, depth: int) -> Any:
        if kind == _STRING:
            return self.text(f"the value of {key[:60]!r}")
        if kind == _ARRAY:
            return self.array(key, depth + 1)
        if kind not in _SCALARS:
            raise damaged(self.path, f"the key {key[:60]!r} is of type {kind}")
        return self.number(_SCALARS[kind])

    def array(self, key: str, depth: int) -> Any:
        kind, count = self.number("I"), self.number("Q")
        if kind in _SCALARS:
            width = struct.calcsize(_SCALARS[kind])
            if count > (self.size - self.at) // width:
                raise damaged(self.path, f"{key[:60]!r} claims {count} elements")
            return np.frombuffer(self.take(count * width), np.dtype(_SCALARS[kind]).newbyteorder("<"))
        if kind not in (_STRING, _ARRAY) or depth > DEPTH:
            raise damaged(self.path, f"{key[:60]!r} is an array of type {kind}, {depth} deep")
        self.elements += count
        # A string takes 8 bytes at least, an array 12.
        if count > (self.size - self.at) // 8 or self.elements > ELEMENTS:
            raise damaged(self.path, f"{key[:60]!r} claims {count} elements")
        return [self.value(kind, key, depth) for _ in range(count)]

    def plan(self) -> tuple[str, Kind, tuple[int, ...], int, int]:
        """Name, kind, shape, offset and bytes of the next tensor."""
        name, rank = self.name("tensor name"), self.number("I")
        if not 1 <= rank <= 4:
            raise damaged(self.path, f"tensor {name[:60]!r} has {rank} dimensions")
        shape = struct.unpack(f"<{rank}Q", self.take(8 * rank))[::-1]
        number, offset = self.number("I"), self.number("Q")
        if number not in KINDS:
            known = ", ".join(kind.name for kind in KINDS.values())
            raise Unsupported(
                f"Tensor {name[:60]!r} of {str(self.path)!r} is stored as {OTHERS.get(number, f'type {number}')}; "
                f"what is read: {known}. Take a file in one of these."
            )
        kind, count = KINDS[number], 1
        for size in shape:
            count *= size
            if size < 1 or count > self.size * kind.count:
                raise damaged(self.path, f"tensor {name[:60]!r} claims the shape {shape}")
        if shape[-1] % kind.count:
            raise damaged(self.path, f"rows of {shape[-1]} numbers in {name[:60]!r} are no whole {kind.name} blocks")
        return name, kind, shape, offset, count // kind.count * kind.size

    def begin(self, metadata: dict[str, Any]) -> int:
        """Where the data begin."""
        step = metadata.get("general.alignment", 32)
        if type(step) is not int or not 8 <= step <= 2**20 or step % 8:
            raise damaged(self.path, f"its alignment is {str(step)[:20]}")
        self.step = step
        return -(-self.at // step) * step

    def place(self, plans: list[tuple[str, Kind, tuple[int, ...], int, int]], begin: int) -> dict[str, Tensor]:
        """The tensors by name, each in its own part of the file."""
        tensors: dict[str, Tensor] = {}
        end = 0
        for name, kind, shape, offset, length in sorted(plans, key=lambda plan: plan[3]):
            if name in tensors:
                raise damaged(self.path, f"the tensor {name[:60]!r} stands twice")
            if offset % self.step or offset < end:
                raise damaged(self.path, f"tensor {name[:60]!r} begins at {offset}, inside another or out of step")
            end = offset + length
            if begin + end > self.size:
                cut = f"tensor {name[:60]!r} ends at byte {begin + end} of a file of {self.size}: it is cut off"
                raise damaged(self.path, cut)
            tensors[name] = Tensor(name, kind, shape, self.data[begin + offset : begin + end])
        return tensors
