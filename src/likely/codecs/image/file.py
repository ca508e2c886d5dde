"""Image files from anybody: looked at before they are decoded.

The header says how large an image claims to be; one that claims more than `most` pixels is never decoded. Only a few
common formats are tried, whatever the name of the file says.
"""

from __future__ import annotations

import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from likely.codecs.image.frame import Frame, Header, header, pillow, pixels
from likely.codecs.image.pictures import Bytes
from likely.errors import DataError, LikelyError

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
MOST = 64_000_000  # pixels of one image


def look(path: Path, most: int) -> Header:
    """The header of an image file. Raises DataError with the reason, without the file's name."""
    with _opened(path, most) as image:
        return header(image)


def load(path: Path, frame: Frame, most: int) -> Bytes:
    """The first frame of an image file in the frame, (H, W, C). Raises DataError with the reason."""
    with _opened(path, most) as image:
        if image.format == "JPEG":
            # A photo that is made small anyway is decoded at an eighth, a quarter or half of its size.
            edge = 2 * max(frame.height, frame.width)
            image.draft(None, (edge, edge))
        image.load()
        return pixels(image, frame)


def picture(content: bytes, most: int = MOST) -> Any:
    """The first frame of an image file that is held in memory, as a PIL image. Raises DataError with the reason."""
    with _opened(BytesIO(content), most) as image:
        image.load()
        return image.copy()


@contextmanager
def _opened(path: Path | BytesIO, most: int) -> Iterator[Any]:
    module = pillow("reading images")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of what is checked here, and of odd metadata
        try:
            with module.open(path, formats=FORMATS) as image:
                _sized(image.size[0], image.size[1], most)
                yield image
        except LikelyError:
            raise
        except module.DecompressionBombError as error:
            raise DataError(_claim(path, str(error), most)) from error
        except MemoryError as error:
            raise DataError("it does not fit into memory") from error
        except Exception as error:  # a decoder that is fed with garbage may raise anything
            if isinstance(error, module.UnidentifiedImageError):
                raise DataError(f"it is none of {', '.join(FORMATS)}, or damaged") from error
            raise DataError(f"it is damaged ({str(error)[:80] or type(error).__name__})") from error


def _sized(width: int, height: int, most: int) -> None:
    if width * height > most:
        raise DataError(f"it claims {width:,} x {height:,} pixels, at most {most:,} in all are read")


def _claim(path: Path | BytesIO, words: str, most: int) -> str:
    """What a file claims that Pillow did not even open."""
    if isinstance(path, BytesIO):
        head = path.getvalue()[:24]
    else:
        with open(path, "rb") as file:
            head = file.read(24)
    if head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) == 24:
        width, height = struct.unpack(">II", head[16:24])
        claim = f"{width:,} x {height:,}"
    else:
        found = re.search(r"\((\d+) pixels\)", words)
        claim = f"{int(found[1]):,}" if found else "too many"
    return f"it claims {claim} pixels, at most {most:,} in all are read"
