"""The page's server: links with a token for each annotator and one for the owner, from a socket to its end."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import signal
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import quote

from likely.registry import require
from likely.server.listen import BACKLOG, DOING, IDLE, plain, protocol
from likely.server.settings import Access, Limits

LAST = 3.0  # seconds for answers under way when it ends


def tokens(annotators: Sequence[str], secret: str = "") -> list[str]:
    """A token for each annotator, and the owner's, the last. With a secret they are the same in every run."""
    if not secret:
        return [secrets.token_urlsafe(24) for _ in range(len(annotators) + 1)]
    names = [*(f"annotator {name}" for name in annotators), "owner"]
    return [hmac.new(secret.encode(), name.encode(), hashlib.sha256).hexdigest()[:40] for name in names]


def access(keys: Sequence[str], names: Sequence[str] = ()) -> Access:
    """Who may ask: those who hold a token, by the server's address or by a name (HOST[:PORT]) that a proxy gives it,
    with or without TLS. Raises OptionError."""
    return Access.of(keys, hosts=names, origins=[f"https://{name}" for name in names])


def link(address: str, token: str, page: str = "/") -> str:
    """A link that holds its token in the fragment, which no browser sends anywhere."""
    return f"{address}{page}#{quote(token)}"


class Host:
    """Serves an application until a signal or `stop`. `started` is called when it listens."""

    def __init__(self, app: Any, *, limits: Limits | None = None, started: Callable[[], None] = lambda: None) -> None:
        self.uvicorn = require("uvicorn", DOING)
        self.app, self.limits, self.started = app, limits or Limits(), started
        self._server: Any = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stops = 0

    def run(self, made: socket.socket) -> None:
        """Serve on this socket."""
        asyncio.run(self._run(made))

    def stop(self) -> None:
        """Come to an end; from any thread. Again: now."""
        if self._loop is not None and not self._loop.is_closed():
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._asked)

    def _asked(self) -> None:
        self._stops += 1
        self._server.should_exit = True
        self._server.force_exit = self._stops > 1

    async def _run(self, made: socket.socket) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = plain(self.uvicorn.Config(
            self.app, http=protocol(self.limits.upload), ws="none", lifespan="off", interface="asgi3", log_config=None,
            log_level="critical", access_log=False, proxy_headers=False, server_header=False, backlog=BACKLOG,
            timeout_keep_alive=IDLE, timeout_graceful_shutdown=LAST,
        ))  # fmt: skip
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                with suppress(NotImplementedError):  # Windows: Ctrl-C then ends all at once
                    self._loop.add_signal_handler(number, self._asked)
        serving = asyncio.create_task(self._server.serve([made]))
        while not self._server.started and not serving.done():
            await asyncio.sleep(0.01)
        self.started()
        await serving
