"""The tables of a store. Rows are added, never changed.

likely_store       one row: version of the tables
likely_blob        content of candidates by SHA-256, each kept once
likely_item        id, prompt (JSON)
likely_candidate   id (hash of content and origin), blob, media type, model, artifact, seed, parameters (JSON)
likely_shelf       which item has which candidates, in order
likely_comparison  judgements; `number` grows in the order of commits, so who reads on behind a number misses none

JSON is kept as text with characters beyond ASCII escaped: both databases hold any of it, NUL included.
"""

from __future__ import annotations

import json
from typing import Any

from likely.align.preference import Candidate, Comparison
from likely.registry import require

VERSION = 1
Row = dict[str, Any]


class Schema:
    """The tables as SQLAlchemy knows them; `sa` is the package."""

    def __init__(self) -> None:
        sa = self.sa = require("sqlalchemy", "keeping judgements in a database")
        self.metadata = sa.MetaData()
        text, whole = sa.Text, sa.BigInteger

        def column(name: str, kind: Any, *more: Any, null: bool = False, **about: Any) -> Any:
            return sa.Column(name, kind, *more, nullable=null, **about)

        def key(table: str) -> Any:
            return sa.ForeignKey(table)

        def table(name: str, *columns: Any) -> Any:
            # Without RETURNING the count of inserted rows says whether a row was new.
            return sa.Table(name, self.metadata, *columns, implicit_returning=False)

        self.store = table("likely_store", column("version", whole), column("made", text))
        self.blob = table(
            "likely_blob",
            column("sha256", text, primary_key=True),
            column("content", sa.LargeBinary),
        )
        self.item = table("likely_item", column("id", text, primary_key=True), column("prompt", text))
        self.candidate = table(
            "likely_candidate",
            column("id", text, primary_key=True),
            column("blob", text, key("likely_blob.sha256")),
            column("media", text),
            column("model", text),
            column("artifact", text),
            column("seed", whole, null=True),
            column("parameters", text),
        )
        self.shelf = table(
            "likely_shelf",
            column("item", text, key("likely_item.id"), primary_key=True),
            column("place", whole, primary_key=True, autoincrement=False),
            column("candidate", text, key("likely_candidate.id")),
        )
        self.comparison = table(
            "likely_comparison",
            # SQLite gives numbers by itself only to a column of its own type INTEGER.
            column("number", whole().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
            column("id", text, unique=True),
            column("item", text, key("likely_item.id"), index=True),
            column("annotator", text),
            column("choice", text),
            column("shown", text),
            column("ranking", text),
            column("strength", whole),
            column("criteria", text),
            column("reason", text),
            column("seconds", sa.Double, null=True),
            column("flags", text),
            column("time", text),
            column("repeats", text, null=True),
            column("undoes", text, null=True, index=True),
        )

    def insert_new(self, dialect: str, table: Any, key: str = "id") -> Any:
        """An insert that leaves a row alone which is there."""
        kind = require(f"sqlalchemy.dialects.{dialect}", "keeping judgements in a database")
        return kind.insert(table).on_conflict_do_nothing(index_elements=[key])


def comparison_row(one: Comparison) -> Row:
    """A comparison as columns."""
    return {
        "id": one.id,
        "item": one.item,
        "annotator": one.annotator,
        "choice": one.choice,
        "shown": json.dumps(one.shown),
        "ranking": json.dumps(one.ranking),
        "strength": one.strength,
        "criteria": json.dumps(one.criteria, sort_keys=True),
        "reason": one.reason,
        "seconds": one.seconds,
        "flags": json.dumps(one.flags),
        "time": one.time,
        "repeats": one.repeats,
        "undoes": one.undoes,
    }


def comparison(row: Any) -> Comparison:
    """A comparison from a row."""
    return Comparison(
        id=row.id,
        item=row.item,
        shown=tuple(json.loads(row.shown)),
        annotator=row.annotator,
        choice=row.choice,
        ranking=tuple(tuple(group) for group in json.loads(row.ranking)),
        strength=int(row.strength),
        criteria=json.loads(row.criteria),
        reason=row.reason,
        seconds=row.seconds,
        flags=tuple(json.loads(row.flags)),
        time=row.time,
        repeats=row.repeats,
        undoes=row.undoes,
    )


def candidate_row(one: Candidate) -> Row:
    """A candidate as columns."""
    return {
        "id": one.id,
        "blob": one.sha256,
        "media": one.media,
        "model": one.model,
        "artifact": one.artifact,
        "seed": one.seed,
        "parameters": json.dumps(one.parameters, sort_keys=True),
    }


def candidate(row: Any) -> Candidate:
    """A candidate from a row that has its content too."""
    return Candidate(
        bytes(row.content), row.media, row.model, row.artifact, row.seed, parameters=json.loads(row.parameters)
    )
