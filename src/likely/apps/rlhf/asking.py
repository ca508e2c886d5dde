"""Prompts, as ids that a checkpoint goes on from; some of them left out to judge by.

A prompt is a text or a conversation, [{"role": "user", "content": ...}, ...]. With a chat template a text is what a
user says; without one it is what a text begins with.

Letters: n prompts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from likely.align.preference import Judgements
from likely.align.prompts import WANTED
from likely.align.trial import Wish
from likely.core import Batch
from likely.errors import DataError
from likely.language.checkpoint import Checkpoint
from likely.language.policy import prompts_of
from likely.language.template import check
from likely.train.order import split

HELD, LEAST = 0.2, 10  # share of prompts left out to judge by; below so many, none is
MOST = 64  # prompts left out at most


def judged(judgements: Judgements) -> list[Any]:
    """The prompts that were judged. Raises DataError where there are none."""
    found = [item.prompt for item in judgements.items if item.prompt]
    if not found:
        raise DataError("The judgements have no prompts: give some with --prompts, " + WANTED + ".")
    return found


@dataclass
class Prompts:
    """Prompts with their ids: those to learn from, `seen`, and those `left` out, by place. Without any left out, all
    are in both."""

    said: list[Any]
    ids: list[list[int]]
    seen: list[int]
    left: list[int]
    notes: list[str]

    def source(self, n: int, rng: torch.Generator) -> Wish:
        """n prompts to learn from, drawn evenly."""
        rows = torch.randint(len(self.seen), (n,), generator=rng)
        return Wish(given=self.given([self.seen[row] for row in rows.tolist()]))

    def given(self, places: Sequence[int]) -> Batch:
        """These prompts as a condition, all as wide as the longest there is."""
        return prompts_of([self.ids[place] for place in places], max(map(len, self.ids)))

    @property
    def identity(self) -> str:
        """What tells these prompts from others."""
        return hashlib.sha256(repr((self.ids, self.seen)).encode()).hexdigest()[:16]

    def by_ids(self) -> dict[tuple[int, ...], Any]:
        """What was said, by its ids."""
        return {tuple(ids): said for ids, said in zip(self.ids, self.said, strict=True)}


def prepare(checkpoint: Checkpoint, said: Sequence[Any], tokens: int, *, seed: int, longest: int = 512) -> Prompts:
    """Prompts encoded, told apart, and some of them left out. Those too long for an answer of `tokens`, or for
    `longest`, are dropped and counted. Raises DataError where none is left."""
    room = min(longest, checkpoint.network.arch.context - tokens)
    kept: dict[tuple[int, ...], Any] = {}
    dropped = 0
    for number, prompt in enumerate(said, 1):
        try:
            ids = encode(checkpoint, prompt)
        except DataError as error:
            raise DataError(f"Prompt {number}: {error}") from error
        if len(ids) > room:
            dropped += 1
        else:
            kept.setdefault(tuple(ids), prompt)
    if not kept:
        raise DataError(
            f"There are no prompts of at most {room} tokens ({dropped} are longer): give shorter ones, {WANTED}."
        )
    notes = [f"{dropped} prompts of more than {room} tokens were left away."] if dropped else []
    n = len(kept)
    if n < LEAST:
        notes.append(f"{n} prompts are too few to leave some out: what is said of the result is said of these.")
        every = list(range(n))
        return Prompts(list(kept.values()), [list(ids) for ids in kept], every, every, notes)
    seen, left = split(n, min(HELD, MOST / n), seed)
    return Prompts(list(kept.values()), [list(ids) for ids in kept], _listed(seen), _listed(left), notes)


def encode(checkpoint: Checkpoint, prompt: Any) -> list[int]:
    """Ids of a prompt up to where the answer begins; at least one. Raises DataError."""
    if not isinstance(prompt, str | list):
        raise DataError(f"{str(prompt)[:60]!r} is no text and no list of messages.")
    turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    check(turns)
    if checkpoint.template is not None:
        return checkpoint.chat(turns)
    found = checkpoint.encode("\n".join(str(turn["content"]) for turn in turns))
    return found or [checkpoint.bos if checkpoint.bos is not None else min(checkpoint.ends)]


def _listed(rows: Tensor) -> list[int]:
    return [int(row) for row in rows]
