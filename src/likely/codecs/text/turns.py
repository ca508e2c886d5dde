"""Tokens -> texts: the turns of a conversation, and the form that texts came in.

Letters: n texts, N tokens of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from likely.codecs.text.intake import Form, Turn
from likely.codecs.text.texts import FIRST, Ids
from likely.codecs.text.utf8 import trim
from likely.codecs.text.vocabulary import Vocabulary
from likely.registry import require


def turns_of(texts: Sequence[Ids], words: Vocabulary, roles: Sequence[str]) -> list[list[Turn]]:
    """Each text, tokens (N,), as turns (role, text); the role is "" where there are none."""
    made = []
    for ids in texts:
        edges = np.flatnonzero((ids >= FIRST) & (ids < FIRST + len(roles)))
        stops = [*edges.tolist(), len(ids)]
        turns = [("", written(ids[: stops[0]], words, roles))]
        for a, b in zip(edges.tolist(), stops[1:], strict=True):
            turns.append((roles[int(ids[a]) - FIRST], written(ids[a + 1 : b], words, roles)))
        made.append(turns if turns[0][1] or not roles else turns[1:])
    return made


def written(ids: Ids, words: Vocabulary, roles: Sequence[str]) -> str:
    """The text of tokens; those that stand for none are left out, and so is half of a character at the end."""
    shift = FIRST + len(roles)
    return trim(words.decode((ids[ids >= shift] - shift).tolist())).decode("utf-8", "replace")


def given(texts: Sequence[list[Turn]], form: Form) -> Any:
    """Turns of n texts in the form that texts came in."""
    match form.kind:
        case "pairs" | "tuples":
            first, second = form.roles
            pairs = [
                ("".join(t for r, t in turns if r != second), "".join(t for r, t in turns if r == second))
                for turns in texts
            ]
            return pairs if form.kind == "tuples" else [{first: a, second: b} for a, b in pairs]
        case "conversations":
            return [[{"role": role, "content": text} for role, text in turns] for turns in texts]
    plain = ["".join(text for _, text in turns) for turns in texts]
    if form.kind == "series":
        return pl.Series(form.name, plain, dtype=pl.String)
    if form.kind == "pandas":
        return require("pandas", "giving a Series").Series(plain, name=form.name or None)
    return plain
