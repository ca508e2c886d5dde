"""A generator at work: one thread, since it is not made for several; a bounded queue before it.

What is asked for cannot be stopped in the middle of a piece (`Generator.stream` makes up to 25,000 rows at once), but
between pieces, and before it has begun.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

import polars as pl

from likely.generator import Generator
from likely.output import many
from likely.server.metrics import Metrics
from likely.server.refusal import Gone, Refusal
from likely.server.ticket import STOPS

Result = TypeVar("Result")


class Order:
    """One request. The work looks at `stopped` between pieces."""

    def __init__(self) -> None:
        self.stopped = ""
        self.over = asyncio.Event()

    def stop(self, why: str) -> None:
        """Nobody waits any more, for one of the reasons of STOPS."""
        self.stopped = self.stopped or why
        self.over.set()

    def look(self) -> None:
        """Raises Gone, in the working thread, when nobody waits any more."""
        if self.stopped:
            raise Gone

    def refuse(self) -> None:
        """Raises what the order was stopped with, if it was."""
        if self.stopped:
            raise STOPS[self.stopped]()


class Desk:
    """`most`: orders that may wait."""

    kind = "generator"

    def __init__(self, name: str, generator: Generator, most: int, metrics: Metrics) -> None:
        self.name, self.generator, self.most, self.metrics = name, generator, most, metrics
        self.created = int(time.time())
        self.pending = 0
        self.busy = False
        self._orders: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=f"likely-{name}", daemon=True)

    @property
    def things(self) -> str:
        """What it makes."""
        return many(self.generator)

    @property
    def active(self) -> int:
        """Orders at work."""
        return int(self.busy)

    @property
    def waiting(self) -> int:
        """Orders that wait."""
        return self.pending - self.active

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def end(self) -> None:
        """Stop after what is being made."""
        self._orders.put(None)

    def _run(self) -> None:
        while (turn := self._orders.get()) is not None:
            self.busy = True
            turn()
            self.busy = False

    async def run(self, order: Order, work: Callable[[Generator, Callable[[], None]], Result]) -> Result:
        """What `work(generator, look)` gives. Raises Refusal (429) where too many wait, and what the order was stopped
        with; the work then ends at its next `look`."""
        if self.pending > self.most:
            self.metrics.count("rejected_total", reason="queue")
            raise Refusal(
                429,
                f"{self.pending} requests wait for {self.name!r}, the most: try again soon.",
                code="queue_full",
                retry=2,
            )
        self.pending += 1
        promise: Future[Result] = Future()

        def turn() -> None:
            try:
                order.look()
                promise.set_result(work(self.generator, order.look))
            except pl.exceptions.PolarsError as error:  # what is deep inside of a request's values
                refused = Refusal(400, f"The values do not fit the model's columns: {str(error)[:200]}")
                refused.__cause__ = error
                promise.set_exception(refused)
            except BaseException as error:
                promise.set_exception(error)

        def done(_: object) -> None:
            self.pending -= 1
            order.over.set()

        self._orders.put(turn)
        future = asyncio.wrap_future(promise)
        future.add_done_callback(done)
        await order.over.wait()
        if not future.done():
            future.add_done_callback(lambda one: one.cancelled() or one.exception())  # heard, by nobody
            order.refuse()
        return future.result()
