"""The table codec: rows of named columns <-> `Cells` or `Reals`, and back to the type that came in.

A table of any type becomes one polars frame (`frame`), its texts are read where they hold numbers or dates
(`notation`), each column learns its kind (`infer`, then one file a kind) and gives zero or more cells. The space is
all cells side by side, or the vector of reals that says the same (`reals`). Wishes (`condition`), rows with holes
(`partial`) and constraints (`constraint`) become known cells, weights over codes and a grammar; what codes cannot
say, decoding inside the codes does.

Shape letters: B rows, D cells, F places of the vector of reals, K codes of a cell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from likely.codecs.state import dict_of, entry, list_of, text_of, whole_of
from likely.codecs.table import frame as frames
from likely.codecs.table.category import Constant
from likely.codecs.table.column import Codes, Column, ColumnReport, Floats, Wish
from likely.codecs.table.constraint import BUILT, REDRAWN, Constraint, FixedCombinations, parse
from likely.codecs.table.form import Form
from likely.codecs.table.identifier import Unique
from likely.codecs.table.infer import KINDS, column_of
from likely.codecs.table.intake import Intake
from likely.codecs.table.keeping import Keeping
from likely.codecs.table.known import holes, is_wish, keep, wished
from likely.codecs.table.notation import Notation, recognise
from likely.codecs.table.page import page
from likely.codecs.table.reals import Vector
from likely.core import Batch, Cells, Grammar, Known, Reals, Rendering
from likely.errors import ArtifactError, ConditionError, DataError, Mismatch, NotFitted, OptionError, UnknownName

FEWEST = 20  # rows to learn from
SPACES = ("cells", "reals", "linear")


class Table:
    """Rows of named columns. `columns` overrides inferred kinds, `targets` names what people will predict.

    `least`: no level and no bin of fewer rows is ever told apart. `bins`: most pools of a number column, None = by
    the number of rows. `space`: "cells", "reals" or "linear" (see `reals`). `encoding`: of text files.
    """

    name: ClassVar[str] = "table"
    spaces: ClassVar[tuple[type, ...]] = (Cells, Reals)
    grammar: Grammar | None = None
    keeping: Keeping

    def __init__(
        self,
        *,
        columns: Mapping[str, str] | None = None,
        constraints: Sequence[Constraint | str] = (),
        targets: Sequence[str] = (),
        least: int = 10,
        bins: int | None = None,
        space: str = "cells",
        encoding: str = "utf-8",
    ) -> None:
        if space not in SPACES:
            raise OptionError(f"space={space!r}: a table is learned as 'cells', 'reals' or 'linear'.")
        if least < 1:
            raise OptionError(f"least={least}: at least 1 row must stand behind a level or a bin.")
        if bins is not None and bins < 2:
            raise OptionError(f"bins={bins}: at least 2 bins are wanted.")
        self.kinds = dict(columns or {})
        self.demands = (constraints,) if isinstance(constraints, str) else tuple(constraints)
        self.targets = (targets,) if isinstance(targets, str) else tuple(targets)
        self.least, self.bins, self.encoding, self.kept = least, bins, encoding, space
        self.columns: dict[str, Column] = {}
        self.notations: dict[str, Notation] = {}
        self.form: Form | None = None
        self._came: tuple[pl.DataFrame, Form] | None = None
        self.n = 0

    # ----------------------------------------------------------------------------------------- any table type

    def read(self, items: Any) -> pl.DataFrame:
        """Any table -> a polars frame. What the first one was decides what `give` gives back."""
        frame, form = frames.take(items, encoding=self.encoding)
        if self.form is None:
            self._came = frame, form
        return frame

    def give(self, items: pl.DataFrame) -> Any:
        """A polars frame -> the type of the table that was learned from."""
        return frames.give(items, self._form())

    def join(self, parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
        """One frame of several."""
        return parts[0] if len(parts) == 1 else pl.concat(parts)

    def replace(self, items: pl.DataFrame, mask: NDArray[np.bool_], others: pl.DataFrame) -> pl.DataFrame:
        """The rows of `others` in the places where the mask (B,) is true."""
        source = np.arange(len(items))
        source[mask] = len(items) + np.arange(len(others))
        return pl.concat([items, others])[source]

    # ------------------------------------------------------------------------------------------------ learn

    def fit(self, items: Any) -> Self:
        """Learn the columns of a table. Raises DataError, OptionError, UnknownName."""
        came = self._came
        if came is not None and isinstance(items, pl.DataFrame) and items.schema == came[0].schema:
            frame, form = items, came[1]  # rows of a table that `read` has met
        else:
            frame, form = frames.take(items, encoding=self.encoding)
        self._came = None
        if not frame.width:
            raise DataError("The table has no columns.")
        if frame.height < FEWEST:
            raise DataError(
                f"The table has {frame.height} row{'s' * (frame.height != 1)}: "
                f"at least {FEWEST} are needed to learn from."
            )
        for name in (*self.kinds, *self.targets):
            if name not in frame.columns:
                raise UnknownName("column", name, frame.columns)
        kept = [field for field in form.fields if self.kinds.get(field.name) != "drop"]
        if not kept:
            raise DataError("Every column was dropped: keep at least one.")
        self.form, self.n = Form(form.kind, tuple(kept)), frame.height
        self.columns, self.notations = {}, {}
        names = [field.name for field in kept]
        constraints = [parse(demand, names) if isinstance(demand, str) else demand for demand in self.demands]
        # Combinations are of levels: a number that is part of one is a category.
        listed = {name for rule in constraints if isinstance(rule, FixedCombinations) for name in rule.columns}
        for field in kept:
            declared = field.levels is not None or field.name in listed
            self.columns[field.name] = self._learn(frame[field.name], declared)
        self._index()
        self.keeping = Keeping.fit(constraints, self.columns, self._first, self._take(frame)[0])
        self.grammar = None if self.vector else self.keeping.grammar
        return self

    def _learn(self, values: pl.Series, declared: bool) -> Column:
        name, word = values.name, self.kinds.get(values.name)
        repairs: list[str] = []
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
        """The map from cells, or places of the vector, to columns."""
        self.vector = Vector(self.columns, self.kept == "linear") if self.kept != "cells" else None
        cells = [name for name, column in self.columns.items() for _ in column.sizes]
        self.cells = self.vector.names if self.vector else cells
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
    def space(self) -> Cells | Reals:
        """All cells of all columns, or the vector that stands for them."""
        cells = self._cells()
        return self.vector.space if self.vector else cells

    def _cells(self) -> Cells:
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

    def promises(self) -> list[str]:
        """For each constraint how it is kept: by construction, or by drawing rows again."""
        self._fitted()
        lines = self.keeping.promises()
        # Reals come without a grammar: ids aside, what a row may hold is seen when it is made.
        return [line.replace(BUILT, REDRAWN) if self.vector and "unique" not in line else line for line in lines]

    def rejects(self, items: Any) -> NDArray[np.bool_]:
        """(B,) true for rows that break a constraint and must be drawn again."""
        return self.keeping.broken(self._take(items)[0])

    def describe(self) -> list[ColumnReport]:
        """What was understood of each column; print it."""
        return [column.report() for column in self._fitted().values()]

    # ----------------------------------------------------------------------------------------------- encode

    def encode(self, items: Any) -> Batch:
        """Rows -> codes (B, D) or reals (B, F). Raises Mismatch for other columns, DataError for wrong types."""
        frame, _ = self._take(items)
        if self.vector:
            return Batch(torch.from_numpy(self.vector.encode(frame)))
        parts = [column.encode(frame[name]) for name, column in self.columns.items()]
        return Batch(torch.from_numpy(np.concatenate(parts, 1)))

    def _take(self, items: Any, holes: bool = False, strict: bool = True) -> tuple[pl.DataFrame, dict[str, Any]]:
        self._fitted()
        dropped = {name for name, word in self.kinds.items() if word == "drop"}
        intake = Intake(self.columns, self.notations, dropped, self.encoding)
        return intake.take(items, holes, strict)

    # ----------------------------------------------------------------------------------------------- decode

    def decode(
        self, x: Tensor, mask: Tensor | None = None, *, rng: torch.Generator, within: Any = None, start: int = 0
    ) -> Any:
        """Codes (B, D) -> rows, in the type of the training table.

        `within`: the wish (a mapping) or the rows with holes that `condition` or `partial` were asked about; what
        it decides is kept to the letter. `start`: the number of rows made before, where one table is made in parts.
        """
        return self.give(self.make(x, rng=rng, within=within, start=start))

    def make(self, x: Tensor, *, rng: torch.Generator, within: Any = None, start: int = 0) -> pl.DataFrame:
        """The same as `decode`, as a polars frame."""
        columns = self._fitted()
        codes, inside = self._codes(x.detach().cpu().numpy())
        draw = np.random.default_rng(int(torch.randint(2**62, (), generator=rng)))
        wishes = self._wishes(within) if is_wish(within, len(codes)) else {}
        for column in columns.values():
            if isinstance(column, Unique):
                column.begin(draw, start)
        rows = None if within is None or is_wish(within, len(codes)) else self._held(within, len(codes))
        made = []
        for name, column in columns.items():
            own, values = self.column_cells(name), None
            if self.vector and inside is not None and name not in wishes:
                values = self.vector.draw(name, codes[:, own], inside[:, own])
            made.append(column.decode(codes[:, own], draw, wishes.get(name)) if values is None else values)
        frame = pl.DataFrame(made)
        frame = self.keeping.draw(frame, codes, draw, wishes, rows)
        if rows is not None:
            frame = keep(frame, rows)
        return self._written(frame)

    def _codes(self, x: NDArray[Any]) -> tuple[Codes, Floats | None]:
        """Codes (B, D), and of reals the share (B, D) inside each. Raises Mismatch."""
        wanted = len(self.cells)
        if x.ndim != 2 or x.shape[1] != wanted:
            what = "Reals" if self.vector else "Codes"
            raise Mismatch(f"{what} of shape (B, {wanted}) were wanted, {tuple(x.shape)} were given.")
        if self.vector:
            return self.vector.decode(x.astype(np.float32))
        codes, sizes = x.astype(np.int64), np.array(self._cells().sizes)
        if len(codes) and ((codes < 0) | (codes >= sizes)).any():
            raise Mismatch("Codes lie outside the sizes of their cells: they come from another table.")
        return codes, None

    def settle(self, items: Any) -> pl.DataFrame:
        """Real rows in the columns and types that `make` writes, so that both can be held side by side."""
        frame, _ = self._take(items)
        return self._written(frame.cast({name: column.dtype for name, column in self.columns.items()}))

    def _written(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Values in the notation of the first table."""
        return pl.DataFrame(
            [self.notations[n].write(frame[n]).alias(n) if n in self.notations else frame[n] for n in self.columns]
        )

    def _held(self, within: Any, n: int) -> pl.DataFrame:
        """The rows with holes that were asked about, one for each row that is made."""
        rows, _ = self._take(within, holes=True)
        if rows.height == 1 and n != 1:
            rows = rows[np.zeros(n, np.int64)]
        if rows.height != n:
            raise Mismatch(f"{n} rows were made for {rows.height} rows with holes.")
        return rows

    def _form(self) -> Form:
        self._fitted()
        assert self.form is not None
        return self.form

    # ------------------------------------------------------------------------------------------------ known

    def condition(self, given: Mapping[str, Any]) -> Known:
        """One wish for all rows -> Known with B = 1. Raises UnknownName and ConditionError."""
        known = wished(self.columns, self._wishes(given), self.column_cells, self._cells().sizes)
        return self.vector.known(known) if self.vector else known

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
        if self.vector:
            return self.vector.holes(frame)
        return holes(self.columns, frame, self.column_cells, self._cells().sizes)

    # -------------------------------------------------------------------------------------------- judgement

    def volume(self, items: Any) -> Tensor:
        """(B, D) nats that each cell's code leaves open; larger where a value is unlike anything known."""
        frame, _ = self._take(items)
        if self.vector:
            return torch.from_numpy(self.vector.volume(frame))
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
        for constraint, flags in self.keeping.verdicts(frame):
            for row in np.flatnonzero(flags):
                reasons[row].append(f"constraint not kept: {constraint}")
        return reasons

    def render(self, items: Any) -> Rendering:
        """An HTML table of the first rows."""
        return page(frames.take(items, encoding=self.encoding)[0])

    # ------------------------------------------------------------------------------------------------- keep

    def state(self) -> dict[str, Any]:
        """Plain JSON: everything but training rows."""
        return {
            "version": 1,
            "space": self.kept,
            "least": self.least,
            "n": self.n,
            "targets": list(self.targets),
            "dropped": [name for name, word in self.kinds.items() if word == "drop"],
            "form": self._form().state(),
            "columns": [column.state() for column in self.columns.values()],
            "notations": {name: notation.state() for name, notation in self.notations.items()},
            "constraints": self.keeping.state(),
        }

    def load(self, state: dict[str, Any]) -> Self:
        """The inverse of `state`, from a file that may come from anybody. Raises ArtifactError."""
        whole_of(state, "version", low=1, high=1)
        self.least, self.n = whole_of(state, "least", low=1, high=10**9), whole_of(state, "n")
        self.kept = text_of(state, "space", SPACES) if "space" in state else "cells"
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
        self.keeping = Keeping.load(entry(state, "constraints"), self.columns, self._first)
        self.grammar = None if self.vector else self.keeping.grammar
        return self
