"""Regular expressions and the tokens of a vocabulary: which tokens may come where (Willard and Louf 2023,
arXiv:2307.09702).

A token is allowed in a state if its bytes lead to a state from which a text can still be completed. The answer for all
tokens of a state is computed once, when a text first comes there, and kept.

Letters: V vocabulary, S states.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likely.errors import ConstraintError
from likely.language.decode.constraint.automaton import DEAD, Automaton, automaton
from likely.language.decode.constraint.contract import Compiled, Constraint, Words
from likely.language.decode.constraint.pattern import parse

KEPT = 512  # masks at most
LONGEST = 64  # bytes of a token; longer ones, rows of spaces and the like, are not allowed


def regex(pattern: str) -> Constraint:
    """A text that the whole of `pattern` matches; see `pattern` for what may be written. Raises ConstraintError."""
    parse(pattern)
    return Regex(pattern)


@dataclass(frozen=True)
class Regex:
    """A regular expression."""

    pattern: str

    def compile(self, words: Words) -> Compiled:
        """Raises ConstraintError where the automaton is too large, or the vocabulary cannot write such a text."""
        return Masks(automaton(parse(self.pattern)), words)


class Masks:
    """An automaton over the tokens of a vocabulary."""

    def __init__(self, found: Automaton, words: Words) -> None:
        self.words, self.size = words, words.size
        spelled = [(id, words.bytes(id)) for id in range(words.size)]
        spelled = [(id, text) for id, text in spelled if 0 < len(text) <= LONGEST]
        self.ids = np.array([id for id, _ in spelled], dtype=np.int64)
        self.lengths = np.array([len(text) for _, text in spelled], dtype=np.int64)
        self.text = np.zeros((len(spelled), max(self.lengths, default=1)), dtype=np.uint8)
        for row, (_, text) in zip(self.text, spelled, strict=True):
            row[: len(text)] = np.frombuffer(text, dtype=np.uint8)
        self.masks = OrderedDict[int, Tensor]()
        self.automaton, self.alive = found, np.ones(len(found.ends), dtype=bool)
        used = np.flatnonzero((found.table != DEAD).any(0))
        if not set(used.tolist()) <= {text[0] for _, text in spelled if len(text) == 1}:
            self.alive = self._writable()  # else each state has a token: a single byte

    def walk(self) -> Walk:
        """A text from its beginning."""
        return Walk(self)

    def after(self, state: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """Indices of the tokens that are allowed in a state, and the states that they lead to."""
        table = self.automaton.table
        at, states = np.arange(len(self.ids)), table[state, self.text[:, 0]]
        done: list[tuple[NDArray[np.int64], NDArray[np.int32]]] = []
        for i in range(1, self.text.shape[1] + 1):
            alive = states != DEAD
            at, states = at[alive], states[alive]
            longer = self.lengths[at] > i
            done.append((at[~longer], states[~longer]))
            at, states = at[longer], states[longer]
            if not len(at):
                break
            states = table[states, self.text[at, i]]
        at, states = np.concatenate([part for part, _ in done]), np.concatenate([part for _, part in done])
        return at[self.alive[states]], states[self.alive[states]]

    def mask(self, state: int) -> Tensor:
        """(V,) true = allowed in this state."""
        found = self.masks.get(state)
        if found is None:
            found = torch.zeros(self.size, dtype=torch.bool)
            found[torch.from_numpy(self.ids[self.after(state)[0]])] = True
            self.masks[state] = found
            if len(self.masks) > KEPT:
                self.masks.popitem(last=False)
        else:
            self.masks.move_to_end(state)
        return found

    def _writable(self) -> NDArray[np.bool_]:
        """(S,) true = the tokens of the vocabulary lead from here to an end."""
        leads = [np.unique(self.after(state)[1]) for state in range(len(self.automaton.ends))]
        alive = self.automaton.ends.copy()
        while True:
            reach = alive | np.array([bool(alive[states].any()) for states in leads])
            if (reach == alive).all():
                break
            alive = reach
        if not alive[0]:
            raise ConstraintError("The tokens of this model cannot write a text that matches the pattern.")
        return alive


class Walk:
    """One text under way."""

    def __init__(self, masks: Masks) -> None:
        self.masks, self.state = masks, 0

    @property
    def allowed(self) -> Tensor:
        """(V,) true = may come next."""
        return self.masks.mask(self.state)

    @property
    def whole(self) -> bool:
        """Whether the text so far matches."""
        return bool(self.masks.automaton.ends[self.state])

    @property
    def over(self) -> bool:
        """Whether nothing may follow."""
        return bool(self.masks.automaton.last[self.state])

    def advance(self, token: int) -> None:
        """This token came."""
        self.state = self.masks.automaton.run(self.masks.words.bytes(token), self.state)
