"""Laws of the table codec: codes survive a round trip, types come back, nothing rare comes out."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from likely.codecs.table import Table
from likely.codecs.table.bins import Bins
from likely.errors import ArtifactError, DataError, Mismatch, NotFitted, UnknownName


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sample_frame(n: int = 400) -> pl.DataFrame:
    draw = np.random.default_rng(1)
    start = [dt.datetime(2024, 1, 1) + dt.timedelta(minutes=int(15 * m)) for m in draw.integers(0, 20_000, n)]
    return pl.DataFrame(
        {
            "age": draw.integers(17, 91, n),
            "gain": np.where(draw.random(n) < 0.9, 0, draw.lognormal(8, 1, n).astype(int)),
            "price": np.round(draw.random(n) * 30, 2),
            "real": draw.normal(size=n),
            "sex": np.where(draw.random(n) < 0.3, "F", "M"),
            "maybe": [None if i % 5 == 0 else "yes" if i % 2 else "no" for i in range(n)],
            "flag": draw.random(n) < 0.4,
            "start": start,
            "day": pl.Series(start).dt.date(),
            "clock": pl.Series(start).dt.time(),
            "stay": pl.Series([dt.timedelta(hours=int(h)) for h in draw.integers(1, 90, n)]),
            "id": [f"P-{i:05d}" for i in range(n)],
            "row": np.arange(1, n + 1),
            "note": [f"Room {i % 4}, call {draw.integers(10**6, 10**7)}" for i in range(n)],
            "same": ["k"] * n,
            "tens": draw.integers(0, 40, n) * 10,
        }
    )


cell = st.one_of(
    st.none(),
    st.integers(-(2**60), 2**60),
    st.floats(allow_nan=True, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["a", "b", "", " ", "NA", "12", "2024-01-31"]),
    st.booleans(),
)
column = st.one_of(
    st.lists(cell, min_size=20, max_size=60),
    st.lists(st.integers(-5, 5), min_size=20, max_size=60),
    st.lists(st.one_of(st.none(), st.floats(allow_infinity=False)), min_size=20, max_size=60),
    st.lists(st.sampled_from(["x", "y", "zz", None]), min_size=20, max_size=60),
    st.lists(st.datetimes(dt.datetime(1, 1, 1), dt.datetime(9990, 1, 1)), min_size=20, max_size=60),
    st.lists(st.text(max_size=12), min_size=20, max_size=60),
)


@given(st.lists(column, min_size=1, max_size=3), st.integers(1, 12))
@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_codes_survive_decoding_and_encoding(columns: list[list[object]], least: int) -> None:
    n = min(len(values) for values in columns)
    table = {f"c{i}": values[:n] for i, values in enumerate(columns)}
    codec = Table(least=least).fit(table)
    x = codec.encode(table).x
    sizes = torch.tensor(codec.space.sizes)
    assert x.shape == (n, len(sizes))
    assert ((x >= 0) & (x < sizes)).all()
    made = codec.decode(x, rng=rng())
    again = codec.encode(made).x
    for name, column in codec.columns.items():
        if column.kind in ("text", "category") and column.rare:
            continue  # the code of rare levels is drawn as a named level
        cells = codec.column_cells(name)
        assert (again[:, cells] == x[:, cells]).all(), column.report()
    loaded = Table().load(json.loads(json.dumps(codec.state(), allow_nan=False)))
    assert repr(loaded.decode(x, rng=rng())) == repr(codec.decode(x, rng=rng()))
    assert torch.isfinite(codec.volume(table)).all()
    assert np.isfinite(codec.features(table)).all()
    assert len(codec.check(table)) == n


@given(
    st.one_of(
        st.lists(st.integers(-1000, 1000), min_size=12, max_size=400),
        st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=12, max_size=200),
        st.lists(st.sampled_from([0, 1, 2, 3, 50, 51, 10**6]), min_size=12, max_size=300),
    ),
    st.integers(1, 12),
    st.one_of(st.none(), st.integers(2, 40)),
)
@settings(max_examples=120, deadline=None, derandomize=True)
def test_every_bin_holds_enough_rows(values: list[float], least: int, bins: int | None) -> None:
    array = np.array(values, np.int64 if all(isinstance(v, int) for v in values) else np.float64)
    fitted = Bins.fit(array, least=least, bins=bins)
    codes = fitted.encode(array)
    assert np.bincount(codes, minlength=fitted.size).min() >= least
    assert (np.diff(codes[np.argsort(array, kind="stable")]) >= 0).all() or fitted.size > 1
    drawn = fitted.draw(np.repeat(codes, 3), np.random.default_rng(0))
    assert (fitted.encode(drawn) == np.repeat(codes, 3)).all()
    assert drawn.min() >= array.min()
    assert drawn.max() <= array.max()


def test_describe_says_what_was_understood() -> None:
    words = {report.name: str(report) for report in Table().fit(sample_frame()).describe()}
    assert words["age"].startswith(("age: integer 17..", "age: integer 18.."))
    assert "decimal, 2 places" in words["price"]
    assert "at 0" in words["gain"]
    assert "category, 2 levels" in words["sex"]
    assert "20.0% missing" in words["maybe"]
    assert "boolean" in words["flag"]
    assert "datetime, minutes" in words["start"]
    assert "id like P-00000" in words["id"]
    assert "constant" in words["same"]
    assert "text by template, 4 forms" in words["note"]
    assert "steps of 10" in words["tens"]


def test_same_seed_same_rows_and_new_ids() -> None:
    frame = sample_frame()
    codec = Table().fit(frame)
    x = codec.encode(frame).x
    one, two = codec.decode(x, rng=rng(3)), codec.decode(x, rng=rng(3))
    assert one.equals(two)
    assert one.schema == frame.schema
    assert one["id"].n_unique() == len(one)
    assert one["row"].min() > frame["row"].max()
    more = codec.decode(x, rng=rng(4), start=len(x))
    assert not set(one["id"]) & set(more["id"])
    assert set(one["tens"] % 10) == {0}


def test_pandas_dtypes_come_back() -> None:
    n, draw = 200, np.random.default_rng(0)
    stamps = pd.date_range("2024-01-01", periods=n, freq="37min")
    frame = pd.DataFrame(
        {
            "i64": draw.integers(0, 9, n),
            "i8": draw.integers(0, 9, n).astype("int8"),
            "f32": draw.normal(size=n).astype("float32"),
            "fnan": np.where(draw.random(n) < 0.2, np.nan, 1.5),
            "b": draw.random(n) < 0.5,
            "boolean": pd.array([True, None, False, True] * 50, dtype="boolean"),
            "Int64": pd.array([1, None, 3, 4] * 50, dtype="Int64"),
            "object": pd.Series(["a", None, "b", "a"] * 50, dtype=object),
            "str": pd.Series(["a", None, "b", "a"] * 50, dtype="str"),
            "string": pd.Series(["a", None, "b", "a"] * 50, dtype="string"),
            "category": pd.Categorical(["x", "y", "x", "x"] * 50, categories=["z", "y", "x"], ordered=True),
            "coded": pd.Categorical([1, 2, 2, None] * 50),
            "ns": stamps.astype("datetime64[ns]"),
            "us": stamps.astype("datetime64[us]"),
            "rome": stamps.tz_localize("Europe/Rome"),
            "delta": stamps - stamps[0],
            "texts": ["1.50", "2.25", "3.00", "4.10"] * 50,
            "arrow": pd.Series([1, None, 3, 4] * 50, dtype="int64[pyarrow]"),
            "none": [None] * n,
            5: draw.integers(0, 3, n),
        }
    )
    codec = Table().load(json.loads(json.dumps(Table().fit(frame).state())))
    made = codec.decode(codec.encode(frame).x, rng=rng())
    assert isinstance(made, pd.DataFrame)
    assert list(made.columns) == list(frame.columns)
    assert (made.dtypes == frame.dtypes).all()
    assert set(made["texts"]) <= {"1.50", "2.25", "3.00", "4.10"} | {f"{v / 100:.2f}" for v in range(500)}
    assert list(made["category"].cat.categories) == ["z", "y", "x"]
    assert (codec.decode(codec.encode(frame).x[:0], rng=rng()).dtypes == frame.dtypes).all()


def test_polars_and_arrow_types_come_back() -> None:
    n = 200
    stamps = [dt.datetime(2024, 1, 1) + dt.timedelta(minutes=37 * i) for i in range(n)]
    frame = pl.DataFrame(
        {
            "enum": pl.Series(["a", "b", "c", "a"] * 50, dtype=pl.Enum(["a", "b", "c", "unused"])),
            "cat": pl.Series(["a", "b", "c", "a"] * 50, dtype=pl.Categorical),
            "dec": pl.Series([Decimal("1.25"), Decimal("2.50"), Decimal("-3.01"), None] * 50, dtype=pl.Decimal(10, 2)),
            "ms": pl.Series([dt.timedelta(hours=i) for i in range(n)], dtype=pl.Duration("ms")),
            "tokyo": pl.Series(stamps).cast(pl.Datetime("ns", "Asia/Tokyo")),
            "u64": pl.Series([2**63 + 5, 1, 2, 3] * 50, dtype=pl.UInt64),
            "null": pl.Series([None] * n),
            "big": [1e300, -1e300, 0.0, 5.0] * 50,
            "text": ["é", "日本", "", 'a,b"c'] * 50,
        }
    )
    codec = Table().load(json.loads(json.dumps(Table().fit(frame).state())))
    x = codec.encode(frame).x
    made = codec.decode(x, rng=rng())
    assert made.schema == frame.schema
    assert (codec.encode(made).x == x).all()
    assert made["dec"].equals(frame["dec"])
    table = frame.to_arrow()
    back = Table().fit(table)
    assert back.decode(back.encode(table).x, rng=rng()).schema.equals(table.schema)
    plain = pa.table(
        {"d": pa.array(["a", "b"] * 50).dictionary_encode(), "s": pa.array(stamps[:100], pa.timestamp("s"))}
    )
    back = Table().fit(plain)
    assert back.decode(back.encode(plain).x, rng=rng()).schema.equals(plain.schema)


def test_rows_columns_and_files_come_back(tmp_path) -> None:
    frame = sample_frame().select("age", "sex", "maybe")
    rows = frame.to_dicts()
    codec = Table().fit(rows)
    made = codec.decode(codec.encode(rows).x, rng=rng())
    assert isinstance(made, list)
    assert list(made[0]) == list(rows[0])
    columns = {"a": np.arange(100) % 7, "b": ["x", "y"] * 50}
    codec = Table().fit(columns)
    made = codec.decode(codec.encode(columns).x, rng=rng())
    assert isinstance(made["a"], np.ndarray)
    assert isinstance(made["b"], list)
    for name, write in (
        ("t.csv", frame.write_csv),
        ("t.parquet", frame.write_parquet),
        ("t.jsonl", frame.write_ndjson),
    ):
        write(tmp_path / name)
        codec = Table().fit(tmp_path / name)
        made = codec.decode(codec.encode(str(tmp_path / name)).x, rng=rng())
        assert made.schema == frame.schema


def test_texts_of_numbers_and_dates_keep_their_form(tmp_path) -> None:
    path = tmp_path / "t.csv"
    lines = [
        f"  {i % 7} , 2024-01-{i % 28 + 1:02d} 10:0{i % 10},{i % 9:05d},{'NA' if i % 5 == 0 else i}" for i in range(200)
    ]
    path.write_text("n,when,zip,x\n" + "\n".join(lines))
    codec = Table().fit(path)
    made = codec.decode(codec.encode(path).x, rng=rng())
    assert made.schema == {"n": pl.Int64, "when": pl.String, "zip": pl.String, "x": pl.Int64}
    assert made["when"].str.contains(r"^2024-01-\d\d 10:0\d$").all()
    assert made["zip"].str.contains(r"^0000\d$").all()
    assert made["x"].null_count() == 40


def test_overrides(tmp_path) -> None:
    frame = sample_frame()
    codec = Table(columns={"age": "category", "sex": "text", "note": "id", "flag": "drop"}, targets=["sex"]).fit(frame)
    kinds = {report.name: report.kind for report in codec.describe()}
    assert kinds["age"] == "category"
    assert kinds["sex"] == "text"
    assert kinds["note"] == "id"
    assert "flag" not in kinds
    assert codec.space.targets == tuple(codec.column_cells("sex"))
    with pytest.raises(UnknownName, match="Did you mean 'age'"):
        Table(columns={"agee": "integer"}).fit(frame)
    with pytest.raises(UnknownName, match="kind of column"):
        Table(columns={"age": "numbr"}).fit(frame)


def test_rare_levels_and_values_are_never_named() -> None:
    draw = np.random.default_rng(0)
    n = 1000
    names = np.where(draw.random(n) < 0.5, "common", "other").astype(object)
    names[:9] = "rare-secret"
    names[9:30] = [f"single{i}" for i in range(21)]
    pay = np.round(draw.lognormal(10, 0.5, n), 2)
    pay[0] = 98_765_432.1
    texts = [f"Dear {'Anna' if i % 2 else 'Bob'}, code {i}" for i in range(n)]
    texts[0] = "Dear Zebediah, code 0"
    frame = pl.DataFrame({"name": names.tolist(), "pay": pay, "text": texts})
    codec = Table().fit(frame)
    state = json.dumps(codec.state())
    made = codec.decode(codec.encode(frame).x.repeat(5, 1), rng=rng())
    for secret in ("rare-secret", "single1", "98765432", "Zebediah"):
        assert secret not in state
        assert secret not in made.write_csv()
    assert made["pay"].max() < 1_000_000
    assert float(frame["pay"].min()) not in made["pay"].to_list()


def test_outliers_are_surprising() -> None:
    frame = sample_frame().select("age", "sex", "real")
    codec = Table().fit(frame)
    odd = frame.head(1).with_columns(age=pl.lit(500), sex=pl.lit("Q"), real=pl.lit(60.0))
    extra = (codec.volume(odd) - codec.volume(frame.head(1)))[0]
    assert (extra > np.log(400)).all()
    reasons = codec.check(odd)[0]
    assert len(reasons) == 3
    assert codec.check(frame.slice(5, 1).with_columns(age=pl.lit("abc")))[0][0].startswith(
        "age: not of the learned type"
    )
    assert b"&lt;b&gt;" in codec.render([{"<b>": "<b>"}]).data


def test_a_heavy_tail_keeps_its_shape() -> None:
    income = np.random.default_rng(0).lognormal(10, 1, 20_000).round(2)
    codec = Table().fit({"income": income})
    made = codec.decode(codec.encode({"income": income}).x, rng=rng())["income"]
    assert "heavy tail" in str(codec.describe()[0])
    for q in (0.05, 0.5, 0.95, 0.99, 0.999):
        assert np.quantile(made, q) == pytest.approx(np.quantile(income, q), rel=0.05)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda s: s.pop("columns"),
        lambda s: s["columns"].pop(),
        lambda s: s["columns"][0].update(kind="os"),
        lambda s: s["columns"][0].update(dtype="Object"),
        lambda s: s["columns"][0]["own"]["bins"]["lo"].pop(),
        lambda s: s["columns"][0]["own"]["bins"].update(hi=[1e999]),
        lambda s: s["columns"][0]["own"]["bins"]["code"].__setitem__(0, 10**6),
        lambda s: s["columns"][0]["own"].update(places="x"),
        lambda s: s["columns"][4]["own"]["share"].append(1.0),
        lambda s: s["columns"][4]["own"].update(levels=[1, 2]),
        lambda s: s["columns"][7]["own"].update(step=0),
        lambda s: s["form"].update(kind="pickle"),
        lambda s: s.update(least=0),
        lambda s: s.update(targets=["nobody"]),
        lambda s: s["notations"].update(
            age={"kind": "date", "format": "%Y", "places": -1, "kept": True, "loose": False}
        ),
        lambda s: s["constraints"].update(constraints=[{"sort": "__import__"}]),
    ],
)
def test_damaged_states_are_refused(spoil) -> None:
    state = json.loads(json.dumps(Table().fit(sample_frame()).state()))
    spoil(state)
    with pytest.raises(ArtifactError):
        Table().load(state)


def test_use_before_fit_and_other_tables() -> None:
    with pytest.raises(NotFitted):
        Table().encode({"a": [1]})
    codec = Table().fit(sample_frame().select("age", "sex"))
    with pytest.raises(Mismatch, match="'sex'"):
        codec.encode({"age": [20, 30]})
    with pytest.raises(DataError, match="row 1"):
        codec.encode({"age": ["20", "x"], "sex": ["F", "M"]})
    with pytest.raises(Mismatch):
        codec.decode(torch.full((2, 2), 10**6), rng=rng())
