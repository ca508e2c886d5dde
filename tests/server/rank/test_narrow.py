"""Rows of a table on the screen of a phone: left and right stand beside each other, and nothing in them runs."""

from __future__ import annotations

import json
from typing import Any

from likely.align.preference import Candidate, Item
from tests.server.rank.conftest import Start, texts
from tests.server.rank.test_page import kept, opened, ready, stayed, until

EVIL = "<img src=x onerror='window.hit=1'>"


def rows(*found: dict[str, Any]) -> Item:
    return Item("rows", None, tuple(Candidate(json.dumps(row).encode(), "application/json", model=f"model-{k}")
                                    for k, row in enumerate(found)))  # fmt: skip


def test_two_rows_share_one_table_on_a_phone(browser: Any, start: Start) -> None:
    first = {"age": 1, "sex": "F", EVIL: EVIL, "only first": 3} | {f"c{k}": k for k in range(12)}
    second = {"age": 2, "sex": "F", EVIL: "b", "gone": None} | {f"c{k}": k for k in range(12)}
    live = start([rows(first, second)])
    page, asked = opened(browser, live)
    page.set_viewport_size({"width": 390, "height": 844})
    page.reload()
    ready(page, 0)
    lying = live.session.next("anna")
    assert lying is not None
    left, right = (json.loads(one.content) for one in live.session.candidates(lying))
    assert page.locator("#left").is_hidden()
    assert page.locator("#both thead").inner_text().split() == ["LEFT", "RIGHT"]
    table = page.evaluate("""[...document.querySelectorAll("#both tbody tr")].map((line) =>
        [line.className, ...[...line.children].map((cell) => cell.textContent)])""")
    names = list(dict.fromkeys([*left, *right]))

    def shown(row: dict[str, Any], name: str) -> str:
        return "–" if row.get(name) is None else str(row[name])

    assert [line[1:] for line in table] == [[name, shown(left, name), shown(right, name)] for name in names]
    differ = {line[1] for line in table if line[0] == "differs"}
    assert {"age", EVIL, "only first"} <= differ
    assert not differ & {"sex", "c0", "gone"}
    head = page.locator("#both thead th").evaluate_all("(all) => all.map((one) => one.getBoundingClientRect().y)")
    assert head[0] == head[1]
    assert head[0] < 422  # above the fold
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate("window.hit") is None
    assert "model-" not in page.content()

    page.set_viewport_size({"width": 844, "height": 390})  # the phone is turned, and back
    until(page, "!document.querySelector('#pair').hidden && document.querySelector('#both').hidden")
    assert page.locator("#left .rowname").count() == len(left)
    page.set_viewport_size({"width": 390, "height": 844})
    until(page, "document.querySelector('#pair').hidden && !document.querySelector('#both').hidden")
    page.reload()
    ready(page, 0)
    until(page, "seen.size === 2")
    page.locator('[data-choice="right"]').click()
    page.get_by_text("Done. Thank you.").wait_for()
    assert kept(live) == [("right", 0, "")]
    one = live.session.store.judgements().comparisons[0]
    assert (one.shown, one.flags) == (lying.shown, ("viewed",))
    assert stayed(asked, live), asked
    page.close()


def test_texts_on_a_phone_and_rows_on_a_desk_stand_as_they_stood(browser: Any, start: Start) -> None:
    live = start([*texts(1), rows({"age": 1}, {"age": 2})])
    page, _ = opened(browser, live)
    for done in range(2):
        ready(page, done)
        is_text = page.evaluate("state.showing.left.kind") == "text"
        page.set_viewport_size({"width": 390, "height": 844})
        page.wait_for_timeout(100)
        assert page.locator("#left").is_visible() == is_text
        assert page.locator("#both").is_visible() != is_text
        page.set_viewport_size({"width": 1280, "height": 800})
        page.wait_for_timeout(100)
        assert page.locator("#left").is_visible()
        assert page.locator("#both").is_hidden()
        page.keyboard.press("ArrowLeft")
    page.get_by_text("Done. Thank you.").wait_for()
    page.close()
