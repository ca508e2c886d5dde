"""How surprising a language model finds a text: bits a token, for any checkpoint.

    bits of token t = -log2 p(token t | all tokens before it)

Their mean is the cross-entropy; two to the power of it, the perplexity. Every token has a value, the first too: it
follows the token that begins texts or stands between them (`beginning`). A text longer than the context
is read in windows, each token after at least half a context of its own past.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from likely.errors import DataError, OptionError
from likely.language.checkpoint import Checkpoint, opened
from likely.language.decode import Engine

SEPARATORS = ("<|endoftext|>", "<|end_of_text|>")  # between texts of the data that models are trained on


class Token(NamedTuple):
    """One token of a text, as it is written there (half a character as U+FFFD), and its surprise in bits."""

    text: str
    bits: float


@overload
def surprise(
    checkpoint: Checkpoint | str | Path, texts: Sequence[str], *, each: Literal[True], engine: Engine | None = None
) -> list[list[Token]]: ...
@overload
def surprise(
    checkpoint: Checkpoint | str | Path,
    texts: Sequence[str],
    *,
    each: Literal[False] = False,
    engine: Engine | None = None,
) -> NDArray[np.float64]: ...
def surprise(
    checkpoint: Checkpoint | str | Path, texts: Sequence[str], *, each: bool = False, engine: Engine | None = None
) -> NDArray[np.float64] | list[list[Token]]:
    """(n,) mean bits a token of each text; `each`: its tokens with their own bits. Larger = stranger.

    `checkpoint` is one, or what `likely.language.checkpoint.load` takes; `engine`, where there is one already.
    Raises OptionError where one string is given for a list, DataError for an empty text.
    """
    if isinstance(texts, str):
        raise OptionError("surprise takes a list of texts: write surprise(checkpoint, [text]).")
    checkpoint = opened(checkpoint)
    engine = engine if engine is not None else Engine(checkpoint, kernel="plain")
    start = beginning(checkpoint)
    ids = [checkpoint.tokenizer.encode(text) for text in texts]
    for at, own in enumerate(ids):
        if not own:
            raise DataError(f"Text {at + 1} is empty: it has no token to be surprised at.")
    context = checkpoint.network.arch.context
    windows = [(at, *window) for at, own in enumerate(ids) for window in _windows([start, *own], context)]
    bits = [np.zeros(len(own)) for own in ids]
    for (at, first, _, new), nats in zip(windows, engine.score([window[2] for window in windows]), strict=True):
        bits[at][first : first + new] = -nats[-new:].double().numpy() / math.log(2)
    if not each:
        return np.array([float(one.mean()) for one in bits])
    decode = checkpoint.tokenizer.bytes
    return [
        [Token(decode(id).decode("utf-8", "replace"), float(value)) for id, value in zip(own, one, strict=True)]
        for own, one in zip(ids, bits, strict=True)
    ]


def beginning(checkpoint: Checkpoint) -> int:
    """The id before a text: what begins texts if the model wants it there, else what stood between texts in training.

    Chat models often name the token that begins a turn as theirs, without wanting it before plain text: behind it they
    expect the name of a speaker (SmolLM2 after <|im_start|>: .8 to 1 bit a token more on plain sentences).
    """
    if checkpoint.begins and checkpoint.bos is not None:
        return checkpoint.bos
    between = (checkpoint.tokenizer.id(token) for token in SEPARATORS)
    found = next((id for id in between if id is not None), checkpoint.bos)
    return found if found is not None else min(checkpoint.ends, default=0)


def _windows(ids: list[int], context: int) -> Iterator[tuple[int, list[int], int]]:
    """(first, window, new): the last `new` tokens of a window are those from `first` on, counted after the start."""
    end = min(len(ids), context)
    yield 0, ids[:end], end - 1
    while end < len(ids):
        new = min(max(context // 2, 1), len(ids) - end)
        yield end - 1, ids[end + new - context : end + new], new
        end += new
