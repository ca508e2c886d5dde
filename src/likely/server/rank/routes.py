"""The ranking page's requests, as one ASGI application.

    GET  /  /results  /static/NAME          the page: the same for everybody, holds nothing of anybody
    GET  /api/state                         how far this annotator is, and the pair that lies before them
    GET  /api/media/ID/left  /right         the bytes of a picture or a sound
    POST /api/answer  /api/undo             on the disk when they are answered; the answer is the next state
    GET  /api/results                       for the owner: a document of its own

Who one is says the token (Authorization: Bearer), which stands in the fragment of the link and so in no request line
and no log. The Host header must name this server, pages of other sites are refused (see `server.gate` for why). What
a browser gets says nothing of models, seeds or files.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from importlib.resources import files
from typing import Any

from likely.errors import StorageError
from likely.server import body
from likely.server.exchange import Exchange, Receive, Scope, Send
from likely.server.rank import view
from likely.server.rank.couples import Showing
from likely.server.rank.making import Making
from likely.server.rank.session import Answered, Session, Stale, Unplayed
from likely.server.refusal import Gone, Refusal, refusal
from likely.server.settings import Access, Limits

log = logging.getLogger("likely.rank")
STATIC = {
    "rank.css": "text/css", "rank.js": "text/javascript", "draw.js": "text/javascript", "results.js": "text/javascript",
}  # fmt: skip
PAGES = {"/": "rank.html", "/results": "results.html"}
FLAGS = ("viewed", "played")
# Styles may stand in frames of made HTML (which inherit this policy, and bring a stricter one of their own).
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' blob: data:; "
    "media-src blob:; font-src data:; connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()), (b"referrer-policy", b"no-referrer"), (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"), (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-dns-prefetch-control", b"off"),
]  # fmt: skip
CODES: dict[type[Exception], tuple[int, str]] = {
    Answered: (409, "answered"), Stale: (409, "stale"), Unplayed: (422, "unplayed"), StorageError: (503, "storage"),
}  # fmt: skip


class App:
    """The application. `people`: the annotator of each token of `access`, None = the owner, who sees the results."""

    def __init__(
        self, session: Session, access: Access, people: tuple[str | None, ...], *, making: Making | None = None,
        results: Callable[[], str] | None = None, limits: Limits | None = None,
    ) -> None:  # fmt: skip
        self.session, self.access, self.people, self.making, self.results = session, access, people, making, results
        self.limits = limits or Limits(body=256 << 10, depth=8)
        self.room = body.Room(self.limits.held)
        self.alone = len([name for name in people if name is not None]) == 1
        folder = files("likely") / "studio"
        self.files = {name: (folder / name).read_bytes() for name in (*STATIC, *PAGES.values())}
        self.routes: dict[str, tuple[str, Callable[[Exchange], Awaitable[None]]]] = {
            "/api/state": ("GET", self.state), "/api/answer": ("POST", self.answer), "/api/undo": ("POST", self.undo),
            "/api/results": ("GET", self.told),
        }  # fmt: skip

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; pass over what is not HTTP."""
        if scope["type"] != "http":
            return
        exchange = Exchange(scope, receive, send, self.limits.stall)
        exchange.extra += HEADERS
        try:
            await self._serve(exchange)
        except Gone:
            pass
        except Exception as error:
            refused = self._refusal(error)
            if refused.status == 500:
                log.error("%s %s failed", exchange.method, exchange.path[:100], exc_info=error)
            with suppress(Gone):
                await exchange.refuse(refused)

    def _refusal(self, error: Exception) -> Refusal:
        for kind, (status, code) in CODES.items():
            if isinstance(error, kind):
                return Refusal(status, str(error), code=code)
        return refusal(error)

    async def _serve(self, exchange: Exchange) -> None:
        path, name = exchange.path, exchange.path.removeprefix("/static/")
        if not self.access.host(exchange.headers.get("host", ""), exchange.server):
            raise Refusal(403, "The Host header does not name this server: open the link as likely rank printed it.",
                          code="host")  # fmt: skip
        if path in PAGES or (path.startswith("/static/") and name in STATIC):
            self._method(exchange, "GET")
            media = "text/html" if path in PAGES else STATIC[name]
            await self._whole(exchange, self.files[PAGES.get(path, name)], f"{media}; charset=utf-8")
            return
        method, handler = self.routes.get(path, ("GET", self.media) if path.startswith("/api/media/") else ("", None))
        if handler is None:
            raise Refusal(404, f"There is no {path[:80]!r} here.", code="unknown_url")
        self._method(exchange, method)
        self._place(exchange)
        await handler(exchange)

    def _method(self, exchange: Exchange, method: str) -> None:
        if exchange.method != method and (exchange.method, method) != ("HEAD", "GET"):
            raise Refusal(405, f"This takes {method}, not {exchange.method[:20]}.", code="method_not_allowed")

    def _place(self, exchange: Exchange) -> None:
        """Where a request comes from."""
        origin = exchange.headers.get("origin")
        foreign = exchange.headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
        if foreign or (origin is not None and not self.access.origin(origin, exchange.server)):
            raise Refusal(403, "Requests from pages of other sites are refused.", code="origin")

    def _who(self, exchange: Exchange, owner: bool = False) -> str:
        """The annotator of the token; with `owner`, whether it is one that sees the results."""
        number = self.access.client(exchange.headers.get("authorization", ""))
        if number is None:
            raise Refusal(401, "This link is not valid, or is one of an earlier run: take the one that likely rank "
                          "printed when it was started last.", code="token")  # fmt: skip
        name = self.people[number]
        if owner and name is not None and not self.alone:
            raise Refusal(403, "The results are for whoever started likely rank: their link shows them.", code="owner")
        if name is None and not owner:
            raise Refusal(403, "This link is for the results. Annotators have links of their own.", code="owner")
        return name or ""

    async def _whole(self, exchange: Exchange, data: bytes, media: str) -> None:
        await exchange.whole(b"" if exchange.method == "HEAD" else data, media)

    # ------------------------------------------------------------------------------------------------ handlers

    async def state(self, exchange: Exchange) -> None:
        """GET /api/state."""
        who = self._who(exchange)
        await exchange.json(await asyncio.to_thread(self._state, who))

    async def answer(self, exchange: Exchange) -> None:
        """POST /api/answer."""
        who, said = self._who(exchange), await self._values(exchange)
        flags = said.get("flags") or []
        known = [flag for flag in FLAGS if isinstance(flags, list) and flag in flags]
        about = {
            name: said[name] for name in ("strength", "criteria", "reason", "seconds") if said.get(name) is not None
        }
        odd = [name for name in about.get("criteria") or {} if name not in self.session.rules.criteria]
        if odd:
            raise Refusal(400, f"Nobody asks for the criterion {str(odd[0])[:60]!r}.", param="criteria")

        def work() -> Any:
            self.session.answer(who, _text(said, "id"), _text(said, "choice"), flags=known, **about)
            return self._state(who)

        await exchange.json(await asyncio.to_thread(work))

    async def undo(self, exchange: Exchange) -> None:
        """POST /api/undo."""
        who, said = self._who(exchange), await self._values(exchange)

        def work() -> Any:
            self.session.undo(who, _text(said, "id"))
            return self._state(who)

        await exchange.json(await asyncio.to_thread(work))

    async def media(self, exchange: Exchange) -> None:
        """GET /api/media/ID/left or right: of what lies before this annotator, and nothing else."""
        who = self._who(exchange)
        id, _, side = exchange.path.removeprefix("/api/media/").partition("/")
        if side not in ("left", "right"):
            raise Refusal(404, "A pair has a left and a right side.", code="unknown_url")

        def work() -> tuple[bytes, str] | None:
            showing = self.session.showing(who, id)
            return view.media(self.session.candidates(showing)[side == "right"])

        found = await asyncio.to_thread(work)
        if found is None:
            raise Refusal(404, "This is neither a picture nor a sound.", code="unknown_url")
        await self._whole(exchange, *found)

    async def told(self, exchange: Exchange) -> None:
        """GET /api/results."""
        self._who(exchange, owner=True)
        if self.results is None:
            raise Refusal(404, "There are no results here.", code="unknown_url")
        page = await asyncio.to_thread(self.results)
        await self._whole(exchange, page.encode(), "text/html; charset=utf-8")

    # ------------------------------------------------------------------------------------------------ parts

    async def _values(self, exchange: Exchange) -> dict[str, Any]:
        exchange.read = True
        data = await body.read(exchange.receive, exchange.headers, self.limits, self.room)
        try:
            return body.parse(data, self.limits.depth)
        finally:
            self.room.give(len(data))

    def _state(self, who: str) -> dict[str, Any]:
        """What the page knows."""
        session, making = self.session, self.making
        if making is not None:
            session.more = making.state.stage in ("waiting", "loading", "making")
        showing, count = session.next(who), session.count(who)
        over = showing is None and (count.over or not session.more)
        return {
            "annotator": who, "owner": self.alone, "criteria": list(session.rules.criteria),
            "count": {**count._asdict(), "over": over},
            "showing": None if showing is None else self._showing(showing), "making": self._making(),
        }  # fmt: skip

    def _showing(self, showing: Showing) -> dict[str, Any]:
        left, right = self.session.candidates(showing)
        prompt = self.session.item(showing.couple.item).prompt
        return {
            "id": showing.id, "prompt": view.prompt(prompt), "left": view.view(left), "right": view.view(right),
        }  # fmt: skip

    def _making(self) -> dict[str, Any]:
        if self.making is None:
            return {"stage": "done", "made": 0, "planned": 0, "error": ""}
        now = self.making.state
        # Errors name models: they are for the owner.
        error = (
            now.error if self.alone else now.error and "Making outputs failed; the terminal of likely rank says why."
        )
        return {"stage": now.stage, "made": now.made, "planned": now.planned, "error": error}


def _text(said: Mapping[str, Any], name: str) -> str:
    value = said.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 64:
        raise Refusal(400, f"{name}: a text of 1 to 64 characters is wanted.", param=name)
    return value
