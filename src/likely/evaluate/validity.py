"""Is it valid? The user's own check, the types, and values that no real row has.

`checked` asks a `check` function (a codec's, with its constraints, or anybody's) for the reasons why each row is
invalid. `known_values` needs no rules: a made cell is known if its level was met in a real row, or its number lies
between the smallest and the largest real one. Fresh real rows are not all known either, hence the ceiling.

Shape letters: N rows, D columns.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl

from likely.evaluate.columns import Rows

Check = Callable[[pl.DataFrame], list[list[str]]]  # rows -> the reasons why each is invalid; [] = valid


class Checked(NamedTuple):
    """Share of rows without a reason against them, and the commonest reasons with their counts."""

    share: float
    reasons: list[tuple[str, int]]


def checked(frame: pl.DataFrame, check: Check, most: int = 5) -> Checked:
    """Asks `check` about all rows at once."""
    found = check(frame)
    reasons = Counter(reason for row in found for reason in dict.fromkeys(row))
    return Checked(sum(not row for row in found) / max(len(found), 1), reasons.most_common(most))


def known_values(real: Rows, made: Rows) -> float:
    """Share of made rows whose every cell is known from the real rows; a missing cell is, if a real cell is missing."""
    fine = np.ones(len(made), bool)
    for j, column in enumerate(real.columns):
        x, y = real.x[:, j], made.x[:, j]
        there, gone = x[~np.isnan(x)], np.isnan(y)
        if column.discrete:
            inside = np.isin(y, there)
        else:
            inside = (y >= there.min()) & (y <= there.max()) if len(there) else np.zeros(len(y), bool)
        fine &= np.where(gone, len(there) < len(x), inside)
    return float(fine.mean())


def same_types(real: pl.DataFrame, made: pl.DataFrame) -> tuple[float, list[str]]:
    """Share of the real columns that the made table has with the same type, and what is wrong with the others."""
    wrong = [
        f"{name!r} is {made.schema[name]} and should be {dtype}" if name in made.columns else f"{name!r} is absent"
        for name, dtype in real.schema.items()
        if made.schema.get(name) != dtype
    ]
    return 1 - len(wrong) / max(real.width, 1), wrong
