"""Laws of the series codec: values and stamps come back, windows cross nothing, what was mended is said."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

from likely.codecs.series import Series, Windows, windows
from likely.codecs.series.period import period_of
from likely.core import Reals
from likely.errors import ArtifactError, ConditionError, DataError, Mismatch, NotFitted, OptionError, UnknownName
from tests.codecs.test_table_roundtrip import rng

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def pump(n: int = 600, seed: int = 0) -> pl.DataFrame:
    draw = np.random.default_rng(seed)
    t = np.arange(n)
    start = dt.datetime(2024, 3, 1)
    return pl.DataFrame(
        {
            "time": [start + dt.timedelta(minutes=5 * int(i)) for i in t],
            "heat": np.round(60 + 10 * np.sin(2 * np.pi * t / 24) + draw.normal(size=n), 2),
            "count": draw.poisson(40, n),
            "mode": np.where((t // 50) % 2 == 0, "run", "idle"),
            "valve": (t // 30) % 3 == 0,
            "site": ["A"] * n,
            "dead": pl.Series([None] * n, dtype=pl.Float64),
        }
    )


def learned(items: Any, **options: Any) -> tuple[Series, Windows]:
    codec = Series(**options)
    own = codec.read(items)
    codec.fit(own)
    return codec, own


# ------------------------------------------------------------------------------------------------- round trips


@pytest.mark.parametrize("kind", ["polars", "pandas", "arrow", "columns", "rows"])
def test_tables_come_back_with_their_columns_types_and_stamps(kind: str) -> None:
    frame = pump()
    table: Any = {
        "polars": lambda: frame,
        "pandas": frame.to_pandas,
        "arrow": frame.to_arrow,
        "columns": lambda: frame.to_dict(as_series=False),
        "rows": frame.to_dicts,
    }[kind]()
    codec, own = learned(table, window=24, stride=24)
    back = codec.give(codec.make(codec.encode(own).x, rng=rng()))
    assert type(back) is type(table)
    made = pl.DataFrame(back) if isinstance(back, dict | list) else back
    made = pl.from_pandas(back) if isinstance(back, pd.DataFrame) else made
    made = pl.DataFrame(pl.from_arrow(back)) if isinstance(back, pa.Table) else made
    assert made.columns == ["window", *frame.columns]
    assert made["window"].to_list() == np.arange(1, 26).repeat(24).tolist()
    assert made["count"].to_list() == frame["count"].to_list()
    assert made["heat"].to_list() == frame["heat"].to_list()
    assert made["mode"].to_list() == frame["mode"].to_list()
    assert made["valve"].to_list() == frame["valve"].to_list()
    assert made["site"].unique().to_list() == ["A"]
    assert made["dead"].null_count() == 600
    assert made["time"][:24].to_list() == frame["time"][:24].to_list()
    if isinstance(back, pl.DataFrame):
        assert back.drop("window").schema == frame.schema


@pytest.mark.parametrize(("shape", "kind"), [((400,), "1"), ((400, 3), "2"), ((40, 16, 3), "3")])
@pytest.mark.parametrize("dtype", ["float32", "int16", "float64"])
def test_arrays_come_back(shape: tuple[int, ...], kind: str, dtype: str) -> None:
    values = (100 * np.random.default_rng(0).normal(size=shape)).astype(dtype)
    codec, own = learned(values, window=16, stride=16)
    assert codec.space == Reals((16, 1 if kind == "1" else 3))
    back = codec.give(codec.make(codec.encode(own).x, rng=rng()))
    assert back.dtype == values.dtype
    assert back.shape == ((25, 16) if kind == "1" else (25, 16, 3) if kind == "2" else shape)
    close = np.abs(back.reshape(-1).astype(float) - values.reshape(-1).astype(float))
    assert close.max() <= (0 if dtype == "int16" else 1e-4)


def test_lists_tensors_and_constant_channels_of_arrays() -> None:
    draw = np.random.default_rng(0)
    parts = [draw.normal(size=(length, 2)) for length in (50, 33, 41)]
    for part in parts:
        part[:, 1] = 7.5
    codec, own = learned(parts, window=10, stride=2)
    assert set(own.entity.tolist()) == {"0", "1", "2"}
    back = codec.give(own)
    assert isinstance(back, list)
    assert back[0].shape == (10, 2)
    assert (back[3][:, 1] == 7.5).all()
    tensor = torch.randn(30, 8, 2, generator=rng())
    codec, own = learned(tensor)
    assert torch.allclose(codec.give(codec.make(codec.encode(own).x, rng=rng())), tensor, atol=1e-5)


def test_channels_are_of_unit_size_and_levels_are_one_hot() -> None:
    codec, own = learned(pump(), window=24)
    x = codec.encode(own).x
    assert x.dtype == torch.float32
    assert codec.space.shape == (24, 6)
    assert codec.space.onehot == ((2, 4), (4, 6))
    assert codec.cells == ["heat", "count", "mode", "mode", "valve", "valve"] * 24
    for a, b in codec.space.onehot:
        assert ((x[..., a:b] == 0) | (x[..., a:b] == 1)).all()
        assert (x[..., a:b].sum(-1) == 1).all()
    assert x[..., :2].median().abs() < 0.2
    assert 0.5 < x[..., :2].std() < 1.5


def test_one_wild_sensor_reading_does_not_squeeze_the_rest() -> None:
    values = np.random.default_rng(0).normal(size=(2000, 1))
    values[1000] = 1e6
    codec, own = learned(values, window=10)
    x = codec.encode(own).x
    assert 1e4 > x.abs().max() > 100
    values[1000] = 40
    codec, own = learned(values, window=10)
    assert 0.7 < codec.encode(own).x[:500].std() < 1.3


def test_made_values_keep_the_nature_of_their_channel() -> None:
    codec, own = learned(pump(), window=24)
    noise = codec.encode(own).x * 3 + torch.randn(len(own), 24, 6, generator=rng())
    frame = codec.give(codec.make(noise, rng=rng()))
    assert frame["count"].dtype == pl.Int64
    assert frame["count"].min() == 0
    assert frame["heat"].min() >= 0
    assert (frame["heat"] == frame["heat"].round(2)).all()
    assert set(frame["mode"]) == {"run", "idle"}
    assert frame["count"].max() > 100
    bounded, own = learned(pump(), window=24, bounded=True)
    assert bounded.give(bounded.make(noise, rng=rng()))["count"].max() <= 1.1 * pump()["count"].max()
    wild = torch.full((2, 24, 6), float("nan"))
    assert not any(codec.check(codec.make(wild, rng=rng())))
    assert not any(codec.check(codec.make(noise, rng=rng())))


def test_every_method_of_the_contract() -> None:
    codec, own = learned(pump(), window=24, stride=3)
    x = codec.encode(own).x
    n = len(own)
    assert own[np.array([2, 5])].equals(own[2:8:3])
    assert len(own[np.arange(n) % 2 == 0]) == (n + 1) // 2
    assert torch.equal(codec.encode(codec.join([own, own[:4]])).x, torch.cat([x, x[:4]]))
    odd = np.arange(n) % 2 == 1
    mixed = codec.encode(codec.replace(own, odd, own[np.zeros(odd.sum(), int)])).x
    assert torch.equal(mixed, torch.where(torch.from_numpy(odd)[:, None, None], x[:1], x))
    assert torch.allclose(codec.encode(codec.make(x, rng=rng())).x, x, atol=1e-3)
    assert not codec.rejects(own).any()
    assert codec.promises() == []
    assert codec.check(own) == [[]] * n
    features = codec.features(own)
    assert len(features) == n
    assert np.isfinite(features).all()
    assert codec.volume(own).shape == (n, 1)
    assert codec.settle(own) is own
    assert codec.conditions(own) is None
    assert codec.partial(own).mask.all()
    assert codec.make(x[:2], rng=rng(), start=7).entity.tolist() == ["8", "9"]
    with pytest.raises(ConditionError, match="calendar=True"):
        codec.condition({"hour": 3})
    state = json.loads(json.dumps(codec.state(), allow_nan=False))
    other = Series().load(state)
    assert other.state() == state
    assert other.space == codec.space
    assert torch.equal(other.encode(own).x, x)
    assert other.give(other.make(x, rng=rng())).equals(codec.give(codec.make(x, rng=rng())))
    assert other.read(pump()).equals(own)
    with pytest.raises(NotFitted):
        Series().space  # noqa: B018
    with pytest.raises(NotFitted):
        Series().windows(pump())


def test_holes_are_known_and_kept() -> None:
    values = np.random.default_rng(0).normal(size=(40, 12, 2))
    codec, _ = learned(values)
    torn = values[:3].copy()
    torn[:, 6:, 1] = np.nan
    own = codec.read(torn)
    known = codec.partial(own)
    assert (~known.mask).sum() == 3 * 6
    assert (known.x[~known.mask] == 0).all()
    made = codec.give(codec.make(torch.zeros(3, 12, 2), rng=rng(), within=own))
    assert np.array_equal(made[~np.isnan(torn)], torn[~np.isnan(torn)])
    assert np.isfinite(made).all()


# ------------------------------------------------------------------------------------------------ time


def test_the_time_column_is_found() -> None:
    for name in ("when", "timestamp", "x"):
        codec, _ = learned(pump().rename({"time": name}), window=24)
        assert codec.plan is not None
        assert codec.plan.time == name
    cycles = pump().with_columns(pl.int_range(600).alias("cycle")).drop("time")
    assert "time 'cycle', one row each 1" in learned(cycles, window=24)[0].describe()[0]
    dates = pump().with_columns(pl.col("time").dt.offset_by("0d").dt.date()).unique("time", maintain_order=True)
    with pytest.raises(DataError, match="at least"):
        learned(dates, window=24)
    daily = pump().with_columns(pl.date_range(dt.date(2020, 1, 1), dt.date(2021, 8, 22)).alias("time"))
    codec, own = learned(daily, window=14, stride=14)
    assert "one row each 1 day" in codec.describe()[0]
    assert codec.give(own)["time"][0] == dt.date(2020, 1, 1)
    with pytest.raises(DataError, match=r"no column of time among 'heat', 'count'.*time=False"):
        Series().read(pump().drop("time"))
    assert len(learned(pump().drop("time"), window=24, time=False)[1]) > 100
    two = pump().with_columns(pl.col("time").alias("made"), pl.col("time").alias("sold")).drop("time")
    with pytest.raises(DataError, match=r"2 columns of dates \('made', 'sold'\)"):
        Series().read(two)
    assert learned(two, time="sold", window=24)[0].describe()
    with pytest.raises(UnknownName, match="'time'"):
        Series(time="tine").read(pump())
    with pytest.raises(DataError, match="dates or numbers"):
        Series(time="mode").read(pump())


def test_csv_files_with_and_without_stamps_in_words(tmp_path: Path) -> None:
    frame = pump().drop("dead")
    frame.with_columns(pl.col("time").dt.to_string("%d.%m.%Y %H:%M")).write_csv(tmp_path / "a.csv")
    codec, own = learned(tmp_path / "a.csv", window=24, stride=24)
    back = codec.give(own)
    assert back["time"][1] == "01.03.2024 00:05"
    assert back["heat"].to_list() == frame["heat"].to_list()
    assert codec.read(tmp_path / "a.csv").equals(own)
    frame.write_parquet(tmp_path / "a.parquet")
    assert len(codec.read(tmp_path / "a.parquet")) == 25


def test_zones_and_units_come_back() -> None:
    frame = pump().with_columns(pl.col("time").dt.cast_time_unit("ns").dt.replace_time_zone("Europe/Berlin"))
    codec, own = learned(frame, window=24, stride=24)
    back = codec.give(own)
    assert back["time"].dtype == frame["time"].dtype
    assert back["time"].to_list() == frame["time"].to_list()


def test_unsorted_rows_and_double_stamps_are_mended_and_said() -> None:
    frame = pump()
    _, own = learned(frame, window=24, stride=24)
    again = pl.concat([frame, frame[:5].with_columns(pl.lit(0.0).alias("heat")), frame[100:101]])
    mixed = again[np.random.default_rng(0).permutation(len(again))]
    codec, other = learned(mixed, window=24, stride=24)
    text = "\n".join(codec.describe())
    assert "rows were not in the order of time: sorted" in text
    assert "6 rows repeat a stamp: the last of each was kept (or name the column that tells them apart" in text
    numbers = [0, 1]  # the codes of levels go by their frequency
    assert np.array_equal(own.values[1:, :, numbers], other.values[1:, :, numbers])
    last = learned(pl.concat([frame, frame[:1].with_columns(pl.lit(1.0).alias("heat"))]), window=24)[1]
    assert last.values[0, 0, 0] == 1.0
    torn = frame.with_columns(pl.when(pl.int_range(600) == 7).then(None).otherwise(pl.col("time")).alias("time"))
    codec, _ = learned(torn, window=24)
    assert "1 rows without a stamp or an entity were left out" in codec.describe()


def test_small_gaps_are_filled_and_large_ones_divide() -> None:
    frame = pump()
    keep = np.ones(600, bool)
    keep[[50, 51]] = False  # two missing steps
    keep[200:230] = False
    codec, own = learned(frame.filter(pl.Series(keep)), window=24, stride=1)
    text = "\n".join(codec.describe())
    assert "missing values in gaps of at most 3 steps were filled" in text
    assert "1 longer gaps: windows do not cross them" in text
    assert len(own) == (200 - 23) + (370 - 23)
    heat = frame["heat"].to_numpy()
    assert np.isclose(own.values[30, 20, 0], heat[49] + (heat[52] - heat[49]) / 3)
    assert own.values[30, 20, 2] == own.values[30, 19, 2]
    assert np.array_equal(own.values[177, :, 0], heat[230:254])
    # Rows of the input, which lacks two of them.
    assert own.origin[0].tolist() == [0, 24]
    assert own.origin[60].tolist() == [58, 82]
    holes = frame.with_columns(
        pl.when(pl.int_range(600).is_in([9, 10])).then(None).otherwise(pl.col("heat")).alias("heat")
    )
    codec, own = learned(holes, window=24, stride=1)
    assert "2 missing values in gaps of at most 3 steps were filled" in codec.describe()
    assert len(own) == 577


def test_jitter_is_kept_and_irregular_steps_are_interpolated() -> None:
    draw = np.random.default_rng(0)
    t = np.arange(500) + draw.uniform(-0.1, 0.1, 500)
    frame = pl.DataFrame({"time": t, "v": np.sin(t / 5)})
    codec, own = learned(frame, window=20, stride=20)
    assert np.array_equal(own.values.reshape(-1), frame["v"].to_numpy())
    t = np.cumsum(draw.exponential(1.0, 2000))
    frame = pl.DataFrame({"time": t, "v": np.sin(t / 20), "w": np.where(np.sin(t / 9) > 0, "up", "down")})
    codec, own = learned(frame, window=40, stride=40)
    assert any("the steps of time vary: every channel was interpolated" in line for line in codec.describe())
    first = own.start[5] + codec.step * np.arange(40)
    assert np.abs(own.values[5, :, 0] - np.sin(first / 20)).max() < 0.05
    assert set(np.unique(own.values[..., 1])) == {0.0, 1.0}
    rows = own.origin[5]
    assert t[rows[0]] <= first[0] < t[rows[0] + 1]
    assert t[rows[1] - 1] <= first[-1] < t[rows[1]]


def test_windows_never_cross_entities() -> None:
    parts = [
        pump(80 + 10 * k, seed=k).with_columns(pl.lit(f"p{k}").alias("pump"), pl.lit(k).alias("which"))
        for k in range(4)
    ]
    frame = pl.concat(parts).drop("site")
    codec, own = learned(frame, window=24, stride=1, columns={"which": "number"})
    assert codec.plan is not None
    assert codec.plan.entity == "pump"
    assert len(own) == sum(80 + 10 * k - 23 for k in range(4))
    place = [channel.name for channel in codec.channels].index("which")
    assert (own.values[..., place] == own.values[:, :1, place]).all()
    back = codec.give(codec.make(codec.encode(own).x[:3], rng=rng()))
    assert "window" not in back.columns
    assert back["pump"].unique(maintain_order=True).to_list() == ["1", "2", "3"]
    assert codec.give(own[:1])["pump"][0] == "p0"
    interleaved = frame.sort("time", maintain_order=True)
    codec, other = learned(interleaved, window=24, stride=1, columns={"which": "number"})
    assert np.array_equal(other.values, own.values)
    assert not any("sorted" in line for line in codec.describe())
    short = pl.concat([frame, pump(9).with_columns(pl.lit("p9").alias("pump"), pl.lit(9).alias("which")).drop("site")])
    assert "1 of 5 runs are shorter than a window and were left out" in learned(short, window=24)[0].describe()
    named = frame.with_columns(pl.col("which").alias("unit")).drop("pump", "which")
    codec, _ = learned(named, window=24)
    assert codec.plan is not None
    assert codec.plan.entity == "unit"
    assert codec.give(codec.make(torch.zeros(2, *codec.space.shape), rng=rng()))["unit"].dtype == named["unit"].dtype
    with pytest.raises(UnknownName):
        Series(entity="nobody").read(frame)
    listed = frame.with_columns(pl.col("pump").cast(pl.Enum(["p0", "p1", "p2", "p3"]))).to_pandas()
    codec, own = learned(listed, window=24)
    assert codec.give(codec.make(codec.encode(own).x[:2], rng=rng()))["pump"].tolist()[0] == "1"


# ---------------------------------------------------------------------------------------------- windows


def test_the_window_is_the_period_of_the_data() -> None:
    assert period_of(np.sin(2 * np.pi * np.arange(1000) / 37)) == 37
    assert period_of(np.random.default_rng(0).normal(size=1000)) is None
    assert period_of(np.zeros(1000)) is None
    codec, _ = learned(pump().select("time", "heat"))
    assert codec.space.shape == (24, 1)
    assert "windows of 24 moments (the period of the data), one every 1" in codec.describe()
    noise = np.random.default_rng(0).normal(size=(3000, 2))
    assert learned(noise)[0].space.shape == (64, 2)
    assert learned(noise[:200])[0].space.shape == (20, 2)


def test_scoring_covers_every_row_and_says_where() -> None:
    frame = pump()
    codec, _ = learned(frame, window=24)
    own = windows(frame[:101], codec, stride=10)
    assert own.origin.tolist() == [[k, k + 24] for k in [*range(0, 71, 10), 77]]
    assert len(codec.windows(frame)) == 577
    heat = frame["heat"].to_numpy()
    for row in own[np.array([1, 8])].origin:
        which = int(np.flatnonzero((own.origin == row).all(1))[0])
        assert np.array_equal(own.values[which, :, 0], heat[row[0] : row[1]])


def test_what_is_set_aside_shares_no_moment_with_what_is_learned() -> None:
    for items in (pump(3000), [np.random.default_rng(k).normal(size=(90, 2)) for k in range(40)]):
        codec, own = learned(items, window=24, stride=1)
        kept, aside = codec.apart(own, 0.2, seed=1)
        assert 0.1 * len(own) < len(aside) < 0.3 * len(own)
        assert len(kept) > 0.5 * len(own)
        length = 24 * codec.step
        for name in np.unique(own.entity):
            a = own.start[aside][own.entity[aside] == name]
            b = own.start[kept][own.entity[kept] == name]
            if len(a) and len(b):
                assert np.abs(a[:, None] - b[None]).min() >= length
        assert len(codec.apart(own, 0.0, seed=1)[1]) == 0


def test_the_calendar_and_the_entity_are_conditions() -> None:
    codec, own = learned(pump(), window=12, stride=12, calendar=True)
    frame = codec.conditions(own)
    assert frame is not None
    assert frame["hour"][:3].to_list() == [0, 1, 2]
    assert frame["weekday"][0] == "Friday"
    two = pl.concat([pump(200, seed=k).with_columns(pl.lit(f"p{k}").alias("pump")) for k in range(2)])
    codec, own = learned(two, window=12, stride=12)
    frame = codec.conditions(own)
    assert frame is not None
    assert frame["entity"].n_unique() == 2


# ---------------------------------------------------------------------------------------------------- bad input


def test_nothing_to_learn() -> None:
    frame = pump()
    with pytest.raises(
        DataError, match=r"A window has 700 moments, the longest run without a gap has 600: give at least 700"
    ):
        Series(window=700).read(frame)
    with pytest.raises(DataError, match="gives 1 window of 600 moments: at least 10"):
        Series(window=600).fit(frame)
    with pytest.raises(DataError, match="Every channel is empty or constant"):
        Series().read(frame.select("time", "site", "dead"))
    with pytest.raises(DataError, match="no channel of numbers or levels beside 'time'"):
        Series().read(frame.select("time"))
    with pytest.raises(DataError, match="Column 'time' holds Null, dates or numbers are wanted"):
        Series().read(frame.with_columns(pl.lit(None).alias("time")))
    with pytest.raises(DataError, match="Column 'time' holds String"):
        Series().read(frame.with_columns(pl.lit("noon").alias("time")))
    with pytest.raises(DataError, match="same time"):
        Series().read(frame.with_columns(pl.lit(dt.datetime(2024, 1, 1)).alias("time")))
    with pytest.raises(DataError, match=r"'heat' holds 1 infinite values.*'drop'"):
        Series().read(
            frame.with_columns(pl.when(pl.int_range(600) == 5).then(np.inf).otherwise(pl.col("heat")).alias("heat"))
        )
    torn = frame.with_columns(pl.when(pl.int_range(600) % 2 == 0).then(pl.col("heat")).alias("heat"),
                              pl.when(pl.int_range(600) < 40).then(pl.col("count")).alias("count"))  # fmt: skip
    with pytest.raises(DataError, match="longest run without a gap has"):
        Series(window=60, gap=0).read(torn)
    never = pl.DataFrame(
        {"time": np.arange(100.0), "a": [1.0, 2.0] * 25 + [None] * 50, "b": [None] * 50 + [1.0, 3.0] * 25}
    )
    with pytest.raises(DataError, match="No moment has a value of every channel"):
        Series().read(never)
    with pytest.raises(DataError, match="list is empty"):
        Series().read([])
    for odd in (np.zeros((2, 2, 2, 2)), np.zeros((0, 3)), np.full((9, 2), "a")):
        with pytest.raises(DataError, match="is no series"):
            Series().read(odd)
    with pytest.raises(DataError, match="infinite"):
        Series().read(np.full((50, 2), np.inf))
    with pytest.raises(DataError, match="list of recordings"):
        Series().read([np.zeros((9, 2)), np.zeros((9, 3))])


def test_columns_that_are_no_channels_are_left_out_and_said() -> None:
    frame = pump().with_columns(
        pl.Series("note", [f"remark {i}" for i in range(600)]), pl.lit(dt.time(4)).alias("clock")
    )
    codec, own = learned(frame, window=24)
    text = "\n".join(codec.describe())
    assert "'note' has 600 different texts: left out" in text
    assert "'clock' holds Time: left out" in text
    assert "'dead' is empty: left out, given back as missing" in text
    assert "'site'" not in text
    assert not {"note", "clock"} & set(codec.give(own[:1]).columns)
    codec, _ = learned(frame, window=24, columns={"heat": "drop", "count": "category"}, least=5)
    assert [(c.name, c.kind) for c in codec.channels] == [("count", "level"), ("mode", "level"), ("valve", "level")]
    with pytest.raises(UnknownName, match="kind of channel"):
        Series(columns={"heat": "float"}).read(frame)
    with pytest.raises(UnknownName, match="'heat'"):
        Series(columns={"heath": "drop"}).read(frame)
    with pytest.raises(DataError, match="which is no number"):
        Series(columns={"mode": "number"}).read(frame)


def test_levels_of_few_rows_are_not_named() -> None:
    frame = pump().with_columns(
        pl.when(pl.int_range(600) < 4).then(pl.lit("secret")).otherwise(pl.col("mode")).alias("mode")
    )
    codec, own = learned(frame, window=24)
    assert "secret" not in json.dumps(codec.state())
    assert "'mode': 4 values of rare levels are read as the commonest" in codec.describe()
    assert not any("never seen" in reason for row in codec.check(own[50:]) for reason in row)


def test_later_series_that_do_not_fit() -> None:
    codec, own = learned(pump(), window=24)
    with pytest.raises(Mismatch, match="lacks the column 'heat'"):
        codec.read(pump().drop("heat"))
    with pytest.raises(DataError, match="numbers were learned"):
        codec.read(pump().with_columns(pl.col("mode").alias("heat"), pl.lit(dt.date(2020, 1, 1)).alias("count")))
    with pytest.raises(Mismatch, match="another kind"):
        codec.read(np.zeros((40, 4)))
    with pytest.raises(DataError, match="longest run without a gap has 10"):
        codec.read(pump(10))
    wild = codec.read(pump().with_columns(pl.lit(1e300).alias("heat")))
    assert torch.isfinite(codec.encode(wild).x ** 2).all()
    strange = codec.read(pump().with_columns(pl.lit("fire").alias("mode")))
    assert codec.check(strange)[0] == ["mode: a level that was never seen"]
    assert (codec.encode(strange).x[..., 2:4] == 0).all()
    with pytest.raises(Mismatch, match="Windows of"):
        codec.encode(Windows(own.values[:, :5], own.start, own.entity, own.origin))
    with pytest.raises(Mismatch, match="Reals of shape"):
        codec.make(torch.zeros(2, 5, 6), rng=rng())
    arrays, _ = learned(np.random.default_rng(0).normal(size=(300, 2)), window=10)
    with pytest.raises(Mismatch, match="2 channels were learned, 3 were given"):
        arrays.read(np.zeros((50, 3)))


def test_options_that_make_no_sense() -> None:
    for options in (
        {"window": 1},
        {"stride": 0},
        {"gap": -1},
        {"least": 0},
        {"window": 2.5},
        {"stride": True},
        {"time": True},
    ):
        with pytest.raises(OptionError):
            Series(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "value"),
    [(("length",), 0), (("step",), -1.0), (("plan", "kind"), "eval"), (("plan", "time"), "gone"),
     (("plan", "channels"), []), (("plan", "channels", 0, "scale"), 0.0), (("plan", "channels", 2, "levels"), ["a"]),
     (("said",), [1])],
    ids=range(8),
)  # fmt: skip
def test_a_state_that_was_tampered_with(path: tuple[Any, ...], value: Any) -> None:
    state = json.loads(json.dumps(learned(pump(), window=24)[0].state()))
    place: Any = state
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ArtifactError):
        Series().load(state)


# ------------------------------------------------------------------------------------------------ looking, real data


def test_the_plot_is_safe_svg() -> None:
    frame = pump().rename({"heat": "<script>heat & more"})
    codec, own = learned(frame, window=24)
    shown = codec.render(own)
    assert shown.media == "image/svg+xml"
    text = shown.data.decode()
    assert text.startswith("<svg")
    assert "<script>" not in text
    assert text.count('class="line"') == 4 * 4
    import xml.etree.ElementTree as ET

    ET.fromstring(text)
    made = codec.make(codec.encode(own).x[:1], rng=rng())
    assert "made 1" in codec.render(made).data.decode()


def test_real_series_and_engines() -> None:
    if not (DATA / "cmapss").exists():
        pytest.skip("the shared data are not here")
    codec, own = learned(DATA / "cmapss/train_FD001.csv.gz", window=30, stride=5)
    assert codec.plan is not None
    assert (codec.plan.time, codec.plan.entity) == ("cycle", "unit")
    assert codec.encode(own).x.abs().max() < 30
    assert len(np.unique(own.entity)) == 100
    x = codec.encode(own).x
    assert torch.allclose(codec.encode(codec.make(x, rng=rng())).x, x, atol=1e-3)
    last = codec.windows(DATA / "cmapss/test_FD001.csv.gz", stride=30)
    assert len(np.unique(last.entity)) == 100
    taxi, own = learned(DATA / "series/nab_nyc_taxi.csv.gz", columns={"label": "drop", "point": "drop"})
    assert taxi.space.shape == (48, 1)
    skab, own = learned(DATA / "series/skab_anomaly_free.csv.gz")
    assert skab.encode(own).x.abs().max() < 10
