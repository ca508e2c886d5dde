"""What is asked: a couple of candidates, and a showing of it to somebody.

A couple is two different candidates of an item, of two models where the item has several. A showing has an id of its
own: a hash of who sees which couple in which order for which time. It tells a browser nothing of models, and is the
same in two tabs and after a restart, so that an answer that comes twice is kept once.
"""

from __future__ import annotations

import uuid
from itertools import combinations
from typing import NamedTuple

from likely.align import fields
from likely.align.preference import Comparison
from likely.server.store import Outline


class Couple(NamedTuple):
    """An item and two of its candidates, the smaller id first."""

    item: str
    first: str
    second: str


class Showing(NamedTuple):
    """What is asked: `shown` is left and right."""

    id: str
    couple: Couple
    shown: tuple[str, str]
    repeats: str | None


def couples_of(line: Outline) -> list[Couple]:
    """Pairs of an item that differ; of two models, where it has several."""
    several = len({one.model for one in line.candidates}) > 1
    return [
        Couple(line.item, *sorted((a.id, b.id))) for a, b in combinations(line.candidates, 2)
        if a.sha256 != b.sha256 and (not several or a.model != b.model)
    ]  # fmt: skip


def couple_of(one: Comparison) -> Couple:
    """The couple of a judgement; of more than two candidates, and of an undo, one that nobody asks."""
    return Couple(one.item, *sorted(one.shown[:2])) if len(one.shown) == 2 else Couple(one.item, "", "")


def id_of(annotator: str, item: str, shown: tuple[str, str], repeats: str | None, turn: int) -> str:
    """Of a judgement, before there is one."""
    return uuid.uuid5(uuid.NAMESPACE_OID, fields.canonical([annotator, item, shown, repeats, turn])).hex
