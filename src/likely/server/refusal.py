"""Errors as OpenAI's servers tell them: {"error": {"message", "type", "param", "code"}} with an HTTP status."""

from __future__ import annotations

from typing import Any

from likely.errors import LikelyError

TYPES = {
    401: "authentication_error", 403: "permission_error", 429: "rate_limit_error", 500: "server_error",
    503: "server_error",
}  # fmt: skip
LONGEST = 1000  # characters of a message


class Refusal(LikelyError):
    """A request that is not served. `param`: the field to blame. `code`: for programs. `retry`: seconds until it may be
    tried again. `again` false: trying again will not help, and clients should not."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None,
                 retry: int | None = None, again: bool = True) -> None:  # fmt: skip
        super().__init__(message)
        self.status, self.param, self.code, self.retry, self.again = status, param, code, retry, again

    def body(self) -> dict[str, Any]:
        """The JSON that is sent."""
        message = str(self)
        if len(message) > LONGEST:
            message = message[: LONGEST - 1] + "…"
        kind = TYPES.get(self.status, "invalid_request_error")
        return {"error": {"message": message, "type": kind, "param": self.param, "code": self.code}}

    def headers(self) -> list[tuple[bytes, bytes]]:
        """Headers that belong to it."""
        found = []
        if self.retry is not None:
            found.append((b"retry-after", str(self.retry).encode()))
        if not self.again:
            found.append((b"x-should-retry", b"false"))
        if self.status == 401:
            found.append((b"www-authenticate", b"Bearer"))
        return found


class Gone(Exception):
    """The client has left: there is nobody to answer."""


def refusal(error: BaseException) -> Refusal:
    """Any error as one that may be sent: one raised on purpose says what it says, others tell nothing of the inside."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, LikelyError):
        return Refusal(400, str(error))
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "allocate memory" in str(error)):
        return Refusal(503, "There is not enough memory for this request now.", code="memory", retry=10, again=False)
    return Refusal(500, "The server failed on this request; its log says why.", code="internal", again=False)
