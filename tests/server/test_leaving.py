"""Clients that leave, that read slowly, that write slowly; limits; the end of the server."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from likely.language.decode import Engine
from likely.server.settings import Limits
from tests.server.conftest import LONG, Live, start, until


@pytest.fixture(scope="module")
def far(endless: Engine) -> Iterator[Live]:
    limits = Limits(queue=40, each=45, requests=50, upload=0.6, stall=0.6, seconds=60, body=200_000)
    running = start(limits, toy=endless)
    yield running
    running.stop()


# ------------------------------------------------------------------------------------------------- disconnects


def test_two_hundred_clients_leave(far: Live) -> None:
    """Half of them stream. They leave at once, while they wait for a row, or after some tokens."""
    before = far.measure("texts_total", reason="cancelled"), far.measure("tokens_total", kind="made")
    for wave in range(10):
        wires = [far.wire() for _ in range(20)]
        for number, one in enumerate(wires):
            one.sendall(far.message({**LONG, "stream": bool(number % 2), "n": 1 + number % 3}))
        if wave % 2:
            until(lambda: far.measure("active") == 8)
            for number, one in enumerate(wires[:6]):
                if number % 2:
                    assert one.recv(100)
        for number, one in enumerate(wires):
            if number % 4 == 0:  # a reset in the place of a good-bye
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            one.close()
        far.settle()
    cancelled = far.measure("texts_total", reason="cancelled") - before[0]
    made = far.measure("tokens_total", kind="made") - before[1]
    assert 0 < cancelled <= 400
    assert made < 0.1 * cancelled * 4000
    # A token may be under way when a client leaves, and one more before the mark is seen.
    assert far.measure("wasted_tokens_total") <= 2 * cancelled
    service, worker = far.server.service, far.server.shelf.models["toy"].worker  # type: ignore[union-attr]
    assert (worker.pending, worker._tickets, worker._left, worker._early) == (0, {}, {}, {})
    assert (service.room.held, service.gate.inside.total(), len(service._under_way)) == (0, 0, 0)
    batcher = worker.batcher
    assert (batcher.active, batcher.waiting, batcher.slots.rows) == (0, 0, 0)


def test_the_client_of_openai_closes_a_stream(far: Live) -> None:
    made = far.measure("tokens_total", kind="made")
    with far.client() as client:
        with client.completions.create(**LONG, stream=True) as stream:  # type: ignore[call-overload]
            for number, _ in enumerate(stream):
                if number == 3:
                    break
        far.settle()
        assert far.measure("tokens_total", kind="made") - made < 400
        again = client.completions.create(model="toy", prompt="x", max_tokens=2)
        assert again.usage is not None


def test_a_client_that_does_not_read_is_left(endless: Engine) -> None:
    """Events pile up in the way; after `stall` seconds the work stops, while others go on."""
    live = start(Limits(stall=0.6), buffer=4096, toy=endless)
    with live.wire(receive=4096) as one, live.http() as http:
        one.sendall(live.message({**LONG, "stream": True, "n": 4, "logprobs": 20}))
        until(lambda: live.measure("active") == 4)
        assert http.post("/v1/completions", json={**LONG, "max_tokens": 1}).status_code == 200
        until(lambda: live.measure("active") == 0)
        assert live.measure("tokens_total", kind="made") < 4 * LONG["max_tokens"] / 4  # how many depends on the machine
    live.settle()
    live.stop()


def test_a_client_that_writes_slowly_is_refused(far: Live) -> None:
    data = far.message(LONG)
    with far.wire() as one:  # a body that does not come
        one.sendall(data[:-5])
        assert b" 408 " in one.recv(65536)
    with far.wire() as one:  # a head that does not come
        one.sendall(data[:30])
        assert one.recv(65536) == b""
    with far.wire() as one:  # nothing
        assert one.recv(65536) == b""
    with far.wire() as one:  # a second head that does not come
        one.sendall(far.message({"model": "toy", "prompt": "x", "max_tokens": 1}))
        assert b" 200 " in one.recv(65536)
        one.sendall(data[:30])
        while one.recv(65536):
            pass


# ------------------------------------------------------------------------------------------------------ limits


def test_a_full_queue_says_when_to_come_back(far: Live) -> None:
    """40 texts wait and 8 are at work: the next is refused; when one leaves there is room again."""
    with far.http() as http:
        wires = [far.wire() for _ in range(6)]
        for one in wires:
            one.sendall(far.message({**LONG, "n": 8}))
        until(lambda: far.measure("active") + far.measure("waiting") == 48)
        refused = http.post("/v1/completions", json={**LONG, "max_tokens": 1})
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "queue_full"
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert far.measure("rejected_total", reason="queue") >= 1
        wires.pop().close()
        until(lambda: far.measure("active") + far.measure("waiting") <= 40)
        wires.pop().close()
        for one in wires:
            one.close()
        assert http.post("/v1/completions", json={**LONG, "max_tokens": 1}).status_code == 200
    far.settle()


def test_too_many_requests_of_one_client(far: Live) -> None:
    wires = [far.wire() for _ in range(45)]
    for one in wires:
        one.sendall(far.message(LONG))
    until(lambda: far.measure("under_way") == 45)
    with far.http() as http:
        refused = http.get("/v1/models")
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "client")
        assert int(refused.headers["retry-after"]) >= 1
        assert http.get("/healthz").status_code == 200
        other = {"authorization": "Bearer another-token"}
        assert http.get("/v1/models", headers=other).status_code == 200
    for one in wires:
        one.close()
    far.settle()


def test_a_large_body(far: Live) -> None:
    with far.http() as http:
        for content in (b'{"prompt": "' + b"x" * 300_000 + b'"}', iter([b"x" * 60_000] * 5)):
            answer = http.post("/v1/completions", content=content, headers={"content-type": "application/json"})
            assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    assert far.server.service.room.held == 0


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"n": 128, "max_tokens": 4000}, "too_many_tokens"),
        ({"prompt": ["x"] * 100, "n": 2}, "too_many_samples"),
        ({"prompt": "x" * 5000}, "context_length_exceeded"),
        ({"prompt": ["x" * 3000] * 50}, "too_many_tokens"),
    ],
)
def test_work_that_is_too_much_is_not_begun(far: Live, fields: dict[str, Any], code: str) -> None:
    before = far.measure("tokens_total")
    with far.http() as http:
        answer = http.post("/v1/completions", json={**LONG, **fields})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)
    assert far.measure("tokens_total") == before


@pytest.mark.parametrize("stream", [False, True])
def test_time_is_up(endless: Engine, stream: bool) -> None:
    live = start(Limits(seconds=0.3), toy=endless)
    with (
        live.client(max_retries=2) as client,
        pytest.raises(openai.APIError, match="longer than the server allows") as caught,
    ):
        for _ in client.completions.create(**LONG, stream=stream):  # type: ignore[call-overload]
            pass
    if not stream:
        assert isinstance(caught.value, openai.InternalServerError)
        assert caught.value.status_code == 503
    live.settle()
    assert live.measure("requests_total", route="/v1/completions") == 1  # it was not tried again
    live.stop()
