"""Tokens in, text out: never half a character, never a part of a stop string.

Text is held back while it may still become a stop string: the longest end of it that begins one.
"""

from __future__ import annotations

from collections.abc import Sequence

from likely.language.tokenizer import Stream, Tokenizer


class Text:
    """One text under way. `stopped`: a stop string came; what is before it is the text."""

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str]) -> None:
        self.stream, self.stops = Stream(tokenizer), tuple(stops)
        self.held = ""
        self.stopped = False

    def feed(self, token: int) -> str:
        """What can be said for certain after this token."""
        return self._release(self.stream.feed(token))

    def flush(self) -> str:
        """What was held back, at the end; bytes that never became a character are U+FFFD."""
        if self.stopped:
            return ""
        said = self._release(self.stream.flush())
        said, self.held = said + self.held, ""
        return said

    def _release(self, text: str) -> str:
        self.held += text
        found = [at for stop in self.stops if (at := self.held.find(stop)) >= 0]
        if found:
            said, self.held, self.stopped = self.held[: min(found)], "", True
            return said
        keep = self._beginning()
        said, self.held = self.held[: len(self.held) - keep], self.held[len(self.held) - keep :]
        return said

    def _beginning(self) -> int:
        """Length of the longest end of the held text that begins a stop string."""
        longest = max(map(len, self.stops), default=1) - 1
        for length in range(min(longest, len(self.held)), 0, -1):
            end = self.held[-length:]
            if any(stop.startswith(end) for stop in self.stops):
                return length
        return 0
