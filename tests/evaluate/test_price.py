"""What an alignment won and cost: the frontier is the tilt's, noise is no change, a page runs nothing that data say."""

from __future__ import annotations

import copy
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from likely.errors import ArtifactError, OptionError, StorageError
from likely.evaluate.price import Example, Figure, Price, frontier, stored
from likely.evaluate.price_page import number
from likely.evaluate.price_plot import ticks

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
