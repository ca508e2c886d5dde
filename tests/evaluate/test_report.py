"""The whole card: honest answers, strict JSON, a page that no name can break, and no table that crashes it."""

from __future__ import annotations

import json
import re
from datetime import datetime, time, timedelta
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from likely.core import Progress
from likely.errors import ArtifactError, DataError, Mismatch, OptionError, StorageError, UnknownName
from likely.evaluate import judge
from likely.evaluate.auroc import Area
from likely.evaluate.card import Verdict
from likely.evaluate.report import Report
from likely.evaluate.table import evaluate_table
from tests.evaluate.toys import loosened, patients

N = 500


@pytest.fixture(scope="module")
def train() -> pl.DataFrame:
    return patients(N, 0)


@pytest.fixture(scope="module")
def holdout() -> pl.DataFrame:
    return patients(N, 1)


@pytest.fixture(scope="module")
def fresh(train: pl.DataFrame, holdout: pl.DataFrame) -> Report:
    return evaluate_table(train, holdout, patients(N, 2), target="died", about={"model": "nature"})


@pytest.fixture(scope="module")
def copied(train: pl.DataFrame, holdout: pl.DataFrame) -> Report:
    return evaluate_table(train, holdout, train.sample(fraction=1, shuffle=True, seed=0), target="died")


@pytest.fixture(scope="module")
def loose(train: pl.DataFrame, holdout: pl.DataFrame) -> Report:
    return evaluate_table(train, holdout, loosened(train, 3), target="died")


def check_page(text: str) -> None:
    """Well nested, nothing loaded, nothing run."""
    stack: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            assert tag not in ("script", "img", "link", "iframe", "object", "b2")
            assert not any(name.startswith("on") or name in ("href", "src") for name, _ in attrs)
            if tag not in ("meta",):
                stack.append(tag)

        def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            pass

        def handle_endtag(self, tag: str) -> None:
            assert stack.pop() == tag

    Reader().feed(text)
    assert not stack
    assert not re.search(r"https?://|url\(|@import", text)
    assert "nan" not in re.sub(r"[a-z]nan|nan[a-z]", "", text)


def test_fresh_real_rows_may_be_shared(fresh: Report) -> None:
    assert fresh.share == "yes"
    assert "evidence, not proof" in fresh.answer
    assert fresh.tile("true", "valid") == fresh.tile("varied") == fresh.tile("private") == "good"
    assert fresh["c2st"].value == pytest.approx(0.5, abs=0.05)
    assert fresh["utility:died"].value == pytest.approx(1, abs=0.05)


def test_a_copier_may_not(copied: Report) -> None:
    assert copied.share == "no"
    assert copied["copies"].value == 1
    assert copied["membership"].verdict == copied["near_copies"].verdict == "bad"
    assert (copied["dcr"].value or 0) > 0.6
    assert copied["c2st"].verdict == "good"  # and nothing but privacy says so
    assert copied["shapes"].verdict == "good"


def test_loose_columns_are_private_but_not_true(loose: Report) -> None:
    assert loose.share == "yes"
    assert loose["shapes"].verdict == "good"
    assert loose["c2st"].verdict == loose["related"].verdict == loose["utility:died"].verdict == "bad"
    assert "not like the real one" in loose.answer
    assert loose["c2st"].value == pytest.approx(loose["c2st"].floor or 0, abs=0.03)


def test_json_is_strict_and_comes_back(fresh: Report, loose: Report) -> None:
    for report in (fresh, loose):
        text = json.dumps(report.to_dict(), allow_nan=False)
        again = Report.from_dict(json.loads(text))
        assert again.to_dict() == report.to_dict()
        assert str(again) == str(report)
        assert again.to_html() == report.to_html()


def test_a_table_has_nothing_of_images_in_its_json(fresh: Report) -> None:
    """Cards of tables are stored in model files: what came later for images and windows must not change a byte."""
    assert fresh.kind == "rows"
    assert not {"kind", "curves", "pictures"} & set(fresh.to_dict())
    with pytest.raises(ArtifactError):
        Report.from_dict({**fresh.to_dict(), "pictures": []})


@pytest.mark.parametrize(
    "harm",
    [
        lambda d: d.update(format=99),
        lambda d: d.update(share="certainly"),
        lambda d: d.pop("rows"),
        lambda d: d["rows"][0].update(value="high"),
        lambda d: d["rows"][0].update(extra=1),
        lambda d: d["heat"].update(loss=[1]),
        lambda d: d.update(seed=True),
    ],
)
def test_a_damaged_card_is_refused(fresh: Report, harm: object) -> None:
    data = json.loads(json.dumps(fresh.to_dict()))
    harm(data)  # type: ignore[operator]
    with pytest.raises(ArtifactError):
        Report.from_dict(data)


def test_same_seed_same_card(train: pl.DataFrame, holdout: pl.DataFrame) -> None:
    tables = train[:120], holdout[:120], patients(120, 5)
    cards = [evaluate_table(*tables, target="died", seed=4).to_dict() for _ in range(2)]
    for card in cards:
        card.pop("seconds")
    assert cards[0] == cards[1]


def test_terminal_and_files(fresh: Report, tmp_path: Path) -> None:
    assert max(len(line) for line in str(fresh).splitlines()) <= 100
    fresh.save(tmp_path / "card.json")
    assert Report.from_dict(json.loads((tmp_path / "card.json").read_text())) == Report.from_dict(fresh.to_dict())
    fresh.save(tmp_path / "card.html")
    check_page((tmp_path / "card.html").read_text())
    with pytest.raises(OptionError, match=r"report\.html"):
        fresh.save(tmp_path / "card.pdf")
    with pytest.raises(StorageError):
        fresh.save(tmp_path / "nowhere" / "card.html")
    with pytest.raises(KeyError, match="membership"):
        fresh["fame"]


def test_hostile_names_cannot_break_the_page() -> None:
    evil = "<script>alert(1)</script>\"'><b2 onload=x>{made}$title"
    rng = np.random.default_rng(0)

    def table(n: int) -> pl.DataFrame:
        return pl.DataFrame({
            evil: rng.normal(size=n), evil + "2": rng.choice([evil, "</svg></style>", "\x00\u202e", ""], n),
            "$" + "x" * 300: rng.integers(0, 3, n),
        })  # fmt: skip

    def check(frame: pl.DataFrame) -> list[list[str]]:
        return [[evil]] * len(frame)

    report = evaluate_table(table(200), table(200), table(200), check=check, about={"model": evil, evil: evil})
    check_page(report.to_html())
    assert str(report)
    json.dumps(report.to_dict(), allow_nan=False)


def days(n: int) -> list[datetime]:
    return [datetime(2024, 1, 1) + timedelta(hours=7 * i) for i in range(n)]


TABLES: dict[str, pl.DataFrame] = {
    "one number": pl.DataFrame({"x": np.arange(60.0)}),
    "one category": pl.DataFrame({"c": ["a", "b", "b"] * 20}),
    "one constant": pl.DataFrame({"c": ["a"] * 60}),
    "all categories": pl.DataFrame({"c": ["a", "b", "b"] * 20, "d": ["u", "v"] * 30, "e": [True, None, False] * 20}),
    "one row": pl.DataFrame({"x": [1.0], "c": ["a"]}),
    "three rows": pl.DataFrame({"x": [1.0, 2.0, None], "c": ["a", None, "b"]}),
    "nothing but holes": pl.DataFrame(
        {"x": [None] * 60, "y": [1.0, None] * 30}, schema={"x": pl.Float64, "y": pl.Float64}
    ),
    "moments": pl.DataFrame(
        {"t": days(60), "u": [timedelta(seconds=i) for i in range(60)], "v": [time(i % 24) for i in range(60)]}
    ),
    "zones": pl.DataFrame({"t": days(60), "y": np.arange(60)}).with_columns(
        pl.col("t").dt.replace_time_zone("Europe/Berlin")
    ),
    "one-class target": pl.DataFrame({"x": np.arange(60.0), "y": ["same"] * 60}),
    "enums": pl.DataFrame({"e": pl.Series(["a", "b", None] * 20, dtype=pl.Enum(["b", "a"])), "x": np.arange(60)}),
    "decimals and infinities": pl.DataFrame(
        {"d": pl.Series(range(60)).cast(pl.Decimal(10, 2)), "x": [float("inf"), 1.0, float("nan")] * 20}
    ),
    "texts": pl.DataFrame({"name": [f"person {i}" for i in range(300)], "x": np.arange(300.0)}),
    "nested": pl.DataFrame({"l": [[1, 2]] * 60, "x": np.arange(60.0)}),
    "huge": pl.DataFrame({"x": [1e300, -1e300] * 30, "i": [2**62, -(2**62)] * 30}),
}


@pytest.mark.parametrize("name", TABLES)
def test_no_table_is_too_odd(name: str) -> None:
    table = TABLES[name]
    report = evaluate_table(table, table, table)
    json.dumps(report.to_dict(), allow_nan=False)
    assert str(report)
    check_page(report.to_html())
    for row in report.rows:
        assert row.value is not None or row.sentence.startswith("Not applicable because")


def test_columns_left_out_are_named() -> None:
    report = evaluate_table(TABLES["texts"], TABLES["texts"], TABLES["texts"])
    assert "'name' is free text or an identifier" in report.notes[0]


def test_one_class_target_says_why() -> None:
    table = TABLES["one-class target"]
    row = evaluate_table(table, table, table, target="y")["utility:y"]
    assert row.value is None
    assert "one value only" in row.sentence


def test_made_rows_of_one_class_score_like_chance(train: pl.DataFrame, holdout: pl.DataFrame) -> None:
    report = evaluate_table(train, holdout, train.with_columns(died=pl.lit("no")), target="died")
    assert report["utility:died"].verdict == "bad"
    assert report["levels"].verdict == "bad"


def test_without_training_rows_privacy_is_not_measured(holdout: pl.DataFrame) -> None:
    report = evaluate_table(None, holdout, patients(400, 5), target="died")
    assert report.share == "not measured"
    assert report["membership"].value is None
    assert report["c2st"].ceiling is not None
    check_page(report.to_html())


def test_few_rows_are_never_a_clean_bill() -> None:
    report = evaluate_table(patients(40, 0), patients(40, 1), patients(40, 2))
    assert report["membership"].verdict == "look"
    assert report.share == "look first"


def test_check_and_wrong_types_are_reported(train: pl.DataFrame, holdout: pl.DataFrame) -> None:
    made = patients(300, 7).with_columns(pl.col("age").cast(pl.String))
    report = evaluate_table(
        train, holdout, made, check=lambda rows: [["too old"] if float(age) > 60 else [] for age in rows["age"]]
    )
    assert report["valid"].verdict == "bad"
    assert "too old" in report["valid"].sentence
    assert "'age' is String" in report["types"].sentence


def test_progress_rises_to_one(train: pl.DataFrame, holdout: pl.DataFrame) -> None:
    heard: list[Progress] = []
    evaluate_table(train[:100], holdout[:100], patients(100, 5), target="died", listen=heard.append)
    done = [one.done for one in heard]
    assert done == sorted(done)
    assert done[-1] == 1
    assert len({one.stage for one in heard}) > 5


def test_wrong_calls_are_explained(train: pl.DataFrame, holdout: pl.DataFrame) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'died'"):
        evaluate_table(train, holdout, train, target="dies")
    with pytest.raises(DataError, match="made table has no rows"):
        evaluate_table(train, holdout, train[:0])
    with pytest.raises(Mismatch, match="no column"):
        evaluate_table(train, holdout, pl.DataFrame({"other": [1]}))
    with pytest.raises(OptionError, match="20 rows"):
        evaluate_table(train, holdout, train, rows=3)


def test_membership_verdicts() -> None:
    null = Area(0.5, 0.01)
    assert judge.membership(Area(0.51, 0.01), null, 1).verdict == "good"
    assert judge.membership(Area(0.50, 0.08), null, 1).verdict == "look"  # too wide to say
    assert judge.membership(Area(0.54, 0.005), null, 1).verdict == "look"
    assert judge.membership(Area(0.60, 0.01), null, 1).verdict == "bad"
    # hold-out rows from another year are told apart without any leak: the ceiling says so
    assert judge.membership(Area(0.60, 0.01), Area(0.6, 0.01), 1).verdict == "good"


def test_the_answer_names_what_is_wrong_and_not_what_is_right() -> None:
    """A classifier that only guesses is no reason to say that a table is not like the real one."""

    def said(c2st: tuple[float, Verdict], shapes: tuple[float, Verdict]) -> str:
        rows = [judge.row(name, title, "true", value, 0.5, 1.0, 0.5, None, verdict, "")
                for name, title, (value, verdict) in (("c2st", "Told apart by a classifier", c2st),
                                                      ("shapes", "Column shapes", shapes))]  # fmt: skip
        return judge.answer(rows)[0]

    found = said((0.41, "good"), (0.7, "bad"))
    assert "is not like the real one (told apart 41% of the time; 50% is perfect, but column shapes: 0.70)" in found
    assert "(told apart 90% of the time; 50% is perfect)" in said((0.9, "bad"), (0.7, "bad"))
    assert "(told apart 52% of the time; 50% is perfect)" in said((0.52, "good"), (0.99, "good"))


def test_percent_never_rounds_to_certainty() -> None:
    assert judge.percent(0.99999) == "99.9%"
    assert judge.percent(1.0) == "100%"
    assert judge.percent(0.00001) == "under 0.1%"
    assert judge.percent(0.0) == "0%"


def test_the_order_of_a_file_is_no_difference(train: pl.DataFrame, holdout: pl.DataFrame) -> None:
    """Rows sorted by ward or year: real rows beside real rows must still look alike."""
    card = evaluate_table(train.sort(train.columns[0]), holdout.sort(holdout.columns[0]), patients(N, 2), target="died")
    ceiling = card["c2st"].ceiling
    assert ceiling is not None
    assert ceiling < 0.6
