"""Series of sensors: tables with a time column, or arrays, <-> reals (windows of time)."""

from likely.codecs.series.codec import Series, windows
from likely.codecs.series.windows import Windows

__all__ = ["Series", "Windows", "windows"]
