"""What comes out: a piece a token while a text grows, a completion when it is whole."""

from __future__ import annotations

from dataclasses import dataclass, field

from likely.language.decode.sampling import Sampling

REASONS = ("end", "stop", "length", "cancelled")


@dataclass(eq=False)
class Request:
    """A prompt that is being continued `n` times. Compared by identity; `Batcher.cancel` takes it."""

    ids: tuple[int, ...]
    sampling: Sampling
    n: int
    cancelled: bool = False
    left: int = field(default=0)  # samples not yet finished


@dataclass(frozen=True)
class Piece:
    """One more token of a text.

    `text` is what can be said for certain by now: bytes that are not yet a character, and what may become a stop
    string, come with a later piece; joined, the texts of all pieces are the completion. `reason` is "" while the text
    goes on, else one of REASONS: "end" (the model ended it), "stop" (a stop string, or the constraint is met and allows
    nothing more), "length" (`tokens`, or the context, is used up), "cancelled" (`token` is then None).
    `logprob` in nats, of the model as it is: before penalties, temperature, truncation and constraint.
    """

    request: Request
    sample: int  # 0 .. n - 1
    token: int | None
    text: str
    logprob: float
    top: tuple[tuple[int, float], ...] = ()  # likeliest alternatives, likeliest first
    reason: str = ""


@dataclass(frozen=True)
class Completion:
    """One continuation: `text`; `ids` with the end token where the model ended it; a `logprob` an id; why it ended."""

    text: str
    ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    reason: str
    top: tuple[tuple[tuple[int, float], ...], ...] = ()
