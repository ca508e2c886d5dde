"""likely: learns how likely things are, and makes more of them.

    import likely

    patients = likely.fit("patients.csv")
    patients.sample(1000)

Names and modules are imported on first use, so that `import likely` and `likely --help` stay instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from likely.version import VERSION

if TYPE_CHECKING:
    from likely import data as data
    from likely import generator as generator
    from likely import grid as grid
    from likely import latent as latent
    from likely import learning as learning
    from likely import output as output
    from likely import testing as testing
    from likely.errors import LikelyError as LikelyError
    from likely.generator import Generator as Generator
    from likely.generator import load as load
    from likely.learning import fit as fit

__version__ = VERSION

_NAMES = {
    "fit": "likely.learning",
    "load": "likely.generator",
    "Generator": "likely.generator",
    "LikelyError": "likely.errors",
}
_MODULES = {"data", "generator", "grid", "latent", "learning", "output", "testing"}

__all__ = ["Generator", "LikelyError", "__version__", "data", "fit", "load"]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(import_module(_NAMES[name]), name)
    if name in _MODULES:
        return import_module(f"likely.{name}")
    raise AttributeError(f"module 'likely' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
