"""From a socket to a running server, and to its end.

    bind      a loopback address, unless a public one was asked for in so many words
    start     requests are answered at once (503 until the models are loaded)
    SIGINT    (SIGTERM) no new requests; those under way may go on for `grace` seconds, then they are told and given up
    again     now

uvicorn speaks HTTP. It does not bound how long a request's first lines may take; `protocol` adds that.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from typing import Any

from likely.errors import OptionError
from likely.registry import require
from likely.server.app import App
from likely.server.service import Service
from likely.server.settings import Access, Limits, loopback
from likely.server.shelf import Shelf

DOING = "serving models"
BACKLOG, IDLE, LAST = 128, 15, 5.0  # connections that wait; seconds between requests; seconds to say goodbye in
log = logging.getLogger("likely.server")


def bind(host: str, port: int, *, public: bool = False) -> socket.socket:
    """A socket that listens. Raises OptionError where the address is not this machine's own and `public` is false, or
    it cannot be had."""
    if not loopback(host) and not public:
        raise OptionError(
            f"--host {host!r} can be reached from other machines. If that is what you want: --public, a --token-file, "
            "and TLS by a proxy in front; from this machine alone: --host 127.0.0.1"
        )
    if not 0 <= port <= 65535:
        raise OptionError(f"--port {port}: give a number from 0 (any free one) to 65535.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
    except (OSError, UnicodeError) as error:
        made.close()
        why = getattr(error, "strerror", None) or str(error)
        raise OptionError(
            f"Cannot listen at {host}:{port}: {why}. Give another --port, or 0 for any free one."
        ) from error
    return made


def url(made: socket.socket) -> str:
    """The address of a socket as a URL."""
    host, port = made.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


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


def plain(config: Any) -> Any:
    """uvicorn's server, which leaves signals to us: it would raise them again at the end."""
    base: Any = require("uvicorn", DOING).Server

    class Plain(base):  # type: ignore[misc]
        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

    return Plain(config)


def protocol(seconds: float) -> Any:
    """uvicorn's HTTP/1.1, where a connection that has not sent a whole head of a request after so long is closed."""
    require("uvicorn", DOING)
    base: Any = require("uvicorn.protocols.http.h11_impl", DOING).H11Protocol

    class Protocol(base):  # type: ignore[misc]
        patience: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._watch()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self._watch()

        def connection_lost(self, exc: Exception | None) -> None:
            if self.patience is not None:
                self.patience.cancel()
            super().connection_lost(exc)

        def _watch(self) -> None:
            """The clock runs while no request is being answered, from the first byte of the next one on."""
            idle = self.cycle is None or self.cycle.response_complete
            if not idle and self.patience is not None:
                self.patience.cancel()
                self.patience = None
            elif idle and self.patience is None:
                self.patience = self.loop.call_later(seconds, self._late)

        def _late(self) -> None:
            self.patience = None
            if (self.cycle is None or self.cycle.response_complete) and not self.transport.is_closing():
                self.transport.abort()

    return Protocol
