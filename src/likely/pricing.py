"""What an alignment cost, measured: figures of items and of the model before and after.

    what it makes     the share of valid items, how different they are, how long, how sure the model is of its choices
    what moved        of a table, the columns that changed most
    what it knows     how surprising unseen real items are to it; how many items are copies of those learned from
    report card       all of its figures, where real items are at hand and the modality has a card

All but the card look at the same draws that the reward is told of, made under the wish of the run; the card compares
what the model makes without a wish with real items, `MADE` of them at most, so that it costs seconds.

Letters: n items, B of them at once, S choices.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol, cast

import numpy as np
import polars as pl
import torch

from likely.align.trial import rows_of
from likely.core import Batch, Codec, Density, Family, Path, Policy, Reals, Tokens
from likely.errors import LikelyError
from likely.evaluate.card import Row
from likely.evaluate.price import Example, Figure
from likely.evaluate.price_columns import moved
from likely.judgement import Evidence, compare, sets
from likely.nn.portion import portions

MADE = 2000  # items of a report card
LEAST = 20  # unseen items that a report card needs
HELD, KNOWN = 256, 50_000  # unseen items whose surprise is looked at, and learned ones that copies are sought among
SHOWN, PICTURED = 6, 36  # examples: texts and rows, items of a picture
ROWS = 64
GROUPS = {"true": "Report card: is it true?", "varied": "Report card: is it varied?",
          "valid": "Report card: is it valid?", "private": "Report card: is it private?"}  # fmt: skip
MAKES, KNOWS = "What it makes", "What it knows"


class Maker(Protocol):
    """A generator, as far as it is needed here."""

    codec: Codec[Any]
    card: dict[str, Any]
    evidence: Evidence | None

    def stream(self, n: int, *, seed: int | None = None) -> Iterator[Any]: ...
    def encode(self, items: Any, given: Any = None) -> Batch: ...


@dataclass(frozen=True)
class Side:
    """A model before or after, what it drew, and what these items earned."""

    family: Family[Any]
    path: Path
    items: Any
    rewards: np.ndarray


def priced(
    before: Maker, after: Maker, sides: tuple[Side, Side], holdout: Any, report: bool
) -> tuple[list[Figure], list[str]]:  # fmt: skip
    """All figures of a generator before and after, and notes of those that could not be had: the run behind them is not
    lost. `holdout`: items it never saw, in the type a user has them; by default those that were set aside. Without
    `report` the report card is left out."""
    codec, own, notes = before.codec, before.evidence, list[str]()
    fresh = codec.read(holdout) if holdout is not None else own.control if own is not None else None
    found = figures(codec, *sides)
    try:
        if not isinstance(codec.space, Reals):
            found += knowledge(*sides, *_known(before, fresh, holdout is None), codec.space)
    except LikelyError as error:
        notes.append(f"What it knows of real items was not measured: {error}")
    try:
        if report and fresh is not None and len(fresh) >= LEAST:
            found += cards(before, after, own, holdout)
    except LikelyError as error:
        notes.append(f"There is no report card of before and after: {error}")
    return found, notes


def _known(before: Maker, fresh: Any, ours: bool) -> tuple[Batch | None, Batch | None]:
    """Unseen items, and those learned from, as tensors, as far as there are any. `ours`: the unseen ones are those that
    were set aside."""
    own = before.evidence
    learned, beside = (None, None) if own is None else (own.train, own.given)

    def some(items: Any, given: Any, most: int) -> Batch | None:
        if items is None or not len(items):
            return None
        return before.encode(items[:most], None if given is None else given[:most])

    return some(fresh, beside[1] if beside and ours else None, HELD), some(learned, beside and beside[0], KNOWN)


def figures(codec: Codec[Any], before: Side, after: Side) -> list[Figure]:
    """What can be said of two draws alone."""
    made = [_share("valid", "Valid items", [_valid(codec, side) for side in (before, after)], 1,
                   "The share of items that no check of the codec finds fault with.")]  # fmt: skip
    space = codec.space
    if isinstance(space, Tokens):
        written = [_rows(side, space) for side in (before, after)]
        ended = [np.array([space.eos in row for row in each]) for each in written]
        made.append(_share("ended", "Texts that end", ended, 1,
                           "The others were cut off at the most tokens there is room for."))  # fmt: skip
        made.append(_mean("length", "Length", [np.array([len(row) for row in each]) for each in written], 0,
                          "Tokens a text, its end counted."))  # fmt: skip
        made.append(_mean("distinct2", "Different pairs of tokens", [_different(each) for each in written], 1,
                          "Of the pairs of neighbours in a text, the share that are different: low where it says one "
                          "thing again and again."))  # fmt: skip
    if not isinstance(space, Reals):
        same = [_unique(side, space) for side in (before, after)]
        noise = math.sqrt(
            sum(share * (1 - share) / len(side.path.x) for share, side in zip(same, (before, after), strict=True))
        )
        made.append(Figure("distinct", "Different items", MAKES, same[0], same[1], 1, noise,
                           f"Of {len(before.path.x)} items, the share that are different."))  # fmt: skip
        if isinstance(before.family, Policy) and isinstance(after.family, Policy):
            sure = [_entropy(side) for side in (before, after)]
            made.append(Figure("entropy", "Entropy", MAKES, sure[0], sure[1], 0, 0.0,
                               "Nats a choice: how open the model is. It falls where a reward is sought."))  # fmt: skip
    spreads = [float(side.rewards.std()) for side in (before, after)]
    made.append(Figure("spread", "Spread of the reward", MAKES, spreads[0], spreads[1], 0, 0.0,
                       "Its standard deviation over items."))  # fmt: skip
    return made if isinstance(space, Tokens) else made + _columns(codec, before, after)


def knowledge(before: Side, after: Side, held: Batch | None, learned: Batch | None, space: Any) -> list[Figure]:
    """What unseen real items, and those learned from, say of both. Either may be None."""
    made = []
    families = (before.family, after.family)
    if held is not None and not isinstance(space, Reals) and all(isinstance(one, Density) for one in families):
        surprise = [_surprise(cast(Density, one), held) for one in families]
        change = surprise[1][0] - surprise[0][0]
        count = surprise[0][1] if isinstance(space, Tokens) else np.ones(len(change))
        noise = float(change.std() / math.sqrt(len(change)) / count.mean())
        each = [float(-one[0].sum() / count.sum()) for one in surprise]
        if isinstance(space, Tokens):
            rate = [math.exp(min(one, 50.0)) for one in each]
            made.append(Figure("perplexity", "Held-out perplexity", KNOWS, rate[0], rate[1], -1, rate[1] * noise,
                               f"Of {len(change)} real texts that it never saw, a token: what it forgot."))  # fmt: skip
        else:
            made.append(Figure("surprise", "Held-out surprise", KNOWS, each[0], each[1], -1, noise,
                               f"Nats an item, of {len(change)} real ones it never saw: what it forgot."))  # fmt: skip
    if learned is not None and not isinstance(space, Reals):
        known = {row.tobytes() for row in learned.x.cpu().numpy()}
        shares = [np.array([row.tobytes() in known for row in side.path.x.cpu().numpy()]) for side in (before, after)]
        made.append(_share("copies", "Copies", shares, -1 if isinstance(space, Tokens) else 0,
                           "Items that are, to the last code, ones learned from.", KNOWS))  # fmt: skip
    return made


def cards(before: Maker, after: Maker, evidence: Evidence | None, holdout: Any = None) -> list[Figure]:
    """The report card of both, figure by figure; none where the modality has no card."""
    codec = before.codec
    if isinstance(codec.space, Tokens) or (evidence is None and holdout is None):
        return []
    learned, fresh = sets(codec, evidence, holdout, None)
    n = max(20, min(MADE, len(learned) if learned is not None else len(fresh)))
    rows = []
    for one in (before, after):
        seed = int(one.card["seed"]) + 1
        items = codec.join(list(one.stream(n, seed=seed)))
        rows.append(compare(codec, learned, fresh, items, target=one.card.get("target"), seed=seed, listen=None,
                            about={}).rows)  # fmt: skip
    later = {row.name: row for row in rows[1]}
    found = [_row(row, later[row.name]) for row in rows[0] if row.name in later and row.value is not None]
    order = list(GROUPS.values())
    return sorted(found, key=lambda one: order.index(one.group))


def examples(codec: Codec[Any], side: Side) -> tuple[Example, ...]:
    """The first items, as a person looks at them."""
    if isinstance(codec.space, Tokens):
        rows = [codec.render(side.items[k : k + 1]) for k in range(min(SHOWN, len(side.items)))]
        return tuple(Example(one.media, one.data, float(side.rewards[k])) for k, one in enumerate(rows))
    space = codec.space
    some = PICTURED if isinstance(space, Reals) and len(space.shape) == 3 else SHOWN
    made = codec.render(side.items[: min(some, len(side.items))])
    return (Example(made.media, made.data),)


# ------------------------------------------------------------------------------------------------------ parts


def _row(was: Row, now: Row) -> Figure:
    """A figure of the report card."""
    better = 0
    if was.best is not None:
        better = 1 if was.best == 1 else -1  # as the gauges of the card have it
    elif was.ceiling is not None and was.floor is not None:
        better = 1 if was.ceiling > was.floor else -1
    errors = [(row.high - row.low) / 4 for row in (was, now) if row.high is not None and row.low is not None]
    noise = math.sqrt(sum(error**2 for error in errors)) if errors else 0.01 * abs(was.value or 0.0)
    return Figure(was.name, was.title, GROUPS[was.group], was.value, now.value, better, noise, now.sentence,
                  was.verdict, now.verdict)  # fmt: skip


def _share(name: str, title: str, sides: list[np.ndarray], better: int, sentence: str, group: str = MAKES) -> Figure:
    return _mean(name, title, [side.astype(float) for side in sides], better, sentence, group)


def _mean(name: str, title: str, sides: list[np.ndarray], better: int, sentence: str, group: str = MAKES) -> Figure:
    noise = math.sqrt(sum(float(side.var()) / len(side) for side in sides))
    return Figure(name, title, group, float(sides[0].mean()), float(sides[1].mean()), better, noise, sentence)


def _columns(codec: Codec[Any], before: Side, after: Side) -> list[Figure]:
    """What moved in the columns; none where items are no rows of a table."""
    frames = [codec.settle(side.items) for side in (before, after)]
    return moved(*frames) if all(isinstance(frame, pl.DataFrame) for frame in frames) else []


def _valid(codec: Codec[Any], side: Side) -> np.ndarray:
    return np.array([not reasons for reasons in codec.check(side.items)])


def _rows(side: Side, space: Tokens) -> list[np.ndarray]:
    """Tokens of each text up to its end."""
    found = []
    for row in side.path.x.cpu().numpy():
        ends = np.flatnonzero(row == space.eos)
        found.append(row[: ends[0] + 1] if len(ends) else row)
    return found


def _different(rows: list[np.ndarray]) -> np.ndarray:
    pairs = [list(zip(row[:-1].tolist(), row[1:].tolist(), strict=True)) for row in rows]
    return np.array([len(set(each)) / max(1, len(each)) for each in pairs])


def _unique(side: Side, space: Any) -> float:
    rows = _rows(side, space) if isinstance(space, Tokens) else list(side.path.x.cpu().numpy())
    return len({row.tobytes() for row in rows}) / max(1, len(rows))


def _entropy(side: Side) -> float:
    policy, total, count = cast(Policy, side.family), 0.0, 0
    for at in range(0, len(side.path.x), ROWS):
        part = rows_of(side.path, torch.arange(at, min(at + ROWS, len(side.path.x)), device=side.path.x.device))
        with torch.no_grad():
            total -= float(torch.where(part.mask, policy.score(part).logp, 0.0).sum())
        count += int(part.mask.sum())
    return total / max(1, count)


def _surprise(model: Density, held: Batch) -> tuple[np.ndarray, np.ndarray]:
    """log p (n,) of items, and how many steps each has."""
    logs, counts = [], []
    for part in portions(held, ROWS):
        each = model.log_probs(part)
        logs.append(each.sum(1).double().cpu().numpy())
        counts.append((each != 0).sum(1).cpu().numpy())
    return np.concatenate(logs), np.maximum(np.concatenate(counts), 1)
