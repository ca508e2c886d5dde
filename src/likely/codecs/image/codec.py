"""The image codec: folders, files, arrays or PIL images <-> `Reals` (C, H, W) in [-1, 1], and back.

All images are brought to one size and one mode (`frame`), and what was done is said by `describe`. A pixel of L
levels is code k in 0 .. L - 1 and the real 2 k / (L - 1) - 1: L is 2 where all pixels are black or white, 256 for
bytes, and white + 1 for arrays of other whole numbers. Decoding clips and rounds to the nearest level.

Shape letters: B and n images, C channels, H rows, W columns, L levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from likely.codecs.image import intake
from likely.codecs.image.file import MOST
from likely.codecs.image.frame import FITS, MODES, SIDE, Frame, side
from likely.codecs.image.pictures import Pictures
from likely.codecs.image.sheet import sheet
from likely.codecs.state import flag_of, list_of, text_of, whole_of
from likely.core import Batch, Grammar, Known, Reals, Rendering
from likely.errors import ConditionError, DataError, Mismatch, NotFitted, OptionError, UnknownName

FEWEST = 20  # images to learn from
BLOCKS = 8  # parts a side that an image is divided into where its surprise is told part by part
SMALL = 16  # pixels a side of `features`


class Image:
    """Images of one modality.

    `size`: pixels a side, or (rows, columns); None = as they are up to 128, else 64. `fit`: "crop", "pad" or
    "stretch" for images of other sizes. `mode`: "grey", "rgb" or "rgba"; None = as most of them are. `top`: the value
    of white in arrays. `most`: pixels of one image file that are read at most. `skip_bad`: leave out files that
    cannot be read instead of raising DataError.
    """

    name: ClassVar[str] = "image"
    spaces: ClassVar[tuple[type, ...]] = (Reals,)
    grammar: Grammar | None = None

    def __init__(
        self,
        *,
        size: int | tuple[int, int] | None = None,
        fit: str | None = None,
        mode: str | None = None,
        top: float | None = None,
        most: int = MOST,
        skip_bad: bool = False,
    ) -> None:
        if fit is not None and fit not in FITS:
            raise UnknownName("way to fit images", fit, FITS)
        if mode is not None and mode not in MODES:
            raise UnknownName("mode of images", mode, MODES)
        if top is not None and not 0 < top < 2**53:
            raise OptionError(f"top={top!r}: the value of white is a number above 0.")
        if most < 1:
            raise OptionError(f"most={most!r}: the most pixels of one image are 1 or more.")
        self.wanted = intake.Wanted(side(size), fit, mode, top, most, skip_bad)
        self.frame: Frame | None = None
        self.form = intake.Form()
        self.levels, self.n = 256, 0
        self.flat = False  # images of one flat colour were among those learned from
        self.said: list[str] = []
        self._came: intake.Taken | None = None

    # ------------------------------------------------------------------------------------------- any images

    def read(self, items: Any) -> Pictures:
        """Any images -> bytes of one size. The first ones decide the size, the mode and what `give` gives."""
        options = self.wanted.__dict__ | {"frame": self.frame, "form": self.form if self.frame else None}
        taken = intake.take(items, intake.Wanted(**options))
        if self.frame is None:
            self._came = taken
        return taken.pictures

    def give(self, items: Pictures) -> Any:
        """Images in the form that was learned from; PIL images where it was files."""
        self._fitted()
        return intake.give(items, self.form, self.levels)

    def settle(self, items: Pictures) -> Pictures:
        """Real images are already in the form of made ones."""
        self._right(items)
        return items

    def join(self, parts: Sequence[Pictures]) -> Pictures:
        """One collection of several."""
        return Pictures.join(parts)

    def replace(self, items: Pictures, mask: NDArray[np.bool_], others: Pictures) -> Pictures:
        """The images of `others` in the places where the mask (n,) is true."""
        source = np.arange(len(items))
        source[mask] = len(items) + np.arange(len(others))
        return Pictures.join([items, others])[source]

    # ------------------------------------------------------------------------------------------------ learn

    def fit(self, items: Any) -> Self:
        """Learn size, mode and levels. Raises DataError for too few images, or images that are all the same."""
        came = self._came
        if not (isinstance(items, Pictures) and came is not None and items.pixels.shape[1:] == came.frame.shape):
            self.frame = None
            self.read(items)
            came = self._came
            assert came is not None
            items = came.pictures
        pixels = items.pixels
        if len(pixels) < FEWEST:
            there = "is 1 image" if len(pixels) == 1 else f"are {len(pixels)} images"
            raise DataError(f"There {there}: at least {FEWEST} are needed to learn from.")
        if items.holes is not None and items.holes.any():
            raise DataError("Images with missing pixels (NaN) can be filled, not learned from: leave them out.")
        if (pixels == pixels[0]).all():
            raise DataError(f"All {len(pixels):,} images are the same: there is nothing to learn.")
        self._came = None
        self.frame, self.form, self.said, self.n = came.frame, came.form, list(came.said), len(pixels)
        flat = int(_flat(pixels).sum())
        self.flat = flat > 0
        if flat:
            self.said.append(f"{flat:,} images are one flat colour")
        whole = self.form.top < 255 and self.form.top % 1 == 0 and self.form.top > 1
        self.levels = 2 if _extremes(pixels) else int(self.form.top) + 1 if whole and self._whole(pixels) else 256
        if items.labels is not None:
            self.said.append(f"{len(set(items.labels) - {None}):,} different labels")
        if items.captions is not None:
            self.said.append(f"{sum(text is not None for text in items.captions):,} captions")
        self._index()
        return self

    def _whole(self, pixels: NDArray[np.uint8]) -> bool:
        """Whether all pixels are whole numbers of the scale they came in."""
        codes = pixels.astype(np.float64) * (self.form.top / 255)
        return bool((np.rint(np.rint(codes) * (255 / self.form.top)) == pixels).all())

    def _index(self) -> None:
        """The part of the image that each element belongs to: blocks of rows and columns."""
        height, width, channels = self._fitted().shape
        rows, columns = _blocks(height), _blocks(width)
        self.cells = [f"rows {row}, columns {column}" for row in rows for column in columns] * channels

    def _fitted(self) -> Frame:
        if self.frame is None:
            raise NotFitted("This image codec has not seen images yet: call fit(images) first.")
        return self.frame

    def _right(self, items: Pictures) -> None:
        """Raises Mismatch for images of another size or mode."""
        frame = self._fitted()
        if items.pixels.shape[1:] != frame.shape:
            height, width, channels = items.pixels.shape[1:]
            raise Mismatch(f"Images of {frame} were learned, {height} x {width} with {channels} channels were given.")

    @property
    def space(self) -> Reals:
        """(C, H, W) in [-1, 1]."""
        height, width, channels = self._fitted().shape
        return Reals((channels, height, width), bounds=(-1.0, 1.0), levels=self.levels)

    def promises(self) -> list[str]:
        """No constraints: nothing to keep."""
        return []

    def rejects(self, items: Pictures) -> NDArray[np.bool_]:
        """(n,) false: every image that can be made may be given."""
        return np.zeros(len(items), bool)

    def describe(self) -> list[str]:
        """What was understood, line by line; print it."""
        frame = self._fitted()
        came = {"folder": "a folder", "paths": "files", "pil": "PIL images", "pictures": "a collection"}
        kind = came.get(self.form.kind, f"arrays of {self.form.dtype}, white = {self.form.top:g}")
        return [f"{self.n:,} images, {frame}, {self.levels} levels, from {kind}", *self.said]

    def conditions(self, items: Pictures) -> pl.DataFrame | None:
        """What is known of each image beside its pixels: columns label and caption, or None."""
        texts = {"label": items.labels, "caption": items.captions}
        known = {name: pl.Series(name, list(part), dtype=pl.String) for name, part in texts.items() if part is not None}
        return pl.DataFrame(known) if known else None

    def attach(self, items: Pictures, conditions: pl.DataFrame) -> Pictures:
        """Made images with what they were made for: columns label and caption of `conditions` (n rows)."""
        texts = {
            name: tuple(conditions[name].cast(pl.String)) if name in conditions.columns else None
            for name in ("label", "caption")
        }
        return Pictures(items.pixels, texts["label"], texts["caption"], items.holes)

    # -------------------------------------------------------------------------------------- encode, decode

    def encode(self, items: Pictures) -> Batch:
        """Images -> (n, C, H, W) float32 in [-1, 1]; missing pixels lie in the middle."""
        self._right(items)
        top = self.levels - 1
        table = np.rint(np.arange(256) * (top / 255)) * (2.0 / top) - 1.0
        x = table.astype(np.float32)[items.pixels]
        if items.holes is not None:
            x[items.holes] = 0.0
        return Batch(torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2))))

    def make(self, x: Tensor, *, rng: torch.Generator, within: Any = None, start: int = 0) -> Pictures:
        """Reals (n, C, H, W) -> images: clipped, rounded to the nearest level. `within`: images with holes, whose
        other pixels are kept."""
        self._fitted()
        values = x.detach().cpu().numpy()
        if values.ndim != 4 or values.shape[1:] != self.space.shape:
            raise Mismatch(f"Reals of shape (B, *{self.space.shape}) were wanted, {tuple(values.shape)} were given.")
        top = self.levels - 1
        codes = np.rint((np.clip(np.nan_to_num(values.astype(np.float64)), -1.0, 1.0) + 1.0) * (top / 2))
        pixels = np.rint(codes * (255 / top)).astype(np.uint8).transpose(0, 2, 3, 1)
        if isinstance(within, Pictures):
            if len(within) not in (1, len(pixels)):
                raise Mismatch(f"{len(pixels)} images were made for {len(within)} images with holes.")
            self._right(within)
            open_ = within.holes if within.holes is not None else np.zeros(within.pixels.shape[:3], bool)
            pixels = np.where(open_[..., None], pixels, within.pixels)
        return Pictures(np.ascontiguousarray(pixels))

    # ------------------------------------------------------------------------------------------------ known

    def condition(self, given: Mapping[str, Any]) -> Known:
        """Images have no parts to wish for. Raises ConditionError."""
        raise ConditionError(
            f"Images cannot be asked for by {', '.join(map(repr, list(given)[:3]))}: learn with their labels or "
            "captions as the condition, or fill images whose missing pixels are NaN."
        )

    def partial(self, items: Pictures) -> Known:
        """Images with holes (NaN pixels of an array) -> Known (n, C, H, W)."""
        x = self.encode(items).x
        if items.holes is None:
            return Known(x, torch.ones(x.shape, dtype=torch.bool))
        mask = torch.from_numpy(~items.holes)[:, None].expand(x.shape).clone()
        return Known(x * mask, mask)

    # -------------------------------------------------------------------------------------------- judgement

    def volume(self, items: Pictures) -> Tensor:
        """(n, 1) zeros: every pixel leaves the same volume open, so it tells no images apart."""
        return torch.zeros((len(items), 1), dtype=torch.float64)

    def check(self, items: Pictures) -> list[list[str]]:
        """For each image the reasons why it is none of these: another size or mode, a flat colour, grey levels."""
        frame = self._fitted()
        height, width, channels = items.pixels.shape[1:]
        reasons: list[list[str]] = [[] for _ in range(len(items))]
        if (height, width, channels) != frame.shape:
            word = f"{height} x {width} with {channels} channels, {frame} was learned"
            return [[*part, word] for part in reasons]
        if not self.flat:
            for row in np.flatnonzero(_flat(items.pixels)):
                reasons[row].append("one flat colour")
        if self.levels < 256:
            steps = np.rint(np.rint(np.arange(256) * ((self.levels - 1) / 255)) * (255 / (self.levels - 1)))
            off = (steps != np.arange(256))[items.pixels].any((1, 2, 3))
            for row in np.flatnonzero(off):
                reasons[row].append(f"values between the {self.levels} levels that were learned")
        return reasons

    def features(self, items: Pictures) -> NDArray[np.float32]:
        """(n, F): mean pixels of at most 16 x 16 blocks, in [0, 1], and mean and spread of each channel."""
        n, height, width, _ = items.pixels.shape
        small = items.pixels.astype(np.float32) / 255
        for axis, size in ((1, height), (2, width)):
            edges = np.linspace(0, size, min(size, SMALL) + 1).round().astype(np.int64)
            counts = np.diff(edges).reshape((-1, 1, 1) if axis == 1 else (-1, 1))
            small = np.add.reduceat(small, edges[:-1], axis) / counts.astype(np.float32)
        tone = items.pixels.astype(np.float32) / 255
        return np.concatenate([small.reshape(n, -1), tone.mean((1, 2)), tone.std((1, 2))], 1)

    def render(self, items: Pictures) -> Rendering:
        """A contact sheet of the first 64 images."""
        return sheet(items)

    # ------------------------------------------------------------------------------------------------- keep

    def state(self) -> dict[str, Any]:
        """Plain JSON: no image, no label."""
        frame = self._fitted()
        return {
            "version": 1, "height": frame.height, "width": frame.width, "mode": frame.mode, "fit": frame.fit,
            "levels": self.levels, "flat": self.flat, "n": self.n, "said": self.said, "form": self.form.state(),
        }  # fmt: skip

    def load(self, state: dict[str, Any]) -> Self:
        """The inverse of `state`, from a file that may come from anybody. Raises ArtifactError."""
        whole_of(state, "version", low=1, high=1)
        height, width = whole_of(state, "height", 1, SIDE), whole_of(state, "width", 1, SIDE)
        self.frame = Frame(height, width, text_of(state, "mode", tuple(MODES)), text_of(state, "fit", FITS))
        self.levels, self.n = whole_of(state, "levels", 2, 256), whole_of(state, "n")
        self.flat, self.said = flag_of(state, "flat"), list_of(state, "said", str, most=100)
        self.form = intake.Form.load(state)
        self._index()
        return self


def _flat(pixels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(n,) true for images of one flat colour."""
    return np.asarray((pixels == pixels[:, :1, :1]).all((1, 2, 3)))


def _extremes(pixels: NDArray[np.uint8]) -> bool:
    """Whether every pixel is black or white."""
    counts = np.bincount(pixels.reshape(-1), minlength=256)
    return int(counts[0] + counts[255]) == pixels.size


def _blocks(size: int) -> list[str]:
    """The name of the block that each row or column belongs to."""
    edges = np.linspace(0, size, min(size, BLOCKS) + 1).round().astype(int)
    names = []
    for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        names += [f"{a}-{b - 1}" if b - a > 1 else f"{a}"] * (b - a)
    return names
