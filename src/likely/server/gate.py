"""Who may ask, and whether there is room: looked at before a request's body is read.

A web page that a user looks at can send requests to the user's own machine. What keeps it out: the Host header must
name this server (a page that has its own name point here names itself: DNS rebinding), the Origin header must be that
of a page that was allowed, requests that a browser says come from another site are refused, and the token is needed.
"""

from __future__ import annotations

from collections import Counter

from likely.server.exchange import Exchange
from likely.server.metrics import Metrics
from likely.server.refusal import Refusal
from likely.server.settings import Access, Limits

OPEN = ("/healthz", "/readyz")  # say nothing but whether the server lives; probes have no token
METHODS, ASKED = b"GET, POST, OPTIONS", b"authorization, content-type, x-request-id"


class Gate:
    """Counts the requests under way, by client: a token at an address."""

    def __init__(self, access: Access, limits: Limits, metrics: Metrics) -> None:
        self.access, self.limits, self.metrics = access, limits, metrics
        self.inside: Counter[tuple[int, str]] = Counter()

    def enter(self, exchange: Exchange) -> tuple[int, str] | None:
        """The client, who is counted until it leaves; None = one who asks for what is open to all. Raises Refusal."""
        if exchange.path in OPEN:
            return None
        try:
            self._place(exchange)
            if exchange.method == "OPTIONS":
                return None
            client = self._token(exchange), exchange.client
            self._room(client)
        except Refusal as refused:
            self.metrics.count("rejected_total", reason=refused.code or "other")
            raise
        self.inside[client] += 1
        return client

    def leave(self, client: tuple[int, str] | None) -> None:
        """The client's request is over."""
        if client is not None:
            self.inside[client] -= 1
            if not self.inside[client]:
                del self.inside[client]

    def _place(self, exchange: Exchange) -> None:
        """Where a request was sent to, and from."""
        headers = exchange.headers
        if not self.access.host(headers.get("host", ""), exchange.server):
            raise Refusal(
                403, f"The Host header is {headers.get('host', '')[:80]!r}, which is not this server's address. If it "
                "is a name of yours: likely serve --name HOST[:PORT]", code="host",
            )  # fmt: skip
        origin = headers.get("origin")
        if origin is not None:
            if not self.access.origin(origin, exchange.server):
                raise Refusal(
                    403, f"Pages of {origin[:80]!r} may not call this server. To allow them: likely serve --origin "
                    "SCHEME://HOST[:PORT]", code="origin",
                )  # fmt: skip
            exchange.extra += [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"Origin")]
        elif headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise Refusal(403, "Requests from pages of other sites are refused.", code="origin")

    def _token(self, exchange: Exchange) -> int:
        client = self.access.client(exchange.headers.get("authorization", ""))
        if client is None:
            raise Refusal(
                401, "The bearer token is missing or wrong: Authorization: Bearer TOKEN, as the server printed it when "
                "it started (api_key of OpenAI's clients).", code="invalid_api_key",
            )  # fmt: skip
        return client

    def _room(self, client: tuple[int, str]) -> None:
        if self.inside.total() >= self.limits.requests:
            raise Refusal(429, f"{self.limits.requests} requests are under way, the most.", code="requests", retry=2)
        if self.inside[client] >= self.limits.each:
            raise Refusal(
                429,
                f"{self.limits.each} requests of yours are under way, the most for one client.",
                code="client",
                retry=2,
            )
