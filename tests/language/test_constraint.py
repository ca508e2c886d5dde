"""Texts under a constraint match it: patterns against Python's own, choices against exact probabilities."""

from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from likely.errors import ConstraintError
from likely.language.decode import Engine, Sampling, choices, json_schema, regex
from likely.language.decode.constraint.automaton import DEAD, automaton, utf8
from likely.language.decode.constraint.pattern import parse
from tests.language.decode_toys import checkpoint, tokenizer

PATTERNS = [
    r"abc", r"a*", r"(ab|c)+", r"[a-c]{2,4}", r"\d+(\.\d+)?", r"a?b{2}", r"", r"(|a)b", r"[^a-y]", r".", r"é|日本?",
    r"[à-ÿ]+", r"\w+@\w+\.(com|org)", r'"([^"\\]|\\.)*"', r"-?(0|[1-9]\d*)", r"^a|b$", r"a{0}b", r"a{,2}", r"x{2,}",
    r"\x41\u00e9", r"[\]\-a]", r"[-a]", r"[]a]", r"{x}", r"a{b", r"(?:a(?P<n>b))*?c", r"[\d\s]+", r"\S\W", r"[😀-😂]",
]  # fmt: skip
LETTERS = 'ab cxyz01.9@omrg-"\\é日本à\n{}]Aéß😀n'


def accepts(pattern: str, text: str) -> bool:
    found = automaton(parse(pattern))
    state = found.run(text.encode())
    return state != DEAD and bool(found.ends[state])


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns_mean_what_python_means(pattern: str) -> None:
    found, theirs = automaton(parse(pattern)), re.compile(pattern, re.ASCII)

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(st.one_of(st.text(st.sampled_from(LETTERS), max_size=6), st.from_regex(theirs, fullmatch=True)))
    def same(text: str) -> None:
        try:
            bytes_ = text.encode()
        except UnicodeEncodeError:
            return
        state = found.run(bytes_)
        assert (state != DEAD and bool(found.ends[state])) == bool(theirs.fullmatch(text)), text

    same()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 0x10FFFF), st.integers(0, 0x10FFFF), st.integers(0, 0x10FFFF))
def test_ranges_of_letters_are_ranges_of_bytes(a: int, b: int, c: int) -> None:
    low, high = min(a, b), max(a, b)
    if 0xD800 <= c < 0xE000:
        return
    text = chr(c).encode()
    hits = [
        sequence
        for sequence in utf8(low, high)
        if len(sequence) == len(text) and all(x <= y <= z for (x, z), y in zip(sequence, text, strict=True))
    ]
    assert len(hits) == (low <= c <= high)


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        (r"(a", r"a \( without its \) at 2"),
        ("a)", "a \\) without"),
        ("[a", "a \\[ without"),
        ("*a", "a \\* after nothing"),
        (r"(a)\1", "a back-reference, which is not supported, at 3"),
        ("(?=a)b", "look-ahead"),
        ("(?<!a)b", "look-behind"),
        (r"\bword", r"\\b, which is not supported"),
        ("(?i)a", "flags"),
        ("a++", "possessive"),
        ("a**", "a quantifier after"),
        ("a{3,2}", "never"),
        ("a{2000}", "over 1000"),
        ("[b-a]", "backwards"),
        (r"a\x4", "hexadecimal"),
        ("a^b", "a \\^ inside"),
        (r"\p{L}", r"\\p, which"),
        ("a\\", "backslash"),
        ("(" * 200, "groups inside"),
        ("x" * 20_000, "at most"),
        ("(?P=n)", "back-ref"),
    ],
)
def test_what_no_pattern_is_or_none_of_ours(pattern: str, words: str) -> None:
    with pytest.raises(ConstraintError, match=words):
        regex(pattern)


@pytest.mark.parametrize("pattern", [r"((a{1000}){1000}){1000}", r".*a.{20}", r"[^\s\S]"])
def test_patterns_that_are_too_much_or_empty(pattern: str) -> None:
    with pytest.raises(ConstraintError, match=r"needs more than|too much work|No text matches"):
        regex(pattern).compile(tokenizer())


def test_masks_are_the_tokens_that_can_go_on() -> None:
    words = tokenizer()
    pattern = r"the (and|é)+ [12]{2}"
    compiled, found = regex(pattern).compile(words), automaton(parse(pattern))
    walk, so_far = compiled.walk(), b""
    for token in words.encode("the andé 12"):
        expected = [id for id in range(words.size) if words.bytes(id) and found.run(so_far + words.bytes(id)) != DEAD]
        assert walk.allowed.nonzero()[:, 0].tolist() == expected
        assert not walk.over
        walk.advance(token)
        so_far += words.bytes(token)
    assert walk.whole
    assert walk.over
    assert not walk.allowed.any()


@pytest.mark.parametrize("pattern", [r"\d{3}-[a-z]+", r"(the |and )*é", r"-?\d+(\.\d{1,2})?", r"[^a]{5}", r"日(本|記)"])
def test_texts_match_their_pattern(pattern: str) -> None:
    made = Engine(checkpoint(), kernel="plain", rows=8)
    prompts = [(65, 66, 67), (10, 20)]
    cut = 0
    for wish in (Sampling(temperature=0), Sampling(seed=1), Sampling(seed=2, temperature=2.0, top_p=0.9)):
        wish = Sampling(**{**wish.__dict__, "constraint": regex(pattern), "tokens": 40})
        for found in made.generate(prompts, wish, n=3):
            for one in found:
                assert one.reason in ("stop", "end", "length")
                if one.reason != "length":
                    assert re.fullmatch(pattern, one.text, re.ASCII), one.text
                cut += one.reason == "length"
    assert cut < 18


def test_a_text_that_is_cut_says_so() -> None:
    made = Engine(checkpoint(), kernel="plain")
    ((found,),) = made.generate([(65,)], Sampling(constraint=regex("a{60}"), tokens=5))
    assert found.reason == "length"
    assert set(found.text) == {"a"}


def test_drafts_keep_to_the_pattern() -> None:
    wish = Sampling(seed=4, tokens=40, constraint=regex(r"(ab|abc)+"))
    (a,), (b,) = (Engine(checkpoint(), kernel="plain", draft=draft).generate([(1, 2)], wish)[0] for draft in (0, 4))
    assert (a.text, a.ids) == (b.text, b.ids)


class Poor:
    """A vocabulary that lacks most bytes."""

    words = (b"", b"a", b"ab", b"ba", b"b")
    size = 5

    def encode(self, text: str) -> list[int]:
        raise NotImplementedError

    def bytes(self, id: int) -> bytes:
        return self.words[id]


def test_a_vocabulary_that_cannot_write_it() -> None:
    with pytest.raises(ConstraintError, match="cannot write"):
        regex("abc").compile(Poor())
    walk = regex("a(bc|bb)").compile(Poor()).walk()  # "c" is not there: nothing may lead to it
    for token in (1, 4, 4):
        assert bool(walk.allowed[token])
        walk.advance(token)
    assert walk.over


def test_choices_have_the_probabilities_of_the_model() -> None:
    made = Engine(checkpoint(3), kernel="plain", rows=400)
    texts = [" and", " an", "the", "12 é", "x"]
    prompt = "in the"
    expected = made.choose([prompt], texts)[0]
    (end,) = made.checkpoint.ends
    # " an" begins " and": it counts with the end after it
    ids = (*made.ids(prompt), *made.checkpoint.tokenizer.encode(" an"))
    if made.checkpoint.tokenizer.encode(" and")[: len(ids) - len(made.ids(prompt))] == list(
        ids[len(made.ids(prompt)) :]
    ):
        expected[1] += made.score([(*ids, end)])[0][-1]
    shares = expected.softmax(0)
    (found,) = made.generate([prompt], Sampling(constraint=choices(texts), seed=0), n=400)
    assert {one.text for one in found} <= set(texts)
    assert {one.reason for one in found} == {"stop"}
    for text, share in zip(texts, shares.tolist(), strict=True):
        made_share = sum(one.text == text for one in found) / len(found)
        assert made_share == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / len(found)) + 1e-3)
    ((likeliest,),) = made.generate([prompt], Sampling(constraint=choices(texts), temperature=0))
    assert likeliest.text == texts[int(expected.argmax())]
    assert sum(likeliest.logprobs) == pytest.approx(float(made.choose([prompt], [likeliest.text])[0, 0]), abs=1e-3)


def test_choices_beside_other_texts() -> None:
    made = Engine(checkpoint(), kernel="plain")
    batcher = made.batcher()
    wishes = [Sampling(seed=0, tokens=6, ends=False), Sampling(seed=0, constraint=choices(["the", "x"]))] * 3
    requests = [batcher.add((60 + i,), wish, n=1 + i % 2) for i, wish in enumerate(wishes)]
    pieces = [piece for _ in range(10) for piece in batcher.step()]
    for i, (request, wish) in enumerate(zip(requests, wishes, strict=True)):
        (alone,) = made.generate([(60 + i,)], wish, n=1 + i % 2)
        for sample, one in enumerate(alone):
            mine = [piece for piece in pieces if piece.request is request and piece.sample == sample]
            assert "".join(piece.text for piece in mine) == one.text


def test_a_walk_through_choices() -> None:
    words = tokenizer()
    walk = choices(["the", "the and", "x"]).compile(words).walk()
    first, *rest = words.encode("the and")
    assert sorted(walk.allowed.nonzero()[:, 0].tolist()) == sorted(
        {first, words.encode("x")[0], words.encode("the")[0]}
    )
    for token in (first, *rest):
        walk.advance(token)
    assert walk.whole
    assert walk.over


@pytest.mark.parametrize(
    ("texts", "words"), [([], "0 choices"), (["a", ""], "is empty"), (["a", "a"], "given twice"), ("ab", "a list")]
)
def test_choices_that_are_none(texts: list[str], words: str) -> None:
    with pytest.raises(ConstraintError, match=words):
        choices(texts)


SCHEMA = {
    "type": "object", "additionalProperties": False, "required": ["name", "age"],
    "properties": {"name": {"enum": ["the", "and"]}, "age": {"type": "integer", "minimum": 0, "maximum": 99}},
}  # fmt: skip


def test_json_of_a_schema() -> None:
    made = Engine(checkpoint(), kernel="plain")
    done = 0
    for found in made.generate([(65, 66)], Sampling(constraint=json_schema(SCHEMA), tokens=60, seed=3), n=4)[0]:
        if found.reason != "length":
            value = json.loads(found.text)
            assert value["name"] in ("the", "and")
            assert 0 <= value["age"] <= 99
            done += 1
    assert done


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ("{", "is no JSON"),
        ("[1]", "is an object, got list"),
        ({"type": "nonsense"}, "llguidance"),
        ({"a": {1, 2}}, "no JSON"),
    ],
)
def test_schemas_that_are_none(schema: object, words: str) -> None:
    with pytest.raises(ConstraintError, match=words):
        json_schema(schema).compile(tokenizer())  # type: ignore[arg-type]
