"""A live server on a free port: small random language models that read and write bytes, and a generator."""

from __future__ import annotations

import datetime as dt
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
import openai
import polars as pl
import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

import likely
from likely.generator import Generator
from likely.language.checkpoint import Checkpoint
from likely.language.decode import Engine
from likely.language.template import Template
from likely.language.tokenizer import Tokenizer as Words
from likely.nn.decoder import Architecture, Decoder
from likely.server.run import Server, bind, url
from likely.server.settings import Access, Limits
from likely.server.shelf import Running, Shelf

TOKEN = "a-token-for-tests-only"
CONTEXT = 96
ENOUGH = 100.0  # seconds: other work may have the machine
LONG = {"model": "toy", "prompt": "x", "max_tokens": 4000, "logit_bias": {"256": -100}, "temperature": 2.0}
TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'teapot' %}{{ raise_exception('no tea') }}{% endif %}"
    "<|turn|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant\n{% endif %}"
)


def words() -> Words:
    """All bytes, two control tokens."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={word: i for i, word in enumerate(letters)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken("<|end|>", special=True), AddedToken("<|turn|>", special=True)])
    return Words(made.to_str())


def checkpoint(context: int = CONTEXT, template: bool = True) -> Checkpoint:
    """Two layers of width 32; weights large enough that its texts are not all alike."""
    text = words()
    end = text.id("<|end|>")
    assert end is not None
    torch.manual_seed(0)
    network = Decoder(
        Architecture(vocab=text.size, width=32, layers=2, heads=4, groups=2, head=8, hidden=48, context=context)
    ).eval()
    with torch.no_grad():
        for weight in network.parameters():
            if weight.ndim == 2:
                weight.mul_(3)
    shape = Template(TEMPLATE) if template else None
    return Checkpoint(network, text, shape, frozenset({end}), None, False, "toy", "toy")


@dataclass
class Live:
    """A running server."""

    url: str
    server: Server
    thread: threading.Thread

    def client(self, **options: Any) -> openai.OpenAI:
        """The official client."""
        options = {"max_retries": 0, "timeout": 200.0, "api_key": TOKEN} | options
        return openai.OpenAI(base_url=f"{self.url}/v1", **options)

    def http(self, **options: Any) -> httpx.Client:
        """A plain client that has the token."""
        headers = {"Authorization": f"Bearer {TOKEN}"} | options.pop("headers", {})
        return httpx.Client(base_url=self.url, headers=headers, timeout=200.0, **options)

    def measure(self, name: str, **labels: str) -> float:
        """A metric, as it stands."""
        return self.server.service.metrics.read(name, **labels)

    def wire(self, receive: int = 0) -> socket.socket:
        """A bare connection. `receive`: bytes that the system may hold for it, 0 = many."""
        host, port = self.url.removeprefix("http://").split(":")
        made = socket.socket()
        made.settimeout(ENOUGH)
        if receive:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        made.connect((host, int(port)))
        return made

    def message(self, body: dict[str, Any], path: str = "/v1/completions") -> bytes:
        """A request as it goes over the wire."""
        data = json.dumps(body).encode()
        return (
            f"POST {path} HTTP/1.1\r\nHost: {self.url.removeprefix('http://')}\r\nAuthorization: Bearer {TOKEN}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        ).encode() + data

    def settle(self) -> None:
        """Wait until nothing is under way."""
        until(lambda: not any(map(self.measure, ("under_way", "active", "waiting"))))

    def stop(self) -> None:
        """End it, and see that it does end."""
        self.server.stop()
        self.thread.join(100)
        assert not self.thread.is_alive()


def until(true: Callable[[], Any]) -> None:
    """Wait for something."""
    end = time.monotonic() + ENOUGH
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


def start(limits: Limits | None = None, buffer: int = 0, **models: Any) -> Live:
    """A server of these engines and generators. `buffer`: bytes that the system may hold for a client, 0 = many."""
    limits = limits or Limits()
    shelf = Shelf([f"{name}=there" for name in models], running=Running("plain", 8), limits=limits)
    shelf.sources.clear()
    for name, model in models.items():
        shelf.put(name, model)
    ready = threading.Event()
    server = Server(
        shelf, Access.of([TOKEN, "another-token"], origins=["https://friend.example"]), limits, loaded=ready.set
    )
    made = bind("127.0.0.1", 0)
    if buffer:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
    thread = threading.Thread(target=server.run, args=(made,))
    address = url(made)
    thread.start()
    assert ready.wait(100)
    return Live(address, server, thread)


@pytest.fixture(scope="session")
def engine() -> Engine:
    return Engine(checkpoint(), kernel="plain", rows=8)


@pytest.fixture(scope="session")
def endless() -> Engine:
    """Texts of 4000 tokens: they take long, if nobody ends them."""
    return Engine(checkpoint(context=4096), kernel="plain", rows=8, draft=0)


@pytest.fixture(scope="session")
def table() -> Generator:
    draw = np.random.default_rng(0)
    n = 200
    frame = pl.DataFrame(
        {
            "age": draw.normal(60, 10, n).round(1),
            "sex": draw.choice(["F", "M"], n),
            "day": [dt.date(2024, 1, 1) + dt.timedelta(days=int(k)) for k in draw.integers(0, 90, n)],
        }
    )
    return likely.fit(frame, family="trees", progress=False)


@pytest.fixture(scope="session")
def live(engine: Engine, table: Generator) -> Iterator[Live]:
    plain = Engine(checkpoint(template=False), kernel="plain", rows=8)
    running = start(toy=engine, plain=plain, table=table)
    yield running
    running.stop()


@pytest.fixture(scope="session")
def client(live: Live) -> Iterator[openai.OpenAI]:
    with live.client() as made:
        yield made
