"""The monitor: learns what is normal, says how strange new readings are, which sensor is to blame and when.

    monitor = Monitor.fit("sensors.csv")          a series (a time column) or a table (none); anomalies in it are
    tolerated verdicts = monitor.score("new.csv")           one line a window, or a row: score, false alarms, alarm,
    sensor, parts monitor.save("pump.likely"); Monitor.load("pump.likely")

Learning: readings -> windows (`windows.py`) -> detectors on four fifths of them -> scores of the fifth they have not
seen -> the threshold (`threshold.py`) -> detectors once more, on all. Nothing is kept but arrays and a card in JSON.

Letters: N readings, F numbers a reading, T readings a window (1 for a table), B windows.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from likely import artifact
from likely.apps.monitor import stamps, still
from likely.apps.monitor.drift import WANTS, Drift
from likely.apps.monitor.ensemble import Ensemble
from likely.apps.monitor.pool import LEAST, Pool, Rows, Series
from likely.apps.monitor.readings import Readings, Taken, frame_of
from likely.apps.monitor.settings import BUDGET, TRIM, Settings
from likely.apps.monitor.threshold import Threshold
from likely.apps.monitor.view import Nats
from likely.apps.monitor.windows import Segment, cut, pieces, segments, usual_step
from likely.errors import ArtifactError, DataError, OptionError
from likely.version import VERSION

MANY = 2048  # windows scored at a time


class Look(NamedTuple):
    """Scored windows of one segment: readings [start, start + T), nats, false alarms in a unit."""

    segment: Segment
    starts: NDArray[np.int64]
    nats: Nats
    rate: NDArray[np.float64]
    stuck: NDArray[np.int64]  # the column of a stuck sensor, or -1


class Monitor:
    """A fitted monitor. Make one with `Monitor.fit` or `Monitor.load`."""

    def __init__(
        self,
        readings: Readings,
        grid: tuple[int, int, float],
        ensemble: Ensemble,
        threshold: Threshold,
        memory: tuple[Drift, NDArray[np.int64]],
        about: dict[str, Any],
    ) -> None:
        self.readings = readings
        self.length, self.stride, self.step = grid  # readings a window, readings to the next, seconds a reading
        self.ensemble, self.threshold, self.about = ensemble, threshold, about
        self.drift_from, self.still = memory  # what was usual: levels, and the longest run of one value (F,)
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
        return self.ensemble.parts

    @property
    def sensors(self) -> list[str]:
        """The columns that are watched."""
        return [column.name for column in self.readings.columns]

    # ------------------------------------------------------------------------------------------ learning

    @classmethod
    def fit(
        cls,
        data: Any,
        *,
        time: str | None = None,
        entity: str | None = None,
        step: float | None = None,
        table: bool = False,
        drop: Iterable[str] = (),
        seed: int = 0,
        **options: Any,
    ) -> Self:
        """Learn what is normal from a path, a frame or an array (N, F).

        `time` names the column of stamps (found by itself where it is called so); `step` seconds pass between readings
        that have none; `table` takes rows as unordered whatever they hold; `entity` names the machine; `drop` names
        columns to leave out. `options` are those of `Settings`: window, stride, parts, trim, budget. An alarm rings
        where at most `budget` false alarms a day are to be expected. Raises DataError, OptionError, UnknownName.
        """
        settings = Settings.of(options)
        if table and (time is not None or step is not None):
            raise OptionError("A table has no time: leave out table, or leave out time and step.")
        if step is not None and not 0 < step < float("inf"):
            raise OptionError(f"step={step} was given; it is the time between readings in seconds, above 0.")
        frame = frame_of(data)
        readings = Readings(time, entity, step=step)
        notes = readings.fit(frame, drop, table)
        taken = readings.take(frame)
        notes += taken.notes
        rng = np.random.default_rng(seed)
        trim = settings.trim if settings.trim is not None else TRIM["series" if readings.ordered else "table"]
        spacing = readings.step or (usual_step(taken) if readings.time else 1.0)
        pool: Pool = Series(taken, readings, spacing, settings) if readings.ordered else Rows(taken)
        learn, held = pool.split(rng)
        first = Ensemble(pool.length, settings.parts, trim).fit(learn, rng)
        runs = [first.score(run).total.numpy() for run in held]
        if sum(map(len, runs)) < LEAST:
            runs = [first.score(learn).total.numpy()]
            notes.append(
                "Too little data to hold any out: the threshold rests on the readings learned from, and will ring "
                "too often."
            )
        looks, unit = pool.looks()
        budget = settings.budget if settings.budget is not None else BUDGET[unit]
        threshold = Threshold.learn(runs, looks, unit, budget, trim)
        ensemble = Ensemble(pool.length, settings.parts, trim).fit(pool.all(rng), rng)
        held_out = sum(map(len, runs))
        about = {"rows": len(taken.x), "windows": len(learn), "held_out": held_out, "seed": seed, "trim": trim}
        memory = Drift.fit(readings.fill(taken.x)), pool.still()
        made = cls(readings, (pool.length, pool.stride, spacing), ensemble, threshold, memory, about)
        made.notes = notes
        return made

    # ------------------------------------------------------------------------------------------- scoring

    def score(self, data: Any, *, stride: int | None = None) -> pl.DataFrame:
        """One line a window (every `stride` readings) or a row: where, score in nats, false alarms, alarm, the sensor
        to blame and its share, the moment, and every part's nats. Raises Mismatch, DataError."""
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
            none = np.full(len(taken.x), -1)
            return [Look(whole, np.arange(len(taken.x)), nats, self.threshold.rate(nats.total), none)], taken
        found, short = [], 0
        for segment in segments(taken, self.readings.medians, self.step):
            every = [(begin, self.nats(x)) for begin, x in pieces(segment, self.length, stride or self.stride, MANY)]
            if not every:
                short += len(segment.x)
                continue
            nats = _join([nats for _, nats in every])
            begin = np.concatenate([begin for begin, _ in every])
            F = segment.x.shape[1]
            stuck = self.stuck(still.runs(segment.x, np.full(F, np.nan), np.zeros(F, np.int64)), begin)
            found.append(Look(segment, begin, nats, self.threshold.rate(nats.total), stuck))
        if short:
            self.notes.append(
                f"{short} readings lie in stretches shorter than a window of {self.length} and were passed over."
            )
        return found, taken

    def nats(self, x: NDArray[np.float64]) -> Nats:
        """Rows or flat windows (B, T * F) -> nats."""
        return self.ensemble.score(x)

    def stuck(self, run: NDArray[np.int64], begin: NDArray[np.int64]) -> NDArray[np.int64]:
        """Runs of equal readings (N, F) -> the column of a stuck sensor in each window at `begin` (B,), or -1."""
        number = still.stuck(run, self.still, self.length, begin)
        return np.where(number < 0, -1, self.readings.owner[number])

    def blame(self, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Rows or flat windows (B, T * F) -> each column's share (B, C), and the reading in the window at which the
        foremost column is strangest (B,)."""
        owner = self.readings.owner
        share = self.ensemble.blame(x).double().numpy().reshape(len(x), self.length, len(owner))
        each = share @ np.eye(len(self.readings.columns))[owner]
        column = each.sum(1)
        top = column.argmax(1)
        return column, each[np.arange(len(x)), :, top].argmax(1)

    def drift(self, data: Any) -> pl.DataFrame:
        """How far each column has moved from what was learned (`drift.py`): PSI, shift in spreads, and the verdict."""
        index = self.drift_from.of(self.readings.fill(self.readings.take(frame_of(data)).x))
        moved, owner = self.drift_from.beyond(index), self.readings.owner
        each = range(len(self.readings.columns))
        return pl.DataFrame(
            {
                "column": self.sensors,
                "psi": [float(index[0, owner == c].max()) for c in each],
                "shift": [float(index[1, owner == c].max()) for c in each],
                "moved": [bool(moved[owner == c].any()) for c in each],
            }
        )

    def _lines(self, look: Look, taken: Taken) -> pl.DataFrame:
        B, T = len(look.starts), self.length
        share, at = np.zeros((B, len(self.readings.columns))), np.zeros(B, np.int64)
        for i in range(0, B, 256):
            rows = look.starts[i : i + 256]
            x = cut(look.segment.x, T, rows) if self.readings.ordered else look.segment.x[rows]
            share[i : i + 256], at[i : i + 256] = self.blame(x)
        alarm = look.rate <= self.threshold.budget
        odd = (look.stuck >= 0) & ~alarm  # nothing but a stuck sensor
        top = np.where(odd, look.stuck, share.argmax(1))
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
                "alarm": alarm | odd,
                "sensor": [self.sensors[c] for c in top],
                "share": share[np.arange(B), top],
                "stuck": [self.sensors[c] if c >= 0 else None for c in look.stuck],
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
        tensors["still"] = torch.from_numpy(self.still)
        tensors |= {f"drift.{name}": value for name, value in self.drift_from.tensors.items()}
        artifact.write(path, card, tensors)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote. Raises ArtifactError where the file is no monitor or does not fit together."""
        card, tensors = artifact.read_app(path, "monitor", "a monitor", "likely monitor fit sensors.csv -o pump.likely")
        try:
            readings = Readings.load(card["readings"])
            inner = {n.removeprefix("ensemble."): t for n, t in tensors.items() if n.startswith("ensemble.")}
            ensemble = Ensemble(int(card["length"]), card["parts"], 0.0).restore(inner)
            drift = Drift({name: tensors[f"drift.{name}"] for name in WANTS})
            grid = int(card["length"]), int(card["stride"]), float(card["step"])
            threshold = Threshold.load(card["threshold"], tensors)
            made = cls(readings, grid, ensemble, threshold, (drift, tensors["still"].numpy()), card["about"])
            F = len(readings.owner)
            width = made.length * F
            wide = {"state": 2 * F}
            fits = all(len(v.scale.arrays["middle"]) == wide.get(name, width) for name, v in ensemble.views.items())
            if (
                made.length < 1
                or made.stride < 1
                or not made.parts
                or not fits
                or {len(drift.edges), len(made.still)} != {F}
            ):
                raise ValueError("its parts are of different widths")
            threshold.rate(
                made.nats(np.zeros((1, width))).total
            )  # every array meets every other once, before anything is believed
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise ArtifactError(f"{str(path)!r} is a damaged monitor ({str(error)[:120]}): fit it again.") from error
        return made


def _join(parts: list[Nats]) -> Nats:
    total = torch.cat([part.total for part in parts])
    return Nats(total, {name: torch.cat([part.parts[name] for part in parts]) for name in parts[0].parts})
