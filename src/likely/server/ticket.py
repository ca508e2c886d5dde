"""One client's request to a model while it is being worked on: what came, whether anybody still waits, why not.

All of it happens in the thread of the event loop, but for `add`: it appends a request first and looks at `stopped`
then, `stop` does the reverse, so no request slips through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from likely.language.decode import Piece, Request
from likely.server.refusal import Gone, Refusal

STOPS: dict[str, Callable[[], Exception]] = {
    "gone": Gone,
    "slow": Gone,  # it does not read what it is sent
    "late": lambda: Refusal(
        503, "The request took longer than the server allows: ask for fewer tokens, or try when it is less busy.",
        code="time_limit", again=False,
    ),
    "closing": lambda: Refusal(503, "The server is shutting down.", code="shutting_down", retry=5),
}  # fmt: skip


class Ticket:
    """`texts` are made for it. `cancel` is called with a request that nobody waits for any more."""

    def __init__(self, texts: int, cancel: Callable[[Request], None]) -> None:
        self.left, self._cancel = texts, cancel
        self.requests: list[Request] = []
        self.base: dict[Request, int] = {}  # what to add to a sample's number to get the text's
        self.stopped = ""
        self.error: BaseException | None = None
        self._pieces: list[Piece] = []
        self._come = asyncio.Event()

    def add(self, request: Request, base: int) -> None:
        """One more request, whose sample 0 is text `base`. Called in the thread that prepares."""
        self.base[request] = base
        self.requests.append(request)
        if self.stopped:
            self._cancel(request)

    def stop(self, why: str, error: BaseException | None = None) -> None:
        """Nobody waits any more, for one of the reasons of STOPS; or "failed", with the error."""
        if self.stopped:
            return
        self.stopped, self.error = why, error
        for request in list(self.requests):
            self._cancel(request)
        self._come.set()

    def come(self, piece: Piece) -> None:
        """A piece came."""
        self._pieces.append(piece)
        self.left -= bool(piece.reason)
        self._come.set()

    @property
    def unread(self) -> bool:
        """Whether pieces have come that nobody has looked at."""
        return bool(self._pieces)

    def index(self, piece: Piece) -> int:
        """The number of a piece's text, counted prompt by prompt."""
        return self.base[piece.request] + piece.sample

    def look(self) -> None:
        """Raises what the ticket was stopped with, if it was."""
        if self.stopped:
            raise self.error or STOPS[self.stopped]()

    async def pieces(self, patience: float | None = None) -> list[Piece]:
        """All that came since the last look, at least one; [] when `patience` seconds went by, or all texts are whole.

        Raises what the ticket was stopped with.
        """
        if not self._pieces and self.left and not self.stopped:
            try:
                async with asyncio.timeout(patience):
                    await self._come.wait()
            except TimeoutError:
                return []
        self._come.clear()
        self.look()
        found, self._pieces = self._pieces, []
        return found
