"""The page's requests: who may ask, what is refused, and that nothing tells who made what."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from likely.align.preference import Candidate, Item
from likely.server.rank import Rules, Session
from likely.server.rank.making import Making, plan
from likely.server.rank.view import view
from likely.server.store import Store
from tests.server.rank.conftest import KEYS, Live, Start, pages, sound, texts
from tests.server.rank.test_making import Words


def state(live: Live, key: str = KEYS[0]) -> Any:
    with live.http(key) as http:
        answer = http.get("/api/state")
        assert answer.status_code == 200, answer.text
        return answer.json()


def test_an_answer_is_kept_and_brings_the_next_pair(start: Start) -> None:
    live = start(texts(3), Rules(repeats=0.0, criteria=("clear",)))
    with live.http() as http:
        first = http.get("/api/state").json()
        said = {"id": first["showing"]["id"], "choice": "left", "strength": 2, "reason": "short", "seconds": 2.5,
                "criteria": {"clear": "right"}, "flags": ["viewed", "terminal", "unordered"]}  # fmt: skip
        second = http.post("/api/answer", json=said).json()
        assert http.post("/api/answer", json=said).json() == second  # a double click
        assert second["count"] == {"done": 1, "goal": 3, "over": False, "last": first["showing"]["id"]}
        (one,) = live.session.store.judgements().comparisons
        assert (one.annotator, one.choice, one.strength, one.reason) == ("anna", "left", 2, "short")
        assert (one.criteria, one.seconds, one.flags) == ({"clear": "right"}, 2.5, ("viewed",))
        third = http.post("/api/undo", json={"id": first["showing"]["id"]}).json()
        assert third["showing"]["left"] == first["showing"]["left"]
        assert third["count"]["done"] == 0
    assert state(live, KEYS[1])["annotator"] == "bob"


def test_nothing_that_a_browser_gets_says_who_made_it(start: Start) -> None:
    secrets = ["model-secret", "c0ffee" * 5, "temperature-secret", "918273645"]
    items = [
        Item(f"item-{k}", "Which?", (
            Candidate.text("one", model=f"{secrets[0]}-a", artifact=secrets[1], seed=918273645),
            Candidate.text("two", model=f"{secrets[0]}-b", artifact=secrets[1], parameters={secrets[2]: 1}),
        )) for k in range(3)
    ]  # fmt: skip
    live = start(items)
    with live.http() as http:
        answers = [http.get(path) for path in ("/", "/api/state", "/static/rank.js", "/results")]
        told = answers[1].json()["showing"]["id"]
        answers += [http.post("/api/answer", json={"id": told, "choice": "tie"}), http.get(f"/api/media/{told}/left")]
        seen = "".join(f"{answer.text} {dict(answer.headers)}" for answer in answers)
    candidates = [one.id for item in items for one in item.candidates] + [one.sha256 for one in items[0].candidates]
    for secret in (*secrets, "model-", *(name[:16] for name in candidates), "item-0"):
        assert secret not in seen


def test_who_may_ask(start: Start) -> None:
    live = start(texts(2))
    said = {"id": state(live)["showing"]["id"], "choice": "left"}

    def status(method: str, path: str, key: str | None = KEYS[0], **headers: str) -> int:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            sent["authorization"] = f"Bearer {key}"
        return httpx.request(method, live.url + path, headers=sent, json=said if method == "POST" else None).status_code

    assert status("POST", "/api/answer", None) == 401
    assert status("POST", "/api/answer", "wrong-token") == 401
    assert status("GET", f"/api/state?token={KEYS[0]}", None) == 401
    assert status("POST", "/api/answer", KEYS[2]) == 403  # the owner's link judges nothing
    assert status("GET", "/api/results", KEYS[0]) == 403
    assert status("GET", "/api/results", KEYS[2]) == 200
    assert status("POST", "/api/answer", host="evil.example") == 403
    assert status("GET", "/", host="evil.example:80") == 403
    assert status("POST", "/api/answer", origin="http://evil.example") == 403
    assert status("POST", "/api/answer", origin="null") == 403
    assert status("POST", "/api/answer", sec_fetch_site="cross-site") == 403
    assert status("POST", "/api/answer", sec_fetch_site="same-site") == 403  # another port of this machine
    assert status("GET", "/", None, sec_fetch_site="cross-site") == 200  # a link in a letter
    assert status("GET", "/api/answer") == 405
    assert status("GET", "/etc/passwd") == status("GET", "/static/../rank.html") == status("GET", "/static/x.js") == 404
    assert status("POST", "/api/answer", host="rank.example.org", origin="https://evil.example") == 403
    assert status("GET", "/api/state", host="rank.example.org:80") == 403
    assert len(live.session.store.judgements()) == 0
    proxy = {"host": "rank.example.org", "origin": "https://rank.example.org", "sec_fetch_site": "same-origin"}
    assert status("POST", "/api/answer", **proxy) == 200
    assert status("POST", "/api/answer", origin=live.url, sec_fetch_site="same-origin") == 200


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("no json", 400, "invalid_json"), ("[]", 400, "invalid_json"), ("{}", 400, None),
        ('{"id": 3, "choice": "left"}', 400, None), ('{"id": "ID", "choice": "first"}', 400, None),
        ('{"id": "ID", "choice": "left", "strength": "much"}', 400, None),
        ('{"id": "ID", "choice": "left", "criteria": ["a"]}', 400, None),
        ('{"id": "ID", "choice": "left", "criteria": {"a": "left"}}', 400, None),
        ('{"id": "ID", "choice": "left", "reason": "\\u0000"}', 400, None),
        ('{"id": "ID", "choice": "left", "seconds": 1e400}', 400, "invalid_json"),
        ('{"id": "ID", "choice": "left", "seconds": true}', 400, None),
        ('{"id": "ID", "choice": "left", "flags": "viewed", "strength": 4}', 400, None),
        ('{"id": "0123", "choice": "left"}', 409, "stale"),
        ('{"id": "ID", "choice": "left", "reason": "' + "x" * 300_000 + '"}', 413, "body_too_large"),
        ("[" * 50, 400, "invalid_json"),
    ],
)  # fmt: skip
def test_bad_bodies_are_refused(live: Live, body: str, status: int, code: str | None) -> None:
    id = state(live)["showing"]["id"]
    with live.http() as http:
        headers = {"content-type": "application/json"}
        answer = http.post("/api/answer", content=body.replace("ID", id), headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert http.post("/api/answer", content=body, headers={"content-type": "text/plain"}).status_code == 415
    assert len(live.session.store.judgements()) == 0
    assert state(live)["showing"]["id"] == id


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with pages(tmp_path_factory.mktemp("shared")) as begin:
        yield begin(texts(2))


def test_a_locked_database_is_told_and_the_answer_given_again(start: Start, tmp_path: Path) -> None:
    live = start(texts(2))
    said = {"id": state(live)["showing"]["id"], "choice": "right"}
    other = sqlite3.connect(tmp_path / "judgements.db", isolation_level=None)
    with live.http() as http:
        other.execute("BEGIN IMMEDIATE")
        refused = http.post("/api/answer", json=said)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "storage")
        assert "locked" in refused.json()["error"]["message"]
        other.execute("ROLLBACK")
        other.close()
        assert http.post("/api/answer", json=said).status_code == 200
    assert [one.choice for one in live.session.store.judgements().comparisons] == ["right"]


def test_a_database_that_is_gone_is_told(start: Start, tmp_path: Path) -> None:
    live = start(texts(2))
    said = {"id": state(live)["showing"]["id"], "choice": "right"}
    for path in tmp_path.glob("judgements.db*"):
        path.rename(path.with_name(f"away-{path.name}"))
    with live.http() as http:
        refused = http.post("/api/answer", json=said)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "storage")
        assert "was removed or replaced" in refused.json()["error"]["message"]
        for path in tmp_path.glob("away-*"):
            path.rename(path.with_name(path.name.removeprefix("away-")))
        assert http.post("/api/answer", json=said).json()["count"]["done"] == 1
    assert [one.choice for one in live.session.store.judgements().comparisons] == ["right"]


def test_pictures_and_sounds_are_only_those_that_lie_there(start: Start) -> None:
    items = [Item(f"t{k}", None, (Candidate(sound(1 + k), "audio/wav", "x"), Candidate(sound(9 + k), "audio/wav", "y")))
             for k in range(2)]  # fmt: skip
    live = start(items)
    with live.http() as http:
        id = http.get("/api/state").json()["showing"]["id"]
        left, right = live.session.candidates(live.session.showing("anna", id))
        for side, one in (("left", left), ("right", right)):
            answer = http.get(f"/api/media/{id}/{side}")
            assert (answer.content, answer.headers["content-type"]) == (one.content, "audio/wav")
            assert answer.headers["x-content-type-options"] == "nosniff"
        assert http.get(f"/api/media/{id}/middle").status_code == 404
        assert http.get(f"/api/media/{'0' * 32}/left").status_code == 409
        refused = http.post("/api/answer", json={"id": id, "choice": "left"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "unplayed")
        assert http.post("/api/answer", json={"id": id, "choice": "left", "flags": ["played"]}).status_code == 200


def test_candidates_appear_while_they_are_made(start: Start) -> None:
    go = threading.Event()

    class Waits(Words):
        def make(self, wanted: Any) -> Any:
            assert go.wait(60)
            return super().make(wanted)

    def making(store: Store, session: Session) -> Making:
        made = Making(store, [Waits("one", 1000)], plan(["a", "b"], 1, 2, 0), 0, tell=session.grow)
        made.start()
        return made

    live = start([], Rules(repeats=0.0, pairs=2), making=making)
    waiting = state(live)
    assert (waiting["showing"], waiting["count"]["over"]) == (None, False)
    assert waiting["making"]["planned"] == 2
    go.set()
    assert live.host.app.making is not None
    live.host.app.making.wait(60)
    assert state(live)["showing"] is not None
    assert state(live)["making"] == {"stage": "done", "made": 2, "planned": 2, "error": ""}


def test_a_failed_making_tells_annotators_no_names(start: Start) -> None:
    def making(store: Store, session: Session) -> Making:
        made = Making(store, [Words("secret-model")], plan(["a"], 1, 1, 0), 0)
        made.state.stage, made.state.error = "failed", "secret-model has no memory."
        return made

    live = start([], making=making)
    assert "terminal" in state(live)["making"]["error"]
    assert "secret" not in json.dumps(state(live))


@pytest.mark.parametrize(
    ("content", "media", "kind"),
    [
        (b"text", "text/plain", "text"), (b"# text", "text/markdown; charset=utf-8", "text"),
        (b"{}", "text/x-python", "text"), (b'{"a": 1, "b": null}', "application/json", "row"),
        (b'[{"a": 1}, {"a": 2}]', "application/json", "table"), (b"[[1, 2], [3, 4]]", "application/json", "image"),
        (b'[{"role": "user", "content": "a"}]', "application/json", "chat"), (b"{broken", "application/json", "text"),
        (b"[1, 2]", "application/json", "text"), (b"[" * 5000, "application/json", "text"),
        (b"x", "image/png", "image"), (b"<svg/>", "image/svg+xml", "image"), (b"x", "audio/wav", "audio"),
        (b"MThd", "audio/midi", "file"), (b"<p>", "text/html", "html"), (b"\xff\x00", "application/pdf", "file"),
        (b"CCO", "chemical/x-smiles", "text"), (b"\xff", "text/plain", "file"), (b"<x>", "image/odd", "file"),
    ],
)  # fmt: skip
def test_the_media_type_decides_how_it_is_shown(content: bytes, media: str, kind: str) -> None:
    assert view(Candidate(content, media))["kind"] == kind
