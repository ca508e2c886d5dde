"""A table as people look at it: HTML, every text escaped."""

from __future__ import annotations

from html import escape

import polars as pl

from likely.core import Rendering

MOST = 100  # rows shown


def page(frame: pl.DataFrame) -> Rendering:
    """The first rows of a frame as an HTML table, numbers to the right, missing values empty."""
    right = [' class="number"' if dtype.is_numeric() else "" for dtype in frame.dtypes]
    head = "".join(f"<th>{escape(name)}</th>" for name in frame.columns)
    rows = [
        "".join(f"<td{side}>{'' if v is None else escape(str(v))}</td>" for v, side in zip(row, right, strict=True))
        for row in frame.head(MOST).iter_rows()
    ]
    more = f"<caption>{MOST} of {frame.height:,} rows</caption>" if frame.height > MOST else ""
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    html = f"<table>{more}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return Rendering("text/html", html.encode())
