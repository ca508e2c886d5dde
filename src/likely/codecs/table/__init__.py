"""Tables: rows of named columns of any type <-> cells."""

from likely.codecs.table.codec import Table
from likely.codecs.table.column import ColumnReport
from likely.codecs.table.constraint import (
    FixedCombinations,
    Inequality,
    NotNull,
    OneHot,
    Predicate,
    Range,
    Regex,
    Sum,
    Unique,
)

__all__ = [
    "ColumnReport",
    "FixedCombinations",
    "Inequality",
    "NotNull",
    "OneHot",
    "Predicate",
    "Range",
    "Regex",
    "Sum",
    "Table",
    "Unique",
]
