"""Reading JSON that strangers wrote: every value of a model file is checked before it is used.

A saved codec is plain JSON. These functions take one entry of a dictionary out of it, or raise ArtifactError;
nothing in a model file is trusted to have the right type, length or range.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from likely.errors import ArtifactError

MOST = 2_000_000  # entries of one list
LONGEST = 100_000  # characters of one string


def _wrong(key: str, wanted: str) -> ArtifactError:
    return ArtifactError(f"The model file is damaged or was tampered with: {key!r} should be {wanted}.")


def entry(state: Any, key: str) -> Any:
    """`state[key]`, which must exist."""
    if not isinstance(state, dict) or key not in state:
        raise ArtifactError(f"The model file is damaged: it has no {key!r}.")
    return state[key]


def text_of(state: Any, key: str, allowed: tuple[str, ...] = ()) -> str:
    """A string, one of `allowed` where given."""
    value = entry(state, key)
    if not isinstance(value, str) or len(value) > LONGEST or (allowed and value not in allowed):
        raise _wrong(key, f"one of {', '.join(allowed)}" if allowed else "a text")
    return value


def flag_of(state: Any, key: str) -> bool:
    """True or false."""
    value = entry(state, key)
    if not isinstance(value, bool):
        raise _wrong(key, "true or false")
    return value


def whole_of(state: Any, key: str, low: int = 0, high: int = 2**62) -> int:
    """An integer in [low, high]."""
    value = entry(state, key)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _wrong(key, f"an integer from {low} to {high}")
    return value


def real_of(state: Any, key: str) -> float:
    """A finite number."""
    value = entry(state, key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise _wrong(key, "a finite number")
    return float(value)


def list_of(state: Any, key: str, kind: type, most: int = MOST) -> list[Any]:
    """A list of at most `most` entries, all of one Python type (bool is no int here)."""
    value = entry(state, key)
    if not isinstance(value, list) or len(value) > most or any(type(item) is not kind for item in value):
        raise _wrong(key, f"a list of {kind.__name__}")
    if kind is str and any(len(item) > LONGEST for item in value):
        raise _wrong(key, "a list of shorter texts")
    return value


def dict_of(state: Any, key: str) -> dict[str, Any]:
    """A dictionary."""
    value = entry(state, key)
    if not isinstance(value, dict):
        raise _wrong(key, "an object")
    return value


def array_of(state: Any, key: str, dtype: type[np.generic]) -> NDArray[Any]:
    """A one-dimensional array of finite numbers."""
    value = entry(state, key)
    numbers = isinstance(value, list) and len(value) <= MOST
    whole = dtype is np.int64
    if not numbers or any(type(item) is not int and (whole or type(item) is not float) for item in value):
        raise _wrong(key, "a list of integers" if whole else "a list of numbers")
    try:
        array = np.array(value, dtype)
    except OverflowError as error:
        raise _wrong(key, "a list of numbers in range") from error
    if not np.isfinite(array).all():
        raise _wrong(key, "a list of finite numbers")
    return array
