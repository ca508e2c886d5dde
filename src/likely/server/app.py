"""The routes, as one ASGI application: any ASGI server can run it, a larger application can mount it.

    GET  /v1/models  /v1/models/NAME       POST /v1/completions  /v1/chat/completions       OpenAI's
    POST /v1/likely/sample  fill  surprise                                                  our own
    GET  /healthz (alive)  /readyz (models loaded, not ending)  /metrics (Prometheus)

Errors leave here as JSON with a status; what was not foreseen is a 500 that tells nothing of the inside, and an entry
in the log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from likely.server import speech, verbs
from likely.server.exchange import Exchange, Receive, Scope, Send
from likely.server.gate import ASKED, METHODS
from likely.server.refusal import Gone, Refusal, refusal
from likely.server.service import Service
from likely.server.shelf import Model

log = logging.getLogger("likely.server")
Handler = Callable[[Service, Exchange], Awaitable[None]]


async def health(service: Service, exchange: Exchange) -> None:
    """GET /healthz."""
    await exchange.json({"status": "ok"})


async def readiness(service: Service, exchange: Exchange) -> None:
    """GET /readyz."""
    service.open()
    await exchange.json({"status": "ready"})


async def metrics(service: Service, exchange: Exchange) -> None:
    """GET /metrics."""
    await exchange.whole(service.metrics.text().encode(), "text/plain; version=0.0.4; charset=utf-8")


async def models(service: Service, exchange: Exchange) -> None:
    """GET /v1/models."""
    await exchange.json({"object": "list", "data": [_model(model) for model in service.shelf.models.values()]})


async def model(service: Service, exchange: Exchange) -> None:
    """GET /v1/models/NAME."""
    await exchange.json(_model(service.shelf.get(exchange.path.removeprefix("/v1/models/"))))


def _model(found: Model) -> dict[str, Any]:
    return {"id": found.name, "object": "model", "created": found.created, "owned_by": "likely", "kind": found.kind}


ROUTES: dict[str, tuple[str, Handler]] = {
    "/healthz": ("GET", health),
    "/readyz": ("GET", readiness),
    "/metrics": ("GET", metrics),
    "/v1/models": ("GET", models),
    "/v1/completions": ("POST", speech.completions),
    "/v1/chat/completions": ("POST", speech.chats),
    "/v1/likely/sample": ("POST", verbs.sample),
    "/v1/likely/fill": ("POST", verbs.fill),
    "/v1/likely/surprise": ("POST", verbs.surprise),
}
ALWAYS = ("/healthz", "/readyz", "/metrics")  # answered while models are being loaded, and at the end


class App:
    """The ASGI application of a service."""

    def __init__(self, service: Service) -> None:
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; pass over what is not HTTP."""
        if scope["type"] != "http":
            return
        exchange, service = Exchange(scope, receive, send, self.service.limits.stall), self.service
        client = None
        try:
            client = service.gate.enter(exchange)
            await self._serve(exchange)
        except Gone:
            exchange.status = exchange.status or 499
        except Exception as error:
            await self._refuse(exchange, error)
        except asyncio.CancelledError:
            service.metrics.count("rejected_total", reason="cancelled")
            raise
        finally:
            service.gate.leave(client)
            service.metrics.count("requests_total", route=exchange.route, status=str(exchange.status))
            seconds = time.monotonic() - exchange.began
            if exchange.path not in ALWAYS:
                service.metrics.took("request_seconds", seconds, route=exchange.route)
                log.info(
                    "%s %s %s %r %d %.3f s", exchange.id, exchange.client, exchange.method[:20], exchange.path[:100],
                    exchange.status, seconds,
                )  # fmt: skip

    async def _serve(self, exchange: Exchange) -> None:
        route = "/v1/models/NAME" if exchange.path.startswith("/v1/models/") else exchange.path
        method, handler = ("GET", model) if route == "/v1/models/NAME" else ROUTES.get(route, ("", None))
        if handler is None:
            known = ", ".join(ROUTES)
            raise Refusal(404, f"There is no {exchange.path[:80]!r} here; there are {known}.", code="unknown_url")
        exchange.route = route
        if exchange.method == "OPTIONS":
            await exchange.whole(b"", "text/plain", 204, [
                (b"access-control-allow-methods", METHODS), (b"access-control-allow-headers", ASKED),
                (b"access-control-max-age", b"600"),
            ])  # fmt: skip
            return
        if exchange.method != method and (exchange.method, method) != ("HEAD", "GET"):
            refused = Refusal(405, f"{route} takes {method}, not {exchange.method[:20]}.", code="method_not_allowed")
            await exchange.refuse(refused, [(b"allow", method.encode())])
            return
        if route not in ALWAYS:
            self.service.open()
        await handler(self.service, exchange)

    async def _refuse(self, exchange: Exchange, error: Exception) -> None:
        refused = refusal(error)
        if refused.status == 500:
            log.error("%s %s failed (%s)", exchange.method, exchange.path, exchange.id, exc_info=error)
        with contextlib.suppress(Gone):
            await exchange.refuse(refused)
