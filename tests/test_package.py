"""What an installed package holds: all that the checkout has."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_every_file_that_is_no_module_is_packaged() -> None:
    """The C of the compiled step once was not: installed, it decoded at a third of its speed."""
    package = ROOT / "src" / "likely"
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["likely"]
    packaged = {path for pattern in named for path in package.glob(pattern)}
    other = {
        path for path in package.rglob("*")
        if path.is_file() and path.suffix not in (".py", ".pyc") and "__pycache__" not in path.parts
    }  # fmt: skip
    assert other
    assert sorted(str(path.relative_to(package)) for path in other - packaged) == []
