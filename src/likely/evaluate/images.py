"""The report card of images: are the made images like the real ones, are they varied, and may they be shared?

As for tables, every metric is a function of some real images that the model never saw (the hold-out) and of a set put
before it:

    value     the made images
    ceiling   real training images: what a perfect sampler would score, sampling noise included
    floor     real images whose pixels were shuffled between images; for variety, one real image in ten, repeated

For privacy the ceiling is what unseen images score in the place of the made ones, and the floor a copy of the training
images. Images are compared by what a small network sees in them (`features.py`). It learns from one half of the
training images and the ceiling comes from the other half: a network sees the very images it learned from as no others.

Cost: at most `rows` images of each kind are used (5,000), drawn by the seed; the network learns from 5,000 at most.
5,000 images of 28 x 28 take about a minute of CPU time, most of it in the two classifiers; 600 of 8 x 8 a few seconds.

Shape letters: N images, H, W height and width, C channels, F features.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from likely.core import Listener
from likely.errors import OptionError
from likely.evaluate import fidelity, judge, memorisation, neighbourhood, picture, sheet
from likely.evaluate.arrays import (
    SIDE,
    Array,
    Comparison,
    Labels,
    Stages,
    as_rows,
    check_rows,
    pooled,
    read_images,
    read_labels,
    scaled,
)
from likely.evaluate.card import Bars, Row
from likely.evaluate.columns import Column, Floats, Rows
from likely.evaluate.distance import Features as Vectors
from likely.evaluate.features import FeatureNet, Features, Pixels, apply, learn, title
from likely.evaluate.frechet import frechet, kernel
from likely.evaluate.report import Report
from likely.evaluate.sheet import Picture
from likely.evaluate.vocabulary import IMAGES

ROWS = 5_000
LEARNED = 5_000  # images that the network learns from
NUMBERS = 256  # an image is averaged down to about so many where pixels are compared for privacy
COARSE = 64  # and to about so many for the classifier that looks for differences
SHUFFLED, REPEATED = "pixels shuffled between images", "one real image in ten, repeated"
SHOWN, PAIRS = 64, 24  # images on a contact sheet, and beside their nearest training image


@dataclass(frozen=True)
class Side:
    """One set of N images: `x` (N, H, W, C) as given, what the network sees `f` (N, F), `small` (N, H, W, C) in [-1,
    1], `labels` (N,) if known."""

    x: Array
    f: Floats
    small: Vectors
    labels: Array | None = None


def evaluate_images(
    train: Any,
    holdout: Any,
    made: Any,
    *,
    labels: Labels | Sequence[Any] | Array | None = None,
    features: FeatureNet | Features | str | None = None,
    seed: int = 0,
    listen: Listener | None = None,
    about: Mapping[str, Any] | None = None,
    rows: int = ROWS,
) -> Report:
    """Made images against real ones: uint8 or float arrays (n, H, W, C) or (n, H, W), all of one size.

    train     the images the model learned from, or None: then privacy is not measured
    holdout   real images it never saw
    labels    those of the training images, for the network to learn; or `Labels(train, holdout, made)`: then it is also
              measured how well made images teach a classifier (train on made, test on real)
    features  None: a small network learns from the training images, by labels, else by turning them (`features.learn`);
              "pixels"; a network made earlier; or any function from images (n, H, W, C) to an array (n, F). Only a
              function with "inception" in its name makes the distance an FID
    about     what made the images, in words, for the page
    rows      at most so many images of each kind are looked at

    Same seed, same machine: same card but for the time. 5,000 images of 28 x 28 take about a minute of CPU time.
    Raises DataError for fewer than 20 images, Mismatch where sizes or labels do not fit, OptionError.
    """
    started = time.process_time()
    check_rows(rows)
    say = Stages(listen)
    say("reading", 0.0)
    given = {"holdout": holdout, **({} if train is None else {"train": train}), "made": made}
    found = read_images(given)
    kinds = read_labels(labels, found)
    rng = np.random.default_rng([seed, 0x1A6E])
    places = _places(found, rng, rows, learns=features is None)
    say("a network looks at real images", 0.02)
    source = "train" if train is not None else "holdout"
    see = _eye(features, found[source], kinds.get(source), places["learn"], found.bounds, seed)
    say("features", 0.20)
    sides = _sides(found, kinds, places, see, source, rng)
    real, new, fresh = (sides[name] for name in ("real", "made", "ceiling"))

    rows_found = _fidelity(sides, see, seed, rng, say)
    if "made" in kinds:
        rows_found += _utility(sides, found.bounds, seed, say)
    again = neighbourhood.repeated(len(fresh.x))
    if isinstance(see, FeatureNet) and see.name == "classifier":
        rows_found.append(_classes(see, real.x, new.x, fresh.x))
    keys = [memorisation.keys(one) for one in (new.x, fresh.x, fresh.x[again])]
    rows_found.append(neighbourhood.distinct(keys[0], keys[1], keys[2], IMAGES, REPEATED))
    if not found.sets["made"].kept.all():
        share = float(found.sets["made"].kept.mean())
        rows_found.append(judge.strictness("finite", "Finite images", share, 1.0,
                          f"{judge.percent(share)} of the made images are free of NaN and infinity."))  # fmt: skip
    near, pictures = None, [_made(new.x, found), _real(real.x, found)]
    if train is not None:
        secret, near, pair = _privacy(found, rng, say)
        rows_found += secret
        pictures.append(pair)
    else:
        rows_found.append(judge.missing_row("membership", "Membership attack", "private", NO_TRAIN))
    words, share_it, reasons = judge.answer(rows_found, IMAGES)
    say("done", 1.0)
    counts = {name: len(found[name]) if name in found.sets else 0 for name in ("train", "holdout", "made")}
    counts["compared"] = len(new.x)
    return Report(
        words, share_it, reasons, tuple(judge.grouped(rows_found)), _glance(real, new, fresh), None, (), near, counts,
        seed, _about(about, found, see), tuple(found.notes), round(time.process_time() - started, 1), "images",
        pictures=tuple(pictures),
    )  # fmt: skip


NO_TRAIN = "the images learned from are not at hand"


def _places(found: Comparison, rng: np.random.Generator, rows: int, learns: bool) -> dict[str, np.ndarray]:
    """Which images play which part: "real" and "made"; "learn" and "ceiling", which have no image in common."""
    order = {name: rng.permutation(len(found[name])) for name in found.sets}
    if "train" in order:
        real, pool = order["holdout"], order["train"]
    else:  # half of the hold-out plays the real images
        real, pool = order["holdout"][::2], order["holdout"][1::2]
    learn = pool[: min(LEARNED, len(pool) // 2)] if learns else pool[:0]
    ceiling = pool[len(learn) :]
    size = min(len(real), len(ceiling), len(order["made"]), rows)
    return {"real": real[:size], "made": order["made"][:size], "ceiling": ceiling[:size], "learn": learn}


def _eye(
    features: FeatureNet | Features | str | None, images: Array, labels: Array | None, learn_from: np.ndarray,
    bounds: tuple[float, float], seed: int,
) -> Features:  # fmt: skip
    """The function that sees: as given, or learned from some real images."""
    if isinstance(features, str):
        if features != "pixels":
            raise OptionError(f"features is {features!r}; 'pixels', a function of images or nothing is wanted.")
        return Pixels(bounds)
    if features is not None:
        return features
    return learn(images[learn_from], bounds, None if labels is None else labels[learn_from], seed=seed)


def _sides(
    found: Comparison, kinds: Mapping[str, Array], places: dict[str, np.ndarray], see: Features, source: str,
    rng: np.random.Generator,
) -> dict[str, Side]:  # fmt: skip
    """The sets that are compared, all of one size; "wrong" is the ceiling with its pixels shuffled between images."""
    out = {}
    for name, origin in (("real", "holdout"), ("made", "made"), ("ceiling", source)):
        x, labels = found[origin][places[name]], kinds.get(origin)
        own = None if labels is None else labels[places[name]]
        out[name] = Side(x, apply(see, x), scaled(x, found.bounds, SIDE), own)
    x = out["ceiling"].x
    shuffled = rng.permuted(x.reshape(len(x), -1), axis=0).reshape(x.shape)
    out["wrong"] = Side(shuffled, apply(see, shuffled), scaled(shuffled, found.bounds, SIDE))
    return out


def _fidelity(sides: dict[str, Side], see: Features, seed: int, rng: np.random.Generator, say: Stages) -> list[Row]:
    """The classifier, distances of features and pixels, neighbours."""
    real, made, ceiling, wrong = (sides[name] for name in ("real", "made", "ceiling", "wrong"))
    say("a classifier looks for differences", 0.3)
    tables = _table(real), _table(made), _table(ceiling), _table(wrong)
    rows = [neighbourhood.classifier(tables, seed, IMAGES, SHUFFLED)[0]]
    say("distances", 0.55)
    name = title(see)
    kind = "FID" if "inception" in name.lower() else "Frechet distance"
    value, best, low = (frechet(real.f, one.f) for one in (made, ceiling, wrong))
    rows.append(judge.distance("frechet", f"{kind} ({name})", (value, best, low),
                "By what the features see, made images are {made} away from unseen real ones; fresh real images "
                "{ceiling}, images with shuffled pixels {floor}.", SHUFFLED))  # fmt: skip
    seeds = int(rng.integers(2**31))
    gaps = [kernel(real.f, one.f, np.random.default_rng(seeds)) for one in (made, ceiling, wrong)]
    rows.append(judge.distance("kernel", "Kernel distance (KID)" if kind == "FID" else f"Kernel distance ({name})",
                (gaps[0].value, gaps[1].value, gaps[2].value), "The same asked in another way, fair to small sets: "
                "{made}; fresh real images {ceiling}, images with shuffled pixels {floor}.", SHUFFLED,
                gaps[0].error))  # fmt: skip
    if not isinstance(see, Pixels):
        flat = [pooled(one.small, NUMBERS) for one in (real, made, ceiling, wrong)]
        value, best, low = (frechet(flat[0], one) for one in flat[1:])
        rows.append(judge.distance("pixels", "Frechet distance (pixels)", (value, best, low),
                    "By the pixels alone, from -1 to 1, made images are {made} away from unseen real ones; fresh real "
                    "images {ceiling}, images with shuffled pixels {floor}.", SHUFFLED))  # fmt: skip
    say("neighbours", 0.6)
    again = neighbourhood.repeated(len(ceiling.f))
    f = [one.f.astype(np.float32) for one in (real, made, ceiling, wrong)]
    return rows + neighbourhood.near(
        neighbourhood.Sides(f[0], f[1], f[2], f[3], f[2][again], SHUFFLED, REPEATED), IMAGES
    )


def _table(side: Side) -> Rows:
    """What can be said of each image, for the classifier: features, coarse pixels, a few plain properties."""
    small = side.small[: neighbourhood.CLASSIFIED]
    f = side.f[: neighbourhood.CLASSIFIED, : FeatureNet.LAST]
    return as_rows(np.concatenate([f, pooled(small, COARSE), properties(small)], axis=1))


PROPERTIES = ("brightness", "contrast", "sharpness", "extreme pixels")


def properties(x: Vectors) -> Floats:
    """Images (N, H, W, C) in [-1, 1] -> (N, 4): mean and spread of the pixels, mean step between neighbours, share of
    pixels that are (nearly) as dark or as bright as can be."""
    flat = x.reshape(len(x), -1).astype(np.float64)
    steps = [np.abs(np.diff(x, axis=axis)).reshape(len(x), -1) for axis in (1, 2) if x.shape[axis] > 1]
    sharp = np.concatenate(steps, axis=1).mean(axis=1) if steps else np.zeros(len(x))
    return np.stack([flat.mean(axis=1), flat.std(axis=1), sharp, (np.abs(flat) > 0.98).mean(axis=1)], axis=1)


def _glance(real: Side, made: Side, ceiling: Side) -> tuple[Bars, ...]:
    """How plain properties are spread: pictures only."""
    columns = tuple(Column(name, "number", as_rows(np.zeros((1, 1))).columns[0].dtype) for name in PROPERTIES)
    rows = [Rows(columns, np.round(properties(one.small), 6)) for one in (real, made, ceiling)]
    value, best = (fidelity.shapes(rows[0], one) for one in rows[1:])
    return tuple(picture.bars(rows[0], rows[1], j, value[j], best[j]) for j in range(len(columns)))


def _classes(see: FeatureNet, real: Array, made: Array, ceiling: Array) -> Row:
    """Whether each kind of image comes as often as it should, as the network sees it."""
    told = [see.classify(one) for one in (real, made, ceiling)]
    shares = [np.array([(one == kind).mean() for kind in see.classes]) for one in told]
    value, best = (1 - float(np.abs(one - shares[0]).sum()) / 2 for one in shares[1:])
    least = see.classes[int((shares[1] / np.maximum(shares[0], 1e-9)).argmin())]
    sentence = (
        f"As the network tells them, the shares of the {len(see.classes)} kinds are {{made}} right; of fresh real "
        f"images {{ceiling}}. Most wanting: {str(least)[:40]!r}."
    )
    values = value, best, float(shares[0].max())
    return judge.similarity("kinds", "Shares of the kinds", "varied", values, sentence, (0.05, 0.15), ONE_KIND)


ONE_KIND, COMMONEST = "the commonest kind alone", "always the commonest label"


def _utility(sides: dict[str, Side], bounds: tuple[float, float], seed: int, say: Stages) -> list[Row]:
    """Train on made images, test on real ones; against training on as many real ones."""
    say("a classifier learns from made images", 0.66)
    name, heading = "utility:label", "Useful to tell kinds"
    real, made, ceiling = sides["real"], sides["made"], sides["ceiling"]
    if real.labels is None or ceiling.labels is None or made.labels is None:
        return [judge.missing_row(name, heading, "true", "the labels of training, hold-out and made images are needed")]
    truth = real.labels.astype(str)
    scores = []
    for one in (made, ceiling):
        assert one.labels is not None
        known = one.labels.astype(str)
        net = learn(one.x, bounds, known, seed=seed) if len(np.unique(known)) > 1 else None
        scores.append(float(((net.classify(real.x) if net else known[:1]) == truth).mean()))
    commonest = float(np.unique(truth, return_counts=True)[1].max()) / len(truth)
    return [judge.teaching(name, heading, scores[0], scores[1], commonest, len(truth), IMAGES, COMMONEST)]


def _privacy(found: Comparison, rng: np.random.Generator, say: Stages) -> tuple[list[Row], Any, Picture]:
    """The rows of memorisation, the picture of distances, made images beside the training images they are nearest
    to."""
    say("copies", 0.76)
    sets = {}
    for name, most in (("train", memorisation.HELD), ("holdout", memorisation.ATTACKED), ("made", memorisation.HELD)):
        sets[name] = found[name][rng.permutation(len(found[name]))[:most]]
    vectors = {name: pooled(scaled(x, found.bounds, SIDE), NUMBERS) for name, x in sets.items()}
    equal = memorisation.copies(found["train"], sets["holdout"], sets["made"])
    items = memorisation.Vectors(vectors["train"], vectors["holdout"], vectors["made"])
    rows, near = memorisation.memorised(items, equal, IMAGES, say)
    places, partner = memorisation.closest(vectors["train"], vectors["made"][: memorisation.ATTACKED], PAIRS)
    upper, lower = (sheet.colours(x, found.bounds) for x in (sets["made"][places], sets["train"][partner]))
    height, width = upper.shape[1:3]
    data = sheet.pairs(upper, lower, max(1, min(PAIRS, round(PAIRS / 2 * height / width))))
    note = (
        f"The {len(places)} made images that are nearest to a training image (upper rows), each above that image. "
        "Alike is normal where real images resemble each other; the same image is a copy."
    )
    return rows, near, Picture("Made, and the nearest training image below", note, "nearest", data, True)


def _made(x: Array, found: Comparison) -> Picture:
    some = sheet.colours(x[:SHOWN], found.bounds)
    note = f"{len(some)} made images, drawn at random: none was picked by hand."
    return Picture("Made", note, "made", sheet.grid(some))


def _real(x: Array, found: Comparison) -> Picture:
    some = sheet.colours(x[:SHOWN], found.bounds)
    note = f"{len(some)} unseen real images, drawn at random."
    return Picture("Real", note, "real", sheet.grid(some))


def _about(about: Mapping[str, Any] | None, found: Comparison, see: Features) -> dict[str, str]:
    """What is said of the comparison: size, features and their fingerprint, then the caller's own words."""
    height, width, channels = found["made"].shape[1:]
    facts = {"size of an image": f"{height} x {width}, {channels} channel{'s' if channels > 1 else ''}"}
    facts["features"] = title(see)
    if isinstance(see, FeatureNet):
        told = "labels" if see.name == "classifier" else "turns"
        right = f"; tells {judge.percent(see.accuracy)} of {told}" if see.accuracy is not None else ""
        facts["features"] = f"{see.name}{right}; SHA-256 of its weights {see.digest}"
    return {**facts, **{str(key): str(value) for key, value in (about or {}).items() if value is not None}}
