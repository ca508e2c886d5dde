"""Watching a stream: readings go in one by one, a verdict comes out with every window, and nothing grows.

For each machine the last T - 1 readings are kept, for each number ten fading counts (`drift.py`). A window is scored
every `stride` readings. A gap of more than five usual steps empties the window; a stamp that is not later than the
last one is passed over and counted; a missing value is the last one seen. At most MACHINES machines are remembered:
beyond, the one that has been silent for longest is forgotten.

Letters: n readings that arrive, F numbers a reading, T readings a window.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from likely.apps.monitor import stamps
from likely.apps.monitor.drift import Drift
from likely.apps.monitor.model import Monitor
from likely.apps.monitor.still import runs
from likely.apps.monitor.stream import Arrived
from likely.apps.monitor.windows import GAP, carry, cut

MACHINES = 1000


class Machine:
    """What is remembered of one machine."""

    def __init__(self, width: int, last: NDArray[np.float64]) -> None:
        self.x = np.zeros((0, width))
        self.stamps = np.zeros(0)
        self.last = last
        self.run = np.zeros(width, np.int64)  # readings since each number last changed
        self.runs = np.zeros((0, width), np.int64)  # of the readings in x
        self.due = 0  # readings until the next window, counted from a full one


class Watch:
    """A monitor at work. `feed` takes what arrives and gives verdicts, dicts that are ready for JSON."""

    def __init__(self, monitor: Monitor, remark: Callable[[str], None] = lambda text: None) -> None:
        self.monitor, self.remark = monitor, remark
        self.machines: OrderedDict[str, Machine] = OrderedDict()
        self.drift = Drift(monitor.drift_from.tensors)
        self.readings = self.windows = self.alarms = self.late = self.gaps = 0

    def feed(self, arrived: Arrived) -> list[dict[str, Any]]:
        """Readings of one machine -> the verdicts of the windows that they complete."""
        monitor, machine = self.monitor, self._machine(arrived.entity)
        x, when = self._in_order(machine, arrived)
        if len(x) == 0:
            return []
        self.readings += len(x)
        x = carry(x, machine.last)
        run = runs(x, machine.last, machine.run)
        machine.last, machine.run = x[-1], run[-1]
        self.drift.update(x)
        if not monitor.readings.ordered:
            return self._judge(x, when, np.arange(len(x)), np.full(len(x), -1), arrived.entity)
        found: list[dict[str, Any]] = []
        before = machine.stamps[-1] if len(machine.stamps) else when[0]
        breaks = np.flatnonzero(np.diff(np.concatenate([[before], when])) > GAP * monitor.step)
        for a, b in zip([0, *breaks.tolist()], [*breaks.tolist(), len(x)], strict=True):
            if a == b:
                continue
            if a in breaks:
                self.gaps += 1
                machine.x, machine.stamps, machine.runs, machine.due = (
                    machine.x[:0],
                    machine.stamps[:0],
                    machine.runs[:0],
                    0,
                )
            found += self._extend(machine, x[a:b], when[a:b], run[a:b], arrived.entity)
        return found

    def summary(self) -> str:
        """What has been seen, for a person."""
        text = f"{self.readings:,} readings, {self.windows:,} windows, {self.alarms:,} alarms"
        if self.late:
            text += f"; {self.late:,} readings passed over, whose stamps did not go forward"
        if self.gaps:
            text += f"; {self.gaps:,} gaps"
        return text + "."

    def _extend(
        self,
        machine: Machine,
        x: NDArray[np.float64],
        when: NDArray[np.float64],
        run: NDArray[np.int64],
        entity: str,
    ) -> list[dict[str, Any]]:
        """Add readings that follow without a gap, and score the windows that fall due."""
        T, stride = self.monitor.length, self.monitor.stride
        kept = len(machine.x)
        machine.x, machine.stamps = np.concatenate([machine.x, x]), np.concatenate([machine.stamps, when])
        machine.runs = np.concatenate([machine.runs, run])
        first = kept + machine.due if kept >= T - 1 else T - 1  # place of the last reading of the next window
        ends = np.arange(first, len(machine.x), stride)
        found = []
        if len(ends):
            windows = cut(machine.x, T, ends - T + 1)
            stuck = self.monitor.stuck(machine.runs, ends - T + 1)
            found = self._judge(windows, machine.stamps, ends - T + 1, stuck, entity)
        following = (int(ends[-1]) + stride if len(ends) else first) - len(machine.x)
        machine.due = max(0, following)
        machine.x, machine.stamps = machine.x[-(T - 1) :].copy(), machine.stamps[-(T - 1) :].copy()
        machine.runs = machine.runs[-(T - 1) :].copy()
        return found

    def _judge(
        self,
        x: NDArray[np.float64],
        when: NDArray[np.float64],
        begin: NDArray[np.int64],
        stuck: NDArray[np.int64],
        entity: str,
    ) -> list[dict[str, Any]]:
        monitor = self.monitor
        nats = monitor.nats(x)
        rate = monitor.threshold.rate(nats.total)
        alarm = rate <= monitor.threshold.budget
        self.windows += len(x)
        self.alarms += int((alarm | (stuck >= 0)).sum())
        rows = np.flatnonzero(alarm)
        share, at = monitor.blame(x[rows]) if len(rows) else (np.zeros((0, 1)), np.zeros(0, np.int64))
        blamed = {int(row): k for k, row in enumerate(rows)}
        total, parts = nats.total.tolist(), {name: value.tolist() for name, value in nats.parts.items()}
        moved = self._moved()
        found = []
        for k in range(len(x)):
            verdict: dict[str, Any] = self._place(when, int(begin[k]), entity)
            verdict |= {
                "score": round(total[k], 3), "false_alarms": float(f"{rate[k]:.3g}"), "per": monitor.threshold.unit,
                "alarm": bool(alarm[k] or stuck[k] >= 0),
            }  # fmt: skip
            if k in blamed:
                top = int(share[blamed[k]].argmax())
                verdict |= {"sensor": monitor.sensors[top], "share": round(float(share[blamed[k], top]), 3)}
                if monitor.readings.ordered:
                    verdict["at"] = self._stamp(when[int(begin[k]) + int(at[blamed[k]])])
            if stuck[k] >= 0:
                name = monitor.sensors[int(stuck[k])]
                verdict |= {"stuck": name} if k in blamed else {"sensor": name, "stuck": name}
            verdict["parts"] = {name: round(value[k], 3) for name, value in parts.items()}
            if moved:
                verdict["drift"] = moved
            found.append(verdict)
        return found

    def _place(self, when: NDArray[np.float64], begin: int, entity: str) -> dict[str, Any]:
        place: dict[str, Any] = {"entity": entity} if self.monitor.readings.entity is not None else {}
        if not self.monitor.readings.ordered:
            return place | {"line": int(when[begin])}
        return place | {
            "start": self._stamp(when[begin]), "end": self._stamp(when[begin + self.monitor.length - 1]),
        }  # fmt: skip

    def _stamp(self, seconds: float) -> str | float:
        readings = self.monitor.readings
        return stamps.write(float(seconds), stamps.ISO if readings.dated and readings.time else stamps.NUMBER)

    def _moved(self) -> dict[str, float]:
        """Columns that have drifted, with their shift in spreads."""
        moved = self.drift.moved
        if not moved.any():
            return {}
        shift, owner = self.drift.index()[1], self.monitor.readings.owner
        worst = {self.monitor.sensors[c]: float(shift[(owner == c) & moved].max()) for c in np.unique(owner[moved])}
        return {name: round(value, 2) for name, value in sorted(worst.items(), key=lambda pair: -pair[1])}

    def _machine(self, entity: str) -> Machine:
        if entity not in self.machines:
            if len(self.machines) >= MACHINES:
                gone, _ = self.machines.popitem(last=False)
                self.remark(f"More than {MACHINES} machines: {gone[:40]!r}, silent for longest, is forgotten.")
            readings = self.monitor.readings
            self.machines[entity] = Machine(len(readings.owner), readings.medians)
        self.machines.move_to_end(entity)
        return self.machines[entity]

    def _in_order(self, machine: Machine, arrived: Arrived) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Without the readings whose stamps do not go forward."""
        if self.monitor.readings.time is None:
            return arrived.x, arrived.stamps
        last = machine.stamps[-1] if len(machine.stamps) else -np.inf
        latest = np.maximum.accumulate(np.concatenate([[last], arrived.stamps]))[:-1]
        good = arrived.stamps > latest
        if not good.all():
            if self.late == 0:
                self.remark("A stamp did not go forward; such readings are passed over.")
            self.late += int((~good).sum())
        return arrived.x[good], arrived.stamps[good]
