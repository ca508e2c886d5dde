"""One request and its answer, over ASGI (https://asgi.readthedocs.io, version 3): what comes in is a scope and a stream
of messages, what goes out is a start and parts of a body. A web framework would add nothing that is needed here.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any

from likely.server.refusal import Gone, Refusal

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = Sequence[tuple[bytes, bytes]]
SMALL = 65_536  # bytes of an unread body that are worth reading to keep a connection


class Exchange:
    """`headers`: names in lower case; of a header that comes twice, the values joined by a comma. `extra`: headers of
    the answer, whatever it is. `stall`: seconds that the client may take to read what is in its way."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, stall: float) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        address, port = (scope.get("server") or ("", 0))[:2]
        self.server: tuple[str, int] = address, port
        self.client: str = (scope.get("client") or ("", 0))[0]
        self.headers: dict[str, str] = {}
        for name, value in scope["headers"]:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text
        self.receive, self._send, self.stall = receive, send, stall
        self.id, self.began = f"req-{secrets.token_hex(8)}", time.monotonic()
        self.route = "other"  # for the metrics
        self.status = 0  # of the answer, once it has begun
        self.read = False  # whether the body was asked for
        self.extra: list[tuple[bytes, bytes]] = [
            (b"x-request-id", self.id.encode()), (b"cache-control", b"no-store"),
            (b"x-content-type-options", b"nosniff"),
        ]  # fmt: skip

    # -------------------------------------------------------------------------------------------------- answers

    async def json(self, value: Any, status: int = 200, headers: Headers = ()) -> None:
        """Answer with JSON."""
        data = json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
        await self.whole(data, "application/json", status, headers)

    async def whole(self, data: bytes, media: str, status: int = 200, headers: Headers = ()) -> None:
        """Answer with these bytes."""
        await self.start(media, status, [(b"content-length", str(len(data)).encode()), *headers])
        await self.write(data, more=False)

    async def refuse(self, refused: Refusal, headers: Headers = ()) -> None:
        """Answer with an error, or, where the answer has begun, with an event that tells of it."""
        if not self.status:
            await self.json(refused.body(), refused.status, [*refused.headers(), *headers, *self._goodbye()])
            return
        await self.event(refused.body())
        await self.write(b"", more=False)

    def _goodbye(self) -> Headers:
        """A large body that nobody will read ends the connection."""
        length = self.headers.get("content-length", "0")
        large = "transfer-encoding" in self.headers or not length.isdigit() or int(length[:12]) > SMALL
        return [(b"connection", b"close")] if large and not self.read else []

    async def start(self, media: str, status: int = 200, headers: Headers = ()) -> None:
        """Begin the answer."""
        self.status = status
        found = [(b"content-type", media.encode()), *headers, *self.extra]
        await self._send({"type": "http.response.start", "status": status, "headers": found})

    async def event(self, value: Any) -> None:
        """A server-sent event."""
        await self.write(b"data: " + json.dumps(value, ensure_ascii=False).encode("utf-8", "replace") + b"\n\n")

    async def write(self, data: bytes, more: bool = True) -> None:
        """The next part of the answer. Raises Gone where the client does not read what it was sent."""
        try:
            async with asyncio.timeout(self.stall):
                await self._send({"type": "http.response.body", "body": data, "more_body": more})
        except TimeoutError:
            raise Gone from None
