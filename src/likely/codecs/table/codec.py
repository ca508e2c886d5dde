"""The table codec: rows of named columns <-> `Cells`, and back to the type that came in.

A table of any type becomes one polars frame (`frame`), its texts are read where they hold numbers or dates
(`notation`), each column learns its kind (`infer`, then one file a kind) and gives zero or more cells. The space is
all cells side by side. Wishes (`condition`), rows with holes (`partial`) and constraints (`constraint`) become known
cells, weights over codes and a grammar; what codes cannot say, decoding inside the codes does.

Shape letters: B rows, D cells, K codes of a cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from likely.codecs.table import frame as frames
from likely.codecs.table.category import Constant
from likely.codecs.table.column import Column, ColumnReport, Wish
from likely.codecs.table.form import Form
from likely.codecs.table.infer import KINDS, column_of
from likely.codecs.table.notation import NOTHING, Notation, recognise
from likely.codecs.table.page import page
from likely.codecs.table.state import dict_of, entry, list_of, text_of, whole_of
from likely.core import Batch, Cells, Grammar, Known, Rendering
from likely.errors import ArtifactError, ConditionError, DataError, Mismatch, NotFitted, OptionError, UnknownName

FEWEST = 20  # rows to learn from


class Table:
    """Rows of named columns. `columns` overrides inferred kinds, `targets` names what people will predict.

    `least`: no level and no bin of fewer rows is ever told apart. `bins`: most pools of a number column, None = by
    the number of rows. `encoding`: of text files.
    """

    grammar: Grammar | None = None

    def __init__(
        self,
        *,
        columns: Mapping[str, str] | None = None,
        targets: Sequence[str] = (),
        least: int = 10,
        bins: int | None = None,
        encoding: str = "utf-8",
    ) -> None:
        if least < 1:
            raise OptionError(f"least={least}: at least 1 row must stand behind a level or a bin.")
        if bins is not None and bins < 2:
            raise OptionError(f"bins={bins}: at least 2 bins are wanted.")
        self.kinds = dict(columns or {})
        self.targets = (targets,) if isinstance(targets, str) else tuple(targets)
        self.least, self.bins, self.encoding = least, bins, encoding
        self.columns: dict[str, Column] = {}
        self.notations: dict[str, Notation] = {}
        self.form: Form | None = None
        self.n = 0

    # ------------------------------------------------------------------------------------------------ learn

    def fit(self, items: Any) -> Self:
        """Learn the columns of a table. Raises DataError, OptionError, UnknownName."""
        frame, form = frames.take(items, encoding=self.encoding)
        if not frame.width:
            raise DataError("The table has no columns.")
        if frame.height < FEWEST:
            raise DataError(
                f"The table has {frame.height} row{'s' * (frame.height != 1)}: at least {FEWEST} are needed to learn from."
            )
        for name in (*self.kinds, *self.targets):
            if name not in frame.columns:
                raise UnknownName("column", name, frame.columns)
        kept = [field for field in form.fields if self.kinds.get(field.name) != "drop"]
        if not kept:
            raise DataError("Every column was dropped: keep at least one.")
        self.form, self.n = Form(form.kind, tuple(kept)), frame.height
        self.columns, self.notations = {}, {}
        for field in kept:
            self.columns[field.name] = self._learn(frame[field.name], field.levels is not None)
        self._index()
        return self

    def _learn(self, values: pl.Series, declared: bool) -> Column:
        name, word, repairs = values.name, self.kinds.get(values.name), []
        assert self.form is not None
        if isinstance(values.dtype, pl.String) and word not in ("category", "text", "id") and not declared:
            notation, repairs = recognise(values, typed=self.form.kind == "path")
            if notation is not None:
                self.notations[name] = notation
                values = notation.read(values).alias(name)
        if word is None and values.drop_nulls().len() < self.least and values.drop_nulls().len():
            repairs.append(f"only {values.drop_nulls().len()} values, fewer than {self.least}: read as missing")
        column = column_of(values, self.least, word, declared)
        column.repairs = repairs
        return column.fit(values, self.bins)

    def _index(self) -> None:
        """The map from cells to columns."""
        self.cells = [name for name, column in self.columns.items() for _ in column.sizes]
        self._first: dict[str, int] = {}
        place = 0
        for name, column in self.columns.items():
            self._first[name] = place
            place += len(column.sizes)

    def column_cells(self, name: str) -> list[int]:
        """The cells of a column. Raises UnknownName."""
        if name not in self._fitted():
            raise UnknownName("column", name, self.columns)
        return list(range(self._first[name], self._first[name] + len(self.columns[name].sizes)))

    @property
    def space(self) -> Cells:
        """All cells of all columns."""
        columns = self._fitted().values()
        targets = tuple(cell for name in self.targets for cell in self.column_cells(name))
        return Cells(
            tuple(size for column in columns for size in column.sizes),
            tuple(flag for column in columns for flag in column.ordered),
            targets,
        )

    def _fitted(self) -> dict[str, Column]:
        if self.form is None:
            raise NotFitted("This table codec has not seen a table yet: call fit(table) first.")
        return self.columns

    def describe(self) -> list[ColumnReport]:
        """What was understood of each column; print it."""
        return [column.report() for column in self._fitted().values()]

    # ----------------------------------------------------------------------------------------------- encode

    def encode(self, items: Any) -> Batch:
        """Rows -> codes (B, D), int64. Raises Mismatch for other columns, DataError for values of wrong type."""
        frame, _ = self._take(items)
        parts = [column.encode(frame[name]) for name, column in self.columns.items()]
        return Batch(torch.from_numpy(np.concatenate(parts, 1)))

    def _take(self, items: Any, holes: bool = False, strict: bool = True) -> tuple[pl.DataFrame, dict[str, Any]]:
        """Any table -> (typed frame of our columns, {column: (B,) true = a value of the wrong type})."""
        columns = self._fitted()
        if isinstance(items, Mapping) and not any(_many(value) for value in items.values()):
            items = [items]  # one row
        if not isinstance(items, pl.DataFrame) and isinstance(items, Sequence) and not len(items):
            items = pl.DataFrame(schema=dict.fromkeys(columns, pl.Null))
        raw, _ = frames.take(items, encoding=self.encoding)
        dropped = {name for name, word in self.kinds.items() if word == "drop"}
        for name in raw.columns:
            if holes and name not in columns and name not in dropped:
                raise UnknownName("column", name, columns)
        absent = [name for name in columns if name not in raw.columns]
        if absent and not holes:
            raise Mismatch(
                f"The table lacks the column{'s' * (len(absent) > 1)} {', '.join(map(repr, absent[:5]))} "
                f"that the model has learned."
            )
        made, wrong = [], {}
        for name, column in columns.items():
            if name in raw.columns:
                series, bad = self._typed(raw[name], column)
            else:
                series, bad = pl.Series(name, [None] * raw.height, dtype=column.dtype), np.zeros(raw.height, bool)
            if strict and bad.any():
                row = int(bad.argmax())
                raise DataError(
                    f"Column {name!r}, row {row}: {str(raw[name][row])[:80]!r} is not of the learned type "
                    f"({column.report().words}). {int(bad.sum())} value{'s' * (bad.sum() > 1)} like this."
                )
            made.append(series.alias(name))
            wrong[name] = bad
        return pl.DataFrame(made), wrong

    def _typed(self, values: pl.Series, column: Column) -> tuple[pl.Series, NDArray[np.bool_]]:
        """Raw values -> the column's type; true where a value does not fit."""
        given = values.is_not_null()
        notation = self.notations.get(column.name)
        dtype = column.dtype
        if isinstance(values.dtype, pl.String | pl.Categorical | pl.Enum) and not isinstance(dtype, pl.String):
            texts = values.cast(pl.String)
            if not isinstance(dtype, pl.Categorical | pl.Enum):
                given = given & ~texts.str.strip_chars().str.to_lowercase().is_in(NOTHING)
            if notation is not None:
                typed = notation.read(texts)
            elif isinstance(dtype, pl.Boolean):
                typed = texts.str.to_lowercase().replace_strict({"true": True, "false": False}, default=None)
            else:
                typed = texts.str.strip_chars().cast(dtype, strict=False)
        elif values.dtype == dtype or (values.dtype.is_numeric() and dtype.is_numeric()):
            typed = values if values.dtype.is_numeric() and not isinstance(dtype, pl.Decimal) else values.cast(dtype)
        else:
            try:
                typed = values.cast(dtype, strict=False)
            except pl.exceptions.PolarsError:
                typed = pl.Series([None] * len(values), dtype=dtype)
        bad = (given & typed.is_null()).to_numpy()
        if dtype.is_integer() and typed.dtype.is_float():
            bad = bad | (typed.fill_null(0.0) % 1 != 0).to_numpy()
        return typed, bad

    # ----------------------------------------------------------------------------------------------- decode

    def decode(
        self, x: Tensor, mask: Tensor | None = None, *, rng: torch.Generator, within: Any = None, start: int = 0
    ) -> Any:
        """Codes (B, D) -> rows, in the type of the training table.

        `within`: the wish (a mapping) or the rows with holes that `condition` or `partial` were asked about; what
        it decides is kept to the letter. `start`: the number of rows made before, where one table is made in parts.
        """
        return frames.give(self._made(x, rng, within), self._form())

    def _made(self, x: Tensor, rng: torch.Generator, within: Any) -> pl.DataFrame:
        columns = self._fitted()
        codes = x.detach().cpu().numpy().astype(np.int64)
        sizes = np.array(self.space.sizes)
        if codes.ndim != 2 or codes.shape[1] != len(sizes):
            raise Mismatch(f"Codes of shape (B, {len(sizes)}) were wanted, {tuple(codes.shape)} were given.")
        if len(codes) and ((codes < 0) | (codes >= sizes)).any():
            raise Mismatch("Codes lie outside the sizes of their cells: they come from another table.")
        draw = np.random.default_rng(int(torch.randint(2**62, (), generator=rng)))
        wishes = self._wishes(within) if _wish(within, len(codes)) else {}
        made = [column.decode(codes[:, self.column_cells(n)], draw, wishes.get(n)) for n, column in columns.items()]
        frame = pl.DataFrame(made)
        if within is not None and not _wish(within, len(codes)):
            frame = self._keep(frame, within)
        written = [self.notations[n].write(frame[n]).alias(n) if n in self.notations else frame[n] for n in columns]
        return pl.DataFrame(written)

    def _keep(self, frame: pl.DataFrame, within: Any) -> pl.DataFrame:
        """The values of `within` (1 or B rows) over those that were made."""
        rows, _ = self._take(within, holes=True)
        if rows.height == 1:
            rows = rows.select(pl.all().repeat_by(frame.height).explode()) if frame.height != 1 else rows
        if rows.height != frame.height:
            raise Mismatch(f"{frame.height} rows were made for {rows.height} rows with holes.")
        return frame.with_columns(
            [
                pl.when(rows[name].is_not_null()).then(rows[name].cast(frame[name].dtype)).otherwise(frame[name])
                .alias(name)
                for name in frame.columns
                if rows[name].null_count() < rows.height
            ]
        )  # fmt: skip

    def _form(self) -> Form:
        self._fitted()
        assert self.form is not None
        return self.form

    # ------------------------------------------------------------------------------------------------ known

    def condition(self, given: Mapping[str, Any]) -> Known:
        """One wish for all rows -> Known with B = 1. Raises UnknownName and ConditionError."""
        sizes = self.space.sizes
        x, mask = torch.zeros((1, len(sizes)), dtype=torch.int64), torch.zeros((1, len(sizes)), dtype=torch.bool)
        soft: dict[int, Tensor] = {}
        for name, wish in self._wishes(given).items():
            for cell, weights in zip(self.column_cells(name), self.columns[name].weights(wish), strict=True):
                if weights is None or (weights == 1).all():
                    continue
                if np.count_nonzero(weights) == 1:
                    x[0, cell], mask[0, cell] = int(weights.argmax()), True
                else:
                    soft[cell] = torch.from_numpy(weights.astype(np.float32))[None]
        return Known(x, mask, soft or None)

    def _wishes(self, given: Mapping[str, Any]) -> dict[str, Wish]:
        wishes = {}
        for name, value in given.items():
            if name not in self._fitted():
                raise UnknownName("column", name, self.columns)
            wish = self.columns[name].parse(value)
            if not self.columns[name].missing and wish.only_missing and not isinstance(self.columns[name], Constant):
                raise ConditionError(f"Column {name!r} is never missing in the data: ask for a value.")
            wishes[name] = wish
        return wishes

    def partial(self, items: Any) -> Known:
        """Rows with holes (None, NaN, absent columns) -> Known (B, D): holes are open but never missing again."""
        frame, _ = self._take(items, holes=True)
        x = torch.zeros((frame.height, len(self.cells)), dtype=torch.int64)
        mask = torch.zeros(x.shape, dtype=torch.bool)
        soft: dict[int, Tensor] = {}
        for name, column in self.columns.items():
            cells = self.column_cells(name)
            if not cells:
                continue
            hole = torch.from_numpy(frame[name].is_null().to_numpy().copy())
            x[:, cells] = torch.from_numpy(column.encode(frame[name]))
            mask[:, cells] = ~hole[:, None]
            x[:, cells] *= mask[:, cells]
            if column.missing and hole.any():
                for cell in cells:
                    weights = torch.ones((frame.height, self.space.sizes[cell]))
                    weights[hole, 0] = 0.0
                    soft[cell] = weights
        return Known(x, mask, soft or None)

    # -------------------------------------------------------------------------------------------- judgement

    def volume(self, items: Any) -> Tensor:
        """(B, D) nats that each cell's code leaves open; larger where a value is unlike anything known."""
        frame, _ = self._take(items)
        return torch.from_numpy(np.concatenate([c.volume(frame[n]) for n, c in self.columns.items()], 1))

    def features(self, items: Any) -> NDArray[np.float32]:
        """(B, F) coordinates in which distances mean something: quantile levels, one-hot levels, missing flags."""
        frame, _ = self._take(items)
        return np.concatenate([column.features(frame[name]) for name, column in self.columns.items()], 1)

    def check(self, items: Any) -> list[list[str]]:
        """For each row the reasons why it is no row of this table; [] = it may be one."""
        frame, wrong = self._take(items, strict=False)
        reasons: list[list[str]] = [[] for _ in range(frame.height)]
        for name, column in self.columns.items():
            for row in np.flatnonzero(wrong[name]):
                reasons[row].append(f"{name}: not of the learned type ({column.report().words})")
            fine = ~(wrong[name] | frame[name].is_null().to_numpy())
            rows = np.flatnonzero(fine)
            if len(rows):
                for row, reason in zip(rows, column.strange(frame[name].filter(pl.Series(fine))), strict=True):
                    if reason:
                        reasons[row].append(f"{name}: {reason}")
        return reasons

    def render(self, items: Any) -> Rendering:
        """An HTML table of the first rows."""
        return page(frames.take(items, encoding=self.encoding)[0])

    # ------------------------------------------------------------------------------------------------- keep

    def state(self) -> dict[str, Any]:
        """Plain JSON: everything but training rows."""
        return {
            "version": 1,
            "least": self.least,
            "n": self.n,
            "targets": list(self.targets),
            "dropped": [name for name, word in self.kinds.items() if word == "drop"],
            "form": self._form().state(),
            "columns": [column.state() for column in self.columns.values()],
            "notations": {name: notation.state() for name, notation in self.notations.items()},
        }

    def load(self, state: dict[str, Any]) -> Self:
        """The inverse of `state`, from a file that may come from anybody. Raises ArtifactError."""
        whole_of(state, "version", low=1, high=1)
        self.least, self.n = whole_of(state, "least", low=1, high=10**9), whole_of(state, "n")
        form = Form.load(entry(state, "form"))
        columns = [KINDS[text_of(part, "kind", tuple(KINDS))].load(part) for part in list_of(state, "columns", dict)]
        if [column.name for column in columns] != [field.name for field in form.fields] or len(
            {column.name for column in columns}
        ) != len(columns):
            raise ArtifactError("The model file is damaged: the columns and the form of the table differ.")
        self.form, self.columns = form, {column.name: column for column in columns}
        self.notations = {name: Notation.load(part) for name, part in dict_of(state, "notations").items()}
        for name, notation in self.notations.items():
            if name not in self.columns or notation.dtype() != self.columns[name].dtype:
                raise ArtifactError(f"The model file is damaged: the notation of {name!r} does not fit its column.")
        self.kinds = dict.fromkeys(list_of(state, "dropped", str), "drop")
        self.targets = tuple(list_of(state, "targets", str))
        if any(name not in self.columns for name in self.targets):
            raise ArtifactError("The model file is damaged: a target is no column.")
        self._index()
        return self


def _many(value: Any) -> bool:
    """Whether a value of a mapping is a whole column."""
    return hasattr(value, "__len__") and not isinstance(value, str | bytes)


def _wish(within: Any, n: int) -> bool:
    """Whether `within` is a wish and not a table. A dict of lists of n values is a table (a wish for the same sets
    would be met by it as well)."""
    if not isinstance(within, Mapping):
        return False
    return not all(_many(value) and not isinstance(value, tuple | set) and len(value) == n for value in within.values())
