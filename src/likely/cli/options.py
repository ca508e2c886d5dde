"""Options that several verbs share, and how their texts are read."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from likely.errors import OptionError

Model = Annotated[Path, typer.Argument(help="A model file, NAME.likely.", show_default=False)]
Table = Annotated[Path, typer.Argument(help="A table: .csv, .tsv, .parquet, .jsonl.", show_default=False)]
Out = Annotated[
    Path | None,
    typer.Option("-o", "--out", help="Where to write: .csv, .tsv, .parquet, .jsonl; standard output otherwise."),
]
Seed = Annotated[int, typer.Option("--seed", help="Same seed, same machine, same bytes.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no remarks.")]


def pairs(texts: Iterable[str], option: str, example: str) -> dict[str, str]:
    """["sex=F", "age=60..80"] -> {"sex": "F", "age": "60..80"}. Raises OptionError."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise OptionError(f"{option} {text!r} has no column or no value: write {option} {example}")
        if name.strip() in found:
            raise OptionError(f"{option} names the column {name.strip()!r} twice.")
        found[name.strip()] = value.strip()
    return found


def folder(path: Path, option: str) -> None:
    """Raises OptionError where this is no folder, nor can be one."""
    for place in (path, *path.parents):
        if place.exists() and not place.is_dir():
            raise OptionError(
                f"{option} {str(path)!r}: {str(place)!r} is a file; give a folder, or a name for a new one."
            )


def say(text: str, quiet: bool = False) -> None:
    """A remark, on standard error, so that standard output holds nothing but the result."""
    if not quiet:
        print(text, file=sys.stderr)


def show_json(value: Any) -> None:
    """Strict JSON on standard output."""
    print(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=2))
