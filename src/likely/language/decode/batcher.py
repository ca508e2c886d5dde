"""Many texts at once, a token each a step; texts come and go between steps."""

from __future__ import annotations

from collections.abc import Sequence

from likely.language.checkpoint import Checkpoint
from likely.language.decode.pieces import Piece, Request
from likely.language.decode.sampling import Sampling


class Batcher:
    """`rows` texts at most at a time, the others wait; `memory` bytes of keys and values at most.

    One thread calls `step`; `add` and `cancel` may be called from any.
    """

    def __init__(self, checkpoint: Checkpoint, *, kernel: str = "auto", rows: int = 32, memory: int = 2 << 30) -> None:
        raise NotImplementedError

    def add(self, ids: Sequence[int], sampling: Sampling, *, n: int = 1) -> Request:
        """Continue a prompt n times. Raises OptionError where it is empty or leaves no room in the context."""
        raise NotImplementedError

    def cancel(self, request: Request) -> None:
        """Stop: the next step reports its unfinished samples with reason "cancelled" and computes nothing for them."""
        raise NotImplementedError

    def step(self) -> list[Piece]:
        """One more token for every text under way; [] = nothing to do."""
        raise NotImplementedError

    @property
    def active(self) -> int:
        """Texts under way."""
        raise NotImplementedError

    @property
    def waiting(self) -> int:
        """Texts that wait for a row."""
        raise NotImplementedError
