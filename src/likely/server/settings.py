"""What a server allows: how much of anything, and who may ask from where."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from typing import Self

from likely.errors import OptionError

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class Limits:
    """Caps. What goes over them is refused with a 4xx that names the cap, before any work is done for it."""

    body: int = 4 << 20  # bytes of a request
    held: int = 64 << 20  # bytes of all requests that are being read
    depth: int = 32  # brackets within brackets
    samples: int = 128  # texts of a request: prompts x n
    tokens: int = 65_536  # new tokens of a request: prompts x n x max_tokens
    prompt: int = 131_072  # tokens of all prompts of a request
    items: int = 10_000  # rows, images or windows of a request
    numbers: int = 4_000_000  # cells, pixels or readings of a request
    queue: int = 256  # texts, or requests of our own verbs, that wait for a model
    requests: int = 512  # requests under way
    each: int = 128  # requests under way of one client
    seconds: float = 600.0  # a request may take, waiting included
    upload: float = 30.0  # seconds until a request must have come in, headers and body
    stall: float = 30.0  # seconds that a client may take to read what is in its way
    grace: float = 30.0  # seconds that requests under way may go on when the server is asked to stop

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            wanted = "number of seconds" if isinstance(one.default, float) else "whole number"
            kind = int if isinstance(one.default, int) else int | float
            if isinstance(value, bool) or not isinstance(value, kind) or not 0 < value < math.inf:
                raise OptionError(f"{one.name}={value!r}: give a {wanted} above 0.")


@dataclass(frozen=True)
class Access:
    """Who may ask. `keys`: digests of the bearer tokens. `hosts`: what a Host header may say besides the server's own
    address. `origins`: web pages of other sites that may call the server."""

    keys: tuple[bytes, ...] = field(repr=False)
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()

    @classmethod
    def of(cls, tokens: Iterable[str], *, hosts: Iterable[str] = (), origins: Iterable[str] = ()) -> Self:
        """Raises OptionError where a token is too short to be a secret, or an origin is none."""
        found = tuple(dict.fromkeys(tokens))
        if not found:
            raise OptionError("A server needs a token: without one every web page and program could use it.")
        for token in found:
            if not 8 <= len(token) <= 1000 or not token.isascii() or not token.isprintable() or " " in token:
                raise OptionError(
                    f"A token of {len(token)} characters was given: 8 to 1000 printable ASCII characters, no spaces."
                )
        for origin in origins:
            scheme, separator, rest = origin.partition("://")
            if scheme not in ("http", "https") or not separator or not rest or set("/?#") & set(rest):
                raise OptionError(f"--origin {origin!r}: write scheme, host and port, as in https://example.org")
        return cls(
            tuple(_digest(token) for token in found),
            frozenset(host.lower() for host in hosts),
            frozenset(origin.lower() for origin in origins),
        )

    def client(self, authorization: str) -> int | None:
        """Which token an Authorization header holds; None = none of them. Takes as long whichever it is."""
        scheme, _, token = authorization.partition(" ")
        digest, found = _digest(token.strip()), None
        for number, key in enumerate(self.keys):
            if hmac.compare_digest(digest, key):
                found = number
        return found if scheme.lower() == "bearer" else None

    def host(self, said: str, server: tuple[str, int]) -> bool:
        """Whether a Host header names this server. A page that has its own name point here (DNS rebinding) names
        itself."""
        said = said.lower()
        return said in self.hosts or said in _own(server)

    def origin(self, said: str, server: tuple[str, int]) -> bool:
        """Whether an Origin header is that of a page that may call this server."""
        said = said.lower()
        own = {f"http://{host}" for host in {*self.hosts, *_own(server)}}
        return said in self.origins or said in own


def _own(server: tuple[str, int]) -> set[str]:
    """What a Host header may say of the address that a request came to."""
    address, port = server
    names = {f"[{address}]" if ":" in address else address}
    if loopback(address):
        names.update(LOOPBACK)
    return {f"{name}:{port}" for name in names} | (names if port == 80 else set())


def loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
