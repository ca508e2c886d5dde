"""The verbs as a user meets them, on small real tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

import likely
from likely.errors import ConditionError, DataError, Mismatch, NotFitted, OptionError, UnknownName, Unsupported
from likely.families.exact import Exact

PATIENTS = ["age", "sex", "dzgroup", "num.co", "edu", "meanbp", "temp", "alb", "hospdead"]


@pytest.fixture(scope="module")
def people() -> pl.DataFrame:
    return likely.data.adult()[:600].drop("fnlwgt", "education")


@pytest.fixture(scope="module")
def patients() -> pl.DataFrame:
    return likely.data.support2()[:500][PATIENTS]


@pytest.fixture(scope="module")
def census(people: pl.DataFrame) -> likely.Generator:
    return likely.fit(people, target="income-per-year", progress=False)


@pytest.fixture(scope="module")
def ward(patients: pl.DataFrame) -> likely.Generator:
    return likely.fit(patients, target="hospdead", progress=False)


# ------------------------------------------------------------------------------------------------- what comes out


def test_polars_in_polars_out(census: likely.Generator, people: pl.DataFrame) -> None:
    rows = census.sample(50)
    assert isinstance(rows, pl.DataFrame)
    assert rows.schema == people.schema
    assert rows.height == 50


def test_pandas_in_pandas_out(patients: pl.DataFrame) -> None:
    table = patients.to_pandas()
    table["sex"] = table["sex"].astype("category")
    table.index = table.index + 1000
    rows = likely.fit(table, family="exact", progress=False).sample(40)
    assert isinstance(rows, pd.DataFrame)
    assert list(rows.columns) == list(table.columns)
    assert rows.dtypes.to_dict() == table.dtypes.to_dict()


def test_dicts_in_dicts_out(patients: pl.DataFrame) -> None:
    table = patients.to_dicts()
    rows = likely.fit(table, family="exact", progress=False).sample(40)
    assert isinstance(rows, list)
    assert all(list(row) == PATIENTS for row in rows)
    for name in PATIENTS:
        assert {type(row[name]) for row in rows} <= {type(row[name]) for row in table}


def test_a_file_in_polars_out_typed(patients: pl.DataFrame, tmp_path: Path) -> None:
    patients.write_csv(tmp_path / "patients.csv")
    rows = likely.fit(tmp_path / "patients.csv", family="exact", progress=False).sample(40)
    assert rows.schema["age"] == pl.Float64
    assert rows.schema["num.co"] == pl.Int64
    assert rows.schema["sex"] == pl.String


def test_it_learned_more_than_columns(ward: likely.Generator, patients: pl.DataFrame) -> None:
    """Coma is deadlier than heart failure in the data, and so in what is made."""
    rows = ward.sample(4000, seed=3)
    death = {name: rows.filter(pl.col("dzgroup") == name)["hospdead"].mean() for name in ("Coma", "CHF")}
    assert death["Coma"] > death["CHF"] + 0.2


def test_same_seed_same_rows_and_no_seed_goes_on(census: likely.Generator) -> None:
    assert census.sample(30, seed=5).equals(census.sample(30, seed=5))
    assert not census.sample(30, seed=5).equals(census.sample(30, seed=6))
    assert not census.sample(30).equals(census.sample(30))


def test_same_seed_same_model(patients: pl.DataFrame, tmp_path: Path) -> None:
    files = [likely.fit(patients[:300], seed=4, progress=False).save(tmp_path / name) for name in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_saved_and_loaded_is_the_same(census: likely.Generator, people: pl.DataFrame, tmp_path: Path) -> None:
    again = likely.load(census.save(tmp_path / "census.likely"))
    wish = {"age": (40, None), "sex": "Female"}
    assert again.sample(50, seed=1).equals(census.sample(50, seed=1))
    assert again.sample(20, given=wish, seed=1).equals(census.sample(20, given=wish, seed=1))
    np.testing.assert_array_equal(again.surprise(people[:50]), census.surprise(people[:50]))


def test_cool_rows_are_more_likely_than_warm_ones(census: likely.Generator) -> None:
    cool, true, warm = (
        census.surprise(census.sample(300, temperature=heat, seed=0)).mean() for heat in (0.3, 1.0, 3.0)
    )
    assert cool < true < warm


# ---------------------------------------------------------------------------------------------------------- given


@pytest.mark.parametrize(
    ("wish", "holds"),
    [
        ({"sex": "Female"}, pl.col("sex") == "Female"),
        ({"age": 40}, pl.col("age") == 40),
        ({"age": (60, 70)}, pl.col("age").is_between(60, 70)),
        ({"age": (60, None)}, pl.col("age") >= 60),
        ({"age": (None, 25)}, pl.col("age") <= 25),
        ({"age": "60..70"}, pl.col("age").is_between(60, 70)),
        ({"race": ["White", "Black"]}, pl.col("race").is_in(["White", "Black"])),
        ({"race": {"White", "Black"}}, pl.col("race").is_in(["White", "Black"])),
        ({"workclass": None}, pl.col("workclass").is_null()),
        ({"income-per-year": ">50K"}, pl.col("income-per-year") == ">50K"),
        (
            {"sex": "Male", "age": (30, 50), "income-per-year": ">50K"},
            (pl.col("sex") == "Male") & pl.col("age").is_between(30, 50) & (pl.col("income-per-year") == ">50K"),
        ),
    ],
)
def test_given_holds_in_every_row(census: likely.Generator, wish: dict[str, Any], holds: pl.Expr) -> None:
    rows = census.sample(60, given=wish, seed=0)
    assert rows.height == 60
    assert rows.select(holds.all()).item() is True


def test_given_moves_the_other_columns(census: likely.Generator) -> None:
    """Who is given a high income is older and more often married, as in the data."""
    rich = census.sample(400, given={"income-per-year": ">50K"}, seed=0)
    poor = census.sample(400, given={"income-per-year": "<=50K"}, seed=0)
    assert rich["age"].mean() > poor["age"].mean() + 3  # type: ignore[operator]
    assert census.notes


@pytest.mark.parametrize(
    ("wish", "error", "words"),
    [
        ({"agee": 40}, UnknownName, "Did you mean 'age'"),
        ({"sex": "Femal"}, LookupError, ""),
        ({"age": (200, 300)}, ConditionError, "17"),
        ({"age": (70, 60)}, ConditionError, "age"),
        ({"age": "old"}, ConditionError, "age"),
        ({"race": []}, ConditionError, "race"),
        ({"sex": None}, ConditionError, "never missing"),
    ],
    ids=str,
)
def test_wishes_that_cannot_be(
    census: likely.Generator, wish: dict[str, Any], error: type[Exception], words: str
) -> None:
    wanted = likely.LikelyError if error is LookupError else error
    with pytest.raises(wanted, match=words or "Did you mean 'Female'"):
        census.sample(5, given=wish)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n": 0}, "1 row or more"),
        ({"n": -1}, "1 row or more"),
        ({"n": 2.5}, "1 row or more"),
        ({"n": 5, "temperature": 0}, "temperature is 0"),
        ({"n": 5, "temperature": float("nan")}, "temperature is nan"),
        ({"n": 5, "seed": -1}, "seed is -1"),
        ({"n": 5, "seed": 1.5}, "seed is 1.5"),
        ({"n": 5, "seed": True}, "seed is True"),
    ],
    ids=str,
)
def test_sample_options_that_make_no_sense(census: likely.Generator, options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        census.sample(**options)


# ----------------------------------------------------------------------------------------------------------- fill


def test_fill_keeps_what_is_there_and_leaves_no_hole(ward: likely.Generator, patients: pl.DataFrame) -> None:
    rows = patients[400:]
    whole = ward.fill(rows, seed=0)
    assert whole.schema == rows.schema
    assert whole.null_count().sum_horizontal().item() == 0
    assert rows.null_count().sum_horizontal().item() > 0
    for name in rows.columns:
        there = rows[name].is_not_null()
        assert whole[name].filter(there).equals(rows[name].filter(there)), name
    assert ward.fill(rows, seed=0).equals(whole)


def test_fill_completes_absent_columns_and_any_table_type(ward: likely.Generator) -> None:
    whole = ward.fill([{"age": 70.0, "sex": None}, {"hospdead": 1}], seed=0)
    assert whole.columns == PATIENTS
    assert whole["age"][0] == 70.0
    assert whole["hospdead"][1] == 1
    assert whole.null_count().sum_horizontal().item() == 0


def test_fill_refuses_what_it_cannot_read(ward: likely.Generator) -> None:
    with pytest.raises(DataError, match="empty"):
        ward.fill(pl.DataFrame(schema={"age": pl.Float64}))
    with pytest.raises(UnknownName, match="Did you mean 'age'"):
        ward.fill([{"agee": 3}])
    with pytest.raises(DataError, match="age"):
        ward.fill([{"age": "old"}])


# ------------------------------------------------------------------------------------------------------- surprise


def test_surprise_is_one_number_a_row_and_its_parts_add_up(census: likely.Generator, people: pl.DataFrame) -> None:
    rows = people[:100]
    total, each = census.surprise(rows), census.surprise(rows, each=True)
    assert total.shape == (100,)
    assert np.isfinite(total).all()
    assert set(each) <= set(people.columns)
    np.testing.assert_allclose(sum(each.values()), total, rtol=1e-9)


@pytest.mark.parametrize(
    ("name", "value"), [("age", 200), ("race", "Martian"), ("hours-per-week", 999), ("capital-gain", -50_000)]
)
def test_an_impossible_value_surprises_in_its_column(
    census: likely.Generator, people: pl.DataFrame, name: str, value: Any
) -> None:
    typical = census.surprise(people, each=True)
    calm = int(np.argsort(census.surprise(people))[len(people) // 2])
    odd = people[calm].with_columns(pl.lit(value).cast(people.schema[name]).alias(name))
    each = census.surprise(odd, each=True)
    assert max(each, key=lambda column: each[column][0]) == name
    assert each[name][0] > np.quantile(typical[name], 0.98)


@pytest.mark.parametrize("odd", [{"age": 200, "race": "Martian"}, {"age": 2000}, {"hours-per-week": 999}], ids=str)
def test_an_impossible_row_is_stranger_than_nearly_all(
    census: likely.Generator, people: pl.DataFrame, odd: dict[str, Any]
) -> None:
    typical = census.surprise(people)
    calm = int(np.argsort(typical)[len(people) // 2])
    row = people[calm].with_columns(pl.lit(value).cast(people.schema[name]).alias(name) for name, value in odd.items())
    assert census.surprise(row)[0] > np.quantile(typical, 0.99)


def test_surprise_refuses_another_table(census: likely.Generator, people: pl.DataFrame) -> None:
    with pytest.raises(Mismatch, match="lacks the column 'age'"):
        census.surprise(people.drop("age"))
    with pytest.raises(DataError, match="empty"):
        census.surprise(people[:0])


# --------------------------------------------------------------------------------------------------------- report


def test_report_compares_with_rows_never_learned_from(people: pl.DataFrame, tmp_path: Path) -> None:
    gen = likely.fit(people, progress=False)
    assert gen.evidence is not None
    assert (len(gen.evidence.train), len(gen.evidence.control)) == (540, 60)
    card = gen.report()
    assert "told apart" in str(card)
    assert card.to_dict()["counts"]["holdout"] == 60
    again = likely.load(gen.save(tmp_path / "m.likely"))
    assert again.evidence is None
    # All but how long it took, which is no part of the file: same seed, same bytes.
    assert again.report().to_dict() == {**card.to_dict(), "seconds": 0.0}


def test_report_needs_rows(ward: likely.Generator, patients: pl.DataFrame, tmp_path: Path) -> None:
    bare = likely.load(likely.fit(patients[:100], progress=False).save(tmp_path / "m.likely"))
    with pytest.raises(NotFitted, match="--holdout"):
        bare.report()
    with pytest.raises(OptionError, match="no control rows"):
        likely.fit(patients[:100], progress=False).report()
    with pytest.raises(Mismatch, match="lacks"):
        bare.report(patients.drop("age"))
    assert "Not measured" in str(bare.report(patients[100:300]))


@pytest.mark.parametrize("where", ["memory", "file"])
def test_report_holds_alike_beside_alike(patients: pl.DataFrame, tmp_path: Path, where: str) -> None:
    """A CSV file is text; what is learned from it and made is typed. The report compares numbers with numbers."""
    patients.write_csv(tmp_path / "p.csv")
    table = tmp_path / "p.csv" if where == "file" else patients
    gen = likely.fit(table, family="exact", columns={"edu": "drop"}, progress=False)
    for card in (gen.report(), gen.report(table)):
        rows = {row["name"]: row["value"] for row in card.to_dict()["rows"]}
        assert rows["types"] == 1.0, card


# -------------------------------------------------------------------------------------------------------- options


def test_privacy_is_one_of_three_words(patients: pl.DataFrame) -> None:
    floors = {
        word: likely.fit(patients, family="exact", privacy=word, progress=False).codec.least  # type: ignore[attr-defined]
        for word in ("faithful", "balanced", "private")
    }
    assert floors["private"] > floors["balanced"] >= floors["faithful"]
    with pytest.raises(UnknownName, match="Known: faithful, balanced, private"):
        likely.fit(patients, privacy="secret", progress=False)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"family": "tree"}, UnknownName, "Did you mean 'trees'"),
        ({"codec": "tabel"}, UnknownName, "Did you mean 'table'"),
        ({"target": "hospdea"}, UnknownName, "Did you mean 'hospdead'"),
        ({"columns": {"agee": "drop"}}, UnknownName, "Did you mean 'age'"),
        ({"columns": {"age": "categorical"}}, likely.LikelyError, "Did you mean 'category'"),
        ({"family": "trees", "leafs": 4}, UnknownName, "Did you mean 'leaves'"),
        ({"family": "trees", "leaves": "four"}, OptionError, "wants int"),
        ({"family": "trees", "rate": float("nan")}, OptionError, "finite"),
        ({"constraints": ["agee <= 3"]}, likely.LikelyError, "age"),
        ({"constraints": ["age"]}, likely.LikelyError, "age"),
        ({"constraints": ["age <= 20"]}, likely.LikelyError, "age"),
        ({"control": 2}, OptionError, "control is 2"),
        ({"minutes": 0}, OptionError, "minutes is 0"),
        ({"minutes": -1}, OptionError, "minutes is -1"),
        ({"seed": -1}, OptionError, "seed is -1"),
        ({"seed": "one"}, OptionError, "seed is 'one'"),
        ({"target": "age", "columns": {"age": "drop"}}, likely.LikelyError, "age"),
    ],
    ids=str,
)
def test_fit_options_that_make_no_sense(
    patients: pl.DataFrame, options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        likely.fit(patients, progress=False, **options)


def test_the_choice_says_why(patients: pl.DataFrame) -> None:
    for minutes, name in ((None, "trees"), (1e-4, "exact")):
        gen = likely.fit(patients, minutes=minutes, progress=False)
        assert gen.card["family"]["name"] == name
        assert gen.notes[0].startswith(f"'{name}'")
    assert "was asked for" in likely.fit(patients, family="exact", progress=False).notes[0]


def test_a_family_of_your_own(patients: pl.DataFrame) -> None:
    codec = likely.fit(patients, family="exact", progress=False).codec
    gen = likely.fit(patients, family=Exact(codec.space), progress=False)  # type: ignore[arg-type]
    assert gen.sample(5).height == 5
    with pytest.raises(OptionError, match="give them to it"):
        likely.fit(patients, family=Exact(codec.space), smoothing=1.0, progress=False)  # type: ignore[arg-type]


def test_constraints_hold_in_every_row() -> None:
    rng = np.random.default_rng(0)
    start = rng.integers(0, 100, 600)
    food, rent = rng.integers(5, 60, 600), rng.integers(200, 900, 600)
    trips = pl.DataFrame(
        {"start": start, "end": start + rng.poisson(5, 600), "food": food, "rent": rent, "total": food + rent}
    )
    gen = likely.fit(
        trips, constraints=["start <= end", "total = food + rent", "0 <= start <= 120"], minutes=0.2, progress=False
    )
    rows = gen.sample(2000, seed=0)
    assert (rows["start"] <= rows["end"]).all()
    assert (rows["total"] == rows["food"] + rows["rent"]).all()
    assert rows["start"].is_between(0, 120).all()
    rows = gen.sample(200, given={"end": (50, 60)}, seed=0)
    assert (rows["start"] <= rows["end"]).all()
    assert rows["end"].is_between(50, 60).all()
    whole = gen.fill([{"start": 30}, {"end": 10}, {"total": 500}], seed=0)
    assert (whole["start"] <= whole["end"]).all()
    assert (whole["total"] == whole["food"] + whole["rent"]).all()


def test_progress_can_be_a_function(patients: pl.DataFrame) -> None:
    seen: list[tuple[str, float]] = []
    likely.fit(patients[:100], progress=lambda step: seen.append((step.stage, step.done)))
    assert seen[0] == ("reading", 0.0)
    assert all(0 <= done <= 1 for _, done in seen)


# -------------------------------------------------------------------------------------------------------- privacy


def test_no_training_row_is_in_the_file(patients: pl.DataFrame, tmp_path: Path) -> None:
    """Neither a rare level, nor a name, nor a lonely extreme value is written to the model file."""
    rng = np.random.default_rng(0)
    table = patients.with_columns(
        name=pl.Series([f"{chr(65 + i % 26)}{rng.integers(10**9)} Smithers" for i in range(499)] + ["Zaphod Xyzzyq"]),
        ward=pl.Series(["north", "south"] * 249 + ["Quuxward", "Quuxward"]),
        wage=pl.Series([*rng.integers(1000, 5000, 499).tolist(), 987654321]),
    )
    gen = likely.fit(table, control=0.0, progress=False)
    data = gen.save(tmp_path / "m.likely").read_bytes()
    for secret in (b"Xyzzyq", b"Zaphod", b"Quuxward", b"987654321"):
        assert secret not in data
    rows = gen.sample(2000, seed=0)
    assert "Quuxward" not in rows["ward"]
    assert "Zaphod Xyzzyq" not in rows["name"]
    assert 987654321 not in rows["wage"]


def test_a_family_without_likelihood_says_who_has_one(patients: pl.DataFrame) -> None:
    gen = likely.fit(patients, family="exact", progress=False)
    gen.family = only_a_sampler(gen)
    with pytest.raises(Unsupported, match="trees, masked and exact"):
        gen.surprise(patients)
    with pytest.raises(Unsupported, match="trees, masked, exact"):
        gen.fill(patients)


def only_a_sampler(gen: likely.Generator) -> Any:
    """A family that can only sample."""
    family = gen.family

    class Sampler:
        config = family.config
        sample = staticmethod(family.sample)

    return Sampler()


def test_same_seed_same_file(tmp_path: Path) -> None:
    """Two fits with their reports write the same bytes, however long each took."""
    rows = likely.data.adult()[:300]
    for name in ("a", "b"):
        gen = likely.fit(rows, progress=False, seed=3)
        gen.report()
        gen.save(tmp_path / f"{name}.likely")
    assert (tmp_path / "a.likely").read_bytes() == (tmp_path / "b.likely").read_bytes()
