"""Images and windows as arrays: what may be handed in, and what all metrics of their report cards look at.

Images come as (N, H, W, C) or (N, H, W), bytes or floats, windows of a series as (N, T, C) or (N, T). The real and the
made ones must be alike in shape and kind: nothing is resized or rescaled in silence, for most published distances
between images that disagree do so because of a resize (clean-fid: Parmar et al. 2022, arXiv:2104.11222).
What holds a NaN or an infinity cannot be compared; such items are left out, and counted.

Shape letters: N items, H, W height and width, T moments, C channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import polars as pl
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from likely.core import Listener, Progress
from likely.errors import DataError, Mismatch, OptionError
from likely.evaluate.columns import Column, Floats, Rows

Array = NDArray[Any]
CHUNK = 2**24  # numbers of images that are floats at one time: 64 MB
LEAST = 20  # items of each kind
SIDE = 64  # longest side that a network looks at; larger images are averaged down


@dataclass(frozen=True)
class Collection:
    """One set of items: `x` (N, *), the finite ones, and which of all that were handed in, `kept` (M,), they are."""

    x: Array
    kept: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Comparison:
    """Sets of one kind, by name, the `bounds` of their values, and remarks."""

    sets: dict[str, Collection]
    bounds: tuple[float, float]
    notes: list[str] = field(default_factory=list)

    def __getitem__(self, name: str) -> Array:
        return self.sets[name].x


def read_images(sets: Mapping[str, Any]) -> Comparison:
    """Images by name ("holdout", "made", ...), the first one real. Raises DataError and Mismatch."""
    return _read(sets, "image", (3, 4), "(n, height, width, channels)")


def read_windows(sets: Mapping[str, Any]) -> Comparison:
    """Windows by name, the first one real, as float64 (N, T, C). Raises DataError and Mismatch."""
    found = _read(sets, "window", (2, 3), "(n, moments, channels)")
    for name, one in found.sets.items():
        found.sets[name] = Collection(one.x.astype(np.float64), one.kept)
    return found


def _read(sets: Mapping[str, Any], noun: str, dims: tuple[int, int], wanted: str) -> Comparison:
    arrays: dict[str, Array] = {}
    for name, given in sets.items():
        x = np.asarray(given)
        if x.dtype.kind not in "buif":
            raise DataError(
                f"The {name} {noun}s are {x.dtype}; numbers of shape {wanted} are needed, all {noun}s of one size."
            )
        if x.ndim == dims[0]:
            x = x[..., None]
        if x.ndim != dims[1] or 0 in x.shape[1:]:
            raise DataError(f"The {name} {noun}s have the shape {x.shape}; {wanted} is needed.")
        if len(x) < LEAST:
            raise DataError(f"There are {len(x)} {name} {noun}s; a report card needs {LEAST} of each kind at least.")
        arrays[name] = x
    first, real = next(iter(arrays.items()))
    found: dict[str, Collection] = {}
    notes = []
    for name, x in arrays.items():
        if x.shape[1:] != real.shape[1:]:
            raise Mismatch(
                f"The {first} {noun}s are {_size(real)}, the {name} {noun}s {_size(x)}: bring them to one size first."
            )
        if noun == "image" and (x.dtype.kind == "f") != (real.dtype.kind == "f"):
            raise Mismatch(f"The {first} images are {real.dtype}, the {name} images {x.dtype}: give both alike.")
        fine = np.isfinite(x).reshape(len(x), -1).all(axis=1) if x.dtype.kind == "f" else np.ones(len(x), bool)
        if not fine.all():
            if fine.sum() < LEAST:
                raise DataError(
                    f"All but {int(fine.sum())} of the {name} {noun}s hold a NaN or an infinity, and {LEAST} without "
                    "are needed: fill the holes first."
                )
            notes.append(f"{int((~fine).sum()):,} of the {name} {noun}s hold a NaN or an infinity and were left out.")
            x = x[fine]
        found[name] = Collection(x, fine)
    return Comparison(found, _bounds([found[name].x for name in found if name != "made"]), notes)


def _size(x: Array) -> str:
    return " x ".join(str(size) for size in x.shape[1:])


def _bounds(real: list[Array]) -> tuple[float, float]:
    """Between which values pixels lie: the customary interval that holds all real ones, or their own."""
    if real[0].dtype == bool:
        return 0.0, 1.0
    if real[0].dtype == np.uint8:
        return 0.0, 255.0
    low, high = min(float(x.min()) for x in real), max(float(x.max()) for x in real)
    for a, b in ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0)):
        if low >= a and high <= b:
            return a, b
    return low, high if high > low else low + 1.0


def scaled(x: Array, bounds: tuple[float, float], most: int | None = None) -> NDArray[np.float32]:
    """Images (N, H, W, C) as float32 in [-1, 1]; averaged down by a whole factor until no side is longer than
    `most`."""
    low, high = bounds
    n, height, width, channels = x.shape
    factor = 1 if most is None else max(1, math.ceil(max(height, width) / most))
    size = max(1, height // factor), max(1, width // factor)
    out = np.empty((n, *size, channels), np.float32)
    step = max(1, CHUNK // (height * width * channels))
    for start in range(0, n, step):
        part = (x[start : start + step].astype(np.float32) - low) * (2 / (high - low)) - 1
        if factor > 1:
            pooled = F.adaptive_avg_pool2d(torch.from_numpy(part).permute(0, 3, 1, 2), size)
            part = pooled.permute(0, 2, 3, 1).numpy()
        out[start : start + step] = part
    return out


def pooled(x: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """Images (N, H, W, C) in [-1, 1] as vectors of at most about `most` numbers, averaged down where they are more."""
    _, height, width, channels = x.shape
    side = math.ceil(max(height, width) / math.sqrt(max(1.0, height * width * channels / most)))
    return scaled(x, (-1.0, 1.0), side).reshape(len(x), -1)


class Labels(NamedTuple):
    """What kind each item is of; any of the three may be unknown (None)."""

    train: Sequence[Any] | Array | None = None
    holdout: Sequence[Any] | Array | None = None
    made: Sequence[Any] | Array | None = None


def read_labels(labels: Labels | Sequence[Any] | Array | None, found: Comparison) -> dict[str, Array]:
    """Labels (N,) by name, of those sets whose labels are known. An array alone is the labels of the training items (of
    the hold-out where there are no training items). Raises Mismatch where there are more or fewer labels than items."""
    if labels is None:
        return {}
    if not isinstance(labels, Labels):
        labels = Labels(train=labels) if "train" in found.sets else Labels(holdout=labels)
    out = {}
    for name, given in labels._asdict().items():
        if given is None or name not in found.sets:
            continue
        values, kept = np.asarray(given), found.sets[name].kept
        if values.ndim != 1 or len(values) != len(kept):
            raise Mismatch(f"There are {len(kept)} {name} items and labels of shape {values.shape} for them.")
        out[name] = (values.astype(str) if values.dtype.kind == "O" else values)[kept]
    return out


def check_rows(rows: int) -> None:
    """Raises OptionError for fewer than 20."""
    if rows < LEAST:
        raise OptionError(f"rows is {rows!r}; a report looks at {LEAST} of each kind at least, 5,000 by default.")


def draw(n: int, most: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Up to `most` of n places at random, in a random order."""
    return rng.permutation(n)[:most]


def as_rows(x: NDArray[np.floating]) -> Rows:
    """Vectors (N, F) as a table of numbers, for the metrics that look at tables."""
    columns = tuple(Column(f"f{j}", "number", pl.Float64()) for j in range(x.shape[1]))
    wide: Floats = x.astype(np.float64)
    return Rows(columns, wide)


class Stages:
    """Progress to a listener, if there is one."""

    def __init__(self, listen: Listener | None) -> None:
        self.listen = listen

    def __call__(self, stage: str, done: float) -> None:
        if self.listen is not None:
            self.listen(Progress(stage, done))
