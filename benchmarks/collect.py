"""Joins parts of `tables_bench.py` (--name part-...) to results/tables.json, and prints the means.

python benchmarks/collect.py
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import numpy as np

import results
from tables_bench import COLUMNS


def main() -> None:
    """Join, print, save."""
    rows: list[dict[str, Any]] = []
    for path in [results.FOLDER / "tables.json", *sorted(results.FOLDER.glob("part-*.json"))]:
        rows += json.loads(path.read_text())["rows"] if path.exists() else []
    unique = {(row["data"], row["split"], row["method"]): row for row in rows}
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for (data, _, method), row in sorted(unique.items()):
        groups[data, method].append(row)
    means = []
    for (data, method), part in groups.items():
        mean = {name: float(np.mean([row[name] for row in part])) for name in COLUMNS[3:] if name in part[0]}
        means.append({"data": data, "method": method, "splits": len(part), **mean})
    means.sort(key=lambda row: (row["data"], row["C2ST"]))
    print(results.table(means, ["data", "method", "splits", *COLUMNS[3:]]))
    print(results.save("tables", list(unique.values()), means=means, sampling_seeds=3))
    for path in results.FOLDER.glob("part-*.json"):
        path.unlink()


if __name__ == "__main__":
    main()
