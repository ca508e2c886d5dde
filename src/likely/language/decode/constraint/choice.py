"""One of several texts, with the probabilities that the model gives them.

    P(choice) = p(choice | prompt) / sum over choices of p(. | prompt)

Masking token by token would not give that: a choice that begins with a likely token would win even where the rest of it
is unlikely. So all choices are read, each gets the log-probability of its tokens, and one is drawn among them; options
such as temperature and top_p act on the choices as they otherwise do on tokens. Where one choice is the beginning of
another, its end counts as well: the probability that the text ends there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from likely.errors import ConstraintError
from likely.language.decode.constraint.contract import Compiled, Constraint, Words

MOST = 1000


def choices(texts: Sequence[str]) -> Constraint:
    """One of these texts. Raises ConstraintError where there is none, an empty one, or one twice."""
    if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
        raise ConstraintError("choices takes a list of strings.")
    if not 1 <= len(texts) <= MOST:
        raise ConstraintError(f"{len(texts)} choices; give 1 to {MOST}.")
    if not all(texts):
        raise ConstraintError("A choice is empty.")
    twice = next((text for at, text in enumerate(texts) if text in texts[:at]), None)
    if twice is not None:
        raise ConstraintError(f"The choice {twice[:40]!r} is given twice.")
    return Choices(tuple(texts))


@dataclass(frozen=True)
class Choices:
    """One of these texts."""

    texts: tuple[str, ...]

    def compile(self, words: Words) -> Compiled:
        """The tokens of each text."""
        return Listing(tuple(tuple(words.encode(text)) for text in self.texts), words.size)


@dataclass(frozen=True)
class Listing:
    """The token ids of each choice, of a vocabulary of `size`."""

    ids: tuple[tuple[int, ...], ...]
    size: int

    def begins_another(self, at: int) -> bool:
        """Whether another choice goes on where this one ends."""
        own = self.ids[at]
        return any(len(other) > len(own) and other[: len(own)] == own for other in self.ids)

    def walk(self) -> Walk:
        """A text from its beginning, token by token: for those who draw that way all the same."""
        return Walk(self)


class Walk:
    """One text under way."""

    def __init__(self, listing: Listing) -> None:
        self.listing, self.text = listing, tuple[int, ...]()

    @property
    def _next(self) -> set[int]:
        at = len(self.text)
        return {ids[at] for ids in self.listing.ids if len(ids) > at and ids[:at] == self.text}

    @property
    def allowed(self) -> Tensor:
        """(V,) true = may come next."""
        mask = torch.zeros(self.listing.size, dtype=torch.bool)
        mask[list(self._next)] = True
        return mask

    @property
    def whole(self) -> bool:
        """Whether the text so far is a choice."""
        return self.text in self.listing.ids

    @property
    def over(self) -> bool:
        """Whether nothing may follow."""
        return self.whole and not self._next

    def advance(self, token: int) -> None:
        """This token came."""
        self.text = (*self.text, token)
