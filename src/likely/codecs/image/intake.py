"""Whatever a user may call images -> one collection of bytes, what they came as, and what was done to them, in words.

A folder is read with all its sub-folders, in the order of the names. Labels are the names of the sub-folders, or the
column `label` of a file `labels.csv` or `metadata.csv` in the folder (beside `file`, and `caption` where there is
one); a caption may also stand in a text file of the image's name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from torch import Tensor, from_numpy

from likely.codecs.image import array
from likely.codecs.image.file import SUFFIXES, load, look
from likely.codecs.image.frame import NAMES, Frame, Header, choose, header, pillow, pixels
from likely.codecs.image.pictures import Bytes, Pictures
from likely.codecs.state import entry, real_of, text_of
from likely.codecs.table.read import read
from likely.errors import ArtifactError, DataError

KINDS = ("folder", "paths", "pil", "array", "arrays", "tensor", "pictures")
MANY = 2_000_000  # most images
WHOLE = 8_000_000_000  # most bytes of all images together
TABLES = ("labels.csv", "metadata.csv")
FILE = ("file", "file_name", "filename", "path", "image", "name")
LABEL = ("label", "class", "category", "target")
CAPTION = ("caption", "text", "description")
LONG = 10_000  # most characters of a caption


@dataclass(frozen=True)
class Form:
    """How images came: a kind, and of arrays the dtype, the value of white and the order of the axes."""

    kind: str = "pictures"
    dtype: str = "uint8"
    top: float = 255.0
    layout: str = "HWC"

    def state(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"kind": self.kind, "dtype": self.dtype, "top": self.top, "layout": self.layout}

    @classmethod
    def load(cls, state: Any) -> Form:
        """The inverse of `state`. Raises ArtifactError."""
        dtypes = ("bool", *(f"{sign}int{bits}" for sign in ("u", "") for bits in (8, 16, 32, 64)),
                  "float16", "float32", "float64")  # fmt: skip
        top = real_of(entry(state, "form"), "top")
        if top <= 0:
            raise ArtifactError("The model file is damaged: white is no value above 0.")
        form = entry(state, "form")
        return cls(
            text_of(form, "kind", KINDS), text_of(form, "dtype", dtypes), top, text_of(form, "layout", array.LAYOUTS)
        )


@dataclass(frozen=True)
class Wanted:
    """The options of the codec; `frame` once it has learned one."""

    size: tuple[int, int] | None
    fit: str | None
    mode: str | None
    top: float | None
    most: int
    skip_bad: bool
    frame: Frame | None = None
    form: Form | None = None


@dataclass
class Taken:
    """Images in their frame, what they came as, and what was done, in words."""

    pictures: Pictures
    frame: Frame
    form: Form
    said: list[str] = field(default_factory=list)


def take(items: Any, wanted: Wanted) -> Taken:
    """Any images. Raises DataError, MissingExtra."""
    labels: tuple[str | None, ...] | None = None
    if isinstance(items, tuple) and len(items) == 2 and _many(items[0]) and _many(items[1]):
        items, labels = items[0], tuple(None if label is None else str(label) for label in items[1])
    taken = _take(items, wanted)
    if labels is not None:
        if len(labels) != len(taken.pictures):
            raise DataError(f"{len(labels):,} labels were given for {len(taken.pictures):,} images.")
        old = taken.pictures
        taken.pictures = Pictures(old.pixels, labels, old.captions, old.holes)
    return taken


def _many(value: Any) -> bool:
    return hasattr(value, "__len__") and not isinstance(value, str | os.PathLike)


def _take(items: Any, wanted: Wanted) -> Taken:
    if isinstance(items, Pictures):
        height, width, channels = items.pixels.shape[1:]
        frame = Frame(height, width, {1: "grey", 3: "rgb", 4: "rgba"}[channels], "crop")
        return Taken(items, wanted.frame or frame, Form())
    if isinstance(items, str | os.PathLike):
        return _folder(Path(items), wanted)
    if isinstance(items, Tensor):
        return _array(items.detach().cpu().numpy(), wanted, "tensor")
    if isinstance(items, np.ndarray) and items.dtype != object:
        return _array(items, wanted, "array")
    if not isinstance(items, Sequence | np.ndarray):
        raise DataError(
            f"Images were wanted, {type(items).__name__} was given: pass a folder, a list of paths, of arrays or of "
            "PIL images, or one array (n, rows, columns[, channels])."
        )
    if not len(items):
        raise DataError("No images: the list is empty.")
    first = items[0]
    if isinstance(first, str | os.PathLike):
        if not all(isinstance(item, str | os.PathLike) for item in items):
            raise DataError("Paths and other things are mixed in one list: give one kind.")
        paths = [Path(item) for item in items]
        return _files(paths, [str(path) for path in paths], wanted, "paths", None, _captions(paths))
    if hasattr(first, "getexif") and hasattr(first, "convert"):
        return _images(list(items), wanted)
    return _arrays(list(items), wanted)


# ------------------------------------------------------------------------------------------------ files


def _folder(folder: Path, wanted: Wanted) -> Taken:
    if folder.is_file():
        raise DataError(f"{str(folder)!r} is one file: give the folder that holds many images, or a list of paths.")
    if not folder.is_dir():
        raise DataError(f"There is no folder {str(folder)!r}.")
    found = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not found:
        others = sorted({path.suffix or path.name for path in folder.rglob("*") if path.is_file()})[:8]
        holds = f" (it holds {', '.join(others)})" if others else " (it is empty)"
        raise DataError(f"There is no image in {str(folder)!r}{holds}: {', '.join(SUFFIXES)} are read.")
    names = [path.relative_to(folder).as_posix() for path in found]
    above: list[str | None] = [name.rpartition("/")[0] or None for name in names]
    labels = tuple(above) if any(above) else None
    captions = _captions(found)
    table = next((folder / name for name in TABLES if (folder / name).is_file()), None)
    if table is not None:
        listed, told = _listed(table, names)
        labels, captions = listed or labels, told or captions
    return _files(found, names, wanted, "folder", labels, captions)


def _listed(table: Path, names: list[str]) -> tuple[tuple[str | None, ...] | None, tuple[str | None, ...] | None]:
    """Labels and captions from a table with a column of file names. Raises DataError."""
    frame = read(table)
    lower = {name.strip().lower(): name for name in frame.columns}

    def column(words: tuple[str, ...]) -> str | None:
        return next((lower[word] for word in words if word in lower), None)

    file, label, caption = column(FILE), column(LABEL), column(CAPTION)
    if file is None or (label is None and caption is None):
        raise DataError(
            f"{table.name!r} should have a column 'file' and a column 'label' or 'caption', it has "
            f"{', '.join(frame.columns[:10])}."
        )
    rows = [str(name).strip().removeprefix("./") for name in frame[file].to_list()]
    absent = sorted(set(rows) - set(names))
    if absent:
        raise DataError(f"{table.name!r} names {len(absent):,} images that are not there, the first is {absent[0]!r}.")

    def texts(name: str | None) -> tuple[str | None, ...] | None:
        if name is None:
            return None
        told = dict(zip(rows, frame[name].cast(pl.String).to_list(), strict=True))
        return tuple(None if (text := told.get(image)) is None else text[:LONG] for image in names)

    return texts(label), texts(caption)


def _captions(paths: list[Path]) -> tuple[str | None, ...] | None:
    """The texts beside the images, where there are any."""
    told: list[str | None] = []
    for path in paths:
        beside = path.with_suffix(".txt")
        told.append(_text(beside) if beside.is_file() else None)
    return tuple(told) if any(text is not None for text in told) else None


def _text(path: Path) -> str:
    with open(path, "rb") as file:
        return file.read(4 * LONG).decode("utf-8", "replace")[:LONG].strip()


def _files(
    paths: list[Path],
    names: list[str],
    wanted: Wanted,
    kind: str,
    labels: tuple[str | None, ...] | None,
    captions: tuple[str | None, ...] | None,
) -> Taken:  # fmt: skip
    good, headers = _each(paths, names, lambda path: look(path, wanted.most), wanted.skip_bad, len(paths))
    frame, said = _framed(headers, wanted)
    kept, made = _each([paths[i] for i in good], [names[i] for i in good], lambda path: load(path, frame, wanted.most),
                       wanted.skip_bad, len(paths))  # fmt: skip
    rows = [good[i] for i in kept]
    if len(rows) < len(paths):
        said.append(f"{len(paths) - len(rows):,} files that cannot be read were left out")
    pictures = Pictures(np.stack(made), labels, captions)
    if len(rows) < len(paths):
        pictures = Pictures(
            pictures.pixels,
            labels and tuple(labels[row] for row in rows),
            captions and tuple(captions[row] for row in rows),
        )
    return Taken(pictures, frame, Form(kind), said)


def _each(
    things: list[Any], names: list[str], act: Callable[[Any], Any], skip: bool, total: int
) -> tuple[list[int], list[Any]]:
    """What `act` gives for each thing that it can read, and which; the others are skipped or named in a DataError."""
    good, made, bad = [], [], []
    for place, (thing, name) in enumerate(zip(things, names, strict=True)):
        try:
            made.append(act(thing))
            good.append(place)
        except (DataError, OSError) as error:
            bad.append((name, str(error)))
    if bad and (not skip or not good):
        name, why = bad[0]
        more = f" {len(bad):,} of {total:,} images are like this." if len(bad) > 1 else ""
        hint = "" if skip else " Mend or delete it, or leave out what cannot be read with skip_bad=True."
        raise DataError(f"The image {name!r} cannot be read: {why.rstrip('.')}.{more}{hint}")
    return good, made


def _framed(headers: list[Header], wanted: Wanted) -> tuple[Frame, list[str]]:
    """The learned frame, or one for these images. Raises DataError where all of them would not fit into memory."""
    if wanted.frame is not None:
        return wanted.frame, []
    frame, said = choose(headers, wanted.size, wanted.fit, wanted.mode)
    _bounded(len(headers), frame.height * frame.width * frame.channels)
    return frame, said


def _bounded(n: int, size: int) -> None:
    if n > MANY or n * size > WHOLE:
        raise DataError(f"{n:,} images of {size:,} bytes are too many to hold: give fewer, or a smaller size=.")


# ----------------------------------------------------------------------------------------------- in memory


def _images(images: list[Any], wanted: Wanted) -> Taken:
    """PIL images."""
    if not all(hasattr(image, "getexif") for image in images):
        raise DataError("PIL images and other things are mixed in one list: give one kind.")
    names = [str(place) for place in range(len(images))]
    _, headers = _each(images, names, header, wanted.skip_bad, len(images))
    frame, said = _framed(headers, wanted)
    good, made = _each(images, names, lambda image: pixels(image, frame), wanted.skip_bad, len(images))
    if len(good) < len(images):
        said.append(f"{len(images) - len(good):,} images that cannot be read were left out")
    return Taken(Pictures(np.stack(made)), frame, Form("pil"), said)


def _array(values: NDArray[Any], wanted: Wanted, kind: str) -> Taken:
    """One array of images of one size."""
    if not values.shape or not values.shape[0]:
        raise DataError("No images: the array is empty.")
    if 0 in values.shape:
        raise DataError(f"An array of shape {values.shape} holds no pixel.")
    old = wanted.form
    known = old.top if old is not None and old.kind in ("array", "arrays", "tensor") and (
        np.dtype(old.dtype).kind == values.dtype.kind) else None  # fmt: skip
    grid = array.take(values, wanted.top or known)
    n, height, width, channels = grid.pixels.shape
    form = Form(kind, grid.dtype, grid.top, grid.layout)
    heads = [Header(height, width, channels == 1, channels == 4)] * n
    frame, said = _framed(heads, wanted)
    if frame.shape == (height, width, channels):
        return Taken(Pictures(grid.pixels, holes=grid.holes), frame, form, said)
    if grid.holes is not None:
        raise DataError(f"Images with missing pixels must have the size {frame}, these are {height} x {width}.")
    return Taken(Pictures(_scaled(list(grid.pixels), frame)), frame, form, said)


def _arrays(parts: list[Any], wanted: Wanted) -> Taken:
    """A list of arrays, one an image, of any sizes."""
    values = [np.asarray(part) for part in parts]
    odd = next((value for value in values if value.ndim not in (2, 3) or value.dtype == object or not value.size), None)
    if odd is not None:
        raise DataError(
            f"A list of images was wanted, it holds something of shape {odd.shape} and type {odd.dtype}: paths, arrays "
            "(rows, columns[, channels]) or PIL images are read."
        )
    if len({value.shape for value in values}) == 1:
        taken = _array(np.stack(values), wanted, "array")
        return Taken(taken.pictures, taken.frame, Form("arrays", *list(taken.form.state().values())[1:]), taken.said)
    dtype = np.result_type(*values)
    high = max(float(value.max()) for value in values)
    grids = [array.take(value[None], wanted.top or (None if high <= 1 else max(high, 255.0))) for value in values]
    if any(grid.holes is not None for grid in grids):
        raise DataError("Images with missing pixels (NaN) must all have the same size.")
    shapes = [grid.pixels.shape[1:] for grid in grids]
    heads = [Header(height, width, channels == 1, channels == 4) for height, width, channels in shapes]
    frame, said = _framed(heads, wanted)
    layout = "HWC" if frame.channels > 1 else grids[0].layout
    made = _scaled([grid.pixels[0] for grid in grids], frame)
    return Taken(Pictures(made), frame, Form("arrays", str(dtype), max(grid.top for grid in grids), layout), said)


def _scaled(images: list[Bytes], frame: Frame) -> Bytes:
    module = pillow("changing the size or mode of images")
    return np.stack(
        [pixels(module.fromarray(image[..., 0] if image.shape[2] == 1 else image), frame) for image in images]
    )


def give(pictures: Pictures, form: Form, levels: int) -> Any:
    """Images in the form they came in: an array, a list of arrays, or PIL images where files were read."""
    if form.kind == "pictures":
        return pictures
    if form.kind in ("array", "arrays", "tensor"):
        made = array.give(pictures.pixels, form.dtype, form.top, form.layout, levels)
        return list(made) if form.kind == "arrays" else from_numpy(made.copy()) if form.kind == "tensor" else made
    module = pillow("giving back images")
    mode = {1: "grey", 3: "rgb", 4: "rgba"}[pictures.pixels.shape[3]]
    return [
        module.frombytes(NAMES[mode], (image.shape[1], image.shape[0]), np.ascontiguousarray(image).tobytes())
        for image in pictures.pixels
    ]
