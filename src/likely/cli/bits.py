"""Tables of what a language model is surprised at: a row a text, or a row a token."""

from __future__ import annotations

import numpy as np
import polars as pl

from likely.apps.label import surprise
from likely.cli.texts import read_texts
from likely.errors import DataError, OptionError


def bits(model: str, data: str, column: str | None, each: bool, flag: float | None) -> pl.DataFrame:
    """A row a text: its bits, its tokens, bits a token, the strangest token, and with `flag` (a share) whether it is
    among the strangest by bits a token. With `each` a row a token. A row counts from 0; one without a text is left out.

    Raises OptionError, DataError, UnknownName.
    """
    if each and flag is not None:
        raise OptionError("--flag marks texts and --each tells tokens: give one of them.")
    frame, name = read_texts(data, column)
    texts = ["" if value is None else str(value) for value in frame[name].to_list()]
    rows = [row for row, text in enumerate(texts) if text.strip()]
    if not rows:
        raise DataError(f"{data} holds no text.")
    found = surprise(model, [texts[row] for row in rows], each=True)
    if each:
        spread = [(row, token.text, token.bits) for row, tokens in zip(rows, found, strict=True) for token in tokens]
        return pl.DataFrame(spread, schema=["row", "token", "bits"], orient="row")
    total = np.array([sum(token.bits for token in tokens) for tokens in found])
    count = np.array([len(tokens) for tokens in found])
    most = [max(tokens, key=lambda token: token.bits).text for tokens in found]
    table = pl.DataFrame({"row": rows, "bits": total, "tokens": count, "a_token": total / count, "strangest": most})
    if flag is None:
        return table
    edge = np.sort(table["a_token"].to_numpy())[-max(1, round(flag * len(table)))]
    return table.with_columns((table["a_token"] >= edge).alias("flag"))
