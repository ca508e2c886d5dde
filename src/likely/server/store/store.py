"""The store of judgements: add items and comparisons, take back, read all or page by page.

Everything has an id and can be given twice: what is there already, equal, is acknowledged and kept once; an id that
stands for something else is an error. So whoever is not sure whether a judgement arrived gives it again.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from likely.align.preference import CANDIDATES, Candidate, Comparison, Item, Judgements, check_link, joined, same
from likely.errors import DataError, OptionError
from likely.server.store.database import Database
from likely.server.store.schema import candidate, candidate_row, comparison, comparison_row

CHUNK = 500  # ids in one question
KNOWN = 100_000  # items whose candidates are remembered


class Page(NamedTuple):
    """Some comparisons in the order they were stored, and the number of the last: read on behind it."""

    comparisons: tuple[Comparison, ...]
    last: int


class Shelf(NamedTuple):
    """A prompt as JSON, ids of candidates in order."""

    prompt: str
    candidates: list[str]


class Sketch(NamedTuple):
    """A candidate without its content; `sha256` tells whether two have the same."""

    id: str
    sha256: str
    media: str
    model: str
    artifact: str
    seed: int | None
    parameters: dict[str, Any]


class Outline(NamedTuple):
    """An item without the content of its candidates."""

    item: str
    prompt: Any
    candidates: tuple[Sketch, ...]


class Store:
    """Judgements in a file, or in PostgreSQL: "judgements.db", "sqlite:///...", "postgresql://user:pw@host:port/db".

    A new one is made where there is none, unless `make` is False. Several threads and processes may use one database.
    `patience`: seconds to wait for one that is locked or out of reach. Methods that write return when the rows are on
    the disk, and raise StorageError where they are not, DataError where they cannot be right.
    """

    def __init__(self, place: str | Path, *, patience: float = 30.0, make: bool = True) -> None:
        self._database = Database(place, patience=patience, make=make)
        self._tables, self._sa = self._database.schema, self._database.sa
        self._known: dict[str, frozenset[str]] = {}  # item -> ids of its candidates, which are never taken away

    def __repr__(self) -> str:
        return f"Store({self._database.name})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._database.close()

    # ------------------------------------------------------------------------------------------------ writing

    def add_item(self, item: Item) -> None:
        """Keep an item. One of the same id and prompt gets the candidates it did not have."""
        self.add_items([item])

    def add_items(self, items: Iterable[Item]) -> None:
        """Keep items, all or none."""
        listed = list(items)
        if listed:
            what = f"item {listed[0].id!r}" if len(listed) == 1 else f"{len(listed)} items"
            self._database.write(lambda connection: self._put_items(connection, listed), what)

    def add(self, one: Comparison) -> None:
        """Keep a judgement."""
        self.add_all([one])

    def add_all(self, comparisons: Iterable[Comparison]) -> None:
        """Keep judgements, all or none."""
        listed = list(comparisons)
        if listed:
            what = f"judgement {listed[0].id!r}" if len(listed) == 1 else f"{len(listed)} judgements"
            self._database.write(lambda connection: self._put(connection, listed), what)

    def merge(self, judgements: Judgements) -> None:
        """Keep items and comparisons of others, all or none."""

        def work(connection: Any) -> None:
            self._put_items(connection, judgements.items)
            self._put(connection, judgements.comparisons)

        self._database.write(work, f"{len(judgements)} judgements and their items")

    def undo(self, id: str, annotator: str) -> Comparison:
        """Take a judgement back, by a new row, which is returned. Twice is once. Only its annotator may."""

        def work(connection: Any) -> Comparison:
            found = self._find(connection, [id]).get(id)
            if found is None:
                raise DataError(f"There is no judgement {id!r} to take back.")
            if found.annotator != annotator:
                raise DataError(f"Judgement {id!r} is of another annotator; {annotator!r} cannot take it back.")
            if found.undoes is not None:
                raise DataError(f"Judgement {id!r} is an undo itself: judge again instead.")
            row = found.taken_back()
            before = self._find(connection, [row.id]).get(row.id)
            if before is None:
                self._put(connection, [row])
            return before or row

        return self._database.write(work, f"the undo of judgement {id!r}")

    def _put_items(self, connection: Any, items: Sequence[Item]) -> None:
        tables, dialect = self._tables, self._database.dialect
        merged: dict[str, Item] = {}
        for item in items:
            merged[item.id] = joined(merged[item.id], item) if item.id in merged else item
        there = self._shelves(connection, list(merged))
        for item in merged.values():
            before = there.get(item.id)
            if before is not None and json.loads(before.prompt) != item.prompt:
                raise DataError(f"The store has another item {item.id!r}, with a different prompt: give this one an id "
                                "of its own.")  # fmt: skip
            kept = before.candidates if before else []
            new = [one for name, one in item.by_id.items() if name not in kept]
            if len(kept) + len(new) > CANDIDATES:
                raise DataError(f"Item {item.id!r} would have {len(kept) + len(new)} candidates; at most {CANDIDATES}.")
            if before is None:
                connection.execute(tables.item.insert(), {"id": item.id, "prompt": json.dumps(item.prompt)})
            for place, one in enumerate(new, len(kept)):
                blob = {"sha256": one.sha256, "content": one.content}
                connection.execute(tables.insert_new(dialect, tables.blob, "sha256"), blob)
                connection.execute(tables.insert_new(dialect, tables.candidate), candidate_row(one))
                connection.execute(tables.shelf.insert(), {"item": item.id, "place": place, "candidate": one.id})

    def _shelves(self, connection: Any, ids: Sequence[str]) -> dict[str, Shelf]:
        """What is there of these items, without content."""
        item, shelf = self._tables.item.c, self._tables.shelf.c
        query = (
            self._sa.select(item.id, item.prompt, shelf.candidate).where(shelf.item == item.id).order_by(shelf.place)
        )
        found: dict[str, Shelf] = {}
        for some in _chunks(ids):
            for row in connection.execute(query.where(item.id.in_(some))):
                found.setdefault(row.id, Shelf(row.prompt, [])).candidates.append(row.candidate)
        return found

    def _put(self, connection: Any, listed: Sequence[Comparison]) -> None:
        linked = {name for one in listed for name in (one.repeats, one.undoes) if name}
        earlier = self._find(connection, sorted(linked))
        known = self._known
        self._learn(
            connection,
            {one.item for one in listed if one.item not in known or not known[one.item].issuperset(one.shown)},
        )
        insert = self._tables.insert_new(self._database.dialect, self._tables.comparison)
        for one in listed:
            if one.item not in known:
                raise DataError(f"Judgement {one.id!r} is about item {one.item!r}, which is not in the store: "
                                "add it first.")  # fmt: skip
            if foreign := set(one.shown) - known[one.item]:
                raise DataError(f"Judgement {one.id!r} shows candidate {min(foreign)!r}, which item {one.item!r} "
                                "does not have.")  # fmt: skip
            check_link(one, earlier)
            if connection.execute(insert, comparison_row(one)).rowcount != 1:
                there = self._find(connection, [one.id])[one.id]
                if not same(there, one):
                    fields = [name for name in vars(one) if getattr(there, name) != getattr(one, name)]
                    raise DataError(f"There is another judgement {one.id!r} already; they differ in "
                                    f"{', '.join(fields)}. Give the new one an id of its own.")  # fmt: skip
            earlier[one.id] = one

    def _learn(self, connection: Any, items: set[str]) -> None:
        """Remember which candidates items have. What another process added since is asked for again."""
        if len(self._known) > KNOWN:
            self._known.clear()
        for name, found in self._shelves(connection, sorted(items)).items():
            self._known[name] = frozenset(found.candidates)

    # ------------------------------------------------------------------------------------------------ reading

    def judgements(self) -> Judgements:
        """All of it, as it stands at one moment."""

        def work(connection: Any) -> Judgements:
            table = self._tables.comparison
            rows = connection.execute(self._sa.select(table).order_by(table.c.number))
            return Judgements(tuple(self._items(connection, None).values()), tuple(comparison(row) for row in rows))

        return self._database.read_one_state(work, "all judgements")

    def items(self, ids: Iterable[str] | None = None) -> list[Item]:
        """Items in the order asked for, or all in the order of their ids. Raises DataError for an unknown one."""
        wanted = None if ids is None else list(ids)
        found = self._database.read(lambda connection: self._items(connection, wanted), "items")
        if wanted is None:
            return list(found.values())
        for name in wanted:
            if name not in found:
                raise DataError(f"There is no item {name!r} in the store.")
        return [found[name] for name in wanted]

    def outlines(self, ids: Iterable[str] | None = None) -> list[Outline]:
        """Items without the content of their candidates, in the order of their ids; None = all."""
        tables, sa, wanted = self._tables, self._sa, None if ids is None else list(ids)
        item, shelf, kept = tables.item.c, tables.shelf.c, tables.candidate.c
        query = (
            sa.select(item.id.label("item"), item.prompt, tables.candidate)
            .join(tables.shelf, shelf.item == item.id)
            .join(tables.candidate, kept.id == shelf.candidate)
            .order_by(item.id, shelf.place)
        )

        def work(connection: Any) -> list[Outline]:
            prompts: dict[str, Any] = {}
            found: dict[str, list[Sketch]] = defaultdict(list)
            for some in [None] if wanted is None else _chunks(wanted):
                for row in connection.execute(query if some is None else query.where(item.id.in_(some))):
                    prompts[row.item] = row.prompt
                    found[row.item].append(Sketch(row.id, row.blob, row.media, row.model, row.artifact, row.seed,
                                                  json.loads(row.parameters)))  # fmt: skip
            return [Outline(name, json.loads(prompts[name]), tuple(found[name])) for name in sorted(prompts)]

        return self._database.read(work, "items")

    def item_ids(self) -> list[str]:
        """The ids of all items, sorted."""
        query = self._sa.select(self._tables.item.c.id)
        return self._database.read(lambda connection: sorted(connection.execute(query).scalars()), "items")

    def page(self, after: int = 0, size: int = 1000) -> Page:
        """Up to `size` comparisons stored behind number `after`; none = there are no more yet."""
        if not 1 <= size <= 100_000:
            raise OptionError(f"size is {size}; it must be from 1 to 100,000.")

        def work(connection: Any) -> Page:
            table = self._tables.comparison
            query = self._sa.select(table).where(table.c.number > after).order_by(table.c.number).limit(size)
            rows = connection.execute(query).all()
            return Page(tuple(comparison(row) for row in rows), int(rows[-1].number) if rows else after)

        return self._database.read(work, "a page of judgements")

    def pages(self, size: int = 1000) -> Iterator[Page]:
        """All comparisons, page by page; those that arrive meanwhile as well."""
        last = 0
        while (page := self.page(last, size)).comparisons:
            yield page
            last = page.last

    def counts(self) -> dict[str, int]:
        """Rows: items, candidates, comparisons, and of these undos; annotators."""
        tables, sa = self._tables, self._sa

        def work(connection: Any) -> dict[str, int]:
            n = sa.func.count
            rows = tables.comparison.c
            queries = {
                "items": sa.select(n()).select_from(tables.item),
                "candidates": sa.select(n()).select_from(tables.candidate),
                "comparisons": sa.select(n()).select_from(tables.comparison),
                "undos": sa.select(n(rows.undoes)),
                "annotators": sa.select(n(rows.annotator.distinct())),
            }
            return {name: int(connection.execute(query).scalar()) for name, query in queries.items()}

        return self._database.read_one_state(work, "the counts")

    def _find(self, connection: Any, ids: Sequence[str]) -> dict[str, Comparison]:
        table, found = self._tables.comparison, {}
        for some in _chunks(ids):
            for row in connection.execute(self._sa.select(table).where(table.c.id.in_(some))):
                found[row.id] = comparison(row)
        return found

    def _items(self, connection: Any, ids: Sequence[str] | None) -> dict[str, Item]:
        """Items by id; None = all, sorted by id."""
        tables, sa = self._tables, self._sa
        query = (
            sa.select(tables.item.c.id.label("item"), tables.item.c.prompt, tables.candidate, tables.blob.c.content)
            .join(tables.shelf, tables.shelf.c.item == tables.item.c.id)
            .join(tables.candidate, tables.candidate.c.id == tables.shelf.c.candidate)
            .join(tables.blob, tables.blob.c.sha256 == tables.candidate.c.blob)
            .order_by(tables.item.c.id, tables.shelf.c.place)
        )
        prompts: dict[str, Any] = {}
        candidates: dict[str, list[Candidate]] = defaultdict(list)
        for some in [None] if ids is None else _chunks(ids):
            rows = connection.execute(query if some is None else query.where(tables.item.c.id.in_(some)))
            for row in rows:
                prompts[row.item] = row.prompt
                candidates[row.item].append(candidate(row))
        return {name: Item(name, json.loads(prompts[name]), tuple(candidates[name])) for name in prompts}


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[k : k + CHUNK] for k in range(0, len(ids), CHUNK))
