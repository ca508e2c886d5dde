"""Two hundred broken requests an endpoint, and broken HTTP: an answer each time, never a 5xx, never a hang; the
server is as good as before."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.server.conftest import TOKEN, Live

GOOD: dict[str, dict[str, Any]] = {
    "/v1/completions": {
        "model": "toy", "prompt": "Hello", "max_tokens": 2, "n": 1, "temperature": 0.5, "top_p": 0.9, "stop": ["x"],
        "logprobs": 1, "echo": True, "seed": 3, "stream": False, "logit_bias": {"5": 1.0}, "presence_penalty": 0.1,
    },
    "/v1/chat/completions": {
        "model": "toy", "messages": [{"role": "user", "content": "Hello"}], "max_completion_tokens": 2, "n": 1,
        "temperature": 0.5, "stream": True, "stream_options": {"include_usage": True}, "logprobs": True,
        "top_logprobs": 1, "seed": 3, "response_format": {"type": "text"}, "stop": "x",
    },
    "/v1/likely/sample": {
        "model": "table", "n": 2, "given": {"sex": "F", "age": {"low": 50}}, "temperature": 1.0, "seed": 1,
    },
    "/v1/likely/fill": {"model": "table", "items": [{"age": 61.5, "sex": None}, {"day": "2024-02-03"}], "seed": 1},
    "/v1/likely/surprise": {"model": "table", "items": [{"age": 61.5, "sex": "F", "day": "2024-02-03"}], "each": True},
}  # fmt: skip
STRANGE: list[Any] = [
    None, True, False, 0, -1, 1, 2, 1.5, -0.0, 1e308, 10**30, -(10**18), 2**63, "", "x", "x" * 5000, "\u0000",
    "\ud800", "../x", "/etc/passwd", [], {}, [[]], [None], [1, "a"], {"a": None}, [[1], [2]], [-1], [10**12], {"": ""},
    [{}], "NaN", [0.5],
    [[[[[[1]]]]]], {"low": 1, "high": 0}, {"low": {}}, [True], "🌍", ["a"] * 300, {"1": "2"}, {"type": "json_object"},
]  # fmt: skip
Raw = tuple[bytes, dict[str, str]]


def everywhere(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a value."""
    if path:
        yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in items:
        yield from everywhere(one, (*path, key))


def changed(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    copy = json.loads(json.dumps(value))
    place = copy
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = new
    return copy


def mutants(good: dict[str, Any], count: int, seed: int) -> Iterator[Raw]:
    """Bodies and headers that are wrong in one way each (a few are right by chance)."""
    draw = random.Random(seed)
    places = list(everywhere(good))
    text = json.dumps(good)
    fine = {"content-type": "application/json"}

    def value() -> Raw:
        return json.dumps(changed(good, draw.choice(places), draw.choice(STRANGE))).encode(), fine

    def absent() -> Raw:
        return json.dumps({key: one for key, one in good.items() if key != draw.choice(list(good))}).encode(), fine

    def more() -> Raw:
        return json.dumps(
            {**good, draw.choice(["foo", "tools", "", "a" * 900, "suffix"]): draw.choice(STRANGE)}
        ).encode(), fine

    def cut() -> Raw:
        return text[: draw.randrange(len(text))].encode(), fine

    def bits() -> Raw:
        data = bytearray(text.encode())
        for _ in range(draw.randint(1, 6)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        return bytes(data), fine

    def nested() -> Raw:
        deep = draw.choice([b"[", b'{"a":']) * draw.choice([40, 5000, 200_000])
        return draw.choice([deep, b'{"model": "toy", "prompt": ' + deep, b'{"model": ' + deep + b"1" + b"]" * 40]), fine

    def literal() -> Raw:
        word = draw.choice(["NaN", "Infinity", "-Infinity", "1e999", "1" * 500, "1" * 6000, "tru", "'x'", "0x1", "//"])
        return text.replace(f'"{draw.choice(list(good))}": ', f'"model": "toy", "n": {word}, "x": ', 1).encode(), fine

    def encoding() -> Raw:
        return draw.choice(
            [text.encode("utf-16"), b"\xff\xfe" + text.encode(), text.encode()[:-1] + b'"\xe9"}', b"\x00" * 9]
        ), fine

    def headers() -> Raw:
        kind = draw.choice(
            ["text/plain", "", "application/json; charset=latin-1", "multipart/form-data", "application/xml"]
        )
        return text.encode(), {"content-type": kind, **draw.choice([{}, {"content-encoding": "gzip"}])}

    def stranger() -> Raw:
        return text.encode(), fine | draw.choice([
            {"authorization": ""}, {"authorization": "Bearer wrong"}, {"authorization": f"Basic {TOKEN}"},
            {"authorization": f"Bearer {TOKEN}x"}, {"host": "evil.example"}, {"host": "127.0.0.1:1"}, {"host": ""},
            {"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"},
        ])  # fmt: skip

    def other() -> Raw:
        return draw.choice([b"", b"[]", b"null", b"3", b'"x"', b"{}", b"{" * 9, b"\n", text.encode() * 2]), fine

    kinds: list[Callable[[], Raw]] = [value] * 8 + [
        absent,
        more,
        cut,
        bits,
        nested,
        literal,
        encoding,
        headers,
        stranger,
        other,
    ]
    for _ in range(count):
        yield draw.choice(kinds)()


@pytest.mark.parametrize("path", GOOD)
def test_two_hundred_broken_requests(live: Live, path: str) -> None:
    seen: dict[int, int] = {}
    with live.http() as http:
        for place, (body, headers) in enumerate(mutants(GOOD[path], 200, seed=len(path))):
            answer = http.post(path, content=body, headers=headers)
            seen[answer.status_code] = seen.get(answer.status_code, 0) + 1
            assert answer.status_code < 500, (place, body[:300], headers, answer.text)
            if answer.status_code >= 400:
                error = answer.json()["error"]
                assert set(error) == {"message", "type", "param", "code"}, error
                assert "Traceback" not in error["message"]
                assert "site-packages" not in error["message"]
        assert seen[400] > 60
        assert seen.keys() >= {401, 403, 415}
        assert http.post(path, json=GOOD[path]).status_code == 200
    live.settle()


HTTP: dict[str, bytes] = {
    "noise": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "no version": b"GET /healthz\r\n\r\n",
    "no host": b"GET /v1/models HTTP/1.1\r\n\r\n",
    "old": b"GET /v1/models HTTP/1.0\r\n\r\n",
    "two hosts": b"GET /v1/models HTTP/1.1\r\nHost: HOST\r\nHost: evil\r\n\r\n",
    "negative length": b"POST /v1/completions HTTP/1.1\r\nHost: HOST\r\nContent-Length: -5\r\n\r\n",
    "two lengths": b"POST /v1/completions HTTP/1.1\r\nHost: HOST\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
    "length and chunks": b"POST /v1/completions HTTP/1.1\r\nHost: HOST\r\nContent-Length: 4\r\n"
                         b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "bad chunk": b"POST /v1/completions HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer TOKEN\r\n"
                 b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    "endless header": b"GET /v1/models HTTP/1.1\r\nHost: HOST\r\nX: " + b"a" * 200_000 + b"\r\n\r\n",
    "many headers": b"GET /v1/models HTTP/1.1\r\nHost: HOST\r\n" + b"X: a\r\n" * 30_000 + b"\r\n",
    "folded": b"GET /v1/models HTTP/1.1\r\nHost: HOST\r\n X: a\r\n\r\n",
    "null in path": b"GET /v1/models/\x00 HTTP/1.1\r\nHost: HOST\r\n\r\n",
    "climbing path": b"GET /v1/models/../../etc/passwd HTTP/1.1\r\nHost: HOST\r\nAuthorization: Bearer TOKEN\r\n\r\n",
    "upgrade": b"GET /v1/models HTTP/1.1\r\nHost: HOST\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
    "connect": b"CONNECT evil:443 HTTP/1.1\r\nHost: evil:443\r\n\r\n",
    "absolute": b"GET http://evil/v1/models HTTP/1.1\r\nHost: evil\r\n\r\n",
    "two at once": b"GET /healthz HTTP/1.1\r\nHost: HOST\r\n\r\n"
                   b"GET /healthz HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n\r\n",
}  # fmt: skip


@pytest.mark.parametrize("name", HTTP)
def test_broken_http(live: Live, name: str) -> None:
    host, port = live.url.removeprefix("http://").split(":")
    data = HTTP[name].replace(b"HOST", f"{host}:{port}".encode()).replace(b"TOKEN", TOKEN.encode())
    with socket.create_connection((host, int(port)), timeout=100) as wire:
        try:
            wire.sendall(data)
            wire.shutdown(socket.SHUT_WR)
            answer = b""
            while part := wire.recv(65536):
                answer += part
        except OSError:  # the server hung up before all was sent
            answer = b""
    assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 2")), answer[:200]
    assert (b" 200 " in answer) == (name == "two at once"), answer[:300]
    with live.http() as http:
        assert http.get("/healthz").json() == {"status": "ok"}


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "HEAD", "TRACE", "FOO"])
def test_wrong_methods_and_paths(live: Live, method: str) -> None:
    with live.http() as http:
        answer = http.request(method, "/v1/completions")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
        assert http.request(method, "/v1/nothing").status_code == 404
        assert http.request(method, "/").status_code == 404


def test_pages_of_other_sites(live: Live) -> None:
    """A page that was allowed may ask, after its browser asked whether it may; others may not."""
    friend, stranger = {"origin": "https://friend.example"}, {"origin": "https://evil.example"}
    ask = {"access-control-request-method": "POST", "access-control-request-headers": "authorization"}
    with httpx.Client(base_url=live.url) as http:
        answer = http.options("/v1/completions", headers=friend | ask)
        assert answer.status_code == 204
        assert answer.headers["access-control-allow-origin"] == "https://friend.example"
        assert "authorization" in answer.headers["access-control-allow-headers"]
        refused = http.options("/v1/completions", headers=stranger | ask)
        assert refused.status_code == 403
        assert "access-control-allow-origin" not in refused.headers
        assert http.get("/v1/models", headers=friend).status_code == 401
    with live.http() as http:
        assert http.get("/v1/models", headers=friend).headers["access-control-allow-origin"] == "https://friend.example"
        assert http.get("/v1/models", headers={"origin": live.url}).status_code == 200
        assert http.get("/v1/models", headers={"sec-fetch-site": "same-site"}).status_code == 403
        assert http.get("/v1/models", headers={"host": live.url.removeprefix("http://").upper()}).status_code == 200
        assert http.get("/v1/models", headers={"host": f"localhost:{live.url.rpartition(':')[2]}"}).status_code == 200
        assert http.get("/v1/models", headers={"host": "localhost"}).status_code == 403


def test_what_is_open_and_what_is_not(live: Live) -> None:
    with httpx.Client(base_url=live.url) as http:
        assert http.get("/healthz", headers={"host": "10.0.0.7"}).status_code == 200
        assert http.get("/readyz").json() == {"status": "ready"}
        for path in ("/metrics", "/v1/models", "/v1/models/toy", "/nothing"):
            answer = http.get(path)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
        assert http.get("/metrics", headers={"authorization": "bearer another-token"}).status_code == 200
