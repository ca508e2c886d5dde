"""What an alignment won and cost: the frontier is the tilt's, noise is no change, a page runs nothing that data say."""

from __future__ import annotations

import copy
import json
import math
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from likely.codecs.table import Table
from likely.core import Path as Path_
from likely.errors import ArtifactError, OptionError, StorageError
from likely.evaluate.price import Example, Figure, Price, frontier, stored
from likely.evaluate.price_columns import moved
from likely.evaluate.price_page import number
from likely.evaluate.price_plot import ticks
from likely.pricing import Side, figures

EVIL = "</style><script>alert(1)</script><img src=x onerror=alert(2)>\"'"


def entry(**more: Any) -> dict[str, Any]:
    rows = [{"step": float(k), "reward": 0.01 * k, "kl": 0.02 * k, "entropy": 2.0} for k in range(40)]
    figures = [Figure("valid", "Valid items", "What it makes", 1.0, 0.5, 1, 0.01, "Said of it."),
               Figure("length", "Length", "What it makes", 10.0, 5.0)]  # fmt: skip
    return {
        "method": "ppo", "reward": "older", "beta": 0.1, "seed": 0, "options": {"samples": 64, "rate": 1e-3},
        "steps": 40, "stopped": "budget", "notes": [], "before": 0.0, "after": 0.4, "spread before": 0.2,
        "spread after": 0.1, "won": 0.8, "kl": 0.8, "frontier": [[0.0, 0.0], [1.0, 0.5]], "rows": rows,
        "figures": stored(figures), **more,
    }  # fmt: skip


def test_the_frontier_of_normal_rewards_is_known() -> None:
    """R ~ N(0, s^2): the tilt by exp(R / beta) has mean s^2 / beta at KL s^2 / (2 beta^2), so reward = s sqrt(2 KL)."""
    rewards = 3.0 * np.random.default_rng(0).standard_normal(20_000) + 7.0
    found = frontier(rewards)
    assert found[0] == (0.0, pytest.approx(7.0, abs=0.1))
    assert len(found) > 10
    assert found[-1][0] > 1
    for x, y in found:
        assert y == pytest.approx(7.0 + 3.0 * math.sqrt(2) * x, abs=0.25)
    assert frontier(np.full(50, 2.0)) == []


def test_the_frontier_is_that_of_a_table() -> None:
    """Two outcomes: exp(R / beta) weighting of counted items is exact."""
    rewards = np.array([0.0] * 75 + [1.0] * 25)
    for x, share in frontier(rewards)[1:]:
        kl = sum(p * math.log(p / q) for p, q in ((share, 0.25), (1 - share, 0.75)) if p > 0)
        assert x == pytest.approx(math.sqrt(max(kl, 0)), abs=1e-4)


def test_the_frontier_begins_at_the_mean() -> None:
    rewards = np.array([1.0] * 196 + [0.0] * 316)
    assert frontier(rewards)[0] == (0.0, pytest.approx(rewards.mean()))  # 0.3828125: six digits are too few


@pytest.mark.parametrize(
    ("better", "before", "after", "noise", "turn"),
    [
        (1, 0.5, 0.6, 0.01, 1),
        (-1, 0.5, 0.6, 0.01, -1),
        (1, 0.5, 0.6, 0.06, 0),
        (0, 1.0, 9.0, 0.0, 0),
        (1, 1.0, 1.0, 0.0, 0),
    ],
)
def test_a_change_within_noise_is_none(better: int, before: float, after: float, noise: float, turn: int) -> None:
    assert Figure("x", "X", "g", before, after, better, noise).turn == turn


def test_what_is_stored_comes_back() -> None:
    price = Price.of(json.loads(json.dumps(entry())))
    assert price["valid"].change == -0.5
    assert price["valid"].turn == -1
    assert "WORSE" in str(price)
    assert "0.8" in str(price)
    with pytest.raises(KeyError, match="length"):
        price["nothing"]


@pytest.mark.parametrize("wrong", [
    {"before": "high"}, {"won": None}, {"rows": [{"reward": float("nan")}]}, {"figures": [{"name": "x"}]}, {"rows": 7},
    {"frontier": [[0.0]]}, {"notes": [3]}, {"figures": [{**entry()["figures"][0], "verdict": "<b>"}]}, {"kl": 1e300},
    {"figures": [{**entry()["figures"][0], "better": 9}]},
])  # fmt: skip
def test_damage_is_said(wrong: dict[str, Any]) -> None:
    with pytest.raises(ArtifactError, match="damaged"):
        Price.of(entry(**wrong))
    for no in (None, [], "entry"):
        with pytest.raises(ArtifactError):
            Price.of(no)


def test_the_page_stands_alone_and_runs_nothing() -> None:
    figure = stored([Figure("x", EVIL, EVIL, 1.0, 2.0, 1, 0.0, EVIL)])
    said = {"pairs": 10, "items": 5, "ties": 1, "accuracy": 0.8, "ceiling": 0.9, "notes": [EVIL]}
    hostile = entry(reward=EVIL, method=EVIL, notes=[EVIL], options={EVIL: EVIL}, figures=figure, judgements=said)
    text = Price.of(hostile, EVIL, [Example("text/plain", EVIL.encode(), 1.0)],
                    [Example("image/png", b"\x89PNG", None)]).to_html()  # fmt: skip
    assert "<script" not in text
    assert not re.search(r"<[^>]*\sonerror", text)
    assert "default-src 'none'" in text
    assert not re.findall(r"<[^<>]*\s(?:src|href)=[\"']?(?!data:|[\"'])", text)
    assert "Reward against distance" in text
    assert "data:image/png;base64" in text


def test_a_run_without_rewards_or_kl_has_a_page(tmp_path: Path) -> None:
    """DPO tells no reward a step, best-of-n no rows and the most that its KL can be."""
    dpo = [{"step": float(k), "loss": 0.69, "right": 0.5} for k in range(5)]
    for changed in ({"rows": dpo, "frontier": []}, {"rows": [], "method": "best_of", "steps": 0, "bound": 0.64}):
        plain = entry(**changed)
        if not plain["rows"]:
            del plain["kl"]
        Price.of(plain).save(tmp_path / "page.html")
        assert "<svg" in (tmp_path / "page.html").read_text()
    assert "at most 0.64 nats an item from the start" in str(Price.of(plain))
    del plain["bound"]  # a distance that is not known is drawn nowhere
    page = Price.of(plain).to_html()
    assert "Not known" in page
    assert "square root of KL to the start" not in page
    Price.of(entry()).save(tmp_path / "page.json")
    assert json.loads((tmp_path / "page.json").read_text())["won"] == 0.8
    with pytest.raises(OptionError, match="html"):
        Price.of(entry()).save(tmp_path / "page.pdf")
    with pytest.raises(StorageError):
        Price.of(entry()).to_html(tmp_path / "nowhere" / "page.html")


def test_numbers_and_ticks_are_round() -> None:
    assert [number(x) for x in (0, 1234.5, 3.14159, -0.5, 0.00321, 1e-9, None, float("nan"))] == [
        "0", "1,234", "3.14", "−0.500", "0.0032", "0", "-", "-",
    ]  # fmt: skip
    assert number(0.25, signed=True) == "+0.250"
    assert ticks(-0.3, 1.1) == [0.0, 0.5, 1.0]
    for low, high in ((0.0, 1e-6), (-5e4, 7e5), (0.113, 0.114)):
        assert 2 <= len(ticks(low, high)) <= 7


def test_equal_entries_are_not_changed() -> None:
    given = entry()
    before = copy.deepcopy(given)
    Price.of(given).to_html()
    assert given == before


def test_the_columns_that_moved_are_told() -> None:
    rng = np.random.default_rng(0)
    n = 500
    still = {f"still {k}": rng.normal(size=n) for k in range(3)}
    days = np.datetime64("2020-01-01") + np.arange(n)
    before = pl.DataFrame({**still, "hours": rng.normal(40, 10, n), "sex": ["F"] * 150 + ["M"] * 350,
                           "on": [True] * 250 + [False] * 250, "day": days,
                           "id": [f"a{k}" for k in range(n)]})  # fmt: skip
    after = pl.DataFrame({**{name: rng.permutation(x) for name, x in still.items()}, "hours": rng.normal(20, 1, n),
                          "sex": ["F"] * 300 + ["M"] * 200, "on": [True] * 490 + [None] * 10,
                          "day": np.sort(days)[n // 2 :].repeat(2), "id": [f"b{k}" for k in range(n)]})  # fmt: skip
    found = moved(before, after)
    assert [one.name for one in found] == ["moved hours", "moved on", "moved day", "moved sex"]
    by_name = {one.name: one for one in found}
    hours, sex = by_name["moved hours"], by_name["moved sex"]
    assert hours.title == "hours, mean"
    assert (hours.before, hours.after) == (pytest.approx(40, abs=2), pytest.approx(20, abs=0.2))
    assert hours.noise == pytest.approx(10 / math.sqrt(n), rel=0.1)
    assert (sex.title, sex.before, sex.after) == ("sex = F", 0.3, 0.6)
    assert by_name["moved on"].title in ("on = false", "on = true")
    assert by_name["moved day"].title == "day after 2020-09-07"
    assert all(one.group == "What moved" and one.better == one.turn == 0 for one in found)
    assert moved(before, before) == []
    text = str(Price.of(entry(figures=stored(found))))
    assert "What moved" in text
    assert "sex = F" in text


def test_the_price_of_a_table_has_its_columns() -> None:
    rows = {"size": ["small"] * 120 + ["large"] * 80, "price": [1.5, 2.5] * 100}
    codec = Table()
    codec.fit(rows)
    later = {"size": ["large"] * 200, "price": [1.5, 2.5] * 100}
    sides = [Side(object(), Path_(x, x, x, None), items, np.zeros(200))  # type: ignore[arg-type]
             for items in (rows, later) for x in (codec.encode(items).x,)]  # fmt: skip
    found = figures(codec, sides[0], sides[1])
    assert [(one.title, one.after) for one in found if one.group == "What moved"] in (
        [("size = large", 1.0)], [("size = small", 0.0)],
    )  # fmt: skip


def test_at_most_six_columns_and_only_sure_ones_are_told() -> None:
    rng = np.random.default_rng(1)
    start = {f"c{k}": rng.normal(size=400) for k in range(12)}
    moves = pl.DataFrame({name: x + 0.5 * k for k, (name, x) in enumerate(start.items())})
    assert [one.name for one in moved(pl.DataFrame(start), moves)] == [f"moved c{k}" for k in range(11, 5, -1)]
    little = pl.DataFrame({name: x + 0.1 for name, x in start.items()})  # 1.4 standard errors
    assert moved(pl.DataFrame(start), little) == []
    huge = pl.DataFrame({"x": [1e13, 2e13, 3e13] * 50, "none": [None] * 150, "new": ["a"] * 150})
    later = pl.DataFrame({"x": [9e13] * 150, "none": [None] * 150, "new": ["<b>\x1b" + "b" * 99] * 150})
    found = moved(huge, later)
    assert [one.name for one in found] == ["moved new"]  # a number that no entry may hold is left out
    assert "\x1b" not in found[0].title
    assert len(found[0].title) < 60


def test_a_win_by_one_item_is_not_green() -> None:
    def tile(before: float, after: float) -> str:
        page = Price.of(entry(won=1.0, figures=stored([
            Figure("distinct", "Different items", "What it makes", before, after, 1, 0.01)]))).to_html()  # fmt: skip
        found = re.search(r'<div class="tile (\w+)"><p class="ask">What was won.*?</div>', page)
        assert found
        return found[0]

    assert 'tile bad"' in tile(1.0, 0.09)
    assert "the same items again and again: different items 1.00 → 0.0900" in tile(1.0, 0.09)
    assert 'tile good"' in tile(1.0, 0.9)
    assert "again and again" not in tile(1.0, 0.9)


@pytest.fixture(scope="module")
def phone() -> Iterator[Any]:
    """A page as narrow as a phone's."""
    path = shutil.which("chromium") or "/usr/bin/chromium"
    if not Path(path).exists():
        pytest.skip("no Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser.new_page(viewport={"width": 390, "height": 844})
        browser.close()


def test_a_phone_shows_the_whole_plot(phone: Any, tmp_path: Path) -> None:
    Price.of(entry()).to_html(tmp_path / "page.html")
    phone.goto((tmp_path / "page.html").as_uri())
    for width in (390, 1280):
        phone.set_viewport_size({"width": width, "height": 844})
        said = phone.evaluate("""() => {
            const shown = [...document.querySelectorAll("svg.reward")].filter((one) => one.clientWidth);
            const outer = shown[0].parentElement.getBoundingClientRect();
            const texts = [...shown[0].querySelectorAll("text")].map((one) => one.getBoundingClientRect());
            return [shown.length, texts.every((one) => one.left >= outer.left && one.right <= outer.right),
                    Math.min(...texts.slice(0, 3).map((one) => one.height)), document.documentElement.scrollWidth];
        }""")
        assert said[:2] == [1, True]
        assert said[2] >= 10  # pixels: letters that can be read
        assert said[3] == width


def test_examples_of_tables_have_the_whole_width(phone: Any, tmp_path: Path) -> None:
    cells = "".join(f"<td>value{k}</td>" for k in range(30))
    shown = [Example("text/html", f"<table><tr>{cells}</tr></table>".encode())]
    Price.of(entry(), "m", shown, shown).to_html(tmp_path / "page.html")
    phone.goto((tmp_path / "page.html").as_uri())
    for width in (1280, 390):
        phone.set_viewport_size({"width": width, "height": 844})
        first, second, wide, page = phone.evaluate("""() => {
            const [a, b] = [...document.querySelectorAll(".example")];
            return [a.getBoundingClientRect().bottom, b.getBoundingClientRect().top,
                    a.clientWidth / document.querySelector("section").clientWidth,
                    document.documentElement.scrollWidth];
        }""")
        assert first < second
        assert wide > 0.95
        assert page == width  # a table scrolls in its own box
