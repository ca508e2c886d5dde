"""Whatever a user may call texts -> documents, and what they came as.

    a list of strings, a Series, an array of strings          a text each
    .txt, .md (also .gz)                                      paragraphs, lines, or one text: `split`
    a folder of such files                                    a text a file
    .jsonl, .json, a list of dicts, a DataFrame               the field that holds the text, or a pair, or messages
    pairs (prompt, answer), lists of {role, content}          turns of a conversation

A document is turns (role, text); one that is no conversation is a single turn without a role.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from likely.codecs.state import entry, list_of, text_of
from likely.errors import ArtifactError, DataError, Mismatch, UnknownName

Turn = tuple[str, str]
Document = tuple[Turn, ...]

KINDS = ("list", "series", "pandas", "pairs", "tuples", "conversations")
SPLITS = ("auto", "paragraphs", "lines", "document")
FILES = (".txt", ".md", ".text", ".jsonl", ".ndjson", ".json")
FIELDS = ("text", "content", "body", "sentence", "document", "review", "story", "message")
PAIRS = (
    ("prompt", "answer"), ("prompt", "response"), ("prompt", "completion"), ("prompt", "chosen"),
    ("question", "answer"), ("instruction", "output"), ("instruction", "response"), ("input", "output"),
    ("source", "target"),
)  # fmt: skip
MESSAGES = ("messages", "conversation", "conversations", "chat")
MOST_ROLES = 16
MOST_BYTES = 4_000_000_000  # of a file, unpacked


@dataclass(frozen=True)
class Form:
    """How texts came: a kind of `KINDS`, the name of a series or field, and the roles of turns in order."""

    kind: str = "list"
    name: str = ""
    roles: tuple[str, ...] = ()

    def state(self) -> dict[str, Any]:
        """Plain JSON."""
        return {"kind": self.kind, "name": self.name, "roles": list(self.roles)}

    @classmethod
    def load(cls, state: Any) -> Form:
        """The inverse of `state`. Raises ArtifactError."""
        form = entry(state, "form")
        made = cls(text_of(form, "kind", KINDS), text_of(form, "name"), tuple(list_of(form, "roles", str, MOST_ROLES)))
        spoken = made.kind in ("pairs", "tuples", "conversations")
        if len(set(made.roles)) < len(made.roles) or spoken != bool(made.roles) or any(not r for r in made.roles):
            raise ArtifactError("The model file is damaged: the roles of its texts do not fit.")
        return made


@dataclass
class Taken:
    """Documents, what they came as, and what was done, in words."""

    documents: list[Document]
    form: Form
    said: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Wanted:
    """What the user said: the field of records, how to split a text file, its encoding."""

    field: str | None = None
    split: str = "auto"
    encoding: str = "utf-8"


def take(items: Any, wanted: Wanted) -> Taken:
    """Any texts. Raises DataError, UnknownName."""
    if isinstance(items, str | Path):
        return _path(items, wanted)
    if isinstance(items, pl.Series):
        return _strings(items.to_list(), Form("series", items.name))
    if isinstance(items, pl.DataFrame):
        return _records(items.to_dicts(), wanted)
    if type(items).__module__.partition(".")[0] == "pandas":
        if hasattr(items, "columns"):
            return _records(items.to_dict("records"), wanted)
        return _strings(_plain(items.tolist()), Form("pandas", str(items.name or "")))
    if isinstance(items, np.ndarray):
        items = items.tolist()
    if not isinstance(items, Sequence):
        raise DataError(
            f"Texts were wanted, {type(items).__name__} was given: pass a list of strings, a Series, or the path of a "
            ".txt or .jsonl file."
        )
    return _sequence(list(items), wanted)


def later(items: Any, wanted: Wanted, form: Form) -> Taken:
    """Texts that come after the first: of the same kind as `form`. Plain texts begin a conversation: the last role but
    one says them. Raises Mismatch."""
    taken = take(items, wanted)
    if bool(taken.form.roles) == bool(form.roles):
        unknown = [role for role in taken.form.roles if role not in form.roles]
        if unknown:
            raise Mismatch(f"The model knows the roles {', '.join(form.roles)}; {unknown[0]!r} was given.")
        return taken
    if taken.form.roles:
        raise Mismatch("The model learned plain texts, turns of a conversation were given.")
    turns = [tuple((form.roles[-2:][0], text) for _, text in document) for document in taken.documents]
    return replace(taken, documents=turns)


# ------------------------------------------------------------------------------------------------ lists


def _plain(items: list[Any]) -> list[Any]:
    """Missing values of pandas (NaN) as None."""
    return [None if isinstance(one, float) and one != one else one for one in items]


def _sequence(items: list[Any], wanted: Wanted) -> Taken:
    if not items:
        raise DataError("No texts: the list is empty.")
    first = next((item for item in items if item is not None), "")
    if isinstance(first, Mapping):
        return _records(items, wanted)
    if isinstance(first, Path):
        return _files([Path(item) for item in items], wanted)
    if isinstance(first, tuple) and len(first) == 2 and all(isinstance(part, str | None) for part in first):
        return _pairs(items, ("prompt", "answer"), "tuples")
    if isinstance(first, Sequence) and not isinstance(first, str | bytes):
        return _conversations(items, "")
    return _strings(items, Form())


def _strings(items: list[Any], form: Form) -> Taken:
    if not items:
        raise DataError("No texts: the list is empty.")
    documents: list[Document] = []
    absent = 0
    for place, item in enumerate(items):
        if item is None:
            absent += 1
            continue
        documents.append((("", _text(item, f"text number {place + 1}")),))
    if not documents:
        raise DataError(f"All {len(items):,} texts are missing.")
    return Taken(documents, form, [f"{absent:,} missing texts were left out"] if absent else [])


def _text(item: Any, where: str) -> str:
    """A string that can be written as UTF-8."""
    if not isinstance(item, str):
        raise DataError(f"{where[:1].upper()}{where[1:]} is of type {type(item).__name__}; a string is wanted.")
    try:
        item.encode()
    except UnicodeEncodeError as error:
        raise DataError(
            f"{where[:1].upper()}{where[1:]} holds half of a character (a lone surrogate, {item[error.start]!a}) at "
            f"place {error.start}: read it again with the right encoding."
        ) from error
    return item


def _records(items: list[Any], wanted: Wanted) -> Taken:
    """Dicts: messages, a pair, or one field of text."""
    if not items:
        raise DataError("No texts: there are no records.")
    if not all(isinstance(item, Mapping) for item in items):
        raise DataError("Dicts and other things are mixed in one list: give one kind.")
    known = list(dict.fromkeys(str(key) for item in items[:1000] for key in item))
    if wanted.field is not None and wanted.field not in known:
        raise UnknownName("field", wanted.field, known)
    if wanted.field is None:
        for name in MESSAGES:
            if name in known and isinstance(items[0].get(name), list):
                return _conversations([item.get(name) for item in items], name)
        if {"role", "content"} <= set(known):
            return _conversations([items], "")
        for pair in PAIRS:
            if set(pair) <= set(known):
                return _pairs([tuple(item.get(name) for name in pair) for item in items], pair, "pairs")
    name = wanted.field or _field(items, known)
    taken = _strings([item.get(name) for item in items], Form("list", name))
    taken.said.insert(0, f"texts are field {name!r}")
    return taken


def _field(items: list[Any], known: list[str]) -> str:
    texts = [name for name in known if any(isinstance(item.get(name), str) for item in items[:1000])]
    named = [name for name in FIELDS if name in texts]
    if named or len(texts) == 1:
        return named[0] if named else texts[0]
    raise DataError(
        f"Which field holds the text? There are {', '.join(map(repr, (texts or known)[:12]))}: name one, "
        f"Text(field={(texts or known or ['text'])[0]!r})."
    )


def _pairs(items: list[Any], roles: tuple[str, str], kind: str) -> Taken:
    documents: list[Document] = []
    for place, item in enumerate(items):
        if not isinstance(item, tuple) or len(item) != 2:
            raise DataError(f"Pair number {place + 1} is no pair: {str(item)[:60]!r}.")
        if item[1] is None and item[0] is not None:  # a prompt that waits for its answer
            documents.append(((roles[0], _text(item[0], f"{roles[0]} number {place + 1}")),))
            continue
        turns = [(role, _text(text, f"{role} number {place + 1}")) for role, text in zip(roles, item, strict=True)]
        documents.append(tuple(turns))
    return Taken(documents, Form(kind, "", roles), [f"pairs of {roles[0]} and {roles[1]}"])


def _conversations(items: list[Any], name: str) -> Taken:
    documents: list[Document] = []
    roles: dict[str, None] = {}
    for place, messages in enumerate(items):
        if not isinstance(messages, Sequence) or isinstance(messages, str | bytes):
            raise DataError(f"Conversation number {place + 1} is no list of messages: {str(messages)[:60]!r}.")
        turns = []
        for message in messages:
            if not isinstance(message, Mapping) or not {"role", "content"} <= set(message):
                raise DataError(
                    f"A message of conversation number {place + 1} is no {{'role': .., 'content': ..}}: "
                    f"{str(message)[:60]!r}."
                )
            role = _text(message["role"], f"the role of a message of conversation number {place + 1}")
            turns.append((role, _text(message["content"], f"a message of conversation number {place + 1}")))
            roles[role] = None
        documents.append(tuple(turns))
    if len(roles) > MOST_ROLES or not roles or "" in roles:
        raise DataError(f"{len(roles)} roles were found; from 1 to {MOST_ROLES} different ones with a name are wanted.")
    last = [role for role in ("user", "assistant") if role in roles]
    order = (*(role for role in roles if role not in last), *last)  # who asks and who answers come last
    return Taken(documents, Form("conversations", name, order), [f"conversations of {', '.join(order)}"])


# ------------------------------------------------------------------------------------------------ files


def _path(items: str | Path, wanted: Wanted) -> Taken:
    path = Path(items)
    if isinstance(items, str) and ("\n" in items or len(items) > 500 or (" " in items and not path.exists())):
        raise DataError("One string was given: pass a list of strings, or the path of a .txt or .jsonl file.")
    if path.is_dir():
        found = sorted(p for p in path.rglob("*") if _suffix(p) in FILES[:3] and p.is_file())
        if not found:
            raise DataError(f"The folder {str(path)!r} holds no .txt or .md file.")
        return _files(found, wanted)
    if _suffix(path) in FILES[3:]:
        return _records_of(path, wanted)
    if _suffix(path) not in FILES[:3]:
        raise DataError(f"{str(path)!r} is no file of texts: {', '.join(FILES)} are (also .gz), and folders of .txt.")
    text = _read(path, wanted.encoding)
    texts, how = split(text, wanted.split)
    return Taken([(("", one),) for one in texts], Form(), [f"{how} of {path.name}"])


def _files(paths: list[Path], wanted: Wanted) -> Taken:
    return Taken(
        [(("", _read(path, wanted.encoding)),) for path in paths], Form(), [f"{len(paths):,} files, a text each"]
    )


def split(text: str, how: str) -> tuple[list[str], str]:
    """A file's text as texts: what stands between empty lines, lines, or all of it; and which it was."""
    if how not in SPLITS:
        raise UnknownName("way to split a text", how, SPLITS)
    if how == "document":
        return [text], "the whole"
    text = text.replace("\r\n", "\n")
    paragraphs = [part for part in (p.strip("\n") for p in re.split(r"\n[ \t]*\n", text)) if part.strip()]
    if how == "paragraphs" or (how == "auto" and len(paragraphs) > 1):
        return paragraphs, "paragraphs"
    return [line for line in text.split("\n") if line.strip()], "lines"


def _suffix(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    return Path(name).suffix


def _read(path: Path, encoding: str) -> str:
    """The text of a file. Raises DataError with the place of the first byte that is no text."""
    try:
        if path.name.lower().endswith(".gz"):
            with gzip.open(path) as stream:
                data = stream.read(MOST_BYTES + 1)
        else:
            data = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"There is no file {str(path)!r}: check the name, and where you are.") from error
    except (OSError, EOFError) as error:
        raise DataError(f"Cannot read {str(path)!r}: {getattr(error, 'strerror', None) or error}.") from error
    if len(data) > MOST_BYTES:
        raise DataError(f"{str(path)!r} holds more than {MOST_BYTES:,} bytes: cut it in parts.")
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        return data.decode(encoding)
    except LookupError as error:
        raise DataError(
            f"There is no encoding {encoding!r}: 'utf-8', 'latin-1' and 'cp1252' are common ones."
        ) from error
    except UnicodeDecodeError as error:
        before = data[max(0, error.start - 20) : error.start].decode("ascii", "replace")
        raise DataError(
            f"{str(path)!r} is no {encoding}: byte {error.start:,} (0x{data[error.start]:02x}, after {before!r}) is no "
            "character. Say which encoding it has, Text(encoding='latin-1'), or convert it."
        ) from error


def _records_of(path: Path, wanted: Wanted) -> Taken:
    text = _read(path, wanted.encoding)
    if _suffix(path) == ".json":
        found = _json(text, f"{str(path)!r}")
        if not isinstance(found, list):
            raise DataError(
                f"{str(path)!r} holds no list: a list of strings, of records or of conversations is wanted."
            )
    else:
        lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        found = [_json(line, f"Line {number:,} of {str(path)!r}") for number, line in lines]
    taken = _sequence(found, wanted)
    taken.said.insert(0, f"from {path.name}")
    return taken


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is no JSON: {str(error)[:80]}.") from error
