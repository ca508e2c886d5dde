"""The library of `step.c`."""

from __future__ import annotations

import ctypes

from likely.nn import native

SOURCES = ("step.c", "product.h", "team.h", "lanes.h")


def library(target: tuple[str, ...] | None = None) -> tuple[ctypes.CDLL | None, str]:
    """The library and what it was compiled with, or None and why not. `target`: flags in the place of this processor's
    own, to test other paths."""
    assert __package__ is not None
    return native.library(__package__, SOURCES, target)
