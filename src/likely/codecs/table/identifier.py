"""Ids: values that never repeat. They carry no cell; new ones are made by the same pattern, all different.

An id says nothing of the row, so nothing of it is learned but its look: "P-" and five digits. New ids count through
the pattern in a random order, (a i + b) mod size, which never meets the same id twice, also when a table is made in
parts (`start` rows before). No training id is kept; a new one may equal an old one by chance where the pattern is
narrow. A sequence of whole numbers 1..n goes on at n + 1.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from likely.codecs.state import flag_of, list_of, text_of, whole_of
from likely.codecs.table import words
from likely.codecs.table.column import Codes, Column, Floats, Wish
from likely.codecs.table.words import ALPHABETS
from likely.errors import ArtifactError, ConditionError

BIG = 2**62


class Piece(NamedTuple):
    """A literal, or `width` random characters of `kind` (a key of ALPHABETS); width 0: a number without padding
    below 10^`most`."""

    literal: str = ""
    kind: str = ""
    width: int = 0
    most: int = 0

    @property
    def size(self) -> int:
        """How many different texts it can be."""
        if not self.kind:
            return 1
        return int(10**self.most if not self.width else len(ALPHABETS[self.kind]) ** self.width)


class Unique(Column):
    """What both sorts of ids share: no cells, a wish is kept to the letter."""

    _key: NDArray[np.int64] | None = None
    _next = 0

    def _shape(self) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        return (1,) * self.missing, (False,) * self.missing  # a cell only to say that an id is missing

    def usual(self) -> tuple[int, ...]:
        return (0,) * self.missing

    def _encode(self, values: pl.Series) -> Codes:
        return np.zeros((len(values), int(self.missing)), np.int64)

    def begin(self, rng: np.random.Generator, start: int) -> None:
        """A new table starts (start = 0), or goes on after `start` rows."""
        if start == 0 or self._key is None:
            self._key = rng.integers(0, 2**31, 2)
        self._next = start

    def _decode(self, codes: Codes, rng: np.random.Generator, wish: Wish | None) -> pl.Series:
        if wish is not None and wish.values:
            picked = rng.integers(0, len(wish.values), len(codes)).tolist()
            return pl.Series([wish.values[at] for at in picked]).cast(self.dtype)
        if self._key is None:
            self.begin(rng, 0)
        assert self._key is not None
        made = self._new(self._next, len(codes), self._key, rng)
        self._next += len(codes)
        return made

    def _new(self, start: int, n: int, key: NDArray[np.int64], rng: np.random.Generator) -> pl.Series:
        raise TypeError(f"{type(self).__name__} makes no ids")

    def _volume(self, values: pl.Series) -> Floats:
        return np.zeros((len(values), int(self.missing)))

    def width(self) -> int:
        return 0

    def _features(self, values: pl.Series) -> NDArray[np.float32]:
        return np.zeros((len(values), 0), np.float32)

    def parse(self, value: Any) -> Wish:
        if value is None:
            return Wish("missing", missing=True)
        values = list(value) if isinstance(value, list | set | frozenset) else [value]
        try:
            typed = pl.Series(values).cast(self.dtype, strict=True).to_list()
        except (pl.exceptions.PolarsError, TypeError, OverflowError) as error:
            raise ConditionError(
                f"Column {self.name!r} is an id ({self._words()}): {str(value)[:80]!r} is none."
            ) from error
        if isinstance(value, tuple) or not typed:
            raise ConditionError(f"Column {self.name!r} is an id: ask for one value or a list of values.")
        return Wish(str(value), values=tuple(typed))


class Sequence(Unique):
    """Whole numbers that never repeat. `low`..`high` is what new ones are taken from."""

    kind = "sequence"
    low: int = 0
    high: int = 0
    counted: bool = False

    def _fit(self, values: pl.Series, bins: int | None) -> None:
        ids = values.to_numpy()
        low, high = int(ids.min()), int(ids.max())
        self.counted = high - low + 1 == len(ids)
        top = {1: 127, 2: 32767, 4: 2**31 - 1}.get(ids.dtype.itemsize, 2**61)
        if self.counted:
            self.low, self.high = high + 1, top
        else:
            # Powers of ten, so that no single id shows.
            self.low = 0 if low >= 0 and len(str(low)) < len(str(high)) else 10 ** (len(str(low)) - 1) * (low > 0)
            self.low = min(self.low, low) if low >= 0 else -(10 ** len(str(-low)))
            self.high = min(10 ** len(str(abs(high))) - 1, top)

    def _new(self, start: int, n: int, key: NDArray[np.int64], rng: np.random.Generator) -> pl.Series:
        size = self.high - self.low + 1
        if self.counted:
            made = self.low + (start + np.arange(n)) % max(size, 1)
        else:
            made = self.low + words.affine(start, n, size, key)
        return pl.Series(made).cast(self.dtype)

    def _words(self) -> str:
        return f"id, whole numbers {'counting on from' if self.counted else 'from'} {self.low}"

    def _state(self) -> dict[str, Any]:
        return {"low": self.low, "high": self.high, "counted": self.counted}

    def _load(self, state: Any) -> None:
        self.low, self.high = whole_of(state, "low", low=-BIG // 2), whole_of(state, "high", low=-BIG // 2)
        self.counted = flag_of(state, "counted")
        if self.high < self.low:
            raise ArtifactError(f"The model file is damaged: the ids of column {self.name!r} have no range.")
        try:
            pl.Series([self.low, self.high]).cast(self.dtype)
        except pl.exceptions.PolarsError as error:
            raise ArtifactError(f"The model file is damaged: {self.name!r} does not fit {self.dtype}.") from error


class Identifier(Unique):
    """Texts that never repeat, by one pattern."""

    kind = "id"
    pieces: list[Piece]

    def _fit(self, values: pl.Series, bins: int | None) -> None:
        self.pieces = pattern_of(values.to_list(), self.least)

    def _new(self, start: int, n: int, key: NDArray[np.int64], rng: np.random.Generator) -> pl.Series:
        size = 1
        for piece in self.pieces:
            size *= piece.size
        columns: list[list[str]] = []
        rest: NDArray[np.int64] | None = None
        if size <= BIG:
            rest = words.affine(start, n, size, key)
        for piece in reversed(self.pieces):
            columns.append(_texts(piece, n, rest, rng))
            if rest is not None:
                rest = rest // piece.size
        texts = ["".join(parts) for parts in zip(*reversed(columns), strict=True)]
        if size <= BIG and start + n > size:
            # The pattern is used up: say which round it is, so that ids stay different.
            rounds = ((start + np.arange(n)) // size).tolist()
            texts = [f"{text}{turn}" if turn else text for text, turn in zip(texts, rounds, strict=True)]
        return pl.Series(texts, dtype=pl.String)

    def _words(self) -> str:
        return f"id like {''.join(self._example(piece) for piece in self.pieces)}"

    def _example(self, piece: Piece) -> str:
        if not piece.kind:
            return piece.literal
        letter = {"digits": "0", "lower": "x", "upper": "X"}.get(piece.kind, "x")
        return letter * (piece.width or piece.most)

    def strange(self, values: pl.Series) -> list[str | None]:
        form = re.compile("".join(_pattern(piece) for piece in self.pieces))
        return [None if form.fullmatch(value) else f"not an {self._words()}" for value in values.to_list()]

    def _state(self) -> dict[str, Any]:
        return {"pieces": [piece._asdict() for piece in self.pieces]}

    def _load(self, state: Any) -> None:
        pieces = list_of(state, "pieces", dict, most=500)
        if not pieces:
            raise ArtifactError(f"The model file is damaged: the ids of column {self.name!r} have no pattern.")
        self.pieces = [
            Piece(
                text_of(part, "literal"),
                text_of(part, "kind", ("", *ALPHABETS)),
                whole_of(part, "width", high=500),
                whole_of(part, "most", high=18),
            )
            for part in pieces
        ]


def _pattern(piece: Piece) -> str:
    if not piece.kind:
        return re.escape(piece.literal)
    if piece.kind == "digits":
        return rf"[0-9]{{{piece.width or 1},{piece.width or piece.most}}}"
    # Words of letters may be as long as they like: `width` is only their usual length.
    return f"[{re.escape(ALPHABETS[piece.kind])}]+" if piece.width > 1 else "."


def _texts(piece: Piece, n: int, rest: NDArray[np.int64] | None, rng: np.random.Generator) -> list[str]:
    """n texts of a piece: by the remainders of a mixed-radix count, or at random where the count is beyond 2^62."""
    if not piece.kind:
        return [piece.literal] * n
    alphabet = ALPHABETS[piece.kind]
    if rest is None and piece.width:
        return words.draw(
            words.Shape(piece.kind if piece.kind != "title" else "lower", piece.width, piece.width), n, rng
        )
    number = rng.integers(0, 10**piece.most, n) if rest is None else rest % piece.size
    if piece.kind == "digits":
        return [f"{value:0{piece.width}d}" if piece.width else str(value) for value in number.tolist()]
    letters = np.frombuffer(alphabet.encode(), np.uint8)
    powers = len(alphabet) ** np.arange(piece.width, dtype=np.int64)
    text = letters[number[:, None] // powers % len(alphabet)].tobytes().decode()
    return [text[at : at + piece.width] for at in range(0, n * piece.width, piece.width)]


def pattern_of(texts: list[str], least: int) -> list[Piece]:
    """The pattern of ids: runs of one class of characters where all have the same runs, else characters by place."""
    rows = [words.TOKEN.findall(text) for text in texts]
    signs = {tuple(words.kind_of(t) if t.isalnum() and t.isascii() else t for t in row) for row in rows}
    lengths = {len(text) for text in texts}
    if len(signs) == 1:
        return [_run([row[place] for row in rows]) for place in range(len(rows[0]))]
    length = max(lengths, key=[len(text) for text in texts].count) if len(lengths) > 1 else next(iter(lengths))
    same = [text for text in texts if len(text) == length]
    return [_place([text[place] for text in same]) for place in range(min(length, 200))]


def _run(tokens: list[str]) -> Piece:
    if len(set(tokens)) == 1:
        return Piece(tokens[0])
    kind = words.kind_of(tokens[0])
    lengths = sorted(len(token) for token in tokens)
    if kind == "digits":
        padded = lengths[0] == lengths[-1] and lengths[0] <= 18
        return Piece(kind=kind, width=lengths[0] if padded else 0, most=min(lengths[-1], 18))
    kind = kind if kind in ("lower", "upper") else "upper" if kind == "title" and lengths[-1] == 1 else "letters"
    return Piece(kind=kind, width=min(lengths[len(lengths) // 2], 200))


def _place(letters: list[str]) -> Piece:
    seen = set(letters)
    if len(seen) == 1:
        return Piece(letters[0])
    marks = {letter for letter in seen if not (letter.isascii() and letter.isalnum())}
    if marks:
        return Piece(kind="any", width=1)
    for kind in ("digits", "hex", "HEX", "lower", "upper", "letters"):
        if seen <= set(ALPHABETS[kind]):
            return Piece(kind=kind, width=1)
    return Piece(kind="any", width=1)
