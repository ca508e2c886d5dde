"""What a column is: values of one name <-> zero or more cells, with missing values as code 0.

A column of kind K learns how its values lie, turns them into codes and draws values for codes. Where training data
had missing values, code 0 of each of its cells means "missing" and its own codes follow from 1, so that ordered
cells keep their order. Subclasses speak only of values that are present and of their own codes from 0; this file
adds the missing code, wishes and plain reports for people.

Shape letters: B rows, C cells of the column, K codes of a cell.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from likely.codecs.state import entry, flag_of, list_of, real_of, text_of, whole_of
from likely.codecs.table.dtype import dtype_of_json, dtype_to_json
from likely.errors import ConditionError

Codes = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Wish:
    """What one column of a sample must be: missing, one of `values`, or inside one of `intervals`.

    `values` are in the column's own form: level names, or ticks as in `intervals` (closed, may be infinite).
    `exact` is the value to give back to the letter where the wish names one value.
    """

    said: str
    missing: bool = False
    values: tuple[Any, ...] = ()
    intervals: tuple[tuple[float, float], ...] = ()
    exact: Any = None

    @property
    def only_missing(self) -> bool:
        """Whether nothing but a missing value will do."""
        return self.missing and not self.values and not self.intervals


class ColumnReport(NamedTuple):
    """What was understood of a column: `words` for people, `missing` in [0, 1], `repairs` that were made."""

    name: str
    kind: str
    words: str
    missing: float
    repairs: tuple[str, ...] = ()

    def __str__(self) -> str:
        missing = f", {self.missing:.1%} missing" if self.missing else ""
        repairs = "".join(f" ({repair})" for repair in self.repairs)
        return f"{self.name}: {self.words}{missing}{repairs}"


class Column(ABC):
    """One column. `fit` learns; afterwards `sizes` and `ordered` describe its cells."""

    kind: ClassVar[str]

    def __init__(self, name: str, dtype: pl.DataType, least: int) -> None:
        self.name = name
        self.dtype = dtype
        self.least = least
        self.missing = False
        self.absent = 0.0  # share of missing values in training
        self.n = 0
        self.repairs: list[str] = []

    # ------------------------------------------------------------------------------ what a kind has to know

    @abstractmethod
    def _fit(self, values: pl.Series, bins: int | None) -> None:
        """Learn from present values (at least one)."""

    @abstractmethod
    def _shape(self) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        """Sizes and order of the cells, without the missing code."""

    @abstractmethod
    def _encode(self, values: pl.Series) -> Codes:
        """(B, C) codes from 0 of present values."""

    @abstractmethod
    def _decode(self, codes: Codes, rng: np.random.Generator, wish: Wish | None) -> pl.Series:
        """Values of `dtype` for own codes (B, C)."""

    @abstractmethod
    def usual(self) -> tuple[int, ...]:
        """The commonest own code of each cell."""

    @abstractmethod
    def _volume(self, values: pl.Series) -> Floats:
        """(B, C) nats that the codes of present values leave open."""

    @abstractmethod
    def _features(self, values: pl.Series) -> NDArray[np.float32]:
        """(B, F) coordinates of present values, each about [0, 1]."""

    @abstractmethod
    def _words(self) -> str:
        """What people should know of the column."""

    @abstractmethod
    def _state(self) -> dict[str, Any]: ...

    @abstractmethod
    def _load(self, state: Any) -> None: ...

    def width(self) -> int:
        """F, the number of coordinates that `features` gives, without the missing flag."""
        return 1

    def parse(self, value: Any) -> Wish:
        """One wish: a value, a set, a range, None. Raises ConditionError with what is possible."""
        raise ConditionError(f"Column {self.name!r} ({self._words()}) cannot be asked for.")

    def evidence(self, wish: Wish) -> list[Floats | None]:
        """For each cell the weights (K,) in [0, 1] of its own codes under the wish, or None where all go."""
        return [None] * len(self._shape()[0])

    def strange(self, values: pl.Series) -> list[str | None]:
        """For each present value why it does not belong to the column, or None."""
        return [None] * len(values)

    # --------------------------------------------------------------------------------------- with missing

    def fit(self, values: pl.Series, bins: int | None = None) -> Self:
        """Learn from (B,) values of `dtype`, nulls included."""
        present = values.drop_nulls()
        self.n = len(values)
        self.missing = len(present) < len(values)
        self.absent = round(1 - len(present) / max(len(values), 1), 4)
        self._fit(present, bins)
        return self

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of codes of each cell."""
        return tuple(size + self.missing for size in self._shape()[0])

    @property
    def ordered(self) -> tuple[bool, ...]:
        """Whether neighbouring codes mean neighbouring values."""
        return self._shape()[1]

    def encode(self, values: pl.Series) -> Codes:
        """(B, C) codes. Missing values where training had none take the commonest code."""
        if not values.null_count():
            return self._encode(values) + self.missing
        null = values.is_null().to_numpy()
        usual = np.array(self.usual(), np.int64)
        out = np.empty((len(values), len(usual)), np.int64)
        out[null] = 0 if self.missing else usual
        if not null.all():
            out[~null] = self._encode(values.filter(pl.Series(~null))) + self.missing
        return out

    def decode(self, codes: Codes, rng: np.random.Generator, wish: Wish | None = None) -> pl.Series:
        """(B,) values of `dtype`; where a wish is given every value meets it."""
        null = self.null(codes, wish)
        own = codes - self.missing
        own = np.where(own < 0, np.array(self.usual(), np.int64), own)
        made = self._decode(own, rng, wish)
        if null.any():
            made = made.set(pl.Series(null), None)
        return made.alias(self.name)

    def null(self, codes: Codes, wish: Wish | None = None) -> NDArray[np.bool_]:
        """Which rows (B,) are missing."""
        null = (codes[:, 0] == 0) if self.missing and codes.shape[1] else np.zeros(len(codes), bool)
        if wish is not None and wish.only_missing:
            return np.ones(len(codes), bool)
        return null if wish is None or wish.missing else np.zeros(len(codes), bool)

    def weights(self, wish: Wish) -> list[Floats | None]:
        """`evidence` with the missing code in front."""
        if wish.only_missing:
            if not self.missing:
                raise ConditionError(f"Column {self.name!r} is never missing in the data: leave out {wish.said!r}.")
            return [np.eye(1, size)[0] for size in self.sizes]
        weights = self.evidence(wish)
        if not self.missing:
            return weights
        full = [np.ones(size) if part is None else part for part, size in zip(weights, self._shape()[0], strict=True)]
        return [np.concatenate([[float(wish.missing)], part]) for part in full]

    def volume(self, values: pl.Series) -> Floats:
        """(B, C) nats that the codes leave open; log(n + 1) for a missing value where training had none."""
        null = values.is_null().to_numpy()
        out = np.zeros((len(values), len(self.sizes)))
        if not null.all():
            out[~null] = self._volume(values.filter(pl.Series(~null)))
        if not self.missing and out.shape[1]:
            out[null, 0] = np.log(self.n + 1)
        return out

    def features(self, values: pl.Series) -> NDArray[np.float32]:
        """(B, F + 1) coordinates; the last tells missing values apart, whose others are 0."""
        null = values.is_null().to_numpy()
        out = np.zeros((len(values), self.width() + 1), np.float32)
        out[:, -1] = null
        if self.width() and not null.all():
            out[~null, :-1] = self._features(values.filter(pl.Series(~null)))
        return out

    def report(self) -> ColumnReport:
        """What was understood."""
        return ColumnReport(self.name, self.kind, self._words(), self.absent, tuple(self.repairs))

    # ------------------------------------------------------------------------------------------------ keep

    def state(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "kind": self.kind,
            "name": self.name,
            "dtype": dtype_to_json(self.dtype),
            "least": self.least,
            "missing": self.missing,
            "absent": self.absent,
            "n": self.n,
            "repairs": self.repairs,
            "own": self._state(),
        }

    @classmethod
    def load(cls, state: Any) -> Self:
        """The inverse of `state`. Raises ArtifactError."""
        column = cls(
            text_of(state, "name"), dtype_of_json(entry(state, "dtype")), whole_of(state, "least", low=1, high=10**9)
        )
        column.missing = flag_of(state, "missing")
        column.absent = real_of(state, "absent")
        column.n = whole_of(state, "n")
        column.repairs = list_of(state, "repairs", str, most=100)
        column._load(entry(state, "own"))
        return column
