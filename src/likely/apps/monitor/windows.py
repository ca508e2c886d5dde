"""Stretches of readings as windows: what a detector of series looks at.

A window is T consecutive readings of one machine, laid flat as (T * F,), time first. It never spans a gap: readings
more than GAP usual steps apart belong to different segments. Within a segment a missing value is the last one seen.

Letters: N readings, F numbers a reading, T readings a window, B windows.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from likely.apps.monitor.readings import Taken

GAP = 5.0


class Segment(NamedTuple):
    """Readings without a gap: `x` (N, F) finite, `stamps` (N,), the entity's code."""

    x: NDArray[np.float64]
    stamps: NDArray[np.float64]
    entity: int


def usual_step(taken: Taken) -> float:
    """The median time between neighbouring readings of a machine."""
    gaps = np.diff(taken.stamps)[np.diff(taken.entity) == 0]
    gaps = gaps[gaps > 0]
    return float(np.median(gaps)) if len(gaps) else 1.0


def segments(taken: Taken, medians: NDArray[np.float64], step: float) -> list[Segment]:
    """Cut where the machine changes or time jumps."""
    if len(taken.x) == 0:
        return []
    breaks = (np.diff(taken.entity) != 0) | (np.diff(taken.stamps) > GAP * step)
    edges = [0, *(np.flatnonzero(breaks) + 1).tolist(), len(taken.x)]
    return [Segment(carry(taken.x[a:b], medians), taken.stamps[a:b], int(taken.entity[a])) for a, b in pairwise(edges)]


def carry(x: NDArray[np.float64], last: NDArray[np.float64]) -> NDArray[np.float64]:
    """Readings (N, F) with each missing value replaced by the one before it; `last` (F,) comes before the first."""
    if not np.isnan(x).any():
        return x
    whole = np.concatenate([last[None], x])
    seen = np.where(np.isnan(whole), 0, np.arange(len(whole))[:, None])
    np.maximum.accumulate(seen, axis=0, out=seen)
    return np.take_along_axis(whole, seen, 0)[1:]


def cut(x: NDArray[np.float64], length: int, starts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Readings (N, F) -> windows (B, T * F) that begin at `starts`."""
    view = sliding_window_view(x, length, axis=0)  # (N - T + 1, F, T), no copy
    return view[starts].transpose(0, 2, 1).reshape(len(starts), -1)


def starts(count: int, length: int, stride: int) -> NDArray[np.int64]:
    """Where windows begin in a segment of `count` readings; the last readings are always looked at."""
    if count < length:
        return np.zeros(0, np.int64)
    found = np.arange(0, count - length + 1, stride)
    return found if found[-1] == count - length else np.append(found, count - length)


def pieces(
    segment: Segment, length: int, stride: int, most: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
    """Starts and windows of a segment, at most `most` windows at a time."""
    every = starts(len(segment.x), length, stride)
    for i in range(0, len(every), most):
        yield every[i : i + most], cut(segment.x, length, every[i : i + most])
