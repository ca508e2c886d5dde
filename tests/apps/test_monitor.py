"""The monitor as a user meets it: fit, score, blame, drift, save, load; and everything that can be wrong with a
table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from likely import artifact
from likely.apps.monitor import Monitor
from likely.apps.monitor.episode import episodes
from likely.apps.monitor.page import page
from likely.apps.monitor.still import SPARE
from likely.errors import ArtifactError, DataError, LikelyError, Mismatch, OptionError, UnknownName
from tests.apps.machines import broken, machine, rows


@pytest.fixture(scope="module")
def pump() -> Monitor:
    return Monitor.fit(machine(2000, 0), window=12, stride=4, budget=20)


@pytest.fixture(scope="module")
def table() -> Monitor:
    return Monitor.fit(rows(1500, 0, 0.02)[0])


def test_which_sensor_and_when(pump: Monitor) -> None:
    new = broken(machine(600, 1, 3000), "heat", 400, 12, 8.0)
    verdicts = pump.score(new)
    worst = verdicts.sort("score")[-1].to_dicts()[0]
    assert worst["alarm"]
    assert worst["sensor"] == "heat"
    moments = new["time"].dt.strftime("%Y-%m-%d %H:%M:%S").to_list()
    assert moments[400] <= worst["at"] <= moments[411]
    found = [one for one in episodes(verdicts) if one.sensor == "heat"]
    assert any(one.start <= moments[400] <= one.end for one in found)
    assert set(pump.parts) == {name.removeprefix("part:") for name in verdicts.columns if name.startswith("part:")}


def test_a_broken_relation_of_normal_values_is_seen(pump: Monitor) -> None:
    new = machine(600, 2, 3000)
    row = pl.int_range(pl.len())
    swapped = new.with_columns(
        pl.when(row < 300).then(pl.col("heat")).otherwise(pl.col("heat").shift(12)).alias("heat")
    )
    verdicts = pump.score(swapped)
    half = len(verdicts) // 2
    assert verdicts["score"][half + 5 :].min() > 3 * verdicts["score"][: half - 5].mean()


def test_false_alarms_are_about_as_many_as_allowed(pump: Monitor) -> None:
    """20 a day asked for, 7 days of fresh normal readings: as episodes."""
    fresh = machine(10_080, 5, 3000)
    count = len(episodes(pump.score(fresh)))
    assert 7 * 20 / 4 < count < 7 * 20 * 4


def test_false_alarms_of_a_table_are_about_as_many_as_allowed(table: Monitor) -> None:
    fresh, _ = rows(10_000, 3)
    count = int(table.score(fresh)["alarm"].sum())
    assert table.threshold.unit == "1,000 rows"
    assert 100 / 3 < count < 100 * 3


def test_a_table_scores_rows(table: Monitor) -> None:
    new, odd = rows(500, 4, 0.1)
    verdicts = table.score(new)
    assert len(verdicts) == 500
    assert verdicts["alarm"].to_numpy()[odd].mean() > 0.9
    assert verdicts["alarm"].to_numpy()[~odd].mean() < 0.1


def test_words_and_holes_of_a_table() -> None:
    rng = np.random.default_rng(0)
    kind = rng.choice(["tcp", "udp"], 800)
    size = np.where(kind == "tcp", 100.0, 10.0) + rng.normal(size=800)
    frame = pl.DataFrame(
        {
            "kind": kind,
            "size": [None if k % 10 == 0 else s for k, s in enumerate(size)],
            "key": [f"u{k}" for k in range(800)],
        }
    )
    made = Monitor.fit(frame)
    assert any("'key'" in note for note in made.notes)
    new = pl.DataFrame({"kind": ["tcp", "udp", "tcp", "icmp"], "size": [100.0, 10.0, 10.0, None]})
    score = made.score(new)["score"].to_list()
    assert min(score[2], score[3]) > 3 * max(score[0], score[1])


def test_a_stuck_sensor_is_named_though_each_value_is_normal(pump: Monitor) -> None:
    new = machine(300, 3, 3000)
    row = pl.int_range(pl.len())
    stuck = new.with_columns(pl.when(row < 100).then(pl.col("hum")).otherwise(0.5).alias("hum"))
    verdicts = pump.score(stuck)
    assert verdicts["stuck"][:20].null_count() == 20
    last = verdicts[-1].to_dicts()[0]
    assert last["stuck"] == "hum"
    assert last["alarm"]
    assert verdicts["stuck"].is_not_null().arg_max() * 4 >= 100 + SPARE - 12


def test_drift_is_told_from_normal(pump: Monitor) -> None:
    assert not pump.drift(machine(2000, 6, 3000))["moved"].any()
    moved = pump.drift(broken(machine(2000, 6, 3000), "heat", 0, 2000, 30.0))
    assert moved.filter("moved")["column"].to_list() == ["heat"]


def test_saved_and_loaded_it_says_the_same(pump: Monitor, table: Monitor, tmp_path: Path) -> None:
    for made, new in ((pump, machine(200, 7, 3000)), (table, rows(50, 7)[0])):
        again = Monitor.load(made.save(tmp_path / "one.likely"))
        assert again.score(new).equals(made.score(new))
        assert again.drift(new).equals(made.drift(new))
        assert str(again) == str(made)


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    files = [Monitor.fit(rows(200, 0)[0], seed=3).save(tmp_path / f"{k}.likely").read_bytes() for k in (0, 1)]
    assert files[0] == files[1]


def test_other_files_are_refused(pump: Monitor, tmp_path: Path) -> None:
    path = pump.save(tmp_path / "pump.likely")
    card, tensors = artifact.read(path)
    artifact.write(path, card | {"app": "poems"}, tensors)
    with pytest.raises(ArtifactError, match="not a monitor"):
        Monitor.load(path)
    for name in ("still", "ensemble.shape.neighbours.references", "ensemble.state.scale.middle", "threshold.ruler"):
        artifact.write(path, card, {key: value for key, value in tensors.items() if key != name})
        with pytest.raises(ArtifactError):
            Monitor.load(path)
        artifact.write(path, card, tensors | {name: tensors[name][:1]})
        with pytest.raises(ArtifactError, match="damaged"):
            Monitor.load(path)


def test_the_page_shows_every_alarm_and_no_foreign_markup(pump: Monitor, table: Monitor) -> None:
    new = broken(machine(400, 1, 3000), "heat", 200, 12, 9.0)
    text = page(pump, new, "<script>")
    assert "<script>" not in text
    assert text.count("<svg") == 2 + 3 + 2  # score and ticks, sensors, ticks and strips
    assert "heat" in text
    assert 'class="alarm"' in text
    assert "1,000 rows" in page(table, rows(50, 7)[0])


# ------------------------------------------------------------------------------------------------ repairs, said


def test_unsorted_and_repeated_stamps_are_repaired_and_said(pump: Monitor) -> None:
    new = machine(300, 1, 3000)
    shuffled = pl.concat([new, new[50:60]]).sample(fraction=1.0, shuffle=True, seed=0)
    assert pump.score(shuffled).equals(pump.score(new))
    pump.score(shuffled)
    assert any("sorted" in note for note in pump.notes)
    assert any("10 stamps came more than once" in note for note in pump.notes)


def test_windows_never_span_a_gap_or_two_machines() -> None:
    one, two = machine(900, 0), machine(900, 1)
    two = two.with_columns(pl.col("heat") + 50)
    frame = pl.concat([one.with_columns(name=pl.lit("a")), two.with_columns(name=pl.lit("b"))])
    made = Monitor.fit(frame, entity="name", window=12, stride=12)
    gap = frame.filter((pl.col("name") == "a") & ((pl.int_range(pl.len()) < 100) | (pl.int_range(pl.len()) > 400)))
    verdicts = made.score(pl.concat([gap, frame.filter(pl.col("name") == "b")]))
    length = (verdicts["end"].str.to_datetime() - verdicts["start"].str.to_datetime()).dt.total_minutes()
    assert length.max() == 11
    assert verdicts["entity"].unique().sort().to_list() == ["a", "b"]


def test_missing_readings_are_carried_and_empty_sensors_left_out() -> None:
    frame = machine(900, 0).with_columns(dead=pl.lit(None, pl.Float64), silent=pl.lit(float("nan")))
    row = pl.int_range(pl.len())
    frame = frame.with_columns(pl.when(row % 7 == 3).then(None).otherwise(pl.col("hum")).alias("hum"))
    made = Monitor.fit(frame, window=12)
    assert made.sensors == ["load", "heat", "hum"]
    assert sum("no value at all" in note for note in made.notes) == 2
    assert made.score(frame)["score"].is_finite().all()


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("data", "options", "error", "says"),
    [
        (machine(200, 0), {"time": "tiem"}, UnknownName, "Did you mean 'time'"),
        (machine(200, 0), {"entity": "pump"}, UnknownName, "No entity column"),
        (machine(200, 0), {"drop": ["hea"]}, UnknownName, "Did you mean 'heat'"),
        (machine(200, 0), {"time": "heat", "window": 500}, DataError, "smaller --window"),
        (machine(20, 0), {"window": 16}, DataError, "30 are needed"),
        (machine(5, 0), {"table": True}, DataError, "at least 30"),
        (machine(0, 0), {}, DataError, "no rows"),
        (machine(200, 0), {"window": 1}, OptionError, "at least 2"),
        (machine(200, 0), {"stride": 0}, OptionError, "at least 1"),
        (machine(200, 0), {"trim": 0.5}, OptionError, "0.45"),
        (machine(200, 0), {"budget": 0.0}, OptionError, "above 0"),
        (machine(200, 0), {"windows": 3}, UnknownName, "Did you mean 'window'"),
        (machine(200, 0), {"table": True, "step": 1.0}, OptionError, "no time"),
        (machine(200, 0).with_columns(time=pl.lit("soon")), {"time": "time"}, DataError, "'soon'"),
        (machine(200, 0).select("time"), {}, DataError, "No column is left"),
        (np.zeros((3, 3, 3)), {}, DataError, "shape"),
        ("nowhere.csv", {}, DataError, "No file"),
    ],
    ids=[f"refusal-{k}" for k in range(17)],
)
def test_refusals_say_what_to_do(data: object, options: dict[str, object], error: type[LikelyError], says: str) -> None:
    with pytest.raises(error, match=says):
        Monitor.fit(data, **options)


def test_a_stamp_that_cannot_be_read_is_named_by_row(pump: Monitor) -> None:
    new = machine(100, 1).with_columns(pl.col("time").dt.strftime("%Y-%m-%d %H:%M:%S"))
    row = pl.int_range(pl.len())
    bad = new.with_columns(pl.when(row == 42).then(pl.lit("later")).otherwise(pl.col("time")).alias("time"))
    with pytest.raises(DataError, match="row 42: 'later'"):
        pump.score(bad)


def test_columns_that_are_not_there_are_named(pump: Monitor) -> None:
    with pytest.raises(Mismatch, match="'heat'"):
        pump.score(machine(100, 1).drop("heat"))
    with pytest.raises(DataError, match="stretch of 12 readings"):
        pump.score(machine(11, 1))
