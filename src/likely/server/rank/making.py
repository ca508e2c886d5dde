"""Candidates made ahead of the people who judge them, in a thread of its own, and never twice.

What is to be made is a *plan*: slots, each an item and the seeds of its candidates. It follows from prompts, models,
number of pairs and seed alone, so a run that is begun again finds what is in the store and makes only what is not.

    M models, M >= 2     one candidate a model, same seed: M(M-1)/2 pairs a slot
    one model            two candidates of different seeds: one pair a slot
    a prompt             is one item; more pairs than prompts: more candidates of the same item
    no prompt, a wish    every slot is an item of its own

Two equal outputs are no pair: the later one is drawn again with other seeds, a few times.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from likely.align import fields
from likely.align.preference import CANDIDATES, Candidate, Item, item_of
from likely.errors import LikelyError, OptionError
from likely.server.rank.outputs import Maker, Wanted
from likely.server.store import Outline, Store

TRIES = 4  # seeds of one candidate
TOGETHER = 4  # slots made at once, after the first
MOST = 100_000  # pairs
log = logging.getLogger("likely.rank")


class Slot(NamedTuple):
    """An item to be made, or to get more candidates: of `makers[place]` with the `number`-th seed of this item."""

    item: str
    prompt: Any
    needs: tuple[tuple[int, int], ...]  # (place of the maker, number)


@dataclass
class State:
    """How far making is. `stage`: waiting, loading, making, done, failed."""

    stage: str = "waiting"
    made: int = 0
    planned: int = 0
    equal: int = 0  # slots whose outputs stayed equal
    error: str = ""


def plan(prompts: Sequence[Any], makers: int, pairs: int, seed: int, form: Sequence[str] = ()) -> list[Slot]:
    """Slots for so many pairs; no prompts: a generator is asked for nothing. `form`: what outputs look like, so that
    rows and pictures of one store never share an item. Raises OptionError for too many pairs."""
    if not 1 <= pairs <= MOST:
        raise OptionError(f"--pairs {pairs}: give a whole number from 1 to {MOST:,}.")
    each, width = max(1, makers * (makers - 1) // 2), max(2, makers)
    asked, rounds = list(prompts) or [None], CANDIDATES // width
    slots: list[Slot] = []
    for number in range(-(-pairs // each)):
        turn, place = divmod(number, len(asked))
        prompt = asked[place]
        spoken = prompt is not None and not isinstance(prompt, dict)
        if spoken and turn >= rounds:
            raise OptionError(
                f"--pairs {pairs}: {len(asked)} prompts give {len(asked) * rounds * each:,} pairs at most; give more "
                "prompts, or fewer pairs."
            )
        first = turn * (2 if makers == 1 else 1) if spoken else 0
        needs = ((0, first), (0, first + 1)) if makers == 1 else tuple((k, first) for k in range(makers))
        name = item_id(prompt) if spoken else digest(["unprompted", [*form], prompt, seed, number])
        slots.append(Slot(name, prompt, needs))
    return slots


def item_id(prompt: Any) -> str:
    """The id of the item of a prompt, as `item_of` has it."""
    return item_of(prompt, (Candidate.text("a"), Candidate.text("b"))).id


def digest(value: Any) -> str:
    """An id from JSON."""
    return hashlib.sha256(fields.canonical(value).encode()).hexdigest()[:32]


def seed_of(seed: int, item: str, number: int, attempt: int) -> int:
    """The seed of a candidate: 48 bits, alike for all models."""
    return int.from_bytes(hashlib.sha256(f"{seed} {item} {number} {attempt}".encode()).digest()[:6])


class Making:
    """Makes slots one after the other and puts them into the store. `tell` is called with each item that has grown."""

    def __init__(
        self, store: Store, makers: Sequence[Maker], slots: Sequence[Slot], seed: int, *,
        tell: Callable[[Iterable[str]], None] = lambda _: None,
        listen: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self.store, self.makers, self.slots, self.seed = store, list(makers), list(slots), seed
        self.tell, self.listen = tell, listen
        self.state = State(planned=len(self.slots))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="likely-make", daemon=True)

    def start(self) -> None:
        """Begin, in the background."""
        self._thread.start()

    def stop(self) -> None:
        """End after what is being made."""
        self._stop.set()

    def wait(self, seconds: float | None = None) -> None:
        """Until all is made, or it failed."""
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            self.work()
        except LikelyError as error:
            self._fail(str(error))
        except Exception as error:  # a thread that ends silently would leave people waiting
            log.error("making candidates failed", exc_info=error)
            self._fail(f"Making candidates failed: {type(error).__name__}: {str(error)[:200]}")

    def _fail(self, message: str) -> None:
        self.state.error, self.state.stage = message, "failed"
        self.listen(message)

    def work(self) -> None:
        """Make what is missing. Raises LikelyError."""
        wanted = dict.fromkeys(slot.item for slot in self.slots)
        there = {line.item: line for line in self.store.outlines(wanted)}
        todo = [slot for slot in self.slots if self._missing(slot, there.get(slot.item))]
        self.state.made = len(self.slots) - len(todo)
        if todo:
            self.state.stage = "loading"
            for maker in self.makers:
                self.listen(f"Loading {maker.name} ...")
                maker.model  # noqa: B018  (it loads)
                if self._stop.is_set():
                    return
        self.state.stage = "making"
        at = 0
        while at < len(todo) and not self._stop.is_set():
            part = todo[at : at + (TOGETHER if at else 1)]  # the first pair soon, then several together
            self._make(part, there)
            at += len(part)
            self.state.made += len(part)
        if not self._stop.is_set():
            self.state.stage = "done"
            if self.state.equal:
                self.listen(f"{self.state.equal} pairs were left out: their outputs stayed equal after {TRIES} tries.")

    def _missing(self, slot: Slot, there: Outline | None) -> list[tuple[int, int]]:
        """What of a slot was not made yet."""
        if there is None:
            return list(slot.needs)
        known = {(one.artifact, one.seed, fields.canonical(one.parameters)) for one in there.candidates}
        missing = []
        for place, number in slot.needs:
            maker = self.makers[place]
            keys = ((maker.artifact, seed_of(self.seed, slot.item, number, k), fields.canonical(maker.parameters))
                    for k in range(TRIES))  # fmt: skip
            if not any(key in known for key in keys):
                missing.append((place, number))
        return missing

    def _make(self, slots: Sequence[Slot], there: dict[str, Outline]) -> None:
        found: list[dict[tuple[int, int], Candidate]] = [{} for _ in slots]
        old = [{one.sha256 for one in there[slot.item].candidates} if slot.item in there else set() for slot in slots]
        missing = [self._missing(slot, there.get(slot.item)) for slot in slots]
        for attempt in range(TRIES):
            before = [_bad(made, needs, hashes) for made, needs, hashes in zip(found, missing, old, strict=True)]
            if not any(before):
                break
            for place, maker in enumerate(self.makers):
                rows = [k for k, bad in enumerate(before) if any(need[0] == place for need in bad)]
                needs = [[need for need in before[k] if need[0] == place] for k in rows]
                asked = [
                    Wanted(slots[k].prompt, tuple(seed_of(self.seed, slots[k].item, n, attempt) for _, n in some))
                    for k, some in zip(rows, needs, strict=True)
                ]
                if not asked:
                    continue
                for k, some, candidates in zip(rows, needs, maker.make(asked), strict=True):
                    found[k].update(zip(some, candidates, strict=True))
        items = []
        for slot, made, hashes in zip(slots, found, old, strict=True):
            self.state.equal += len({one.sha256 for one in made.values()} | hashes) < 2
            whole = {one.id: one for one in made.values()}
            if slot.item in there:
                whole = {one.id: one for one in self.store.items([slot.item])[0].candidates} | whole
            if len(whole) > 1:
                items.append(Item(slot.item, slot.prompt, tuple(whole.values())))
        self.store.add_items(items)
        there.update({line.item: line for line in self.store.outlines([item.id for item in items])})
        self.tell([item.id for item in items])


def _bad(made: dict[tuple[int, int], Candidate], missing: Sequence[tuple[int, int]], old: set[str]) -> list[Any]:
    """What is to be made, or, being equal to an earlier one, made again."""
    seen, bad = set(old), []
    for need in missing:
        one = made.get(need)
        if one is None or one.sha256 in seen:
            bad.append(need)
        else:
            seen.add(one.sha256)
    return bad
