"""A request's bytes -> checked JSON. Nothing is believed before it is bounded: size, time, nesting, numbers, text."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from likely.server.refusal import Gone, Refusal
from likely.server.settings import Limits

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
DRAIN, DRAIN_SECONDS = 64 << 20, 2.0  # of a body that is too large, before the answer: a client reads after it wrote
TEXTS = re.compile(r'"(?:[^"\\]|\\.)*+"', re.DOTALL)
BRACKETS = re.compile(r"[\[\]{}]")
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
DIGITS = re.compile(r"\d{400}")


class Room:
    """Bytes of bodies that are being read and taken apart, all requests together."""

    def __init__(self, most: int) -> None:
        self.most, self.held = most, 0

    def take(self, size: int) -> None:
        """Raises Refusal (429) where there is no room."""
        if self.held + size > self.most:
            raise Refusal(429, "The server is reading as much as it can hold: try again soon.", code="busy", retry=1)
        self.held += size

    def give(self, size: int) -> None:
        """They are no longer held."""
        self.held -= size


async def read(receive: Receive, headers: Mapping[str, str], limits: Limits, room: Room) -> bytearray:
    """The body; `room.give(len(body))` when it is done with. Raises Refusal (408, 413, 415, 429), and Gone where the
    client leaves on the way."""
    kind, _, rest = headers.get("content-type", "").partition(";")
    charset = rest.replace(" ", "").replace('"', "").lower()
    if kind.strip().lower() != "application/json" or charset not in ("", "charset=utf-8"):
        raise Refusal(415, "Send JSON, and say so: Content-Type: application/json", code="content_type")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Refusal(415, "Send the body as it is: Content-Encoding is not read.", code="content_encoding")
    large = Refusal(413, f"A request has at most {limits.body:,} bytes.", code="body_too_large", again=False)
    body = bytearray()
    try:
        async with asyncio.timeout(limits.upload):
            more = True
            while more:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Gone
                part, more = message.get("body", b""), message.get("more_body", False)
                if len(body) + len(part) > limits.body:
                    await _drain(receive, more)
                    raise large
                room.take(len(part))
                body += part
    except TimeoutError:
        room.give(len(body))
        raise Refusal(408, f"The request did not come in within {limits.upload:g} s.", code="slow") from None
    except BaseException:
        room.give(len(body))
        raise
    return body


async def _drain(receive: Receive, more: bool) -> None:
    read, end = 0, time.monotonic() + DRAIN_SECONDS
    while more and read < DRAIN and time.monotonic() < end:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        read += len(message.get("body", b""))
        more = message.get("more_body", False)


def parse(body: bytes | bytearray, depth: int) -> dict[str, Any]:
    """A JSON object. Raises Refusal (400) where it is none, is nested deeper than `depth`, or holds numbers that are
    no finite numbers or texts that are no Unicode."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _bad(f"byte {error.start} is no UTF-8") from None
    bare = TEXTS.sub("", text)
    _shallow(bare, depth)
    if DIGITS.search(bare):
        raise _bad("a number has hundreds of digits")
    try:
        found = json.loads(text, parse_constant=_constant, parse_float=_float)
    except json.JSONDecodeError as error:
        raise _bad(f"{error.msg}, line {error.lineno}, column {error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise _bad(str(error)[:200]) from None
    if not isinstance(found, dict):
        raise _bad("an object {...} is wanted")
    if SURROGATE.search(text):
        try:
            json.dumps(found, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise _bad("a text holds half a surrogate pair") from None
    return found


def _shallow(bare: str, most: int) -> None:
    depth = 0
    for found in BRACKETS.finditer(bare):
        depth += 1 if found[0] in "[{" else -1
        if depth > most:
            raise _bad(f"brackets are nested deeper than {most}")


def _constant(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON")


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError(f"{text[:40]} is too large a number")
    return value


def _bad(why: str) -> Refusal:
    return Refusal(400, f"The body is not read as JSON: {why}.", code="invalid_json")
