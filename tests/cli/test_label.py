"""likely label, as it is typed."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest

from likely.cli.texts import lines
from likely.language import huggingface
from tests.apps.texts import sorted_texts, toy
from tests.cli.shell import run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("label")
    huggingface.save(toy(1024), place / "toy")
    texts, labels = sorted_texts(50)
    pl.DataFrame({"id": range(50), "text": texts, "kind": labels}).write_csv(place / "examples.csv")
    texts, labels = sorted_texts(20, seed=1)
    pl.DataFrame({"words": [*texts, None], "label": [*labels, "words"]}).write_csv(place / "new.csv")
    (place / "lines.txt").write_text("\n".join(texts) + "\n\n")
    done = run("label fit examples.csv --label kind -o my.labels --model toy", place)
    assert done.returncode == 0, done.stderr
    assert "Wrote my.labels: labeller of digits, words from 50 examples" in done.stderr
    assert "are labelled rightly" in done.stderr
    assert "likely label apply my.labels texts.csv" in done.stderr
    return place


def test_apply_to_a_table_and_to_lines(folder: Path) -> None:
    done = run("label apply my.labels new.csv --column words -o out.csv --each", folder)
    assert done.returncode == 0, done.stderr
    frame = pl.read_csv(folder / "out.csv")
    assert frame.columns == ["words", "label", "likely:label", "probability", "p:digits", "p:words"]
    assert frame["likely:label"].null_count() == 1  # the row without a text
    assert (frame["likely:label"] == frame["label"])[:20].mean() > 0.9
    assert "20 of 21 texts labelled, 1 left without a label" in done.stderr
    told = run("label apply my.labels lines.txt --json --quiet", folder)
    found = [json.loads(line) for line in told.stdout.splitlines()]
    assert [one["label"] for one in found] == frame["likely:label"][:20].to_list()
    assert told.stderr == ""


def test_a_text_ends_where_its_line_ends(tmp_path: Path) -> None:
    (tmp_path / "odd.txt").write_bytes("one\u2028text\r\n\ntwo\x85\x0ctexts".encode())
    assert lines(str(tmp_path / "odd.txt")) == ["one\u2028text", "two\x85\x0ctexts"]


def test_sure_leaves_labels_out(folder: Path) -> None:
    done = run("label apply my.labels lines.txt --sure 0.999 --json", folder)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert all((one["label"] is None) == (one["probability"] < 0.999) for one in found)


def test_test_prints_measures(folder: Path) -> None:
    done = run("label test my.labels new.csv --column words --json", folder)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["texts"] == 20
    assert found["accuracy"] > 0.9
    told = run("label test my.labels new.csv --column words", folder).stdout
    assert told.startswith("Of 20 texts, ")
    assert "--sure 0.8" in told


def test_without_examples(folder: Path) -> None:
    done = run("label sentiment lines.txt --model toy", folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("text,label,probability\n")
    assert "20 of 20 texts labelled" in done.stderr
    few = run("label sentiment examples.csv --unlabelled lines.txt --share positive=0.9 --share negative=0.1 "
              "--model toy --quiet", folder)  # fmt: skip
    assert few.returncode == 0, few.stderr
    assert few.stdout.startswith("id,text,kind,label,probability\n")
    done = run('label zero new.csv --column words --label "digits=numbers only" --label words --model toy', folder)
    assert done.returncode == 0, done.stderr
    (folder / "one.txt").write_text("only one\n")
    done = run("label sentiment one.txt --model toy", folder)
    assert "sentences of our own" in done.stderr


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        ("label sentiment nothing.csv", "No file 'nothing.csv'"),
        ("label sentiment examples.csv --column txet --model toy", "No column called 'txet'. Did you mean 'text'?"),
        ("label sentiment new.csv --model toy", "Say --column with one of: words, label"),
        ("label sentiment lines.txt --column a --model toy", "no columns"),
        ("label sentiment lines.txt --sure 2 --model toy", "sure=2"),
        ("label sentiment lines.txt --share positive --model toy", "write LABEL=NUMBER"),
        ("label sentiment lines.txt --share positive=1 --model toy", "for each of positive, negative"),
        ("label sentiment lines.txt --model nowhere", "There is no 'nowhere'"),
        ("label sentiment lines.txt --model toy -o nowhere/out.csv", "no folder 'nowhere'"),
        ("label zero lines.txt --model toy", "Which labels?"),
        ("label zero lines.txt --label one --model toy", "At least two labels"),
        ("label zero lines.txt --label a --label a --model toy", "twice"),
        ("label fit examples.csv --model toy", "No column called 'label'"),
        ("label fit examples.csv --label id --model toy", "has one example"),
        ("label fit new.csv --column words --model toy --meaning what=this -q", "no example has it"),
        ("label apply new.csv lines.txt", "not a model of likely"),
        ("label apply no.labels lines.txt", "No file 'no.labels'"),
        ("label test my.labels examples.csv --label id", "none of digits, words"),
        ("label sentiment empty.txt --model toy", "holds no text"),
        ("label sentiment broken.txt --model toy", "line 2 has the byte 0xff"),
    ],
)
def test_mistakes_have_one_clear_line(folder: Path, command: str, wanted: str) -> None:
    (folder / "empty.txt").write_text("\n \n")
    (folder / "broken.txt").write_bytes(b"fine\nnot \xff fine\n")
    done = run(command, folder)
    assert done.returncode == 2
    assert wanted in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (folder / "out2.csv").exists()


def test_sentiment_of_what_is_typed_and_of_a_file(folder: Path) -> None:
    done = run('sentiment "I loved it." --model toy', folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[0] in ("positive", "negative")
    assert done.stdout.strip().endswith("%")
    two = run('sentiment "I loved it." "It broke." --model toy --each', folder).stdout.splitlines()
    assert [line.endswith(end) for line, end in zip(two, ("I loved it.", "It broke."), strict=True)] == [True, True]
    assert "(positive " in two[0]
    [row] = [json.loads(line) for line in run('sentiment "I loved it." --model toy --json', folder).stdout.splitlines()]
    assert row["p:positive"] + row["p:negative"] == pytest.approx(1, abs=1e-3)
    assert row["label"] == max(("positive", "negative"), key=lambda name: row[f"p:{name}"])
    assert run('sentiment "I loved it." --sure 0.99999 --model toy', folder).stdout.startswith("unsure")
    by_file = run("sentiment lines.txt --model toy", folder)
    assert by_file.stdout == run("label sentiment lines.txt --model toy", folder).stdout


def test_bits_of_a_language_model(folder: Path) -> None:
    done = run("score toy lines.txt --flag 10%", folder)
    assert done.returncode == 0, done.stderr
    table = pl.read_csv(done.stdout.encode())
    assert table.columns == ["row", "bits", "tokens", "a_token", "strangest", "flag"]
    assert len(table) == 20
    assert table["flag"].sum() == 2
    assert table.filter("flag")["a_token"].min() >= table.filter(~pl.col("flag"))["a_token"].max()  # type: ignore[operator]
    tokens = pl.read_csv(
        run("score toy lines.txt --each", folder).stdout.encode(), schema_overrides={"token": pl.String}
    )
    assert tokens.group_by("row").agg(pl.col("bits").sum()).sort("row")["bits"].to_list() == pytest.approx(
        table["bits"].to_list(), rel=1e-6
    )
    first = tokens.filter(pl.col("row") == 0)["token"].to_list()
    assert "".join(first) == (folder / "lines.txt").read_text().splitlines()[0]
    holes = run("score toy new.csv --column words", folder)
    assert pl.read_csv(holes.stdout.encode())["row"].to_list() == list(range(20))  # the row without a text is left out


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        ("sentiment nothing.csv --model toy", "No file 'nothing.csv'"),
        ("sentiment '' --model toy", "empty text"),
        ("sentiment lines.txt 'It broke.' --model toy", "give one file, or texts in quotes"),
        ("sentiment 'It broke.' --column a --model toy", "go with a file of texts"),
        ("sentiment 'It broke.' --sure 1 --model toy", "sure=1"),
        ("score toy lines.txt --each --flag 1%", "give one of them"),
        ("score toy lines.txt --column a", "no columns"),
        ("score toy nothing.txt", "No file 'nothing.txt'"),
        ("score my.labels lines.txt --each", "go with a language model"),
        ("score nowhere.gguf lines.txt", "There is no 'nowhere.gguf'"),
    ],
)
def test_mistakes_with_sentences_and_bits(folder: Path, command: str, wanted: str) -> None:
    done = run(command, folder)
    assert done.returncode == 2
    assert wanted in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
