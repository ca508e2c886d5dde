"""Bad input has one clear sentence; files are written whole or not at all, at constant memory."""

from __future__ import annotations

import datetime as dt
import gzip

import numpy as np
import pandas as pd
import polars as pl
import pytest

from likely.codecs.table import Table
from likely.codecs.table.read import read
from likely.codecs.table.write import Writer
from likely.errors import DataError, Mismatch, StorageError
from tests.codecs.test_table_roundtrip import rng

BODY = "\n".join(f"{i % 3},{i % 2}" for i in range(30))


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("t.csv", b"", "is empty"),
        ("t.csv", b"\n\n", "is empty"),
        ("t.csv", b"a,b\n", "no rows"),
        ("t.csv", b"a,b\n1,2\n", "has 1 row: at least 20"),
        ("t.csv", f"a,a\n{BODY}".encode(), "two columns called 'a'"),
        ("t.csv", f"a,\n{BODY}".encode(), "Column 2 of 't.csv' has no name"),
        ("t.csv", f"a,b\n{BODY}\n".encode() + b"\xff,1\n", r"byte 124 \(line 32\) is 0xff.*encoding='latin-1'"),
        ("t.csv", f"a,b\n{BODY}\n1,2,3\n".encode(), "Line 32 of 't.csv' has 3 fields, the header has 2"),
        ("t.csv", f"a,b\n{BODY}\n1\n".encode(), "Line 32 of 't.csv' has 1 field,"),
        ("t.csv", f'a,b\n"x\ny",1\n{BODY}\n1,2,3\n'.encode(), "Line 34"),
        ("t.csv.gz", b"not packed", "Cannot read"),
        ("t.parquet", b"no parquet", "no readable Parquet"),
        ("t.jsonl", b"{bad", "one JSON object a line"),
        ("t.jsonl", b"", "is empty"),
        ("t.xlsx", b"abc", "what kind of table"),
        ("t", b"abc", "what kind of table"),
    ],
)
def test_bad_files_say_what_is_wrong(tmp_path, name, data, words) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=words):
        Table().fit(tmp_path / name)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"a": [1.0, float("inf")] * 20}, "Column 'a' holds 20 infinite values"),
        ({"a": [[1], [2]] * 20}, "type list"),
        ({"a": [1] * 20, "b": [1] * 21}, "different lengths"),
        ({"a": "text"}, "list or an array"),
        ({1: [1] * 20}, "should be texts"),
        (pl.DataFrame(), "no columns"),
        ([], "no columns"),
        (pl.DataFrame({"a": [b"x"] * 30}), "Binary"),
        (pd.DataFrame([[1, 2]] * 30, columns=["a", "a"]), "two columns called 'a'"),
        (pd.Series([1] * 30), "to_frame"),
        (7, "int was given"),
        ([1, 2, 3], "list was given"),
        ("nowhere/no.csv", "No file"),
    ],
)
def test_bad_tables_say_what_is_wrong(table, words) -> None:
    with pytest.raises(DataError, match=words):
        Table().fit(table)


def test_a_folder_is_no_table(tmp_path) -> None:
    with pytest.raises(DataError, match="is a folder"):
        Table().fit(tmp_path)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"a": [None] * 30}, "always missing"),
        ({"a": ["12", "n/a", "abc"] * 20}, "category, 3 levels"),
        ({"a": [*map(str, range(0, 400, 2)), "abc"]}, "1 texts that are no numbers are read as missing"),
        ({"a": [1, "x", 2.5, None] * 10}, "category"),
        ({"a": [1e300, 1.5, -1e300, 2.0] * 10 + [1e308, -1e308]}, "real"),
        ({"a": [f"word{i} x{i * 7}" for i in range(50)]}, "text by template, 1 form"),
        ({"a": ["9999-12-31", "0001-01-01", "2024-01-01"] * 20}, "date, 0001-01-01..9999-12-31"),
        ({"a": [2**63 + i for i in range(30)]}, ""),
        ({"a": [10**30] * 30}, "constant"),
        ({"a": ["", "x"] * 20}, "category, 2 levels"),
    ],
)
def test_odd_columns_are_learned(table, words) -> None:
    codec = Table().fit(table)
    assert words in str(codec.describe()[0])
    x = codec.encode(table).x
    assert len(codec.decode(x, rng=rng())["a"]) == len(table["a"])


def test_encodings_separators_and_quotes(tmp_path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes("\ufeffa;b\n".encode() + "\n".join(f'"é;{i % 3}";{i}' for i in range(40)).encode())
    frame = read(path)
    assert frame.columns == ["a", "b"]
    assert frame["a"][1] == "é;1"
    path.write_bytes("a,b\r\né,1\r\n".encode("latin-1"))
    assert read(path, "latin-1")["a"][0] == "é"
    with pytest.raises(DataError, match="no encoding called"):
        read(path, "latin-99")
    (tmp_path / "t.tsv.gz").write_bytes(gzip.compress(b"a\tb\n1\t2\n"))
    assert read(tmp_path / "t.tsv.gz").shape == (1, 2)


def test_many_columns() -> None:
    draw = np.random.default_rng(0)
    wide = pl.DataFrame({f"c{i}": draw.integers(0, 5, 60) for i in range(1000)})
    codec = Table().fit(wide)
    x = codec.encode(wide).x
    assert codec.encode(codec.decode(x, rng=rng())).x.equal(x)


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.jsonl", "t.parquet", "t.csv.gz"])
def test_chunks_make_one_file(tmp_path, name) -> None:
    chunks = [pl.DataFrame({"a": [i, i + 1], "b": ["x,y", None], "c": [0.5, None]}) for i in range(5)]
    with Writer(tmp_path / name) as out:
        for chunk in chunks:
            out.append(chunk)
    assert out.rows == 10
    got = read(tmp_path / name)
    assert got["b"].to_list() == ["x,y", None] * 5
    assert got["a"].cast(pl.Int64).to_list() == [v for i in range(5) for v in (i, i + 1)]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def _write(path, *tables) -> None:
    with Writer(path) as out:
        for table in tables:
            out.append(table)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_an_error_leaves_the_old_file(tmp_path, name) -> None:
    path = tmp_path / name
    path.write_text("old")
    with pytest.raises(Mismatch):
        _write(path, {"a": [1]}, {"b": [1]})
    with pytest.raises(DataError):
        _write(path, {"a": [1]}, {"a": [[1]]})
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == [name]
    with pytest.raises(StorageError, match="no folder"), Writer(tmp_path / "no" / name):
        pass
    with pytest.raises(DataError, match="what kind of table"):
        Writer(tmp_path / "t.doc")


@pytest.mark.parametrize("step", [dt.timedelta(minutes=5), dt.timedelta(microseconds=1500)], ids=["minutes", "parts"])
def test_times_as_polars_writes_them_are_times(tmp_path, step) -> None:
    """It writes six decimals of a second, whether they are needed or not."""
    times = [dt.datetime(2024, 3, 1) + k * step for k in range(60)]
    pl.DataFrame({"time": times}).write_csv(tmp_path / "times.csv")
    codec = Table()
    rows = codec.read(str(tmp_path / "times.csv"))
    made = codec.fit(rows).make(codec.encode(rows).x, rng=rng(0))
    assert "datetime" in str(codec.describe()[0])
    assert made["time"].str.to_datetime("%Y-%m-%dT%H:%M:%S%.6f").is_between(times[0], times[-1]).all()
