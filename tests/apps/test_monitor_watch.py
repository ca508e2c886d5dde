"""A stream gives the verdicts of the whole, however it arrives; what is broken in it is said; nothing grows."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import polars as pl
import pytest

from likely.apps.monitor import Monitor
from likely.apps.monitor.stream import LIMIT, Stream
from likely.apps.monitor.watch import MACHINES, Watch
from likely.errors import DataError, Mismatch
from tests.apps.machines import broken, machine, rows


@pytest.fixture(scope="module")
def pump() -> Monitor:
    return Monitor.fit(machine(2000, 0), window=12, stride=4, budget=20)


def texts(frame: pl.DataFrame) -> list[str]:
    return frame.write_csv(datetime_format="%Y-%m-%d %H:%M:%S").splitlines()


def watch(monitor: Monitor, lines: list[str], size: int) -> tuple[list[dict[str, object]], list[str], Watch]:
    said: list[str] = []
    seen = Watch(monitor, said.append)
    stream = Stream(monitor.readings, lines[0], said.append)
    found = [verdict for arrived in stream.batches(iter(lines[1:]), size) for verdict in seen.feed(arrived)]
    return found, said, seen


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return texts(broken(machine(400, 1, 2000), "heat", 200, 12, 9.0))


def test_a_stream_says_what_the_whole_says(pump: Monitor, lines: list[str]) -> None:
    whole = pump.score(broken(machine(400, 1, 2000), "heat", 200, 12, 9.0)).to_dicts()
    by_end = {row["end"]: row for row in whole}
    found, _, _ = watch(pump, lines, 1)
    assert len(found) == (400 - 12) // 4 + 1
    for verdict in found:
        row = by_end[verdict["end"]]
        assert verdict["score"] == pytest.approx(row["score"], abs=2e-3, rel=1e-3)
        assert verdict["alarm"] == row["alarm"]
        assert verdict["start"] == row["start"]
        if verdict["alarm"]:
            assert (verdict["sensor"], verdict["at"]) == (row["sensor"], row["at"])


@pytest.mark.parametrize("size", [3, 7, 1000])
def test_it_makes_no_difference_how_many_lines_arrive_at_once(pump: Monitor, lines: list[str], size: int) -> None:
    def essence(found: Iterable[dict[str, object]]) -> list[object]:
        return [(v["end"], v["alarm"], v.get("sensor"), v.get("at")) for v in found]

    assert essence(watch(pump, lines, size)[0]) == essence(watch(pump, lines, 1)[0])


def test_columns_in_another_order_and_unknown_ones(pump: Monitor, lines: list[str]) -> None:
    mixed = [",".join([*line.split(",")[::-1], "7"]) for line in lines]
    mixed[0] = mixed[0].replace(",7", ",extra")
    found, said, _ = watch(pump, mixed, 50)
    assert [v["score"] for v in found] == [v["score"] for v in watch(pump, lines, 50)[0]]
    assert any("'extra'" in text or "extra" in text for text in said)


def test_a_missing_column_stops_it(pump: Monitor) -> None:
    with pytest.raises(Mismatch, match=r"Line 1.*'hum'"):
        Stream(pump.readings, "time,load,heat", print)


def test_broken_lines_are_named_and_passed_over(pump: Monitor, lines: list[str]) -> None:
    bad = [*lines[:30], "2026-01-06 09:00:00,1", *lines[30:60], "yesterday,1,2,3", '"unclosed,1', "", *lines[60:]]
    found, said, _ = watch(pump, bad, 1)
    assert any("Line 31 skipped: 2 cells where the header has 4" in text for text in said)
    assert any("Line 62 skipped: 'yesterday' is no time stamp" in text for text in said)
    assert [v["end"] for v in found] == [v["end"] for v in watch(pump, lines, 1)[0]]


def test_a_stream_of_something_else_ends(pump: Monitor, lines: list[str]) -> None:
    with pytest.raises(DataError, match=f"{LIMIT} broken lines in a row"):
        watch(pump, [lines[0], *["what is this"] * 1000], 1)


def test_cells_that_are_no_numbers_are_missing(pump: Monitor, lines: list[str]) -> None:
    row = lines[100].split(",")
    row[2] = "ERR"
    found, _, _ = watch(pump, [*lines[:100], ",".join(row), *lines[101:]], 1)
    before = watch(pump, lines, 1)[0]
    assert len(found) == len(before)
    assert all(np.isfinite(v["score"]) for v in found)


def test_stamps_that_go_back_are_passed_over_and_counted(pump: Monitor, lines: list[str]) -> None:
    found, said, seen = watch(pump, [*lines[:50], *lines[40:50], *lines[50:]], 1)
    assert seen.late == 10
    assert any("did not go forward" in text for text in said)
    assert [v["score"] for v in found] == [v["score"] for v in watch(pump, lines, 1)[0]]


def test_a_gap_empties_the_window(pump: Monitor, lines: list[str]) -> None:
    for size in (1, 1000):
        found, _, seen = watch(pump, [*lines[:51], *lines[101:]], size)
        assert seen.gaps == 1
        assert len(found) == (50 - 12) // 4 + 1 + (300 - 12) // 4 + 1
    first = next(v for v in found if str(v["start"]) > lines[50].split(",")[0])
    assert first["start"] == lines[101].split(",")[0]


def test_a_sensor_that_falls_silent_is_stuck(pump: Monitor, lines: list[str]) -> None:
    silent = [*lines[:100], *[",".join([*line.split(",")[:3], ""]) for line in lines[100:200]]]
    found, _, _ = watch(pump, silent, 1)
    assert found[-1]["stuck"] == "hum"
    assert found[-1]["alarm"]
    assert "stuck" not in found[20]


def test_nothing_grows(pump: Monitor) -> None:
    entity = Monitor.fit(machine(600, 0).with_columns(name=pl.lit("a")), entity="name", window=12, stride=4)
    said: list[str] = []
    seen = Watch(entity, said.append)
    stream = Stream(entity.readings, "time,load,heat,hum,name", said.append)
    made = (f"2026-01-06 09:{k % 60:02d}:00,1,2,3,m{k // 3}" for k in range(3 * (MACHINES + 50)))
    for arrived in stream.batches(made, 1):
        seen.feed(arrived)
    assert len(seen.machines) == MACHINES
    assert any("forgotten" in text for text in said)
    _, _, plain = watch(pump, texts(machine(3000, 4)), 500)
    assert all(len(one.x) == len(one.runs) == len(one.stamps) == pump.length - 1 for one in plain.machines.values())


def test_rows_of_a_table_are_judged_one_by_one() -> None:
    x, _ = rows(300, 0)
    made = Monitor.fit(x)
    new, odd = rows(40, 1, 0.25)
    frame = pl.DataFrame({f"x{j}": new[:, j] for j in range(5)})
    found, _, _ = watch(made, texts(frame), 1)
    assert [v["line"] for v in found] == list(range(2, 42))
    assert np.mean([v["alarm"] for v, o in zip(found, odd, strict=True) if o]) > 0.8
    assert np.allclose([v["score"] for v in found], made.score(new)["score"].to_list(), rtol=1e-3, atol=2e-3)
