"""Arrays of pixels <-> bytes: which axis is what, which value is white, where pixels are missing.

Shape letters: n images, H rows, W columns, C channels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from likely.codecs.image.frame import MODES
from likely.codecs.image.pictures import Bytes
from likely.errors import DataError

LAYOUTS = ("HW", "HWC", "CHW")


class Grid(NamedTuple):
    """An array as it came: (n, H, W, C) bytes, the missing pixels, and how to give it back."""

    pixels: Bytes
    holes: NDArray[np.bool_] | None
    dtype: str
    top: float  # the value of white
    layout: str


def take(values: NDArray[Any], top: float | None) -> Grid:
    """(n, H, W), (n, H, W, C) or (n, C, H, W) of numbers or truth values. Raises DataError."""
    values, layout = _channels_last(values)
    dtype = values.dtype
    if dtype.kind not in "buif":
        raise DataError(f"An array of {dtype} holds no pixels: bytes, or numbers from 0 to 1, are wanted.")
    holes = None
    if dtype.kind == "f":
        holes = np.isnan(values).any(-1)
        if np.isinf(values).any():
            raise DataError("The array holds infinite values: replace them, or mark missing pixels with NaN.")
    low, high = (float(np.nanmin(values)), float(np.nanmax(values))) if values.size and not _blank(values) else (0, 0)
    if low < 0:
        hint = ": take (x + 1) / 2" if low >= -1 and high <= 1 else ""
        raise DataError(f"Pixels go from {low:.4g} to {high:.4g}: bytes, or numbers from 0 to 1, are wanted{hint}.")
    if top is None:
        top = _white(dtype, high)
    if high > top:
        raise DataError(f"Pixels go up to {high:.4g}, and white is {top:g}: say which value is white, top={high:g}.")
    if dtype == np.uint8 and top == 255:
        made = values
    else:
        scaled = np.nan_to_num(values.astype(np.float64)) * (255 / top)
        made = np.rint(scaled).astype(np.uint8)
    return Grid(made, holes if holes is not None and holes.any() else None, str(dtype), float(top), layout)


def give(pixels: Bytes, dtype: str, top: float, layout: str, levels: int) -> NDArray[Any]:
    """The inverse of `take`."""
    kind = np.dtype(dtype)
    if kind == np.uint8 and top == 255:
        made: NDArray[Any] = pixels
    else:
        values = np.rint(pixels.astype(np.float64) * ((levels - 1) / 255)) * (top / (levels - 1))
        made = (np.rint(values) if kind.kind in "ui" else values).astype(kind)
    if layout == "HW":
        return made[..., 0]
    return made.transpose(0, 3, 1, 2) if layout == "CHW" else made


def _blank(values: NDArray[Any]) -> bool:
    return values.dtype.kind == "f" and bool(np.isnan(values).all())


def _channels_last(values: NDArray[Any]) -> tuple[NDArray[Any], str]:
    shape = values.shape
    if values.ndim == 3 and (shape[2] not in (3, 4) or shape[1] == shape[2]):
        return values[..., None], "HW"
    if values.ndim == 4 and shape[3] in MODES.values():
        return values, "HWC"
    if values.ndim == 4 and shape[1] in MODES.values():
        return values.transpose(0, 2, 3, 1), "CHW"
    if values.ndim in (2, 3):
        raise DataError(
            f"An array of shape {shape} is one image, or images that were flattened: many images are wanted, as "
            "(n, rows, columns) or (n, rows, columns, channels)."
        )
    raise DataError(
        f"An array of shape {shape} is no set of images: (n, rows, columns) or (n, rows, columns, 1, 3 or 4) is wanted."
    )


def _white(dtype: np.dtype[Any], high: float) -> float:
    """Which value is white, where nobody says."""
    if dtype.kind == "b" or high <= 1:
        return 1.0 if high > 0 or dtype.kind in "bf" else 255.0
    if dtype == np.uint8 or (128 <= high <= 255):
        return 255.0
    raise DataError(f"Pixels go up to {high:.4g}: say which value is white, such as top={high:g} or top=255.")
