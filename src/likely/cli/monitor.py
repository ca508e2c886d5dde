"""likely monitor: watch machines and tables. Learn what is normal, judge what comes, say how long until failure."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from likely.apps.monitor.life import Life
from likely.apps.monitor.model import Monitor
from likely.apps.monitor.page import page
from likely.apps.monitor.readings import frame_of
from likely.apps.monitor.stream import LONGEST, Stream
from likely.apps.monitor.watch import Watch
from likely.cli.options import Quiet, Seed, say
from likely.codecs.table.read import kind_of
from likely.errors import DataError, OptionError
from likely.output import writable, writer
from likely.train.checkpoint import write_atomic

monitor = typer.Typer(
    name="monitor",
    no_args_is_help=True,
    help="Watches machines and tables: what is strange, which sensor, when, and how long until failure.",
)

BATCH = 4096  # lines of a file at a time; of a stream, each as it arrives
Data = Annotated[str, typer.Argument(help="Readings: .csv, .tsv, .parquet, .jsonl.", show_default=False)]
Time = Annotated[str | None, typer.Option(help="The column of time stamps; found by itself where it is called so.")]
Entity = Annotated[str | None, typer.Option(help="The column that names the machine.")]
Drop = Annotated[list[str] | None, typer.Option(help="A column to leave out; may be given several times.")]


@monitor.command("fit")
def fit(  # noqa: PLR0913  (one argument an option)
    data: Data,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The monitor: NAME.likely.")] = None,
    time: Time = None,
    entity: Entity = None,
    step: Annotated[float | None, typer.Option(help="Seconds between readings, where there is no time column.")] = None,
    table: Annotated[bool, typer.Option("--table", help="Rows have no order: judge each by itself.")] = False,
    window: Annotated[int | None, typer.Option(help="Readings looked at together.")] = None,
    stride: Annotated[int | None, typer.Option(help="Readings from one look to the next.")] = None,
    drop: Drop = None,
    trim: Annotated[float | None, typer.Option(help="Share of the data that may be abnormal, 0 to 0.45.")] = None,
    budget: Annotated[float | None, typer.Option(help="False alarms allowed a day (1,000 rows of a table).")] = None,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Learn what is normal: likely monitor fit sensors.csv -o pump.likely"""
    path = writable(out if out is not None else Path(f"{Path(data).name.split('.')[0]}.likely"))
    made = Monitor.fit(
        data, time=time, entity=entity, step=step, table=table, drop=drop or [], seed=seed,
        window=window, stride=stride, trim=trim, budget=budget,
    )  # fmt: skip
    for note in made.notes:
        say(note, quiet)
    made.save(path)
    say(f"Wrote {path}: {made}.\nNext: likely monitor watch {path} new.csv", quiet)


@monitor.command("watch")
def watch(
    model: Annotated[Path, typer.Argument(help="A monitor, NAME.likely.", show_default=False)],
    data: Annotated[str, typer.Argument(help="New readings, or - for a stream of CSV lines.", show_default=False)],
    plot: Annotated[Path | None, typer.Option(help="Also draw what was seen: a page, NAME.html.")] = None,
    alarms: Annotated[bool, typer.Option("--alarms", help="Alarms only.")] = False,
    quiet: Quiet = False,
) -> None:
    """One JSON line a window, as it arrives: likely monitor watch pump.likely - < stream"""
    made = Monitor.load(model)
    live = data == "-"
    if plot is not None:
        if live:
            raise OptionError("A stream has no end to draw: write it to a file, then give that with --plot.")
        writable(plot)

    def remark(text: str) -> None:
        say(text, quiet)

    lines = _lines() if live else _lines_of(data)
    header = next(lines, "")
    if not header.strip():
        raise DataError(
            f"No header came from {'the stream' if live else repr(data)}: its first line must name the columns."
        )
    seen = Watch(made, remark)
    stream = Stream(made.readings, header, remark)
    try:
        for arrived in stream.batches(lines, 1 if live else BATCH):
            for verdict in seen.feed(arrived):
                if verdict["alarm"] or not alarms:
                    print(json.dumps(verdict, ensure_ascii=False, allow_nan=False), flush=live)
    finally:
        if stream.broken:
            remark(f"{stream.broken:,} broken lines were skipped.")
        remark(seen.summary())
    if seen.windows == 0:
        remark(f"No window was complete: {made.length} readings without a gap are needed.")
    if plot is not None:
        write_atomic(plot, page(made, data, f"{Path(data).name}: what the monitor saw").encode())
        remark(f"Drew {plot}.")


@monitor.command("life")
def life(  # noqa: PLR0913  (one argument an option)
    data: Annotated[str, typer.Argument(help="Histories that end in failure; or a life model.", show_default=False)],
    new: Annotated[str | None, typer.Argument(help="With a model: machines to judge.", show_default=False)] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="The model NAME.likely, or where judgements go.")
    ] = None,
    time: Time = None,
    entity: Entity = None,
    cap: Annotated[float | None, typer.Option(help="The longest life that is told apart, in cycles or days.")] = None,
    drop: Drop = None,
    confidence: Annotated[float, typer.Option(help="Of the intervals.")] = 0.9,
    as_json: Annotated[bool, typer.Option("--json", help="Print judgements as JSON lines.")] = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """How long until failure: likely monitor life runs.csv --entity pump -o life.likely"""
    if data.endswith(".likely"):
        if new is None:
            raise OptionError(f"Whose life? Give the readings: likely monitor life {data} new.csv")
        made = Life.load(data)
        with writer(out, as_json) as write:
            write(made.predict(new))
        return
    if new is not None:
        raise OptionError(
            f"Two tables were given. First learn: likely monitor life {data} --entity NAME -o life.likely"
        )
    path = writable(out if out is not None else Path(f"{Path(data).name.split('.')[0]}-life.likely"))
    made = Life.fit(data, time=time, entity=entity, cap=cap, drop=drop or [], confidence=confidence, seed=seed)
    for note in made.notes:
        say(note, quiet)
    made.save(path)
    error = f"{made.about['rmse']:.1f} {made.unit} (cross-validated)"
    say(
        f"Learned from {made.about['machines']} machines; error {error}, life told apart up to {made.cap:.0f} "
        f"{made.unit}.\nIf the alarm rings once the low end of the interval is down to so much:",
        quiet,
    )
    for lead in made.leads:
        say(f"  {lead.told(made.unit)}", quiet)
    say(f"Wrote {path}. Next: likely monitor life {path} new.csv", quiet)


def _lines() -> Iterator[str]:
    """Lines of standard input as they arrive; broken bytes become marks that no number reads, endless lines are cut."""
    while True:
        line = sys.stdin.buffer.readline(LONGEST + 2)
        if not line:
            return
        yield line.decode("utf-8", "replace")


def _lines_of(path: str) -> Iterator[str]:
    """Lines of a table file, at constant memory where it is plain CSV."""
    if kind_of(path) in ("csv", "tsv") and not path.lower().endswith(".gz") and Path(path).is_file():
        with open(path, encoding="utf-8", errors="replace", newline=None) as file:
            while line := file.readline(LONGEST + 2):
                yield line
        return
    frame: Any = frame_of(path)
    yield from frame.write_csv().removesuffix("\n").split("\n")
