"""What distances between texts mean: which short strings of bytes they hold, and how long they are.

Each string of one, two and three bytes counts in one of PLACES places (Weinberger et al. 2009, arXiv:0902.2206), a
block for each length; a block is the square roots of shares, so that its square length is 1 and distances are those of
Hellinger. The last number is the log of the length.

Letters: n texts, F numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

PLACES = 128
PRIMES = np.array([1, 257, 65_537], np.uint64)
MOST = 20_000  # bytes of a text that are looked at


def features_of(texts: Sequence[bytes]) -> NDArray[np.float32]:
    """(n, 3 * PLACES + 1)."""
    made = np.zeros((len(texts), 3 * PLACES + 1), np.float32)
    for row, text in zip(made, texts, strict=True):
        codes = np.frombuffer(text[:MOST], np.uint8).astype(np.uint64)
        row[-1] = np.log1p(len(text)) / 4
        for size in (1, 2, 3):
            if len(codes) < size:
                break
            key = sum((codes[k : len(codes) - size + 1 + k] * PRIMES[k] for k in range(size)), np.uint64(0))
            place = (key * np.uint64(2654435761)) >> np.uint64(7)
            count = np.bincount((place % np.uint64(PLACES)).astype(np.int64), minlength=PLACES)
            row[(size - 1) * PLACES : size * PLACES] = np.sqrt(count / count.sum())
    return made
