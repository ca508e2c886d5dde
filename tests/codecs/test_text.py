"""The text codec: what goes in comes out; what is drawn is text; nobody's own words are in the vocabulary."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likely.codecs.text import Text, Texts
from likely.codecs.text.texts import EOS, FIRST, MORE, cut
from likely.codecs.text.utf8 import Grammar, broken, trim
from likely.codecs.text.vocabulary import Vocabulary
from likely.errors import ArtifactError, ConditionError, DataError, LikelyError, Mismatch, OptionError, UnknownName
from likely.testing import check_codec

WORDS = ["the", "café", "opens", "at", "nine", "日本", "and", "closes", "🙂", "late"]
KINDS = ("characters", "bytes", "bpe")


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def sentences(n: int = 200, seed: int = 0) -> list[str]:
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, draw.integers(2, 8))).capitalize() + "." for _ in range(n)]


def fitted(texts: Any = None, **options: Any) -> Text:
    codec = Text(**options)
    return codec.fit(codec.read(sentences() if texts is None else texts))


def conversations(n: int = 60) -> list[list[dict[str, str]]]:
    rule = {"role": "system", "content": "Be brief."}
    pairs = zip(sentences(n), sentences(n, 1), strict=True)
    return [[rule, {"role": "user", "content": p}, {"role": "assistant", "content": q}] for p, q in pairs]


# --------------------------------------------------------------------------------------------- round trips

TRICKY = [
    "a\r\nb\tc",
    " lead and trail  ",
    "ﬁ ﷽ ẞ e\u0301",
    "\x00\x7f",
    "👨‍👩‍👧 𝔘",
    "never seen: Ж",
    "<end><pad>",
    "x" * 300,
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [None, 11])
def test_any_text_comes_back(kind: str, length: int | None) -> None:
    """Those learned from, those never seen, and those too long, which are cut and put together again."""
    codec = fitted(tokens=kind, length=length)
    for texts in (sentences(), TRICKY, ["", "y"]):
        own = codec.read(texts)
        assert codec.give(own) == texts
        assert int(own.lengths.max()) <= codec.length
        assert codec.encode(own).x.shape == (len(own), codec.length)
        again = codec.make(codec.encode(own).x, rng=rng())
        assert again.equals(own)


CODECS: dict[str, Text] = {}


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(KINDS), st.lists(st.text(), min_size=1, max_size=4))
def test_really_any(kind: str, texts: list[str]) -> None:
    codec = CODECS.setdefault(kind, fitted(tokens=kind, length=9))
    assert codec.give(codec.read(texts)) == texts


def test_forms_come_back() -> None:
    texts = sentences()
    pairs = list(zip(texts[:100], texts[100:], strict=True))
    dicts = [{"question": a, "answer": b} for a, b in pairs]
    for items in (texts, pairs, dicts, conversations()):
        codec = fitted(items)
        assert codec.give(codec.read(items)) == items
    series = pl.Series("title", texts)
    assert fitted(series).give(fitted(series).read(series)).equals(series)
    outer = pd.Series(texts, name="title")
    assert fitted(outer).give(fitted(outer).read(outer)).equals(outer)
    frame = pl.DataFrame({"n": range(200), "body": texts})
    assert fitted(frame).give(fitted(frame).read(frame)) == texts
    assert fitted(np.array(texts)).give(fitted(texts).read(texts)) == texts
    with pytest.raises(Mismatch, match="conversation"):
        fitted(texts).read(conversations())
    with pytest.raises(Mismatch, match="'tool'"):
        fitted(conversations()).read([[{"role": "tool", "content": "x"}]])


@pytest.mark.parametrize("kind", KINDS)
def test_the_laws(kind: str) -> None:
    check_codec(Text(tokens=kind, length=20), sentences())
    check_codec(Text(tokens=kind), conversations())


# --------------------------------------------------------------------------------------------------- files


def test_files(tmp_path: Path) -> None:
    texts = [s + "\n" + s for s in sentences(40)]
    book = tmp_path / "book.txt"
    book.write_bytes("\n\n".join(["\ufeff" + texts[0], *texts[1:]]).replace("\n", "\r\n").encode())
    assert fitted(book).give(fitted(book).read(book)) == texts
    for how, count in (("auto", 40), ("paragraphs", 40), ("lines", 80)):
        assert len(fitted(book, split=how).read(book).whole()) == count
    whole = fitted(str(book), split="document", length=50)
    assert whole.give(whole.read(book)) == ["\r\n\r\n".join(texts).replace("\r\n", "\n").replace("\n", "\r\n")]
    assert any("cut" in line for line in whole.describe())
    lines = tmp_path / "lines.txt"
    lines.write_text("\n".join(sentences(30)) + "\n")
    assert fitted(lines).give(fitted(lines).read(lines)) == sentences(30)
    packed = tmp_path / "t.jsonl.gz"
    packed.write_bytes(gzip.compress("\n".join(json.dumps({"id": 1, "text": s}) for s in sentences(30)).encode()))
    assert fitted(packed).give(fitted(packed).read(packed)) == sentences(30)
    chats = tmp_path / "chats.json"
    chats.write_text(json.dumps([{"messages": c} for c in conversations(30)]))
    assert fitted(chats).give(fitted(chats).read(chats)) == conversations(30)
    folder = tmp_path / "tales"
    folder.mkdir()
    for k, text in enumerate(texts[:12]):
        (folder / f"{k:02d}.txt").write_text(text)
    assert fitted(folder).give(fitted(folder).read(folder)) == texts[:12]


def bad_files(folder: Path) -> list[tuple[Any, str]]:
    (folder / "latin.txt").write_bytes("Ein schöner Tag".encode("latin-1"))
    (folder / "cut.txt.gz").write_bytes(gzip.compress(b"x" * 1000)[:-9])
    (folder / "bad.jsonl").write_text('{"text": "a"}\n{"text": \n')
    (folder / "two.jsonl").write_text('{"title": "a", "abstract": "b"}\n')
    (folder / "one.json").write_text('{"text": "a"}')
    (folder / "half.jsonl").write_text('{"text": "\\ud83d"}\n')
    (folder / "empty.txt").write_text("\n\n")
    return [
        (folder / "latin.txt", r"byte 7 \(0xf6, after 'Ein sch'\)"),
        (folder / "cut.txt.gz", "Cannot read"),
        (folder / "bad.jsonl", "Line 2 of"),
        (folder / "two.jsonl", "'title', 'abstract'"),
        (folder / "one.json", "no list"),
        (folder / "half.jsonl", "surrogate"),
        (folder / "empty.txt", "empty"),
        (folder / "absent.txt", "no file"),
        (folder / "x.pdf", "no file of texts"),
        (folder / "none", "no file of texts"),
    ]


def test_bad_input_is_told(tmp_path: Path) -> None:
    empty = tmp_path / "folder"
    empty.mkdir()
    cases: list[tuple[Any, str]] = [
        *bad_files(tmp_path), (empty, r"no \.txt"), ([], "empty"), ([""] * 9, "empty"), ([None, None], "missing"),
        (["a", 3], "number 2 is of type int"), (["ok", "\ud83d"], "surrogate"), (7, "int was given"),
        ("one long string. It is no path.", "list of strings"), ([["a"]], "role"), ([[{"role": "u"}]], "role"),
        ([("a", "b"), ("c",)], "no pair"), (pl.DataFrame({"a": ["x"], "b": ["y"]}), "'a', 'b'"),
        ([{"text": "a"}, "b"], "mixed"), (["same"] * 50, "the same"), (["alone"], "one text"),
    ]  # fmt: skip
    for items, words in cases:
        with pytest.raises(DataError, match=words):
            fitted(items)
    for options, error in (
        ({"tokens": "words"}, UnknownName), ({"split": "pages"}, UnknownName), ({"length": 3}, OptionError),
        ({"vocabulary": 10}, OptionError), ({"least": 0}, OptionError), ({"length": True}, OptionError),
    ):  # fmt: skip
        with pytest.raises(error):
            Text(**options)  # type: ignore[arg-type]
    with pytest.raises(UnknownName, match="bodi"):
        fitted([{"body": "a"}], field="bodi")
    with pytest.raises(DataError, match="encoding"):
        fitted(tmp_path / "latin.txt", encoding="utf-9")
    assert fitted(pl.Series(["a", None, "b", "c"])).describe()[1] == "1 missing texts were left out"


# ---------------------------------------------------------------------------------------------- vocabulary


def test_no_token_from_few_texts() -> None:
    """A word of nine texts is spelt in smaller pieces, one of ten is a token; so with characters."""
    common, rare = "zyxwvu", "secretword"
    texts = sentences(300)
    for k in range(12):
        texts[k] += f" {common} Ω"
    for k in range(9):
        texts[k] += f" {rare} {rare} {rare} Ψ"
    pieces = fitted(texts, tokens="bpe", vocabulary=600)._words().pieces
    assert b" zyxwvu" in pieces
    for piece in pieces:
        assert len(piece) == 1 or sum(piece in text.encode() for text in texts) >= 10
    characters = fitted(texts, tokens="characters")._words().characters
    assert "Ω" in characters
    assert "Ψ" not in characters
    assert "Ψ" in fitted(texts, tokens="characters", least=9)._words().characters


def test_few_long_texts_are_counted_by_lines() -> None:
    tales = ["\n".join(sentences(60, seed)) for seed in range(3)]
    codec = fitted(tales, tokens="bpe", vocabulary=400)
    assert any("lines" in line for line in codec.describe())
    assert any(len(piece) > 4 for piece in codec._words().pieces)


def test_what_is_chosen() -> None:
    assert fitted()._words().kind == "characters"
    assert fitted(vocabulary=300)._words().kind == "bpe"
    assert len(fitted(vocabulary=300)._words()) <= 300
    assert fitted([*sentences(), "x" * 5000]).length == 512
    assert fitted().length == max(map(len, sentences())) + 1
    again = [fitted(tokens="bpe").state() for _ in range(2)]
    assert again[0] == again[1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_file_is_refused(kind: str) -> None:
    state = fitted(tokens=kind).state()
    Text().load(json.loads(json.dumps(state)))
    words = "characters" if kind == "characters" else "merges"
    for path, value in (
        (("length",), 1), (("length",), 10**9), (("version",), 2), (("form", "kind"), "code"),
        (("form", "roles"), ["a"]), (("form", "roles"), ["a"] * 99), (("vocabulary", "kind"), "os"),
        (("vocabulary", words), [0, 999999]), (("vocabulary", words), ["ab"]), (("said",), [1]), (("empty",), 1),
    ):  # fmt: skip
        bad = json.loads(json.dumps(state))
        part = bad
        for key in path[:-1]:
            part = part[key]
        part[path[-1]] = value
        with pytest.raises(ArtifactError):
            Text().load(bad)
    merges = {"kind": "bpe", "merges": [97, 97, *[x for k in range(40) for x in (256 + k, 256 + k)]]}
    with pytest.raises(ArtifactError, match="pairs"):  # a token of 2^40 bytes
        Vocabulary.load(merges)
    with pytest.raises(ArtifactError, match="same"):
        Vocabulary.load({"kind": "bpe", "merges": [97, 98, 97, 98]})


# ------------------------------------------------------------------------------------------ rows and grammar


def test_rows_of_long_texts() -> None:
    for n in range(40):
        tokens = np.arange(10, 10 + n).astype(np.int32)
        rows = cut(tokens, 8)
        inner = np.concatenate([row[(row != MORE) & (row != EOS)] for row in rows])
        assert inner.tolist() == tokens.tolist()
        assert all(len(row) <= 8 for row in rows)
        assert all((row[0] == MORE) == (k > 0) for k, row in enumerate(rows))
        assert [row[-1] == EOS for row in rows] == [False] * (len(rows) - 1) + [True]


def test_rows_of_one_text_stay_together() -> None:
    texts = [*sentences(300), *("".join(sentences(9, k)) for k in range(60))]
    codec = fitted(texts, length=40)
    own = codec.read(texts)
    learned, aside = codec.apart(own, 0.2, 0)
    assert len(learned) + len(aside) == len(own)
    assert not set(own.number[learned].tolist()) & set(own.number[aside].tolist())
    assert len(codec.give(own[aside])) == 72
    assert codec.sums(own, np.ones(len(own))).sum() == len(own)
    assert len(codec.sums(own, np.ones(len(own)))) == 360
    assert len(Texts.join([own[:3], own[:3]]).whole()) == 2 * len(own[:3].whole())
    swap = np.array([True, False, False])
    assert codec.replace(own[:3], swap, own[5:6]).row(0).tolist() == own.row(5).tolist()


def test_the_grammar_knows_utf8() -> None:
    """All that it allows is text, but for half of a character at the end; and all text is allowed."""
    grammar = Grammar([bytes([b]) for b in range(256)], empty=True)
    n, L = 200, 24
    x, done = torch.zeros(n, L, dtype=torch.int64), torch.zeros(n, L, dtype=torch.bool)
    draw = rng()
    for s in range(L):
        weights = grammar.allow(s, x, done)
        weights[:, EOS] = 0.0
        x[:, s] = torch.multinomial(weights, 1, generator=draw)[:, 0]
    texts = [bytes((row - FIRST).tolist()) for row in x]
    assert not any(broken(trim(text)) for text in texts)
    assert sum(broken(text) for text in texts) > 10
    for text in ("aé日🙂\u0000\uffff\U0010ffff", "\ud7ff\ue000€߿ࠀ"):
        codes = torch.tensor([[*text.encode()]]) + FIRST
        for s in range(codes.shape[1]):
            assert grammar.allow(s, codes, done)[0, codes[0, s]] == 1.0
        assert grammar.allow(codes.shape[1], codes, done)[0, EOS] == 1.0


# --------------------------------------------------------------------------------------------------- known


def test_prompts() -> None:
    codec = fitted()
    known = codec.partial(codec.read(["The ca", ""]))
    assert known.mask.sum(1).tolist() == [6, 0]
    assert torch.equal(codec.condition({"prompt": "The ca"}).x, known.x[:1])
    with pytest.raises(ConditionError, match="shorten the prompt by 16 tokens"):
        codec.partial(codec.read(["x" * (codec.length + 15)]))
    with pytest.raises(ConditionError, match="'prompt'"):
        codec.condition({"length": 3})
    talk = fitted(conversations())
    assistant = FIRST + 2
    known = talk.partial(talk.read([conversations()[0][:2], conversations()[0]]))
    last = [int(x[mask][-1]) for x, mask in zip(known.x, known.mask, strict=True)]
    assert last[0] == assistant
    assert last[1] != assistant
    asked = talk.condition({"prompt": "Hello"})
    assert asked.x[0, 0] == FIRST + 1  # what the user says
    assert asked.x[asked.mask][-1] == assistant
    pairs = fitted([("q " + s, "a " + s) for s in sentences()])
    assert pairs.give(pairs.read([("q", None)])) == [("q", "")]


def test_reasons_and_renderings() -> None:
    codec = fitted()
    row = np.array([FIRST, MORE, EOS], np.int32)
    odd = np.append(codec._words().encode(["Ж"])[0][:1], codec._words().encode(["a"])[0]) + FIRST
    made = Texts.of([row, np.append(odd, EOS).astype(np.int32), np.array([EOS], np.int32)])
    reasons = codec.check(made)
    assert reasons == [
        ["it holds a token that stands for no text"],
        ["it holds bytes that are no text"],
        ["it is empty"],
    ]
    assert codec.render(codec.read(["a", "b"])).data == b"a\n\nb\n"
    talk = fitted(conversations())
    assert talk.render(talk.read(conversations()[:1])).data.startswith(b"system: Be brief.\nuser: ")
    assert talk.check(talk.read(sentences(2))) == [[], []]
    features = codec.features(codec.read(["the cat sat", "the cat sat.", "Ω≈ç√∫˜"]))
    near, far = np.linalg.norm(features[0] - features[1]), np.linalg.norm(features[0] - features[2])
    assert near < 0.5 * far
    with pytest.raises(Mismatch, match="another codec"):
        fitted(length=5).encode(codec.read(sentences()))
    with pytest.raises(LikelyError, match="fit"):
        _ = Text().space
