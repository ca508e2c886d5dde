"""What may come next in a text: whole characters, and the end only between two of them.

A token may hold part of a character (bytes of UTF-8, the Unicode standard, table 3-7). How much of one is open after
some tokens is a state of a small machine,

    0 none   1, 2, 3 so many bytes more   4 .. 7 the same after E0, ED, F0, F4, whose second byte is restricted

and a token is allowed where all its bytes are, from the state that the last three tokens lead to: an open character
has no more than three bytes, and a byte that begins one tells the state whatever was before. So whatever is drawn under
this grammar is text, but for a last character that the length cut short, which is left out.

Letters: B rows, L steps, V tokens, K states.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likely.codecs.text.texts import BOS, EOS, FIRST, MORE, PAD

STATES, WRONG = 8, 8
BACK = 3  # tokens that an open character may reach back


def table() -> NDArray[np.int64]:
    """(9, 256) the state behind each byte."""
    after = np.full((STATES + 1, 256), WRONG)
    after[0, :0x80] = 0
    after[0, 0xC2:0xE0] = 1
    after[0, 0xE0:0xF0] = 2
    after[0, 0xF0:0xF5] = 3
    for byte, state in ((0xE0, 4), (0xED, 5), (0xF0, 6), (0xF4, 7)):
        after[0, byte] = state
    for state, low, high, behind in (
        (1, 0x80, 0xBF, 0), (2, 0x80, 0xBF, 1), (3, 0x80, 0xBF, 2), (4, 0xA0, 0xBF, 1), (5, 0x80, 0x9F, 1),
        (6, 0x90, 0xBF, 2), (7, 0x80, 0x8F, 2),
    ):  # fmt: skip
        after[state, low : high + 1] = behind
    return after


def fold(pieces: Sequence[bytes], state: NDArray[np.int64], step: NDArray[np.int64]) -> NDArray[np.int64]:
    """The states (K, n) behind n pieces, from states before them."""
    padded = np.zeros((len(pieces), max(map(len, pieces))), np.int64)
    lengths = np.array([len(piece) for piece in pieces])
    for row, piece in zip(padded, pieces, strict=True):
        row[: len(piece)] = np.frombuffer(piece, np.uint8)
    for place in range(padded.shape[1]):
        here = lengths > place
        state[:, here] = step[state[:, here], padded[here, place]]
    return state


class Grammar:
    """Over `FIRST` tokens that stand for no text, `roles` tokens that begin a turn, and the pieces of a vocabulary.

    `empty`: a text may be empty."""

    def __init__(self, pieces: Sequence[bytes], roles: int = 0, empty: bool = False) -> None:
        self.roles, self.empty = roles, empty
        step, V = table(), FIRST + roles + len(pieces)
        after = np.full((STATES + 1, V), WRONG)
        after[0, EOS] = 0
        after[0, FIRST : FIRST + roles] = 0
        # Each piece from each state; and from its last byte that begins a character, whatever was before.
        whole = fold(pieces, np.repeat(np.arange(STATES + 1)[:, None], len(pieces), 1), step)
        ends = [max((k for k, byte in enumerate(piece) if not 0x80 <= byte < 0xC0), default=-1) for piece in pieces]
        tails = [piece[k:] if k >= 0 else b"" for piece, k in zip(pieces, ends, strict=True)]
        late = fold(tails, np.zeros((1, len(pieces)), np.int64), step)
        after[:, FIRST + roles :] = whole
        allowed = after != WRONG
        allowed[:, [PAD, BOS, MORE]] = False
        after[:, FIRST + roles :] = np.where(whole == WRONG, late, whole)
        self.after = torch.from_numpy(np.where(after == WRONG, 0, after))
        self.allowed = torch.from_numpy(allowed[:STATES].astype(np.float64))

    def allow(self, j: int, x: Tensor, done: Tensor) -> Tensor:
        """Weights (B, V) of the tokens that may stand at step j, from x (B, L) up to it."""
        state = torch.zeros(len(x), dtype=torch.int64)
        x = x.cpu()
        for s in range(max(0, j - BACK), j):
            state = self.after[state, x[:, s]]
        weights = self.allowed[state]
        if j == 0 and self.roles:
            weights = weights.clone()
            weights[:, FIRST + self.roles :] = 0.0
        if j == 0 and not self.empty:
            weights = weights.clone()
            weights[:, EOS] = 0.0
        return weights

    def involves(self, j: int) -> list[int]:
        """The steps that `allow` reads."""
        return list(range(max(0, j - BACK), j))


def trim(text: bytes) -> bytes:
    """The text without a last character that is not whole."""
    for back in range(1, min(4, len(text)) + 1):
        lead = text[-back]
        if lead < 0x80:
            return text
        if lead >= 0xC0:
            wanted = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            return text[:-back] if back < wanted else text
    return text


def broken(text: bytes) -> bool:
    """Whether these bytes are no UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return True
    return False
