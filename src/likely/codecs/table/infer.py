"""Which kind a column is, when nobody says. The rules, in order:

1. no value at all, or one value and nothing missing: constant;
2. texts that read as numbers, dates or times are taken as such (`notation`);
3. declared categories and booleans: category; dates, times and durations: moment;
4. whole numbers that never repeat and count 1, 2, 3.. or are named like an id: id; other numbers: number;
5. texts: category where most rows are in levels of at least `least` rows, else id where none repeats, else text.
"""

from __future__ import annotations

import re

import polars as pl

from likely.codecs.table.category import Category, Constant, canonical
from likely.codecs.table.column import Column
from likely.codecs.table.identifier import Identifier, Sequence
from likely.codecs.table.moment import Moment, Stamp, varies
from likely.codecs.table.number import Number
from likely.codecs.table.text import Text
from likely.errors import DataError, OptionError, UnknownName

KINDS: dict[str, type[Column]] = {
    column.kind: column for column in (Category, Constant, Number, Moment, Stamp, Sequence, Identifier, Text)
}
# What a person may call a kind -> the classes that may serve.
WORDS = {
    "category": "category", "boolean": "category", "integer": "number", "decimal": "number", "number": "number",
    "date": "moment", "datetime": "moment", "time": "moment", "duration": "moment", "text": "text", "id": "id",
    "constant": "constant", "drop": "drop",
}  # fmt: skip
NAMED = re.compile(r"(^|[_\W])(id|key|uuid|guid|no|nr|number|index|idx|sno)$|[a-z]I[dD]$|^(Id|ID|No|Nr)$")


def column_of(values: pl.Series, least: int, word: str | None = None, declared: bool = False) -> Column:
    """The unfitted column for values; `word` overrides, `declared` = the type says category.

    Raises UnknownName for an unknown word and OptionError where the values cannot be of that kind.
    """
    if word is not None and word not in WORDS:
        raise UnknownName("kind of column", word, WORDS)
    name, dtype = values.name, values.dtype
    kind = WORDS[word] if word is not None else infer(values, least, declared)
    fits = {
        "number": dtype.is_numeric(),
        "moment": dtype.is_temporal(),
        "text": isinstance(dtype, pl.String),
        "id": isinstance(dtype, pl.String) or dtype.is_integer(),
    }
    if not fits.get(kind, True) and values.null_count() < len(values):
        raise OptionError(
            f"columns={{{name!r}: {word!r}}}: the values of {name!r} are {dtype}, which cannot be a {word}. "
            "Use 'category', or leave the column out of `columns`."
        )
    if values.null_count() == len(values):
        kind = "constant"
    if kind == "moment" and isinstance(dtype, pl.Datetime) and varies(values.drop_nulls()):
        kind = "stamp"
    if kind == "id" and dtype.is_integer():
        kind = "sequence"
    return KINDS[kind](name, dtype, least)


def infer(values: pl.Series, least: int, declared: bool = False) -> str:
    """The name of the kind (a key of KINDS)."""
    present = values.drop_nulls()
    dtype = values.dtype
    if len(present) < least:
        return "constant"
    if present.n_unique() == 1 and len(present) == len(values) and len(present) >= least:
        return "constant"
    if declared or isinstance(dtype, pl.Boolean | pl.Enum | pl.Categorical):
        return "category"
    if dtype.is_temporal():
        return "moment"
    if dtype.is_numeric():
        return _number(values, present)
    if not isinstance(dtype, pl.String):
        raise DataError(f"Column {values.name!r} has the type {dtype}, which cannot be learned: leave it out.")
    counts = present.value_counts()["count"]
    if counts.filter(counts >= least).sum() >= len(present) / 2:
        return "category"
    return "id" if len(counts) == len(present) and _alike(present) else "text"


def _number(values: pl.Series, present: pl.Series) -> str:
    if values.dtype == pl.Int128 or (values.dtype == pl.UInt64 and int(present.max() or 0) > 2**61):  # type: ignore[arg-type]
        return "category"
    if values.dtype.is_integer() and len(present) == len(values) and present.n_unique() == len(present):
        low, high = int(present.min()), int(present.max())  # type: ignore[arg-type]
        if high - low + 1 == len(present) or NAMED.search(values.name):
            return "id"
    return "number"


def _alike(values: pl.Series) -> bool:
    """Whether texts look like ids: no blanks inside, some digit or mark in nearly all."""
    texts = canonical(values)
    plain = ~texts.str.contains(r"\s")
    marked = texts.str.contains(r"[\d@_\-]")
    return bool((plain & marked).mean() >= 0.95)  # type: ignore[operator]
