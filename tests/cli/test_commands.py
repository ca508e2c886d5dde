"""The commands end to end, as a user types them."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

import likely
from tests.cli.shell import run, start

COLUMNS = ["age", "sex", "dzgroup", "num.co", "meanbp", "temp", "hospdead"]


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with patients.csv, new.csv, holes.csv and the model that `likely fit` made of the first."""
    folder = tmp_path_factory.mktemp("ward")
    table = likely.data.support2()[COLUMNS]
    table[:500].write_csv(folder / "patients.csv")
    table[500:700].write_csv(folder / "new.csv")
    table[700:760].drop("temp").with_columns(
        pl.when(pl.int_range(60) % 3 == 0).then(None).otherwise("age").alias("age")
    ).write_csv(folder / "holes.csv")
    done = run("fit patients.csv -o ward.likely --target hospdead", folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    for words in ("age: ", "'trees': 450 rows", "told apart", "Saved ward.likely. Next: likely sample"):
        assert words in done.stderr
    return folder


def csv(text: str) -> pl.DataFrame:
    return pl.read_csv(text.encode())


# ------------------------------------------------------------------------------------------------------- at once


def test_help_and_version_are_instant() -> None:
    code = """if True:
        import resource, sys
        import likely.cli
        sys.argv[1:] = [FLAG]
        try:
            likely.cli.main()
        finally:
            used = resource.getrusage(resource.RUSAGE_SELF)
            print(used.ru_utime + used.ru_stime, file=sys.stderr)"""
    for flag in ("--help", "--version"):
        seconds = []
        for _ in range(3):
            done = subprocess.run(
                [sys.executable, "-c", code.replace("FLAG", repr(flag))], capture_output=True, text=True, check=True
            )
            seconds.append(float(done.stderr.split()[-1]))
        assert min(seconds) < 0.3, f"likely {flag} takes {min(seconds):.2f} CPU seconds"


def test_the_command_line_starts_without_torch() -> None:
    code = "import likely, likely.cli, sys; print([m for m in ('torch', 'polars', 'sklearn') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_names_every_verb() -> None:
    text = run("--help").stdout
    for verb in ("fit", "sample", "fill", "score", "report", "list", "show", "demo"):
        assert f"  {verb} " in text
    assert run("--version").stdout == f"likely {likely.__version__}\n"


# -------------------------------------------------------------------------------------------------------- sample


def test_sample_to_standard_output(ward: Path) -> None:
    done = run("sample ward.likely -n 50 --given sex=female --given age=60..80", ward)
    rows = csv(done.stdout)
    assert done.returncode == 0
    assert rows.columns == COLUMNS
    assert rows.height == 50
    assert rows["age"].is_between(60, 80).all()
    assert (rows["sex"] == "female").all()
    assert run("sample ward.likely -n 50 --given sex=female --given age=60..80", ward).stdout == done.stdout
    assert run("sample ward.likely -n 50 --seed 1 -q", ward).stderr == ""


@pytest.mark.parametrize("name", ["rows.csv", "rows.tsv", "rows.parquet", "rows.jsonl", "rows.csv.gz"])
def test_sample_to_files(ward: Path, name: str) -> None:
    done = run(f"sample ward.likely -n 30 -o {name}", ward)
    assert (done.returncode, done.stdout) == (0, "")
    assert f"Wrote 30 rows to {name}." in done.stderr
    rows = likely.load(ward / "ward.likely").codec.read(ward / name)
    assert rows.shape == (30, len(COLUMNS))
    assert not list(ward.glob(f".{name}*")), "something temporary was left"


def test_sample_as_json_lines(ward: Path) -> None:
    done = run("sample ward.likely -n 5 --json", ward)
    rows = [json.loads(line, parse_constant=_no_constant) for line in done.stdout.splitlines()]
    assert len(rows) == 5
    assert all(list(row) == COLUMNS for row in rows)


def test_more_rows_than_one_piece_have_one_header(ward: Path) -> None:
    done = run("sample ward.likely -n 26000 -q", ward)
    assert csv(done.stdout).height == 26_000
    assert done.stdout.count("hospdead") == 1


def test_a_reader_that_goes_away_is_no_error(ward: Path) -> None:
    with start("sample ward.likely -n 60000 -q", ward) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.readline().startswith(b"age,")
        child.stdout.close()
        assert child.stderr.read() == b""
        assert child.wait(120) == 0


# -------------------------------------------------------------------------------------- fill, score, report, show


def test_fill(ward: Path) -> None:
    done = run("fill ward.likely holes.csv", ward)
    whole, holes = csv(done.stdout), pl.read_csv(ward / "holes.csv")
    assert whole.columns == COLUMNS
    assert whole.null_count().sum_horizontal().item() == 0
    there = holes["age"].is_not_null()
    assert whole["age"].filter(there).equals(holes["age"].filter(there))
    done = run("fill ward.likely holes.csv -o whole.csv", ward)
    assert "Wrote 60 rows to whole.csv." in done.stderr


def test_score(ward: Path) -> None:
    done = run("score ward.likely new.csv --flag 1%", ward)
    scores = csv(done.stdout)
    assert scores.height == 200
    assert scores["flag"].sum() == 2
    parts = scores.select(pl.col("^surprise:.*$")).sum_horizontal()
    assert (parts - scores["surprise"]).abs().max() < 1e-6  # type: ignore[operator]
    assert scores.sort("surprise")["flag"].tail(2).all()
    as_json = run("score ward.likely new.csv --json", ward).stdout.splitlines()
    assert json.loads(as_json[0], parse_constant=_no_constant)["row"] == 0


def test_report(ward: Path) -> None:
    done = run("report ward.likely -o r.html", ward)
    assert "told apart" in done.stdout
    assert "Wrote r.html." in done.stderr
    page = (ward / "r.html").read_text()
    assert page.lstrip().lower().startswith("<!doctype html")
    card = json.loads(run("report ward.likely --json -q", ward).stdout, parse_constant=_no_constant)
    assert card["counts"]["train"] == 450
    fresh = run("report ward.likely --holdout new.csv --json -q", ward)
    types = next(row for row in json.loads(fresh.stdout)["rows"] if row["name"] == "types")
    assert types["value"] == 1.0, "rows of a CSV file are compared as what they stand for"


def test_show_and_list(ward: Path) -> None:
    text = run("show ward.likely", ward).stdout
    for words in ("trees over table, learned from 450 rows", "target hospdead", "dzgroup: category", "told apart"):
        assert words in text
    shown = json.loads(run("show ward.likely --json", ward).stdout, parse_constant=_no_constant)
    assert shown["family"]["name"] == "trees"
    assert "trees" in run("list", ward).stdout
    grid = json.loads(run("list --json", ward).stdout, parse_constant=_no_constant)
    assert {family["name"] for family in grid["families"]} >= {"trees", "masked", "exact"}


def test_fit_as_json_and_with_every_option(ward: Path) -> None:
    done = run(
        "fit patients.csv -o all.likely --target hospdead --privacy private --family exact --column num.co=category "
        "--column temp=drop --constraint '0 <= age <= 110' --control 0.2 --minutes 1 --seed 3 --no-report --json",
        ward,
    )
    made = json.loads(done.stdout, parse_constant=_no_constant)
    assert made["rows"] == 400
    assert made["report"] is None
    assert "temp" not in run("sample all.likely -n 2", ward).stdout


def test_the_model_is_named_after_the_table(ward: Path) -> None:
    assert run("fit new.csv --family exact --no-report -q", ward).stderr == ""
    assert (ward / "new.likely").exists()


# ------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("sample nothing.likely", "No file 'nothing.likely'"),
        ("sample patients.csv", "not a model of likely"),
        ("sample ward.likely -n 0", "1 row or more"),
        ("sample ward.likely --given sex", "--given age=60..80"),
        ("sample ward.likely --given age>60", "--given age=60..80"),
        ("sample ward.likely --given sexx=female", "Did you mean 'sex'"),
        ("sample ward.likely --given sex=femal", "Did you mean 'female'"),
        ("sample ward.likely --given age=200..300", "outside"),
        ("sample ward.likely --given sex=female --given sex=male", "twice"),
        ("sample ward.likely --temperature 0", "temperature is 0"),
        ("sample ward.likely --seed -1", "seed is -1"),
        ("sample ward.likely -o rows.xlsx", ".parquet"),
        ("sample ward.likely -o nowhere/rows.csv", "no folder 'nowhere'"),
        ("fill ward.likely nothing.csv", "No file 'nothing.csv'"),
        ("score ward.likely new.csv --flag 5", "--flag 1%"),
        ("score ward.likely new.csv --flag many", "--flag 1%"),
        ("score ward.likely holes.csv", "lacks the column 'temp'"),
        ("report ward.likely -o report.pdf", "report.html"),
        ("report ward.likely --holdout new.csv --target hospdea", "Did you mean 'hospdead'"),
        ("fit patients.xlsx", "what kind of table"),
        ("fit patients.csv -o nowhere/x.likely", "mkdir -p nowhere"),
        ("fit patients.csv --target hospdea", "Did you mean 'hospdead'"),
        ("fit patients.csv --family tree", "Did you mean 'trees'"),
        ("fit patients.csv --privacy high", "faithful, balanced, private"),
        ("fit patients.csv --column age", "--column zip=category"),
        ("fit patients.csv --column age=categorie", "Did you mean 'category'"),
        ("fit patients.csv --constraint age<=20", "age"),
        ("fit patients.csv --control 3", "control is 3"),
    ],
)
def test_mistakes_have_one_clear_line(ward: Path, command: str, words: str) -> None:
    done = run(f"{command} -q", ward)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith("likely: ")
    assert words in done.stderr


@pytest.mark.parametrize("command", ["", "smaple ward.likely", "sample", "sample ward.likely 3", "fit --colour red x"])
def test_wrong_usage(ward: Path, command: str) -> None:
    done = run(command, ward)
    assert done.returncode == 2
    assert "Usage: likely" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupted_fit_leaves_nothing(ward: Path, tmp_path: Path) -> None:
    likely.data.adult()[:8000].write_csv(tmp_path / "people.csv")
    with start("fit people.csv", tmp_path) as child:
        assert child.stderr is not None
        while b"growing" not in child.stderr.readline():
            time.sleep(0.01)
        child.send_signal(signal.SIGINT)
        text = child.stderr.read().decode()
        assert child.wait(60) == 130
    assert "Interrupted" in text
    assert "Traceback" not in text
    assert [path.name for path in tmp_path.iterdir()] == ["people.csv"]


def _no_constant(text: str) -> float:
    raise AssertionError(f"{text} is no JSON")
