"""Random words of a shape: what stands in for words that too few rows share.

A shape is a class of characters (digits, lower, upper, title, letters, hex) and a range of lengths. Words are drawn
uniformly: they carry nothing of the words they replace but their look.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

TOKEN = re.compile(r"[^\W\d_]+|\d+|\s+|.", re.DOTALL)
LOWER, UPPER, DIGITS = "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"
ALPHABETS = {
    "digits": DIGITS, "lower": LOWER, "upper": UPPER, "title": LOWER, "letters": LOWER + UPPER,
    "hex": DIGITS + "abcdef", "HEX": DIGITS + "ABCDEF", "any": DIGITS + LOWER + UPPER,
}  # fmt: skip
LONGEST = 40


class Shape(NamedTuple):
    """`kind` is a key of ALPHABETS; lengths in characters; `zeros`: digits may start with 0."""

    kind: str
    low: int
    high: int
    zeros: bool = True


def kind_of(token: str) -> str:
    """The class of a token of letters or digits."""
    if token.isdigit():
        return "digits"
    if token.islower():
        return "lower"
    if token.isupper():
        return "upper" if len(token) > 1 else "title"
    return "title" if token.istitle() else "letters"


def shape_of(tokens: list[str], kind: str) -> Shape:
    """The shape of many tokens of one class; lengths between their 5th and 95th percentile."""
    lengths = np.array([len(token) for token in tokens])
    low, high = np.quantile(lengths, [0.05, 0.95])
    zeros = kind == "digits" and sum(t[0] == "0" and len(t) > 1 for t in tokens) >= max(3, len(tokens) // 50)
    return Shape(kind, int(np.clip(low, 1, LONGEST)), int(np.clip(np.ceil(high), 1, LONGEST)), bool(zeros))


def draw(shape: Shape, n: int, rng: np.random.Generator) -> list[str]:
    """n words of the shape."""
    lengths = rng.integers(shape.low, shape.high + 1, n)
    alphabet = np.frombuffer(ALPHABETS[shape.kind].encode(), np.uint8)
    letters = alphabet[rng.integers(0, len(alphabet), int(lengths.sum()))]
    starts = lengths.cumsum() - lengths
    if shape.kind == "title":
        letters[starts] -= 32
    if shape.kind == "digits" and not shape.zeros:
        letters[starts] = rng.integers(49, 58, n)
    text = letters.tobytes().decode()
    return [text[start : start + length] for start, length in zip(starts.tolist(), lengths.tolist(), strict=True)]


def affine(start: int, n: int, size: int, key: NDArray[np.int64]) -> NDArray[np.int64]:
    """The numbers (a i + b) mod size for i in [start, start + n): distinct as long as start + n <= size <= 2^62.

    `key` (2,) holds two random numbers in [0, 2^31); a is the next number from the first on that shares no factor
    with size, so different keys give different orders.
    """
    a = int(key[0]) % size + 1
    while np.gcd(a, size) != 1:
        a += 1
    places = (start + np.arange(n, dtype=np.int64)) % size
    # a < 2^31 + 64 and i < 2^31: the product stays below 2^63.
    return (places % 2**31 * a + int(key[1]) % size + places // 2**31) % size
