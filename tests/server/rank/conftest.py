"""A ranking server on a free port, with a store of its own, and Chromium."""

from __future__ import annotations

import io
import math
import os
import shutil
import struct
import threading
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from likely.align.preference import Candidate, Item
from likely.server.rank import Rules, Session
from likely.server.rank.host import Host, access, link
from likely.server.rank.making import Making
from likely.server.rank.results import gather
from likely.server.rank.results_page import page as written
from likely.server.rank.routes import App
from likely.server.run import bind, url
from likely.server.store import Store

KEYS = ("token-of-anna", "token-of-bob", "token-of-the-owner")
CHROMIUM = "/usr/bin/chromium"


def texts(count: int, models: str = "xy", prompt: str = "Question") -> list[Item]:
    """Items of a text a model."""
    return [
        Item(f"item-{k}", f"{prompt} {k}?", tuple(Candidate.text(f"says {k} {m}", model=f"model-{m}") for m in models))
        for k in range(count)
    ]


def sound(pitch: float, seconds: float = 0.3) -> bytes:
    """A tone as WAV."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        at = range(int(8000 * seconds))
        file.writeframes(b"".join(struct.pack("<h", int(8000 * math.sin(pitch * t / 1273))) for t in at))
    return buffer.getvalue()


@dataclass
class Live:
    """A running page."""

    url: str
    session: Session
    host: Host
    thread: threading.Thread

    def http(self, key: str = KEYS[0], **options: Any) -> httpx.Client:
        """A client that has a token."""
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {key}"}, timeout=60.0, **options)

    def link(self, place: int = 0, page: str = "/") -> str:
        """What an annotator opens."""
        return link(self.url, KEYS[place], page)

    def stop(self) -> None:
        """End it, and see that it does end."""
        self.host.stop()
        self.thread.join(60)
        assert not self.thread.is_alive()


Start = Callable[..., Live]


@contextmanager
def pages(folder: Path) -> Iterator[Start]:
    """Starts pages, and ends them."""
    opened: list[tuple[Live, Store]] = []

    def begin(
        items: list[Item] | None = None, rules: Rules | None = None, *, people: tuple[str, ...] = ("anna", "bob"),
        making: Callable[[Store, Session], Making] | None = None, name: str = "judgements.db",
    ) -> Live:  # fmt: skip
        store = Store(folder / name, patience=0.3)
        store.add_items(items or [])
        session = Session(store, rules or Rules(repeats=0.0))
        keys = (*KEYS[: len(people)], KEYS[-1])

        def results() -> str:
            return written(gather(store.judgements(), name, draws=20))

        made = making(store, session) if making else None
        app = App(session, access(keys, ["rank.example.org"]), (*people, None), making=made, results=results)
        ready = threading.Event()
        host, sock = Host(app, started=ready.set), bind("127.0.0.1", 0)
        thread = threading.Thread(target=host.run, args=(sock,))
        address = url(sock)
        thread.start()
        assert ready.wait(60)
        opened.append((Live(address, session, host, thread), store))
        return opened[-1][0]

    yield begin
    for live, store in opened:
        live.stop()
        store.close()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts pages: start(items, Rules(...), people=("anna", "bob"))."""
    with pages(tmp_path) as begin:
        yield begin


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, driven by Playwright."""
    path = shutil.which("chromium") or CHROMIUM
    if not Path(path).exists():
        if os.environ.get("CI"):
            pytest.fail("no Chromium: apt-get install chromium")
        pytest.skip("no Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        made = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--mute-audio"])
        yield made
        made.close()
