"""Tokenizers: round trips, the library's own text, control tokens that users cannot write, whole characters."""

import json
import random

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import decoders, models

from likely.errors import ArtifactError, DataError, LikelyError
from likely.language.tokenizer import Stream, Tokenizer
from tests.language.toys import byte_level, sentencepiece

BYTES = Tokenizer(byte_level())


def pieces(decoder):
    """A tokenizer of SentencePiece's tokens with some decoder."""
    tokens, _, types = sentencepiece()
    vocabulary = {token: id for id, token in enumerate(tokens)}
    made = tokenizers.Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", byte_fallback=True))
    made.add_special_tokens([token for token, type in zip(tokens, types, strict=True) if type in (2, 3)])
    made.decoder = decoder
    return made


DECODERS = {
    "llama": decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    ),
    "gemma": decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]),
    "t5": decoders.Metaspace(),
    "never": decoders.Metaspace(prepend_scheme="never"),
    "words": decoders.WordPiece(),
}


@given(st.text(max_size=40))
@settings(max_examples=100, deadline=None)
def test_any_text_comes_back(text):
    ids = BYTES.encode(text)
    assert BYTES.decode(ids, special=True) == text
    assert b"".join(BYTES.bytes(id) for id in ids).decode() == text
    assert not {0, 1} & set(ids)


@given(st.lists(st.integers(0, 330), max_size=12))
@settings(max_examples=100, deadline=None)
def test_any_ids_become_the_text_that_the_library_gives(ids):
    library = tokenizers.Tokenizer.from_str(byte_level())
    for special in (False, True):
        assert BYTES.decode(ids, special) == library.decode(ids, skip_special_tokens=not special)


@pytest.mark.parametrize("name", DECODERS)
def test_other_ways_to_write_tokens(name):
    library = pieces(DECODERS[name])
    made = Tokenizer(library.to_str())
    chance = random.Random(0)
    for _ in range(300):
        ids = [chance.choice([1, chance.randrange(made.size), *range(259, 270)]) for _ in range(chance.randrange(8))]
        for special in (False, True):
            want = library.decode(ids, skip_special_tokens=not special)
            if "�" not in want:  # of bytes that are no text there may be more or fewer marks
                assert made.decode(ids, special) == want


@pytest.mark.parametrize(
    "made", [BYTES, Tokenizer(pieces(DECODERS["llama"]).to_str()), Tokenizer(pieces(None).to_str())]
)
def test_streams_give_whole_characters_and_all_of_them(made):
    chance = random.Random(1)
    for _ in range(200):
        ids = [chance.randrange(made.size) for _ in range(chance.randrange(10))]
        stream = Stream(made)
        parts = [stream.feed(id) for id in ids]
        assert "".join(parts) + stream.flush() == made.decode(ids)
    text = "日本語 😀 é" if made is BYTES else "😀 hé"
    ids = made.encode(text)
    stream = Stream(made)
    parts = [stream.feed(id) for id in ids]
    assert not any("�" in part for part in parts)
    assert len(ids) > len(text.split())


def test_control_tokens_are_parsed_only_when_asked_for():
    text = "a<|end|>b<think>c"
    assert 0 not in BYTES.encode(text)
    assert BYTES.encode(text, special=True)[1] == 0
    assert BYTES.decode(BYTES.encode(text)) == text
    assert BYTES.decode(BYTES.encode(text, special=True)) == "ab<think>c"
    assert BYTES.decode(BYTES.encode(text, special=True), special=True) == text
    assert BYTES.bytes(0) == b""
    assert BYTES.bytes(0, special=True) == b"<|end|>"
    assert BYTES.specials == {"<|end|>": 0, "<|start|>": 1}


def test_what_ends_a_text_becomes_a_control_token():
    made = Tokenizer(byte_level())
    think = made.id("<think>")
    assert think in made.encode("<think>")
    made.control([think, 5, 10**6])
    assert think not in made.encode("<think>")
    assert made.decode(made.encode("<think>")) == "<think>"
    assert set(Tokenizer(made.json()).specials) == {"<|end|>", "<|start|>", "<think>"}


def test_look_ups_and_affixes():
    assert BYTES.token(BYTES.id("<|start|>")) == "<|start|>"
    assert (BYTES.id("nothing such"), BYTES.token(-1), BYTES.token(BYTES.size)) == (None, None, None)
    assert BYTES.affixes() == ([], [])
    described = json.loads(byte_level())
    described["post_processor"] = {
        "type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|start|>", "type_id": 0}},
                                                 {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<|start|>": {"id": "<|start|>", "ids": [1], "tokens": ["<|start|>"]}},
    }  # fmt: skip
    assert Tokenizer(json.dumps(described)).affixes() == ([1], [])


def test_what_is_no_text_or_no_tokenizer():
    for wrong in (b"abc", None, 3):
        with pytest.raises(DataError, match="A text is wanted"):
            BYTES.encode(wrong)
    with pytest.raises(DataError, match=r"Character 1 .* surrogate"):
        BYTES.encode("a\ud83d")
    for source in ("", "{}", "[]", "null", '{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}'):
        with pytest.raises(ArtifactError, match="does not work"):
            Tokenizer(source)
    for vocabulary in ({}, {"a": 2**32 - 1}):
        with pytest.raises(ArtifactError, match="ids"):
            Tokenizer(json.dumps({"model": {"type": "BPE", "vocab": vocabulary, "merges": []}}))
    with pytest.raises(ArtifactError, match="Cannot read"):
        Tokenizer.read("/nowhere/tokenizer.json")


def test_damaged_tokenizers_end_in_our_errors():
    whole = byte_level().encode()
    for seed in range(60):
        chance = random.Random(seed)
        data = bytearray(whole)
        for _ in range(3):
            data[chance.randrange(len(data))] = chance.randrange(32, 127)
        try:
            made = Tokenizer(data.decode("utf-8", "replace"))
            made.decode(made.encode("the quick\n 12 é")[:50])
        except LikelyError:
            pass
