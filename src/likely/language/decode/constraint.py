"""What a text must be: the contract of constraints, and those that come with us.

A *constraint* is a wish as a user writes it: choices, a regular expression, a JSON schema. For a tokenizer it is
*compiled* once; each text then takes a *walk* through what was compiled: before every token the walk says which tokens
may come, after it, which one came. Logits of all others become -inf, and the softmax is taken over the rest, so a text
under a constraint matches it by construction unless the limit of length cuts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from likely.errors import Unsupported


class Words(Protocol):
    """What a constraint has to know of a tokenizer."""

    @property
    def size(self) -> int: ...
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
    """A wish. Hashable, so that it is compiled once for all texts under it."""

    def compile(self, words: Words) -> Compiled: ...


def choices(texts: Sequence[str]) -> Constraint:
    """One of these texts. Raises Unsupported: not there yet."""
    raise Unsupported(f"A text cannot be held to {len(texts)} choices yet: compare them by Engine.choose.")


def regex(pattern: str) -> Constraint:
    """A text that the whole of `pattern` matches. Raises Unsupported: not there yet."""
    raise Unsupported(
        f"A text cannot be held to the pattern {pattern[:40]!r} yet: make several and keep those that match."
    )


def json_schema(schema: dict[str, Any] | str) -> Constraint:
    """JSON that a schema accepts. Raises Unsupported: not there yet."""
    raise Unsupported("A text cannot be held to a JSON schema yet: ask for JSON in words, and check what comes.")
