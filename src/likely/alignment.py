"""Alignment of a generator: a reward over items as the user knows them moves the family behind it.

    better = gen.align(lambda texts: [-len(text) for text in texts], beta=0.1)

    maximise  E[reward] - beta KL(policy || start)

A reward is any function of a list (or table) of items that gives a number each, or several with their weights. What is
decided here: how tensors become items for it, what items are asked for, which method, and what the card says after.

    better = gen.align(judgements, method="dpo")

Judgements of people are a signal, too: DPO learns from their pairs, the other methods from a reward model fitted to the
generator's own steps. Either way that model says what was won, and the card says how far it can be believed.

Letters: B items.
"""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path as File
from typing import Any

import torch
from torch import Tensor

from likely import registry
from likely.align import best_of, course
from likely.align.encoding import MEDIA, pairs_of, readable
from likely.align.preference import Judgements
from likely.align.reward import RewardModel, fit_reward
from likely.align.rewards import Reward, Rewards, Weighted
from likely.align.states import Steps, weights_of
from likely.align.trial import Trial, Wish, anything, ended, graded, positive
from likely.choice import configure
from likely.conditions import Conditions
from likely.core import Budget, Codec, Family, Known, Listener, Path, Policy, Tokens
from likely.errors import ConditionError, OptionError, UnknownName, Unsupported
from likely.evaluate.price import frontier
from likely.pricing import Side
from likely.train import loop

Signal = Rewards | Judgements
TASTED = 512  # items looked at before and after
SLOWER = 0.2  # rates of alignment beside those of learning
COUNTED = 0.03  # the rate of families that learn by counting
BETA, JUDGED, PAIRS = 0.05, 0.7, 0.1  # reward a nat: of functions, of what was learned from judgements, of dpo
LISTED = 400  # rows of a run that the card keeps at most


@dataclass(frozen=True)
class Aligned:
    """The moved family, the run, and what the card says."""

    family: Family[Any]
    record: course.Record
    entry: dict[str, Any]
    sides: tuple[Side, Side]  # what both draw


class Judge:
    """A reward over items, as one over tensors."""

    def __init__(self, codec: Codec[Any], conditions: Conditions | None, signal: Signal, seed: int) -> None:
        self.codec, self.conditions, self.seed = codec, conditions, seed
        if isinstance(signal, Judgements):
            raise OptionError("Judgements are no reward by themselves: fit_reward(judgements) makes one of them.")
        self.rewards = Weighted(signal)

    def items(self, path: Path) -> Any:
        """What a path leads to, in the codec's own collection."""
        rng = torch.Generator().manual_seed(self.seed)
        items = self.codec.make(path.x, rng=rng)
        attach = getattr(self.codec, "attach", None)
        if attach is not None and self.conditions is not None and path.given is not None:
            items = attach(items, self.conditions.codec.make(path.given.x, rng=rng))
        return items

    def __call__(self, path: Path) -> Tensor:
        raw = self.codec.give(self.items(path))
        return self.rewards.total(lambda part: part(raw), len(path.x))


def align(  # noqa: PLR0913  (one argument a choice; all but the first have defaults)
    codec: Codec[Any], family: Family[Any], conditions: Conditions | None, signal: Signal, *, method: str | None,
    beta: float | None, seed: int, minutes: float | None, steps: int | None, rate: float, limit: float, given: Any,
    listen: Listener | None, watch: Callable[[int, course.Row], None] | None, checkpoint: str | File | None,
    missing: float, options: dict[str, Any],
) -> Aligned:  # fmt: skip
    """Move a copy of `family`. Raises what `Generator.align` does."""
    beta = price_of(signal, method) if beta is None else beta
    positive(beta=beta)
    if rate != 0:
        positive(rate=rate)
    _penalty(missing, codec)
    told: dict[str, Any] = {}
    pairs = None
    notes: list[str] = []
    if method is None:
        method = "ppo" if isinstance(family, Policy) else "best_of"
        if method == "best_of":
            notes.append(f"{type(family).__name__} does not say how likely its steps are: best_of moved it, not ppo.")
    if isinstance(signal, Judgements):
        signal, aside = readable(signal, MEDIA.get(codec.name, ()), f"{codec.name} data")
        notes += aside
        pairs = pairs_of(signal.pairs(), codec, family) if method == "dpo" else None
        signal, told, doubt = _learned(codec, family, signal, seed)
        notes += doubt
    judge = Judge(codec, conditions, signal, seed)
    source = _source(codec, conditions, given)
    moved = copy.deepcopy(family)
    first, _ = _side(family, family, judge, source, seed + 1, missing)  # a reward that cannot read items says so here
    budget = Budget(minutes=minutes, steps=steps)
    if method == "best_of":
        record, used = _best_of(moved, judge, source, budget, seed, listen, options)
    else:
        names = registry.names("method")
        if method not in names:
            raise UnknownName("method", method, [*names, "best_of"])
        cls = registry.get("method", method)
        config = configure(cls.Config(), options, method)
        trial = Trial(moved, judge, source, missing)
        speed = rate or (SLOWER * family.plan().rate if family.objectives() else COUNTED)
        made = cls(trial, config, beta, speed, seed, **({} if pairs is None else {"pairs": pairs}))
        where = File(checkpoint) if checkpoint else None
        who = {
            "reward": judge.rewards.identity, "beta": str(beta), "rate": str(speed), "options": repr(config),
            "start": weights_of(family), "missing": str(missing),
            "given": hashlib.sha256(repr(given).encode()).hexdigest()[:16],
        }  # fmt: skip
        record = course.run(
            made, budget=budget, limit=limit, seed=seed, listen=listen, watch=watch, checkpoint=where, identity=who
        )
        used = {**asdict(config), "rate": speed}
    record.notes[:0] = notes
    won, sides = _compared(first, *_side(moved, family, judge, source, seed + 2, missing))
    if missing:
        used = {**used, "missing": missing}
    if method == "best_of":
        won["bound"] = best_of.price(used["n"])
    entry = {
        "method": method, "reward": judge.rewards.name, "beta": beta, "seed": seed, "options": used,
        "steps": len(record.rows), "stopped": record.stopped, "notes": record.notes, **told, **won,
        "frontier": frontier(sides[0].rewards),
        "rows": record.rows[:: max(1, -(-len(record.rows) // LISTED))],
    }  # fmt: skip
    return Aligned(moved, record, entry, sides)


def price_of(signal: Signal, method: str | None) -> float:
    """`beta` where none is given. Rewards of judgements have a standard deviation of 1, and are wrong far away."""
    parts = [
        part[0] if isinstance(part, tuple) else part for part in (signal if isinstance(signal, list) else [signal])
    ]
    if all(isinstance(part, Judgements | RewardModel) for part in parts):
        return PAIRS if method == "dpo" else JUDGED
    return BETA


def _penalty(missing: float, codec: Codec[Any]) -> None:
    """Raises OptionError, Unsupported."""
    if isinstance(missing, bool) or not isinstance(missing, int | float) or not 0 <= missing < math.inf:
        raise OptionError(
            f"missing={missing!r} was given; it is taken from the reward of a text without an end: 0 or more."
        )
    if missing and not isinstance(codec.space, Tokens):
        raise Unsupported(
            f"missing={missing:g} is taken from texts without an end; {codec.name} items have none. Leave it out."
        )


@dataclass(frozen=True)
class _Fitted:
    """What a reward model on a generator's steps needs of it."""

    codec: Codec[Any]
    family: Family[Any]


def _learned(
    codec: Codec[Any], family: Family[Any], judgements: Judgements, seed: int
) -> tuple[Reward, dict[str, Any], list[str]]:  # fmt: skip
    """A reward model on the steps of the generator as it is, what the card says of it, and a note where it knows no
    more than chance."""
    model = fit_reward(judgements, Steps(_Fitted(codec, family)), seed=seed)
    report = model.report
    assert report is not None
    said = {name: getattr(report, name) for name in ("pairs", "items", "ties", "accuracy", "error", "ceiling", "notes")}
    doubt = []
    if report.accuracy - 2 * report.error <= 0.5:
        doubt.append(
            f"The reward, learned from {report.pairs} judged pairs, is right on {report.accuracy:.0%} of unseen ones, "
            f"give or take {report.error:.0%}: no better than chance. What it likes may not be what people like: judge "
            "more."
        )
    return model, {"judgements": said}, doubt


def _best_of(
    family: Family[Any], judge: Judge, source: Callable[[int, torch.Generator], Wish], budget: Budget, seed: int,
    listen: Listener | None, options: dict[str, Any],
) -> tuple[course.Record, dict[str, Any]]:  # fmt: skip
    used = {"n": 4, "items": 4000, **options}
    if set(used) != {"n", "items"} or not all(isinstance(value, int) for value in used.values()):
        raise OptionError(f"best_of has the options n and items, whole numbers; {options} was given.")
    rng = torch.Generator().manual_seed(seed)
    kept, _, _ = best_of.keep(family, judge, used["items"], used["n"], rng=rng, source=source, listen=listen)
    if family.objectives():
        loop.fit(family, kept, budget, seed=seed, listen=listen)
    else:
        family.fit(kept, budget, rng=rng, listen=listen)
    return course.Record("budget"), used


def _source(
    codec: Codec[Any], conditions: Conditions | None, given: Any
) -> Callable[[int, torch.Generator], Wish]:  # fmt: skip
    """What items are asked for: nothing, conditions as they come or as wished, values or beginnings of their own."""
    if conditions is not None:
        return lambda n, rng: Wish(given=conditions.draw(n, given, rng)[0])
    if given is None or (isinstance(given, Mapping) and not given):
        return anything
    if isinstance(given, Mapping):
        known = codec.condition(given)
        if known.soft:
            raise ConditionError("Alignment takes single values in given=..., not ranges or sets.")
        return lambda n, rng: Wish(known=Known(known.x.expand(n, -1), known.mask.expand(n, -1)))
    prompts = codec.partial(codec.read(given))

    def some(n: int, rng: torch.Generator) -> Wish:
        rows = torch.randint(len(prompts.x), (n,), generator=rng)
        return Wish(known=Known(prompts.x[rows], prompts.mask[rows]))

    return some


def _side(
    family: Family[Any], start: Family[Any], judge: Judge, source: Callable[[int, torch.Generator], Wish], seed: int,
    missing: float,
) -> tuple[Side, float | None]:  # fmt: skip
    """Items of a family and what they earn; their KL to the start in nats an item, of families that tell it.

    Raises RewardError."""
    rng = torch.Generator().manual_seed(seed)
    wish = source(TASTED, rng)
    if isinstance(family, Policy):
        path = family.rollout(TASTED, wish.given, wish.known, rng=rng)
    else:
        x = family.sample(TASTED, given=wish.given, known=wish.known, rng=rng)
        path = Path(x, x[:, :0], x.new_zeros(len(x), 0, dtype=torch.bool), wish.given)
    reward = graded(judge, path)
    if missing and isinstance(family.space, Tokens):
        reward = reward - missing * (~ended(path, (family.space.eos,))).to(reward)
    kl = None
    if family is not start and isinstance(family, Policy) and isinstance(start, Policy):
        with torch.no_grad():
            kl = float((family.score(path).logp - start.score(path).logp).sum(1).mean())
    return Side(family, path, judge.items(path), reward.double().numpy()), kl


def _compared(first: Side, last: Side, kl: float | None) -> tuple[dict[str, float], tuple[Side, Side]]:
    """Mean and spread of the reward of both, the share of pairs that the moved one wins, and KL; and both."""
    before, after = first.rewards, last.rewards
    told = {
        "before": float(before.mean()), "spread before": float(before.std()), "after": float(after.mean()),
        "spread after": float(after.std()), "won": float((after > before).mean() + 0.5 * (after == before).mean()),
    }  # fmt: skip
    return told | ({} if kl is None else {"kl": kl}), (first, last)
