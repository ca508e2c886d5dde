"""Columns of a few levels: categories, booleans, and the constant column.

Privacy: a level with fewer than `least` rows is never named, neither in what is made nor in the saved state. Rows of
such rare levels share one code, drawn as a named level by frequency. Where even together they are fewer than
`least`, they are read as the commonest level.

Levels are kept as texts, whatever the column's type: `canonical` and `native` translate.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from likely.codecs.state import array_of, entry, flag_of, list_of
from likely.codecs.table.column import Codes, Column, Floats, Wish
from likely.errors import ArtifactError, ConditionError, UnknownName

TRUE, FALSE = ("true", "yes", "1", "t", "y"), ("false", "no", "0", "f", "n")


def canonical(values: pl.Series) -> pl.Series:
    """Values as texts that `native` turns back."""
    if values.dtype.is_temporal():
        values = values.to_physical()
    return values.cast(pl.String)


def native(values: pl.Series, dtype: pl.DataType) -> pl.Series:
    """The inverse of `canonical`."""
    if isinstance(dtype, pl.Boolean):
        return values == "true"
    if dtype.is_temporal():
        return values.cast(pl.Int32 if isinstance(dtype, pl.Date) else pl.Int64).cast(dtype)
    return values.cast(dtype)


class Category(Column):
    """Levels by falling frequency, then the code of the rare ones where there is one."""

    kind = "category"
    levels: list[str]
    share: Floats
    rare: bool

    def _fit(self, values: pl.Series, bins: int | None) -> None:
        counts = canonical(values).rename("level").value_counts().sort(["count", "level"], descending=[True, False])
        named = counts.filter(pl.col("count") >= self.least)
        others = len(values) - int(named["count"].sum())
        self.levels = named["level"].to_list()
        self.rare = others >= self.least or not self.levels
        rows = named["count"].to_numpy().astype(np.float64)
        self.share = np.round(np.append(rows, others)[: len(rows) + self.rare] / max(len(values), 1), 4)
        if others:
            merged = "share one code" if self.rare else "are read as the commonest level"
            self.repairs.append(f"{others} rows of levels with fewer than {self.least} rows {merged}")
        self._index()

    def _index(self) -> None:
        self._names = pl.Series(self.levels, dtype=pl.String)
        self._code = {level: code for code, level in enumerate(self.levels)}

    def _shape(self) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        return (len(self.levels) + self.rare,), (False,)

    def usual(self) -> tuple[int, ...]:
        return (0,)

    def _encode(self, values: pl.Series) -> Codes:
        other = len(self.levels) if self.rare else 0
        codes = pl.Series(np.arange(len(self.levels)), dtype=pl.Int64)
        found = canonical(values).replace_strict(self._names, codes, default=other, return_dtype=pl.Int64)
        return found.to_numpy()[:, None]

    def _decode(self, codes: Codes, rng: np.random.Generator, wish: Wish | None) -> pl.Series:
        if not self.levels:
            return pl.Series([None] * len(codes), dtype=self.dtype)
        own = codes[:, 0].copy()
        allowed = np.arange(len(self.levels))
        if wish is not None and wish.values:
            allowed = np.array([self._code[value] for value in wish.values])
        redraw = ~np.isin(own, allowed)
        weight = self.share[allowed] + 1e-9
        own[redraw] = rng.choice(allowed, int(redraw.sum()), p=weight / weight.sum())
        return native(self._names.gather(own), self.dtype)

    def _volume(self, values: pl.Series) -> Floats:
        named = canonical(values).is_in(self._names.implode()).to_numpy()
        # A level that was never named is as surprising as one row among n + 1.
        strange = np.log(self.n + 1) if not self.rare else np.log(1 + self.n * float(self.share[-1]))
        return np.where(named, 0.0, strange)[:, None]

    def width(self) -> int:
        return self._shape()[0][0]

    def _features(self, values: pl.Series) -> NDArray[np.float32]:
        known = canonical(values).is_in(self._names.implode()).to_numpy() if not self.rare else True
        hot = np.eye(self.width(), dtype=np.float32)[self._encode(values)[:, 0]] * np.float32(0.5**0.5)
        return np.where(np.reshape(known, (-1, 1)), hot, np.float32(0))

    def parse(self, value: Any) -> Wish:
        if value is None:
            return Wish("missing", missing=True)
        if isinstance(value, list | set | frozenset | tuple):
            if isinstance(value, tuple) and len(value) == 2 and not all(self._find(item) for item in value):
                raise ConditionError(f"Column {self.name!r} is a category and has no order: give a list of levels.")
            parts = [self.parse(item) for item in (sorted(value, key=str) if not isinstance(value, list) else value)]
            return self._join(str(value), parts)
        level = self._find(value)
        if level is None and isinstance(value, str) and "|" in value:
            return self._join(value, [self.parse(part.strip()) for part in value.split("|")])
        if level is None:
            why = UnknownName("level", value, self.levels)
            raise ConditionError(f"Column {self.name!r}: {why}")
        return Wish(str(value), values=(level,))

    def _join(self, said: str, parts: list[Wish]) -> Wish:
        if not parts:
            raise ConditionError(f"Column {self.name!r}: an empty set of levels was asked for.")
        values = dict.fromkeys(value for part in parts for value in part.values)
        return Wish(said, any(part.missing for part in parts), tuple(values))

    def _find(self, value: Any) -> str | None:
        """The level that a raw value or a typed text stands for."""
        for text in self._texts(value):
            if text in self._code:
                return text
        return None

    def _texts(self, value: Any) -> list[str]:
        text = str(value)
        if isinstance(self.dtype, pl.Boolean):
            return ["true"] if text.lower() in TRUE else ["false"] if text.lower() in FALSE else []
        if self.dtype.is_temporal() or self.dtype.is_float():
            try:
                return canonical(pl.Series([value]).cast(self.dtype)).to_list()
            except (pl.exceptions.PolarsError, TypeError):
                return []
        return [text, text.strip()]

    def evidence(self, wish: Wish) -> list[Floats | None]:
        weights = np.zeros(self._shape()[0][0])
        weights[[self._code[value] for value in wish.values]] = 1.0
        if self.rare and wish.values and self.levels:
            # The rare code draws a named level by frequency, so it admits the wished ones with that share.
            weights[-1] = float(self.share[:-1] @ weights[:-1] / max(self.share[:-1].sum(), 1e-9))
            if len(wish.values) == 1:
                weights[-1] = 0.0  # one level: its own code is the better evidence
        return [weights]

    def strange(self, values: pl.Series) -> list[str | None]:
        if self.rare:
            return [None] * len(values)
        texts = canonical(values).to_list()
        return [None if text in self._code else f"unknown level {text!r}{self._near(text)}" for text in texts]

    def _near(self, text: str) -> str:
        near = get_close_matches(text, self.levels[:1000], n=1)
        return f", did you mean {near[0]!r}?" if near else ""

    def _words(self) -> str:
        word = "boolean" if isinstance(self.dtype, pl.Boolean) else "category"
        rest = " and rare ones" if self.rare and self.levels else ""
        return f"{word}, {len(self.levels)} level{'s' * (len(self.levels) != 1)}{rest}"

    def _state(self) -> dict[str, Any]:
        return {"levels": self.levels, "share": self.share.tolist(), "rare": self.rare}

    def _load(self, state: Any) -> None:
        self.levels = list_of(state, "levels", str)
        self.share = array_of(state, "share", np.float64)
        self.rare = flag_of(state, "rare")
        fits = len(self.share) == len(self.levels) + self.rare > 0 and len(set(self.levels)) == len(self.levels)
        if not fits or (self.share < 0).any():
            raise ArtifactError(f"The model file is damaged: the levels of column {self.name!r} do not fit.")
        self._index()
        try:
            native(self._names, self.dtype)
        except pl.exceptions.PolarsError as error:
            raise ArtifactError(f"The model file is damaged: levels of {self.name!r} are no {self.dtype}.") from error


class Constant(Column):
    """One value in every row, or none at all: no cell, nothing to learn."""

    kind = "constant"
    value: str | None = None

    def fit(self, values: pl.Series, bins: int | None = None) -> Constant:
        present = values.drop_nulls()
        self.n, self.missing = len(values), False
        self.absent = round(1 - len(present) / max(len(values), 1), 4)
        self._fit(present, bins)
        return self

    def _fit(self, values: pl.Series, bins: int | None) -> None:
        self.value = canonical(values)[0] if len(values) >= self.least else None

    def _shape(self) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        return (), ()

    def usual(self) -> tuple[int, ...]:
        return ()

    def _encode(self, values: pl.Series) -> Codes:
        return np.zeros((len(values), 0), np.int64)

    def _decode(self, codes: Codes, rng: np.random.Generator, wish: Wish | None) -> pl.Series:
        if self.value is None:
            return pl.Series([None] * len(codes), dtype=self.dtype)
        return native(pl.Series([self.value], dtype=pl.String), self.dtype).new_from_index(0, len(codes))

    def _volume(self, values: pl.Series) -> Floats:
        return np.zeros((len(values), 0))

    def width(self) -> int:
        return 0

    def _features(self, values: pl.Series) -> NDArray[np.float32]:
        return np.zeros((len(values), 0), np.float32)

    def parse(self, value: Any) -> Wish:
        if value is None and self.value is None:
            return Wish("missing", missing=True)
        if value is None or isinstance(value, list | set | tuple) or not self._same(value):
            always = "missing" if self.value is None else self._shown()
            raise ConditionError(f"Column {self.name!r} is always {always}: it cannot be {str(value)[:80]!r}.")
        return Wish(str(value))

    def _same(self, value: Any) -> bool:
        if self.value is None:
            return False
        try:
            return bool((canonical(pl.Series([value]).cast(self.dtype)) == self.value)[0])
        except (pl.exceptions.PolarsError, TypeError):
            return str(value).strip() == self.value

    def weights(self, wish: Wish) -> list[Floats | None]:
        return []

    def null(self, codes: Codes, wish: Wish | None = None) -> NDArray[np.bool_]:
        return np.full(len(codes), self.value is None)

    def strange(self, values: pl.Series) -> list[str | None]:
        same = canonical(values) == self.value if self.value is not None else pl.repeat(False, len(values), eager=True)
        return [None if ok else f"always {self._shown()} in the data" for ok in same.to_list()]

    def _shown(self) -> str:
        if self.value is None:
            return "missing"
        return repr(native(pl.Series([self.value], dtype=pl.String), self.dtype)[0])

    def _words(self) -> str:
        return f"constant, always {self._shown()}"

    def _state(self) -> dict[str, Any]:
        return {"value": self.value}

    def _load(self, state: Any) -> None:
        value = entry(state, "value")
        if value is not None and not isinstance(value, str):
            raise ArtifactError(f"The model file is damaged: the constant of column {self.name!r} is no text.")
        self.value = value
        try:
            self._decode(np.zeros((1, 0), np.int64), np.random.default_rng(0), None)
        except pl.exceptions.PolarsError as error:
            raise ArtifactError(f"The model file is damaged: {self.name!r} cannot be {str(value)[:40]!r}.") from error
