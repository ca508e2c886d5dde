"""Table rows as one vector of reals: what autoencoders, GANs and flows learn tables by.

The cells of a table (see `codec`) say all that may be told of a row: no code stands for fewer than `least` rows. The
vector says the same, and where inside its code a number lies:

* a cell without order is one-hot: 0 and 1, one place a code;
* an ordered cell is one number z, its normal score. The codes share the unit interval by their share of rows, a value
  that lies at share p of the mass of code k has u = F(k - 1) + p (F(k) - F(k - 1)), and z = Phi^-1(u). So every number
  column is standard normal, whatever its shape, and z is inverted exactly (the probability integral transform,
  Rosenblatt 1952, doi:10.1214/aoms/1177729394);
* codes that a continuous law cannot draw have a place of their own in a one-hot beside z, as in the mode-wise scaling
  of Xu et al. (2019, arXiv:1907.00503): "missing", and spikes (0 euros) that stand far above all other codes. Their z
  is 0, and one more place says "z holds".

A Bayesian mixture of normals a column, which that paper uses, was left out: it cannot draw a spike, lets values out of
the known range and needs a fit of its own, and the bins are there already.

With `linear` z is the value minus its mean, over its spread, both of what the bins draw: outliers are as far away as
they are, which telling them needs (on 22 tables of ADBench an isolation forest loses .06 AUROC on normal scores), and
spikes have no place of their own. What is decoded is still a value that some code can draw.

Beyond the known range a normal score goes on, z_end +- 3 log(1 + d) with d the distance in quarters of the range (on a
log axis above a heavy tail): outliers stay visible, and are read back as the outermost code.

Shape letters: B rows, K codes of a cell, F places of the vector.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from likely.codecs.table.bins import Bins, Values
from likely.codecs.table.column import Codes, Column, Floats
from likely.codecs.table.ordered import Ordered
from likely.core import Known, Reals
from likely.errors import ConditionError

SPIKE = 0.1  # share of rows from which a code may have a place of its own ..
ABOVE = 3.0  # .. where it is this many times the mean share of the others
SPIKES = 4  # most such places of a cell
FEW = 3  # an ordered cell of at most so many codes is one-hot
EDGE = 0.01  # values keep this far from the ends of their code, in shares: float32 must not move them over
TAIL = 3.0  # how fast z goes on beyond the known range
LEAST = 1e-4  # the shares of codes are kept rounded, and none is nothing


@dataclass(frozen=True)
class Part:
    """One cell in the vector. `hot`: the codes with a place of their own, from `start` on; where `axis` holds codes as
    well, one more place says so, and place `number` (-1: none) holds z. `cut` (K + 1,): the shares F on the axis."""

    column: str
    cell: int  # among all cells
    place: int  # among the cells of its column
    missing: int  # 1 where code 0 means missing
    hot: tuple[int, ...]
    axis: NDArray[np.int64]
    cut: Floats
    start: int
    wide: int
    number: int
    bins: Bins | None = None
    scale: tuple[float, float] | None = None  # of linear z: mean and spread of the ticks

    @property
    def stop(self) -> int:
        """The place after its last one."""
        return self.start + self.wide + (self.number >= 0)

    def encode(self, codes: Codes, inside: Floats, far: Floats, ticks: Floats) -> Floats:
        """Codes (B,), shares inside them, distances beyond the range and ticks (B,) -> (B, stop - start)."""
        out = np.zeros((len(codes), self.stop - self.start))
        own = np.isin(codes, self.hot)
        if self.wide:
            which = np.full(len(codes), len(self.hot))
            for place, code in enumerate(self.hot):
                which[codes == code] = place
            out[np.arange(len(codes)), which] = 1.0
        if self.scale is not None:
            z = ticks / self.scale[1] - self.scale[0] / self.scale[1]  # in this order nothing overflows
            out[:, -1] = np.where(codes < self.missing, 0.0, np.clip(z, -1e6, 1e6))
        elif self.number >= 0:
            at = np.clip(np.searchsorted(self.axis, codes), 0, len(self.axis) - 1)
            u = self.cut[at] + np.clip(inside, EDGE, 1 - EDGE) * (self.cut[at + 1] - self.cut[at])
            z = np.where(own | (codes < self.missing), 0.0, ndtri(u))
            out[:, -1] = z + np.sign(far) * TAIL * np.log1p(np.abs(far))
        return out

    def decode(self, x: Floats) -> tuple[Codes, Floats]:
        """(B, stop - start) of any reals -> codes (B,), shares inside them (B,)."""
        n = len(x)
        inside = np.full(n, 0.5)
        if self.number < 0:
            which = x.argmax(1) if self.wide else np.zeros(n, np.int64)
            return np.array(self.hot, np.int64)[which], inside
        z = np.nan_to_num(x[:, -1])
        if self.scale is not None and self.bins is not None:
            low, high = float(self.bins.lo[0]), float(self.bins.hi[-1])
            with np.errstate(over="ignore"):
                ticks = np.clip(np.clip(z, -1e6, 1e6) * self.scale[1] + self.scale[0], low, high)
            ticks = np.rint(ticks).astype(np.int64) if self.bins.grid else ticks
            codes, inside = self.bins.encode(ticks) + self.missing, share_of(self.bins, ticks)
        else:
            u = ndtr(np.clip(z, -38.0, 38.0))
            at = np.clip(np.searchsorted(self.cut, u, "right") - 1, 0, len(self.axis) - 1)
            inside = np.clip((u - self.cut[at]) / (self.cut[at + 1] - self.cut[at]), EDGE, 1 - EDGE)
            codes = self.axis[at]
        if self.wide:
            which = x[:, : self.wide].argmax(1)
            codes = np.where(which < len(self.hot), np.append(self.hot, 0)[which], codes)
        return codes, inside

    def density(self, x: Floats, codes: Codes) -> tuple[Floats, NDArray[np.bool_]]:
        """log phi(z) - log of the code's share (B,), and (B,) true where z says where the value lies."""
        at = np.clip(np.searchsorted(self.axis, codes), 0, len(self.axis) - 1)
        z = x[:, -1]
        size = np.log(self.cut[at + 1] - self.cut[at])
        return -(z**2) / 2 - np.log(2 * np.pi) / 2 - size, ~np.isin(codes, self.hot) & (codes >= self.missing)


class Vector:
    """All cells of a table side by side."""

    def __init__(self, columns: Mapping[str, Column], linear: bool = False) -> None:
        self.columns = columns
        self.parts: list[Part] = []
        cell = start = 0
        for name, column in columns.items():
            axes = column.axes() if isinstance(column, Ordered) else (None,) * len(column.sizes)
            for place, (size, bins) in enumerate(zip(column.sizes, axes, strict=True)):
                part = _part(name, cell, place, int(column.missing), size, bins, start, linear)
                self.parts.append(part)
                cell, start = cell + 1, part.stop
        self.width, self.cells = start, cell
        self.names = [part.column for part in self.parts for _ in range(part.start, part.stop)]

    @property
    def space(self) -> Reals:
        """A vector (F,) with its one-hot slices."""
        slices = tuple((part.start, part.start + part.wide) for part in self.parts if part.wide)
        return Reals((self.width,), onehot=slices)

    def encode(self, frame: pl.DataFrame) -> NDArray[np.float32]:
        """Typed rows -> (B, F)."""
        out = np.zeros((frame.height, self.width))
        for name, column in self.columns.items():
            if not column.sizes:
                continue
            codes = column.encode(frame[name])
            inside, far, _, ticks = _where(column, frame[name])
            for part in self._of(name):
                j = part.place
                out[:, part.start : part.stop] = part.encode(codes[:, j], inside[:, j], far[:, j], ticks[:, j])
        return out.astype(np.float32)

    def decode(self, x: NDArray[np.float32]) -> tuple[Codes, Floats]:
        """(B, F) -> codes (B, D) and the share (B, D) inside each code."""
        codes, inside = np.zeros((len(x), self.cells), np.int64), np.full((len(x), self.cells), 0.5)
        wide = x.astype(np.float64)
        for part in self.parts:
            codes[:, part.cell], inside[:, part.cell] = part.decode(wide[:, part.start : part.stop])
        return codes, inside

    def draw(self, name: str, codes: Codes, inside: Floats) -> pl.Series | None:
        """The values (B,) of an ordered column at their shares inside their codes (B, C); None for other kinds."""
        column = self.columns[name]
        if not isinstance(column, Ordered):
            return None
        own = codes - column.missing
        own = np.where(own < 0, np.array(column.usual(), np.int64), own)
        ticks = [at(bins, own[:, j], inside[:, j]) for j, bins in enumerate(column.axes())]
        return column.together(ticks).set(pl.Series(column.null(codes)), None).alias(name)

    def volume(self, frame: pl.DataFrame) -> Floats:
        """(B, F) nats: minus the log of how many z there are to one grid step of the value, in the place of z."""
        out = np.zeros((frame.height, self.width))
        x = self.encode(frame).astype(np.float64)
        for name, column in self.columns.items():
            codes, nats = column.encode(frame[name]), column.volume(frame[name])
            _, far, slope, _ = _where(column, frame[name])
            for part in self._of(name):
                j, last = part.place, part.stop - 1
                if part.stop == part.start:
                    continue
                if part.number < 0 or not isinstance(column, Ordered):
                    if not isinstance(column, Ordered):
                        out[:, part.start] = np.maximum(nats[:, j], 0.0)
                    continue
                unit = column.unit()
                logs, spread_out = part.density(x[:, part.start : part.stop], codes[:, j])
                width = slope[:, j] + np.log1p(np.abs(far[:, j])) - np.log(TAIL * unit)
                if part.scale is not None:
                    out[:, last] = np.log(part.scale[1] / unit) + np.where(frame[name].is_null(), nats[:, j], 0.0)
                    continue
                open_ = spread_out & frame[name].is_not_null().to_numpy()
                inner = np.where(far[:, j] == 0, nats[:, j] + logs, width)
                out[:, last] = np.where(open_, inner, nats[:, j])
        return out

    def holes(self, frame: pl.DataFrame) -> Known:
        """Rows with nulls -> Known (B, F): a null leaves its places open."""
        x = torch.from_numpy(self.encode(frame))
        mask = torch.ones(x.shape, dtype=torch.bool)
        for part in self.parts:
            mask[:, part.start : part.stop] = torch.from_numpy(~frame[part.column].is_null().to_numpy())[:, None]
        return Known(x * mask, mask)

    def known(self, known: Known) -> Known:
        """Known cells (B, D) -> Known (B, F). Raises ConditionError for a wish that leaves a column open."""
        if known.soft:
            name = next(part.column for part in self.parts if part.cell in (known.soft or {}))
            raise ConditionError(
                f"Column {name!r}: as reals a row is asked for by one level or one value of a column, not by a range "
                "or a set: learn the table as cells, with family='trees' or family='masked'."
            )
        x, mask = torch.zeros((len(known.x), self.width)), torch.zeros((len(known.x), self.width), dtype=torch.bool)
        for part in self.parts:
            codes = known.x[:, part.cell].numpy()
            half = np.full(len(codes), 0.5)
            middle = half * 0
            if part.bins is not None:
                middle = at(part.bins, np.maximum(codes - part.missing, 0), half).astype(np.float64)
            x[:, part.start : part.stop] = torch.from_numpy(part.encode(codes, half, half * 0, middle)).float()
            mask[:, part.start : part.stop] = known.mask[:, part.cell, None]
        return Known(x * mask, mask)

    def _of(self, name: str) -> list[Part]:
        return [part for part in self.parts if part.column == name]


def _part(
    name: str, cell: int, place: int, missing: int, size: int, bins: Bins | None, start: int, linear: bool
) -> Part:  # fmt: skip
    """How one cell of `size` codes lies in the vector."""
    hot, axis = list(range(size)), np.zeros(0, np.int64)
    cut, scale = np.zeros(1), None
    if bins is not None and bins.size > FEW:
        # Only the first cell of a column says "missing"; the others need not say it again.
        hot = [0] if missing and not place else []
        spikes = [] if linear else _spikes(bins)
        hot += [code + missing for code in spikes]
        axis = np.array([code + missing for code in range(bins.size) if code not in spikes], np.int64)
        share = np.maximum(bins.share[axis - missing], LEAST)
        cut = np.concatenate([[0.0], share.cumsum() / share.sum()])
        cut[-1] = 1.0
        scale = _scale(bins) if linear else None
    wide = len(hot) + (len(axis) > 0) if hot else 0
    if wide == 1:
        wide = 0  # one code, always
    number = start + wide if len(axis) else -1
    return Part(name, cell, place, missing, tuple(hot), axis, cut, start, wide, number, bins, scale)


def _scale(bins: Bins) -> tuple[float, float]:
    """Mean and standard deviation of the ticks that the bins draw: the middles of their segments stand for them."""
    share = np.maximum(bins.share, LEAST)
    weight = bins.weight * share[bins.code] / share.sum()
    middle, width = bins.lo.astype(np.float64) / 2 + bins.hi.astype(np.float64) / 2, bins.hi / 2 - bins.lo / 2
    mean = float((weight * middle).sum())
    reach = max(float(np.abs(middle - mean).max()), float(width.max()), 1e-300)  # squares must not overflow
    spread = reach * float((weight * (((middle - mean) / reach) ** 2 + (width / reach) ** 2 / 3)).sum()) ** 0.5
    return mean, spread if spread > 0 else 1.0


def _spikes(bins: Bins) -> list[int]:
    """The codes of one value that stand far above the others."""
    lo, hi = bins.edges()
    picked: list[int] = []
    for code in np.argsort(-bins.share, kind="stable")[:SPIKES].tolist():
        rest = (bins.share.sum() - bins.share[[*picked, code]].sum()) / max(bins.size - len(picked) - 1, 1)
        if lo[code] == hi[code] and bins.share[code] >= max(SPIKE, ABOVE * rest) and bins.size - len(picked) > 2:
            picked.append(code)
    return sorted(picked)


def _where(column: Column, values: pl.Series) -> tuple[Floats, Floats, Floats, Floats]:
    """For each cell (B, C): the share inside the code, the distance beyond the known range, its slope, and the tick."""
    shape = (len(values), len(column.sizes))
    inside, far, slope, place = np.full(shape, 0.5), np.zeros(shape), np.zeros(shape), np.zeros(shape)
    given = values.is_not_null().to_numpy()
    if isinstance(column, Ordered) and given.any():
        ticks = column.apart(values.drop_nulls())
        for j, bins in enumerate(column.axes()):
            inside[given, j] = share_of(bins, ticks[j])
            far[given, j], slope[given, j] = beyond(bins, ticks[j])
            place[given, j] = ticks[j]
    return inside, far, slope, place


def _before(bins: Bins) -> Floats:
    """The weight (S,) of the segments of the same code below each segment."""
    order = np.argsort(bins.code, kind="stable")
    sums = bins.weight[order].cumsum() - bins.weight[order]
    start = np.searchsorted(bins.code[order], np.arange(bins.size))
    out = np.empty(len(order))
    out[order] = sums - sums[start][bins.code[order]]
    return out


def share_of(bins: Bins, values: Values) -> Floats:
    """The share (B,) in [0, 1] of the mass of its code that lies below each value."""
    segment = bins.segment(values)
    one, half = (1.0, 0.5) if bins.grid else (0.0, 0.0)
    lo, hi = bins.lo[segment].astype(np.float64), bins.hi[segment].astype(np.float64)
    value = np.clip(values.astype(np.float64), lo, hi)
    with np.errstate(all="ignore"):
        part = ((value + half) / 2 - lo / 2) / ((hi + one) / 2 - lo / 2)
        curve = np.log((value + half) / lo) / np.log((hi + one) / lo)
    logs = (lo > 0) & bins.curved(segment)
    part = np.where(logs, curve, part)
    part = np.clip(np.nan_to_num(np.where(hi + one == lo, 0.5, part), nan=0.5), 0.0, 1.0)
    return np.asarray(_before(bins)[segment] + bins.weight[segment] * part)


def at(bins: Bins, codes: Codes, inside: Floats) -> Values:
    """The values (B,) at a share (B,) of the mass of their codes: the inverse of `share_of`."""
    segment = bins.choose(codes, np.clip(inside, 0.0, 1 - 1e-9))
    part = np.clip((inside - _before(bins)[segment]) / bins.weight[segment], 0.0, 1 - 1e-12)
    return bins.place(segment, part, bins.lo[segment], bins.hi[segment])


def beyond(bins: Bins, values: Values) -> tuple[Floats, Floats]:
    """The signed distance d (B,) beyond the known range, 0 inside, and log dv / d|d| (B,) there.

    In quarters of the range; above a log-uniform end in quarters of the way from the middle to it, on the log axis.
    """
    low, high, axis = float(bins.lo[0]), float(bins.hi[-1]), values.astype(np.float64)
    with np.errstate(over="ignore"):
        quarter = max(high / 4 - low / 4, 1.0 if bins.grid else float(np.finfo(np.float64).tiny))
    with np.errstate(all="ignore"):
        over, under = np.maximum(axis - high, 0.0) / quarter, np.maximum(low - axis, 0.0) / quarter
        slope = np.full(len(axis), np.log(quarter))
        if bins.curved(np.array([len(bins.lo) - 1]))[0]:
            middle = max(float(bins.lo[len(bins.lo) // 2]), float(bins.lo[-1]) * 1e-3)
            quarter = float(np.log(high / middle)) / 4
            over = np.log(np.maximum(axis / high, 1.0)) / quarter
            slope = np.where(over > 0, np.log(np.maximum(axis, high)) + np.log(quarter), slope)
    return np.minimum(over, 1e6) - np.minimum(under, 1e6), slope
