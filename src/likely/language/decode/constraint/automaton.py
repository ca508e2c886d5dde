"""Trees as automata of bytes, so that a token that is half a character fits as well as one that is three words.

A tree becomes a nondeterministic automaton (Thompson 1968), letters as the byte sequences of UTF-8, and that a
deterministic one by sets of states (Rabin and Scott 1959). States from which no text can be completed are taken out:
whatever the automaton allows can be brought to an end.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from likely.errors import ConstraintError
from likely.language.decode.constraint.pattern import Either, OneOf, Repeat, Tree

PARTS, STATES = 100_000, 5_000  # states of the first automaton and of the second, at most
WORK = 20_000_000  # steps of the making, at most
DEAD = -1
_LIMITS = (0x7F, 0x7FF, 0xFFFF, 0x10FFFF)  # of code points with 1, 2, 3, 4 bytes


@dataclass(frozen=True)
class Automaton:
    """`table` (S + 1, 256) int32: the next state or DEAD, its last row for DEAD itself; state 0 is the first;
    `ends` (S,) true = a text may end here; `last` (S,) true = and must."""

    table: NDArray[np.int32]
    ends: NDArray[np.bool_]
    last: NDArray[np.bool_]

    def run(self, text: bytes, state: int = 0) -> int:
        """The state after these bytes, or DEAD."""
        for byte in text:
            state = int(self.table[state, byte])
        return state


def automaton(tree: Tree) -> Automaton:
    """The automaton that accepts what the tree matches. Raises ConstraintError where it is too large or empty."""
    loose = _Loose()
    start, last = loose.add(tree)
    end = loose.state()  # one that leads nowhere: `closure` keeps those, and not a loop's last, which leads back
    loose.free[last].append(end)
    return _determined(loose, start, end)


class _Loose:
    """A nondeterministic automaton: of each state, where it may go without a byte and with one of a range of bytes."""

    def __init__(self) -> None:
        self.free: list[list[int]] = []
        self.steps: list[list[tuple[int, int, int]]] = []
        self.work = 0

    def state(self) -> int:
        if len(self.free) >= PARTS:
            raise ConstraintError(f"The pattern needs more than {PARTS} parts: repeat less, or smaller things.")
        self.free.append([])
        self.steps.append([])
        return len(self.free) - 1

    def add(self, tree: Tree) -> tuple[int, int]:
        """Its first and last state."""
        if isinstance(tree, OneOf):
            return self.letter(tree)
        if isinstance(tree, Repeat):
            return self.repeat(tree)
        if isinstance(tree, Either):
            start, end = self.state(), self.state()
            for part in tree.parts:
                first, last = self.add(part)
                self.free[start].append(first)
                self.free[last].append(end)
            return start, end
        start = end = self.state()
        for part in tree.parts:
            first, last = self.add(part)
            self.free[end].append(first)
            end = last
        return start, end

    def letter(self, tree: OneOf) -> tuple[int, int]:
        start, end = self.state(), self.state()
        for low, high in tree.ranges:
            for sequence in utf8(low, high):
                at = start
                for i, (least, most) in enumerate(sequence):
                    to = end if i == len(sequence) - 1 else self.state()
                    self.steps[at].append((least, most, to))
                    at = to
        return start, end

    def repeat(self, tree: Repeat) -> tuple[int, int]:
        start = end = self.state()
        for _ in range(tree.low):
            first, last = self.add(tree.part)
            self.free[end].append(first)
            end = last
        if tree.high is None:
            first, last = self.add(tree.part)
            hub = self.state()
            self.free[end].append(hub)
            self.free[hub].append(first)
            self.free[last].append(hub)
            return start, hub
        final = self.state()
        for _ in range(tree.high - tree.low):
            self.free[end].append(final)
            first, last = self.add(tree.part)
            self.free[end].append(first)
            end = last
        self.free[end].append(final)
        return start, final

    def closure(self, states: set[int]) -> frozenset[int]:
        """All that can be reached without a byte; of those, the ones that read bytes or lead nowhere: an end."""
        found, left = set(states), list(states)
        while left:
            for to in self.free[left.pop()]:
                if to not in found:
                    found.add(to)
                    left.append(to)
        self.work += len(found)
        if self.work > WORK:
            raise ConstraintError("The pattern is too much work: repeat less, or less freely.")
        return frozenset(state for state in found if self.steps[state] or not self.free[state])


def utf8(low: int, high: int) -> Iterator[list[tuple[int, int]]]:
    """Sequences of byte ranges that together are the code points low .. high; halves of surrogate pairs are none."""
    for least, most in ((low, min(high, 0xD7FF)), (max(low, 0xE000), high)):
        for begin, end in zip((0, *(limit + 1 for limit in _LIMITS)), _LIMITS, strict=False):
            if max(least, begin) <= min(most, end):
                yield from _split(max(least, begin), min(most, end))


def _split(low: int, high: int) -> Iterator[list[tuple[int, int]]]:
    """Of code points with equally many bytes."""
    first, last = chr(low).encode(), chr(high).encode()
    for i in range(1, len(first)):
        rest = (1 << 6 * i) - 1
        if low & ~rest != high & ~rest:
            if low & rest:
                yield from _split(low, low | rest)
                yield from _split((low | rest) + 1, high)
                return
            if high & rest != rest:
                yield from _split(low, (high & ~rest) - 1)
                yield from _split(high & ~rest, high)
                return
    yield list(zip(first, last, strict=True))


def _determined(loose: _Loose, start: int, end: int) -> Automaton:
    """The deterministic automaton: a state of it is a set of states, and so on for every byte."""
    borders = sorted({0, 256, *(edge for steps in loose.steps for low, high, _ in steps for edge in (low, high + 1))})
    kinds = np.searchsorted(borders, np.arange(256), side="right") - 1  # bytes that no step tells apart
    kind_of = [*kinds.tolist(), len(borders) - 1]
    first = loose.closure({start})
    numbers, left, rows = {first: 0}, deque([first]), list[list[int]]()
    while left:
        goes: list[set[int]] = [set() for _ in range(len(borders) - 1)]
        for state in left.popleft():
            for low, high, to in loose.steps[state]:
                for kind in range(kind_of[low], kind_of[high] + 1):
                    goes[kind].add(to)
        row = [DEAD] * len(goes)
        for kind, targets in enumerate(goes):
            if targets:
                after = loose.closure(targets)
                if after not in numbers:
                    if len(numbers) >= STATES:
                        raise ConstraintError(f"The pattern needs more than {STATES} states: repeat less.")
                    numbers[after] = len(numbers)
                    left.append(after)
                row[kind] = numbers[after]
        rows.append(row)
    table = np.array(rows, dtype=np.int32).reshape(len(rows), -1)[:, kinds]
    ends = np.array([end in states for states in numbers])
    return _trimmed(table, ends)


def _trimmed(table: NDArray[np.int32], ends: NDArray[np.bool_]) -> Automaton:
    """Without the states from which no end can be reached. Raises ConstraintError where the first is one of them."""
    alive, sources = ends.copy(), [set[int]() for _ in ends]
    for state, row in enumerate(table):
        for to in np.unique(row[row >= 0]).tolist():
            sources[to].add(state)
    left = np.flatnonzero(ends).tolist()
    while left:
        for state in sources[left.pop()]:
            if not alive[state]:
                alive[state] = True
                left.append(state)
    if not alive[0]:
        raise ConstraintError("No text matches the pattern.")
    table = np.where((table >= 0) & alive[table], table, DEAD)
    table[~alive] = DEAD
    last = ends & (table == DEAD).all(1)
    return Automaton(np.vstack([table, np.full((1, 256), DEAD)]).astype(np.int32), ends, last)
