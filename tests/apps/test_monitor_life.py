"""Remaining life: trees as arrays, wear that can be computed by hand, intervals that cover, lead times counted by
hand."""

from __future__ import annotations

from pathlib import Path

import lightgbm
import numpy as np
import polars as pl
import pytest
import torch

from likely.apps.monitor.forest import ROUNDS, SETTINGS, Forest
from likely.apps.monitor.lead_time import lead_time
from likely.apps.monitor.life import Life
from likely.apps.monitor.pump import runs, sensors
from likely.apps.monitor.wear import FRESH, features
from likely.data import FOLDER
from likely.errors import ArtifactError, DataError, OptionError


@pytest.fixture(scope="module")
def pumps() -> pl.DataFrame:
    return runs(18, seed=3).select("pump", "hour", "vibration", "bearing_temperature")


@pytest.fixture(scope="module")
def life(pumps: pl.DataFrame) -> Life:
    return Life.fit(pumps.filter(pl.col("pump") <= "P12"), time="hour", entity="pump", confidence=0.8)


def test_trees_as_arrays_say_what_the_library_says() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 3))
    y = x[:, 0] * (x[:, 1] > 0) + 0.1 * rng.normal(size=400)
    forest = Forest.grow(x, y, np.ones(400), seed=5)
    settings = SETTINGS | {"seed": 5, "min_data_in_leaf": 8}
    booster = lightgbm.train(settings, lightgbm.Dataset(x, y, weight=np.ones(400)), ROUNDS)
    new = rng.normal(size=(300, 3))
    assert np.allclose(forest.predict(new), booster.predict(new), atol=1e-9)


@pytest.mark.parametrize(
    ("name", "place", "value"), [("left", 0, 0), ("right", 0, 10**6), ("feature", 0, 9), ("root", 0, -1)]
)
def test_trees_whose_walks_would_never_end_are_refused(name: str, place: int, value: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    forest = Forest.grow(x, x[:, 0], np.ones(200), seed=0).check(2)
    arrays = {key: array.clone() for key, array in forest.arrays.items()}
    arrays[name][place] = value
    with pytest.raises(ValueError, match="trees"):
        Forest(arrays).check(2)
    with pytest.raises(ValueError, match="uneven"):
        Forest(arrays | {"value": torch.zeros(1)}).check(2)


def test_wear_of_a_ramp() -> None:
    ramp = 0.5 * np.arange(40.0)[:, None]
    found = features(ramp, np.arange(40.0), "relative")
    mean, spread, slope = found[-1, :3]  # of the last 10 readings
    assert mean == pytest.approx(0.5 * 34.5)
    assert spread == pytest.approx(0.5 * np.sqrt(99 / 12))
    assert slope == pytest.approx(0.5 * 10)  # the change over ten readings
    assert found[-1, 12] == pytest.approx(0.5 * (34.5 - (FRESH - 1) / 2))  # less the mean of its beginnings
    assert found[-1, -1] == 39
    # Looking back only: what comes later changes nothing.
    assert np.array_equal(features(ramp[:20], np.arange(20.0), "relative"), found[:20])


def test_intervals_cover_and_narrow_towards_the_end(life: Life, pumps: pl.DataFrame) -> None:
    others = pumps.filter(pl.col("pump") > "P12")
    end = others.group_by("pump").agg(pl.col("hour").max().alias("end"))
    found = life.predict(others, all_readings=True).join(end, left_on="entity", right_on="pump")
    left = (found["end"] - found["age"]).clip(0, life.cap)
    inside = ((found["low"] <= left) & (left <= found["high"])).mean()
    assert inside > 0.6
    width = found["high"] - found["low"]
    assert width.filter(left < 20).mean() < 0.7 * width.filter(left > 100).mean()
    assert (found["low"] <= found["life"]).all()
    assert life.predict(others).height == 6


def test_saved_and_loaded_it_says_the_same(life: Life, pumps: pl.DataFrame, tmp_path: Path) -> None:
    path = life.save(tmp_path / "life.likely")
    again = Life.load(path)
    assert again.predict(pumps).equals(life.predict(pumps))
    assert [str(lead) for lead in again.leads] == [str(lead) for lead in life.leads]
    from likely.apps.monitor import Monitor

    with pytest.raises(ArtifactError, match="not a monitor"):
        Monitor.load(path)


def test_lead_times_by_hand() -> None:
    left = np.arange(99.0, -1, -1)  # 100 readings to failure
    good = left <= 20  # asks from 20 before the end: rings at the third request
    late = left <= 2
    early = (left <= 90) & (left > 80)  # rings once for nothing, then not at all
    never = left < 0
    lead = lead_time([good, late, early | good, never], [left] * 4, horizon=20)
    assert lead.caught == pytest.approx(0.25)  # `late` rings when nothing is left; the third one rang too early first
    assert lead.median == 18
    assert lead.missed == 0.25
    assert lead.false == pytest.approx(1000 * 1 / (4 * 59))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "--entity"),
        ({"entity": "pump", "cap": -1.0}, "cap=-1.0"),
        ({"entity": "pump", "confidence": 1.0}, "confidence"),
    ],
    ids=["no entity", "cap", "confidence"],
)
def test_options_that_make_no_sense(pumps: pl.DataFrame, options: dict[str, object], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        Life.fit(pumps, time="hour", **options)


def test_too_few_histories(pumps: pl.DataFrame) -> None:
    with pytest.raises(DataError, match="8 that end in failure"):
        Life.fit(pumps.filter(pl.col("pump") <= "P03"), time="hour", entity="pump")


def test_the_data_that_ship_are_the_simulation() -> None:
    assert pl.read_parquet(FOLDER / "pump.parquet").equals(sensors())
    assert pl.read_parquet(FOLDER / "pump_runs.parquet").equals(runs())
