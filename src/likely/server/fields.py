"""JSON -> checked values, a field at a time; what nobody asked about in the end is refused by name.

Null is the same as absent. The rules are those of OpenAI's reference; where a type is off by a hair (1.0 for 1) it is
taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from likely.server.refusal import Refusal


class Fields:
    """The fields of one object. `inside`: the name of the field that holds it, for errors."""

    def __init__(self, values: Mapping[str, Any], inside: str = "") -> None:
        self.values, self.inside = values, f"{inside}." if inside else ""
        self.asked: set[str] = set()

    def get(self, name: str) -> Any:
        """The value as it is, None where there is none."""
        self.asked.add(name)
        return self.values.get(name)

    def need(self, name: str) -> Any:
        """The value as it is. Raises Refusal where there is none."""
        value = self.get(name)
        if value is None:
            raise self.bad(name, f"{self.inside}{name} is missing", code="missing_required_parameter")
        return value

    def text(self, name: str, default: str | None = None, *, most: int = 1000) -> str:
        """A string of 1 to `most` characters; a Refusal without default where it is absent."""
        value = self.get(name) if default is not None else self.need(name)
        if value is None:
            assert default is not None
            return default
        if not isinstance(value, str) or not 0 < len(value) <= most:
            raise self.bad(name, f"{self.inside}{name}: give a string of 1 to {most} characters", value)
        return value

    def choice(self, name: str, options: Sequence[str], default: str | None = None) -> str:
        """One of some strings."""
        value = self.get(name) if default is not None else self.need(name)
        if value is None:
            assert default is not None
            return default
        if not isinstance(value, str) or value not in options:
            raise self.bad(name, f"{self.inside}{name}: give one of {', '.join(map(repr, options))}", value)
        return value

    def flag(self, name: str, default: bool = False) -> bool:
        """True or false."""
        value = self.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.bad(name, f"{self.inside}{name}: give true or false", value)
        return value

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """A number from low to high."""
        value = self.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.bad(name, f"{self.inside}{name}: give a number from {low:g} to {high:g}", value)
        return float(value)

    def whole(self, name: str, default: int | None, low: int, high: int) -> int | None:
        """A whole number from low to high."""
        value = self.get(name)
        if value is None:
            return default
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self.bad(name, f"{self.inside}{name}: give a whole number from {low} to {high}", value)
        return value

    def object(self, name: str) -> Fields | None:
        """The fields of an object within."""
        value = self.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.bad(name, f"{self.inside}{name}: give an object {{...}}", value)
        return Fields(value, f"{self.inside}{name}")

    def list(self, name: str, most: int) -> list[Any] | None:
        """A list of at most so many things."""
        value = self.get(name)
        if value is None:
            return None
        if not isinstance(value, list):
            raise self.bad(name, f"{self.inside}{name}: give a list", value)
        if len(value) > most:
            raise self.bad(name, f"{self.inside}{name}: {len(value):,} entries; at most {most:,}")
        return value

    def idle(self, name: str, *values: Any) -> None:
        """A field that is known but not served: absent, or one of these values that change nothing."""
        value = self.get(name)
        if value is not None and not any(value == one and type(value) is type(one) for one in values):
            raise self.bad(name, f"{self.inside}{name} is not served here", code="unsupported_parameter")

    def close(self, harmless: Iterable[str] = ()) -> None:
        """Raises Refusal for a field that nobody asked about, unless it is harmless to pass it over."""
        passed = set(harmless)
        for name, value in self.values.items():
            if name not in self.asked and name not in passed and value is not None:
                near = get_close_matches(name, self.asked, n=1, cutoff=0.8)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise self.bad(
                    name, f"{self.inside}{name[:60]} is no field of this request{hint}", code="unknown_parameter"
                )

    def bad(self, name: str, message: str, *given: Any, code: str | None = None) -> Refusal:
        """A 400 that names the field."""
        shown = f", not {_shown(given[0])}" if given else ""
        return Refusal(400, f"{message}{shown}.", param=f"{self.inside}{name[:60]}", code=code)


def _shown(value: Any) -> str:
    """A value in a few characters."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value):,}"
    if isinstance(value, str):
        return f"{value[:40]!r}" if len(value) <= 200 else f"a string of {len(value):,} characters"
    text = str(value) if not isinstance(value, int) or abs(value) < 10**20 else "a very large number"
    return text[:40]
