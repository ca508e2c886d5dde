"""Score one made table against the real one with sdmetrics, to check our own figures by.

    .venv-peers/bin/python benchmarks/sdmetrics_check.py REAL.parquet MADE.parquet [--details]

Runs in the peers' environment (see peers.py), never in the library's. It prints one JSON object:
the column shapes, the column pair trends and the overall score of sdmetrics' quality report at its
defaults, and again with its two thresholds at 0. At the defaults only those pairs count whose
correlation (0.5) or association (0.3) in the real table is above the threshold; at 0 all pairs do.
The kind of a column follows from its type in the real table: numbers are numerical, booleans
boolean, dates and date-times datetime, and all others categorical.
"""

import argparse
import json
import math
import warnings
from importlib.metadata import version
from typing import Any

import polars
from sdmetrics.reports import QualityReport  # type: ignore[import-not-found]

TABLE = "table"


def kind(dtype: polars.DataType) -> str:
    """What sdmetrics calls a column of this type."""
    if dtype.is_numeric():
        return "numerical"
    if dtype == polars.Boolean:
        return "boolean"
    return "datetime" if dtype in (polars.Date, polars.Datetime) else "categorical"


def plain(value: Any) -> Any:
    """The value as JSON can hold it: a number that is not finite, and any other missing value, as null."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else None


def report(real: Any, made: Any, kinds: dict[str, str], thresholds: tuple[float, float] | None) -> QualityReport:
    """The quality report of two pandas tables, at sdmetrics' own thresholds or at the given ones."""
    quality = QualityReport()
    quality.num_rows_subsample = None  # every row counts: no random subsample of large tables
    if thresholds is not None:
        quality.real_correlation_threshold, quality.real_association_threshold = thresholds
    metadata = {"tables": {TABLE: {"columns": {name: {"sdtype": sdtype} for name, sdtype in kinds.items()}}}}
    quality.generate({TABLE: real}, {TABLE: made}, metadata, verbose=False)
    return quality


def scores(quality: QualityReport, details: bool) -> dict[str, Any]:
    """The report's scores, and on request the score of each column and each pair."""
    by_property = quality.get_properties().set_index("Property")["Score"]
    found: dict[str, Any] = {
        "column_shapes": plain(by_property["Column Shapes"]),
        "column_pair_trends": plain(by_property["Column Pair Trends"]),
        "overall": plain(quality.get_score()),
    }
    if details:
        for name in ("Column Shapes", "Column Pair Trends"):
            rows = quality.get_details(name, TABLE).drop(columns="Table", errors="ignore").to_dict("records")
            found[f"{name} details"] = [{key: plain(value) for key, value in row.items()} for row in rows]
    return found


def main() -> None:
    """Read the two files and print the scores."""
    parser = argparse.ArgumentParser(description="Score a made table against a real one with sdmetrics.")
    parser.add_argument("real", help="parquet file of the real table")
    parser.add_argument("made", help="parquet file of the made table")
    parser.add_argument("--details", action="store_true", help="also print each column's and each pair's score")
    args = parser.parse_args()
    warnings.simplefilter("ignore")

    real = polars.read_parquet(args.real)
    made = polars.read_parquet(args.made).select(real.columns)
    kinds = {name: kind(dtype) for name, dtype in real.schema.items()}
    frames = real.to_pandas(), made.to_pandas()
    result = {
        "sdmetrics": version("sdmetrics"),
        "rows": [len(real), len(made)],
        "kinds": kinds,
        "defaults": scores(report(*frames, kinds, None), args.details),
        "all_pairs": scores(report(*frames, kinds, (0, 0)), args.details),
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
