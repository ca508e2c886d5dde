"""The collection of the text codec: rows of tokens, each a text or, where that is long, a piece of one.

A row is its tokens without padding. One that begins with `MORE` goes on where the row before it stopped; one that does
not end with `EOS` is not at the end of its text. `number` says which text a row belongs to.

Letters: n rows, N tokens of all rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int32]

PAD, BOS, EOS, MORE = range(4)  # tokens that stand for no text; roles of a conversation come next
FIRST = 4


class Texts:
    """n rows: `ids` (N,) of all rows end to end, `starts` (n + 1,), and `number` (n,) of the text of each."""

    def __init__(self, ids: Ids, starts: NDArray[np.int64], number: NDArray[np.int64]) -> None:
        self.ids, self.starts, self.number = ids, starts, number

    @classmethod
    def of(cls, rows: Sequence[Ids], number: Sequence[int] | NDArray[np.int64] | None = None) -> Texts:
        """From rows, each a text of its own unless `number` says otherwise."""
        lengths = np.array([len(row) for row in rows], np.int64)
        starts = np.concatenate([[0], lengths.cumsum()]).astype(np.int64)
        ids = np.concatenate(rows).astype(np.int32) if len(rows) else np.zeros(0, np.int32)
        return cls(ids, starts, np.arange(len(rows)) if number is None else np.asarray(number, np.int64))

    def __len__(self) -> int:
        return len(self.number)

    def __iter__(self) -> Iterator[Ids]:
        return (self.row(k) for k in range(len(self)))

    def row(self, k: int) -> Ids:
        """The tokens of one row."""
        return self.ids[self.starts[k] : self.starts[k + 1]]

    def __getitem__(self, rows: Any) -> Texts:
        """Some rows, by a slice, by row numbers or by truth values."""
        chosen = np.arange(len(self))[rows]
        return Texts.of([self.row(k) for k in np.atleast_1d(chosen).tolist()], self.number[chosen].reshape(-1))

    def equals(self, other: Texts) -> bool:
        """Whether both hold the same rows."""
        return np.array_equal(self.ids, other.ids) and np.array_equal(self.starts, other.starts)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens of each row."""
        return np.diff(self.starts)

    @staticmethod
    def join(parts: Sequence[Texts]) -> Texts:
        """One collection of several; texts of different parts stay different."""
        number, last = [], 0
        for part in parts:
            number.append(part.number + last)
            last += int(part.number.max()) + 1 if len(part) else 0
        ids = np.concatenate([part.ids for part in parts]) if parts else np.zeros(0, np.int32)
        lengths = np.concatenate([part.lengths for part in parts]) if parts else np.zeros(0, np.int64)
        starts = np.concatenate([[0], lengths.cumsum()]).astype(np.int64)
        return Texts(ids, starts, np.concatenate(number) if parts else np.zeros(0, np.int64))

    def whole(self) -> list[Ids]:
        """The tokens of each text, its rows put together: neighbours of one number. Without `MORE` and `EOS`."""
        edges = self.starts[np.append(self.firsts, len(self))]
        parts = [self.ids[a:b] for a, b in pairwise(edges.tolist())]
        return [part[(part != MORE) & (part != EOS)] for part in parts]

    @property
    def firsts(self) -> NDArray[np.int64]:
        """The first row of each text."""
        return np.flatnonzero(np.append(True, self.number[1:] != self.number[:-1])[: len(self)])


def cut(tokens: Ids, length: int) -> list[Ids]:
    """A text as rows of at most `length` tokens, the last of which ends it."""
    if len(tokens) < length:
        return [np.append(tokens, np.int32(EOS))]
    rows, at = [tokens[:length]], length
    while rows[-1][-1] != EOS:
        part = tokens[at : at + length - 1]
        at += len(part)
        row = np.concatenate([[MORE], part]).astype(np.int32)
        rows.append(row if len(row) == length else np.append(row, np.int32(EOS)))
    return rows
