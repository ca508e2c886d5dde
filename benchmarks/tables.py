"""The real tables of the table benchmark: how each is read, what its label is, and how it is split.

The files lie in the data folder that is shared beside the checkout; its README files give each
table's source and licence. Set LIKELY_SHARED_DATA to read them from another folder.
"""

import gzip
import os
from pathlib import Path

import numpy as np
import polars

DATA = Path(os.environ.get("LIKELY_SHARED_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")

TARGET = {"adult": "income-per-year", "support2": "hospdead", "german": "class", "pageblocks": "anomaly"}

TRAIN_SHARE = 0.7


def _require(relative: str) -> Path:
    """The path of one data file, or an exit with a sentence that says what is missing."""
    path = DATA / relative
    if not path.is_file():
        raise SystemExit(
            f"The benchmark table {path} is not there. Put the shared data folder beside the checkout "
            "(as ../shared/data), or set LIKELY_SHARED_DATA to where it is."
        )
    return path


def _csv(relative: str, nulls: tuple[str, ...] = ("",), strip: bool = False) -> polars.DataFrame:
    """Read a gzipped CSV: stray spaces stripped if asked, null tokens to null, then each column to its type."""
    with gzip.open(_require(relative), "rb") as file:
        cells = polars.read_csv(file.read(), infer_schema=False)
    if strip:
        cells = cells.select(polars.all().str.strip_chars())
    cells = cells.select(polars.when(~polars.all().is_in(list(nulls))).then(polars.all()))
    return cells.select(_typed(cells[name]) for name in cells.columns)


def _typed(column: polars.Series) -> polars.Series:
    """The column as whole numbers if every cell is one, else as numbers if every cell is one, else as text."""
    for dtype in (polars.Int64, polars.Float64):
        numbers = column.cast(dtype, strict=False)
        if numbers.null_count() == column.null_count():
            return numbers
    return column


def _adult() -> polars.DataFrame:
    """Adult: 32,561 census records; `?` is a missing cell."""
    return _csv("tables/adult_train.csv.gz", nulls=("", "?"))


def _support2() -> polars.DataFrame:
    """SUPPORT2: 9,105 hospital stays, padded cells and natural gaps; the row number `sno` is left out."""
    return _csv("tables/support2.csv.gz", strip=True).drop("sno")


def _german() -> polars.DataFrame:
    """German credit: 1,000 loans; `age_cat`, which only restates `age`, is left out."""
    return _csv("tables/german_credit.csv.gz").drop("age_cat")


def _pageblocks() -> polars.DataFrame:
    """PageBlocks: 5,393 blocks of scanned pages, ten measures each, and whether the block is an anomaly."""
    with np.load(_require("adbench/27_PageBlocks.npz"), allow_pickle=False) as arrays:
        x, y = arrays["X"], arrays["y"]
    columns = {f"f{i}": x[:, i].astype(np.int64 if _whole(x[:, i]) else np.float64) for i in range(x.shape[1])}
    labels = ["yes" if label == 1 else "no" for label in y]
    return polars.DataFrame({**columns, "anomaly": labels})


def _whole(values: np.ndarray) -> bool:
    """Whether every value is a whole number."""
    return bool(np.all(values == np.round(values)))


_LOADERS = {"adult": _adult, "support2": _support2, "german": _german, "pageblocks": _pageblocks}


def load(name: str) -> polars.DataFrame:
    """The whole table of that name: "adult", "support2", "german" or "pageblocks"."""
    if name not in _LOADERS:
        raise SystemExit(f"There is no benchmark table {name!r}; there are {', '.join(sorted(_LOADERS))}.")
    return _LOADERS[name]()


def split(df: polars.DataFrame, seed: int) -> tuple[polars.DataFrame, polars.DataFrame]:
    """Split the rows at random into train (the first 70 % of a seeded permutation) and hold-out (the rest)."""
    order = np.random.default_rng(seed).permutation(len(df))
    cut = int(TRAIN_SHARE * len(df))
    return df[order[:cut]], df[order[cut:]]
