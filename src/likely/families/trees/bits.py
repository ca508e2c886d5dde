"""Bit trees: one categorical variable with C codes as C - 1 yes/no questions.

A code is found by walking a binary tree from its root to a leaf, so that

    p(x = v) = product over the questions on the path to v of p(answer),

and a question is asked only of the rows that reach it. Learning a variable this way costs in proportion to
its entropy in bits, not to its number of levels (the idea of binary trees of boosted classifiers:
McCarter 2024, "Unmasking Trees for Tabular Data", arXiv:2407.05593).

Ordered variables (binned numbers) are cut at half their mass, recursively, so each question is "above or
below?". Unordered ones get Huffman's tree on their frequencies (Huffman 1952, doi:10.1109/JRPROC.1952.273898),
which asks the fewest questions a row; a code that holds most of the mass is then asked for first.

Letters: C codes, Q questions (C - 1, or 0 for a constant), N rows.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class BitTree:
    """`yes[q]` and `no[q]`: where question q leads: a question q' > q, or a code c written as ~c (negative).

    Question 0 is the root. Parents come before their children, so one pass from 0 to Q - 1 walks the tree.
    """

    yes: Ints  # (Q,)
    no: Ints  # (Q,)
    codes: int

    @property
    def questions(self) -> int:
        """Q, the number of questions."""
        return len(self.yes)

    def sides(self) -> NDArray[np.int8]:
        """(Q, C): +1 where the code lies on the yes side of the question, -1 on the no side, 0 elsewhere."""
        sides = np.zeros((self.questions, self.codes), np.int8)
        for q in range(self.questions - 1, -1, -1):
            for child, sign in ((int(self.yes[q]), 1), (int(self.no[q]), -1)):
                if child < 0:
                    sides[q, ~child] = sign
                else:
                    sides[q, sides[child] != 0] = sign
        return sides


def grow(counts: Ints, ordered: bool) -> BitTree:
    """The bit tree for codes seen `counts` (C,) times."""
    codes = len(counts)
    if codes < 2:
        return BitTree(np.zeros(0, np.int64), np.zeros(0, np.int64), codes)
    root = _halves(counts) if ordered else _huffman(counts)
    yes, no = np.zeros(codes - 1, np.int64), np.zeros(codes - 1, np.int64)
    pending: list[tuple[_Node, int]] = [(root, 0)]
    last = 0
    for node, q in pending:  # grows while it is read: breadth first, parents before children
        assert not isinstance(node, int)
        for side, child in ((yes, node[0]), (no, node[1])):
            if isinstance(child, int):
                side[q] = ~child
            else:
                last += 1
                side[q] = last
                pending.append((child, last))
    return BitTree(yes, no, codes)


_Node = int | tuple["_Node", "_Node"]


def _halves(counts: Ints) -> _Node:
    mass = np.concatenate([[0], np.cumsum(counts)])

    def cut(low: int, high: int) -> _Node:
        if high - low == 1:
            return low
        middle = (mass[low] + mass[high]) / 2
        at = low + 1 + int(np.argmin(np.abs(mass[low + 1 : high] - middle)))
        return cut(low, at), cut(at, high)

    return cut(0, len(counts))


def _huffman(counts: Ints) -> _Node:
    heap: list[tuple[int, int, _Node]] = [(int(count), code, code) for code, count in enumerate(counts)]
    heapq.heapify(heap)
    for tie in range(len(counts), 2 * len(counts) - 1):
        rare, second = heapq.heappop(heap), heapq.heappop(heap)
        heapq.heappush(heap, (rare[0] + second[0], tie, (second[2], rare[2])))
    return heap[0][2]
