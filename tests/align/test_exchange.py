"""Files of judgements: what goes out comes back, what a form cannot say is counted, what is broken is named."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from likely.align.exchange import chosen, read, write
from likely.align.preference import Candidate, Comparison, Item, Judgements
from likely.errors import DataError, OptionError
from tests.align.judged import data, item, say


def full() -> Judgements:
    """Something of everything."""
    q, r = item("q", "ab"), item("r", "abc")
    picture = Item(
        "pic \U0001f600", {"colour": ["red", None, 1.5]},
        (Candidate(b"\x89PNG\xff\0", "image/png", "vae.likely", "ab" * 32, 0, {"t": 0.7}), Candidate(b"", "audio/wav")),
    )  # fmt: skip
    one = say(q, "left", strength=3, criteria={"style": "tie"}, reason='"so"\n\u202eשלום\U0001f600', seconds=1.25,
              flags=("viewed", "played"))  # fmt: skip
    rows = [
        one, say(q, "right", "ba", by="bob"), say(q, "left", "ba", repeats=one.id), say(q, "tie"), say(q, "bad"),
        say(q, "skip", time=""), say(r, "ranking", "cab", ranking=((2,), (0, 1))), say(r, "skip", "abc"),
        Comparison(picture.id, tuple(picture.by_id)[::-1], "ann", "left"), one.taken_back(),
    ]  # fmt: skip
    return Judgements((q, r, picture), tuple(rows))


@pytest.mark.parametrize("name", ["j.jsonl", "j.jsonl.gz", "j.parquet"])
def test_our_own_form_is_lossless(name: str, tmp_path: Path) -> None:
    made = full()
    done = write(made, tmp_path / name)
    assert done.left_out == {}
    assert read(tmp_path / name) == made
    before = (tmp_path / name).read_bytes()
    write(read(tmp_path / name), tmp_path / name)
    assert (tmp_path / name).read_bytes() == before


words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3), max_leaves=6,
)  # fmt: skip


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(prompt=values, contents=st.sets(st.binary(max_size=20), min_size=2, max_size=4), who=names, reason=words,
       parameters=st.dictionaries(words, values, max_size=2), packed=st.booleans())  # fmt: skip
def test_any_judgement_comes_back(
    prompt: Any, contents: set[bytes], who: str, reason: str, parameters: Any, packed: bool, tmp_path: Path
) -> None:
    one = Item(who, prompt, tuple(Candidate(c, parameters=parameters) for c in sorted(contents)))
    row = Comparison(who, tuple(one.by_id)[:2], who, "left", reason=reason.replace("\0", ""))
    made = Judgements((one,), (row,))
    path = tmp_path / ("j.parquet" if packed else "j.jsonl")
    write(made, path)
    assert read(path) == made


def outcomes(made: Judgements) -> set[tuple[str, str, str]]:
    """(prompt, better, worse)."""
    said = set()
    for pair in made.pairs():
        good, bad = (pair.left, pair.right) if pair.outcome == "left" else (pair.right, pair.left)
        said.add((json.dumps(pair.prompt), good.words(), bad.words()))
    return said


def texts() -> Judgements:
    """Decided pairs of texts, several of one prompt."""
    items = [
        Item(f"i{k}", f"Question {k}: ", tuple(Candidate.text(f"answer {j} to {k}") for j in range(3)))
        for k in range(5)
    ]
    rows = [
        Comparison(one.id, tuple(one.by_id)[:2], "ann", ("left", "right")[k % 2]) for k, one in enumerate(items)
    ] + [Comparison(one.id, tuple(one.by_id)[1:], "ann", "left") for one in items]
    return Judgements(tuple(items), tuple(rows))


@pytest.mark.parametrize("suffix", ["jsonl", "jsonl.gz", "parquet"])
@pytest.mark.parametrize("form", ["trl", "conversational", "implicit", "hh"])
def test_forms_of_chosen_and_rejected_say_the_same(form: str, suffix: str, tmp_path: Path) -> None:
    made, path = texts(), tmp_path / f"j.{suffix}"
    done = write(made, path, form)
    assert done.rows == 10
    assert done.left_out == {"annotators' names": 1}
    back = read(path)
    if form == "trl":
        assert outcomes(back) == outcomes(made)
        assert {len(one.candidates) for one in back.items} == {3}  # pairs of one prompt are one item
    elif form == "implicit":  # the prompt is what both share, to the last white space
        whole = {(json.loads(p) + a, json.loads(p) + b) for p, a, b in outcomes(made)}
        assert {(json.loads(p) + a, json.loads(p) + b) for p, a, b in outcomes(back)} == whole
        assert {json.loads(p) for p, _, _ in outcomes(back)} == {f"Question {k}: answer " for k in range(5)}
    else:
        chat = {(json.dumps([{"role": "user", "content": json.loads(p)}]), a, b) for p, a, b in outcomes(made)}
        assert outcomes(back) == chat
    assert write(back, tmp_path / "again.jsonl", form if form != "implicit" else "implicit").left_out == {}
    assert read(tmp_path / "again.jsonl").pairs() == back.pairs()
    # The same file twice is the same judgements once.
    assert len(back.merge(read(path))) == 10
    # Who stood left is not known: it is not always the better one.
    assert {pair.outcome for pair in back.pairs()} == {"left", "right"}


def test_what_a_form_cannot_say_is_counted(tmp_path: Path) -> None:
    done = write(full(), tmp_path / "j.jsonl", "conversational")
    assert done.rows == 4
    assert done.left_out["ties"] == 2
    assert done.left_out["judgements of both bad"] == 1
    assert done.left_out["judgements skipped"] == 2
    assert done.left_out["judgements taken back"] == 1
    assert done.left_out["rankings, written as their pairs"] == 1
    assert "not in it: ties (2)" in str(done)
    q = item()
    with pytest.raises(DataError, match=r"ties \(1\)"):
        write(Judgements((q,), (say(q, "tie"),)), tmp_path / "none.jsonl", "trl")
    assert not (tmp_path / "none.jsonl").exists()
    with pytest.raises(OptionError, match="own, trl"):
        write(full(), tmp_path / "j.jsonl", "csv")
    with pytest.raises(DataError, match=r"\.jsonl, \.jsonl\.gz, \.parquet"):
        write(full(), tmp_path / "j.txt")


def rows_of(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_trls_documented_examples(tmp_path: Path) -> None:
    say = {"role": "user", "content": "What color is the sky?"}
    blue, green = ({"role": "assistant", "content": f"It is {x}."} for x in ("blue", "green"))
    for row, prompt, good in [
        ({"prompt": "The sky is", "chosen": " blue.", "rejected": " green."}, "The sky is", " blue."),
        ({"chosen": "The sky is blue.", "rejected": "The sky is green."}, "The sky is ", "blue."),
        ({"prompt": [say], "chosen": [blue], "rejected": [green]}, [say], "It is blue."),
        ({"chosen": [say, blue], "rejected": [say, green]}, [say], "It is blue."),
    ]:
        pair = read(rows_of(tmp_path / "t.jsonl", row)).pairs()[0]
        assert pair.prompt == prompt
        assert (pair.left if pair.outcome == "left" else pair.right).words() == good


def said_by(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


ASKED, MORE = said_by("user", "Why?"), said_by("user", "And then?")
GOOD, BAD = said_by("assistant", "Because."), said_by("assistant", "No.")
SYSTEM = said_by("system", "Be short.")


@pytest.mark.parametrize(("prompt", "before"), [
    ("Why?", [ASKED]), ("Why?\n", [ASKED]), ("", [ASKED]), (None, [ASKED]), ([ASKED], [ASKED]),
    ("Why?", [SYSTEM, ASKED]), ([SYSTEM, ASKED], [SYSTEM, ASKED]), ([ASKED], [SYSTEM, ASKED]),
    ("And then?", [ASKED, GOOD, MORE]), ("Why?", [SYSTEM, ASKED, GOOD, MORE]), ([ASKED], [ASKED, BAD, MORE]),
])  # fmt: skip
def test_conversations_that_begin_with_what_was_asked(prompt: Any, before: list[Any], tmp_path: Path) -> None:
    row = {"prompt": prompt, "chosen": [*before, GOOD], "rejected": [*before, BAD]}
    made = read(rows_of(tmp_path / "t.jsonl", row))
    assert outcomes(made) == {(json.dumps(before), "Because.", "No.")}
    assert {one.media for one in made.items[0].candidates} == {"text/plain"}
    assert made.notes == ()
    assert write(made, tmp_path / "back.jsonl", "conversational").left_out == {}
    assert read(tmp_path / "back.jsonl").pairs() == [
        pair._replace(group=other.group)
        for pair, other in zip(made.pairs(), read(tmp_path / "back.jsonl").pairs(), strict=True)
    ]


def test_several_turns_that_are_judged_stay_a_conversation(tmp_path: Path) -> None:
    row = {"prompt": "Why?", "chosen": [ASKED, GOOD, MORE, BAD], "rejected": [ASKED, BAD]}
    made = read(rows_of(tmp_path / "t.jsonl", row))
    good, bad = next((pair.left, pair.right) if pair.outcome == "left" else (pair.right, pair.left)
                     for pair in made.pairs())  # fmt: skip
    assert made.items[0].prompt == [ASKED]
    assert (good.media, json.loads(good.words())) == ("application/json", [GOOD, MORE, BAD])
    assert (bad.media, bad.words()) == ("text/plain", "No.")
    write(made, tmp_path / "back.jsonl", "conversational")
    assert read(tmp_path / "back.jsonl").items == made.items


@pytest.mark.parametrize("prompt", ["Who?", [MORE]])
def test_a_prompt_that_the_turns_do_not_say_is_kept_beside_them(prompt: Any, tmp_path: Path) -> None:
    row = {"prompt": prompt, "chosen": [ASKED, GOOD], "rejected": [ASKED, BAD]}
    made = read(rows_of(tmp_path / "t.jsonl", row))
    assert made.items[0].prompt == prompt
    assert {one.words() for one in made.items[0].candidates} == {
        json.dumps(side, sort_keys=True, separators=(",", ":")) for side in ([ASKED, GOOD], [ASKED, BAD])
    }
    assert made.notes == (
        "rows whose prompt is none of the turns that both conversations begin with, kept as whole conversations: 1",
    )


def test_a_prompt_whose_end_is_lost_is_counted_and_no_items_are_mixed(tmp_path: Path) -> None:
    items = [Item(f"i{k}", f"What is {k}?", (Candidate.text("It is."), Candidate.text("No."))) for k in range(40)]
    made = Judgements(tuple(items), tuple(say(one, "left", by="unknown") for one in items))
    done = write(made, tmp_path / "j.jsonl", "implicit")
    assert done.rows == 40
    assert done.left_out == {"where a prompt ends, since it does not end in white space (trl keeps it)": 40}
    back = read(tmp_path / "j.jsonl")
    assert {one.prompt for one in back.items} == {"What is "}
    assert len(back.items) == 40
    assert {(f"{json.loads(p)}{good}", f"{json.loads(p)}{bad}") for p, good, bad in outcomes(back)} == {
        (f"What is {k}?It is.", f"What is {k}?No.") for k in range(40)
    }
    assert back.notes == ("rows without a prompt, which ends behind the last white space that both texts share: 40",)
    one = Item("hh", "\n\nHuman: Hi", (Candidate.text("!"), Candidate.text("?")))
    done = write(Judgements((one,), (say(one, "left", by="unknown"),)), tmp_path / "hh.jsonl", "implicit")
    assert list(done.left_out) == ["prompts that are text, since they are read as turns of a dialogue (trl keeps them)"]


@pytest.mark.parametrize("row", [
    {"chosen": "good {}", "rejected": "bad {}"}, {"prompt": "", "chosen": "good {}", "rejected": "bad {}"},
    {"prompt": [], "chosen": [said_by("assistant", "good {}")], "rejected": [said_by("assistant", "bad {}")]},
    {"chosen": [said_by("user", "a {}"), GOOD], "rejected": [said_by("user", "b {}"), GOOD]},
])  # fmt: skip
def test_pairs_without_a_prompt_are_items_of_their_own(row: Any, tmp_path: Path) -> None:
    rows = [json.loads(json.dumps(row).replace("{}", str(k))) for k in range(40)]
    made = read(rows_of(tmp_path / "t.jsonl", *rows, rows[0]))
    assert (len(made.items), len(made)) == (40, 41)


def test_dialogues_of_hh(tmp_path: Path) -> None:
    before = "\n\nHuman: Hello\n\nAssistant: Hi, \nhow are you?\n\nHuman: Well"
    row = {"chosen": before + "\n\nAssistant: Good.", "rejected": before + "\n\nAssistant:"}
    made = read(rows_of(tmp_path / "hh.jsonl", row))
    assert [turn["role"] for turn in made.items[0].prompt] == ["user", "assistant", "user"]
    assert {one.words() for one in made.items[0].candidates} == {"Good.", ""}
    assert chosen.dialogue(chosen.turns(row["chosen"])) == row["chosen"]
    write(made, tmp_path / "back.jsonl", "hh")
    assert json.loads((tmp_path / "back.jsonl").read_text()) == row


def test_sides_that_are_the_same_and_unread_columns_are_noted(tmp_path: Path) -> None:
    path = rows_of(tmp_path / "t.jsonl", {"prompt": "a", "chosen": "b", "rejected": "b"},
                   {"prompt": "a", "chosen": "b", "rejected": "c", "score": 1})  # fmt: skip
    made = read(path)
    assert len(made) == 1
    assert made.notes == ("rows left out, since both sides are the same: 1", "columns that were not read: score")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b'{"prompt": "a", "chosen": "b"}\n', "TRL.*PandaLM.*LLMBar"),
        (b'{"chosen": "a", "rejected": "b"}\n{"chosen": "a"\n', "Line 2 .* no JSON"),
        (b'{"chosen": "a", "rejected": "b"}\n\n{"chosen": "\xff"}\n', "Line 3 .* not UTF-8: byte 0xff"),
        (b'{"chosen": "a", "rejected": "b"}\n[1]\n', "Line 2 .* list"),
        (b'{"chosen": NaN, "rejected": "b"}\n', "NaN"),
        (b'{"chosen": "a", "rejected": "b"}\n{"chosen": 3, "rejected": "b"}\n', "line 2.*chosen is 3"),
        (b'{"chosen": "a\\ud800", "rejected": "b"}\n', "line 1.*surrogate"),
        (b'{"chosen": [{"role": "user"}], "rejected": []}\n', "line 1.*role and content"),
        (b'{"chosen": ' + b"[" * 100_000, "Line 1 .* no JSON"),
        (b"\x1f\x8b\x08\x00junk", "gzip"),
        (gzip.compress(b'{"chosen": "a", "rejected": "b"}\n' * 5000)[:-30], "gzip file: it breaks off behind line"),
        (b"PAR1 and then nothing of it", "damaged Parquet"),
        (b'{"input": "a", "output_1": "b", "output_2": "c", "label": 3}\n', "line 1: label is 3"),
        (b'{"input": "a", "output_1": 5, "output_2": "c", "label": 1}\n', "output_1 is 5"),
        (b'{"likely": "judgements", "version": 2}\n', "newer"),
        (b'{"likely": "judgements"}\n', "not of judgements"),
        (b'{"likely": "judgements", "version": 1}\n{"what": 1}\n', "line 2.*neither"),
        (b'{"likely": "judgements", "version": 1}\n{"item": "q", "candidates": 3}\n', "line 2.*list"),
        (b'{"likely": "judgements", "version": 1}\n{"item": "q", "candidates": [{"text": 1}, {}]}\n', "line 2.*1"),
        (b'{"likely": "judgements", "version": 1}\n{"item": "q", "candidates": [{"base64": "*"}, {}]}\n', "base 64"),
        (b'{"likely": "judgements", "version": 1}\n{"item": "q", "colour": 1}\n', "'colour'"),
        (b'{"likely": "judgements", "version": 1}\n{"comparison": "x", "item": "q"}\n', "line 2.*Item 'q'"),
    ],
)  # fmt: skip
def test_broken_files_are_named_with_the_line(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=said) as caught:
        read(path)
    assert "broken.jsonl" in str(caught.value)
    assert len(str(caught.value)) < 900


def test_broken_lines_of_our_own_form(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    write(full(), path)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    first = next(k for k, line in enumerate(lines) if "comparison" in line)
    for change, said in [
        ({"shown": [0, 9]}, "from 0 to 1"), ({"choice": "up"}, "'up'"), ({"annotator": 5}, "must be text"),
        ({"item": ["q"]}, "no line of judgements"), ({"criteria": 5}, "criteria"), ({"flags": 3}, "flags"),
        ({"ranking": 3}, "ranking"), ({"seconds": "3"}, "seconds"), ({"repeats": 5}, "must be text"),
    ]:  # fmt: skip
        broken = [*lines]
        broken[first] = broken[first] | change
        with pytest.raises(DataError, match=said) as caught:
            read(rows_of(path, *broken))
        assert f"line {first + 1}" in str(caught.value)
    del lines[first]["time"]
    with pytest.raises(DataError, match='needs `time`; "" for unknown'):
        read(rows_of(path, *lines))


def test_files_that_are_not_there_or_are_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No file"):
        read(tmp_path / "no.jsonl")
    with pytest.raises(DataError, match="is no file"):
        read(tmp_path)


def test_pandalm(tmp_path: Path) -> None:
    row = {"idx": 1, "cmp_key": "bloom_opt", "instruction": "Sum.", "input": "1 2", "response1": "3", "response2": "4",
           "annotator1": 1, "annotator2": 0, "annotator3": 2}  # fmt: skip
    made = read(rows_of(tmp_path / "p.jsonl", row))
    assert [(one.annotator, one.choice) for one in made.comparisons] == [
        ("annotator1", "left"), ("annotator2", "tie"), ("annotator3", "right")]  # fmt: skip
    assert made.items[0].prompt == "Sum.\n\n1 2"
    assert [one.model for one in made.items[0].candidates] == ["bloom", "opt"]


def test_real_files() -> None:
    for name, rows, items in [
        ("pandalm_testset_half_a", 1512, 85), ("llmbar_natural", 100, 100), ("mt_bench_human_majority_200", 200, 75),
        ("hh_harmless_base_test_half_a", 1150, 1149),
    ]:  # fmt: skip
        made = read(data(f"{name}.jsonl.gz"))
        assert (len(made), len(made.items)) == (rows, items)


def test_real_dialogues_go_out_as_they_came_in(tmp_path: Path) -> None:
    path = data("hh_harmless_base_test_half_a.jsonl.gz")
    done = write(read(path), tmp_path / "hh.jsonl", "hh")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        before = [json.loads(line) for line in file]
    after = [json.loads(line) for line in (tmp_path / "hh.jsonl").read_text().splitlines()]
    assert done.left_out == {}
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 0


def test_parquet_of_others(tmp_path: Path) -> None:
    turn = [{"role": "user", "content": "Hi"}]
    frame = pl.DataFrame({"prompt": [turn], "chosen": [[{"role": "assistant", "content": "a"}]],
                          "rejected": [[{"role": "assistant", "content": "b"}]]})  # fmt: skip
    frame.write_parquet(tmp_path / "t.parquet")
    pair = read(tmp_path / "t.parquet").pairs()[0]
    assert pair.prompt == turn
    assert {pair.left.words(), pair.right.words()} == {"a", "b"}
