"""Bad tables, bad model files, bad disks: one clear sentence, exit code 2, and what was there stays as it was."""

from __future__ import annotations

import json
import pickle
import resource
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import likely
from likely.errors import ArtifactError
from tests.cli.shell import run

N = 60
RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=N).round(3)


def lines(*rows: str) -> bytes:
    return "\n".join(rows).encode() + b"\n"


FINE = [f"{i % 5},{'xy'[i % 2]}" for i in range(N)]

FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "header only": (b"a,b\n", "no rows"),
    "one row": (b"a,b\n1,2\n", "has 1 row: at least 20"),
    "all missing": (lines("a,b", *[","] * N), "nothing to learn"),
    "all constant": (lines("a,b", *["1,2"] * N), "nothing to learn"),
    "names twice": (lines("a,a", *FINE), "two columns called 'a'"),
    "no name": (lines("a,", *FINE), "has no name"),
    "no UTF-8": (lines("a,b", *FINE) + b"1,\xe9\n", "is not utf-8"),
    "ragged": (lines("a,b", *FINE, "1,2,3"), "has 3 fields, the header has 2"),
    "infinite": (lines("a,b", *[f"{x},{'1e999' if i % 9 == 0 else i % 4}" for i, x in enumerate(NUMBERS)]), "infinite"),
}


@pytest.mark.parametrize("name", FILES)
def test_bad_files(name: str, tmp_path: Path) -> None:
    data, words = FILES[name]
    (tmp_path / "t.csv").write_bytes(data)
    (tmp_path / "t.likely").write_bytes(b"the old model")
    with pytest.raises(likely.LikelyError, match=words):
        likely.fit(tmp_path / "t.csv", progress=False)
    done = run("fit t.csv -q", tmp_path)
    refused(done, words)
    assert (tmp_path / "t.likely").read_bytes() == b"the old model"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv", "t.likely"]


def refused(done: Any, words: str = "") -> None:
    """Exit code 2, nothing on standard output, one line on standard error."""
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert done.stderr.startswith("likely: ")
    assert done.stderr.count("\n") == 1
    assert words in done.stderr


TABLES: dict[str, tuple[Callable[[], Any], str]] = {
    "nothing": (lambda: None, "NoneType was given"),
    "a number": (lambda: 3, "int was given"),
    "an array": (lambda: np.zeros((N, 2)), "ndarray was given"),
    "no columns": (pl.DataFrame, "no columns"),
    "no rows": (lambda: pl.DataFrame({"a": [], "b": []}), "0 rows"),
    "no dicts": (lambda: [], "no columns"),
    "names twice": (lambda: pd.DataFrame(RNG.normal(size=(N, 2)), columns=["a", "a"]), "two columns called 'a'"),
    "infinite": (lambda: pd.DataFrame({"a": [np.inf, 1.0] * 30, "b": NUMBERS}), "30 infinite values"),
    "nested": (lambda: [{"a": {"x": 1}, "b": i % 4} for i in range(N)], "type dict"),
    "bytes": (lambda: [{"a": b"x", "b": i % 4} for i in range(N)], "type bytes"),
    "complex": (lambda: pd.DataFrame({"a": [1 + 2j] * N, "b": NUMBERS}), "complex128"),
    "no Unicode": (lambda: [{"a": "\ud800", "b": i % 4} for i in range(N)], "no valid Unicode"),
    "whole numbers too large": (lambda: pd.DataFrame({"a": [2**63 - 1, -(2**63), 0] * 20, "b": NUMBERS}), "2**61"),
    "levels of names": (
        lambda: pd.DataFrame(RNG.normal(size=(N, 2)), columns=pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")])),
        "several levels",
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_bad_tables(name: str) -> None:
    make, words = TABLES[name]
    with pytest.raises(likely.LikelyError) as caught:
        likely.fit(make(), progress=False)
    assert words in str(caught.value)


ODD: dict[str, Callable[[], Any]] = {
    "one column": lambda: pl.DataFrame({"a": RNG.integers(0, 5, N)}),
    "a column that is missing": lambda: pl.DataFrame({"a": RNG.integers(0, 5, N), "b": [None] * N}),
    "mixed types": lambda: pd.DataFrame({"a": [1, "x", 2.5, None] * 15, "b": NUMBERS}),
    "missing numbers": lambda: pd.DataFrame({"a": [np.nan, 1.0, 2.0] * 20, "b": NUMBERS}),
    "huge": lambda: pd.DataFrame({"a": NUMBERS * 1e300, "b": NUMBERS}),
    "tiny": lambda: pd.DataFrame({"a": NUMBERS * 1e-300, "b": NUMBERS}),
    "dates of all ages": lambda: pl.DataFrame(
        {"a": [date(1, 1, 1) + timedelta(days=60_000 * i) for i in range(N)], "b": NUMBERS}
    ),
    "texts that never repeat": lambda: pl.DataFrame(
        {"a": [f"{x:x} {i}" for i, x in enumerate(RNG.integers(10**9, size=N))], "b": NUMBERS}
    ),
    "a target of one class": lambda: pl.DataFrame({"a": NUMBERS, "b": ["yes"] * N}),
    "booleans": lambda: [{"a": bool(i % 3), "b": i % 4} for i in range(N)],
    "texts with zero bytes": lambda: [{"a": "x\0y" if i % 2 else "z", "b": i % 4} for i in range(N)],
}


@pytest.mark.parametrize("name", ODD)
def test_odd_tables_are_learned(name: str, tmp_path: Path) -> None:
    table = ODD[name]()
    gen = likely.fit(table, target="b" if name == "a target of one class" else None, progress=False)
    again = likely.load(gen.save(tmp_path / "m.likely"))
    assert len(again.sample(30, seed=0)) == 30
    assert np.isfinite(again.surprise(table)).all()


def test_a_thousand_columns_and_thirty_rows() -> None:
    table = pl.DataFrame({f"c{i}": RNG.normal(size=30).round(2) for i in range(1500)})
    started = time.process_time()
    gen = likely.fit(table, progress=False)
    assert "too few" in gen.notes[0]
    assert gen.sample(5).shape == (5, 1500)
    assert time.process_time() - started < 60


# ---------------------------------------------------------------------------------------------------- model files


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    table = pl.DataFrame({"a": RNG.integers(0, 9, 200), "b": RNG.choice(["x", "y"], 200)})
    path = tmp_path_factory.mktemp("model") / "m.likely"
    return likely.fit(table, progress=False).save(path).read_bytes()


def newer(data: bytes) -> bytes:
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    label = json.loads(header["__metadata__"]["likely"])
    label["format"] = 99
    header["__metadata__"]["likely"] = json.dumps(label)
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data[8 + length :]


def flipped(data: bytes, place: float) -> bytes:
    at = int(place * (len(data) - 1))
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut to half": lambda data: data[: len(data) // 2],
    "cut by a byte": lambda data: data[:-1],
    "longer by a byte": lambda data: data + b"\0",
    "first byte flipped": lambda data: flipped(data, 0.0),
    "a flip in the header": lambda data: flipped(data, 0.3),
    "last byte flipped": lambda data: flipped(data, 1.0),
    "of a newer version": newer,
    "a pickle": lambda data: pickle.dumps({"weights": [1, 2, 3]}),
    "a zip": lambda data: b"PK\x03\x04" + data,
    "a text": lambda data: b"age,sex\n1,2\n" * 20,
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_models(name: str, model: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.likely").write_bytes(BROKEN[name](model))
    with pytest.raises(ArtifactError):
        likely.load(tmp_path / "m.likely")
    refused(run("sample m.likely -q", tmp_path), "m.likely")


# ----------------------------------------------------------------------------------------------------------- disks


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="this system has no limit on the size of a file")
@pytest.mark.parametrize("name", ["rows.csv", "rows.parquet"])
def test_a_full_disk_leaves_the_old_file(name: str, model: bytes, tmp_path: Path) -> None:
    """A file that may not grow beyond 20 kB fails like a full disk does: with an OSError in the middle of writing."""
    (tmp_path / "m.likely").write_bytes(model)
    (tmp_path / name).write_bytes(b"the old rows")
    code = (
        "import resource, signal, sys, likely.cli; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); likely.cli.main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "sample", "m.likely", "-n", "200000", "-o", name, "-q"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    refused(done, name)
    assert (tmp_path / name).read_bytes() == b"the old rows"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["m.likely", name])


@pytest.mark.parametrize(
    "command",
    [
        "sample m.likely -o t.csv/rows.csv",
        "fit t.csv -o t.csv/m.likely",
        "report m.likely --holdout t.csv -o t.csv/r.html",
    ],
)
def test_a_place_that_cannot_be_written(command: str, model: bytes, tmp_path: Path) -> None:
    """A file in the place of a folder refuses everyone, root too."""
    (tmp_path / "m.likely").write_bytes(model)
    (tmp_path / "t.csv").write_bytes(lines("a,b", *FINE))
    refused(run(f"{command} -q", tmp_path), "t.csv")


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="this system has no folder that refuses root")
@pytest.mark.parametrize("command", ["sample m.likely -o /proc/rows.csv", "fit t.csv -o /proc/m.likely"])
def test_a_folder_that_cannot_be_written(command: str, model: bytes, tmp_path: Path) -> None:
    (tmp_path / "m.likely").write_bytes(model)
    (tmp_path / "t.csv").write_bytes(lines("a,b", *FINE))
    refused(run(f"{command} -q", tmp_path), "/proc")
