"""Small real data sets that ship with the package, as polars DataFrames. Licences and sources: `LICENSES.md`.

likely.data.support2()      9,105 critically ill patients, 47 columns, many missing values
likely.data.adult()         32,561 people of the 1994 US census, 15 columns; `adult_test()` its official test half
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

FOLDER = Path(__file__).parent


def adult() -> pl.DataFrame:
    """Adult (Becker and Kohavi 1996, doi:10.24432/C5XW20): (32561, 15); predict `income-per-year`."""
    return pl.read_parquet(FOLDER / "adult.parquet")


def adult_test() -> pl.DataFrame:
    """Adult's official test part: (16281, 15)."""
    return pl.read_parquet(FOLDER / "adult_test.parquet")


def support2() -> pl.DataFrame:
    """SUPPORT2 (Knaus et al. 1995, doi:10.7326/0003-4819-122-3-199502010-00007): (9105, 47).

    `hospdead` = 1: died in hospital.
    """
    return pl.read_parquet(FOLDER / "support2.parquet")
