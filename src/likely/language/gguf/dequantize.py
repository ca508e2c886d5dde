"""Quantised blocks -> float32, bit for bit what the reference gives.

A row of a matrix is cut into blocks of 32 or 256 numbers; a block holds codes q of a few bits and what they mean:

    Q4_0  Q5_0  Q8_0    d (q - c)                 one scale a block; c centres the codes
    Q4_1  Q5_1          d q + m                   scale and minimum a block
    Q4_K  Q5_K          d s_j q - e m_j           256 numbers in 8 groups j, each with a 6-bit scale and minimum
    Q6_K                d s_j (q - 32)            16 groups, 8-bit scales

Scales are float16. The order of the operations is part of the format: float arithmetic is not associative.

Letters: N blocks. Source: the layouts of ggml (MIT), https://github.com/ggml-org/ggml, ggml-common.h.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Kind:
    """A way to store numbers: `count` of them in `size` bytes; `floats` turns (N, size) into (N, count)."""

    name: str
    count: int
    size: int
    floats: Callable[[Bytes], Floats]


def _half(blocks: Bytes, at: int) -> Floats:
    """The float16 at a byte of each block (N, 1)."""
    return blocks[:, at : at + 2].view(np.float16).astype(np.float32)


def _nibbles(codes: Bytes, group: int) -> Bytes:
    """(N, C) bytes -> (N, 2 C) codes: of each `group` bytes first all low halves, then all high ones."""
    parts = codes.reshape(len(codes), -1, 1, group) >> np.array([0, 4], np.uint8)[:, None]
    return (parts & np.uint8(15)).reshape(len(codes), -1)


def _fifth(high: Bytes) -> Bytes:
    """(N, 4) bytes -> (N, 32): bit i of the block, where the fifth bit of code i stands."""
    return np.unpackbits(high, axis=1, bitorder="little") << np.uint8(4)


def _q4_0(b: Bytes) -> Floats:
    codes = _nibbles(b[:, 2:], 16).astype(np.int8) - np.int8(8)
    return _half(b, 0) * codes.astype(np.float32)


def _q4_1(b: Bytes) -> Floats:
    return _half(b, 0) * _nibbles(b[:, 4:], 16).astype(np.float32) + _half(b, 2)


def _q5_0(b: Bytes) -> Floats:
    codes = (_nibbles(b[:, 6:], 16) | _fifth(b[:, 2:6])).astype(np.int8) - np.int8(16)
    return _half(b, 0) * codes.astype(np.float32)


def _q5_1(b: Bytes) -> Floats:
    return _half(b, 0) * (_nibbles(b[:, 8:], 16) | _fifth(b[:, 4:8])).astype(np.float32) + _half(b, 2)


def _q8_0(b: Bytes) -> Floats:
    return b[:, 2:].view(np.int8).astype(np.float32) * _half(b, 0)


def _six_bits(packed: Bytes) -> tuple[Floats, Floats]:
    """(N, 12) bytes -> scales and minima (N, 8): the first four of each keep their six bits together, the others
    have four in the last third and two on top of the first ones."""
    a, b, c = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = np.concatenate([a & 63, (c & 15) | (a >> 2 & 48)], 1)
    minima = np.concatenate([b & 63, (c >> 4) | (b >> 2 & 48)], 1)
    return scales.astype(np.float32), minima.astype(np.float32)


def _groups(b: Bytes, codes: Bytes) -> Floats:
    """d s_j q - e m_j of codes (N, 256)."""
    scales, minima = _six_bits(b[:, 4:16])
    d, e = (_half(b, 0) * scales)[:, :, None], (_half(b, 2) * minima)[:, :, None]
    return (d * codes.reshape(-1, 8, 32).astype(np.float32) - e).reshape(-1, 256)


def _q4_k(b: Bytes) -> Floats:
    return _groups(b, _nibbles(b[:, 16:], 32))


def _q5_k(b: Bytes) -> Floats:
    fifth = np.unpackbits(b[:, 16:48, None], axis=2, bitorder="little")  # (N, 32, 8): bit j is of group j
    codes = _nibbles(b[:, 48:], 32) | (fifth.transpose(0, 2, 1).reshape(-1, 256) << np.uint8(4))
    return _groups(b, codes)


def _q6_k(b: Bytes) -> Floats:
    high = b[:, 128:192].reshape(-1, 2, 1, 32) >> np.array([0, 2, 4, 6], np.uint8)[:, None] & np.uint8(3)
    codes = (_nibbles(b[:, :128], 64) | (high.reshape(-1, 256) << np.uint8(4))).astype(np.int8) - np.int8(32)
    scales = _half(b, 208) * b[:, 192:208].view(np.int8).astype(np.float32)
    return (scales[:, :, None] * codes.reshape(-1, 16, 16).astype(np.float32)).reshape(-1, 256)


def _f32(b: Bytes) -> Floats:
    return b.view(np.float32)


def _f16(b: Bytes) -> Floats:
    return b.view(np.float16).astype(np.float32)


def _bf16(b: Bytes) -> Floats:
    return (b.view(np.uint16).astype(np.uint32) << np.uint32(16)).view(np.float32)


KINDS: dict[int, Kind] = {
    0: Kind("F32", 1, 4, _f32),
    1: Kind("F16", 1, 2, _f16),
    2: Kind("Q4_0", 32, 18, _q4_0),
    3: Kind("Q4_1", 32, 20, _q4_1),
    6: Kind("Q5_0", 32, 22, _q5_0),
    7: Kind("Q5_1", 32, 24, _q5_1),
    8: Kind("Q8_0", 32, 34, _q8_0),
    12: Kind("Q4_K", 256, 144, _q4_k),
    13: Kind("Q5_K", 256, 176, _q5_k),
    14: Kind("Q6_K", 256, 210, _q6_k),
    30: Kind("BF16", 1, 2, _bf16),
}
# What exists and is not read, to be named in errors.
OTHERS = {9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S",
          20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64",
          29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4"}  # fmt: skip


def dequantize(blocks: NDArray[Any], kind: Kind) -> Floats:
    """(..., bytes of whole blocks) uint8 -> (..., numbers) float32. Blocks may hold NaN: they stay NaN."""
    flat = np.ascontiguousarray(blocks).reshape(-1, kind.size)
    with np.errstate(all="ignore"):  # infinite or undefined scales are the file's own
        found = kind.floats(flat)
    return found.reshape(*blocks.shape[:-1], -1)
