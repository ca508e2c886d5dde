"""Who is asked what next, and what they answer: the rules of ranking, without a page.

Every annotator has a *seat*: what they said, and what lies before them (a showing of a couple, couples.py).

    next      1. what was taken back, again       2. sometimes an earlier couple once more, half of the time with the
              sides exchanged (`repeats`)         3. an open couple: mostly the one a reward is least sure of, else
              what others have judged, else the first in an order drawn from the seed, alike for all annotators
    side      drawn for each showing from the seed, and kept in the judgement (`shown`)

An answer is on the disk when `answer` returns. All state but what lies on the table is read from the store.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from likely.align import fields
from likely.align.preference import CHOICES, Candidate, Comparison, Item
from likely.errors import DataError, LikelyError, OptionError
from likely.server.rank.choosing import Guide
from likely.server.rank.couples import Couple, Showing, couple_of, couples_of, id_of
from likely.server.store import Outline, Store

APART = 5  # judgements between a couple and its repeat, at least
HELD = 64  # items whose content is kept in memory
UNHEARD = ("audio", "video")


class Answered(LikelyError):
    """The couple was answered before, in another tab or by an earlier click, and not in the same way."""


class Stale(LikelyError):
    """Nothing of that id lies before this annotator."""


class Unplayed(LikelyError):
    """A choice between sounds that were not heard."""


class Count(NamedTuple):
    """How far an annotator is; repeats are not counted. `last`: what undo takes back."""

    done: int
    goal: int
    over: bool
    last: str | None


@dataclass(frozen=True)
class Rules:
    """`pairs`: each annotator's goal, None = all. `repeats`: share of showings that repeat. `votes`: annotators that
    see a couple at most, 0 = all of them. `guided`: share of choices that follow the reward, once there is one."""

    seed: int = 0
    pairs: int | None = None
    repeats: float = 0.1
    votes: int = 0
    guided: float = 0.7
    criteria: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.pairs is not None and self.pairs < 1:
            raise OptionError(f"--pairs {self.pairs}: give a whole number from 1 on.")
        if not 0 <= self.repeats <= 0.5:
            raise OptionError(f"--repeats {self.repeats:g}: a share from 0 to 0.5 is wanted, such as 0.1.")
        if self.votes < 0:
            raise OptionError(f"--votes {self.votes}: give 0 (all annotators) or more.")
        if len(self.criteria) > 8 or len(set(self.criteria)) < len(self.criteria):
            raise OptionError("--criteria: give up to 8 different names, such as helpful,true")
        for name in self.criteria:
            fields.text(name, "A criterion", empty=False, limit=60)


@dataclass
class Seat:
    """One annotator: rows by id in order, undone ids, what lies on the table, the answer that is being stored."""

    name: str
    rows: dict[str, Comparison] = field(default_factory=dict)
    undone: set[str] = field(default_factory=set)
    table: Showing | None = None
    tried: Comparison | None = None
    lock: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def active(self) -> list[Comparison]:
        """What stands, in order."""
        return [one for one in self.rows.values() if one.undoes is None and one.id not in self.undone]

    def take(self, one: Comparison) -> None:
        """A row that is in the store."""
        self.rows[one.id] = one
        if one.undoes:
            self.undone.add(one.undoes)


class Session:
    """All annotators of one store. `guide`: says which couples are worth asking. `scope`: items that are asked about,
    None = all that are there; `grow` adds to them."""

    def __init__(
        self,
        store: Store,
        rules: Rules | None = None,
        *,
        guide: Guide | None = None,
        scope: Iterable[str] | None = None,
    ) -> None:
        self.store, self.rules, self.guide = store, rules or Rules(), guide
        self.outlines: dict[str, Outline] = {}
        self.couples: dict[Couple, float] = {}  # with the draws that order them
        self.seats: dict[str, Seat] = {}
        self.more = False  # candidates are still being made
        self._contents: OrderedDict[str, Item] = OrderedDict()
        self._last, self._lock = 0, threading.RLock()
        self.grow(scope)
        self.read()

    # -------------------------------------------------------------------------------------------- what is there

    def grow(self, items: Iterable[str] | None) -> None:
        """Items that are new, or have more candidates; None = all of the store."""
        found = self.store.outlines(items)
        with self._lock:
            for line in found:
                self.outlines[line.item] = line
                self._contents.pop(line.item, None)
                for couple in couples_of(line):
                    if couple not in self.couples:
                        self.couples[couple] = self._draw("order", *couple)
            self.couples = dict(sorted(self.couples.items(), key=lambda one: one[1]))
        self._consider()

    def _consider(self) -> None:
        """Let the guide learn, where it is time to."""
        if self.guide is not None:
            with self._lock:
                decided = sum(one.choice in ("left", "right") for seat in self.seats.values() for one in seat.active())
                self.guide.consider(decided, list(self.outlines))

    def read(self) -> None:
        """Judgements that others stored since."""
        with self._lock:
            while (page := self.store.page(self._last)).comparisons:
                for one in page.comparisons:
                    self.seat(one.annotator).take(one)
                self._last = page.last

    def seat(self, annotator: str) -> Seat:
        """The seat of an annotator; a new one where there was none."""
        with self._lock:
            if annotator not in self.seats:
                fields.text(annotator, "The name of an annotator", empty=False)
                self.seats[annotator] = Seat(annotator)
            return self.seats[annotator]

    def item(self, name: str) -> Item:
        """An item with its content."""
        with self._lock:
            if name in self._contents:
                self._contents.move_to_end(name)
                return self._contents[name]
        found = self.store.items([name])[0]
        with self._lock:
            self._contents[name] = found
            while len(self._contents) > HELD:
                self._contents.popitem(last=False)
        return found

    def candidates(self, showing: Showing) -> tuple[Candidate, Candidate]:
        """Left and right."""
        by_id = self.item(showing.couple.item).by_id
        return by_id[showing.shown[0]], by_id[showing.shown[1]]

    # -------------------------------------------------------------------------------------------- asking

    def next(self, annotator: str) -> Showing | None:
        """What lies before them, else what comes next; None where nothing is open."""
        seat = self.seat(annotator)
        if seat.table is None:
            self.read()
        with seat.lock, self._lock:
            if seat.table is None and not self.count(annotator).over:
                seat.table = self._again(seat) or self._open(seat)
            return seat.table

    def count(self, annotator: str) -> Count:
        """How far they are."""
        seat = self.seat(annotator)
        with self._lock:
            active = [one for one in seat.active() if couple_of(one) in self.couples]
            done, limit = sum(one.repeats is None for one in active), self.rules.pairs
            there = done + len(self._candidates(seat, active))
            goal = there if limit is None else limit
            goal = max(done, goal if self.more else min(goal, there))
            over = done >= goal and (not self.more or limit is not None)
            return Count(done, goal, over, active[-1].id if active else None)

    def _candidates(self, seat: Seat, active: Sequence[Comparison]) -> list[Couple]:
        """Couples that may be shown to them, in the order of the seed."""
        mine = {couple_of(one) for one in active}
        found = [one for one in self.couples if one not in mine]
        if not self.rules.votes or not found:
            return found
        votes = self._votes()
        return [one for one in found if len(votes[one] - {seat.name}) < self.rules.votes]

    def _votes(self) -> dict[Couple, set[str]]:
        votes: dict[Couple, set[str]] = defaultdict(set)
        for seat in self.seats.values():
            if seat.table is not None and seat.table.repeats is None:
                votes[seat.table.couple].add(seat.name)
            for one in seat.active():
                votes[couple_of(one)].add(seat.name)
        return votes

    def _open(self, seat: Seat) -> Showing | None:
        active = seat.active()
        found = self._candidates(seat, active)
        if not found:
            return None
        if self.guide is not None and self._draw("guided", seat.name, len(seat.rows)) < self.rules.guided:
            worth = self.guide.worth(found)
            if worth:
                return self._showing(seat, max(found, key=lambda one: worth.get(one, 0.0)), None)
        times: dict[str, int] = defaultdict(int)
        for one in active:
            times[one.item] += 1
        others = {couple for couple, who in self._votes().items() if who - {seat.name}}
        best = min(found, key=lambda one: (times[one.item], one not in others))  # min takes the first of equals
        return self._showing(seat, best, None)

    def _again(self, seat: Seat) -> Showing | None:
        """An earlier couple once more, now and then."""
        if self._draw("again", seat.name, len(seat.rows)) >= self.rules.repeats:
            return None
        old = self._repeatable(seat)
        if not old:
            return None
        one = old[int(self._draw("which", seat.name, len(seat.rows)) * len(old))]
        swap = self._draw("swap", seat.name, len(seat.rows)) < 0.5
        left, right = one.shown[:2]
        return self._showing(seat, couple_of(one), one.id, (right, left) if swap else (left, right))

    def _repeatable(self, seat: Seat) -> list[Comparison]:
        active = seat.active()
        gone = {one.repeats for one in active if one.repeats}
        return [
            one for one in active[: max(0, len(active) - APART)]
            if one.repeats is None and one.id not in gone and one.choice in ("left", "right", "tie", "bad")
            and len(one.shown) == 2 and couple_of(one) in self.couples
        ]  # fmt: skip

    def _showing(
        self, seat: Seat, couple: Couple, repeats: str | None, shown: tuple[str, str] | None = None
    ) -> Showing:
        turn = self._turn(seat, couple)
        if shown is None:
            swap = self._draw("side", seat.name, *couple, turn) < 0.5
            shown = (couple.second, couple.first) if swap else (couple.first, couple.second)
        return Showing(id_of(seat.name, couple.item, shown, repeats, turn), couple, shown, repeats)

    def _turn(self, seat: Seat, couple: Couple) -> int:
        """How often they judged it, undone ones included."""
        return sum(one.undoes is None and couple_of(one) == couple for one in seat.rows.values())

    def _draw(self, *what: Any) -> float:
        """In [0, 1), from the seed."""
        digest = hashlib.sha256(fields.canonical([self.rules.seed, *what]).encode()).digest()
        return int.from_bytes(digest[:7]) / 2**56

    # -------------------------------------------------------------------------------------------- answering

    def answer(
        self, annotator: str, id: str, choice: str, *, strength: int = 0, criteria: Mapping[str, str] | None = None,
        reason: str = "", seconds: float | None = None, flags: Sequence[str] = (),
    ) -> Comparison:  # fmt: skip
        """Keep a judgement; on the disk when it returns. The same again is acknowledged, and kept once.

        Raises Answered where it was answered otherwise, Stale where nothing of that id is asked, Unplayed, DataError
        for what is no answer, StorageError where it could not be kept: give it again.
        """
        seat = self.seat(annotator)
        with seat.lock:
            if id in seat.rows:
                return _equal(seat.rows[id], choice)
            showing = seat.table if seat.table is not None and seat.table.id == id else self._recover(seat, id)
            if choice not in CHOICES:
                raise DataError(f"A choice is one of {', '.join(CHOICES)}, not {fields.shown(choice)}.")
            self._heard(showing, choice, flags)
            made = Comparison(
                showing.couple.item, showing.shown, annotator, choice, strength=strength, criteria=criteria or {},
                reason=reason, seconds=seconds, flags=tuple(flags), repeats=showing.repeats, id=id,
            )  # fmt: skip
            if seat.tried is not None and seat.tried.id == id and seat.tried.choice == choice:
                made = seat.tried  # perhaps it arrived, and only the word of it did not
            seat.tried = made
            try:
                self.store.add(made)
            except DataError:
                self.read()  # another process, or an earlier run, was first
                if id not in seat.rows:
                    raise
                return _equal(seat.rows[id], choice)
            with self._lock:
                seat.take(made)
                seat.table = seat.tried = None
        self._consider()
        return made

    def undo(self, annotator: str, id: str) -> Comparison:
        """Take a judgement back; its couple lies before them again. Twice is once. Raises Stale, StorageError."""
        seat = self.seat(annotator)
        with seat.lock:
            one = seat.rows.get(id)
            if one is None or one.undoes is not None:
                raise Stale("There is nothing to take back.")
            if id in seat.undone:
                return next(row for row in seat.rows.values() if row.undoes == id)
            row = self.store.undo(id, annotator)
            with self._lock:
                seat.take(row)
                seat.tried = None
                if len(one.shown) == 2 and couple_of(one) in self.couples:
                    repeats = one.repeats if one.repeats not in seat.undone else None
                    seat.table = self._showing(seat, couple_of(one), repeats, (one.shown[0], one.shown[1]))
            return row

    def showing(self, annotator: str, id: str) -> Showing:
        """What lies before them, if it is that. Raises Stale."""
        seat = self.seat(annotator)
        with seat.lock:
            return seat.table if seat.table is not None and seat.table.id == id else self._recover(seat, id)

    def _recover(self, seat: Seat, id: str) -> Showing:
        """What was asked before a restart, or in another tab: found again by its id. Raises Stale."""
        with self._lock:
            first = {couple_of(one): one.id for one in seat.active() if one.repeats is None}
            turns = Counter(couple_of(one) for one in seat.rows.values() if one.undoes is None)
            for couple in self.couples:
                for shown in ((couple.first, couple.second), (couple.second, couple.first)):
                    for repeats in (None, first.get(couple)):
                        if id_of(seat.name, couple.item, shown, repeats, turns[couple]) == id:
                            return Showing(id, couple, shown, repeats)
        raise Stale("This pair is not asked any more. Here is the one that is.")

    def _heard(self, showing: Showing, choice: str, flags: Sequence[str]) -> None:
        line = self.outlines[showing.couple.item]
        media = {one.media.partition("/")[0] for one in line.candidates if one.id in showing.shown}
        if choice != "skip" and media & set(UNHEARD) and "played" not in flags and "terminal" not in flags:
            raise Unplayed("Play both before you choose (space), or skip this pair (s).")


def _equal(there: Comparison, choice: str) -> Comparison:
    if there.choice == choice:
        return there
    raise Answered(f"This pair was answered already: {there.choice}. To change it: undo (u).")
