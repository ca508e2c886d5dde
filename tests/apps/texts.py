"""Texts, labels and a small random model, for the tests of labels and summaries."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache

from likely.language.checkpoint import Checkpoint
from tests.language import decode_toys

TALE = """The miller of Oxley had three sons. The eldest, John Barker, was twenty-one years old in 1903.

He walked 12.5 km to the town of Marl every Monday. There he sold 40 sacks of flour for £3.20 each, and he did not
give the baker any credit. "Never lend to a baker," his father used to say.

In June the river rose by 2 metres and the mill stood under water. John Barker carried the flour to the church on the
hill. The baker came with a cart and helped him until the night. After the flood the mill was closed for six weeks.

The sons rebuilt the mill with stones from the old bridge. Since then the mill of Oxley has never been flooded again.
"""


@cache
def toy(context: int = 768) -> Checkpoint:
    """Two layers of random weights that read bytes."""
    return decode_toys.checkpoint(seed=3, context=context)


@cache
def shallow() -> Checkpoint:
    """The same with a context that hardly holds a sentence."""
    return replace(decode_toys.checkpoint(seed=3, context=96))


def sorted_texts(count: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Texts of numbers or of words, and which they are: something that even random features tell apart."""
    draw = random.Random(seed)
    texts, labels = [], []
    for row in range(count):
        kind = ("digits", "words")[row % 2]
        letters = "0123456789" if kind == "digits" else "abcdefghij"
        texts.append(" ".join("".join(draw.choices(letters, k=draw.randint(2, 5))) for _ in range(draw.randint(2, 5))))
        labels.append(kind)
    return texts, labels
