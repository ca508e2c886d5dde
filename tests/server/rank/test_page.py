"""The pages in Chromium: keys, undo, sides, sounds, troubles; no request leaves, nothing that is stored ever runs."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path
from typing import Any

from likely.align.preference import Candidate, Comparison, Item
from likely.server.rank import Rules
from likely.server.rank.results import gather
from likely.server.rank.results_page import page as written
from tests.server.rank.conftest import Live, Start, sound, texts
from tests.server.rank.payloads import listening, payloads

ENOUGH = 60_000  # milliseconds: other work may have the machine


def opened(browser: Any, live: Live, place: int = 0, path: str = "/") -> tuple[Any, list[str]]:
    """A page of an annotator, and the addresses that it asked."""
    page = browser.new_page()
    page.set_default_timeout(ENOUGH)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: asked.append(f"error: {error}"))
    page.goto(live.link(place, path))
    return page, asked


def stayed(asked: list[str], live: Live) -> bool:
    """Whether nothing but the page's own server was asked."""
    return len(asked) > 3 and all(url.startswith((f"{live.url}/", f"blob:{live.url}/", "data:")) for url in asked)


def until(page: Any, true: str) -> None:
    """Wait for something that a script of the page says (wait_for_function needs eval, which the policy forbids)."""
    end = time.monotonic() + ENOUGH / 1000
    while not page.evaluate(true):
        assert time.monotonic() < end, true
        page.wait_for_timeout(10)


def ready(page: Any, done: int) -> None:
    """Wait until so many are judged, and a next pair may be answered."""
    until(page, f"state && state.count.done === {done} && !busy && (!shown || performance.now() - appeared > QUIET)")


def kept(live: Live) -> list[tuple[str, int, str]]:
    return [(one.choice, one.strength, one.reason) for one in live.session.store.judgements().active()]


def test_everything_by_keyboard(browser: Any, start: Start, tmp_path: Path) -> None:
    live = start(texts(7), Rules(repeats=0.0, criteria=("clear",)))
    page, asked = opened(browser, live)
    ready(page, 0)
    sides = [page.locator(f"#{side} .body").inner_text() for side in ("left", "right")]
    lying = live.session.next("anna")
    assert lying is not None
    assert sides == [one.words() for one in live.session.candidates(lying)]
    assert page.locator("#prompt").inner_text() == live.session.item(lying.couple.item).prompt

    page.keyboard.press("2")
    page.keyboard.press("r")
    page.keyboard.type("left is shorter, u")
    page.keyboard.press("Enter")
    page.get_by_label("tie").check(force=True)
    page.locator("fieldset input").nth(1).focus()
    page.keyboard.press("ArrowRight")  # moves among the radio buttons: right
    page.locator("fieldset label").nth(0).click()
    page.locator("fieldset label").nth(2).click()  # by mouse; the arrows then mean the answer again
    until(page, "document.activeElement === document.body")
    page.keyboard.press("ArrowLeft")
    ready(page, 1)
    assert kept(live) == [("left", 2, "left is shorter, u")]
    one = live.session.store.judgements().comparisons[0]
    assert (one.shown, one.criteria, one.flags) == (lying.shown, {"clear": "right"}, ("viewed",))
    assert one.seconds is not None
    assert 0.3 < one.seconds < 600
    for done, (key, choice) in enumerate((("ArrowRight", "right"), ("t", "tie"), ("b", "bad"), ("s", "skip")), 2):
        page.keyboard.press(key)
        ready(page, done)
        assert kept(live)[-1] == (choice, 0, "")

    before = page.locator("#left .body").inner_text()
    page.keyboard.press("u")
    ready(page, 4)
    again = page.locator("#left .body").inner_text()
    assert [choice for choice, _, _ in kept(live)] == ["left", "right", "tie", "bad"]
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")  # at once: this is not the answer to the next pair
    ready(page, 5)
    assert page.locator("#left .body").inner_text() == before != again
    assert kept(live)[-1][0] == "left"

    # A second tab sees the same pair; what it answers, the first cannot answer again.
    other, _ = opened(browser, live)
    ready(other, 5)
    assert other.locator("#left .body").inner_text() == before
    other.locator('[data-choice="tie"]').dblclick()
    ready(other, 6)
    page.keyboard.press("ArrowRight")
    page.locator("#trouble.mild").wait_for()
    assert "already: tie" in page.locator("#trouble").inner_text()
    ready(page, 6)

    page.evaluate("send('/api/answer', {id: shown, choice: 'best'})")
    page.get_by_text("A choice is one of").wait_for()
    assert page.evaluate("waiting") is None

    # A locked database: the page says so, keeps the answer, and tries again.
    lock = sqlite3.connect(tmp_path / "judgements.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    page.keyboard.press("ArrowRight")
    page.locator("#trouble:not(.mild) button").wait_for()
    assert "locked" in page.locator("#trouble").inner_text()
    assert page.locator("#right.chosen").count() == 1
    lock.execute("ROLLBACK")
    lock.close()
    page.keyboard.press("Enter")  # the button has the focus
    page.get_by_text("Done. Thank you.").wait_for()
    assert [choice for choice, _, _ in kept(live)] == ["left", "right", "tie", "bad", "left", "tie", "right"]
    page.keyboard.press("u")
    ready(page, 6)
    page.keyboard.press("p")
    page.get_by_text("Paused").wait_for()
    assert page.locator("#main").is_hidden()
    page.keyboard.press("p")
    ready(page, 6)
    page.reload()
    ready(page, 6)
    assert stayed(asked, live), asked
    page.close()
    other.close()


def test_pictures_and_sounds(browser: Any, start: Start) -> None:
    svg = "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><circle r='{}'/></svg>"
    items = [
        Item("a", "A melody?", (Candidate(sound(1), "audio/wav", "x"), Candidate(sound(2), "audio/wav", "y"))),
        Item("b", None, tuple(Candidate(svg.format(k).encode(), "image/svg+xml", str(k)) for k in (1, 2))),
        Item("c", None, tuple(Candidate(json.dumps({"age": k, "sex": "F"}).encode(), "application/json", str(k))
                              for k in (1, 2))),
    ]  # fmt: skip
    live = start(items)
    page, asked = opened(browser, live)
    done = 0
    while (lying := live.session.next("anna")) is not None:
        ready(page, done)
        if lying.couple.item == "a":
            until(page, "players.length === 2 && players.every((one) => one.readyState > 1)")
            page.keyboard.press("ArrowLeft")
            assert "Play both" in page.locator("#trouble").inner_text()
            page.keyboard.press("Space")
            until(page, "players[0].dataset.heard")
            page.keyboard.press("ArrowLeft")
            assert kept(live) == [("left", 0, "")] * done
            until(page, "players.every((one) => one.paused)")
            page.keyboard.press("Space")
            until(page, "players[1].dataset.heard")
        elif lying.couple.item == "b":
            until(page, "[...document.images].length === 2 && [...document.images].every((one) => one.naturalWidth)")
        else:
            assert page.locator(".differs td").all_inner_texts() in (["1", "2"], ["2", "1"])
        page.keyboard.press("ArrowLeft")
        done += 1
        page.get_by_text(f"{done} of 3").wait_for()
    assert len(kept(live)) == 3
    flags = {one.item: one.flags for one in live.session.store.judgements().comparisons}
    assert flags["a"] == ("viewed", "played")
    assert stayed(asked, live), asked
    page.close()


def poisoned(texts: list[str], url: str) -> list[Item]:
    """Items that hold every text in every field that is stored of them."""
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" onload="{{}}"><script>{{}}</script><image href="{url}"/></svg>'
    items = []

    def add(prompt: Any, contents: list[bytes], media: str) -> None:
        k = len(items)
        pair = [
            Candidate(content, media, model=texts[(2 * k + j) % 150], artifact=texts[(k + j) % 150], seed=k,
                      parameters={texts[k % 150]: texts[j]})
            for j, content in enumerate(contents)
        ]  # fmt: skip
        items.append(Item(texts[k % 150] + str(k), prompt, tuple(pair)))

    for k in range(0, 150, 2):
        add(texts[k], [texts[k].encode(), texts[k + 1].encode()], "text/plain")
    rows = [json.dumps({text: text + str(j) for text in texts}).encode() for j in range(2)]
    talks = [json.dumps([{"role": text, "content": text + str(j)} for text in texts]).encode() for j in range(2)]
    tables = [json.dumps([{"a": text, text: str(j)} for text in texts[:50]]).encode() for j in range(2)]
    for contents in (rows, talks, tables):
        add(json.loads(contents[0]), contents, "application/json")
    for k in range(0, 150, 10):
        pages = [("\n".join(texts[k : k + 5]) + "1").encode(), ("\n".join(texts[k + 5 : k + 10]) + "2").encode()]
        add(None, pages, "text/html")
        add({"given": texts[k]}, [page + b"\xff" for page in pages], f"odd/{texts[k].replace('/', '')}"[:250])
        add(None, pages, "text/markdown; x=" + texts[k].replace("/", "")[:200])
    add(None, [svg.format(f"top.hit={j}", f"top.hit={j}").encode() for j in range(2)], "image/svg+xml")
    return items


WALK = """async (reasons) => {
    let told = 0;
    while (shown && !document.querySelector("main iframe")) {
        told += document.querySelector("main").innerText.length;
        if (document.querySelector("main img")) await new Promise((go) => setTimeout(go, 100));
        const criteria = Object.fromEntries(state.criteria.map((name) => [name, "left"]));
        const reason = reasons[state.count.done % 150];
        await send("/api/answer", {id: shown, choice: "left", reason, criteria});
    }
    return told;
}"""


def test_nothing_that_is_stored_runs(browser: Any, start: Start, tmp_path: Path) -> None:
    with listening() as (url, heard):
        bad = payloads(url)
        assert len(set(bad)) == 150
        assert max(map(len, bad)) <= 256
        items = poisoned(bad, url)
        live = start(items, Rules(repeats=0.0, criteria=tuple(text[:60] for text in bad[2:9])), people=(bad[0], bad[1]))
        dialogues: list[str] = []
        page, asked = opened(browser, live)
        page.on("dialog", lambda one: (dialogues.append(one.message), one.dismiss()))
        ready(page, 0)
        assert page.locator("legend").count() == 7
        seen = framed = 0
        while page.evaluate("!!shown"):
            seen += page.evaluate(WALK, bad)
            if page.evaluate("!!document.querySelector('main iframe')"):
                page.wait_for_timeout(50)
                frames = page.main_frame.child_frames
                for one in frames:
                    until(
                        one, "document.readyState === 'complete' && document.documentElement.outerHTML.includes('hit')"
                    )
                assert [one.evaluate("window.hit") for one in frames] == [None] * 2
                framed += 1
                page.evaluate("send('/api/answer', {id: shown, choice: 'tie'})")
        assert seen > 150 * 40
        assert framed == 15
        assert page.locator("#trouble").is_hidden(), page.locator("#trouble").inner_text()
        assert len(kept(live)) == len(items)
        more = [Comparison(items[k % 70].id, tuple(items[k % 70].by_id), text, ("left", "right")[k % 2], reason=text,
                           criteria={text: "tie"}, flags=(text,)) for k, text in enumerate(bad)]  # fmt: skip
        live.session.store.add_all(more)
        page.wait_for_timeout(300)
        assert page.evaluate("window.hit") is None

        results, told = opened(browser, live, 2, "/results")
        results.on("dialog", lambda one: (dialogues.append(one.message), one.dismiss()))
        frame = results.frame_locator("#results")
        frame.get_by_text("How to read this").wait_for()
        assert frame.get_by_text(bad[1], exact=True).count() > 0
        file = tmp_path / "results.html"
        file.write_text(written(gather(live.session.store.judgements(), bad[3], draws=0)))
        alone = browser.new_page()
        alone.on("dialog", lambda one: (dialogues.append(one.message), one.dismiss()))
        alone.goto(file.as_uri())
        assert alone.get_by_text(bad[1], exact=True).count() > 0
        results.wait_for_timeout(300)
        assert [one.evaluate("window.hit") for one in (page, results, alone)] == [None] * 3
        assert (dialogues, heard) == ([], [])
        assert stayed(told, live), told
        # Frames of made HTML name what they may not load: nothing of it was asked for.
        assert all(one.startswith((live.url, f"blob:{live.url}", "data:", url)) for one in asked)

        # The trap would spring: the same texts as markup, on a page without a policy, do run.
        trap = tmp_path / "trap.html"
        trap.write_text(f"<!doctype html>{bad[2]}{bad[0]}{bad[17]}")
        dialogues.clear()
        alone.goto(trap.as_uri())
        until(alone, "window.hit === 1")
        assert dialogues
        assert heard
        for one in (page, results, alone):
            one.close()
