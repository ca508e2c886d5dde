"""Contact sheets: many images in one PNG, encoded by hand, for a page that loads nothing.

A page made to be passed on shows made images only, unless real ones are asked for by name: a photograph of a real
person is no less personal for having been set aside. Nothing here is ever part of a card's JSON or of a model file.

Shape letters: N images, H, W height and width, C channels.
"""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from likely.evaluate.arrays import Array, scaled

Show = Literal["made", "real", "nearest"]  # what a page may show; each includes those before it
SHOWN: tuple[Show, ...] = ("made", "real", "nearest")
Bytes = NDArray[np.uint8]
SIDE = 96  # pixels of an image on a sheet at most


@dataclass(frozen=True)
class Picture:
    """One picture of a page: PNG bytes, or the text of an inline SVG; `show` is what it reveals."""

    title: str
    note: str
    show: Show
    data: bytes | str
    broad: bool = False  # as wide as the page


def permitted(pictures: tuple[Picture, ...], show: Show) -> list[Picture]:
    """The pictures that reveal no more than `show`."""
    return [one for one in pictures if SHOWN.index(one.show) <= SHOWN.index(show)]


def colours(images: Array, bounds: tuple[float, float]) -> Bytes:
    """Images (N, H, W, C) -> (N, H', W', 4) red, green, blue, opacity, no side longer than `SIDE`."""
    x: Bytes = np.clip((scaled(images, bounds, SIDE) + 1) * 127.5 + 0.5, 0, 255).astype(np.uint8)
    channels = x.shape[3]
    full = np.full((*x.shape[:3], 1), 255, np.uint8)
    if channels == 4:
        return x
    if channels == 3:
        return np.concatenate([x, full], axis=3)
    if channels == 2:  # grey and opacity
        return np.concatenate([x[..., :1]] * 3 + [x[..., 1:]], axis=3)
    return np.concatenate([x[..., :1]] * 3 + [full], axis=3)  # grey, or the first of many channels


def sheet(rows: list[Bytes]) -> bytes:
    """Rows of images, each (N, H, W, 4), those of one row of one height, the gaps transparent -> PNG."""
    width = rows[0].shape[2]
    gap = max(1, min(rows[0].shape[1:3]) // 10)
    across = max(len(row) for row in rows)
    out = np.zeros((sum(row.shape[1] + gap for row in rows) - gap, across * (width + gap) - gap, 4), np.uint8)
    top = 0
    for row in rows:
        for j, image in enumerate(row):
            left = j * (width + gap)
            out[top : top + len(image), left : left + width] = image
        top += row.shape[1] + gap
    return png(out)


def grid(images: Bytes) -> bytes:
    """Images (N, H, W, 4) in rows, as many in each as make the sheet about as wide as it is high -> PNG."""
    height, width = images.shape[1:3]
    across = max(1, min(len(images), round(math.sqrt(len(images) * height / width))))
    return sheet([images[i : i + across] for i in range(0, len(images), across)])


def pairs(upper: Bytes, lower: Bytes, across: int) -> bytes:
    """Each image (N, H, W, 4) above its partner, in double rows -> PNG."""
    blank = np.zeros((len(upper[:across]), max(1, upper.shape[1] // 3), *upper.shape[2:]), np.uint8)
    parts: list[Bytes] = []
    for i in range(0, len(upper), across):
        parts += [upper[i : i + across], lower[i : i + across], blank]
    return sheet(parts[:-1])


def png(x: Bytes) -> bytes:
    """(H, W, 4) -> a PNG file: red, green, blue and opacity, 8 bits each."""
    height, width, _ = x.shape
    lines = np.concatenate([np.zeros((height, 1), np.uint8), x.reshape(height, -1)], axis=1)  # 0: no filter

    def part(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    body = part(b"IHDR", head) + part(b"IDAT", zlib.compress(lines.tobytes(), 9)) + part(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body
