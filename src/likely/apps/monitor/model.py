"""The monitor: learns what is normal, says how strange new readings are, which sensor is to blame and when.

    monitor = Monitor.fit("sensors.csv")          a series (a time column) or a table (none); anomalies in it are tolerated
    verdicts = monitor.score("new.csv")           one line a window, or a row: score, false alarms, alarm, sensor, parts
    monitor.save("pump.likely"); Monitor.load("pump.likely")

Learning: readings -> windows (`windows.py`) -> detectors on four fifths of them -> scores of the fifth they have not seen ->
the threshold (`threshold.py`) -> detectors once more, on all. Nothing is kept but arrays and a card in JSON.

Letters: N readings, F numbers a reading, T readings a window (1 for a table), B windows.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from likely import artifact
from likely.apps.monitor import stamps
from likely.apps.monitor.drift import MOVED, Drift
from likely.apps.monitor.ensemble import TABLE, WINDOW, Ensemble, Nats
from likely.apps.monitor.readings import Readings, Taken, frame_of
from likely.apps.monitor.threshold import DAY, Threshold
from likely.apps.monitor.windows import Segment, cut, pieces, segments, starts, usual_step
from likely.errors import ArtifactError, DataError, OptionError
from likely.version import VERSION

LENGTH = 100  # readings a window, where there are enough of them
WIDE = 1000  # numbers a window, at most: T * F
LEAST = 30  # windows or rows to learn from
MOST = 6000  # windows to learn from: beyond, every k-th is taken
ROWS = 50_000  # rows of a table to learn from
TRIM = {"series": 0.1, "table": 0.3}  # share set aside as too strange to learn from: `ensemble.py`
BLOCKS = 10  # a series is cut into so many stretches; two of them are held out
HELD = (3, 8)
MANY = 2048  # windows scored at a time


class Look(NamedTuple):
    """Scored windows of one segment: readings [start, start + T), nats, false alarms in a unit."""

    segment: Segment
    starts: NDArray[np.int64]
    nats: Nats
    rate: NDArray[np.float64]


class Monitor:
    """A fitted monitor. Make one with `Monitor.fit` or `Monitor.load`."""

    def __init__(
        self, readings: Readings, length: int, stride: int, step: float, ensemble: Ensemble, threshold: Threshold,
        drift: Drift, about: dict[str, Any],
    ) -> None:  # fmt: skip
        self.readings, self.length, self.stride, self.step = readings, length, stride, step
        self.ensemble, self.threshold, self.drift_from, self.about = ensemble, threshold, drift, about
        self.notes: list[str] = []  # what the last call has to say

    def __str__(self) -> str:
        what = f"windows of {self.length}" if self.readings.ordered else "rows"
        return (
            f"monitor of {len(self.readings.columns)} columns, {what}, {self.about['rows']:,} readings learned, "
            f"alarm at {self.threshold.budget:g} false alarms per {self.threshold.unit}"
        )

    @property
    def parts(self) -> list[str]:
        """The names of the detectors."""
        return list(self.ensemble.parts)

    @property
    def sensors(self) -> list[str]:
        """The columns that are watched."""
        return [column.name for column in self.readings.columns]

    # ------------------------------------------------------------------------------------------ learning

    @classmethod
    def fit(
        cls, data: Any, *, time: str | None = None, entity: str | None = None, step: float | None = None,
        table: bool = False, window: int | None = None, stride: int | None = None, drop: Iterable[str] = (),
        parts: Sequence[str] | None = None, trim: float | None = None, budget: float | None = None, seed: int = 0,
    ) -> Self:  # fmt: skip  # noqa: PLR0913
        """Learn what is normal from a path, a frame or an array (N, F).

        `time` names the column of stamps (found by itself where it is called so); `step` seconds pass between readings that
        have none; `table` takes rows as unordered whatever they hold; `entity` names the machine. Windows of `window`
        readings, one every `stride`. The strangest `trim` share is not learned from. An alarm rings where at most
        `budget` false alarms per day are to be expected (tables: per 1,000 rows). Raises DataError, OptionError.
        """
        _check(step, window, stride, trim, budget, table and (time is not None or step is not None))
        frame = frame_of(data)
        readings = Readings(time, entity, step=step)
        notes = readings.fit(frame, drop, table)
        taken = readings.take(frame)
        notes += taken.notes
        rng = np.random.default_rng(seed)
        kind = "series" if readings.ordered else "table"
        trim = TRIM[kind] if trim is None else trim
        spacing = readings.step or (usual_step(taken) if readings.time else 1.0)
        if readings.ordered:
            pool = _Series(taken, readings, spacing, window, stride)
        else:
            pool = _Table(taken)
        names = parts if parts is not None else (WINDOW if readings.ordered else TABLE)
        learn, held = pool.split(rng)
        first = Ensemble(names, trim).fit(learn, rng)
        runs = [first.score(run).total.numpy() for run in held]
        if sum(map(len, runs)) < LEAST:
            runs = [first.score(learn).total.numpy()]
            notes.append(
                "Too little data to hold any out: the threshold rests on the readings learned from, and will ring too often."
            )
        looks, unit = pool.looks(readings, spacing)
        budget = budget if budget is not None else {"day": 1.0, "1,000 windows": 5.0, "1,000 rows": 10.0}[unit]
        ensemble = Ensemble(names, trim).fit(pool.all(rng), rng)
        about = {"rows": len(taken.x), "windows": len(learn), "held_out": sum(map(len, runs)), "seed": seed, "trim": trim}
        made = cls(
            readings, pool.length, pool.stride, spacing, ensemble,
            Threshold.learn(runs, looks, unit, budget, trim), Drift.fit(readings.fill(taken.x)), about,
        )  # fmt: skip
        made.notes = notes
        return made

    # ------------------------------------------------------------------------------------------- scoring

    def score(self, data: Any, *, stride: int | None = None) -> pl.DataFrame:
        """One line a window (every `stride` readings) or a row: where, score in nats, false alarms, alarm, the sensor to
        blame and its share, the moment, and every part's nats. Raises Mismatch, DataError."""
        looks, taken = self.look(data, stride)
        lines = [self._lines(look, taken) for look in looks]
        if not lines:
            raise DataError(
                f"No stretch of {self.length} readings without a gap: a window of this monitor needs as many. "
                "Give more readings, or fit with a smaller --window."
            )
        return pl.concat(lines)

    def look(self, data: Any, stride: int | None = None) -> tuple[list[Look], Taken]:
        """The same as numbers, segment by segment, for plots."""
        taken = self.readings.take(frame_of(data))
        self.notes = list(taken.notes)
        if not self.readings.ordered:
            nats = self.nats(taken.x)
            whole = Segment(taken.x, taken.stamps, 0)
            return [Look(whole, np.arange(len(taken.x)), nats, self.threshold.rate(nats.total))], taken
        found, short = [], 0
        for segment in segments(taken, self.readings.medians, self.step):
            every = [
                (begin, self.nats(x)) for begin, x in pieces(segment, self.length, stride or self.stride, MANY)
            ]
            if not every:
                short += len(segment.x)
                continue
            nats = _join([nats for _, nats in every])
            begin = np.concatenate([begin for begin, _ in every])
            found.append(Look(segment, begin, nats, self.threshold.rate(nats.total)))
        if short:
            self.notes.append(f"{short} readings lie in stretches shorter than a window of {self.length} and were passed over.")
        return found, taken

    def nats(self, x: NDArray[np.float64] | Tensor) -> Nats:
        """Rows or flat windows (B, T * F) -> nats."""
        return self.ensemble.score(x)

    def blame(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Rows or flat windows (B, T * F) -> each column's share (B, C), and the reading in the window at which the
        foremost column is strangest (B,)."""
        owner = self.readings.owner
        share = self.ensemble.blame(x).double().numpy().reshape(len(x), self.length, len(owner))
        each = np.zeros((len(x), self.length, len(self.readings.columns)))
        np.add.at(each, (slice(None), slice(None), owner), share)
        column = each.sum(1)
        top = column.argmax(1)
        return column, each[np.arange(len(x)), :, top].argmax(1)

    def drift(self, data: Any) -> pl.DataFrame:
        """How far each column has moved from what was learned: PSI, and whether it is more than moved by chance."""
        psi = self.drift_from.of(self.readings.fill(self.readings.take(frame_of(data)).x))
        worst = [float(psi[self.readings.owner == c].max()) for c in range(len(self.readings.columns))]
        return pl.DataFrame({"column": self.sensors, "psi": worst, "moved": [value > MOVED for value in worst]})

    def _lines(self, look: Look, taken: Taken) -> pl.DataFrame:
        B, T = len(look.starts), self.length
        share, at = np.zeros((B, len(self.readings.columns))), np.zeros(B, np.int64)
        for i in range(0, B, 256):
            rows = look.starts[i : i + 256]
            x = cut(look.segment.x, T, rows) if self.readings.ordered else look.segment.x[rows]
            share[i : i + 256], at[i : i + 256] = self.blame(x)
        top = share.argmax(1)
        place: dict[str, Any] = {"row": look.starts}
        if self.readings.ordered:
            when, first = look.segment.stamps, look.starts
            notation = stamps.ISO if self.readings.dated and self.readings.time else stamps.NUMBER
            place = {
                name: [stamps.write(float(when[k]), notation) for k in row]
                for name, row in (("start", first), ("end", first + T - 1), ("at", first + at))
            }
            if self.readings.entity is not None:
                place = {"entity": [taken.names[look.segment.entity]] * B} | place
        return pl.DataFrame(
            place
            | {
                "score": look.nats.total.numpy(),
                "false_alarms": look.rate,
                "alarm": look.rate <= self.threshold.budget,
                "sensor": [self.sensors[c] for c in top],
                "share": share[np.arange(B), top],
            }
            | {f"part:{name}": value.numpy() for name, value in look.nats.parts.items()}
        )

    # ------------------------------------------------------------------------------------------- storing

    def save(self, path: str | Path) -> Path:
        """Write NAME.likely. Raises StorageError."""
        card = {
            "app": "monitor", "version": VERSION, "readings": self.readings.state(), "length": self.length,
            "stride": self.stride, "step": self.step, "parts": self.parts, "threshold": self.threshold.state(),
            "about": self.about,
        }  # fmt: skip
        tensors = {f"ensemble.{name}": value for name, value in self.ensemble.tensors().items()}
        tensors |= {f"threshold.{name}": value for name, value in self.threshold.tail.arrays.items()}
        tensors |= {
            "drift.edges": torch.from_numpy(self.drift_from.edges),
            "drift.shares": torch.from_numpy(self.drift_from.shares),
        }
        artifact.write(path, card, tensors)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote. Raises ArtifactError where the file is no monitor or does not fit together."""
        card, tensors = artifact.read(path)
        if card.get("app") != "monitor":
            raise ArtifactError(
                f"{str(path)!r} is a model of likely, but not a monitor. Fit one: likely monitor fit sensors.csv -o pump.likely"
            )
        try:
            readings = Readings.load(card["readings"])
            inner = {n.removeprefix("ensemble."): t for n, t in tensors.items() if n.startswith("ensemble.")}
            ensemble = Ensemble(card["parts"], 0.0).restore(inner)
            drift = Drift(tensors["drift.edges"].numpy(), tensors["drift.shares"].numpy())
            made = cls(
                readings, int(card["length"]), int(card["stride"]), float(card["step"]), ensemble,
                Threshold.load(card["threshold"], tensors), drift, card["about"],
            )  # fmt: skip
            width = made.length * len(readings.owner)
            if made.length < 1 or made.stride < 1 or not made.parts or len(inner["scale.middle"]) != width:
                raise ValueError("its parts are of different widths")
            made.nats(np.zeros((1, width)))  # every array meets every other once, before anything is believed
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise ArtifactError(f"{str(path)!r} is a damaged monitor ({str(error)[:120]}): fit it again.") from error
        return made


def _join(parts: list[Nats]) -> Nats:
    total = torch.cat([part.total for part in parts])
    return Nats(total, {name: torch.cat([part.parts[name] for part in parts]) for name in parts[0].parts})


def _check(
    step: float | None, window: int | None, stride: int | None, trim: float | None, budget: float | None, both: bool
) -> None:
    """Options that make no sense. Raises OptionError."""
    if both:
        raise OptionError("A table has no time: leave out table, or leave out time and step.")
    for name, value in (("step", step), ("budget", budget)):
        if value is not None and not 0 < value < float("inf"):
            raise OptionError(f"{name}={value} was given; it must be above 0.")
    for name, count, least in (("window", window, 2), ("stride", stride, 1)):
        if count is not None and count < least:
            raise OptionError(f"{name}={count} was given; it must be at least {least}.")
    if trim is not None and not 0 <= trim <= 0.45:
        raise OptionError(f"trim={trim} was given; it is a share from 0 (all data are normal) to 0.45.")


class _Table:
    """Rows of a table as what is learned from."""

    length = stride = 1

    def __init__(self, taken: Taken) -> None:
        self.x = taken.x
        if len(self.x) < LEAST:
            raise DataError(f"{len(self.x)} rows were given; a monitor needs at least {LEAST} to know what is normal.")

    def split(self, rng: np.random.Generator) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
        """Rows to learn from, and the fifth that is held out."""
        order = rng.permutation(len(self.x))[:ROWS]
        held = len(order) // 5
        return self.x[order[held:]], [self.x[order[:held]]]

    def all(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Rows for the final detectors."""
        return self.x if len(self.x) <= ROWS else self.x[rng.permutation(len(self.x))[:ROWS]]

    def looks(self, readings: Readings, spacing: float) -> tuple[float, str]:
        """How many looks there are in what unit."""
        return 1000.0, "1,000 rows"


class _Series:
    """Windows of a series as what is learned from."""

    def __init__(self, taken: Taken, readings: Readings, spacing: float, window: int | None, stride: int | None) -> None:
        self.segments = segments(taken, readings.medians, spacing)
        longest = max(len(segment.x) for segment in self.segments)
        F = len(readings.owner)
        self.length = window or max(2, min(LENGTH, longest // 6, max(8, WIDE // F)))
        self.stride = stride or max(1, self.length // 10)
        self.segments = [segment for segment in self.segments if len(segment.x) >= self.length]
        windows = sum(len(segment.x) - self.length + 1 for segment in self.segments)
        if windows < LEAST:
            raise DataError(
                f"The longest stretch without a gap has {longest} readings, which gives {windows} windows of {self.length}; "
                f"{LEAST} are needed. Give more readings, or a smaller --window."
            )
        self.every = max(1, -(-windows // MOST))

    def split(self, rng: np.random.Generator) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
        """Windows to learn from, and unbroken runs of windows that share no reading with them, one a stride."""
        learn, held = [], []
        for segment in self.segments:
            N, T = len(segment.x), self.length
            edges = np.linspace(0, N, BLOCKS + 1).astype(int)
            begin = np.arange(0, N - T + 1, self.every)
            free = np.ones(len(begin), bool)
            for block in HELD:
                low, high = int(edges[block]), int(edges[block + 1])
                free &= (begin + T <= low) | (begin >= high)
                if high - low >= T:
                    held.append(cut(segment.x[low:high], T, starts(high - low, T, self.stride)))
            if free.any():
                learn.append(cut(segment.x, T, begin[free]))
        count = sum(map(len, learn))
        if count < LEAST or sum(map(len, held)) < LEAST:
            return self.all(rng), []
        return np.concatenate(learn), held

    def all(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Windows for the final detectors."""
        T = self.length
        return np.concatenate([cut(s.x, T, np.arange(0, len(s.x) - T + 1, self.every)) for s in self.segments])

    def looks(self, readings: Readings, spacing: float) -> tuple[float, str]:
        """How many windows there are in what unit."""
        if readings.dated:
            return DAY / (spacing * self.stride), "day"
        return 1000.0, "1,000 windows"
