"""A collection of images of one size, as the image codec holds them: bytes, labels, captions.

Shape letters: n images, H rows, W columns, C channels (1 grey, 3 RGB, 4 RGBA).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Pictures:
    """`pixels` (n, H, W, C), 0 black to 255 white. `labels` and `captions`: one text an image, None = none known.

    `holes` (n, H, W), true where a pixel is missing, to be filled. Its length is n; it is indexed by rows: a slice, or
    an array of row numbers or of truth values.
    """

    pixels: Bytes
    labels: tuple[str | None, ...] | None = None
    captions: tuple[str | None, ...] | None = None
    holes: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, rows: Any) -> Pictures:
        at = np.arange(len(self))[rows] if isinstance(rows, slice) else np.asarray(rows)
        at = np.flatnonzero(at) if at.dtype == bool else np.atleast_1d(at)
        return Pictures(
            self.pixels[at],
            None if self.labels is None else tuple(self.labels[row] for row in at.tolist()),
            None if self.captions is None else tuple(self.captions[row] for row in at.tolist()),
            None if self.holes is None else self.holes[at],
        )

    def equals(self, other: Any) -> bool:
        """Whether the other collection holds the same images."""
        return (
            isinstance(other, Pictures)
            and np.array_equal(self.pixels, other.pixels)
            and (self.labels, self.captions) == (other.labels, other.captions)
        )

    @classmethod
    def join(cls, parts: Sequence[Pictures]) -> Pictures:
        """One collection of several of the same size; texts are kept where every part has them."""
        if len(parts) == 1:
            return parts[0]
        holes = [np.zeros(part.pixels.shape[:3], bool) if part.holes is None else part.holes for part in parts]
        return cls(
            np.concatenate([part.pixels for part in parts]),
            _texts([part.labels for part in parts]),
            _texts([part.captions for part in parts]),
            np.concatenate(holes) if any(part.holes is not None for part in parts) else None,
        )


def _texts(parts: list[tuple[str | None, ...] | None]) -> tuple[str | None, ...] | None:
    if any(part is None for part in parts):
        return None
    return tuple(text for part in parts if part is not None for text in part)
