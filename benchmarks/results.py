"""Writing what a benchmark measured: a table for the reader, a JSON file for the record."""

from __future__ import annotations

import json
import os
import platform
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("torch", "numpy", "polars", "lightgbm", "scikit-learn")},
    }


def save(name: str, rows: list[dict[str, Any]], **about: Any) -> Path:
    """Write benchmarks/results/NAME.json."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.json"
    content = {
        "command": "python " + " ".join([f"benchmarks/{Path(sys.argv[0]).name}", *map(_placeless, sys.argv[1:])]),
        "date": date.today().isoformat(),
        "machine": machine(),
        **about,
        "rows": rows,
    }
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    return path


def _placeless(word: str) -> str:
    """An argument without where this machine keeps it: /home/me/x/bin/python -> python."""
    return Path(word).name if Path(word).is_absolute() else word


def table(rows: list[dict[str, Any]], columns: list[str]) -> str:
    """Rows as aligned text."""
    cells = [[_text(row.get(column)) for column in columns] for row in rows]
    widths = [max(len(column), *(len(row[i]) for row in cells)) for i, column in enumerate(columns)]
    lines = ["  ".join(column.ljust(width) for column, width in zip(columns, widths, strict=True))]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(line.rstrip() for line in lines)


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return (
        f"{value:.4f}"
        if isinstance(value, float) and abs(value) < 10
        else f"{value:.1f}"
        if isinstance(value, float)
        else str(value)
    )
