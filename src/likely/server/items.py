"""What a generator makes <-> JSON: rows as objects, images as base64 PNGs, windows of a series as lists.

    rows       {"age": 61, "sex": "F", "since": "2024-03-01"}      dates and times as ISO 8601 texts, missing = null
    images     {"image": "iVBORw0KG...", "label": "7"}             or the base64 text alone
    windows    [[...C numbers...], ...T moments...]                 of a series learned from arrays
               {"time": ..., "heat": ...}                           rows, of one learned from a table

Nothing that comes in is ever taken for a path: codecs read files where they are given a string.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import io
import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl

from likely.generator import Generator
from likely.registry import require
from likely.server.refusal import Refusal

SCALARS = str | int | float | bool | None
PIXELS = 16_777_216  # of an image that comes in
READERS: dict[Any, Callable[[str], Any]] = {
    pl.Date: dt.date.fromisoformat, pl.Datetime: dt.datetime.fromisoformat, pl.Time: dt.time.fromisoformat,
}  # fmt: skip
FORMATS = ("PNG", "JPEG", "WEBP")


def hear(gen: Generator, items: Sequence[Any]) -> Any:
    """Items of a request in the generator's own collection. Raises LikelyError."""
    kind = gen.card["codec"]["name"]
    try:
        if kind == "image":
            found: Any = _images(items)
        elif kind == "table" or all(isinstance(item, dict) for item in items):
            dtypes = _dtypes(gen)
            found = [_typed(_row(item, place), dtypes, place) for place, item in enumerate(items)]
        elif kind == "series":
            found = _windows(items)
        else:
            found = [_text(item, place) for place, item in enumerate(items)]
        return gen.codec.read(found)
    except (pl.exceptions.PolarsError, ValueError, TypeError, OverflowError) as error:
        raise Refusal(400, f"items cannot be read: {str(error)[:200]}", param="items") from error


def tell(gen: Generator, items: Any) -> list[Any]:
    """Items of the generator's own collection as JSON."""
    if hasattr(items, "pixels"):
        return _pictures(items)
    if not isinstance(items, pl.DataFrame):
        items = gen.codec.give(items)
    if isinstance(items, pl.DataFrame):
        return [{name: plain(value) for name, value in row.items()} for row in items.iter_rows(named=True)]
    if hasattr(items, "column_names"):  # pyarrow's
        return tell(gen, pl.from_arrow(items))
    if hasattr(items, "columns"):  # pandas'
        return tell(gen, pl.DataFrame({name: list(items[name]) for name in items.columns}))
    if isinstance(items, Mapping):
        return tell(gen, pl.DataFrame(dict(items)))
    return [plain(item) for item in items]


def plain(value: Any) -> Any:
    """A value as JSON can say it."""
    if isinstance(value, np.ndarray | np.generic) or hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, bool | int | str | None):
        return value
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return value.total_seconds() if isinstance(value, dt.timedelta) else str(value)


def given(value: Any) -> Any:
    """A wish as `Generator.sample` takes it: {"low": 60, "high": 80} is a range, either end may be left out.

    Raises Refusal.
    """
    if value is None:
        return None
    if isinstance(value, dict):
        return {name: _wish(name, one) for name, one in value.items()}
    if isinstance(value, list) and value:
        if all(isinstance(one, dict) for one in value):
            return [_row(one, place) for place, one in enumerate(value)]
        if all(isinstance(one, SCALARS) for one in value) and len({type(one) for one in value}) == 1:
            return [_whole(one, "given") for one in value]
    raise Refusal(
        400, "given: give an object {column: wish}, or a list of conditions, one for each item.", param="given"
    )


def _wish(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        if not value or not value.keys() <= {"low", "high"}:
            raise Refusal(
                400, f'given.{name[:60]}: a range is {{"low": 60, "high": 80}}, either may be left out.', param="given"
            )
        ends = [_whole(value.get(end), f"given.{name[:60]}") for end in ("low", "high")]
        return tuple(ends)
    if isinstance(value, list):
        if not all(isinstance(one, SCALARS) for one in value) or not 0 < len(value) <= 10_000:
            raise Refusal(400, f"given.{name[:60]}: a list of values is wanted.", param="given")
        return [_whole(one, f"given.{name[:60]}") for one in value]
    return _whole(value, f"given.{name[:60]}")


def _whole(value: Any, name: str) -> Any:
    """A scalar that fits into 64 bits."""
    if not isinstance(value, SCALARS) or (isinstance(value, int) and abs(value) >= 2**63):
        raise Refusal(
            400, f"{name}: a text, a number of at most 64 bits, true, false or null is wanted.", param=name[:60]
        )
    return value


def _row(item: Any, place: int) -> dict[str, Any]:
    if not isinstance(item, dict) or not item:
        raise Refusal(400, f'items[{place}]: a row is an object such as {{"age": 61}}.', param="items")
    return {name: _whole(value, f"items[{place}].{name[:60]}") for name, value in item.items()}


def _dtypes(gen: Generator) -> dict[str, Any]:
    """The types of the learned columns that JSON writes as something else: dates and times."""
    form = getattr(gen.codec, "form", None) or getattr(getattr(gen.codec, "plan", None), "form", None)
    return {field.name: field.dtype for field in getattr(form, "fields", ()) if field.dtype.is_temporal()}


def _typed(row: dict[str, Any], dtypes: Mapping[str, Any], place: int) -> dict[str, Any]:
    """A row with its dates and times read."""
    for name, dtype in dtypes.items():
        value = row.get(name)
        if value is None:
            continue
        try:
            if dtype == pl.Duration:
                row[name] = dt.timedelta(seconds=float(value))
            else:
                row[name] = READERS[dtype.base_type()](value)
        except (TypeError, ValueError, OverflowError):
            kind = "seconds" if dtype == pl.Duration else "a text in ISO 8601, as 2024-03-01"
            raise Refusal(400, f"items[{place}].{name[:60]}: {kind} is wanted.", param="items") from None
    return row


def _text(item: Any, place: int) -> str:
    if not isinstance(item, str):
        raise Refusal(400, f"items[{place}]: a text is wanted.", param="items")
    return item


def _windows(items: Sequence[Any]) -> np.ndarray:
    def level(value: Any, depth: int) -> Any:
        if isinstance(value, list) and depth:
            return [level(one, depth - 1) for one in value]
        if value is None:
            return math.nan
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Refusal(
                400, "items: a window is a list of moments, each a number or a list of numbers.", param="items"
            )
        return float(value)

    array = np.array(level(list(items), 3), dtype=np.float64)
    return array[:, :, None] if array.ndim == 2 else array


def _images(items: Sequence[Any]) -> Any:
    """PIL images, with labels where they are given."""
    pictures, labels = [], []
    for place, item in enumerate(items):
        value = item if isinstance(item, dict) else {"image": item}
        label = value.get("label")
        if not isinstance(value.get("image"), str) or not isinstance(label, str | int | None):
            raise Refusal(
                400,
                f'items[{place}]: an image is a base64 text, or {{"image": base64 text, "label": text}}.',
                param="items",
            )
        pictures.append(_image(value["image"], place))
        labels.append(None if label is None else str(label))
    return (pictures, labels) if any(label is not None for label in labels) else pictures


def _image(text: str, place: int) -> Any:
    image = require("PIL.Image", "reading images")
    try:
        data = base64.b64decode(text.partition(",")[2] if text.startswith("data:") else text, validate=True)
        found = image.open(io.BytesIO(data), formats=FORMATS)
        if found.width * found.height > PIXELS:
            raise Refusal(
                400, f"items[{place}]: {found.width} x {found.height} pixels; at most {PIXELS:,}.", param="items"
            )
        found.load()
    except (binascii.Error, OSError, ValueError, SyntaxError, image.DecompressionBombError) as error:
        raise Refusal(
            400, f"items[{place}] is no PNG, JPEG or WebP in base64: {str(error)[:100]}.", param="items"
        ) from error
    return found


def _pictures(pictures: Any) -> list[dict[str, Any]]:
    image, found = require("PIL.Image", "giving images"), []
    for place, pixels in enumerate(pictures.pixels):
        buffer = io.BytesIO()
        image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(buffer, "PNG")
        label = pictures.labels[place] if pictures.labels is not None else None
        found.append(
            {"image": base64.b64encode(buffer.getvalue()).decode(), **({} if label is None else {"label": label})}
        )
    return found
