"""The thread that drives a language model: a token each step for all texts under way, whoever asked for them.

    prepare (a pool of threads)   submit: texts -> ids, batcher.add
    this thread                   batcher.step(), pieces go to the event loop, all of a step in one call
    the event loop                hands pieces to the tickets that wait for them

A text is cancelled by a mark on its request, which the next step sees: work stops within a token. A step that fails
(a bug, no memory) ends the texts under way with an error and begins anew with an empty batcher; the server lives on.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

from likely.language.decode import Batcher, Piece, Request, Sampling
from likely.server.metrics import Metrics
from likely.server.refusal import Refusal
from likely.server.ticket import Ticket

Result = TypeVar("Result")
LAST = 5.0  # seconds that the last step may take
log = logging.getLogger("likely.server")


class Worker:
    """`make`: a new batcher. `queue`: texts that may wait for a row."""

    def __init__(self, name: str, make: Callable[[], Batcher], rows: int, queue: int, metrics: Metrics) -> None:
        self.name, self.make, self.metrics = name, make, metrics
        self.batcher = make()
        self.rows, self.most = rows, rows + queue
        self.pending = 0  # texts asked for and not yet whole
        self._tickets: dict[Request, Ticket] = {}
        self._left: dict[Request, int] = {}  # texts of each that are not whole yet
        self._early: dict[Request, list[Piece]] = {}  # pieces of requests whose ticket is not known yet
        self._jobs: deque[Callable[[], None]] = deque()
        self._wake = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name=f"likely-{name}", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None

    # ------------------------------------------------------------------------------- called in the event loop

    def start(self) -> None:
        """Begin to work, and to speak to the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def end(self) -> None:
        """End the thread after the step it is in."""
        with self._wake:
            self._ending = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join(LAST)

    def reserve(self, texts: int) -> Ticket:
        """A place for so many texts. Raises Refusal (429) where too many wait already."""
        if self.pending + texts > self.most and self.pending:
            self.metrics.count("rejected_total", reason="queue")
            seconds = min(60, 1 + self.pending // max(self.rows, 1))
            raise Refusal(
                429, f"{self.pending} texts are under way or wait for {self.name!r}, {self.most} are the most: try "
                f"again in {seconds} s.", code="queue_full", retry=seconds,
            )  # fmt: skip
        self.pending += texts
        return Ticket(texts, self._cancel)

    def _cancel(self, request: Request) -> None:
        self.batcher.cancel(request)
        self.wake()

    # ------------------------------------------------------------------------------------ called in any thread

    def release(self, texts: int) -> None:
        """Texts that will not be asked for after all."""
        self._call(self._release, texts)

    def submit(self, ticket: Ticket, prompts: Sequence[tuple[int, ...]], sampling: Sequence[Sampling], n: int) -> None:
        """Ask for n continuations of each prompt. Raises LikelyError; `ticket.requests` are those that were added."""
        again: dict[tuple[int, ...], int] = {}
        for place, (ids, wish) in enumerate(zip(prompts, sampling, strict=True)):
            if ticket.stopped:
                break
            batcher = self.batcher
            first = again.get(ids, 0)
            request = batcher.add(ids, wish, n=n, first=first * n)
            again[ids] = first + 1
            ticket.add(request, (place - first) * n)
            self._call(self._register, request, ticket, batcher)
            self.wake()

    def score(self, work: Callable[[], Result]) -> Future[Result]:
        """Have the network do something else between two steps: no two threads use it at once."""
        future: Future[Result] = Future()

        def job() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)

        self._jobs.append(job)
        self.wake()
        return future

    def wake(self) -> None:
        """There is something to do."""
        with self._wake:
            self._wake.notify()

    def _call(self, function: Callable[..., None], *values: object) -> None:
        assert self._loop is not None
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *values)

    # ----------------------------------------------------------------------------------------- the own thread

    def _run(self) -> None:
        while True:
            with self._wake:
                while not (self._ending or self._jobs or self.batcher.active or self.batcher.waiting):
                    self._wake.wait()
                if self._ending:
                    return
            if self._jobs:
                self._jobs.popleft()()
            try:
                pieces = self.batcher.step()
            except Exception as error:
                log.exception("A step of %r failed; its texts are given up.", self.name)
                self.batcher = self.make()
                self._call(self._fail, error)
                continue
            if pieces:
                self._call(self._deliver, pieces)

    # --------------------------------------------------------------------------------- again in the event loop

    def _release(self, texts: int) -> None:
        self.pending -= texts

    def _register(self, request: Request, ticket: Ticket, batcher: Batcher) -> None:
        if batcher is not self.batcher:  # it failed meanwhile
            self.pending -= request.n
            ticket.stop("failed", RuntimeError("a step failed"))
            return
        self._tickets[request], self._left[request] = ticket, request.n
        for piece in self._early.pop(request, []):
            self._hand(piece)

    def _deliver(self, pieces: Sequence[Piece]) -> None:
        made = 0
        for piece in pieces:
            made += piece.token is not None
            if piece.request in self._tickets:
                self._hand(piece)
            else:
                self._early.setdefault(piece.request, []).append(piece)
        self.metrics.count("tokens_total", made, model=self.name, kind="made")

    def _hand(self, piece: Piece) -> None:
        request, ticket = piece.request, self._tickets[piece.request]
        if ticket.stopped and piece.token is not None:
            self.metrics.count("wasted_tokens_total", model=self.name)
        ticket.come(piece)
        if piece.reason:
            self.pending -= 1
            self.metrics.count("texts_total", model=self.name, reason=piece.reason)
            self._left[request] -= 1
            if not self._left[request]:
                del self._tickets[request], self._left[request]

    def _fail(self, error: BaseException) -> None:
        for request, ticket in self._tickets.items():
            self.pending -= self._left[request]
            ticket.stop("failed", error)
        self._tickets.clear()
        self._left.clear()
        self._early.clear()
