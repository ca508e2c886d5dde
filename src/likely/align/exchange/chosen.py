"""Chosen and rejected: TRL's preference formats and HH's dialogues.

* trl: {"prompt": text, "chosen": text, "rejected": text}
* conversational: the same, each a list of {"role", "content"}; a prompt may be left out (implicit)
* whole conversations: chosen and rejected begin with what was asked. The turns both share are the prompt, where a
  prompt that stands beside them (a text or messages) is among them; where it is not, all is kept as it stands.
* implicit: no prompt, chosen and rejected are whole texts that begin alike. The prompt ends behind the last white
  space both share, so that no word is cut. That is a guess: each row becomes an item of its own.
* hh: implicit, with turns "\n\nHuman: " and "\n\nAssistant: " (Bai et al. 2022, arXiv:2204.05862). The prompt are the
  turns both share.

A single message of the assistant becomes a candidate of plain text; several stay messages (application/json).
Which side stood left is not known: it is drawn from the candidates' hashes and the row says "unordered".

Formats: TRL's documentation, "Dataset formats and types".
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from likely.align import fields
from likely.align.exchange.lines import Row
from likely.align.preference import Candidate, Comparison, Item, Judgements, item_of
from likely.errors import DataError

UNKNOWN = "unknown"  # the annotator of files that name none
_TURN = re.compile(r"\n\n(Human|Assistant):")
# What a reader has to know, and of how many rows
GUESSED = "rows without a prompt, which ends behind the last white space that both texts share"
APART = "rows whose prompt is none of the turns that both conversations begin with, kept as whole conversations"
_ROLES = {"Human": "user", "Assistant": "assistant"}
Messages = list[dict[str, Any]]


class Sides(NamedTuple):
    """A row as prompt and two candidates."""

    prompt: Any
    chosen: Candidate
    rejected: Candidate
    note: str = ""
    guessed: bool = False  # where the prompt ends


class Gather:
    """Collects comparisons; items of one prompt become one item. Without a prompt, or where it is guessed, a pair is an
    item: what begins alike was not asked alike."""

    def __init__(self) -> None:
        self.prompts: dict[str, tuple[Any, dict[str, Candidate]]] = {}
        self.comparisons: list[Comparison] = []
        self.seen: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()

    def add(
        self, where: str, row: Row, prompt: Any, pair: tuple[Candidate, Candidate], guessed: bool = False, **about: Any
    ) -> None:
        """One comparison; its id comes from the row, so the same file twice is the same judgements."""
        if pair[0].id == pair[1].id:
            self.notes["rows left out, since both sides are the same"] += 1
            return
        alone = guessed or not prompt or (isinstance(prompt, str) and not prompt.strip())
        item = item_of(prompt, pair)
        if alone:
            item = replace(item, id=item_of([prompt, sorted(one.id for one in pair)], pair).id)
        known = self.prompts.setdefault(item.id, (item.prompt, {}))[1]
        known.update(item.by_id)
        key = fields.canonical([row, about["annotator"]])
        self.seen[key] += 1
        name = hashlib.sha256(f"{key} {self.seen[key]}".encode()).hexdigest()[:32]
        try:
            self.comparisons.append(Comparison(item.id, (pair[0].id, pair[1].id), time="", id=name, **about))
        except DataError as error:
            raise DataError(f"{where}: {error}") from error

    def judgements(self, unread: Iterable[str] = ()) -> Judgements:
        """All of it. `unread`: columns that say nothing here."""
        items = [Item(name, prompt, tuple(known.values())) for name, (prompt, known) in self.prompts.items()]
        notes = [f"{what}: {n}" for what, n in self.notes.items()]
        if names := sorted(unread):
            notes.append(f"columns that were not read: {', '.join(names[:20])}")
        return Judgements(tuple(items), tuple(self.comparisons), tuple(notes))


def parse(given: Iterable[tuple[str, Row]]) -> Judgements:
    """Judgements from rows of chosen and rejected, any of the forms, row by row."""
    gather, extra = Gather(), dict[str, None]()
    for where, row in given:
        extra |= dict.fromkeys(row.keys() - {"prompt", "chosen", "rejected"})
        try:
            said = sides(row)
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
        pair = sorted((said.chosen, said.rejected), key=lambda one: one.id)
        choice = "left" if pair[0] is said.chosen else "right"
        if said.note:
            gather.notes[said.note] += 1
        gather.add(where, _key(row), said.prompt, (pair[0], pair[1]), said.guessed, annotator=UNKNOWN, choice=choice,
                   flags=("unordered",))  # fmt: skip
    return gather.judgements(extra)


def _key(row: Row) -> Row:
    return {name: row.get(name) for name in ("prompt", "chosen", "rejected")}


def sides(row: Row) -> Sides:
    """What a row says. Raises DataError."""
    prompt, chosen, rejected = row.get("prompt"), row.get("chosen"), row.get("rejected")
    if isinstance(chosen, list) and isinstance(rejected, list):
        before = _messages(prompt, "prompt") if prompt and isinstance(prompt, list) else prompt
        return _conversations(before, _messages(chosen, "chosen"), _messages(rejected, "rejected"))
    if not isinstance(chosen, str) or not isinstance(rejected, str):
        raise DataError(f"chosen is {fields.shown(chosen)} and rejected {fields.shown(rejected)}; wanted two texts or "
                        "two lists of messages.")  # fmt: skip
    if prompt is not None:
        return Sides(prompt, Candidate.text(chosen), Candidate.text(rejected))
    if _TURN.match(chosen) and _TURN.match(rejected):
        return sides({"chosen": turns(chosen), "rejected": turns(rejected)})
    shared = _shared(chosen, rejected)
    while shared and not chosen[shared - 1].isspace():
        shared -= 1
    return Sides(
        chosen[:shared], Candidate.text(chosen[shared:]), Candidate.text(rejected[shared:]), GUESSED, guessed=True
    )


def _conversations(prompt: Any, a: Messages, b: Messages) -> Sides:
    """Two lists of messages: answers, or whole conversations that begin with what was asked."""
    shared = a[: min(_shared(a, b), len(a) - 1, len(b) - 1)]
    whole = bool(shared) and shared[0]["role"] != "assistant"
    if prompt is None or (whole and _among(prompt, shared)):
        return Sides(shared, _answer(a[len(shared) :]), _answer(b[len(shared) :]))
    return Sides(prompt, _answer(a), _answer(b), APART if whole else "")


def _among(prompt: Any, turns: Messages) -> bool:
    """Whether turns say all that a prompt says: messages that they begin or end with, or a text that the user said."""
    if isinstance(prompt, list):
        return prompt in (turns[: len(prompt)], turns[-len(prompt) :])
    asked = [one["content"].strip() for one in turns if one["role"] == "user" and isinstance(one["content"], str)]
    return isinstance(prompt, str) and prompt.strip() in ("", *asked)


def _shared(a: Sequence[Any], b: Sequence[Any]) -> int:
    """How many elements both begin with."""
    return next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _messages(given: Any, where: str) -> Messages:
    if not isinstance(given, list) or not given:
        raise DataError(f"{where} is {fields.shown(given)}; wanted a list of messages.")
    made = []
    for one in given:
        if not isinstance(one, dict) or not isinstance(one.get("role"), str) or "content" not in one:
            raise DataError(f"A message of {where} is {fields.shown(one)}; wanted an object with role and content.")
        made.append({name: value for name, value in one.items() if value is not None or name == "content"})
    return made


def _answer(messages: Messages) -> Candidate:
    said = messages[0]["content"]
    if isinstance(said, str) and messages == [{"role": "assistant", "content": said}]:
        return Candidate.text(said)
    plain = fields.plain(messages, "A candidate's messages")
    return Candidate(fields.canonical(plain).encode(), media="application/json")


def turns(dialogue: str) -> Messages:
    """A dialogue of HH as messages."""
    parts = _TURN.split(dialogue)
    return [
        {"role": _ROLES[who], "content": said.removeprefix(" ")}
        for who, said in zip(parts[1::2], parts[2::2], strict=True)
    ]


def dialogue(messages: Messages) -> str:
    """Messages as a dialogue of HH. Raises DataError for a role it does not have."""
    made = ""
    for one in messages:
        who = next((name for name, role in _ROLES.items() if role == one.get("role")), None)
        content = one.get("content")
        if who is None or not isinstance(content, str) or _TURN.search(content):
            raise DataError("not text, or of a role other than user and assistant")
        made += f"\n\n{who}:" + (f" {content}" if content else "")
    return made
