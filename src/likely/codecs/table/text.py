"""Free text by template: what many rows share is kept, what few share is redrawn by its shape.

A text is cut into words, numbers, blanks and marks. Its *form* is that sequence with every word that fewer than
`least` rows contain turned into a slot: "Room {title} {digits}, 2nd floor". Forms of at least `least` rows are the
levels of one cell; a slot is filled from the words that at least `least` rows have there, else by random letters
of the same shape. Where forms that keep words are too many, forms without any words are tried; where those are too
many as well, a text is a bag: as many words as usual, drawn from the frequent ones and from shapes.

No word of fewer than `least` rows, and so no rare text, comes out but by chance. Texts made this way have the look
and the frequent words of the real ones; they say nothing.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from likely.codecs.state import array_of, entry, flag_of, list_of, text_of, whole_of
from likely.codecs.table import words
from likely.codecs.table.column import Codes, Column, Floats, Wish
from likely.codecs.table.words import ALPHABETS, LONGEST, TOKEN, Shape, kind_of
from likely.errors import ArtifactError, ConditionError

MOST_TOKENS = 60
MOST_FORMS = 200


class Slot(NamedTuple):
    """A place that words fill: `pool` with shares (their sum may be below 1), else a random word of `shape`."""

    shape: Shape
    pool: tuple[str, ...] = ()
    share: tuple[float, ...] = ()

    def fill(self, n: int, rng: np.random.Generator) -> list[str]:
        """n words."""
        made = words.draw(self.shape, n, rng)
        if not self.pool:
            return made
        at = np.searchsorted(np.cumsum(self.share), rng.random(n), "right").tolist()
        return [self.pool[place] if place < len(self.pool) else word for place, word in zip(at, made, strict=True)]

    def state(self) -> dict[str, Any]:
        """Plain JSON."""
        shape = self.shape
        return {
            "kind": shape.kind, "low": shape.low, "high": shape.high, "zeros": shape.zeros,
            "pool": list(self.pool), "share": list(self.share),
        }  # fmt: skip

    @classmethod
    def load(cls, state: Any) -> Slot:
        """The inverse of `state`. Raises ArtifactError."""
        low = whole_of(state, "low", low=1, high=LONGEST)
        shape = Shape(
            text_of(state, "kind", tuple(ALPHABETS)),
            low,
            whole_of(state, "high", low, LONGEST),
            flag_of(state, "zeros"),
        )
        pool, share = list_of(state, "pool", str), array_of(state, "share", np.float64)
        if len(pool) != len(share) or (share < 0).any():
            raise ArtifactError("The model file is damaged: a pool of words and its shares differ.")
        return cls(shape, tuple(pool), tuple(share.tolist()))


def slot_of(tokens: list[str], kind: str, least: int) -> Slot:
    """The slot that tokens of one class fill."""
    counts = Counter(tokens)
    pool = [(word, count) for word, count in counts.most_common(1000) if count >= least and len(word) <= 200]
    share = tuple(round(count / len(tokens), 4) for _, count in pool)
    return Slot(words.shape_of(tokens, kind), tuple(word for word, _ in pool), share)


class Text(Column):
    """Strings by template. `forms`: pieces (literal or slot); `known`: the words that forms keep, "" = none kept."""

    kind = "text"
    forms: list[list[str | Slot]]
    share: Floats
    keep: bool  # forms keep frequent words
    known: set[str]
    rare: bool
    bag: bool

    # ------------------------------------------------------------------------------------------------ learn

    def _fit(self, values: pl.Series, bins: int | None) -> None:
        rows = [TOKEN.findall(text)[:MOST_TOKENS] for text in values.to_list()]
        frequent = Counter(token for row in rows for token in set(row))
        self.known = {word for word, count in frequent.items() if count >= self.least and word.isalnum()}
        self.bag = False
        for self.keep, most in ((True, 0.8), (False, 0.5)):
            keys = [self._key(row) for row in rows]
            counts = [(key, c) for key, c in Counter(keys).most_common(MOST_FORMS) if c >= self.least]
            covered = sum(count for _, count in counts)
            if covered >= most * len(rows):
                break
        else:
            self._fit_bag(rows)
            return
        named = {key: code for code, (key, _) in enumerate(counts)}
        members: list[list[list[str]]] = [[] for _ in named]
        for key, row in zip(keys, rows, strict=True):
            if key in named:
                members[named[key]].append(row)
        self.forms = [self._form(key, rows) for key, rows in zip(named, members, strict=True)]
        others = len(rows) - covered
        self.rare = others >= self.least
        self.share = np.round(np.array([c for _, c in counts] + [others] * self.rare) / len(rows), 4)
        if not self.keep:
            self.known = set()
        self._index()

    def _fit_bag(self, rows: list[list[str]]) -> None:
        self.bag, self.keep, self.rare = True, False, False
        tokens = [token for row in rows for token in row if not token.isspace()]
        kinds = Counter(kind_of(token) for token in tokens if token.isalnum())
        kind = kinds.most_common(1)[0][0] if kinds else "lower"
        # A word counts once a row here: a word that one row repeats is still one person's word.
        frequent = {word for word, c in Counter(t for row in rows for t in set(row)).items() if c >= self.least}
        slot = slot_of([t for t in tokens if t in frequent] or ["x"], kind, self.least)
        odd = 1 - sum(token in frequent for token in tokens) / max(len(tokens), 1)
        alike = [token for token in tokens if token.isalnum() and kind_of(token) == kind] or ["word"]
        share = tuple(round(part * (1 - odd), 4) for part in slot.share)
        counts = np.array([sum(not token.isspace() for token in row) for row in rows])
        self.lengths = np.quantile(counts, [0.1, 0.3, 0.5, 0.7, 0.9]).round().astype(np.int64)
        self.forms = [[Slot(words.shape_of(alike, kind), slot.pool, share)]]
        self.share, self.known = np.ones(1), set()
        self._index()

    def _key(self, row: list[str]) -> tuple[str, ...]:
        """The form of a text as a key: literals as they are, slots as "\\0class"."""
        return tuple(
            "\0" + kind_of(token) if token.isalnum() and not (self.keep and token in self.known) else token
            for token in row
        )

    def _form(self, key: tuple[str, ...], rows: list[list[str]]) -> list[str | Slot]:
        return [
            slot_of([row[place] for row in rows], piece[1:], self.least) if piece.startswith("\0") else piece
            for place, piece in enumerate(key)
        ]

    def _index(self) -> None:
        self._code: dict[tuple[str, ...], int] = {}
        for code, form in enumerate(self.forms):
            key = tuple("\0" + piece.shape.kind if isinstance(piece, Slot) else piece for piece in form)
            self._code.setdefault(key, code)

    # ------------------------------------------------------------------------------------------------ cells

    def _shape(self) -> tuple[tuple[int, ...], tuple[bool, ...]]:
        size = len(self.forms) + self.rare
        # A single form says nothing, unless code 0 has to say that the text is missing.
        return ((size,), (False,)) if size > 1 or self.missing else ((), ())

    def usual(self) -> tuple[int, ...]:
        return (0,) * len(self._shape()[0])

    def _form_codes(self, values: pl.Series) -> NDArray[np.int64]:
        """(B,) codes, -1 for forms that were never named."""
        if self.bag:
            return np.zeros(len(values), np.int64)
        rows = (TOKEN.findall(text)[:MOST_TOKENS] for text in values.to_list())
        return np.array([self._code.get(self._key(row), -1) for row in rows], np.int64)

    def _encode(self, values: pl.Series) -> Codes:
        if not self._shape()[0]:
            return np.zeros((len(values), 0), np.int64)
        codes = self._form_codes(values)
        return np.where(codes < 0, len(self.forms) if self.rare else 0, codes)[:, None]

    def _decode(self, codes: Codes, rng: np.random.Generator, wish: Wish | None) -> pl.Series:
        n = len(codes)
        if wish is not None and wish.values:
            picked = rng.integers(0, len(wish.values), n).tolist()
            return pl.Series([wish.values[at] for at in picked], dtype=pl.String)
        own = codes[:, 0].copy() if codes.shape[1] else np.zeros(n, np.int64)
        weight = self.share[: len(self.forms)] + 1e-9
        other = own >= len(self.forms)
        own[other] = rng.choice(len(self.forms), int(other.sum()), p=weight / weight.sum())
        out: NDArray[Any] = np.empty(n, object)
        for code in np.unique(own):
            rows = np.flatnonzero(own == code)
            out[rows] = self._bag(len(rows), rng) if self.bag else self._write(self.forms[code], len(rows), rng)
        return pl.Series(out.tolist(), dtype=pl.String)

    def _write(self, form: list[str | Slot], n: int, rng: np.random.Generator) -> list[str]:
        parts = [piece.fill(n, rng) if isinstance(piece, Slot) else [piece] * n for piece in form]
        return ["".join(row) for row in zip(*parts, strict=True)] if parts else [""] * n

    def _bag(self, n: int, rng: np.random.Generator) -> list[str]:
        slot = self.forms[0][0]
        assert isinstance(slot, Slot)
        counts = np.round(np.interp(rng.random(n), [0.1, 0.3, 0.5, 0.7, 0.9], self.lengths)).astype(np.int64)
        made, stops = slot.fill(int(counts.sum()), rng), counts.cumsum().tolist()
        return [" ".join(made[stop - count : stop]) for stop, count in zip(stops, counts.tolist(), strict=True)]

    def _volume(self, values: pl.Series) -> Floats:
        cells = len(self._shape()[0])
        strange = np.log(self.n + 1) * (self._form_codes(values) < 0)
        return strange[:, None] if cells else np.zeros((len(values), 0))

    def width(self) -> int:
        return len(self.forms) + self.rare if len(self.forms) + self.rare > 1 else 0

    def _features(self, values: pl.Series) -> NDArray[np.float32]:
        return np.eye(self.width(), dtype=np.float32)[self._encode(values)[:, 0]] * np.float32(0.5**0.5)

    # ----------------------------------------------------------------------------------------------- people

    def parse(self, value: Any) -> Wish:
        if value is None:
            return Wish("missing", missing=True)
        values = value if isinstance(value, list | set | frozenset) else [value]
        if isinstance(value, tuple) or not values or not all(isinstance(item, str) for item in values):
            raise ConditionError(
                f"Column {self.name!r} holds text: ask for a text or a list of texts, not {str(value)[:80]!r}."
            )
        return Wish(str(value), values=tuple(sorted(values)))

    def evidence(self, wish: Wish) -> list[Floats | None]:
        if not self._shape()[0] or not wish.values:
            return [None] * len(self._shape()[0])
        weights = np.zeros(self._shape()[0][0])
        weights[self._encode(pl.Series(wish.values, dtype=pl.String))[:, 0]] = 1.0
        return [weights]

    def strange(self, values: pl.Series) -> list[str | None]:
        if self.rare:
            return [None] * len(values)
        return ["a form of text that was never seen" if code < 0 else None for code in self._form_codes(values)]

    def _words(self) -> str:
        if self.bag:
            return f"text, {self.lengths[0]}..{self.lengths[-1]} words"
        return f"text by template, {len(self.forms)} form{'s' * (len(self.forms) != 1)}"

    # ------------------------------------------------------------------------------------------------- keep

    def _state(self) -> dict[str, Any]:
        return {
            "forms": [[p.state() if isinstance(p, Slot) else p for p in form] for form in self.forms],
            "share": self.share.tolist(),
            "known": sorted(self.known),
            "keep": self.keep,
            "rare": self.rare,
            "lengths": self.lengths.tolist() if self.bag else None,
        }

    def _load(self, state: Any) -> None:
        forms = list_of(state, "forms", list, most=MOST_FORMS)
        if not forms or any(len(form) > MOST_TOKENS for form in forms):
            raise ArtifactError(f"The model file is damaged: the forms of column {self.name!r} are too long.")
        self.forms = [[piece if isinstance(piece, str) else Slot.load(piece) for piece in form] for form in forms]
        self.share = array_of(state, "share", np.float64)
        self.known = set(list_of(state, "known", str))
        self.keep, self.rare = flag_of(state, "keep"), flag_of(state, "rare")
        self.bag = entry(state, "lengths") is not None
        if len(self.share) != len(self.forms) + self.rare or (self.share < 0).any():
            raise ArtifactError(f"The model file is damaged: the forms of column {self.name!r} do not fit.")
        if self.bag:
            self.lengths = array_of(state, "lengths", np.int64)
            slot = self.forms[0][0] if self.forms[0] else None
            if len(self.lengths) != 5 or not isinstance(slot, Slot) or not 0 <= max(self.lengths) <= MOST_TOKENS:
                raise ArtifactError(f"The model file is damaged: the words of column {self.name!r} do not fit.")
        self._index()
