"""Numbers as categories: an ordered axis cut into spikes and pools that no single person stands behind.

Let v_1..v_n be the values of one column on a grid (int64 ticks) or on the real line (float64). A value that
many rows share is a *spike* with a code of its own. The others *pool*, in order, until a pool holds enough rows.
The promise that everything else leans on: **every code stands for at least `least` training rows**, and no edge
of a pool tells the value of one row.

A pool is drawn as a piecewise uniform density: *segments* [lo, hi] with weights that sum to 1 within a code. Each
segment's weight comes from a group of at least `least` rows (so a wide tail keeps its shape); a segment whose
hi / lo is large is log-uniform, since heavy tails are straight there. Segments of all codes are disjoint, hence a
value drawn from a code is always read back as that code.

Edges. Between two groups the edge lies half a mean spacing beyond the outermost row, at most half way to the next
group. The two outer ends of the axis would show the lowest and highest row, so they are *fitted*: a line through
the middle and the upper order statistics of the outermost group without its top tenth (for a uniform law
E v_(i) = lo + (hi - lo) i / (m + 1)), and never beyond the mean of the three most extreme rows. A natural bound
(99 hours, 0 euros) that many rows share is a spike and so stays exact.

Shape letters: B values, K codes, S segments.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from likely.codecs.state import array_of, flag_of, whole_of
from likely.errors import ArtifactError

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Values = NDArray[Any]  # int64 ticks or float64

LOG_RATIO = 3.0  # hi / lo beyond which a segment is log-uniform
GROUPS = 8  # most groups of rows that shape one pool
LIMIT = 2**61  # ticks beyond this would overflow differences


def default_bins(n: int, least: int) -> int:
    """How many pools for n rows: 64 from 20,000 rows on; below, up to 256 as long as each holds `least` rows."""
    return 64 if n >= 20_000 else max(1, min(256, n // least))


@dataclass
class Bins:
    """Segments `lo`, `hi` (S,) sorted and disjoint, their `weight` (S,) within their `code` (S,); `share` (K,) is
    the rounded part of all training values with that code, `n` their number."""

    lo: Values
    hi: Values
    weight: Floats
    code: Ints
    share: Floats
    n: int
    grid: bool

    # ------------------------------------------------------------------------------------------------ learn

    @classmethod
    def fit(cls, values: Values, *, least: int, bins: int | None) -> Self:
        """Learn from (B,) values, B >= 1: int64 for ticks on a grid, float64 for reals (all finite)."""
        grid = values.dtype.kind == "i"
        distinct, counts = np.unique(values, return_counts=True)
        n = len(values)
        bins = bins or default_bins(n, least)
        enough = least if len(distinct) <= 4 * bins else max(least, n // bins)
        spiked = counts >= enough
        pools = _pool(counts[~spiked], enough, least)
        if pools and counts[~spiked].sum() < least and spiked.any():
            pools = []  # too few rows for a code of their own: they are read as the nearest spike
        groups = _groups(distinct[~spiked], counts[~spiked], pools, least)
        spikes, rows = distinct[spiked], counts[spiked]
        lo, hi, weight, owner = _segments(groups, spikes, grid)
        lo, hi = np.concatenate([lo, spikes]), np.concatenate([hi, spikes])
        weight = np.concatenate([weight, np.ones(len(spikes))])
        owner = np.concatenate([owner, len(pools) + np.arange(len(spikes))]).astype(np.int64)
        rows = np.concatenate([[counts[~spiked][a:b].sum() for a, b in pools], rows])
        order = np.argsort(lo, kind="stable")
        lo, hi, weight, owner = lo[order], hi[order], weight[order], owner[order]
        # Codes in the order of their lowest segment, so that neighbouring codes are neighbouring values.
        _, first = np.unique(owner, return_index=True)
        rank = np.empty(len(first), np.int64)
        rank[np.argsort(first, kind="stable")] = np.arange(len(first))
        share = np.empty(len(first))
        share[rank] = np.round(rows / max(rows.sum(), 1), 4)
        total = np.bincount(rank[owner], weight)
        return cls(lo, hi, weight / total[rank[owner]], rank[owner], share, n, grid)

    # ------------------------------------------------------------------------------------------------- read

    @property
    def size(self) -> int:
        """K, the number of codes."""
        return len(self.share)

    @property
    def usual(self) -> int:
        """The commonest code."""
        return int(self.share.argmax())

    def edges(self) -> tuple[Values, Values]:
        """Lowest and highest value (K,), (K,) of each code."""
        first = np.full(self.size, len(self.lo))
        np.minimum.at(first, self.code, np.arange(len(self.lo)))
        last = np.zeros(self.size, np.int64)
        np.maximum.at(last, self.code, np.arange(len(self.lo)))
        return self.lo[first], self.hi[last]

    def segment(self, values: Values) -> Ints:
        """The segment (B,) that holds each value, or the nearest one.

        A spike takes its own value only, where a pool is on the other side of the gap: the rows that the fitted
        ends left out stay with their pool.
        """
        values = self._axis(values)
        at = np.clip(np.searchsorted(self.lo, values, "right") - 1, 0, None)
        after = np.minimum(at + 1, len(self.lo) - 1)
        spike = (self.lo == self.hi) & (np.bincount(self.code, minlength=self.size)[self.code] == 1)
        with np.errstate(over="ignore"):
            nearer = self.lo[after] - values < values - self.hi[at]
        nearer = np.where(spike[at] == spike[after], nearer, spike[at])
        nearer &= (values > self.hi[at]) & (after > at)
        return np.where(nearer, after, at)

    def encode(self, values: Values) -> Ints:
        """Codes (B,) in [0, K) of values (B,); a value outside all segments takes the nearest."""
        return self.code[self.segment(values)]

    def _axis(self, values: Values) -> Values:
        if not self.grid:
            return values.astype(np.float64)
        return np.clip(values, -LIMIT, LIMIT).astype(np.int64) if values.dtype.kind != "i" else values

    # ------------------------------------------------------------------------------------------------- draw

    def draw(self, codes: Ints, rng: np.random.Generator, lo: Values | None = None, hi: Values | None = None) -> Values:
        """Values (B,) from codes (B,), within [lo, hi] (B,) where given.

        Where a code has nothing inside the bounds the bounds win: the value nearest to the code is taken.
        """
        segment, u = self.choose(codes, rng.random(len(codes))), rng.random(len(codes))
        if lo is None and hi is None:
            return self.place(segment, u, self.lo[segment], self.hi[segment])
        info = np.iinfo(np.int64) if self.grid else np.finfo(np.float64)
        low = np.full(len(codes), info.min) if lo is None else lo
        high = np.full(len(codes), info.max) if hi is None else hi
        pick = rng.random(len(codes))
        for code in np.unique(codes):
            rows = np.flatnonzero(codes == code)
            own = np.flatnonzero(self.code == code)
            mass = self._mass(own, low[rows, None], high[rows, None]) * self.weight[own]
            cumulative = mass.cumsum(1)
            target = pick[rows] * cumulative[:, -1]
            at = np.minimum((cumulative <= target[:, None]).sum(1), len(own) - 1)
            segment[rows] = own[at]
        a, b = np.maximum(self.lo[segment], low), np.minimum(self.hi[segment], high)
        placed = self.place(segment, u, np.minimum(a, b), b)
        return np.asarray(np.where(a <= b, placed, np.minimum(np.maximum(self.lo[segment], low), high)))

    def choose(self, codes: Ints, u: Floats) -> Ints:
        """A segment (B,) of each code by weight: segments of code c fill (c, c + 1] of one cumulative axis."""
        order = np.argsort(self.code, kind="stable")
        cumulative = self.weight[order].cumsum()
        start = np.searchsorted(self.code[order], np.arange(self.size))
        ends = np.append(start[1:], len(order)) - 1
        before = np.concatenate([[0.0], cumulative])[start]
        inside = self.code[order] + np.minimum(cumulative - before[self.code[order]], 1.0)
        at = np.searchsorted(inside, codes + u, "right")
        return order[np.clip(at, start[codes], ends[codes])]

    def place(self, segment: Ints, u: Floats, lo: Values, hi: Values) -> Values:
        """The point at share u of [lo, hi], on the grid, on a log axis where the segment is log-uniform."""
        one = 1 if self.grid else 0
        logs = self.curved(segment) & (lo > 0)
        with np.errstate(over="ignore"):
            span = hi.astype(np.float64) + one - lo.astype(np.float64)
        # On reals in a form that never overflows where hi - lo does.
        made: Values = lo + np.floor(u * span).astype(np.int64) if self.grid else lo * (1 - u) + hi * u
        if logs.any():
            a, b = np.log(lo[logs].astype(np.float64)), np.log(hi[logs].astype(np.float64) + one)
            curve = np.exp(a + u[logs] * (b - a))
            made[logs] = np.floor(curve).astype(np.int64) if self.grid else curve
        return np.asarray(np.clip(made, lo, hi))

    def curved(self, segment: Ints) -> NDArray[np.bool_]:
        lo, hi = self.lo[segment].astype(np.float64), self.hi[segment].astype(np.float64)
        return (lo > 0) & (hi / LOG_RATIO > lo)

    # ------------------------------------------------------------------------------------------------ weigh

    def _mass(self, segment: Ints, lo: Any, hi: Any) -> Floats:
        """The part in [0, 1] of each segment inside [lo, hi]; lo and hi broadcast against `segment`."""
        one = 1.0 if self.grid else 0.0
        a, b = self.lo[segment].astype(np.float64), self.hi[segment].astype(np.float64) + one
        low, high = np.maximum(a, lo), np.minimum(b, np.asarray(hi, np.float64) + one)
        logs = self.curved(segment)
        with np.errstate(all="ignore"):
            straight = (high / 2 - low / 2) / (b / 2 - a / 2)
            curved = np.log(high / low) / np.log(b / a)
        part = np.where(logs, curved, straight)
        # A point of a real axis has no width, yet a spike lies wholly inside a range that holds it.
        part = np.where(b == a, (low <= high).astype(np.float64), part)
        return np.asarray(np.nan_to_num(np.clip(np.where(low <= high, part, 0.0), 0.0, 1.0)))

    def admit(self, intervals: list[tuple[float, float]]) -> Floats:
        """The part (K,) in [0, 1] of each code inside the union of disjoint intervals [lo, hi].

        On a real axis a single point has no mass: the code that holds it then gets all the weight.
        """
        total = np.zeros(self.size)
        everything = np.arange(len(self.lo))
        for lo, hi in intervals:
            part = np.bincount(self.code, self._mass(everything, lo, hi) * self.weight, self.size)
            if not part.any() and lo == hi:
                part[self.encode(np.array([lo], self.lo.dtype))] = 1e-9
            total += part
        return np.minimum(total, 1.0)

    def volume(self, values: Values, unit: float = 1.0) -> Floats:
        """Nats (B,) that the code leaves open: minus the log density of the value within its code.

        `unit` is the grid step of a real axis. A value beyond either end costs log(n + 1) more, and its distance
        in quarters of the known range (an exponential tail), so that an outlier is surprising and not silently snapped.
        """
        values = self._axis(values)
        segment = self.segment(values)
        lo, hi = self.lo[segment].astype(np.float64), self.hi[segment].astype(np.float64)
        one = 1.0 if self.grid else 0.0
        with np.errstate(all="ignore"):
            size = (hi / unit + one) - lo / unit
            logs = self.curved(segment)
            inside = np.clip(values.astype(np.float64), lo, hi)
            size = np.where(logs, inside / unit * np.log((hi + one) / np.where(logs, lo, 1.0)), size)
        open_ = np.log(np.maximum(np.nan_to_num(size, posinf=1e300), 1.0)) - np.log(self.weight[segment])
        return np.asarray(open_ + self.beyond(values))

    def beyond(self, values: Values) -> Floats:
        """The extra nats (B,) of values outside the known range, 0 inside it."""
        values = self._axis(values)
        low, high = float(self.lo[0]), float(self.hi[-1])
        with np.errstate(all="ignore"):
            far = np.maximum(low - values.astype(np.float64), values.astype(np.float64) - high)
            spread = max((high - low) / 4, 1.0 if self.grid else np.finfo(np.float64).tiny)
            extra = np.log(self.n + 1) + np.minimum(far / spread, 1e300)
        return np.where(far > 0, extra, 0.0)

    def level(self, values: Values) -> Floats:
        """The share (B,) in [0, 1] of training values below each value: a quantile scale for distances."""
        below = np.concatenate([[0.0], self.share.cumsum()[:-1]]) / max(self.share.sum(), 1e-9)
        codes = self.encode(values)
        lo, hi = self.edges()
        a, b = lo[codes].astype(np.float64), hi[codes].astype(np.float64)
        with np.errstate(all="ignore"):
            inside = np.clip((values.astype(np.float64) / 2 - a / 2) / (b / 2 - a / 2), 0, 1)
        inside = np.where(b > a, np.nan_to_num(inside), 0.5)
        return np.asarray(np.clip(below[codes] + inside * self.share[codes] / max(self.share.sum(), 1e-9), 0, 1))

    # ------------------------------------------------------------------------------------------------- keep

    def state(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "lo": self.lo.tolist(),
            "hi": self.hi.tolist(),
            "weight": self.weight.tolist(),
            "code": self.code.tolist(),
            "share": self.share.tolist(),
            "n": self.n,
            "grid": self.grid,
        }

    @classmethod
    def load(cls, state: dict[str, Any]) -> Self:
        """The inverse of `state`. Raises ArtifactError where the numbers make no sense."""
        grid = flag_of(state, "grid")
        dtype = np.int64 if grid else np.float64
        lo, hi = array_of(state, "lo", dtype), array_of(state, "hi", dtype)
        weight, share = array_of(state, "weight", np.float64), array_of(state, "share", np.float64)
        code = array_of(state, "code", np.int64)
        n = whole_of(state, "n")
        fits = len(lo) == len(hi) == len(weight) == len(code) > 0 and len(share) > 0
        if not fits or not set(code.tolist()) == set(range(len(share))):
            raise ArtifactError("The model file is damaged: the bins of a column do not fit together.")
        ordered = (lo <= hi).all() and (hi[:-1] <= lo[1:]).all()
        if not ordered or (weight < 0).any() or (share < 0).any() or (grid and max(-int(lo[0]), int(hi[-1])) > LIMIT):
            raise ArtifactError("The model file is damaged: the bins of a column are out of order or range.")
        if not np.allclose(np.bincount(code, weight), 1.0):
            raise ArtifactError("The model file is damaged: the weights of a column's bins do not add up.")
        return cls(lo, hi, np.maximum(weight, 1e-9), code, share, n, grid)


# ------------------------------------------------------------------------------------------------------ pools


def _pool(counts: Ints, enough: int, least: int) -> list[tuple[int, int]]:
    """Cut consecutive values into pools [a, b) of at least `enough` rows; a rest below `least` joins the last."""
    cumulative = counts.cumsum()
    pools: list[tuple[int, int]] = []
    start = 0
    while start < len(counts):
        before = cumulative[start - 1] if start else 0
        stop = min(int(np.searchsorted(cumulative, before + enough)) + 1, len(counts))
        if pools and cumulative[stop - 1] - before < least:
            pools[-1] = (pools[-1][0], stop)
        else:
            pools.append((start, stop))
        start = stop
    return pools


def _groups(
    distinct: Values, counts: Ints, pools: list[tuple[int, int]], least: int
) -> list[tuple[Values, Ints, int, float]]:
    """The groups of rows that shape each pool: (values, counts, pool, share of the pool's rows)."""
    groups = []
    for pool, (a, b) in enumerate(pools):
        rows = int(counts[a:b].sum())
        for c, d in _pool(counts[a:b], max(least, -(-rows // GROUPS)), least):
            part = slice(a + c, a + d)
            groups.append((distinct[part], counts[part], pool, float(counts[part].sum() / rows)))
    return groups


def _segments(
    groups: list[tuple[Values, Ints, int, float]], spikes: Values, grid: bool
) -> tuple[Values, Values, Floats, Ints]:
    """Segments of the groups: edges between them, fitted outer ends, spikes cut out."""
    dtype = np.int64 if grid else np.float64
    edges: list[list[Any]] = []
    for values, counts, _, _ in groups:
        spacing = float(values[-1]) / max(counts.sum() - 1, 1) - float(values[0]) / max(counts.sum() - 1, 1)
        edges.append([values[0], values[-1], spacing])
    for left, right in pairwise(edges):
        last, first = left[1], right[0]
        room = (int(first) - int(last) - 1) // 2 if grid else (first / 2 - last / 2) * 0.98
        left[1] = last + (int(min(room, left[2] / 2)) if grid else min(room, left[2] / 2))
        right[0] = first - (int(min(room, right[2] / 2)) if grid else min(room, right[2] / 2))
    if groups:
        top, bottom = groups[-1], groups[0]
        edges[-1][1] = max(_beyond(_end(top[0], top[1], grid), top[0], spikes, grid), edges[-1][0])
        low = -_beyond(_end(-bottom[0][::-1], bottom[1][::-1], grid), -bottom[0][::-1], -spikes[::-1], grid)
        edges[0][0] = min(low, edges[0][1])
    lo: list[Any] = []
    hi: list[Any] = []
    weight: list[float] = []
    owner: list[int] = []
    for (a, b, _), (_, _, pool, share) in zip(edges, groups, strict=True):
        inside = spikes[(spikes >= a) & (spikes <= b)]
        pieces = _cut(a, b, inside, grid)
        sizes = np.array([float(d) - float(c) + (1 if grid else 0) for c, d in pieces])
        sizes = sizes / sizes.sum() if sizes.sum() > 0 else np.ones(len(pieces)) / max(len(pieces), 1)
        for (c, d), size in zip(pieces, sizes, strict=True):
            lo.append(c)
            hi.append(d)
            weight.append(share * float(size))
            owner.append(pool)
    return np.array(lo, dtype), np.array(hi, dtype), np.maximum(np.array(weight), 1e-9), np.array(owner, np.int64)


def _beyond(end: Any, values: Values, spikes: Values, grid: bool) -> Any:
    """The end, or a little beyond the last spike below the highest value: else its rows would read as that spike."""
    inside = spikes[(spikes < values[-1]) & (spikes >= values[0])]
    if not len(inside) or end > inside[-1]:
        return end
    return inside[-1] + 1 if grid else inside[-1] + (values[-1] - inside[-1]) / 2


def _cut(a: Any, b: Any, spikes: Values, grid: bool) -> list[tuple[Any, Any]]:
    """[a, b] without the spikes, as closed intervals."""
    pieces = []
    for spike in spikes.tolist():
        end = spike - 1 if grid else np.nextafter(spike, -np.inf)
        if a <= end:
            pieces.append((a, end))
        a = spike + 1 if grid else np.nextafter(spike, np.inf)
    if a <= b:
        pieces.append((a, b))
    return pieces


def _end(values: Values, counts: Ints, grid: bool) -> Any:
    """The fitted upper end of the outermost group (see the module's text). Values ascending."""
    rows = np.repeat(values, np.minimum(counts, 10_000))
    m = len(rows)
    if m < 4 or rows[-1] == rows[-3]:
        return values[-1]  # three rows share it: nobody's own
    logs = values[0] > 0 and float(values[-1]) / LOG_RATIO > float(values[0])
    axis = np.log(rows.astype(np.float64)) if logs else rows.astype(np.float64) / 8  # / 8: sums cannot overflow
    place = (np.arange(m) + 1) / (m + 1)
    middle, upper = slice(int(m * 0.4), max(int(m * 0.6), int(m * 0.4) + 1)), slice(int(m * 0.7), m - max(1, m // 10))
    p, q = place[middle].mean(), place[upper].mean()
    x, y = axis[middle].mean(), axis[upper].mean()
    end = y + (y - x) / (q - p) * (1 - q)
    with np.errstate(over="ignore"):  # the fit may run to infinity, the three highest rows do not
        end = min(np.exp(end) if logs else end * 8, float((rows[-3:].astype(np.float64) / 3).sum()))
    return int(np.floor(end + 1e-9)) if grid else float(end)
