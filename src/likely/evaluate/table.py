"""The report card of a table: is the made table like the real one, and may it be shared?

One rule makes all figures comparable. Every metric is a function of some real rows that the model never saw (the
hold-out) and of a table put before it:

    value     the made rows
    ceiling   as many real rows the model learned from: what a perfect sampler would score, sampling noise included
    floor     the same real rows with every column shuffled on its own: right columns, no relations

For privacy the ceiling is what unseen real rows score in the place of the made ones, and the floor a copy of the
training rows. Without training rows half of the hold-out stands in for them, and privacy is said not to be measured.

Cost: at most `rows` rows of each table are used (10,000; coverage and density 5,000; the attack up to 25,000 made
rows), drawn by the seed. 22,000 x 15 columns take about 20 CPU seconds, nearly all in gradient boosting.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from likely.core import Listener, Progress
from likely.errors import OptionError, UnknownName
from likely.evaluate import detection, diversity, fidelity, judge, picture, privacy, utility, validity
from likely.evaluate.auroc import Area, auroc
from likely.evaluate.card import Row, Tie
from likely.evaluate.columns import Rows, read
from likely.evaluate.distance import Metric, nearest
from likely.evaluate.report import Report

ROWS = 10_000
BALLS = 5_000  # rows of coverage and density: quadratic cost
ATTACKER = 25_000  # made rows that the membership attack looks at
TARGETS = 3  # columns predicted where no target is named
WORST = 8  # pairs listed


@dataclass(frozen=True)
class Sides:
    """Three tables of the same number of rows, and the real rows that each is held against."""

    real: Rows
    made: Rows
    ceiling: Rows
    floor: Rows

    def each(self) -> tuple[Rows, Rows, Rows]:
        return self.made, self.ceiling, self.floor


def evaluate_table(
    train: pl.DataFrame | None,
    holdout: pl.DataFrame,
    made: pl.DataFrame,
    *,
    target: str | None = None,
    check: validity.Check | None = None,
    seed: int = 0,
    listen: Listener | None = None,
    about: Mapping[str, Any] | None = None,
    rows: int = ROWS,
) -> Report:
    """Made rows against real ones.

    train     the rows the model learned from, or None: then privacy is not measured
    holdout   real rows it never saw
    target    the column people will predict; by default up to three columns that can be predicted
    check     rows -> the reasons why each is invalid: a codec's `check`, or any function
    about     what made the rows, in words, for the page
    rows      at most so many rows of each table are looked at

    Same seed, same machine: same card but for the time. Raises DataError for an empty table, Mismatch where no column
    is shared, UnknownName for a target that is not there, OptionError for rows < 20.
    """
    started = time.process_time()
    if rows < 20:
        raise OptionError(f"rows is {rows!r}; a report looks at 20 rows at least, 10,000 by default.")
    if target is not None and target not in holdout.columns:
        raise UnknownName("column", target, holdout.columns)
    say = _Stages(listen)
    say("reading", 0.0)
    rng = np.random.default_rng([seed, 0x5EED])
    frames = [holdout] if train is None else [holdout, train]
    (unseen, *learned), new, notes = read(frames, made)
    # Files are often in order (by year, by ward), and metrics look at the first rows of each: any order but that.
    unseen, new = unseen.take(rng.permutation(len(unseen))), new.take(rng.permutation(len(new)))
    learned = [one.take(rng.permutation(len(one))) for one in learned]
    if not learned:  # half of the hold-out plays the real rows
        order = rng.permutation(len(unseen))
        unseen, other = unseen.take(np.sort(order[::2])), unseen.take(np.sort(order[1::2] if len(order) > 1 else order))
    else:
        other = learned[0]
    size = min(len(other), len(new), rows)
    sides = Sides(
        unseen.draw(rows, rng), new.draw(size, rng), other.draw(size, rng), other.draw(size, rng).shuffled(rng)
    )

    found, heat, columns, ties = _fidelity(sides, seed, say)
    found += _utility(sides, target, seed, rng, say)
    found += _diversity(sides, rng, say)
    found += _validity(sides, holdout, made, check, say)
    near = None
    if learned:
        secret, near = _privacy(learned[0], unseen, new, rows, rng, say)
        found += secret
    else:
        found.append(judge.missing_row("membership", "Membership attack", "private", NO_TRAIN))
    words, share, reasons = judge.answer(found)
    say("done", 1.0)
    counts = {"train": train.height if train is not None else 0, "holdout": holdout.height, "made": made.height,
              "compared": size, "columns": len(unseen.columns)}  # fmt: skip
    return Report(
        words, share, reasons, tuple(found), columns, heat, ties, near, counts, seed,
        {str(key): str(value) for key, value in (about or {}).items() if value is not None}, tuple(notes),
        round(time.process_time() - started, 1),
    )  # fmt: skip


NO_TRAIN = "the rows learned from are not at hand"
Pictures = tuple[list[Row], Any, tuple[Any, ...], tuple[Tie, ...]]


def _fidelity(sides: Sides, seed: int, say: _Stages) -> Pictures:
    """Shapes, trends, missing cells, the classifier: rows and pictures."""
    say("columns", 0.02)
    real, names = sides.real, [column.name for column in sides.real.columns]
    shapes = [fidelity.shapes(real, one) for one in sides.each()]
    gaps = [fidelity.missing(real, one) for one in sides.each()]
    say("pairs of columns", 0.04)
    trends = [fidelity.trends(real, one) for one in sides.each()]
    found: list[Row] = []
    say("a classifier looks for differences", 0.08)
    try:
        areas: list[Area] = []
        for place, one in enumerate(sides.each()):
            areas.append(detection.classifier_test(real, one, seed))
            say("a classifier looks for differences", 0.12 + 0.08 * place)
        found.append(judge.detection(areas[0], areas[1], areas[2]))
    except ValueError as error:
        found.append(judge.missing_row("c2st", "Told apart by a classifier", "true", str(error)))

    def add(name: str, title: str, values: list[float], sentence: str, why: str) -> None:
        if np.isnan(values).any():
            found.append(judge.missing_row(name, title, "true", why))
        else:
            found.append(judge.similarity(name, title, "true", (values[0], values[1], values[2]), sentence))

    means = [fidelity.average(one) for one in shapes]
    lost = np.nan_to_num(shapes[1] - shapes[0], nan=-1.0)
    worst = int(lost.argmax())
    least = f" Furthest off: {names[worst]!r} ({judge.percent(float(shapes[0][worst]))})." if lost[worst] > 0.01 else ""
    add("shapes", "Column shapes", means, "Column by column, values are spread {made} like the real ones; fresh real "
        f"rows reach {{ceiling}}.{least}", "no column holds values in both tables")  # fmt: skip
    all_pairs = [one.mean for one in trends]
    add("trends", "Pair trends", all_pairs, "Pair by pair, columns move together {made} as in the real rows; fresh "
        "real rows reach {ceiling}, columns shuffled independently {floor}.",
        "no pair of columns can be compared")  # fmt: skip
    count = int(trends[0].related.sum())
    kin = [fidelity.average(np.where(trends[0].related, one.score, np.nan)) for one in trends]
    add("related", "Trends of related pairs", kin, f"Of the {count} pairs that are strongly tied in the real rows, "
        "{made} of the tie is kept; fresh real rows reach {ceiling}, shuffled columns {floor}.",
        "no two columns are strongly tied in the real rows")  # fmt: skip
    scores = [fidelity.quality(a, b) for a, b in zip(means, all_pairs, strict=True)]
    add("quality", "Quality (as SDMetrics)", scores, "The mean of column shapes and pair trends is {made}; fresh real "
        "rows reach {ceiling}. Columns without any relation already reach {floor}, so read it with the rows above.",
        "no column holds values in both tables")  # fmt: skip
    holes = [fidelity.average(one) for one in gaps]
    if not np.isnan(holes[0]):
        add("missing", "Missing cells", [holes[0], *(1.0 if np.isnan(one) else one for one in holes[1:])],
            "The share of missing cells is {made} right, over the columns that have any.", "")  # fmt: skip
    heat = picture.heat(names, trends[0], trends[1])
    columns = tuple(picture.bars(real, sides.made, j, shapes[0][j], shapes[1][j]) for j in range(len(names)))
    return found, heat, columns, picture.ties(names, trends[0], trends[1], WORST)


def _utility(sides: Sides, target: str | None, seed: int, rng: np.random.Generator, say: _Stages) -> list[Row]:
    """TSTR / TRTR of the target, or of up to three columns."""
    names = [column.name for column in sides.real.columns]
    say("a model learns from made rows", 0.34)
    if len(names) < 2:
        return [judge.missing_row("utility", "Useful to predict", "true", "there is one column only")]
    if target is not None:
        if target not in names:
            return [judge.missing_row(f"utility:{target}", f"Useful to predict {target}", "true", "it was left out")]
        chosen = [names.index(target)]
    else:
        chosen = utility.targets(sides.real, fidelity.trends(sides.real, sides.real.take(slice(0, 1))), TARGETS)
    if not chosen:
        return [judge.missing_row("utility", "Useful to predict", "true", "no column has enough rows of enough kinds")]
    found = []
    for place, j in enumerate(chosen):
        name, title = f"utility:{names[j]}", f"Useful to predict {names[j]}"
        against = utility.reason_against(sides.real, j)
        if against is not None:
            found.append(judge.missing_row(name, title, "true", against))
            continue
        values = utility.classes(sides.real, j)
        made, real, loose = (utility.forecast(one, sides.real, j, values, seed) for one in sides.each())
        try:
            if real is None:
                raise ValueError(f"too few real rows know {names[j]!r}")
            best = utility.compare(real, made, names[j], rng)
            low = loose.score() / best.real if loose is not None else 0.0
            found.append(judge.usefulness(best, low))
        except ValueError as error:
            found.append(judge.missing_row(name, title, "true", str(error)))
        say("a model learns from made rows", 0.34 + 0.3 * (place + 1) / len(chosen))
    return found


def _diversity(sides: Sides, rng: np.random.Generator, say: _Stages) -> list[Row]:
    """Coverage, density, distinct rows, levels."""
    say("coverage", 0.66)
    real, found = sides.real, []
    metric = Metric(real)
    n = min(len(real), len(sides.made), BALLS)
    try:
        balls = metric.features(real.draw(n, rng))
        made, ceiling, floor = (diversity.spread(balls, metric.features(one.draw(n, rng))) for one in sides.each())
        met = made.coverage, ceiling.coverage, floor.coverage
        found.append(judge.similarity("coverage", "Coverage", "varied", met,
                     "{made} of the real rows have a made row in their neighbourhood; fresh real rows reach {ceiling}.",
                     (0.05, 0.15)))  # fmt: skip
        found.append(judge.density(made.density, ceiling.density, floor.density))
    except ValueError as error:
        found.append(judge.missing_row("coverage", "Coverage", "varied", str(error)))
    made_d, ceiling_d, floor_d = (diversity.distinct(one) for one in sides.each())
    found.append(judge.similarity("distinct", "Distinct rows", "varied", (made_d, ceiling_d, floor_d),
                 "{made} of the made rows differ from all rows before them; of as many real rows "
                 "{ceiling}."))  # fmt: skip
    kept = [diversity.levels_kept(real, one) for one in sides.each()]
    if not np.isnan(kept[0]):
        found.append(judge.similarity("levels", "Levels kept", "varied", (kept[0], kept[1], kept[2]),
                     f"{{made}} of the category levels with {diversity.LEAST_COUNT} or more real rows occur in the "
                     "made rows."))  # fmt: skip
    return found


def _validity(
    sides: Sides, holdout: pl.DataFrame, made: pl.DataFrame, check: validity.Check | None, say: _Stages
) -> list[Row]:
    """The user's check, known values, types."""
    say("validity", 0.74)
    found = []
    if check is not None:
        result = validity.checked(made.head(ROWS), check)
        fresh = validity.checked(holdout.head(ROWS), check)
        why = f" Commonest reason: {result.reasons[0][0]} ({result.reasons[0][1]} rows)." if result.reasons else ""
        found.append(judge.strictness("valid", "Valid rows", result.share, None,
                     f"{judge.percent(result.share, 2)} of the made rows pass every check; unseen real rows "
                     f"{judge.percent(fresh.share, 2)}.{why}"))  # fmt: skip
    known, fresh_known = (validity.known_values(sides.real, one) for one in (sides.made, sides.ceiling))
    found.append(judge.strictness("known", "Known values", known, fresh_known,
                 f"{judge.percent(known)} of the made rows hold only levels and ranges that real rows have, as do "
                 f"{judge.percent(fresh_known)} of fresh real rows."))  # fmt: skip
    share, wrong = validity.same_types(holdout, made)
    words = f"Types differ: {'; '.join(wrong[:3])}." if wrong else "Every column has the type of the real one."
    found.append(judge.strictness("types", "Column types", share, 1.0, words))
    return found


def _privacy(
    train: Rows, unseen: Rows, made: Rows, rows: int, rng: np.random.Generator, say: _Stages
) -> tuple[list[Row], Any]:
    """Copies, near copies, the membership attack, the DCR share."""
    say("copies", 0.76)
    found = [judge.copying("copies", "Exact copies", privacy.copies(train, unseen, made), "equal a training row")]
    coarse = privacy.coarse(train)
    if 0 < len(coarse) < len(train.columns):
        left = [column.name for j, column in enumerate(train.columns) if j not in set(coarse.tolist())]
        words = ", ".join(map(repr, left[:3])) + (f" and {len(left) - 3} more" if len(left) > 3 else "")
        rate = privacy.copies(train, unseen, made, coarse)
        found.append(
            judge.copying(
                "coarse_copies", "Copies but for fine numbers", rate, f"equal a training row in all but {words}"
            )
        )
    say("an attacker looks for training rows", 0.8)
    k = min(len(train), len(unseen), rows)
    metric = Metric(Rows(train.columns, np.concatenate([train.draw(k, rng).x, unseen.draw(k, rng).x])))
    secret, other = metric.features(train.draw(k, rng)), metric.features(unseen.draw(k, rng))
    new = metric.features(made.draw(ATTACKER, rng))
    attack = privacy.attack(secret, other, new)
    # fresh rows in the place of the made ones: half of the hold-out plays them, the other half is attacked
    half = k // 2
    fresh = privacy.attack(secret[:half], other[half : 2 * half], other[:half]) if half >= 2 else None
    say("near copies", 0.9)
    sample = metric.features(train.draw(ATTACKER, rng))  # one set for both: a distance shrinks as the set grows
    near = privacy.Distances(nearest(metric.features(made.draw(rows, rng)), sample)[0], nearest(other, sample)[0])
    found.append(judge.copying("near_copies", "Near copies", privacy.near_copies(near), judge.NEAR_WORDS))
    copier = auroc(np.zeros(k), -near.fresh).value  # a copy of the training rows is at distance 0 from each of them
    middle = Area(0.5, 0.0)
    found.append(judge.membership(attack.membership, fresh.membership if fresh else middle, copier))
    found.append(judge.closeness(attack.dcr, fresh.dcr if fresh else 0.5, copier, min(len(new), k)))
    return found, picture.distances(near)


class _Stages:
    """Progress to a listener, if there is one."""

    def __init__(self, listen: Listener | None) -> None:
        self.listen = listen

    def __call__(self, stage: str, done: float) -> None:
        if self.listen is not None:
            self.listen(Progress(stage, done))
