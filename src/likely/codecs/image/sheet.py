"""A contact sheet: many small images on one PNG, with their labels below."""

from __future__ import annotations

import io
from importlib import import_module

import numpy as np

from likely.codecs.image.frame import NAMES, pillow
from likely.codecs.image.pictures import Pictures
from likely.core import Rendering

MOST = 64  # images shown
CELL = 64  # pixels a side that small images are magnified to, at least
MARGIN = 4
LINE = 13  # pixels of a line of text
GROUND = (244, 244, 242)
INK = (70, 70, 70)


def sheet(pictures: Pictures) -> Rendering:
    """The first images in a grid, magnified by a whole number so that every pixel stays a square."""
    module = pillow("drawing images")
    shown = pictures[:MOST]
    n, height, width, channels = shown.pixels.shape
    zoom = max(1, -(-CELL // max(height, width, 1)))
    tall, wide = height * zoom, width * zoom
    texts = shown.labels if shown.labels is not None else shown.captions
    across = max(1, min(n, round((n * tall / max(wide, 1)) ** 0.5)))
    down = -(-n // across) if n else 1
    step = (wide + MARGIN, tall + MARGIN + (LINE if texts is not None else 0))
    whole = module.new("RGB", (across * step[0] + MARGIN, down * step[1] + MARGIN), GROUND)
    draw = import_module("PIL.ImageDraw").Draw(whole)
    mode = NAMES[{1: "grey", 3: "rgb", 4: "rgba"}[channels]]
    for place, picture in enumerate(shown.pixels):
        big = np.ascontiguousarray(picture.repeat(zoom, 0).repeat(zoom, 1))
        tile = module.frombytes(mode, (wide, tall), big.tobytes())
        x, y = MARGIN + place % across * step[0], MARGIN + place // across * step[1]
        whole.paste(tile, (x, y), tile if mode == "RGBA" else None)
        if texts is not None:
            text = "".join(c if " " <= c <= "~" else "?" for c in (texts[place] or "")[:40])
            while text and draw.textlength(text) > wide:
                text = text[:-1]
            draw.text((x, y + tall), text, fill=INK)
    out = io.BytesIO()
    whole.save(out, "PNG")
    return Rendering("image/png", out.getvalue())
