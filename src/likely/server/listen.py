"""Where a server listens, and how uvicorn speaks HTTP for it.

uvicorn does not bound how long a request's first lines may take, and raises signals again at its end: `protocol` adds
the one, `plain` takes away the other.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from likely.errors import OptionError
from likely.registry import require
from likely.server.settings import loopback

DOING = "serving models"
BACKLOG, IDLE = 128, 15  # connections that wait; seconds between requests


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
