"""Rules that every row keeps: what people may demand of a table, as values or as one line of text.

    start <= end            0 <= age <= 120        total = food + rent + rest      notnull: age
    unique: email           combination: city, country      onehot: red, green, blue       regex: code [A-Z]\\d+

Rules speak of present values only: a row where a named value is missing keeps them (except `notnull`). The training
table must keep its own rules, else ConstraintError says which row does not. How a rule is then kept while sampling
is the matter of `rules` (over codes) and `linear` (inside the codes); what neither can do is done by drawing a row
again, and `promise` says so.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from likely.codecs.state import entry, flag_of, list_of, text_of
from likely.errors import ArtifactError, ConstraintError, OptionError

Flags = NDArray[np.bool_]
BUILT = "by construction"
REDRAWN = "by drawing rows again"


def axis(values: pl.Series) -> NDArray[np.float64]:
    """Numbers as they are, moments in microseconds by the wall clock, booleans as 0 and 1; NaN where missing."""
    if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone:
        values = values.dt.replace_time_zone(None)
    if isinstance(values.dtype, pl.Date | pl.Datetime):
        values = values.cast(pl.Datetime("us")).to_physical()
    elif isinstance(values.dtype, pl.Duration):
        values = values.cast(pl.Duration("us")).to_physical()
    elif isinstance(values.dtype, pl.Time):
        values = values.to_physical() / 1000
    return values.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()


def place(value: Any) -> float:
    """A bound on the axis: a number, a date, or the text of either."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            value = datetime.fromisoformat(value)
    if isinstance(value, date):
        return float(axis(pl.Series([value]))[0])
    return float(value)


@dataclass(frozen=True)
class Range:
    """low <= column <= high; either end may be None. Numbers, dates or their texts."""

    column: str
    low: Any = None
    high: Any = None
    promise = BUILT

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def holds(self, frame: pl.DataFrame) -> Flags:
        values = axis(frame[self.column])
        low = -np.inf if self.low is None else place(self.low)
        high = np.inf if self.high is None else place(self.high)
        return np.asarray(np.isnan(values) | ((values >= low) & (values <= high)))

    def __str__(self) -> str:
        low = "" if self.low is None else f"{self.low} <= "
        return f"{low}{self.column}" + ("" if self.high is None else f" <= {self.high}")


@dataclass(frozen=True)
class Inequality:
    """left <= right between two columns, or left < right where `strict`."""

    left: str
    right: str
    strict: bool = False
    promise = BUILT

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.left, self.right)

    def holds(self, frame: pl.DataFrame) -> Flags:
        a, b = axis(frame[self.left]), axis(frame[self.right])
        return np.isnan(a) | np.isnan(b) | (a < b if self.strict else a <= b)

    def __str__(self) -> str:
        return f"{self.left} {'<' if self.strict else '<='} {self.right}"


@dataclass(frozen=True)
class Sum:
    """total = the sum of parts, to half a unit in the last decimal place of the total."""

    total: str
    parts: tuple[str, ...]
    promise = BUILT

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.total, *self.parts)

    def holds(self, frame: pl.DataFrame) -> Flags:
        total = axis(frame[self.total])
        summed = np.sum([axis(frame[part]) for part in self.parts], 0)
        largest = np.max([np.abs(axis(frame[name])) for name in self.columns], 0)
        whole = (np.nan_to_num(total) % 1 == 0).all()
        coarse = 0.5 if whole and not (np.nan_to_num(summed) % 1 == 0).all() else 0.0
        close = np.abs(total - summed) <= coarse + 1e-9 * np.maximum(largest, 1.0)
        return np.asarray(np.isnan(total) | np.isnan(summed) | close)

    def __str__(self) -> str:
        return f"{self.total} = {' + '.join(self.parts)}"


@dataclass(frozen=True)
class FixedCombinations:
    """Only combinations of values that at least `least` training rows have."""

    columns: tuple[str, ...]
    promise = BUILT

    def holds(self, frame: pl.DataFrame) -> Flags:
        return np.ones(frame.height, bool)  # what was seen is known to `rules.Combinations`

    def __str__(self) -> str:
        return f"combination: {', '.join(self.columns)}"


@dataclass(frozen=True)
class OneHot:
    """Exactly one of the columns is 1 (or true), the others are 0 (or false)."""

    columns: tuple[str, ...]
    promise = BUILT

    def holds(self, frame: pl.DataFrame) -> Flags:
        values = np.stack([axis(frame[name]) for name in self.columns])
        return np.asarray(np.isin(values, (0.0, 1.0)).all(0) & (values.sum(0) == 1))

    def __str__(self) -> str:
        return f"onehot: {', '.join(self.columns)}"


@dataclass(frozen=True)
class Unique:
    """No two rows share these values."""

    columns: tuple[str, ...]
    promise = REDRAWN

    def holds(self, frame: pl.DataFrame) -> Flags:
        """False for every row but the first of equal ones."""
        first = frame.select(self.columns).with_row_index("\0row").unique(list(self.columns), keep="first")["\0row"]
        out = np.zeros(frame.height, bool)
        out[first.to_numpy()] = True
        for name in self.columns:
            out |= frame[name].is_null().to_numpy()
        return out

    def __str__(self) -> str:
        return f"unique: {', '.join(self.columns)}"


@dataclass(frozen=True)
class Regex:
    """The whole text of the column matches the pattern (Python's `re`)."""

    column: str
    pattern: str
    promise = REDRAWN

    def __post_init__(self) -> None:
        try:
            re.compile(self.pattern)
        except re.error as error:
            raise OptionError(f"regex of column {self.column!r}: {self.pattern!r} is no pattern ({error}).") from error

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def holds(self, frame: pl.DataFrame) -> Flags:
        match = re.compile(self.pattern).fullmatch
        texts = frame[self.column].cast(pl.String).to_list()
        return np.array([text is None or match(text) is not None for text in texts], bool)

    def __str__(self) -> str:
        return f"regex: {self.column} {self.pattern}"


@dataclass(frozen=True)
class NotNull:
    """The column is never missing."""

    column: str
    promise = BUILT

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.column,)

    def holds(self, frame: pl.DataFrame) -> Flags:
        return frame[self.column].is_not_null().to_numpy()

    def __str__(self) -> str:
        return f"notnull: {self.column}"


@dataclass(frozen=True)
class Predicate:
    """Any rule: `test` gets a row as a dict (`rows=True`) and says true or false, or a polars.DataFrame and gives a
    series of them. Only its name is saved with a model: code never is."""

    name: str
    test: Callable[[Any], Any] | None = None
    rows: bool = True
    columns: tuple[str, ...] = ()
    promise = REDRAWN

    def holds(self, frame: pl.DataFrame) -> Flags:
        if self.test is None:
            return np.ones(frame.height, bool)
        kept = [bool(self.test(row)) for row in frame.to_dicts()] if self.rows else self.test(frame)
        flags = np.asarray(kept, bool)
        if flags.shape != (frame.height,):
            raise ConstraintError(f"The predicate {self.name!r} gave {flags.shape} answers for {frame.height} rows.")
        return flags

    def __str__(self) -> str:
        return f"predicate: {self.name}"


Constraint = Range | Inequality | Sum | FixedCombinations | OneHot | Unique | Regex | NotNull | Predicate

SORTS: dict[str, Any] = {
    sort.__name__: sort
    for sort in (Range, Inequality, Sum, FixedCombinations, OneHot, Unique, Regex, NotNull, Predicate)
}
WORDS = ["unique", "combination", "onehot", "notnull", "regex", "predicate"]


def parse(text: str, columns: Sequence[str]) -> Constraint:
    """One line of text -> a constraint over these columns. Raises OptionError."""
    head, colon, rest = text.partition(":")
    if colon and head.strip() in WORDS:
        return _named(head.strip(), rest.strip(), text)
    if ("=" in text) and "<" not in text and ">" not in text:
        total, _, parts = text.partition("=")
        return Sum(total.strip(), tuple(part.strip() for part in parts.lstrip("=").split("+")))
    pieces = [piece.strip() for piece in re.split(r"(<=|>=|<|>)", text)]
    if len(pieces) in (3, 5) and all(pieces[::2]):
        return _compared(pieces, columns, text)
    raise OptionError(
        f"{text!r} is no constraint. Write 'a <= b', '0 <= a <= 9', 'total = a + b', 'unique: a', 'notnull: a', "
        "'onehot: a, b', 'combination: a, b' or 'regex: a [A-Z]+'."
    )


def _named(word: str, rest: str, text: str) -> Constraint:
    names = tuple(name.strip() for name in rest.split(","))
    if not all(names):
        raise OptionError(f"{text!r} names no column: write '{word}: column'.")
    if word == "regex":
        column, _, pattern = rest.partition(" ")
        if not pattern:
            raise OptionError(f"{text!r} has no pattern: write 'regex: column [A-Z]+'.")
        return Regex(column, pattern.strip())
    if word == "notnull":
        return NotNull(rest)
    if word == "predicate":
        return Predicate(rest)
    many: dict[str, type[Unique | FixedCombinations | OneHot]] = {
        "unique": Unique,
        "combination": FixedCombinations,
        "onehot": OneHot,
    }
    return many[word](names)


def _compared(pieces: list[str], columns: Sequence[str], text: str) -> Constraint:
    if pieces[1][0] == ">":
        turned = [{"<": ">", "<=": ">=", ">": "<", ">=": "<="}.get(piece, piece) for piece in reversed(pieces)]
        return _compared(turned, columns, text) if turned[1][0] == "<" else Range(pieces[0])
    named = [piece in columns for piece in pieces[::2]]
    if named == [True, True]:
        return Inequality(pieces[0], pieces[2], pieces[1] == "<")
    try:
        bounds = [None if known else place(piece) for piece, known in zip(pieces[::2], named, strict=True)]
    except ValueError:
        bounds = []
    if sum(named) == 1 and "<" not in pieces[1::2] and len(bounds) == len(named):
        at = named.index(True)
        if len(pieces) == 3:
            return Range(pieces[2 * at], pieces[0] if at else None, None if at else pieces[2])
        if at == 1 and pieces[1] == pieces[3] == "<=":
            return Range(pieces[2], pieces[0], pieces[4])
    raise OptionError(
        f"{text!r} is no constraint over the columns {', '.join(list(columns)[:10])}: "
        "compare two columns ('a <= b', 'a < b') or bound one ('0 <= a <= 9', 'a >= 0')."
    )


def to_state(constraint: Constraint) -> dict[str, Any]:
    """Plain JSON; of a predicate only the name."""
    if isinstance(constraint, Predicate):
        return {"sort": "Predicate", "name": constraint.name}
    state: dict[str, Any] = {"sort": type(constraint).__name__}
    for key, value in asdict(constraint).items():
        state[key] = list(value) if isinstance(value, tuple) else value
        if key in ("low", "high") and value is not None and type(value) not in (int, float):
            state[key] = str(value)
    return state


def of_state(state: Any) -> Constraint:
    """The inverse of `to_state`. Raises ArtifactError, OptionError."""
    sort = text_of(state, "sort", tuple(SORTS))
    match sort:
        case "Predicate":
            return Predicate(text_of(state, "name"))
        case "Inequality":
            return Inequality(text_of(state, "left"), text_of(state, "right"), flag_of(state, "strict"))
        case "Sum":
            return Sum(text_of(state, "total"), tuple(list_of(state, "parts", str)))
        case "Regex":
            return Regex(text_of(state, "column"), text_of(state, "pattern"))
        case "NotNull":
            return NotNull(text_of(state, "column"))
        case "Range":
            ends = [entry(state, key) for key in ("low", "high")]
            try:
                _ = [place(end) for end in ends if end is not None]
            except (TypeError, ValueError, OverflowError) as error:
                raise ArtifactError("The model file is damaged: a range has ends that are no values.") from error
            return Range(text_of(state, "column"), *ends)
        case _:
            made: Constraint = SORTS[sort](tuple(list_of(state, "columns", str)))
            return made


def verify(constraint: Constraint, frame: pl.DataFrame) -> None:
    """Raises ConstraintError where the training table does not keep the rule."""
    bad = ~constraint.holds(frame)
    if bad.any():
        row = int(bad.argmax())
        shown = {name: frame[name][row] for name in constraint.columns}
        raise ConstraintError(
            f"The table does not keep {str(constraint)!r}: {int(bad.sum())} of {len(bad)} rows, such as row {row} "
            f"with {', '.join(f'{name} = {str(value)[:40]}' for name, value in shown.items()) or 'its values'}. "
            "Mend those rows, or leave out the constraint."
        )
