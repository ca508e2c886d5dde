"""The series codec: recordings of sensors <-> `Reals` (T, C), windows of T even moments and C channels.

A table with a column of time, and one of entities where there are several, or arrays (`intake`). Rows are sorted and
put on an even grid (`grid`); windows are cut from runs without gaps and never cross an entity. Every channel has
about unit size (`channel`); channels of levels are one-hot; constant and empty channels are left out and given back.
All that was mended is said by `describe`.

Shape letters: n and B windows, T moments, C channels, E places of all channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from likely.codecs.series import give as giving
from likely.codecs.series import grid, intake, period
from likely.codecs.series.channel import Channel
from likely.codecs.series.features import features_of
from likely.codecs.series.intake import Options, Plan
from likely.codecs.series.plot import plot
from likely.codecs.series.windows import Windows
from likely.codecs.state import list_of, real_of, whole_of
from likely.core import Batch, Grammar, Known, Reals, Rendering
from likely.errors import ArtifactError, ConditionError, DataError, Mismatch, NotFitted, OptionError

FEWEST = 10  # windows to learn from
MANY = 20_000  # windows that the automatic stride aims at, at most
HOLD = 4_000_000_000  # most bytes of all windows
LONGEST = 100_000  # moments of a window


class Series:
    """Windows of one kind of recording.

    `time`, `entity`: columns; None = the obvious one; time=False: rows are evenly spaced and in order. `window`:
    moments of a window, None = the period of the data. `stride`: moments between the starts of neighbouring windows.
    `gap`: most missing steps in a row that are filled. `columns`: {name: "number", "category" or "drop"}. `bounded`:
    keep made numbers inside the known range. `calendar`: hour and weekday are conditions. `least`: rows behind every
    level. `encoding`: of text files.
    """

    name: ClassVar[str] = "series"
    spaces: ClassVar[tuple[type, ...]] = (Reals,)
    grammar: Grammar | None = None

    def __init__(  # noqa: PLR0913  (one argument a choice; all have defaults)
        self,
        *,
        time: str | bool | None = None,
        entity: str | None = None,
        window: int | None = None,
        stride: int | None = None,
        gap: int = 3,
        columns: Mapping[str, str] | None = None,
        bounded: bool = False,
        calendar: bool = False,
        least: int = 10,
        encoding: str = "utf-8",
    ) -> None:
        for word, value, low in (("window", window, 2), ("stride", stride, 1), ("gap", gap, 0), ("least", least, 1)):
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, int) or not low <= value <= LONGEST
            ):
                raise OptionError(f"{word}={value!r}: a whole number from {low} to {LONGEST:,} is wanted.")
        if time is True:
            raise OptionError("time=True: give the name of the column, None to find it, or False where there is none.")
        self.options = Options(time, entity, dict(columns or {}), least, encoding)
        self.window, self.gap = window, gap
        self.asked, self.stride = stride, stride or 1
        self.bounded, self.calendar = bounded, calendar
        self.plan: Plan | None = None
        self.step, self.first, self.n = 1.0, 0.0, 0
        self.length = 0  # T
        self.said: list[str] = []
        self._fit = False
        self._came: list[str] = []

    # ------------------------------------------------------------------------------------------ any series

    def read(self, items: Any) -> Windows:
        """Any series -> windows. The first one decides channels, step and window."""
        return self._read(items, None)

    def windows(self, items: Any, *, stride: int = 1) -> Windows:
        """All windows of whole recordings, for scoring: every `stride` moments, and the last of each run.

        `origin` says which rows of the input each covers. Raises NotFitted.
        """
        self._fitted()
        return self._read(items, stride)

    def _read(self, items: Any, stride: int | None) -> Windows:
        if isinstance(items, Windows):
            return items
        kind, said = intake.kind_of(items), list[str]()
        table = None
        if not self._fit:
            if kind == "table":
                self.plan, table, said = intake.plan_table(items, self.options)
            else:
                self.plan, said = intake.plan_array(items, kind, self.options)
        plan = self._plan()
        if (kind == "table") != (plan.kind == "table"):
            raise Mismatch(f"A {plan.kind.split()[0]} was learned, a series of another kind was given.")
        if kind == "3":
            made = self._whole(intake.parts_of(items, kind)[0], plan, stride, said)
        else:
            if kind == "table":
                raw = intake.rows_of(
                    table if table is not None else intake.later_table(items, plan, self.options), plan
                )
            else:
                raw = intake.rows_of_parts(intake.parts_of(items, kind), plan)
            said += raw.said
            made = self._cut(raw, plan, stride, said)
        self._came = said
        return made

    def _whole(self, part: NDArray[Any], plan: Plan, stride: int | None, said: list[str]) -> Windows:
        """An array of windows as they are, or cut further."""
        values = intake.live_of(part, plan)
        n, moments, _ = values.shape
        if not self._fit:
            self.length, self.step, self.first = self.window or moments, 1.0, 0.0
            self.stride = self.asked or self.length
        if moments < self.length:
            raise DataError(f"The recordings have {moments} moments, a window has {self.length}.")
        starts = grid.starts(moments, self.length, stride or self.stride, tail=stride is not None)
        if np.isnan(values).any():
            said.append(f"{int(np.isnan(values).sum()):,} missing values are taken as the middle of their channel")
        cut = np.stack([values[:, s : s + self.length] for s in starts], 1).reshape(-1, self.length, values.shape[2])
        place = np.tile(np.array(starts), n)
        names = np.repeat(np.arange(n).astype(np.str_), len(starts))
        return Windows(cut, place.astype(np.float64), names, np.stack([place, place + self.length], 1))

    def _cut(self, raw: intake.Raw, plan: Plan, stride: int | None, said: list[str]) -> Windows:
        """Rows -> runs -> windows."""
        first = np.append(True, raw.entity[1:] != raw.entity[:-1])
        level = np.array([channel.kind == "level" for channel in plan.live])
        if not self._fit:
            self.step = grid.step_of(raw.ticks, first)
            self.first = float(raw.ticks[0])
            if self.step <= 0:
                raise DataError("No two rows of an entity differ in time: a series has many.")
        runs, told = grid.runs(raw.ticks, raw.values, raw.rows, raw.entity, level, self.step, self.gap)
        unit = giving.span(plan, self.step)
        if told.resampled:
            said.append(f"the steps of time vary: every channel was interpolated to one row each {unit}")
        if told.filled:
            said.append(f"{told.filled:,} missing values in gaps of at most {self.gap} steps were filled")
        if told.gaps:
            said.append(f"{told.gaps:,} longer gaps: windows do not cross them")
        if told.lost:
            said.append(f"{told.lost:,} moments with missing values were left out")
        lengths = [len(run.values) for run in runs]
        if not runs:
            worst = plan.live[int(np.isnan(raw.values).mean(0).argmax())].name
            raise DataError(
                f"No moment has a value of every channel: leave out the emptiest one, columns={{{worst!r}: 'drop'}}."
            )
        if not self._fit:
            self._measure(runs, lengths, level, said)
        longest = max(lengths)
        if longest < self.length:
            raise DataError(
                f"A window has {self.length} moments, the longest run without a gap has {longest}: give at least "
                f"{self.length} rows in a row, or window={max(2, longest // 4)}."
            )
        short = sum(length < self.length for length in lengths)
        if short:
            said.append(f"{short:,} of {len(runs):,} runs are shorter than a window and were left out")
        step = stride or self.stride
        places = [(run, grid.starts(len(run.values), self.length, step, tail=stride is not None)) for run in runs]
        count = sum(len(starts) for _, starts in places)
        if count * self.length * len(plan.live) * 8 > HOLD:
            raise DataError(f"{count:,} windows of {self.length} moments do not fit into memory: give a larger stride.")
        values = np.stack([run.values[s : s + self.length] for run, starts in places for s in starts])
        return Windows(
            values,
            np.array([run.start + s * self.step for run, starts in places for s in starts]),
            np.array([run.entity for run, starts in places for _ in starts], np.str_),
            np.array([(run.rows[s], run.rows[s + self.length - 1] + 1) for run, starts in places for s in starts]),
        )

    def _measure(self, runs: list[grid.Run], lengths: list[int], level: NDArray[np.bool_], said: list[str]) -> None:
        """Window and stride, where nobody named them."""
        longest = runs[int(np.argmax(lengths))].values
        why = "as asked for"
        self.length = self.window or 0
        if not self.length:
            channels = [longest[:, c] for c in np.flatnonzero(~level)[:32]]
            self.length, why = period.window_of(channels, lengths)
        total = sum(lengths)
        self.stride = self.asked or max(1, self.length // 16, -(-total // MANY))
        said.insert(0, f"windows of {self.length} moments ({why}), one every {self.stride}")

    # ------------------------------------------------------------------------------------------------ learn

    def fit(self, items: Any) -> Self:
        """Learn the scale of every channel. Raises DataError for too few windows."""
        if not isinstance(items, Windows) or self.plan is None:
            if isinstance(items, Windows):
                raise NotFitted("Windows were given that this codec did not read: give the series itself.")
            self._fit = False
            items = self.read(items)
        plan = self._plan()
        if len(items) < FEWEST:
            raise DataError(
                f"The series gives {len(items)} window{'s' * (len(items) != 1)} of {self.length} moments: at least "
                f"{FEWEST} are needed to learn from. Give more rows, or a smaller window= or stride=."
            )
        learned = iter([c.learn(items.values[..., k], self.bounded) for k, c in enumerate(plan.live)])
        plan.channels = [next(learned) if channel in plan.live else channel for channel in plan.channels]
        self.said, self.n, self._fit = list(self._came), len(items), True
        self._index()
        return self

    def _index(self) -> None:
        live = self._plan().live
        self.cells = [c.name for c in live for _ in range(c.width)] * self.length

    def _plan(self) -> Plan:
        if self.plan is None:
            raise NotFitted("This series codec has not seen a series yet: call fit(series) first.")
        return self.plan

    def _fitted(self) -> Plan:
        plan = self._plan()
        if not self._fit:
            raise NotFitted("This series codec has not learned its scales yet: call fit(series) first.")
        return plan

    @property
    def channels(self) -> list[Channel]:
        """The channels that are modelled, in the order of `Windows.values`."""
        return self._plan().live

    @property
    def space(self) -> Reals:
        """(T, E), with the one-hot slices of channels of levels."""
        slices, at = [], 0
        for channel in self._fitted().live:
            slices += [(at, at + channel.width)] if channel.kind == "level" else []
            at += channel.width
        return Reals((self.length, at), onehot=tuple(slices))

    def describe(self) -> list[str]:
        """What was understood and mended, line by line; print it."""
        plan = self._fitted()
        time = f"time {plan.time!r}, one row each {giving.span(plan, self.step)}" if plan.time else "even steps"
        entity = f", entity {plan.entity!r}" if plan.entity else ""
        levels = sum(channel.kind == "level" for channel in plan.live)
        count = f"{len(plan.live)} channel{'s' * (len(plan.live) != 1)}" + (f" ({levels} of levels)" if levels else "")
        return [f"{self.n:,} windows, {count}, {time}{entity}", *self.said]

    def promises(self) -> list[str]:
        """No constraints: nothing to keep."""
        return []

    def rejects(self, items: Windows) -> NDArray[np.bool_]:
        """(n,) false: every window that can be made may be given."""
        return np.zeros(len(items), bool)

    # -------------------------------------------------------------------------------------- encode, decode

    def encode(self, items: Windows) -> Batch:
        """Windows -> (n, T, E) float32."""
        self._right(items)
        parts = [channel.encode(items.values[..., k]) for k, channel in enumerate(self._fitted().live)]
        return Batch(torch.from_numpy(np.concatenate(parts, -1).astype(np.float32)))

    def _right(self, items: Windows) -> None:
        wanted = (self.length, len(self._fitted().live))
        if items.values.shape[1:] != wanted:
            raise Mismatch(f"Windows of {wanted} moments and channels were learned, not of {items.values.shape[1:]}.")

    def make(self, x: Tensor, *, rng: torch.Generator, within: Any = None, start: int = 0) -> Windows:
        """Reals (n, T, E) -> windows. `within`: windows with holes, whose other values are kept."""
        live = self._fitted().live
        reals = x.detach().cpu().numpy().astype(np.float64)
        if reals.ndim != 3 or reals.shape[1:] != self.space.shape:
            raise Mismatch(f"Reals of shape (B, *{self.space.shape}) were wanted, {tuple(reals.shape)} were given.")
        edges = np.cumsum([0, *(channel.width for channel in live)])
        n = len(reals)
        values = np.stack([c.decode(reals[..., a:b]) for c, a, b in zip(live, edges[:-1], edges[1:], strict=True)], -1)
        if isinstance(within, Windows):
            if len(within) not in (1, n):
                raise Mismatch(f"{n} windows were made for {len(within)} windows with holes.")
            self._right(within)
            values = np.where(np.isnan(within.values), values, within.values)
            if len(within) == n:
                return Windows(values, within.start, within.entity, within.origin)
        names = np.array([str(start + k + 1) for k in range(n)], np.str_)
        return Windows(values, np.full(n, self.first), names, np.full((n, 2), -1))

    def give(self, items: Windows) -> Any:
        """Windows in the form that was learned from: a table with regular stamps, or an array (n, T, C)."""
        return giving.give(items, self._fitted(), self.step, self.length)

    def settle(self, items: Windows) -> Windows:
        """Real windows are already in the form of made ones."""
        self._right(items)
        return items

    def join(self, parts: Sequence[Windows]) -> Windows:
        """One collection of several."""
        return Windows.join(parts)

    def replace(self, items: Windows, mask: NDArray[np.bool_], others: Windows) -> Windows:
        """The windows of `others` in the places where the mask (n,) is true."""
        source = np.arange(len(items))
        source[mask] = len(items) + np.arange(len(others))
        return Windows.join([items, others])[source]

    def apart(self, items: Windows, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row numbers to learn from and to set aside that share no moment: neighbouring windows overlap."""
        return items.apart(share, seed, self.step)

    # ------------------------------------------------------------------------------------------------ known

    def condition(self, given: Mapping[str, Any]) -> Known:
        """Windows have no parts to wish for. Raises ConditionError."""
        raise ConditionError(
            f"Windows cannot be asked for by {', '.join(map(repr, list(given)[:3]))}: learn with calendar=True and the "
            "conditions hour, weekday and entity, or fill windows whose missing values are NaN."
        )

    def conditions(self, items: Windows) -> pl.DataFrame | None:
        """What is known of each window beside its values: entity, and hour and weekday of its start; or None."""
        return giving.conditions(items, self._plan(), self.calendar)

    def partial(self, items: Windows) -> Known:
        """Windows with holes (NaN) -> Known (n, T, E)."""
        x = self.encode(items).x
        live = self._fitted().live
        holes = [np.isnan(items.values[..., k, None]).repeat(channel.width, -1) for k, channel in enumerate(live)]
        mask = torch.from_numpy(~np.concatenate(holes, -1))
        return Known(x * mask, mask)

    # -------------------------------------------------------------------------------------------- judgement

    def volume(self, items: Windows) -> Tensor:
        """(n, 1) zeros: every window leaves the same volume open."""
        return torch.zeros((len(items), 1), dtype=torch.float64)

    def check(self, items: Windows) -> list[list[str]]:
        """For each window the reasons why it is none of these; [] = it may be one."""
        live = self._fitted().live
        if items.values.shape[1:] != (self.length, len(live)):
            size = " x ".join(map(str, items.values.shape[1:]))
            return [
                [f"{size} moments and channels, {self.length} x {len(live)} were learned"] for _ in range(len(items))
            ]
        odd = [channel.strange(items.values[..., k]) for k, channel in enumerate(live)]
        return [[reason for part in odd if (reason := part[row])] for row in range(len(items))]

    def features(self, items: Windows) -> NDArray[np.float32]:
        """(n, F): mean, spread, slope, autocorrelation and spectrum of each channel."""
        return features_of(self.encode(items).x.numpy())

    def render(self, items: Windows) -> Rendering:
        """An SVG plot of the first windows."""
        live = self._fitted().live
        return plot(items.values, [c.name for c in live], giving.heads(items[:8], self._fitted()))

    # ------------------------------------------------------------------------------------------------- keep

    def state(self) -> dict[str, Any]:
        """Plain JSON: no row of the series."""
        return {
            "version": 1, "plan": giving.state_of(self._fitted()), "length": self.length, "stride": self.stride,
            "gap": self.gap, "step": self.step, "first": self.first, "n": self.n, "said": self.said,
            "calendar": self.calendar,
        }  # fmt: skip

    def load(self, state: dict[str, Any]) -> Self:
        """The inverse of `state`, from a file that may come from anybody. Raises ArtifactError."""
        whole_of(state, "version", low=1, high=1)
        self.plan = giving.load_plan(state)
        self.length, self.stride = whole_of(state, "length", 2, LONGEST), whole_of(state, "stride", 1, LONGEST)
        self.gap, self.n = whole_of(state, "gap", 0, LONGEST), whole_of(state, "n")
        self.step, self.first = real_of(state, "step"), real_of(state, "first")
        self.said, self.calendar = list_of(state, "said", str, most=1000), bool(state.get("calendar"))
        if self.step <= 0:
            raise ArtifactError("The model file is damaged: the step of time is not above 0.")
        self._fit = True
        self._index()
        return self


def windows(items: Any, codec: Series, *, stride: int = 1) -> Windows:
    """All windows of whole recordings, each with the rows of the input that it covers (`Windows.origin`)."""
    return codec.windows(items, stride=stride)
