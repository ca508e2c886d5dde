"""likely monitor, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from likely.apps.monitor.pump import runs
from tests.apps.machines import broken, machine
from tests.cli.shell import run, start


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("monitor")
    machine(1500, 0).write_csv(place / "sensors.csv", datetime_format="%Y-%m-%d %H:%M:%S")
    new = broken(machine(300, 1, 1500), "heat", 200, 12, 9.0)
    new.write_csv(place / "new.csv", datetime_format="%Y-%m-%d %H:%M:%S")
    done = run("monitor fit sensors.csv -o pump.likely --window 12 --stride 4 --budget 20", place)
    assert done.returncode == 0, done.stderr
    assert "Time is in 'time'" in done.stderr
    return place


def test_watch_a_file_and_draw_it(folder: Path) -> None:
    done = run("monitor watch pump.likely new.csv --plot new.html", folder)
    assert done.returncode == 0, done.stderr
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(verdicts) == 73
    worst = max(verdicts, key=lambda verdict: verdict["score"])
    assert worst["sensor"] == "heat"
    assert worst["per"] == "day"
    assert set(worst["parts"]) >= {"likelihood", "neighbours", "pca", "reconstruction"}
    assert "300 readings, 73 windows" in done.stderr
    assert (folder / "new.html").read_text().startswith("<!doctype html>")
    alarms = run("monitor watch pump.likely new.csv --alarms", folder).stdout.splitlines()
    assert alarms == [line for line in done.stdout.splitlines() if json.loads(line)["alarm"]]


def test_watch_a_stream_line_by_line(folder: Path) -> None:
    """A verdict comes as soon as its window is complete, while the stream is still open; broken bytes do no harm."""
    import os
    import subprocess
    import sys

    lines = (folder / "new.csv").read_bytes().splitlines(keepends=True)
    process = subprocess.Popen(
        [sys.executable, "-m", "likely", "monitor", "watch", "pump.likely", "-"],
        cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ.copy(),
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.writelines([*lines[:5], b"\xff\xfe\x00 broken\n", *lines[5:13]])
    process.stdin.flush()
    first = json.loads(process.stdout.readline())
    assert first["end"] == lines[12].split(b",")[0].decode()
    out, err = process.communicate(b"".join(lines[13:]))
    assert process.returncode == 0, err
    assert len(out.splitlines()) == 72
    assert b"Line 6 skipped" in err


def test_life(folder: Path) -> None:
    made = runs(9, seed=2).select("pump", "hour", "vibration")
    made.write_csv(folder / "runs.csv")
    made.filter(pl.col("hour") < 150).write_csv(folder / "young.csv")
    done = run("monitor life runs.csv --time hour --entity pump -o life.likely", folder)
    assert done.returncode == 0, done.stderr
    assert "9 machines" in done.stderr
    assert "alarm at" in done.stderr
    judged = run("monitor life life.likely young.csv --json", folder)
    assert [json.loads(line)["entity"] for line in judged.stdout.splitlines()] == [f"P{k:02d}" for k in range(1, 10)]


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("monitor watch life2.likely new.csv", "No file"),
        ("monitor watch new.csv new.csv", "not a model of likely"),
        ("monitor watch pump.likely nowhere.csv", "No file"),
        ("monitor watch pump.likely empty.csv", "empty.csv"),
        ("monitor watch pump.likely narrow.csv", "'heat'"),
        ("monitor watch pump.likely noise.csv", "broken lines in a row"),
        ("monitor watch pump.likely - --plot x.html", "no end to draw"),
        ("monitor fit sensors.csv -o no/where.likely", "mkdir"),
        ("monitor fit sensors.csv --time tim -o x.likely", "Did you mean 'time'"),
        ("monitor life sensors.csv --time time -o x.likely", "--entity"),
        ("monitor life pump.likely", "Whose life"),
        ("monitor life pump.likely new.csv", "not one of remaining life"),
    ],
)
def test_refusals_are_one_line_and_exit_code_2(folder: Path, command: str, says: str) -> None:
    (folder / "empty.csv").write_text("")
    (folder / "narrow.csv").write_text("time,load,hum\n2026-01-05 00:00:00,1,2\n")
    (folder / "noise.csv").write_text("time,load,heat,hum\n" + "x\n" * 200)
    done = run(command, folder)
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert not (folder / "x.likely").exists()


def test_the_demo_tells_its_story(tmp_path: Path) -> None:
    """In a process of its own, as `likely demo monitor`."""
    process = start("demo monitor -o out", tmp_path)
    _, err = process.communicate(timeout=280)
    assert process.returncode == 0, err.decode()
    story = err.decode()
    assert "SIMULATED" in story
    assert "pressure is stuck" in story
    for true in ("clog", "imbalance", "wear"):
        assert f"[in truth: {true}]" in story
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {
        "pump.html",
        "pump.likely",
        "life.likely",
        "new.csv",
    }
