"""Loading, the end of the server, the command, addresses and tokens, metrics."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import openai
import pytest
from typer.testing import CliRunner

from likely.cli.serve import serve, tokens_of
from likely.errors import DataError, LikelyError, OptionError, UnknownName
from likely.generator import Generator
from likely.language.decode import Batcher, Engine, Piece
from likely.server.app import App
from likely.server.metrics import Metrics
from likely.server.run import Server, bind
from likely.server.service import Service
from likely.server.settings import Access, Limits, loopback
from likely.server.shelf import Running, Shelf, named
from likely.server.worker import Worker
from tests.server.conftest import ENOUGH, LONG, TOKEN, Live, start, until


def test_requests_while_models_are_loaded(engine: Engine) -> None:
    async def ask() -> None:
        shelf = Shelf(["toy=there"], running=Running("plain", 8))
        service = Service(shelf, Access.of([TOKEN]), Limits())
        way = httpx.ASGITransport(App(service))  # type: ignore[arg-type]
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(transport=way, base_url="http://127.0.0.1:8000", headers=headers) as http:
            for answer in (await http.get("/readyz"), await http.get("/v1/models")):
                assert (answer.status_code, answer.json()["error"]["code"]) == (503, "loading")
                assert int(answer.headers["retry-after"]) >= 1
            assert (await http.get("/healthz")).status_code == 200
            shelf.put("toy", engine)
            shelf.start()
            assert (await http.get("/readyz")).status_code == 200
            assert [one["id"] for one in (await http.get("/v1/models")).json()["data"]] == ["toy"]
            service.end()
            refused = await http.get("/v1/models")
            assert refused.status_code == 503

    asyncio.run(ask())


def test_what_is_under_way_may_end(endless: Engine) -> None:
    live = start(Limits(grace=ENOUGH), toy=endless)
    with live.client() as client, live.http() as http:
        stream = client.completions.create(**{**LONG, "max_tokens": 200}, stream=True)  # type: ignore[call-overload]
        chunks = [next(stream)]
        live.server.stop()
        until(lambda: live.server.service.closing)
        refused = http.post("/v1/completions", json=LONG)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "shutting_down")
        assert int(refused.headers["retry-after"]) >= 1
        assert http.get("/readyz").status_code == 503
        chunks += list(stream)
        assert chunks[-1].choices[0].finish_reason == "length"
    live.thread.join(ENOUGH)
    assert not live.thread.is_alive()


@pytest.mark.parametrize("how", ["the grace is over", "asked again"])
def test_what_does_not_end_is_told(endless: Engine, how: str) -> None:
    live = start(Limits(grace=0.2 if how == "the grace is over" else 500.0), toy=endless)
    with live.client() as client:
        stream = client.completions.create(**LONG, stream=True)  # type: ignore[call-overload]
        next(stream)
        live.server.stop()
        if how == "asked again":
            live.server.stop()
        with pytest.raises(openai.APIError, match="shutting down"):
            list(stream)
    live.thread.join(ENOUGH)
    assert not live.thread.is_alive()


def test_a_step_that_fails_ends_its_texts_and_no_more(engine: Engine) -> None:
    class Failing(Batcher):
        def step(self) -> list[Piece]:
            if any(row.prompt[0] == 1 for row in self._rows):
                raise MemoryError
            return super().step()

    live = start(toy=engine)
    worker: Worker = live.server.shelf.models["toy"].worker  # type: ignore[union-attr]
    worker.make = lambda: Failing(engine.checkpoint, engine.runner, rows=8)
    worker.batcher = worker.make()
    with live.http() as http:
        bad = http.post("/v1/completions", json={"model": "toy", "prompt": [1, 2], "max_tokens": 50, "temperature": 0})
        assert (bad.status_code, bad.json()["error"]["code"]) == (503, "memory")
        good = http.post("/v1/completions", json={"model": "toy", "prompt": "x", "max_tokens": 3})
        assert good.status_code == 200
    assert worker.pending == 0
    live.stop()


def test_a_model_that_cannot_be_loaded_ends_the_server(tmp_path: Path) -> None:
    server = Server(Shelf([str(tmp_path / "no.likely")]), Access.of([TOKEN]), Limits())
    with pytest.raises(LikelyError, match="No file"):
        server.run(bind("127.0.0.1", 0))


def test_the_command(table: Generator, tmp_path: Path) -> None:
    """As a user starts it: address, token and an example on standard error; Ctrl-C ends it with exit code 0."""
    path = table.save(tmp_path / "patients.likely")
    command = [sys.executable, "-c", "from likely.cli.serve import serve; serve()", str(path), "--port", "0"]
    environment = {key: value for key, value in os.environ.items() if key != "LIKELY_TOKEN"}
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
    said: list[str] = []
    assert process.stderr is not None
    for line in process.stderr:
        said.append(line)
        if "Ctrl-C" in line:
            break
    text = "".join(said)
    address = next(line.split()[-1] for line in said if line.startswith("Listening"))
    token = next(line.split()[-1] for line in said if line.startswith("Token"))
    assert f"curl {address}/v1/likely/sample" in text
    answer = httpx.post(
        f"{address}/v1/likely/sample", json={"model": "patients", "n": 3}, headers={"Authorization": f"Bearer {token}"},
        timeout=ENOUGH,
    )  # fmt: skip
    assert len(answer.json()["items"]) == 3
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=ENOUGH)
    assert (process.returncode, out, err) == (0, "", "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("x.likely --host 0.0.0.0", "--public"),
        ("x.likely --port 70000", "70000"),
        ("x.likely --kernel int3", "int3"),
        ("x.likely --rows 0", "rows=0"),
        ("x.likely --seconds 0", "seconds=0"),
        ("x.likely x.likely", "Two models are called 'x'"),
        ("x.likely --origin evil", "--origin"),
        ("x.likely --token-file no-such", "no-such"),
        ("a b=", "no name"),
    ],
)
def test_what_cannot_be_served_is_said(words: str, said: str) -> None:
    found = CliRunner().invoke(serve, words.split())
    assert isinstance(found.exception, LikelyError)
    assert said in str(found.exception)


def test_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIKELY_TOKEN", raising=False)
    (first,), made_up = tokens_of(None)
    assert made_up
    assert len(first) >= 24
    assert tokens_of(None)[0] != [first]
    monkeypatch.setenv("LIKELY_TOKEN", "from-outside")
    assert tokens_of(None) == (["from-outside"], False)
    file = tmp_path / "tokens"
    file.write_text("first-token\n\nsecond-token\n")
    assert tokens_of(file) == (["first-token", "second-token"], False)
    file.write_text("\n")
    with pytest.raises(DataError, match="empty"):
        tokens_of(file)
    for token in ("short", "has a space in it", "Grüße-Grüße", "x" * 2000):
        with pytest.raises(OptionError):
            Access.of([token])
    with pytest.raises(OptionError):
        Access.of([])
    assert "first" not in repr(Access.of(["first-token"]))


def test_addresses() -> None:
    assert all(map(loopback, ("127.0.0.1", "127.5.6.7", "::1", "localhost")))
    assert not any(map(loopback, ("0.0.0.0", "10.0.0.1", "example.org", "::", "127.0.0.1.example.org")))
    with bind("127.0.0.1", 0) as made:
        made.listen()
        with pytest.raises(OptionError, match="in use"):
            bind("127.0.0.1", made.getsockname()[1])
    access = Access.of([TOKEN], hosts=["api.example.org"])
    assert access.host("API.example.org", ("127.0.0.1", 8000))
    assert access.host("localhost:8000", ("127.0.0.1", 8000))
    assert access.host("10.0.0.1:8000", ("10.0.0.1", 8000))
    assert access.host("[::1]:8000", ("::1", 8000))
    for host in ("", "localhost", "localhost:80", "evil.org:8000", "localhost:8000.evil.org", "api.example.org:1"):
        assert not access.host(host, ("127.0.0.1", 8000))
    assert not access.host("localhost:8000", ("10.0.0.1", 8000))


def test_names_of_models() -> None:
    assert named(["a/b/c.gguf", "my=a/b/c.gguf", "x.likely", "smollm2"]) == {
        "c": "a/b/c.gguf", "my": "a/b/c.gguf", "x": "x.likely", "smollm2": "smollm2",
    }  # fmt: skip
    with pytest.raises(UnknownName):
        Running(kernel="int3")


def test_metrics_are_what_prometheus_reads(live: Live) -> None:
    metrics = Metrics()
    metrics.count("requests_total", route='a"b\\c\nd', status="200")
    for seconds in (0.001, 0.3, 10_000.0):
        metrics.took("request_seconds", seconds, route="x")
    text = metrics.text()
    assert 'likely_requests_total{route="a\\"b\\\\c\\nd",status="200"} 1\n' in text
    assert 'likely_request_seconds_bucket{route="x",le="0.5"} 2\n' in text
    assert 'likely_request_seconds_bucket{route="x",le="+Inf"} 3\n' in text
    with live.http() as http:
        answer = http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    for line in answer.text.splitlines():
        assert line.startswith("# ") or float(line.rpartition(" ")[2]) >= 0


def test_threads_end(engine: Engine) -> None:
    before = set(threading.enumerate())
    start(toy=engine).stop()
    until(lambda: not {thread for thread in threading.enumerate() if thread.is_alive()} - before)
