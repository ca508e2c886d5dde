"""What is decided of a row before it is drawn: a wish for all rows, or rows with holes, as known cells.

A wish that leaves one code of a cell makes it known; one that leaves several gives weights over its codes. Rows with
holes decide the cells of the columns that are there.

Shape letters: B rows, D cells, K codes of a cell.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from likely.codecs.table.column import Column, Wish
from likely.codecs.table.intake import many
from likely.core import Known

Cells = Callable[[str], list[int]]  # the cells of a column


def wished(columns: Mapping[str, Column], wishes: Mapping[str, Wish], cells: Cells, sizes: Sequence[int]) -> Known:
    """Wishes for all rows -> Known with B = 1."""
    x, mask = torch.zeros((1, len(sizes)), dtype=torch.int64), torch.zeros((1, len(sizes)), dtype=torch.bool)
    soft: dict[int, Tensor] = {}
    for name, wish in wishes.items():
        for cell, weights in zip(cells(name), columns[name].weights(wish), strict=True):
            if weights is None or (weights == 1).all():
                continue
            if np.count_nonzero(weights) == 1:
                x[0, cell], mask[0, cell] = int(weights.argmax()), True
            else:
                soft[cell] = torch.from_numpy(weights.astype(np.float32))[None]
    return Known(x, mask, soft or None)


def holes(columns: Mapping[str, Column], frame: pl.DataFrame, cells: Cells, sizes: Sequence[int]) -> Known:
    """Rows with nulls -> Known (B, D): holes are open but never missing again."""
    x = torch.zeros((frame.height, len(sizes)), dtype=torch.int64)
    mask = torch.zeros(x.shape, dtype=torch.bool)
    soft: dict[int, Tensor] = {}
    for name, column in columns.items():
        own = cells(name)
        if not own:
            continue
        hole = torch.from_numpy(frame[name].is_null().to_numpy().copy())
        x[:, own] = torch.from_numpy(column.encode(frame[name]))
        mask[:, own] = ~hole[:, None]
        x[:, own] *= mask[:, own]
        if column.missing and hole.any():
            for cell in own:
                weights = torch.ones((frame.height, sizes[cell]))
                weights[hole, 0] = 0.0
                soft[cell] = weights
    return Known(x, mask, soft or None)


def is_wish(within: Any, n: int) -> bool:
    """Whether `within` is a wish and not a table. A dict of lists of n values is a table (a wish for the same sets
    would be met by it as well)."""
    if not isinstance(within, Mapping):
        return False
    return not all(many(value) and not isinstance(value, tuple | set) and len(value) == n for value in within.values())


def keep(frame: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    """The values of `rows` over those of `frame`."""
    return frame.with_columns(
        pl.when(rows[name].is_not_null()).then(rows[name].cast(frame[name].dtype)).otherwise(frame[name]).alias(name)
        for name in frame.columns
        if rows[name].null_count() < rows.height
    )
