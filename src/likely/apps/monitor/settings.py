"""What can be chosen when a monitor learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from likely.apps.monitor.view import PARTS
from likely.errors import OptionError, UnknownName

TRIM = {"series": 0.1, "table": 0.3}
BUDGET = {"day": 1.0, "1,000 windows": 5.0, "1,000 rows": 10.0}


@dataclass(frozen=True)
class Settings:
    """`window` readings a window and `stride` readings from one to the next; `parts`, the detectors; `trim`, the share
    set aside as too strange to learn from; `budget`, the false alarms allowed in a day (else in 1,000 rows or
    windows)."""

    window: int | None = None
    stride: int | None = None
    parts: Sequence[str] | None = None
    trim: float | None = None
    budget: float | None = None

    def __post_init__(self) -> None:
        for name, count, least in (("window", self.window, 2), ("stride", self.stride, 1)):
            if count is not None and count < least:
                raise OptionError(f"{name}={count} was given; it must be at least {least}.")
        if self.budget is not None and not 0 < self.budget < float("inf"):
            raise OptionError(f"budget={self.budget} was given; it must be above 0.")
        if self.trim is not None and not 0 <= self.trim <= 0.45:
            raise OptionError(f"trim={self.trim} was given; it is a share from 0 (all data are normal) to 0.45.")
        if self.parts is not None:
            unknown = next((name for name in self.parts if name not in PARTS), None)
            if unknown is not None:
                raise UnknownName("part", unknown, PARTS)
            if not self.parts:
                raise OptionError(f"No parts were named; choose some of {', '.join(PARTS)}.")

    @classmethod
    def of(cls, options: dict[str, Any]) -> Self:
        """From keyword arguments. Raises UnknownName, OptionError."""
        known = [one.name for one in fields(cls)]
        unknown = next((name for name in options if name not in known), None)
        if unknown is not None:
            raise UnknownName("option", unknown, known)
        return cls(**options)
