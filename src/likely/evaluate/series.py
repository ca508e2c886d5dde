"""The report card of windows of a series: do they move like the real ones, are they varied, and may they be shared?

As for tables, every metric is a function of some real windows that the model never saw (the hold-out) and of a set put
before it:

    value     the made windows
    ceiling   real training windows: what a perfect sampler would score, sampling noise included
    floor     noise: independent normal values with each channel's mean and spread. Where only the spread of values is
              asked for, a flat line; for the ways of moving, one random walk in all channels, if that is further off;
              for variety, one real window in ten, repeated

For privacy the ceiling is what unseen windows score in the place of the made ones, and the floor a copy of the training
windows. Windows that overlap share values: the hold-out must be later, or other machines, not the gaps in between.

Cost: at most `rows` windows of each kind are used (5,000), drawn by the seed. 2,000 windows of 24 moments and 5
channels take about 10 CPU seconds, most of it in gradient boosting.

Shape letters: N windows, T moments, C channels, F numbers of a vector.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier

from likely.core import Listener
from likely.errors import DataError, OptionError
from likely.evaluate import fidelity, judge, memorisation, neighbourhood, picture, trace
from likely.evaluate.arrays import (
    Array,
    Comparison,
    Labels,
    Stages,
    as_rows,
    check_rows,
    read_labels,
    read_windows,
)
from likely.evaluate.card import Bars, Curve, Row
from likely.evaluate.columns import Column, Floats, Rows
from likely.evaluate.detection import one_thread
from likely.evaluate.frechet import frechet
from likely.evaluate.motion import Gaps, Motion, gaps, motion
from likely.evaluate.report import Report
from likely.evaluate.sheet import Picture
from likely.evaluate.vocabulary import WINDOWS
from likely.evaluate.windows import NUMBERS, Forecaster, Scale, described, moments, pooled, scale

ROWS = 5_000
DRAWN = 12  # channels with curves and bars of their own: those that are furthest off
POINTS = 60  # of a curve
SHOWN = 16  # windows of a picture
NOISE, FLAT, REPEATED = "noise of the same mean and spread", "a flat line", "one real window in ten, repeated"
DRIFT = "one drift in all channels"
COMMONEST = "always the commonest label"
NO_LABELS = "the labels of training, hold-out and made windows are needed"
NO_TRAIN = "the windows learned from are not at hand"
TOLD = 0.02  # standard deviations that real windows must teach a forecast, or there is nothing to forecast


@dataclass(frozen=True)
class Sides:
    """Windows (N, T, C) in units of the real ones: unseen real, made, real in their place, noise; `labels` (N,) by
    name, where they are known."""

    real: Floats
    made: Floats
    ceiling: Floats
    noise: Floats
    labels: dict[str, Array]

    def each(self) -> tuple[Floats, Floats, Floats]:
        return self.made, self.ceiling, self.noise


def evaluate_series(
    train: Any,
    holdout: Any,
    made: Any,
    *,
    channels: Sequence[str] | None = None,
    labels: Labels | Sequence[Any] | Array | None = None,
    seed: int = 0,
    listen: Listener | None = None,
    about: Mapping[str, Any] | None = None,
    rows: int = ROWS,
) -> Report:
    """Made windows against real ones: arrays (n, T, C) or (n, T), all of one length, at least 4 moments.

    train     the windows the model learned from, or None: then privacy is not measured
    holdout   real windows it never saw, which do not overlap those it learned from
    channels  their names, for the page
    labels    `Labels(train, holdout, made)`, what kind each window is of: then it is also measured how well made
              windows teach a classifier (train on made, test on real)
    about     what made the windows, in words, for the page
    rows      at most so many windows of each kind are looked at

    Same seed, same machine: same card but for the time. 2,000 windows of 24 moments and 5 channels take about 10 CPU
    seconds. Raises DataError for fewer than 20 windows, Mismatch where sizes or labels do not fit, OptionError.
    """
    started = time.process_time()
    check_rows(rows)
    say = Stages(listen)
    say("reading", 0.0)
    found = read_windows({"holdout": holdout, **({} if train is None else {"train": train}), "made": made})
    length, count = found["made"].shape[1:]
    if length < 4:
        raise DataError(f"The windows have {length} moments; at least 4 are needed to see how a series moves.")
    names = [str(name) for name in channels] if channels is not None else [f"channel {j + 1}" for j in range(count)]
    if len(names) != count:
        raise OptionError(f"{len(names)} channels are named and the windows have {count}.")
    rng = np.random.default_rng([seed, 0x5E21])
    sides, units = _sides(found, read_labels(labels, found), rows, rng)
    moved = [motion(one) for one in (sides.real, *sides.each())]

    say("autocorrelation and spectrum", 0.05)
    parts = _motion(moved, sides, names, rng)
    rows_found = _differences(sides, seed, say) + parts
    rows_found += _forecast(sides, rng, say)
    if "made" in sides.labels:
        rows_found += _utility(sides, seed)
    say("neighbours", 0.6)
    real, new, fresh, noise = (pooled(one, NUMBERS).astype(np.float32) for one in (sides.real, *sides.each()))
    value, best, low = (frechet(real, one) for one in (new, fresh, noise))
    rows_found.append(judge.distance("frechet", "Frechet distance (values)", (value, best, low),
                      "By mean and covariance of all their values, made windows are {made} away from unseen real ones; "
                      "fresh real windows {ceiling}, noise {floor}.", NOISE))  # fmt: skip
    again = neighbourhood.repeated(len(fresh))
    beside = neighbourhood.Sides(real, new, fresh, noise, fresh[again], NOISE, REPEATED)
    rows_found += neighbourhood.near(beside, WINDOWS)
    keys = [memorisation.keys(one) for one in (sides.made, sides.ceiling, sides.ceiling[again])]
    rows_found.append(neighbourhood.distinct(keys[0], keys[1], keys[2], WINDOWS, REPEATED))
    rows_found += _validity(found, sides)
    pictures, near = _pictures(sides), None
    if train is not None:
        secret, near, pair = _privacy(found, units, sides, rng, say)
        rows_found += secret
        pictures += pair
    else:
        rows_found.append(judge.missing_row("membership", "Membership attack", "private", NO_TRAIN))
    words, share_it, reasons = judge.answer(rows_found, WINDOWS)
    say("done", 1.0)
    counts = {name: len(found[name]) if name in found.sets else 0 for name in ("train", "holdout", "made")}
    counts.update(compared=len(sides.made), moments=length, channels=count)
    return Report(
        words, share_it, reasons, tuple(judge.grouped(rows_found)), _bars(sides, units, names), None, (), near, counts,
        seed, {str(key): str(value) for key, value in (about or {}).items() if value is not None}, tuple(found.notes),
        round(time.process_time() - started, 1), "windows", _curves(moved, names), pictures=tuple(pictures),
    )  # fmt: skip


def _sides(found: Comparison, labels: Mapping[str, Array], rows: int, rng: np.random.Generator) -> tuple[Sides, Scale]:
    """Who plays which part, all of one size."""
    order = {name: rng.permutation(len(found[name])) for name in found.sets}
    source = "train" if "train" in order else "holdout"
    if source == "train":
        real, pool = order["holdout"], order["train"]
    else:  # half of the hold-out plays the real windows
        real, pool = order["holdout"][::2], order["holdout"][1::2]
    size = min(len(real), len(pool), len(order["made"]), rows)
    new = order["made"]
    places = {"real": ("holdout", real[:size]), "made": ("made", new[:size]), "ceiling": (source, pool[:size])}
    units = scale(found["holdout"][real])
    x = {name: units(found[origin][place]) for name, (origin, place) in places.items()}
    own = {name: labels[origin][place] for name, (origin, place) in places.items() if origin in labels}
    flat = x["ceiling"].reshape(-1, x["ceiling"].shape[2])
    noise = rng.normal(flat.mean(axis=0), flat.std(axis=0), x["ceiling"].shape)
    return Sides(x["real"], x["made"], x["ceiling"], noise, own), units


def _differences(sides: Sides, seed: int, say: Stages) -> list[Row]:
    """The classifier that looks for differences, as AUROC and as TimeGAN's discriminative score."""
    say("a classifier looks for differences", 0.1)
    first = [as_rows(described(one[: neighbourhood.CLASSIFIED])) for one in (sides.real, *sides.each())]
    row, right = neighbourhood.classifier((first[0], first[1], first[2], first[3]), seed, WINDOWS, NOISE)
    words = (
        "The same classifier has to say of each window whether it is made: it is right {made} more often than by "
        "guessing (fresh real windows {ceiling}, noise {floor}; 0.5 is the worst)."
    )
    made, ceiling, floor = (abs(one - 0.5) for one in right)
    values = made, ceiling, floor
    return [row, judge.distance("discriminative", "Discriminative score", values, words, NOISE, limits=(0.3, 0.8))]


def _motion(moved: list[Motion], sides: Sides, names: list[str], rng: np.random.Generator) -> list[Row]:
    """Spread of values, memory, speed, channels together."""
    real, *others = moved
    made, ceiling, noise = (gaps(real, one) for one in others)
    flat = gaps(real, motion(np.zeros_like(sides.ceiling) + sides.ceiling.mean(axis=(0, 1))))
    walk = np.cumsum(rng.normal(size=(*sides.ceiling.shape[:2], 1)), axis=1)
    drift = gaps(real, motion(np.repeat(walk / walk.std(), len(names), axis=2)))
    rows = []

    def add(name: str, title: str, three: tuple[Floats, Floats, Floats, str], sentence: str) -> None:
        if np.isnan(three[0]).all():
            rows.append(judge.missing_row(name, title, "true", "no channel of the real windows moves"))
            return
        value, best, low = (fidelity.average(one) for one in three[:3])
        if len(names) > 1 and len(three[0]) == len(names) and value > best:
            sentence += f" Furthest off: {names[int(np.nanargmax(three[0]))]!r}."
        rows.append(judge.distance(name, title, (value, best, low), sentence, three[3]))

    def further(a: Floats, b: Floats) -> tuple[Floats, str]:
        """Real windows may be as restless as noise, or as slow as a drift, but not both."""
        return (a, NOISE) if fidelity.average(a) > fidelity.average(b) else (b, DRIFT)

    add("marginal", "Spread of values", (made.marginal, ceiling.marginal, flat.marginal, FLAT),
        "The values of a channel are {made} standard deviations away from where they should be, on average; fresh real "
        "windows {ceiling}, a flat line {floor}.")  # fmt: skip
    low = further(noise.correlation, drift.correlation)
    add("autocorrelation", "Autocorrelation", (made.correlation, ceiling.correlation, *low),
        "How much a value says about later ones is wrong by {made} on average, on a scale from 0 to 1; fresh real "
        f"windows {{ceiling}}, {low[1]} {{floor}}.")  # fmt: skip
    low = further(noise.spectrum, drift.spectrum)
    add("spectrum", "Spectrum", (made.spectrum, ceiling.spectrum, *low),
        "A share of {made} of the movement is at the wrong speed, too slow or too quick; fresh real windows {ceiling}, "
        f"{low[1]} {{floor}}.")  # fmt: skip
    if len(names) > 1:
        low = further(noise.together, drift.together)
        add("together", "Channels together", (made.together, ceiling.together, *low),
            "The correlation of two channels is wrong by {made} on average; fresh real windows {ceiling}, "
            f"{low[1]} {{floor}}.")  # fmt: skip
    return rows


def _forecast(sides: Sides, rng: np.random.Generator, say: Stages) -> list[Row]:
    """Learn to forecast from made windows, test on real ones (TimeGAN's predictive score, against train-real)."""
    say("a forecast learns from made windows", 0.45)
    name, heading = "predictive", "Useful to forecast"
    past, following = moments(sides.real, rng)
    blind = float(np.abs(following - sides.ceiling.mean(axis=(0, 1))).mean())
    state = int(rng.integers(2**31))
    made, real, noise = (Forecaster(one, np.random.default_rng(state)).error(past, following) for one in sides.each())
    if blind - real < TOLD:
        why = f"even real windows do not say what comes next: off by {real:.3f}, knowing nothing {blind:.3f}"
        return [judge.missing_row(name, heading, "true", why)]
    kept, low = ((blind - one) / (blind - real) for one in (made, noise))
    sentence = (
        f"A forecast of the next moment that learned from made windows is off by {made:.3f} standard deviations on "
        f"unseen real windows, one that learned from real windows by {real:.3f}, knowing nothing by {blind:.3f}: "
        f"{{made}} of what can be learned."
    )
    return [judge.similarity(name, heading, "true", (max(kept, -1.0), 1.0, low), sentence, (0.03, 0.10), NOISE)]


def _utility(sides: Sides, seed: int) -> list[Row]:
    """Train on made windows, test on real ones; against training on as many real ones."""
    name, heading = "utility:label", "Useful to tell kinds"
    if not {"real", "made", "ceiling"} <= set(sides.labels):
        return [judge.missing_row(name, heading, "true", NO_LABELS)]
    truth = sides.labels["real"].astype(str)
    asked = described(sides.real)
    scores = []
    for which, x in (("made", sides.made), ("ceiling", sides.ceiling)):
        known = sides.labels[which].astype(str)
        said = known[:1]
        if len(np.unique(known)) > 1:
            model = HistGradientBoostingClassifier(random_state=seed, early_stopping=False, max_iter=60)
            with one_thread():
                said = model.fit(described(x), known).predict(asked)
        scores.append(float((said == truth).mean()))
    commonest = float(np.unique(truth, return_counts=True)[1].max()) / len(truth)
    return [judge.teaching(name, heading, scores[0], scores[1], commonest, len(truth), WINDOWS, COMMONEST)]


def _validity(found: Comparison, sides: Sides) -> list[Row]:
    """Values that no real window has, and windows with holes."""
    low, high = sides.real.min(axis=(0, 1)), sides.real.max(axis=(0, 1))
    known = [float(((one >= low) & (one <= high)).all(axis=(1, 2)).mean()) for one in (sides.made, sides.ceiling)]
    rows = [judge.strictness("known", "Known values", known[0], known[1],
            f"{judge.percent(known[0])} of the made windows stay within the values that real ones have, as do "
            f"{judge.percent(known[1])} of fresh real windows.", (0.03, 0.15))]  # fmt: skip
    kept = found.sets["made"].kept
    if not kept.all():
        share = float(kept.mean())
        rows.append(judge.strictness("finite", "Finite windows", share, 1.0,
                    f"{judge.percent(share)} of the made windows are free of NaN and infinity."))  # fmt: skip
    return rows


def _privacy(
    found: Comparison, units: Scale, sides: Sides, rng: np.random.Generator, say: Stages
) -> tuple[list[Row], Any, list[Picture]]:
    """The rows of memorisation, the picture of distances, made windows beside the training windows they are nearest
    to."""
    say("copies", 0.76)
    sets = {}
    for name, most in (("train", memorisation.HELD), ("holdout", memorisation.ATTACKED), ("made", memorisation.HELD)):
        sets[name] = units(found[name][rng.permutation(len(found[name]))[:most]])
    vectors = {name: pooled(x, NUMBERS).astype(np.float32) for name, x in sets.items()}
    equal = memorisation.copies(units(found["train"]), sets["holdout"], sets["made"])
    items = memorisation.Vectors(vectors["train"], vectors["holdout"], vectors["made"])
    rows, near = memorisation.memorised(items, equal, WINDOWS, say)
    made = vectors["made"][: memorisation.ATTACKED]
    places, partner = memorisation.closest(vectors["train"], made, SHOWN // 2)
    low, high = _axis(sides)
    note = f"The {len(places)} made windows that are nearest to a training window."
    pair = [
        Picture("Made, nearest to training windows", note, "nearest",
                trace.windows(sets["made"][places], low, high, False, "made windows")),
        Picture("Those training windows", "In the same order. The same line is a copy.", "nearest",
                trace.windows(sets["train"][partner], low, high, True, "training windows")),
    ]  # fmt: skip
    return rows, near, pair


def _axis(sides: Sides) -> tuple[Floats, Floats]:
    """Where the axis of each channel (C,) begins and ends: no single extreme value does."""
    low, high = np.quantile(sides.real, [0.01, 0.99], axis=(0, 1))
    return low, high


def _pictures(sides: Sides) -> list[Picture]:
    """Some made and some real windows."""
    low, high = _axis(sides)
    more = f" The first {trace.CHANNELS} channels." if sides.made.shape[2] > trace.CHANNELS else ""
    made, real = sides.made[:SHOWN], sides.real[:SHOWN]
    return [
        Picture("Made", f"{len(made)} made windows, drawn at random: none was picked by hand.{more}", "made",
                trace.windows(made, low, high, False, "made windows")),
        Picture("Real", f"{len(real)} unseen real windows, drawn at random.{more}", "real",
                trace.windows(real, low, high, True, "real windows")),
    ]  # fmt: skip


def _bars(sides: Sides, units: Scale, names: list[str]) -> tuple[Bars, ...]:
    """How the values of each channel are spread, in the channel's own units."""
    kind = as_rows(np.zeros((1, 1))).columns[0].dtype
    columns = tuple(Column(name, "number", kind) for name in names)
    own = [one * units.spread + units.mean for one in (sides.real, sides.made, sides.ceiling)]
    rows = [Rows(columns, np.round(one, 9).reshape(-1, len(names))) for one in own]
    value, best = (fidelity.shapes(rows[0], one) for one in rows[1:])
    lost = np.nan_to_num(best - value)
    shown = sorted(np.argsort(-lost, kind="stable")[:DRAWN].tolist())
    return tuple(picture.bars(rows[0], rows[1], j, value[j], best[j]) for j in shown)


def _curves(moved: list[Motion], names: list[str]) -> tuple[Curve, ...]:
    """Mean autocorrelation and spectrum of the channels that are furthest off."""
    real, made, ceiling, _ = moved
    value: Gaps = gaps(real, made)
    best: Gaps = gaps(real, ceiling)
    out = []
    for measure, far, top, p, q in (
        ("autocorrelation", value.correlation, best.correlation, real.correlation, made.correlation),
        ("spectrum", value.spectrum, best.spectrum, real.spectrum, made.spectrum),
    ):
        moving = np.flatnonzero(~np.isnan(p).any(axis=1))
        for j in sorted(moving[np.argsort(-far[moving], kind="stable")[:DRAWN]].tolist()):
            keep = np.unique(np.linspace(0, p.shape[1] - 1, min(p.shape[1], POINTS)).round().astype(int))
            a, b = (tuple(round(float(v), 5) for v in np.nan_to_num(one[j])[keep]) for one in (p, q))
            score, fine = round(float(far[j]), 4), round(float(top[j]), 4)
            out.append(Curve(names[j], measure, score, fine, tuple(float(k + 1) for k in keep), a, b))
    return tuple(out)
