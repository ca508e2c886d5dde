"""From a socket to a running server, and to its end.

    bind      a loopback address, unless a public one was asked for in so many words
    start     requests are answered at once (503 until the models are loaded)
    SIGINT    (SIGTERM) no new requests; those under way may go on for `grace` seconds, then they are told and given up
    again     now

Addresses and HTTP: `listen`.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from likely.registry import require
from likely.server.app import App
from likely.server.listen import BACKLOG, DOING, IDLE, bind, plain, protocol, url
from likely.server.service import Service
from likely.server.settings import Access, Limits
from likely.server.shelf import Shelf

LAST = 5.0  # seconds to say goodbye in
__all__ = ["Server", "bind", "url"]
log = logging.getLogger("likely.server")


class Server:
    """`run` serves until a signal or `stop`; in a thread other than the main one signals are not listened to.

    `loaded` is called in the end of loading. What loading raises, `run` raises.
    """

    def __init__(self, shelf: Shelf, access: Access, limits: Limits, *, listen: Callable[[str], None] = lambda _: None,
                 loaded: Callable[[], None] = lambda: None) -> None:  # fmt: skip
        self.uvicorn = require("uvicorn", DOING)
        self.shelf, self.limits, self.listen, self.loaded = shelf, limits, listen, loaded
        self.service = Service(shelf, access, limits)
        self._stops = 0
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, made: socket.socket) -> None:
        """Serve. Raises LikelyError where a model cannot be loaded."""
        asyncio.run(self._run(made))

    def stop(self) -> None:
        """Come to an end; from any thread. Again: now."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._asked)

    def _asked(self) -> None:
        self._stops += 1
        self.service.close()
        assert self._stop is not None
        self._stop.set()
        if self._stops > 1:
            self.service.finish()

    async def _run(self, made: socket.socket) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = self._server()
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                with suppress(NotImplementedError):  # Windows: Ctrl-C then ends all at once
                    self._loop.add_signal_handler(number, self._asked)
        serving = asyncio.create_task(server.serve([made]))
        serving.add_done_callback(lambda _: self._asked())
        try:
            await self._load()
            await self._stop.wait()
            await self._drain()
        finally:
            self.service.close()
            self.service.finish()
            server.should_exit = True
            server.force_exit = self._stops > 1
            await serving
            self.service.end()

    async def _load(self) -> None:
        """Wait for the models, or for the end."""
        assert self._stop is not None
        promise: Future[None] = Future()

        def load() -> None:
            try:
                self.shelf.load(self.listen)
                promise.set_result(None)
            except BaseException as error:
                promise.set_exception(error)

        # A daemon, so that the process can end while a large file is still being read.
        threading.Thread(target=load, name="likely-load", daemon=True).start()
        loading, stopped = asyncio.wrap_future(promise), asyncio.create_task(self._stop.wait())
        both: list[asyncio.Future[Any]] = [loading, stopped]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if loading.done():
            loading.result()
            self.shelf.start()
            self.loaded()

    async def _drain(self) -> None:
        """Until nothing is under way, the grace is over, or there is a second signal."""
        end = asyncio.get_running_loop().time() + self.limits.grace
        while self.service.gate.inside and self._stops < 2 and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.02)

    def _server(self) -> Any:
        config = self.uvicorn.Config(
            App(self.service), http=protocol(self.limits.upload), ws="none", lifespan="off", interface="asgi3",
            log_config=None, log_level="critical", access_log=False, proxy_headers=False, server_header=False,
            backlog=BACKLOG, timeout_keep_alive=IDLE, timeout_graceful_shutdown=LAST,
        )  # fmt: skip
        return plain(config)
