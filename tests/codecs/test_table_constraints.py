"""Constraints hold: by construction, or by drawing rows again; and the training data must keep them."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import polars as pl
import pytest
import torch

from likely.codecs.table import (
    FixedCombinations,
    Inequality,
    NotNull,
    OneHot,
    Predicate,
    Range,
    Regex,
    Sum,
    Table,
    Unique,
)
from likely.codecs.table.constraint import parse
from likely.errors import ConstraintError, OptionError, UnknownName
from tests.codecs.test_table_roundtrip import rng


def sample_frame(n: int = 500) -> pl.DataFrame:
    draw = np.random.default_rng(2)
    start = [dt.datetime(2024, 1, 1) + dt.timedelta(minutes=int(15 * m)) for m in draw.integers(0, 20_000, n)]
    end = [s + dt.timedelta(minutes=int(15 * m)) for s, m in zip(start, draw.integers(0, 300, n), strict=True)]
    food, rent, hot = draw.integers(0, 50, n), np.round(draw.random(n) * 30, 2), draw.integers(0, 3, n)
    low = draw.integers(0, 40, n)
    middle = low + draw.integers(1, 30, n)
    town = draw.integers(0, 4, n)
    return pl.DataFrame(
        {
            "id": [f"P-{i:05d}" for i in range(n)],
            "start": start,
            "end": end,
            "food": food,
            "rent": rent,
            "total": np.round(food + rent, 2),
            "low": low,
            "middle": [None if i % 11 == 0 else int(v) for i, v in enumerate(middle)],
            "high": middle + draw.integers(0, 30, n),
            "red": (hot == 0).astype(int),
            "green": (hot == 1).astype(int),
            "blue": (hot == 2).astype(int),
            "city": np.array(["Rome", "Milan", "Paris", "Lyon"])[town],
            "country": np.array(["IT", "IT", "FR", "FR"])[town],
            "floor": town * 2,
        }
    )


FRAME = sample_frame()
RULES = [
    "start <= end",
    "low < middle",
    "middle <= high",
    "low < high",
    "total = food + rent",
    "onehot: red, green, blue",
    "combination: city, country, floor",
    "0 <= food <= 60",
    "notnull: food",
    "unique: id",
]


def independent(codec: Table, n: int, seed: int = 0, known=None) -> torch.Tensor:
    """Cells drawn one by one in a random order from their margins, under the grammar."""
    data, generator = codec.encode(FRAME).x, rng(seed)
    sizes = codec.space.sizes
    x = torch.zeros((n, len(sizes)), dtype=torch.int64)
    done = torch.zeros((n, len(sizes)), dtype=torch.bool)
    if known is not None:
        x, done = known.x.repeat(n, 1), known.mask.repeat(n, 1)
    for j in torch.randperm(len(sizes), generator=generator).tolist():
        weights = torch.bincount(data[:, j], minlength=sizes[j]).float().repeat(n, 1)
        allowed = codec.grammar.allow(j, x, done) if codec.grammar else None
        if allowed is not None:
            assert allowed.shape == (n, sizes[j])
            weights = weights * allowed
        if known is not None and j in (known.soft or {}):
            weights = weights * known.soft[j]
        weights[weights.sum(1) == 0] = 1.0
        drawn = torch.multinomial(weights, 1, generator=generator)[:, 0]
        x[:, j] = torch.where(done[:, j], x[:, j], drawn)
        done[:, j] = True
    return x


def test_constraints_hold_by_construction() -> None:
    codec = Table(constraints=RULES).fit(FRAME)
    made = codec.decode(independent(codec, 4000), rng=rng())
    rows = codec.rejects(made)
    assert rows.mean() < 0.002
    kept = made.filter(pl.Series(~rows))
    assert (kept["start"] <= kept["end"]).all()
    assert (kept["low"] < kept["middle"]).all(ignore_nulls=True)
    assert (kept["low"] < kept["high"]).all()
    assert ((kept["food"] + kept["rent"] - kept["total"]).abs() < 1e-6).all()
    assert (kept["red"] + kept["green"] + kept["blue"] == 1).all()
    seen = FRAME.select("city", "country", "floor").unique()
    assert kept.join(seen, on=["city", "country", "floor"], how="anti").is_empty()
    assert kept["middle"].null_count() > 0
    assert all("by construction" in promise for promise in codec.promises())


@pytest.mark.parametrize(
    ("given", "test"),
    [
        ({"total": "20..30"}, pl.col("total").is_between(20, 30)),
        ({"total": 25.5}, pl.col("total") == 25.5),
        ({"low": (30, 39), "high": (40, 50)}, pl.col("low").is_between(30, 39) & pl.col("high").is_between(40, 50)),
        ({"city": "Paris"}, pl.col("country") == "FR"),
        ({"red": 1}, (pl.col("green") == 0) & (pl.col("blue") == 0)),
        ({"start": "2024-05-01"}, pl.col("start").dt.date() == dt.date(2024, 5, 1)),
    ],
)
def test_wishes_and_constraints_together(given, test) -> None:
    codec = Table(constraints=RULES).fit(FRAME)
    made = codec.decode(independent(codec, 500, known=codec.condition(given)), rng=rng(), within=given)
    assert made.select(test.all()).item()
    assert codec.rejects(made).mean() < 0.02


def test_what_cannot_be_built_is_rejected() -> None:
    odd = Predicate("odd", lambda row: row["food"] % 2 == 1 or row["food"] > 0)
    frame = FRAME.filter(pl.col("food") > 0)
    constraints = [
        Regex("id", r"P-\d{5}"),
        Unique(("food", "rent", "start")),
        odd,
        Predicate("fast", lambda t: t["low"] >= 0, rows=False),
    ]
    codec = Table(constraints=constraints).fit(frame)
    rows = frame.head(3).with_columns(
        food=pl.Series([0, 7, 7]),
        rent=pl.lit(1.5),
        start=pl.lit(dt.datetime(2024, 2, 2)),
        id=pl.Series(["x", "P-00001", "P-00002"]),
    )
    assert codec.rejects(rows).tolist() == [True, False, True]
    assert any("constraint not kept" in reason for reason in codec.check(rows)[0])
    assert sum("drawing rows again" in promise for promise in codec.promises()) == 4
    loaded = Table().load(json.loads(json.dumps(codec.state())))
    assert any("only its name was saved" in promise for promise in loaded.promises())
    assert loaded.rejects(rows).tolist() == [True, False, True]


def test_texts_and_values_say_the_same() -> None:
    names = ["a", "b", "c"]
    for text, value in (
        ("a <= b", Inequality("a", "b")),
        ("a < b", Inequality("a", "b", strict=True)),
        ("b > a", Inequality("a", "b", strict=True)),
        ("0 <= a <= 9.5", Range("a", "0", "9.5")),
        ("a >= 3", Range("a", "3", None)),
        ("a <= 2024-01-31", Range("a", None, "2024-01-31")),
        ("a = b + c", Sum("a", ("b", "c"))),
        ("unique: a", Unique(("a",))),
        ("unique: a, b", Unique(("a", "b"))),
        ("combination: a, b", FixedCombinations(("a", "b"))),
        ("onehot: a, b, c", OneHot(("a", "b", "c"))),
        ("notnull: a", NotNull("a")),
        (r"regex: a [A-Z]\d+", Regex("a", r"[A-Z]\d+")),
    ):
        assert parse(text, names) == value
        assert parse(str(value), names) == value
    for nonsense in ("", "a", "a ~ b", "a <= b <= c", "unique:", "regex: a", "0 < a < 9", "x <= y"):
        with pytest.raises(OptionError):
            parse(nonsense, names)


@pytest.mark.parametrize(
    ("rule", "error", "words"),
    [
        ("end <= start", ConstraintError, r"\d+ of 500 rows, such as row \d+ with end = 2024"),
        ("food <= 10", ConstraintError, "food <= 10"),
        ("total = food", ConstraintError, "total = food"),
        ("notnull: middle", ConstraintError, "row 0"),
        ("onehot: red, green", ConstraintError, "rows"),
        ("unique: city", ConstraintError, "rows"),
        ("regex: city [A-Z]+", ConstraintError, "city = "),
        ("regex: city [A", OptionError, "no pattern"),
        ("city <= country", OptionError, "cannot be compared"),
        ("food <= start", OptionError, "compares"),
        ("unique: nothing", UnknownName, "named by the constraint"),
        ("combination: id, city", ConstraintError, "0 combinations have at least 10 rows"),
    ],
)
def test_data_must_keep_their_rules(rule, error, words) -> None:
    with pytest.raises(error, match=words):
        Table(constraints=[rule]).fit(FRAME)


def test_constraints_survive_saving() -> None:
    codec = Table(constraints=RULES).fit(FRAME)
    loaded = Table().load(json.loads(json.dumps(codec.state())))
    assert loaded.promises() == codec.promises()
    x = independent(codec, 300)
    assert loaded.decode(x, rng=rng()).equals(codec.decode(x, rng=rng()))
    for j in range(len(codec.cells)):
        assert list(loaded.grammar.involves(j)) == list(codec.grammar.involves(j))
        assert j not in codec.grammar.involves(j)
