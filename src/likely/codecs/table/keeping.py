"""How the constraints of a table are kept: the grammar over codes, the drawing inside codes, the check afterwards.

By construction are kept: ranges and `notnull` (training data keep them and nothing outside the known range is
drawn), inequalities and sums (`linear`), combinations and one-hot groups (`rules`). A regular expression, a predicate
and most `unique` are checked afterwards, and the rows that fail are drawn again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from likely.codecs.state import dict_of, list_of
from likely.codecs.table.category import Category, Constant
from likely.codecs.table.column import Codes, Column, Wish
from likely.codecs.table.constraint import (
    BUILT,
    REDRAWN,
    Constraint,
    FixedCombinations,
    Inequality,
    OneHot,
    Predicate,
    Range,
    Sum,
    Unique,
    axis,
    of_state,
    to_state,
    verify,
)
from likely.codecs.table.identifier import Unique as Id
from likely.codecs.table.linear import Linear
from likely.codecs.table.rules import Combinations, Hot, Rule, Rules, Together
from likely.core import Grammar
from likely.errors import ArtifactError, ConstraintError, LikelyError, OptionError, UnknownName

MOST_COMBINATIONS = 100_000


class Keeping:
    """The constraints of one table. `first`: the first cell of each column; `seen`: code tuples (G, C) of each
    fixed combination."""

    def __init__(
        self,
        constraints: Sequence[Constraint],
        columns: Mapping[str, Column],
        first: Mapping[str, int],
        seen: Mapping[str, list[list[int]]],
    ) -> None:
        self.constraints, self.columns, self.first, self.seen = list(constraints), columns, first, dict(seen)
        self.linear = Linear(columns, first, [c for c in constraints if isinstance(c, Inequality | Sum)])
        rules: list[Rule] = [self.linear] if self.linear.rules else []
        for name, column in columns.items():
            if column.missing and len(column.sizes) > 1:
                rules.append(Together(range(first[name], first[name] + len(column.sizes)), column.sizes))
        self.combinations: dict[str, Combinations] = {}
        for constraint in constraints:
            if isinstance(constraint, FixedCombinations):
                names = [name for name in constraint.columns if columns[name].sizes]
                if names:
                    table = torch.tensor(self.seen[str(constraint)], dtype=torch.int64).reshape(-1, len(names))
                    rule = Combinations([first[n] for n in names], [columns[n].sizes[0] for n in names], table)
                    rules.append(rule)
                    self.combinations[str(constraint)] = rule
            if isinstance(constraint, OneHot):
                rules.extend(_hot(constraint, columns, first))
        self.grammar: Grammar | None = Rules(rules) if rules else None

    @classmethod
    def fit(
        cls,
        constraints: Sequence[Constraint],
        columns: Mapping[str, Column],
        first: Mapping[str, int],
        frame: pl.DataFrame,
    ) -> Self:
        """Check the training rows. Raises UnknownName, OptionError, ConstraintError."""
        seen: dict[str, list[list[int]]] = {}
        for constraint in constraints:
            for name in constraint.columns:
                if name not in columns:
                    raise UnknownName(
                        "column", name, columns, hint=f"It is named by the constraint {str(constraint)!r}."
                    )
            _measurable(constraint, frame)
            verify(constraint, frame)
            if isinstance(constraint, FixedCombinations):
                seen[str(constraint)] = _seen(constraint, columns, frame)
        return cls(constraints, columns, first, seen)

    # ------------------------------------------------------------------------------------------------- draw

    def draw(
        self,
        frame: pl.DataFrame,
        codes: Codes,
        rng: np.random.Generator,
        wishes: Mapping[str, Wish],
        rows: pl.DataFrame | None,
    ) -> pl.DataFrame:
        """The columns that linear rules name, drawn anew so that they keep them; `rows` holds decided values."""
        if not self.linear.rules or not len(codes):
            return frame
        kept = {name: axis(rows[name]) for name in self.linear.order} if rows is not None else {}
        made = []
        for name, ticks in self.linear.draw(codes, rng, wishes, kept).items():
            column, wish = self.linear.columns[name], wishes.get(name)
            if wish is not None and (wish.exact is not None or wish.only_missing):
                continue
            own = codes[:, self.first[name] : self.first[name] + len(column.sizes)]
            made.append(column.series(ticks).set(pl.Series(column.null(own, wish)), None).alias(name))
        return frame.with_columns(made)

    # ------------------------------------------------------------------------------------------------ check

    def verdicts(self, frame: pl.DataFrame) -> list[tuple[str, NDArray[np.bool_]]]:
        """For each constraint its text and (B,) true where a row breaks it."""
        verdicts = []
        for constraint in self.constraints:
            kept = constraint.holds(frame)
            rule = self.combinations.get(str(constraint))
            if rule is not None and frame.height:
                codes = {n: self.columns[n].encode(frame[n]) for n in constraint.columns if self.columns[n].sizes}
                x = np.zeros((frame.height, max(rule.cells) + 1), np.int64)
                for name, code in codes.items():
                    x[:, self.first[name]] = code[:, 0]
                kept = kept & rule.holds(torch.from_numpy(x)).numpy()
            verdicts.append((str(constraint), ~kept))
        return verdicts

    def broken(self, frame: pl.DataFrame) -> NDArray[np.bool_]:
        """(B,) true for rows that break any constraint."""
        flags = np.zeros(frame.height, bool)
        for _, bad in self.verdicts(frame):
            flags |= bad
        return flags

    def promises(self) -> list[str]:
        """For each constraint how it is kept."""
        lines = []
        for constraint in self.constraints:
            how = constraint.promise
            if isinstance(constraint, Inequality | Sum) and constraint not in self.linear.rules:
                how = REDRAWN
            if isinstance(constraint, Unique) and any(isinstance(self.columns[n], Id) for n in constraint.columns):
                how = BUILT
            if isinstance(constraint, Predicate) and constraint.test is None:
                how = "not any more: only its name was saved with the model"
            lines.append(f"{constraint}: {how}")
        return lines

    # ------------------------------------------------------------------------------------------------- keep

    def state(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"constraints": [to_state(constraint) for constraint in self.constraints], "seen": self.seen}

    @classmethod
    def load(cls, state: Any, columns: Mapping[str, Column], first: Mapping[str, int]) -> Self:
        """The inverse of `state`. Raises ArtifactError."""
        seen = dict_of(state, "seen")
        try:
            constraints = [of_state(part) for part in list_of(state, "constraints", dict, most=1000)]
            for constraint in constraints:
                if any(name not in columns for name in constraint.columns):
                    raise ArtifactError("The model file is damaged: a constraint names a column that is not there.")
                if isinstance(constraint, FixedCombinations):
                    names = [name for name in constraint.columns if columns[name].sizes]
                    for row in list_of(seen, str(constraint), list, most=MOST_COMBINATIONS):
                        sizes = [columns[name].sizes[0] for name in names]
                        fits = len(row) == len(sizes) and all(type(code) is int for code in row)
                        if not fits or any(not 0 <= code < size for code, size in zip(row, sizes, strict=True)):
                            raise ArtifactError(
                                "The model file is damaged: a combination names codes that do not exist."
                            )
        except LikelyError as error:
            raise (
                error if isinstance(error, ArtifactError) else ArtifactError(f"The model file is damaged: {error}")
            ) from error
        return cls(constraints, columns, first, seen)


def _measurable(constraint: Constraint, frame: pl.DataFrame) -> None:
    """Raises OptionError where a constraint compares what has no order."""
    if isinstance(constraint, Range | Inequality | Sum | OneHot):
        sorts = set()
        for name in constraint.columns:
            dtype = frame[name].dtype
            if not (dtype.is_numeric() or dtype.is_temporal() or dtype in (pl.Boolean, pl.Null)):
                raise OptionError(f"{str(constraint)!r}: the values of {name!r} are {dtype} and cannot be compared.")
            sorts.add("number" if not dtype.is_temporal() else "time" if dtype in (pl.Duration, pl.Time) else "date")
        if len(sorts) > 1:
            raise OptionError(f"{str(constraint)!r} compares {' with '.join(sorted(sorts))} columns.")


def _seen(constraint: FixedCombinations, columns: Mapping[str, Column], frame: pl.DataFrame) -> list[list[int]]:
    """The code tuples of combinations that at least `least` rows have, levels that are not named aside."""
    names = [name for name in constraint.columns if columns[name].sizes]
    wrong = [name for name in names if not isinstance(columns[name], Category | Constant)]
    if wrong:
        raise OptionError(
            f"{str(constraint)!r}: {wrong[0]!r} has too many different values for a list of combinations."
        )
    if not names:
        return []
    least = columns[names[0]].least
    counts = frame.group_by(names).len().filter(pl.col("len") >= least).sort("len", descending=True)
    for name in names:
        column = columns[name]
        if isinstance(column, Category):
            named = [column.parse(v).values != () if v is not None else True for v in counts[name].to_list()]
            counts = counts.filter(pl.Series(named, dtype=pl.Boolean))
    if not counts.height or counts.height > MOST_COMBINATIONS:
        raise ConstraintError(
            f"{str(constraint)!r}: {counts.height} combinations have at least {least} rows; "
            f"between 1 and {MOST_COMBINATIONS:,} can be kept."
        )
    return np.stack([columns[name].encode(counts[name])[:, 0] for name in names], 1).tolist()  # type: ignore[no-any-return]


def _hot(constraint: OneHot, columns: Mapping[str, Column], first: Mapping[str, int]) -> list[Rule]:
    """The rule of a one-hot group over the columns that vary."""
    zeros, ones, sizes, cells = [], [], [], []
    for name in constraint.columns:
        column = columns[name]
        if not column.sizes:
            if isinstance(column, Constant) and column.value in ("1", "1.0", "true"):
                return []  # this one is always hot, so all others are constant zeros
            continue
        zero, one = column.encode(pl.Series([0, 1]).cast(column.dtype))[:, 0].tolist()
        if zero == one:
            continue  # too few rows tell 0 from 1: always the commoner value
        zeros.append(zero)
        ones.append(one)
        sizes.append(column.sizes[0])
        cells.append(first[name])
    return [Hot(cells, sizes, zeros, ones)] if cells else []
