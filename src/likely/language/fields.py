"""Named values of a foreign file, checked before they are used: a config.json, the metadata of a GGUF file.

A number that is missing, of the wrong type or out of range is an error that names file, key, value and what was wanted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from likely.errors import ArtifactError, Unsupported

Choice = TypeVar("Choice")
WHOLE = 2**31 - 1
_REQUIRED: Any = object()


class Fields:
    """`values` by name; `where` names the file; `prefix` goes before each name, as "llama." in GGUF."""

    def __init__(self, values: Mapping[str, Any], where: str, prefix: str = "") -> None:
        self.values, self.where, self.prefix = values, where, prefix

    def get(self, name: str, default: Any = None) -> Any:
        """A value as it is; null is as good as none."""
        found = self.values.get(self.prefix + name)
        return default if found is None else found

    def whole(self, name: str, default: Any = _REQUIRED, low: int = 1, high: int = WHOLE) -> int:
        """An integer in [low, high]."""
        found = self.get(name, default)
        if type(found) is not int or not low <= found <= high:
            raise self.wrong(name, found, f"a whole number from {low} to {high}")
        return found

    def real(self, name: str, default: Any = _REQUIRED, low: float = 0.0, high: float = 1e12) -> float:
        """A finite number in (low, high]."""
        found = self.get(name, default)
        # Compared before anything else: NaN is in no range, and an integer may be too large for a float.
        if type(found) not in (int, float) or not low < found <= high:
            raise self.wrong(name, found, f"a number over {low:g}, up to {high:g}")
        return float(found)

    def flag(self, name: str, default: bool) -> bool:
        """True or false."""
        found = self.get(name, default)
        if type(found) is not bool:
            raise self.wrong(name, found, "true or false")
        return found

    def word(self, name: str, choices: Mapping[str, Choice], default: str | None = None) -> Choice:
        """What one of several words stands for. Raises Unsupported for any other."""
        found = self.get(name, default)
        if not isinstance(found, str) or found not in choices:
            raise Unsupported(
                f"{self.where} wants {self.prefix}{name} = {shown(found)!r}; known: {', '.join(sorted(choices))}."
            )
        return choices[found]

    def fields(self, name: str) -> Fields:
        """Values within a value; none if there are none."""
        found = self.get(name, {})
        if not isinstance(found, dict):
            raise self.wrong(name, found, "an object")
        return Fields(found, f"{self.where}, {self.prefix}{name}")

    def ids(self, name: str) -> list[int]:
        """One id or several, as eos_token_id may be."""
        found = self.get(name, [])
        found = found if isinstance(found, list) else [found]
        if len(found) > 1000 or not all(type(id) is int and 0 <= id <= WHOLE for id in found):
            raise self.wrong(name, found, "an id or a list of ids")
        return list(found)

    def wrong(self, name: str, found: object, wanted: str) -> ArtifactError:
        """The error about a value."""
        given = "is missing" if found is _REQUIRED else f"is {shown(found)!r}"
        return ArtifactError(f"{self.where}: {self.prefix}{name} {given}; wanted is {wanted}.")


def shown(value: object) -> str:
    """The beginning of a value, for an error."""
    try:
        return str(value)[:60]
    except (RecursionError, ValueError):  # nested too deeply, or a number of thousands of digits
        return f"a {type(value).__name__}"


def read_json(path: Path, largest: int = 2**26) -> dict[str, Any]:
    """The object of a JSON file of at most `largest` bytes. Raises ArtifactError where it is none."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name stands twice")
        return found

    try:
        size = path.stat().st_size
        if size > largest:
            raise ArtifactError(f"{str(path)!r} has {size} bytes; {largest} is the most that is read.")
        found = json.loads(path.read_text("utf-8"), object_pairs_hook=once)
    except FileNotFoundError as error:
        raise ArtifactError(f"There is no {path.name} in {str(path.parent)!r}.") from error
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactError(f"{str(path)!r} cannot be read as JSON: {str(error)[:120]}") from error
    if not isinstance(found, dict):
        raise ArtifactError(f"{str(path)!r} is JSON, but no object.")
    return found
