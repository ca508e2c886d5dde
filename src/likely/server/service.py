"""What all requests share: models, caps, counts, a few threads for what would hold up the event loop, and the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeVar

from likely.server.body import Room, parse, read
from likely.server.exchange import Exchange
from likely.server.gate import Gate
from likely.server.metrics import Sample
from likely.server.refusal import Refusal
from likely.server.settings import Access, Limits
from likely.server.shelf import Shelf

Result = TypeVar("Result")
THREADS, LARGE = 2, 16_384  # threads that prepare; bytes of a body from which they take it apart


class Stoppable(Protocol):
    """Something under way that may be given up."""

    def stop(self, why: str) -> None: ...


class Service:
    """One server's state. `close` asks for the end: new requests are refused; `finish` gives up those under way."""

    def __init__(self, shelf: Shelf, access: Access, limits: Limits) -> None:
        self.shelf, self.limits, self.metrics = shelf, limits, shelf.metrics
        self.gate, self.room = Gate(access, limits, self.metrics), Room(limits.held)
        self.pool = ThreadPoolExecutor(THREADS, "likely-prepare")
        self.closing = False
        self._under_way: set[Stoppable] = set()
        self.metrics.gauge("under_way", lambda: [({}, self.gate.inside.total())])
        self.metrics.gauge("ready", lambda: [({}, self.ready)])
        self.metrics.gauge("active", lambda: self._each("active"))
        self.metrics.gauge("waiting", lambda: self._each("waiting"))

    @property
    def ready(self) -> bool:
        """Whether requests are taken."""
        return self.shelf.ready and not self.closing

    def _each(self, what: str) -> list[Sample]:
        return [({"model": model.name}, getattr(model, what)) for model in self.shelf.models.values()]

    def open(self) -> None:
        """Raises Refusal (503) while models are being loaded, and when the end is near."""
        if self.closing:
            raise Refusal(503, "The server is shutting down.", code="shutting_down", retry=5)
        if not self.shelf.ready:
            raise Refusal(503, "The models are still being loaded.", code="loading", retry=2)

    async def values(self, exchange: Exchange) -> dict[str, Any]:
        """The JSON object that a request carries. Raises Refusal, Gone."""
        exchange.read = True
        body = await read(exchange.receive, exchange.headers, self.limits, self.room)
        try:
            if len(body) < LARGE:
                return parse(body, self.limits.depth)
            return await self.aside(lambda: parse(body, self.limits.depth))
        finally:
            self.room.give(len(body))

    async def aside(self, work: Callable[[], Result]) -> Result:
        """What `work` gives, done in another thread; it is done to the end even where nobody waits any more."""
        future = asyncio.get_running_loop().run_in_executor(self.pool, work)
        return await asyncio.shield(future)

    @asynccontextmanager
    async def watched(self, work: Stoppable, exchange: Exchange) -> AsyncIterator[None]:
        """Stops the work when the client leaves ("gone"), when its time is up ("late"), or at the end ("closing")."""
        timer = asyncio.get_running_loop().call_later(self.limits.seconds, work.stop, "late")

        async def look() -> None:
            while (await exchange.receive())["type"] != "http.disconnect":
                pass
            work.stop("gone")

        task = asyncio.create_task(look())
        self._under_way.add(work)
        try:
            yield
        finally:
            timer.cancel()
            task.cancel()
            self._under_way.discard(work)
            work.stop("gone")

    def close(self) -> None:
        """Take no more requests."""
        self.closing = True

    def finish(self) -> None:
        """Give up what is under way: whoever waits is told."""
        for work in list(self._under_way):
            work.stop("closing")

    def end(self) -> None:
        """Let the threads go."""
        self.finish()
        self.shelf.end()
        self.pool.shutdown(wait=False, cancel_futures=True)
