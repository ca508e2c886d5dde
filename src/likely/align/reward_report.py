"""How good a learned reward is: measured on items that it has not seen.

*Accuracy*: of decided answers (left or right), the share where the reward is larger on the side that was chosen; equal
rewards count half. *Ceiling*: how well one annotator says what most of the others said. For every pair with two votes
or more and every annotator of it, the target is the majority of the other votes; a target that is even has no side and
is left out, a vote that is a tie counts half. The reward is measured on the very same targets (`majority`): it can
hardly be better than the ceiling, and is as good as a person where it meets it.

Beside it stand two rewards that know next to nothing, on the same folds: length (the longer or the shorter text, which
of them the other folds say), and a bag of words (logistic regression on tf-idf of words).

*Calibration*: P(left) of all answers in ten groups of equal number; ECE is the mean of |share of left - mean P(left)|.
After it, the same with logits divided by a temperature that was fitted to the answers of the other folds (Guo et al.
2017, arXiv:1706.04599).

Letters: M pairs.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import numpy as np

from likely.align.features import Array, text_of
from likely.align.preference import Pair

BUCKETS = 4
GROUPS = 10
TEMPERATURES = np.exp(np.linspace(math.log(0.2), math.log(10), 118))
PENALTIES = (0.1, 1.0, 10.0)  # C of the bag of words


class Held(NamedTuple):
    """Of M pairs, by rewards that have not seen their items: `fold` (M,), `sign` (M,) 1 left, -1 right, 0 tie as people
    said, `apart` (M,) reward left - right in standard deviations, and the law of the answer: `z` (M,) logits of the
    annotator, `nu` (M,) = 0 without ties, `eps` (M,) the share of coin throws."""

    fold: Array
    sign: Array
    apart: Array
    z: Array
    nu: Array
    eps: Array

    def shares(self, divisor: float = 1.0) -> Array:
        """P (M, 3) of left, right, tie with logits divided by a temperature."""
        half = np.clip(self.z / (2 * divisor), -250, 250)
        q = np.stack([np.exp(half), np.exp(-half), self.nu], 1)
        even = np.where(self.nu[:, None] > 0, 1 / 3, np.array([0.5, 0.5, 0.0]))
        shares: Array = (1 - self.eps[:, None]) * q / q.sum(1, keepdims=True) + self.eps[:, None] * even
        return shares

    def take(self, rows: Array) -> Held:
        """Some of them."""
        return Held(*[part[rows] for part in self])


@dataclass(frozen=True)
class Report:
    """Numbers on held-out items; None where there is nothing to measure. `by_margin`: (largest |difference of rewards|,
    accuracy, pairs); `by_annotator`: name -> (accuracy, decided pairs, reliability)."""

    features: str
    pairs: int
    items: int
    ties: int
    folds: int
    accuracy: float
    error: float
    majority: float | None
    ceiling: float | None
    targets: int
    length: float | None
    words: float | None
    nats: float
    by_margin: list[tuple[float, float, int]]
    by_annotator: dict[str, tuple[float, int, float]]
    ece: float
    ece_calibrated: float
    temperature: float
    length_reward: float | None
    length_people: float | None
    notes: list[str]

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Report:
        """Back from `to_dict`. Raises TypeError or ValueError where it is none."""
        if set(told) != {one.name for one in fields(cls)}:
            raise ValueError("the report is incomplete")
        given = dict(told)
        given["by_margin"] = [(float(a), float(b), int(c)) for a, b, c in told["by_margin"]]
        given["by_annotator"] = {str(k): (float(a), int(b), float(c)) for k, (a, b, c) in told["by_annotator"].items()}
        found = cls(**given)
        str(found)
        return found

    def __str__(self) -> str:
        lines = [
            f"Reward from {self.features}: {self.pairs} judged pairs ({self.ties} ties) of {self.items} items",
            f"on items not seen ({self.folds} folds)",
            f"  accuracy            {self.accuracy:.3f} +- {self.error:.3f} of decided answers",
        ]
        if self.length is not None:
            lines.append(f"    by length alone   {self.length:.3f}")
        if self.words is not None:
            lines.append(f"    by a bag of words {self.words:.3f}")
        if self.ceiling is not None and self.majority is not None:
            lines += [
                f"  what most say       {self.majority:.3f} ({self.targets} votes)",
                f"    one annotator     {self.ceiling:.3f}: the ceiling",
            ]
        else:
            lines.append("  no ceiling: no pair was judged by two people")
        lines.append("  by difference       " + ", ".join(f"up to {a:.2f}: {b:.3f}" for a, b, _ in self.by_margin))
        lines.append(f"  calibration (ECE)   {self.ece:.3f}, with temperature {self.temperature:.2f} "
                     f"{self.ece_calibrated:.3f}")  # fmt: skip
        if self.length_reward is not None and self.length_people is not None:
            lines.append(f"  longer is better    correlation {self.length_reward:+.2f}, "
                         f"for people {self.length_people:+.2f}")  # fmt: skip
        for name, (right, count, reliability) in self.by_annotator.items():
            lines.append(f"  {name}: accuracy {right:.3f} of {count}, reliability {reliability:.2f}")
        return "\n".join([*lines, *(f"Note: {note}" for note in self.notes)])


def report(
    pairs: Sequence[Pair], held: Held, reliability: Mapping[str, float], features: str, folds: int, notes: Sequence[str]
) -> Report:
    """All of it."""
    sign, decided = held.sign, held.sign != 0
    P, place = held.shares(), np.array([0, 2, 1])[(1 - held.sign).astype(int)]
    right = credit(held.apart, sign)
    items = [pair.item for pair in pairs]
    texts = _texts(pairs)
    lengths = None if texts is None else _lengths(texts)
    ceiling, majority, targets = ceilings(pairs, held.apart)
    likelihood = np.clip(P[np.arange(len(pairs)), place], 1e-12, None)
    by_annotator = {}
    for name, value in reliability.items():
        own = decided & np.array([pair.annotator == name for pair in pairs])
        if own.any():
            by_annotator[name] = (float(right[own].mean()), int(own.sum()), float(value))
    return Report(
        features=features, pairs=len(pairs), items=len(set(items)), ties=int((~decided).sum()), folds=folds,
        accuracy=float(right[decided].mean()),
        error=spread(right[decided], [items[k] for k in np.flatnonzero(decided)]),
        majority=majority, ceiling=ceiling, targets=targets,
        length=None if lengths is None else float(credit(longer(lengths, sign, held.fold), sign)[decided].mean()),
        words=None if texts is None else float(credit(bag(texts, items, sign, held.fold), sign)[decided].mean()),
        nats=float(-np.log(likelihood).mean()), by_margin=buckets(np.abs(held.apart[decided]), right[decided]),
        by_annotator=by_annotator, ece=ece(P[:, 0], sign > 0), ece_calibrated=ece(calibrated(held), sign > 0),
        temperature=temperature(held),
        length_reward=None if lengths is None else correlation(held.apart, lengths),
        length_people=None if lengths is None else correlation(sign, lengths), notes=list(notes),
    )  # fmt: skip


def credit(apart: Array, sign: Array) -> Array:
    """(M,) 1 where the difference of rewards has the sign of the answer, 1/2 where it has none, else 0."""
    return np.where(apart == 0, 0.5, (np.sign(apart) == sign).astype(float))


def spread(right: Array, items: Sequence[str]) -> float:
    """The standard error of a mean of answers, those of one item being one draw."""
    names = {name: k for k, name in enumerate(dict.fromkeys(items))}
    of = np.array([names[item] for item in items])
    sums = np.bincount(of, right - right.mean())
    return float(np.sqrt((sums**2).sum()) / len(right))


def ceilings(pairs: Sequence[Pair], apart: Array) -> tuple[float | None, float | None, int]:
    """(how well one annotator says what most others say, how well the reward does, the number of targets)."""
    votes: dict[tuple[str, str, str], dict[str, tuple[int, float]]] = defaultdict(dict)
    for pair, value in zip(pairs, apart, strict=True):
        turned = pair.left.id > pair.right.id
        key = (pair.item, *sorted((pair.left.id, pair.right.id)))
        vote = {"left": 1, "right": -1, "tie": 0}[pair.outcome] * (-1 if turned else 1)
        votes[key].setdefault(pair.annotator, (vote, -value if turned else value))  # type: ignore[index]
    person, model = [], []
    for said in votes.values():
        for name, (vote, value) in said.items():
            others = Counter(np.sign(other) for who, (other, _) in said.items() if who != name)
            if others[1] == others[-1] or others[0] > max(others[1], others[-1]):
                continue  # nobody else, or no side
            target = 1 if others[1] > others[-1] else -1
            person.append(0.5 if vote == 0 else float(vote == target))
            model.append(0.5 if value == 0 else float(np.sign(value) == target))
    if not person:
        return None, None, 0
    return float(np.mean(person)), float(np.mean(model)), len(person)


def buckets(size: Array, right: Array) -> list[tuple[float, float, int]]:
    """Pairs in groups of equal number by how far rewards are apart."""
    parts = np.array_split(np.argsort(size, kind="stable"), min(BUCKETS, len(size)))
    return [(float(size[part].max()), float(right[part].mean()), len(part)) for part in parts]


def ece(p: Array, hit: Array) -> float:
    """The expected calibration error of probabilities (M,) of what was a hit (M,) or not."""
    parts = np.array_split(np.argsort(p, kind="stable"), min(GROUPS, len(p)))
    return float(sum(abs(hit[part].mean() - p[part].mean()) * len(part) for part in parts) / len(p))


def temperature(held: Held) -> float:
    """What the logits of these pairs are best divided by: answers are likeliest then; a little wish for 1."""
    place = np.array([0, 2, 1])[(1 - held.sign).astype(int)]
    costs = [
        -np.log(np.clip(held.shares(t)[np.arange(len(place)), place], 1e-12, None)).sum() + math.log(t) ** 2 / 2
        for t in TEMPERATURES
    ]
    return float(TEMPERATURES[int(np.argmin(costs))])


def calibrated(held: Held) -> Array:
    """P(left) (M,) at the temperature of the other folds."""
    found = np.zeros(len(held.z))
    for k in np.unique(held.fold):
        out = held.fold == k
        found[out] = held.take(out).shares(temperature(held.take(~out)))[:, 0]
    return found


def contradictions(pairs: Sequence[Pair]) -> list[str]:
    """A note where one person decided one pair both ways."""
    sides: dict[tuple[str, str, frozenset[str]], set[str]] = defaultdict(set)
    for pair in pairs:
        if pair.outcome != "tie":
            chosen = pair.left if pair.outcome == "left" else pair.right
            sides[pair.annotator, pair.item, frozenset((pair.left.id, pair.right.id))].add(chosen.id)
    both = sum(len(chosen) > 1 for chosen in sides.values())
    return [f"{both} pairs were decided both ways by one person; both answers count"] if both else []


def nothing(pairs: Sequence[Pair], notes: Sequence[str]) -> str:
    """Why every candidate earns the same: first what is known of the answers, then what to do."""
    sums: dict[tuple[str, frozenset[str]], int] = defaultdict(int)
    for pair in pairs:
        if pair.outcome != "tie":
            way = (pair.outcome == "left") == (pair.left.id < pair.right.id)
            sums[pair.item, frozenset((pair.left.id, pair.right.id))] += 1 if way else -1
    even = sum(total == 0 for total in sums.values())
    told = [f"{even} of {len(sums)} pairs were decided as often one way as the other", *notes] if even else [*notes]
    first = "".join(f"{note[0].upper()}{note[1:]}. " for note in told)
    if even == len(sums):
        return (
            f"{first}So nothing was preferred: judge again. Who contradicts whom: print(agreement.measure(judgements))"
        )
    return (
        f"{first}The features say nothing about what was preferred: every candidate earns the same. Judge more, or "
        "take other features."
    )


def correlation(a: Array, b: Array) -> float | None:
    """Pearson's, None where one of them does not vary."""
    if a.std() < 1e-12 or b.std() < 1e-12:
        return None
    return float(np.corrcoef(a, b)[0, 1])


# ------------------------------------------------------------------------------------------------ baselines


def _texts(pairs: Sequence[Pair]) -> tuple[list[str], list[str]] | None:
    """The texts on the left and on the right; None where there are others than texts."""
    sides = [[text_of(getattr(pair, side)) for pair in pairs] for side in ("left", "right")]
    if any(text is None for side in sides for text in side):
        return None
    return [text or "" for text in sides[0]], [text or "" for text in sides[1]]


def _lengths(texts: tuple[list[str], list[str]]) -> Array:
    """(M,) how much longer the left text is, in logs."""
    return np.array([math.log1p(len(a)) - math.log1p(len(b)) for a, b in zip(*texts, strict=True)])


def longer(lengths: Array, sign: Array, fold: Array) -> Array:
    """(M,) the longer side, or the shorter one where people of the other folds prefer that."""
    found = np.zeros(len(sign))
    for k in np.unique(fold):
        seen = (fold != k) & (sign != 0)
        way = 1.0 if (np.sign(lengths[seen]) * sign[seen]).sum() >= 0 else -1.0
        found[fold == k] = way * lengths[fold == k]
    return found


def bag(texts: tuple[list[str], list[str]], names: Sequence[str], sign: Array, fold: Array) -> Array:
    """(M,) differences of logits of a logistic regression on tf-idf of words, each by the other folds."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    (left, right), items = texts, np.array(names)
    found = np.zeros(len(items))
    for k in np.unique(fold):
        seen = np.flatnonzero((fold != k) & (sign != 0))
        out = np.flatnonzero(fold == k)
        words = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", sublinear_tf=True)
        try:
            words.fit([left[m] for m in seen] + [right[m] for m in seen])
        except ValueError:  # no word in any of them
            continue
        apart = words.transform(left) - words.transform(right)

        def fitted(rows: Array, C: float, apart: Any = apart) -> Any:
            # Both orders of every pair: no side is better by itself.
            x, y = apart[np.r_[rows, rows]], np.r_[sign[rows], -sign[rows]]
            x[len(rows) :] *= -1
            return LogisticRegression(C=C, fit_intercept=False, max_iter=1000).fit(x, y)

        inner = np.unique(items[seen], return_inverse=True)[1] % 3
        right_at = []
        for C in PENALTIES:
            hits = 0.0
            for j in range(3):
                train, test = seen[inner != j], seen[inner == j]
                if len(train) and len(test):
                    hits += credit(fitted(train, C).decision_function(apart[test]), sign[test]).sum()
            right_at.append(hits)
        found[out] = fitted(seen, PENALTIES[int(np.argmax(right_at))]).decision_function(apart[out])
    return found
