"""What a constraint can do.

A *constraint* is a wish as a user writes it: choices, a regular expression, a JSON schema. For a tokenizer it is
*compiled* once; each text then takes a *walk* through what was compiled: before every token the walk says which tokens
may come, after it, which one came. Logits of all others become -inf, and the softmax is taken over the rest, so a text
under a constraint matches it by construction unless the limit of length cuts it.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor


class Words(Protocol):
    """What a constraint has to know of a tokenizer."""

    size: int  # ids are below it

    def encode(self, text: str) -> list[int]: ...
    def bytes(self, id: int) -> bytes: ...  # b"" for control tokens


class Walk(Protocol):
    """One text under way."""

    @property
    def allowed(self) -> Tensor:
        """(V,) true = may come next. End tokens are not in it: see `whole`."""
        ...

    @property
    def whole(self) -> bool:
        """Whether the text so far meets the constraint, so that it may end here."""
        ...

    @property
    def over(self) -> bool:
        """Whether it is whole and nothing may follow."""
        ...

    def advance(self, token: int) -> None:
        """This token came."""
        ...


class Compiled(Protocol):
    """A constraint for one tokenizer; holds caches that all walks share."""

    def walk(self) -> Walk: ...


@runtime_checkable
class Constraint(Protocol):
    """A wish. Hashable, so that it is compiled once for all texts under it. Raises ConstraintError where no text of
    the tokenizer can meet it."""

    def compile(self, words: Words) -> Compiled: ...
