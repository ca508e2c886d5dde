"""How far judgements can be trusted: do people agree with each other, with themselves, and look at both sides?

*Unit*: an item and two of its candidates. *Vote*: one annotator's outcome for a unit (first better, second better,
tie, both bad), whichever side they stood on; the first showing counts, repeats measure self-agreement.

Krippendorff's alpha for nominal values over units of m_u >= 2 votes. With o_ck the sum over units of (ordered pairs
of votes c, k of different people) / (m_u - 1), n_c = sum_k o_ck, n = sum_c n_c:

    alpha = 1 - D_o / D_e,    D_o = (1/n) sum_{c != k} o_ck,    D_e = (1/(n (n - 1))) sum_{c != k} n_c n_k

1 is agreement, 0 what chance would give. It has no value (None) where every vote is the same: nothing varies.
Intervals: alpha by a bootstrap of items; shares by Wilson (1927), z = 1.96.

Sources: Krippendorff, Content Analysis (2004), chapter 11; Wilson, JASA 22 (1927) 209-212.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from likely.align.preference import Comparison, Judgements

SURE = 8  # decisive choices, all for one side, after which an annotator does not look
FEW = 20  # decisive choices below which a share says little
Votes = Sequence[Hashable]


class Share(NamedTuple):
    """A share `of` n, and its 95% interval; NaN where n = 0."""

    share: float
    low: float
    high: float
    of: int


class Unit(NamedTuple):
    """An item and two of its candidates, the smaller id first."""

    item: str
    first: str
    second: str


@dataclass(frozen=True)
class Annotator:
    """What one person did. `agrees`: share of votes of others on the same units that are the same."""

    name: str
    comparisons: int
    decisive: int
    ties: int
    bad: int
    skip: int
    left: Share
    itself: Share
    agrees: Share
    seconds: float | None  # median


@dataclass(frozen=True)
class Agreement:
    """The measures. `observed`: share of equal pairs of votes of different people, every unit weighing its number of
    votes, as in alpha; `decisive`: the same where both are for one side, which bounds what a reward model can reach.
    `swapped`: self-agreement over repeats with the sides exchanged."""

    alpha: float | None
    interval: tuple[float, float] | None
    units: int
    several: int  # units of two votes or more
    observed: float | None
    decisive: Share
    itself: Share
    swapped: Share
    left: Share
    annotators: tuple[Annotator, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain values; NaN is None."""
        return dict(_finite(asdict(self)))

    def __str__(self) -> str:
        alpha = "no value" if self.alpha is None else f"{self.alpha:.3f}"
        if self.interval is not None:
            alpha += f" ({self.interval[0]:.3f} to {self.interval[1]:.3f})"
        lines = [
            f"Krippendorff's alpha   {alpha}, {self.several} of {self.units} pairs have two votes or more",
            f"votes that agree       {'-' if self.observed is None else f'{self.observed:.3f}'}",
            f"decisive votes agree   {_said(self.decisive)}",
            f"agree with themselves  {_said(self.itself)}, sides exchanged {_said(self.swapped)}",
            f"left, if decided       {_said(self.left)}",
        ]
        for one in self.annotators:
            lines.append(f"  {one.name}: {one.comparisons} judgements, left {_said(one.left)}, "
                         f"agrees with others {_said(one.agrees)}")  # fmt: skip
        return "\n".join([*lines, *(f"Warning: {text}" for text in self.warnings)])


def alpha(units: Iterable[Votes]) -> float | None:
    """Krippendorff's alpha of nominal votes, a sequence of votes a unit; None where nothing varies or nobody shares."""
    pairs: Counter[tuple[Hashable, Hashable]] = Counter()
    return _alpha(pairs) if _coincidences(units, pairs) else None


def wilson(hits: int, of: int) -> Share:
    """A share with its 95% interval."""
    if of == 0:
        return Share(math.nan, math.nan, math.nan, 0)
    z, share = 1.959964, hits / of
    middle, wide = share + z * z / (2 * of), z * math.sqrt(share * (1 - share) / of + (z / (2 * of)) ** 2)
    scale = 1 + z * z / of
    return Share(share, max(0.0, (middle - wide) / scale), min(1.0, (middle + wide) / scale), of)


def votes(judgements: Judgements) -> dict[Unit, dict[str, str]]:
    """unit -> annotator -> "first", "second", "tie" or "bad"; the first showing of each."""
    made: dict[Unit, dict[str, str]] = defaultdict(dict)
    for one in judgements.active():
        for unit, vote in _votes(one):
            made[unit].setdefault(one.annotator, vote)
    return dict(made)


def measure(judgements: Judgements, *, draws: int = 500, seed: int = 0) -> Agreement:
    """All measures of these judgements. `draws`: bootstrap samples of items for alpha's interval, 0 = none."""
    said = votes(judgements)
    shared = [list(unit.values()) for unit in said.values() if len(unit) > 1]
    active = judgements.active()
    itself, swapped = _self_agreement(judgements)
    counts: Counter[tuple[Hashable, Hashable]] = Counter()
    n = _coincidences(shared, counts)
    same = sum(weight for (a, b), weight in counts.items() if a == b)
    value = _alpha(counts) if n else None
    return Agreement(
        alpha=value,
        interval=_interval(said, draws, seed) if value is not None and draws else None,
        units=len(said),
        several=len(shared),
        observed=same / n if n else None,
        decisive=_decisive(shared),
        itself=wilson(*_total(itself.values())),
        swapped=wilson(*_total(swapped.values())),
        left=_left(active),
        annotators=_annotators(active, said, itself),
        warnings=tuple(_warnings(judgements, said, shared)),
    )


def blind(judgements: Judgements) -> tuple[dict[str, tuple[str, int]], set[str]]:
    """(who says one side only -> the side, how often; ids of their comparisons that have sides)."""
    with_sides = [one for one in judgements.active() if sided(one)]
    choices: dict[str, Counter[str]] = defaultdict(Counter)
    for one in with_sides:
        if one.choice in ("left", "right"):
            choices[one.annotator][one.choice] += 1
    found = {name: next(iter(c.items())) for name, c in choices.items() if len(c) == 1 and c.total() >= SURE}
    return found, {one.id for one in with_sides if one.annotator in found}


def sided(one: Comparison) -> bool:
    """Whether two were compared and it is known which stood left; a ranking has no sides."""
    return len(one.shown) == 2 and "unordered" not in one.flags


# ------------------------------------------------------------------------------------------------- counting


def _votes(one: Comparison) -> list[tuple[Unit, str]]:
    if one.choice == "bad":
        return [(Unit(one.item, *sorted(pair)), "bad") for pair in combinations(one.shown, 2)]
    made = []
    for left, right, outcome in one.outcomes():
        first, second = sorted((left, right))
        vote = "tie" if outcome == "tie" else "first" if (outcome == "left") == (left == first) else "second"
        made.append((Unit(one.item, first, second), vote))
    return made


def _coincidences(units: Iterable[Votes], into: Counter[tuple[Hashable, Hashable]]) -> float:
    """Add o_ck of the units; how many votes they hold together."""
    n = 0.0
    for unit in units:
        m = len(unit)
        if m < 2:
            continue
        n += m
        counts = Counter(unit)
        for a, b in ((a, b) for a in counts for b in counts):
            into[a, b] += counts[a] * (counts[b] - (a == b)) / (m - 1)  # type: ignore[assignment]
    return n


def _alpha(pairs: Counter[tuple[Hashable, Hashable]]) -> float | None:
    totals: dict[Hashable, float] = defaultdict(float)
    for (a, _), weight in pairs.items():
        totals[a] += weight
    n = sum(totals.values())
    expected = (n * n - sum(total * total for total in totals.values())) / (n - 1)
    if expected <= 0:
        return None
    return 1 - sum(weight for (a, b), weight in pairs.items() if a != b) / expected


def _interval(said: dict[Unit, dict[str, str]], draws: int, seed: int) -> tuple[float, float] | None:
    """Percentiles over items drawn with replacement: votes on one item are no independent evidence."""
    kinds = ("first", "second", "tie", "bad")
    tables: dict[str, np.ndarray] = {}  # item -> o (4, 4)
    for unit, cast in said.items():
        counts: Counter[tuple[Hashable, Hashable]] = Counter()
        if _coincidences([list(cast.values())], counts):
            table = np.array([[counts[a, b] for b in kinds] for a in kinds])
            tables[unit.item] = tables.get(unit.item, 0) + table
    stacked = np.stack(list(tables.values()))
    if len(stacked) < 2:
        return None
    rng, values = np.random.default_rng(seed), []
    for _ in range(draws):
        times = np.bincount(rng.integers(0, len(stacked), len(stacked)), minlength=len(stacked))
        o = np.tensordot(times, stacked, 1)
        n = o.sum()
        expected = (n * n - (o.sum(1) ** 2).sum()) / (n - 1)
        if expected > 0:
            values.append(1 - (n - np.trace(o)) / expected)
    if not values:
        return None
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


def _decisive(shared: Iterable[Votes]) -> Share:
    equal = of = 0
    for unit in shared:
        a, b = unit.count("first"), unit.count("second")
        equal += math.comb(a, 2) + math.comb(b, 2)
        of += math.comb(a + b, 2)
    return wilson(equal, of)


def _self_agreement(judgements: Judgements) -> tuple[dict[str, tuple[int, int]], dict[str, tuple[int, int]]]:
    """annotator -> (equal, of) over pairs of (a showing, its repeat), and of these where the sides were exchanged."""
    standing = {one.id: one for one in judgements.active()}
    both: tuple[dict[str, tuple[int, int]], ...] = ({}, {})
    for one in standing.values():
        before = standing.get(one.repeats or "")
        if before is None:
            continue
        ours, theirs = dict(_votes(one)), dict(_votes(before))
        kinds = both if len(one.shown) == 2 and one.shown == before.shown[::-1] else both[:1]
        for into in kinds:
            equal, of = into.get(one.annotator, (0, 0))
            pairs = ours.keys() & theirs.keys()
            into[one.annotator] = equal + sum(ours[unit] == theirs[unit] for unit in pairs), of + len(pairs)
    return both[0], both[1]


def _total(counts: Iterable[tuple[int, int]]) -> tuple[int, int]:
    listed = list(counts)
    return sum(hits for hits, _ in listed), sum(of for _, of in listed)


def _left(active: Iterable[Comparison]) -> Share:
    """Only comparisons of two whose sides are known."""
    sides = Counter(one.choice for one in active if one.choice in ("left", "right") and sided(one))
    return wilson(sides["left"], sides["left"] + sides["right"])


def _annotators(
    active: Sequence[Comparison], said: dict[Unit, dict[str, str]], itself: dict[str, tuple[int, int]]
) -> tuple[Annotator, ...]:
    by: dict[str, list[Comparison]] = defaultdict(list)
    for one in active:
        by[one.annotator].append(one)
    agrees: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for unit in said.values():
        counts = Counter(unit.values())
        for name, vote in unit.items():
            agrees[name][0] += counts[vote] - 1
            agrees[name][1] += len(unit) - 1
    made = []
    for name, rows in sorted(by.items()):
        choices = Counter(one.choice for one in rows)
        took = [one.seconds for one in rows if one.seconds is not None]
        made.append(Annotator(
            name, len(rows), choices["left"] + choices["right"], choices["tie"], choices["bad"], choices["skip"],
            _left(rows), wilson(*itself.get(name, (0, 0))), wilson(*agrees[name]),
            float(np.median(took)) if took else None,
        ))  # fmt: skip
    return tuple(made)


# ------------------------------------------------------------------------------------------------- warnings


def _warnings(judgements: Judgements, said: dict[Unit, dict[str, str]], shared: Sequence[Votes]) -> list[str]:
    active, made = judgements.active(), []
    people: dict[str, list[Comparison]] = defaultdict(list)
    for one in active:
        people[one.annotator].append(one)
    decided = sum(one.choice in ("left", "right", "ranking") for one in active)
    if not active:
        return ["There are no judgements."]
    if decided < FEW:
        made.append(f"Only {decided} judgements decide between candidates; shares of fewer than {FEW} say little.")
    if len(people) == 1:
        made.append(f"All judgements are of one annotator, {next(iter(people))!r}: how far people agree is not known.")
    elif not shared:
        made.append("No pair was judged by two annotators: how far people agree is not known.")
    for name, rows in sorted(people.items()):
        share = _left(rows)
        for side, hits in (("left", share.share), ("right", 1 - share.share)):
            if share.of >= SURE and hits == 1:
                made.append(
                    f"Annotator {name!r} said {side} in all {share.of} decisions: nothing can be learned of it."
                )
            elif share.of >= FEW and hits > 0.5 and not share.low <= 0.5 <= share.high:
                made.append(f"Annotator {name!r} leans to the {side}: {hits:.0%} of {share.of} decisions "
                            "(or the better ones stood there more often).")  # fmt: skip
        if len(rows) >= FEW and (passed := sum(one.choice in ("skip", "tie") for one in rows)) == len(rows):
            made.append(f"Annotator {name!r} never decided in {passed} judgements.")
    return made + _contradictions(people)


def _contradictions(people: dict[str, list[Comparison]]) -> list[str]:
    """Pairs that one person decided both ways, and circles A > B > C > A."""
    made = []
    for name, rows in sorted(people.items()):
        better: dict[str, set[tuple[str, str]]] = defaultdict(set)
        for one in rows:
            for left, right, outcome in one.outcomes():
                if outcome != "tie":
                    better[one.item].add((left, right) if outcome == "left" else (right, left))
        both = [(item, a, b) for item, edges in better.items() for a, b in edges if a < b and (b, a) in edges]
        if both:
            item, a, b = min(both)
            made.append(f"Annotator {name!r} decided {_many(len(both), 'pair')} both ways, such as candidates {a[:8]} "
                        f"and {b[:8]} of item {item!r}.")  # fmt: skip
        circles = [item for item, edges in better.items() if _circle(edges)]
        if circles:
            made.append(f"Annotator {name!r} went in a circle (A over B, B over C, C over A) in "
                        f"{_many(len(circles), 'item')}, such as {min(circles)!r}.")  # fmt: skip
    return made


def _circle(edges: set[tuple[str, str]]) -> bool:
    """Whether decisions, but for pairs decided both ways, hold a circle."""
    clean = [(a, b) for a, b in edges if (b, a) not in edges]
    if len(clean) < 3:
        return False
    place = {name: k for k, name in enumerate(sorted({name for edge in clean for name in edge}))}
    a, b = np.array([[place[a], place[b]] for a, b in clean]).T
    graph = coo_array((np.ones(len(a)), (a, b)), shape=(len(place), len(place)))
    parts, _ = connected_components(graph, connection="strong")
    return bool(parts < len(place))


def _many(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def _said(share: Share) -> str:
    return "-" if share.of == 0 else f"{share.share:.3f} ({share.low:.3f} to {share.high:.3f}, n = {share.of})"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, Share):
        return _finite(value._asdict())
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and math.isnan(value) else value
