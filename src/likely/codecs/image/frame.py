"""The one size and the one mode that all images are brought to, and how.

Images of one size stay as they are up to LARGE pixels a side. Others are brought to a square (or to `size`):

    crop      scaled until the shorter side fits, the middle of the longer side is kept
    pad       scaled until the longer side fits, the rest has the commonest colour of the image's own border
    stretch   both sides scaled by themselves

Shape letters: H rows, W columns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np

from likely.codecs.image.pictures import Bytes
from likely.errors import DataError, OptionError
from likely.registry import require

FITS = ("crop", "pad", "stretch")
MODES = {"grey": 1, "rgb": 3, "rgba": 4}
NAMES = {"grey": "L", "rgb": "RGB", "rgba": "RGBA"}  # as Pillow calls them
LARGE = 128  # pixels a side from which images are made smaller unless a size is asked for
USUAL = 64  # pixels a side of what is made then
GREYS = ("1", "L", "LA", "La", "I", "F")
SIDE = 4096  # most pixels a side to learn


class Header(NamedTuple):
    """What is known of an image before its pixels are read."""

    height: int
    width: int
    grey: bool
    alpha: bool
    frames: int = 1


@dataclass(frozen=True)
class Frame:
    """H rows, W columns, a key of MODES, one of FITS."""

    height: int
    width: int
    mode: str
    fit: str

    @property
    def channels(self) -> int:
        """1, 3 or 4."""
        return MODES[self.mode]

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, C)"""
        return self.height, self.width, self.channels

    def __str__(self) -> str:
        return f"{self.height} x {self.width} {self.mode}"


def pillow(doing: str) -> Any:
    """The module PIL.Image, or an error that says how to install it."""
    require("PIL", doing)
    return import_module("PIL.Image")


def side(size: Any) -> tuple[int, int] | None:
    """An option `size`: one number or (rows, columns). Raises OptionError."""
    if size is None:
        return None
    pair = size if isinstance(size, tuple | list) else (size, size)
    if len(pair) != 2 or any(isinstance(x, bool) or not isinstance(x, int) or not 1 <= x <= SIDE for x in pair):
        raise OptionError(f"size={size!r}: give pixels a side, such as 32, or (rows, columns), each from 1 to {SIDE}.")
    return pair[0], pair[1]


def choose(
    headers: Sequence[Header], size: tuple[int, int] | None, fit: str | None, mode: str | None
) -> tuple[Frame, list[str]]:
    """The frame for all images, and what is done to them, in words."""
    said: list[str] = []
    sizes = Counter((head.height, head.width) for head in headers)
    (height, width), _ = sizes.most_common(1)[0]
    if size is not None:
        height, width = size
    elif len(sizes) > 1:
        short = int(np.median([min(head.height, head.width) for head in headers]))
        height = width = max(1, short if short <= USUAL else USUAL)
    elif max(height, width) > LARGE:
        scale = USUAL / max(height, width)
        height, width = max(1, round(height * scale)), max(1, round(width * scale))
    changed = sum(count for shape, count in sizes.items() if shape != (height, width))
    alike = all(abs(h * width - w * height) <= max(h, w) for h, w in sizes)
    how = fit or ("stretch" if alike else "crop")
    if changed:
        low, high = min(sizes), max(sizes)
        was = f"{low[0]} x {low[1]}" + (f" to {high[0]} x {high[1]}" if low != high else "")
        done = {"crop": "scaled and cropped", "pad": "scaled and padded", "stretch": "scaled"}[how]
        said.append(f"{changed:,} of {len(headers):,} images ({was}) were {done} to {height} x {width}")
    grey, alpha = sum(head.grey for head in headers), sum(head.alpha for head in headers)
    if mode is None:
        mode = "rgba" if alpha * 2 >= len(headers) else "grey" if grey == len(headers) else "rgb"
    if mode != "rgba" and alpha:
        said.append(f"{alpha:,} images with transparency were laid on white")
    if mode == "grey" and grey < len(headers):
        said.append(f"{len(headers) - grey:,} images in colour were turned grey")
    elif mode != "grey" and grey:
        said.append(f"{grey:,} grey images were taken as {mode}")
    if mode == "rgba" and alpha < len(headers):
        said.append(f"{len(headers) - alpha:,} images without transparency were taken as opaque")
    moving = sum(head.frames > 1 for head in headers)
    if moving:
        said.append(f"of {moving:,} animated images the first frame was taken")
    return Frame(height, width, mode, how), said


def header(image: Any) -> Header:
    """The header of an opened Pillow image; turned on its side where its EXIF data says so."""
    width, height = image.size
    if image.getexif().get(0x0112, 1) in (5, 6, 7, 8):
        width, height = height, width
    alpha = image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
    grey = image.mode in GREYS or image.mode.startswith("I;16")
    return Header(height, width, grey, alpha, 2 if getattr(image, "is_animated", False) else 1)


def pixels(image: Any, frame: Frame) -> Bytes:
    """A Pillow image -> (H, W, C) bytes in the frame."""
    module = pillow("reading images")
    image = import_module("PIL.ImageOps").exif_transpose(image)
    image = _converted(module, image, frame.mode)
    wanted = (frame.width, frame.height)
    if image.size != wanted:
        image = _fitted(module, image, wanted, frame.fit)
    return np.asarray(image, np.uint8).reshape(frame.shape)


def _converted(module: Any, image: Any, mode: str) -> Any:
    """The image in the mode; transparency is laid on white where the mode has none."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.float64)
        low, high = float(values.min()), float(values.max())
        if not np.isfinite([low, high]).all() or low < 0 or high > 65535:
            raise DataError(f"its values go from {low:.4g} to {high:.4g}, 0 to 65535 are wanted")
        top = 1.0 if image.mode == "F" and high <= 1 else 255.0 if image.mode == "F" and high <= 255 else 65535.0
        image = module.fromarray(np.rint(values * (255 / top)).astype(np.uint8))
    if image.mode in ("P", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
    if mode != "rgba" and image.mode in ("RGBA", "LA", "La", "RGBa"):
        image = image.convert("RGBA")
        white = module.new("RGBA", image.size, (255, 255, 255, 255))
        image = module.alpha_composite(white, image)
    return image if image.mode == NAMES[mode] else image.convert(NAMES[mode])


def _fitted(module: Any, image: Any, wanted: tuple[int, int], fit: str) -> Any:
    """The image scaled to (W, H) and cropped or padded."""
    width, height = image.size
    smooth = module.Resampling.LANCZOS
    clear = image.mode == "RGBA"
    colour = _border(np.asarray(image)) if fit == "pad" else None
    if clear:  # colours that nobody sees must not bleed into their neighbours
        image = image.convert("RGBa")
    if fit == "stretch":
        image = image.resize(wanted, smooth)
    else:
        ratios = wanted[0] / width, wanted[1] / height
        scale = max(ratios) if fit == "crop" else min(ratios)
        if fit == "crop":
            wide, tall = wanted[0] / scale, wanted[1] / scale
            left, upper = (width - wide) / 2, (height - tall) / 2
            image = image.resize(wanted, smooth, box=(left, upper, left + wide, upper + tall))
        else:
            inner = max(1, min(wanted[0], round(width * scale))), max(1, min(wanted[1], round(height * scale)))
            image = image.resize(inner, smooth)
    if clear:
        image = image.convert("RGBA")
    if colour is not None and image.size != wanted:
        whole = module.new(image.mode, wanted, colour)
        whole.paste(image, ((wanted[0] - image.size[0]) // 2, (wanted[1] - image.size[1]) // 2))
        image = whole
    return image


def _border(array: Bytes) -> Any:
    """The commonest colour of the outermost pixels."""
    array = array[..., None] if array.ndim == 2 else array
    rim = np.concatenate([array[0], array[-1], array[:, 0], array[:, -1]])
    colours, counts = np.unique(rim, axis=0, return_counts=True)
    picked = tuple(int(value) for value in colours[counts.argmax()])
    return picked if len(picked) > 1 else picked[0]
