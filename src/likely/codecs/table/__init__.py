"""Tables: rows of named columns of any type <-> cells."""

from likely.codecs.table.codec import Table
from likely.codecs.table.column import ColumnReport

__all__ = ["ColumnReport", "Table"]
