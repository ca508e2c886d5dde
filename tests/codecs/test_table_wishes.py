"""Wishes are met to the letter in every row, whatever their kind; impossible ones say what is possible."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
import torch

from likely.codecs.table import Table
from likely.core import Known
from likely.errors import ConditionError, UnknownName
from tests.codecs.test_table_roundtrip import rng, sample_frame

FRAME = sample_frame()
CODEC = Table().fit(FRAME)


def draw(known: Known, n: int) -> torch.Tensor:
    """Independent columns that agree with what is known: a family of the simplest kind."""
    data, generator = CODEC.encode(FRAME).x, rng(5)
    made = torch.stack([data[torch.randint(len(data), (n,), generator=generator), j] for j in range(data.shape[1])], 1)
    for j, weights in (known.soft or {}).items():
        share = torch.bincount(data[:, j], minlength=weights.shape[1]).float() * weights
        share = share + 1e-12 * (weights > 0)
        made[:, j] = torch.multinomial(share.expand(n, -1), 1, generator=generator)[:, 0]
    return torch.where(known.mask, known.x, made)


@pytest.mark.parametrize(
    ("given", "test"),
    [
        ({"age": 30}, pl.col("age") == 30),
        ({"age": "30"}, pl.col("age") == 30),
        ({"age": (60, 80)}, pl.col("age").is_between(60, 80)),
        ({"age": "60..80"}, pl.col("age").is_between(60, 80)),
        ({"age": "80.."}, pl.col("age") >= 80),
        ({"age": "..20"}, pl.col("age") <= 20),
        ({"age": [20, 45, 81]}, pl.col("age").is_in([20, 45, 81])),
        ({"age": "20|45|50..55"}, pl.col("age").is_in([20, 45, 50, 51, 52, 53, 54, 55])),
        ({"price": 12.34}, pl.col("price") == 12.34),
        ({"price": 12.345}, pl.col("price") == 12.345),
        ({"price": (1, 1.05)}, pl.col("price").is_between(1, 1.05)),
        ({"real": 0.123456}, pl.col("real") == 0.123456),
        ({"real": (-0.2, 0.1)}, pl.col("real").is_between(-0.2, 0.1)),
        ({"gain": 0}, pl.col("gain") == 0),
        ({"gain": "1.."}, pl.col("gain") >= 1),
        ({"sex": "F"}, pl.col("sex") == "F"),
        ({"sex": {"F", "M"}}, pl.col("sex").is_in(["F", "M"])),
        ({"maybe": "yes|no"}, pl.col("maybe").is_in(["yes", "no"])),
        ({"maybe": None}, pl.col("maybe").is_null()),
        ({"maybe": ["yes", None]}, pl.col("maybe").is_null() | (pl.col("maybe") == "yes")),
        ({"flag": True}, pl.col("flag")),
        ({"flag": "no"}, ~pl.col("flag")),
        ({"start": dt.datetime(2024, 2, 3, 10, 15)}, pl.col("start") == dt.datetime(2024, 2, 3, 10, 15)),
        ({"start": "2024-02-03"}, pl.col("start").dt.date() == dt.date(2024, 2, 3)),
        (
            {"start": "2024-02-03 10:00..2024-02-05 08:00"},
            pl.col("start").is_between(dt.datetime(2024, 2, 3, 10), dt.datetime(2024, 2, 5, 8)),
        ),
        ({"day": dt.date(2024, 3, 3)}, pl.col("day") == dt.date(2024, 3, 3)),
        ({"day": ("2024-03-03", "2024-03-09")}, pl.col("day").is_between(dt.date(2024, 3, 3), dt.date(2024, 3, 9))),
        ({"clock": "08:00..09:30"}, pl.col("clock").is_between(dt.time(8), dt.time(9, 30))),
        ({"stay": "5h..10h"}, pl.col("stay").is_between(dt.timedelta(hours=5), dt.timedelta(hours=10))),
        ({"id": "P-99999"}, pl.col("id") == "P-99999"),
        ({"note": "hello world"}, pl.col("note") == "hello world"),
        ({"same": "k"}, pl.col("same") == "k"),
        ({"age": (30, 40), "sex": "F", "flag": True}, pl.col("age").is_between(30, 40) & (pl.col("sex") == "F")),
    ],
)
def test_wishes_are_met_in_every_row(given, test) -> None:
    known = CODEC.condition(given)
    assert known.x.shape == known.mask.shape == (1, len(CODEC.cells))
    for j, weights in (known.soft or {}).items():
        assert not known.mask[0, j]
        assert weights.shape == (1, CODEC.space.sizes[j])
        assert (weights > 0).any()
    made = CODEC.decode(draw(known, 500), rng=rng(), within=given)
    assert made.select(test.all()).item()
    # Even codes that ignore the wish cannot break it.
    careless = CODEC.decode(CODEC.encode(FRAME).x, rng=rng(), within=given)
    assert careless.select(test.all()).item()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"age": 999}, "known from 1"),
        ({"age": "200..300"}, "known from 1"),
        ({"age": "old"}, "whole number"),
        ({"age": 30.5}, "whole number"),
        ({"age": (50, 40)}, "empty"),
        ({"age": None}, "never missing"),
        ({"age": []}, "empty set"),
        ({"sex": "X"}, "Known: M, F"),
        ({"sex": ("a", "b")}, "no order"),
        ({"flag": "perhaps"}, "Known"),
        ({"same": "other"}, "always 'k'"),
        ({"start": "2050-01-01"}, "known from 2024"),
        ({"clock": "25:99"}, "time such as"),
        ({"stay": "long"}, "duration such as"),
        ({"row": "abc"}, "is an id"),
    ],
)
def test_impossible_wishes_say_what_is_possible(given, words) -> None:
    with pytest.raises(ConditionError, match=words):
        CODEC.condition(given)


def test_unknown_columns_name_the_nearest() -> None:
    with pytest.raises(UnknownName, match="Did you mean 'price'"):
        CODEC.condition({"prise": 3})
    with pytest.raises(UnknownName):
        CODEC.partial([{"prise": 3}])


def test_ranges_weigh_codes_by_the_share_they_admit() -> None:
    known = CODEC.condition({"age": (17, 90)})
    assert known.soft is None
    half = CODEC.condition({"real": (0.0, 10.0)}).soft
    assert half is not None
    weights = next(iter(half.values()))[0]
    assert ((weights > 0) & (weights < 1)).sum() <= 2
    assert 0.3 * len(weights) < weights.sum() < 0.7 * len(weights)


def test_holes_are_filled_and_the_rest_is_kept() -> None:
    rows = FRAME.head(50).with_columns(
        age=pl.when(pl.int_range(50) % 2 == 0).then(pl.col("age")),
        maybe=pl.lit(None, pl.String),
        price=pl.lit(3.217),
    ).drop("start")  # fmt: skip
    known = CODEC.partial(rows)
    age, maybe = CODEC.column_cells("age")[0], CODEC.column_cells("maybe")[0]
    assert known.mask[:, age].tolist() == [i % 2 == 0 for i in range(50)]
    assert not known.mask[:, CODEC.column_cells("start")].any()
    assert known.soft is not None
    assert (known.soft[maybe][:, 0] == 0).all()
    x = torch.where(known.mask, known.x, CODEC.encode(FRAME).x[200:250])
    x[:, maybe] = 1
    made = CODEC.decode(x, rng=rng(), within=rows)
    for name in ("sex", "price", "note", "id", "flag", "stay"):
        assert made[name].equals(rows[name])
    assert made["age"].gather_every(2).equals(rows["age"].gather_every(2))
    assert made["maybe"].null_count() == 0
    assert made.columns == FRAME.columns
    one = CODEC.decode(x, rng=rng(), within=[{"age": 33, "sex": None}])
    assert (one["age"] == 33).all()
