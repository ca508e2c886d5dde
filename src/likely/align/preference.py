"""What people prefer: items, candidates, judgements of them.

An *item* is a prompt (or none) with K >= 2 *candidates*: outputs of any media type, each with what made it (model,
hash of the artifact, seed, parameters). A *comparison* is one judgement: which candidates were shown in which order,
to whom, what was said. For two candidates that is left, right, tie, bad (both) or skip; for more a ranking, groups
of equal rank, best first. Nothing is ever changed: to take a judgement back is a new row that names it (`undoes`).

A candidate's id is the SHA-256 of all it consists of, so equal outputs of two models are two candidates, and their
content is kept once. A showing that repeats an earlier one (`repeats`) measures how far a person agrees with
themselves; as evidence, all showings of one chain weigh together as much as one.

A ranking of K candidates gives its K(K-1)/2 pairs, each of weight 2/(K(K-1)) and of one group: they are one judgement
and must stay in one batch (Ouyang et al. 2022, arXiv:2203.02155, section 3.5, for why).
"""

from __future__ import annotations

import hashlib
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Any, Literal, NamedTuple, Self

from likely.align import fields
from likely.errors import DataError, OptionError

CONTENT_BYTES = 256 * 2**20  # of one candidate
CANDIDATES = 64  # of one item
CHOICES = ("left", "right", "tie", "bad", "skip")
Outcome = Literal["left", "right", "tie"]


@dataclass(frozen=True)
class Candidate:
    """One output. `content` is bytes of the media type `media`, such as "text/plain", "image/png", "audio/wav".

    `model` is a name or a path, `artifact` the hash of its file, `seed` in [0, 2^63), `parameters` any JSON object.
    Raises DataError for anything else.
    """

    content: bytes
    media: str = "text/plain"
    model: str = ""
    artifact: str = ""
    seed: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if not isinstance(self.content, bytes):
            raise DataError(f"A candidate's content is {fields.shown(self.content)}; it must be bytes "
                            "(for a text: Candidate.text(...)).")  # fmt: skip
        if len(self.content) > CONTENT_BYTES:
            raise DataError(f"A candidate has {len(self.content)} bytes; at most {CONTENT_BYTES} are kept.")
        fields.text(self.media, "A candidate's media type", empty=False)
        if self.media.count("/") != 1:
            raise DataError(f"{fields.shown(self.media)} is no media type; write one like text/plain or image/png.")
        fields.text(self.model, "A candidate's model", limit=4096)
        fields.text(self.artifact, "A candidate's artifact hash")
        if self.seed is not None:
            fields.whole(self.seed, "A candidate's seed", 0, 2**63 - 1)
        if not isinstance(self.parameters, Mapping):
            raise DataError(
                f"A candidate's parameters are {fields.shown(self.parameters)}; they must be a JSON object."
            )
        object.__setattr__(self, "parameters", fields.plain(self.parameters, "A candidate's parameters"))

    @classmethod
    def text(cls, words: str, **about: Any) -> Self:
        """A candidate of plain text; `about` are the other fields."""
        if not isinstance(words, str):
            raise DataError(f"A text candidate is {fields.shown(words)}; it must be text.")
        try:
            return cls(words.encode(), **about)
        except UnicodeEncodeError as error:
            raise DataError("A candidate holds half a surrogate pair, which is no character of UTF-8.") from error

    @cached_property
    def sha256(self) -> str:
        """The hash of the content, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def id(self) -> str:
        """The hash of content and origin together."""
        about = [self.sha256, self.media, self.model, self.artifact, self.seed, self.parameters]
        return hashlib.sha256(fields.canonical(about).encode()).hexdigest()

    def words(self) -> str:
        """The content as text. Raises DataError where it is none."""
        if not (self.media.startswith("text/") or self.media == "application/json"):
            raise DataError(f"A candidate of {self.media} is no text.")
        try:
            return self.content.decode()
        except UnicodeDecodeError as error:
            raise DataError(f"A candidate of {self.media} is not valid UTF-8 at byte {error.start}.") from error


@dataclass(frozen=True)
class Item:
    """What is judged: a prompt (text, any JSON, or None) and two or more different candidates."""

    id: str
    prompt: Any = field(hash=False)
    candidates: tuple[Candidate, ...]

    def __post_init__(self) -> None:
        fields.text(self.id, "An item's id", empty=False)
        object.__setattr__(self, "prompt", fields.plain(self.prompt, f"The prompt of item {self.id!r}"))
        object.__setattr__(self, "candidates", tuple(self.candidates))
        if not 2 <= len(self.candidates) <= CANDIDATES:
            raise DataError(f"Item {self.id!r} has {len(self.candidates)} candidates; it needs 2 to {CANDIDATES}.")
        for one in self.candidates:
            if not isinstance(one, Candidate):
                raise DataError(f"Item {self.id!r} has a candidate {fields.shown(one)}; wanted a Candidate.")
        if len(self.by_id) != len(self.candidates):
            raise DataError(f"Item {self.id!r} has the same candidate twice (content, model, seed and all).")

    @cached_property
    def by_id(self) -> dict[str, Candidate]:
        """The candidates by their ids, in order."""
        return {one.id: one for one in self.candidates}


@dataclass(frozen=True)
class Comparison:
    """One judgement of `item` by `annotator`.

    `shown`: ids of the candidates in the order shown, the first stood left. `choice`: left, right, tie, bad (both) or
    skip for two; for more "ranking" (or bad, skip) with `ranking`, groups of places in `shown` of equal rank, best
    first: ((2,), (0, 1)). `strength` 0 (unsaid) to 3. `criteria`: name -> choice. `seconds` taken; `flags` such as
    "viewed", "played"; "unordered" where the sides are not known. `time`: ISO 8601 in UTC, "" = unknown.
    `repeats`, `undoes`: the id of the comparison that this one shows again, or takes back. Raises DataError.
    """

    item: str
    shown: tuple[str, ...]
    annotator: str
    choice: str
    ranking: tuple[tuple[int, ...], ...] = ()
    strength: int = 0
    criteria: Mapping[str, str] = field(default_factory=dict, hash=False)
    reason: str = ""
    seconds: float | None = None
    flags: tuple[str, ...] = ()
    time: str = field(default_factory=fields.now)
    repeats: str | None = None
    undoes: str | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)

    def __post_init__(self) -> None:
        fields.text(self.id, "A comparison's id", empty=False)
        where = f"of comparison {self.id!r}"
        fields.text(self.item, f"The item {where}", empty=False)
        fields.text(self.annotator, f"The annotator {where}", empty=False)
        fields.text(self.reason, f"The reason {where}", limit=fields.REASON)
        for name in ("repeats", "undoes"):
            if getattr(self, name) is not None:
                fields.text(getattr(self, name), f"`{name}` {where}", empty=False)
        object.__setattr__(self, "time", fields.moment(self.time, f"The time {where}"))
        fields.whole(self.strength, f"The strength {where}", 0, 3)
        if self.seconds is not None:
            if type(self.seconds) not in (int, float) or not 0 <= self.seconds < 1e9:
                raise DataError(f"The seconds {where} are {fields.shown(self.seconds)}; wanted a number >= 0 or None.")
            object.__setattr__(self, "seconds", float(self.seconds))
        object.__setattr__(self, "flags", _texts(self.flags, f"The flags {where}"))
        object.__setattr__(self, "shown", _texts(self.shown, f"The candidates {where}"))
        self._check_criteria(where)
        self._check_choice(where)

    def _check_criteria(self, where: str) -> None:
        if not isinstance(self.criteria, Mapping) or len(self.criteria) > 64:
            raise DataError(f"The criteria {where} are {fields.shown(self.criteria)}; wanted up to 64: name -> choice.")
        for name, choice in self.criteria.items():
            fields.text(name, f"A criterion {where}", empty=False)
            if choice not in CHOICES:
                raise DataError(f"Criterion {name!r} {where} is {fields.shown(choice)}; wanted {', '.join(CHOICES)}.")
        object.__setattr__(self, "criteria", dict(self.criteria))

    def _check_choice(self, where: str) -> None:
        if self.undoes is not None:
            if self.choice != "undo" or self.shown or self.ranking or self.repeats is not None:
                raise DataError(f"The choice {where} is {fields.shown(self.choice)}, but it undoes {self.undoes!r}: "
                                "an undo shows nothing and its choice is 'undo'.")  # fmt: skip
            return
        if not 2 <= len(self.shown) <= CANDIDATES or len(set(self.shown)) != len(self.shown):
            raise DataError(
                f"{len(self.shown)} candidates were shown {where}; wanted 2 to {CANDIDATES} different ones."
            )
        known = CHOICES if len(self.shown) == 2 else ("ranking", "bad", "skip")
        if self.choice not in known:
            raise DataError(f"The choice {where} is {fields.shown(self.choice)}; with {len(self.shown)} candidates it "
                            f"is one of {', '.join(known)}.")  # fmt: skip
        try:
            groups = tuple(tuple(group) for group in self.ranking)
        except TypeError as error:
            raise DataError(f"The ranking {where} is {fields.shown(self.ranking)}; wanted groups of places.") from error
        object.__setattr__(self, "ranking", groups)
        places = [place for group in groups for place in group]
        wanted = range(len(self.shown)) if self.choice == "ranking" else range(0)
        if any(type(place) is not int for place in places) or sorted(places) != list(wanted) or not all(groups):
            raise DataError(
                f"The ranking {where} is {fields.shown(groups)}; wanted groups that hold each place from 0 to "
                f"{len(self.shown) - 1} once, such as ((2,), (0, 1))." if self.choice == "ranking" else
                f"The choice {where} is {self.choice!r}, so it has no ranking, but {fields.shown(groups)} was given."
            )  # fmt: skip

    def taken_back(self, time: str | None = None) -> Comparison:
        """The row that undoes this one; always the same id, so that two of them are one."""
        return Comparison(
            self.item, (), self.annotator, "undo", undoes=self.id, time=fields.now() if time is None else time,
            id=uuid.uuid5(uuid.NAMESPACE_OID, f"undo {self.id}").hex,
        )  # fmt: skip

    def outcomes(self) -> list[tuple[str, str, Outcome]]:
        """Pairs (left id, right id, outcome) that were said; none for bad, skip and undo."""
        if self.choice in ("left", "right", "tie"):
            return [(self.shown[0], self.shown[1], self.choice)]  # type: ignore[list-item]
        rank = {place: k for k, group in enumerate(self.ranking) for place in group}
        return [
            (self.shown[a], self.shown[b], "tie" if rank[a] == rank[b] else "left" if rank[a] < rank[b] else "right")
            for a, b in combinations(sorted(rank), 2)
        ]


class Pair(NamedTuple):
    """A judged pair. `group`: the comparison it comes from, whose pairs weigh together 1 (less with repeats)."""

    item: str
    prompt: Any
    left: Candidate
    right: Candidate
    outcome: Outcome
    strength: int
    annotator: str
    weight: float
    group: str


@dataclass(frozen=True)
class Judgements:
    """Items and comparisons of them, checked as a whole. `notes`: what a reader of a file has to know about it.

    Raises DataError for an unknown item or candidate, an id used twice, a comparison that repeats or undoes what is
    not there.
    """

    items: tuple[Item, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __post_init__(self) -> None:
        for name in ("items", "comparisons", "notes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.by_item) != len(self.items):
            twice = next(name for name, n in Counter(item.id for item in self.items).items() if n > 1)
            raise DataError(f"Two items have the id {twice!r}; every item needs its own.")
        seen: dict[str, Comparison] = {}
        for row, one in enumerate(self.comparisons):
            where = f"Comparison {row} ({one.id!r})"
            if one.id in seen:
                raise DataError(f"{where} has the id of an earlier one; every comparison needs its own.")
            if one.item not in self.by_item:
                raise DataError(f"{where} is about item {one.item!r}, which is not among the {len(self.items)} items.")
            known = self.by_item[one.item].by_id
            for candidate in one.shown:
                if candidate not in known:
                    raise DataError(f"{where} shows candidate {candidate!r}, which item {one.item!r} does not have; "
                                    f"it has {', '.join(name[:12] for name in known)}.")  # fmt: skip
            check_link(one, seen)
            seen[one.id] = one

    @cached_property
    def by_item(self) -> dict[str, Item]:
        """Items by id."""
        return {item.id: item for item in self.items}

    def __len__(self) -> int:
        return len(self.comparisons)

    def active(self) -> tuple[Comparison, ...]:
        """The comparisons that stand: neither undone nor an undo."""
        gone = {one.undoes for one in self.comparisons if one.undoes}
        return tuple(one for one in self.comparisons if one.undoes is None and one.id not in gone)

    def pairs(self) -> list[Pair]:
        """Every judged pair; both bad and skip are none: see `counts`."""
        active = self.active()
        first: dict[str, str] = {}  # comparison -> the first showing of its chain
        for one in self.comparisons:
            first[one.id] = first[one.repeats] if one.repeats else one.id
        showings = Counter(first[one.id] for one in active if one.outcomes())
        made = []
        for one in active:
            item, said = self.by_item[one.item], one.outcomes()
            for left, right, outcome in said:
                made.append(Pair(
                    item.id, item.prompt, item.by_id[left], item.by_id[right], outcome, one.strength, one.annotator,
                    1.0 / (len(said) * showings[first[one.id]]), one.id,
                ))  # fmt: skip
        return made

    def counts(self) -> dict[str, int]:
        """How many there are of what."""
        active = self.active()
        outcomes = Counter(outcome for one in active for _, _, outcome in one.outcomes())
        return {
            "items": len(self.items),
            "candidates": sum(len(item.candidates) for item in self.items),
            "comparisons": len(self.comparisons),
            "active": len(active),
            "undone": len(self.comparisons) - len(active) - sum(one.undoes is not None for one in self.comparisons),
            "annotators": len({one.annotator for one in active}),
            "pairs": sum(outcomes.values()),
            "ties": outcomes["tie"],
            "bad": sum(one.choice == "bad" for one in active),
            "skip": sum(one.choice == "skip" for one in active),
            "repeats": sum(one.repeats is not None for one in active),
        }

    def split(self, share: float, seed: int = 0) -> tuple[Judgements, Judgements]:
        """(the rest, about `share` of the items), whole items; an item's side depends on its id and the seed alone."""
        if not isinstance(share, int | float) or not 0 <= share <= 1:
            raise OptionError(f"share is {fields.shown(share)}; it must be from 0 to 1.")
        out = {item.id for item in self.items if _place(item.id, seed) < share}
        return self._only(lambda name: name not in out), self._only(lambda name: name in out)

    def _only(self, keep: Any) -> Judgements:
        items = tuple(item for item in self.items if keep(item.id))
        return Judgements(items, tuple(one for one in self.comparisons if keep(one.item)), self.notes)

    def merge(self, *others: Judgements) -> Judgements:
        """All together; what is in several is there once. Raises DataError where one id stands for two things.

        Items of one id and one prompt become one item with the candidates of all.
        """
        items, rows = dict(self.by_item), {one.id: one for one in self.comparisons}
        notes = dict.fromkeys(self.notes)
        for other in others:
            for item in other.items:
                items[item.id] = joined(items[item.id], item) if item.id in items else item
            for one in other.comparisons:
                if not same(rows.setdefault(one.id, one), one):
                    raise DataError(f"Two different comparisons have the id {one.id!r}; they cannot be merged.")
            notes |= dict.fromkeys(other.notes)
        return Judgements(tuple(items.values()), tuple(rows.values()), tuple(notes))


def check_link(one: Comparison, earlier: Mapping[str, Comparison]) -> None:
    """Raise DataError where a comparison repeats or undoes what it cannot."""
    for name, target in (("repeats", one.repeats), ("undoes", one.undoes)):
        if target is None:
            continue
        found = earlier.get(target)
        if found is None:
            raise DataError(f"Comparison {one.id!r} {name} {target!r}, which is not among the earlier ones.")
        if found.item != one.item or found.annotator != one.annotator:
            raise DataError(f"Comparison {one.id!r} {name} {target!r}, which is of another item or annotator.")
        if found.undoes is not None:
            raise DataError(f"Comparison {one.id!r} {name} {target!r}, which is an undo: judge again instead.")
        if name == "repeats" and set(found.shown) != set(one.shown):
            raise DataError(f"Comparison {one.id!r} repeats {target!r}, which showed other candidates.")


def same(one: Comparison, other: Comparison) -> bool:
    """Equal; of two undos of one comparison the time may differ."""
    return one == other or (one.undoes is not None and replace(one, time="") == replace(other, time=""))


def joined(one: Item, other: Item) -> Item:
    """One item with the candidates of both. Raises DataError where the prompts differ."""
    if one.prompt != other.prompt:
        raise DataError(f"Two items have the id {one.id!r} and different prompts; give one of them another id.")
    more = [candidate for name, candidate in other.by_id.items() if name not in one.by_id]
    return Item(one.id, one.prompt, (*one.candidates, *more)) if more else one


def item_of(prompt: Any, candidates: Iterable[Candidate]) -> Item:
    """An item whose id comes from its prompt: equal prompts are one item."""
    text = fields.canonical(fields.plain(prompt, "A prompt"))
    return Item(hashlib.sha256(text.encode()).hexdigest()[:32], prompt, tuple(candidates))


def _texts(values: Any, where: str) -> tuple[str, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise DataError(f"{where} are {fields.shown(values)}; wanted a list of texts.")
    made = tuple(values)
    if len(made) > CANDIDATES:
        raise DataError(f"{where} are {len(made)}; at most {CANDIDATES}.")
    return tuple(fields.text(value, where, empty=False) for value in made)


def _place(name: str, seed: int) -> float:
    return int.from_bytes(hashlib.sha256(f"{seed} {name}".encode()).digest()[:8]) / 2**64
