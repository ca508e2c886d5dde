"""likely demo monitor: four weeks in the life of a pump, and thirty that failed, with a story of what happens."""

from __future__ import annotations

import time
from pathlib import Path

import polars as pl

from likely.apps.monitor.episode import episodes
from likely.apps.monitor.life import Life
from likely.apps.monitor.model import Monitor
from likely.apps.monitor.page import page
from likely.cli.options import say
from likely.data import FOLDER
from likely.train.checkpoint import write_atomic

KEPT = 24  # pumps to learn from; the others are judged


def pump(out: Path, n: int, seed: int, quiet: bool) -> None:
    """Watch a simulated pump for four weeks, and learn from thirty others how long a bearing lasts; `n` is not used."""
    started = time.monotonic()
    out.mkdir(parents=True, exist_ok=True)
    recording = pl.read_parquet(FOLDER / "pump.parquet")
    half = recording.height // 2
    first, second, truth = recording[:half].drop("fault"), recording[half:].drop("fault"), recording[half:]
    first.write_csv(out / "sensors.csv")
    second.write_csv(out / "new.csv")
    say(
        "A pump, SIMULATED (equations in likely.apps.monitor.pump): five sensors, a reading every two minutes, "
        f"{recording.height:,} in four weeks.\nThe first two weeks teach what is normal. They hold a leak that nobody "
        "noted; it is tolerated.\n",
        quiet,
    )
    monitor = Monitor.fit(first, seed=seed)
    model = monitor.save(out / "pump.likely")
    say(f"Learned: {monitor}.\nParts: {', '.join(monitor.parts)}.\n\nThe next two weeks:", quiet)
    found = episodes(monitor.score(second))
    for one in found:
        moment = pl.col("time").dt.strftime("%Y-%m-%d %H:%M:%S")
        inside = truth.filter(moment.is_between(pl.lit(str(one.start)), pl.lit(str(one.end))))
        true = inside.filter(pl.col("fault") != "")["fault"].mode().to_list()
        say(f"  {one}   [in truth: {true[0] if true else 'nothing'}]", quiet)
    moved = monitor.drift(second).filter("moved")["column"].to_list()
    say(f"Drift: {', '.join(moved) if moved else 'none'}.", quiet)
    write_atomic(out / "pump.html", page(monitor, second, "A pump, simulated: weeks three and four").encode())

    runs = pl.read_parquet(FOLDER / "pump_runs.parquet")
    names = runs["pump"].unique(maintain_order=True)
    learned, others = runs.filter(pl.col("pump").is_in(names[:KEPT])), runs.filter(pl.col("pump").is_in(names[KEPT:]))
    say(f"\n{KEPT} pumps that ran until their bearing failed teach how long one lasts ...", quiet)
    life = Life.fit(learned, time="hour", entity="pump", seed=seed)
    life.save(out / "life.likely")
    for lead in life.leads:
        say(f"  {lead.told('hours')}", quiet)
    say(f"Six others, 60 hours before their end (life in hours, {life.about['confidence']:.0%} interval):", quiet)
    end = pl.col("hour").max().over("pump")
    for row in life.predict(others.filter(pl.col("hour") <= end - 60)).to_dicts():
        say(f"  {row['entity']}: {row['life']:.0f}  ({row['low']:.0f} to {row['high']:.0f})", quiet)
    say(
        f"\nDone in {time.monotonic() - started:.0f} seconds. Look at {out / 'pump.html'} in a browser, and try\n"
        f"  likely monitor watch {model} {out / 'new.csv'} --alarms",
        quiet,
    )
