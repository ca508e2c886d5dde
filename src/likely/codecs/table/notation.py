"""How values are written where a column is text: "  12", "7.50", "31.12.2024 08:05".

A text column whose every value reads as a number, a date or a time is taken as one, and what is made is written in
the same form again. Two traps: codes with leading zeros ("00501") are no numbers, and words for "nothing" ("NA",
"null") must not hide the numbers around them; they count as missing only where all the rest reads as one kind.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import polars as pl

from likely.codecs.state import flag_of, text_of, whole_of

NOTHING = ("", "na", "n/a", "nan", "null", "none", "nil", "#n/a", "-", "?", ".")
WHOLE = r"^[+-]?(0|[1-9]\d{0,17})$"
REAL = r"^[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?$"
DATES = ("%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y")
CLOCKS = ("%H:%M:%S%.6f", "%H:%M:%S%.3f", "%H:%M:%S", "%H:%M")
KINDS = ("integer", "decimal", "date", "time", "datetime", "zoned")
TOLERANCE = 0.02  # share of values that may fail to read and then count as missing, with a stated repair


@dataclass(frozen=True)
class Notation:
    """What the texts of a column stand for. `kept`: give texts back (else the typed values)."""

    kind: str
    format: str = ""
    places: int = -1  # fixed number of decimals, -1 = as short as possible
    kept: bool = True
    loose: bool = False  # texts that do not read were taken as missing

    def dtype(self) -> pl.DataType:
        """The polars type of the values."""
        types: dict[str, pl.DataType] = {
            "integer": pl.Int64(),
            "decimal": pl.Float64(),
            "date": pl.Date(),
            "time": pl.Time(),
            "datetime": pl.Datetime("us"),
            "zoned": pl.Datetime("us", "UTC"),
        }
        return types[self.kind]

    def read(self, texts: pl.Series) -> pl.Series:
        """Texts -> values; null where a text does not read."""
        texts = texts.str.strip_chars()
        match self.kind:
            case "integer":
                return texts.cast(pl.Int64, strict=False)
            case "decimal":
                return texts.cast(pl.Float64, strict=False)
            case "date":
                return texts.str.to_date(self.format, strict=False)
            case "time":
                return texts.str.to_time(self.format, strict=False)
            case "zoned":
                return texts.str.to_datetime(self.format, strict=False, time_unit="us", time_zone="UTC")
            case _:
                return texts.str.to_datetime(self.format, strict=False, time_unit="us")

    def write(self, values: pl.Series) -> pl.Series:
        """Values -> texts in the same form; typed values where texts need not be kept."""
        if not self.kept:
            return values
        if self.kind in ("integer", "decimal"):
            if self.places >= 0 and self.kind == "decimal":
                made = [None if value is None else f"{value:.{self.places}f}" for value in values.to_list()]
                return pl.Series(values.name, made, dtype=pl.String)
            texts = values.cast(pl.String)
            return texts.str.strip_suffix(".0") if self.kind == "decimal" else texts
        return values.dt.to_string(self.format)

    def state(self) -> dict[str, Any]:
        """Plain JSON."""
        return asdict(self)

    @classmethod
    def load(cls, state: Any) -> Self:
        """The inverse of `state`. Raises ArtifactError."""
        formats = ("", *(form for kind in KINDS[2:] for form in _formats(kind)))
        return cls(
            text_of(state, "kind", KINDS),
            text_of(state, "format", formats),
            whole_of(state, "places", low=-1, high=30),
            flag_of(state, "kept"),
            flag_of(state, "loose"),
        )


def _formats(kind: str) -> list[str]:
    if kind == "date":
        return list(DATES)
    if kind == "time":
        return list(CLOCKS)
    zone = "%#z" if kind == "zoned" else ""
    return [f"{date}{between}{clock}{zone}" for date in DATES for between in (" ", "T") for clock in CLOCKS]


def recognise(texts: pl.Series, typed: bool) -> tuple[Notation | None, list[str]]:
    """The notation of a text column, None where it is just text; and the repairs that reading makes.

    `typed`: numbers are given back as numbers (files), not as texts (a text column in memory).
    """
    present = texts.drop_nulls().str.strip_chars()
    words = present.filter(~present.str.to_lowercase().is_in(NOTHING))
    distinct = words.unique()
    if not len(distinct):
        return None, []
    for kind in KINDS:
        notation = _try(kind, distinct, typed)
        if notation is None:
            continue
        failed = int(notation.read(words).is_null().sum())
        repairs = []
        if len(words) < len(present):
            repairs.append(f"{len(present) - len(words)} words for nothing are read as missing")
        if failed:
            noun = "numbers" if kind in ("integer", "decimal") else "dates or times"
            repairs.append(f"{failed} texts that are no {noun} are read as missing")
        if kind == "decimal":
            shown = words.filter(words.str.contains(r"^[+-]?\d+\.\d+$"))
            decimals = (shown.str.len_chars() - shown.str.find(".", literal=True).cast(pl.Int64) - 1).unique()
            fixed = len(shown) == len(words) and len(decimals) == 1
            notation = Notation("decimal", places=int(decimals[0]) if fixed else -1, kept=not typed)
        return replace(notation, loose=failed > 0), repairs
    return None, []


def _try(kind: str, distinct: pl.Series, typed: bool) -> Notation | None:
    """A notation of this kind that reads (nearly) all of the distinct texts."""
    most = 1 - TOLERANCE
    if kind in ("integer", "decimal"):
        real, whole = distinct.str.contains(REAL), distinct.str.contains(WHOLE)
        coded = distinct.str.contains(r"^[+-]?0\d").any()
        fits = bool(real.mean() >= most) and not coded and (kind == "decimal" or bool((real == whole).all()))  # type: ignore[operator]
        return Notation(kind, kept=not typed) if fits else None
    if not distinct.head(50).str.contains(r"\d[-./:]\d").all():
        return None
    for form in _formats(kind):
        notation = Notation(kind, form)
        probe = distinct.head(20)
        if notation.read(probe).null_count() == 0:
            read = notation.read(distinct)
            # Written back it must be the same text, or the form is not this one ("1.2.2024", local zones).
            same = (notation.write(read) == distinct).mean() if kind != "zoned" else 1.0
            if read.null_count() <= TOLERANCE * len(distinct) and same >= most:  # type: ignore[operator]
                return notation
    return None
