"""Summaries: sentences and chunks cover a text, quotes are quotes, and what is written is checked."""

from __future__ import annotations

import numpy as np
import pytest

from likely.apps.summarise import headline, summarise
from likely.apps.summarise.check import Source
from likely.apps.summarise.rank import Ranking, nearest, stem, textrank, vectors
from likely.apps.summarise.sentence import pack, split
from likely.apps.summarise.summary import checked, shortened
from likely.apps.summarise.writer import Writer
from likely.errors import DataError, LikelyError, OptionError
from likely.language.decode import Engine
from tests.apps.texts import TALE, shallow, toy

TEXTS = [
    TALE,
    "One.  Two!\n\nThree?\r\nFour",
    "# Title\nText of it. More.\n- item one\n- item two\n3) item three",
    'He said: "No!" Then he left. (He never came back.) "Why?" she asked.',
    "Mr. J. R. Smith of the U.S. Navy, e.g. Dr. No, lives at St. James St. in 3.5 rooms vs. 4.",
    "没有人知道。他走了！为什么？",
    "no capitals here. and none there. so it is one",
    "x" * 5000,
    "word " * 3000,
]

# --------------------------------------------------------------------------------------------- sentences, chunks


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:20])
def test_sentences_cover_a_text_once(text: str) -> None:
    found = split(text)
    ends = [0, *(sentence.end for sentence in found)]
    for end, sentence in zip(ends, found, strict=False):
        assert end <= sentence.start < sentence.end
        assert not text[end : sentence.start].strip()
        assert sentence.text == " ".join(text[sentence.start : sentence.end].split())
        assert sentence.first == text.count("\n", 0, sentence.start) + 1
        assert sentence.last == text.count("\n", 0, sentence.end) + 1
    assert not text[ends[-1] :].strip()


def test_where_sentences_end() -> None:
    def texts(text: str) -> list[str]:
        return [sentence.text for sentence in split(text)]

    assert texts(TEXTS[4]) == [TEXTS[4]]
    assert texts('He said: "No!" Then he left.') == ['He said: "No!"', "Then he left."]
    assert texts('"Why?" she asked. It ended at 5 p.m. Then we left.') == [
        '"Why?" she asked.', "It ended at 5 p.m.", "Then we left.",
    ]  # fmt: skip
    assert texts(TEXTS[2]) == ["# Title Text of it.", "More.", "- item one", "- item two", "3) item three"]
    assert texts(TEXTS[5]) == ["没有人知道。", "他走了！", "为什么？"]
    assert texts(TEXTS[6]) == [TEXTS[6]]
    assert texts("") == texts(" \n\n\t") == []
    assert len(texts(TEXTS[8])) > 5


def test_chunks_hold_each_sentence_once_and_fit() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        sizes = rng.integers(1, 60, rng.integers(1, 40)).tolist()
        most = int(rng.integers(10, 80))
        parts = pack(sizes, most)
        assert [at for part in parts for at in part] == list(range(len(sizes)))
        for part in parts:
            total = sum(sizes[at] for at in part)
            assert total <= most or len(part) == 1
    assert pack([], 10) == []
    assert pack([10] * 10, 60) == [range(0, 5), range(5, 10)]  # as equal as their number allows


def test_chunks_of_a_model_cover_the_text() -> None:
    writer = Writer(Engine(toy(), kernel="plain"), chunk=100)
    sentences = split(TALE)
    chunks = writer.chunks(sentences, 100)
    assert [sentence for chunk in chunks for sentence in chunk] == sentences
    encode = toy().tokenizer.encode
    for chunk in chunks:
        assert len(chunk) == 1 or len(encode(" ".join(sentence.text for sentence in chunk))) <= 100


# ------------------------------------------------------------------------------------------------------ quoting


def test_textrank_is_the_stationary_share_of_a_walk() -> None:
    rank = textrank(np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 1, 0], [0, 0, 0, 1]], float))
    assert rank.sum() == pytest.approx(1)
    assert rank[0] > rank[1] == pytest.approx(rank[2])
    assert rank[1] > rank[3]
    assert textrank(np.eye(3)) == pytest.approx(np.full(3, 1 / 3))


def test_vectors_are_of_unit_length_and_alike_for_forms_of_a_word() -> None:
    found = vectors(["The mills closed.", "A mill is closing", "of the and", "rivers"])
    assert np.linalg.norm(found, axis=1) == pytest.approx([1, 1, 0, 1])
    assert found[0] @ found[1] == pytest.approx(1)
    assert found[0] @ found[3] == 0
    assert {stem(word) for word in ("stop", "stops", "stopped", "stopping")} == {"stop"}
    assert stem("glass") == "glass"


def test_what_is_quoted_stands_in_the_text() -> None:
    made = summarise(TALE, sentences=4, model=None)
    flat = " ".join(TALE.split())
    lines = TALE.split("\n")
    assert len(made.sentences) == 4
    assert made.written == (False,) * 4
    assert made.text == made.extract == str(made)
    places = [flat.index(sentence) for sentence in made.sentences]
    assert places == sorted(places)
    for sentence, [source] in zip(made.sentences, made.sources, strict=True):
        assert sentence == source.text
        assert sentence.split()[0] in lines[source.first - 1]
        assert sentence.split()[-1] in lines[source.last - 1]


def test_what_is_repeated_is_quoted_once() -> None:
    text = "The mill of Oxley stood in water. " * 6 + "A baker from Marl lent the miller his cart."
    first, second = Ranking(split(text)).take(2)
    assert {first, second} == {0, 6}


def test_the_nearest_sentence() -> None:
    sentences = split(TALE)
    [(at, share)] = nearest("the miller's sons rebuilt their mill", sentences)
    assert sentences[at].text.startswith("The sons rebuilt the mill")
    assert 0.5 < share <= 1
    assert nearest("of the and", sentences) == []


# ------------------------------------------------------------------------------------------------------ writing


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(toy(), kernel="plain")


def test_what_a_wild_model_writes_does_not_get_through(engine: Engine) -> None:
    source = Source(TALE, split(TALE))
    heard: list[str] = []
    made = summarise(TALE, sentences=2, model=engine, chunk=300, listen=heard.append)
    assert heard[0].startswith("Summing up ")
    assert made.flagged
    assert {flag.done for flag in made.flagged} <= {"replaced", "dropped"}
    assert 1 <= len(made.sentences) <= 2
    assert len(set(made.sentences)) == len(made.sentences)
    for sentence, written in zip(made.sentences, made.written, strict=True):
        assert not source.problems(sentence)
        assert written or sentence in {one.text for one in source.sentences}
    assert made.extract == summarise(TALE, sentences=2, model=None).text
    assert summarise(TALE, sentences=2, model=engine, chunk=300) == made  # the same model writes the same


def test_what_becomes_of_doubtful_sentences() -> None:
    source, best = Source(TALE, split(TALE)), split(TALE)[:2]
    written = [
        "The mill of Oxley was flooded in 1999.",
        "The sons rebuilt the mill with stones.",
        "The sons rebuilt the mill.",
    ]
    replaced = checked(written, source, best, "replace", "")
    assert replaced.sentences == (replaced.sources[0][0].text, "The sons rebuilt the mill with stones.")
    assert replaced.written == (False, True)  # the third says what the second said
    assert [flag.done for flag in replaced.flagged] == ["replaced"]
    assert str(replaced.flagged[0]).startswith(
        "replaced: The mill of Oxley was flooded in 1999. (the number '1999' is not in the source"
    )
    assert replaced.sources[1][0].text.startswith("The sons rebuilt the mill")
    dropped = checked(written, source, best, "drop", "")
    assert dropped.sentences == ("The sons rebuilt the mill with stones.",)
    kept = checked(written, source, best, "flag", "")
    assert kept.sentences == tuple(written[:2])
    assert [flag.done for flag in kept.flagged] == ["kept"]
    nothing = checked(written[:1], source, best, "drop", "")
    assert nothing.sentences == tuple(one.text for one in best)
    assert "quoted" in nothing.notes[0]


def test_headlines_fit_and_are_borne_out(engine: Engine) -> None:
    source = Source(TALE, split(TALE))
    for model, sizes in ((None, (3, 6, 12, 40)), (engine, (8,))):
        for words in sizes:
            line = headline(TALE, words=words, model=model)
            assert 1 <= len(line.removesuffix(" …").split()) <= words
            assert not {one.kind for one in source.problems(line, finished=False)} - {"unlike"}
    assert headline("Rain.", model=None) == "Rain"
    assert (
        shortened("The king, who had three sons and a daughter, went away to war.", 6)
        == "The king, who had three sons …"
    )
    assert shortened("The old king went away to the war, and the three sons stayed.", 10) == (
        "The old king went away to the war"
    )


def test_a_text_with_nothing_to_sum_up(engine: Engine) -> None:
    made = summarise("Only this. And that.", model=engine)
    assert made.text == "Only this. And that."
    assert made.notes == ("The text has 2 sentences: there is nothing to sum up.",)


# ---------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize("text", ["", " \n ", "...!?", None, 7, b"bytes"])
def test_texts_that_are_none(text: object) -> None:
    for ask in (summarise, headline):
        with pytest.raises(DataError):
            ask(text, model=None)  # type: ignore[operator]


def test_wishes_that_make_no_sense(engine: Engine) -> None:
    for wish in ({"sentences": 0}, {"sentences": 51}, {"doubtful": "keep"}, {"chunk": -1}, {"chunk": 10**6}):
        with pytest.raises(OptionError, match=next(iter(wish))):
            summarise(TALE, model=engine, **wish)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="words=2"):
        headline(TALE, words=2, model=None)
    with pytest.raises(OptionError, match="too short to read and to write in"):
        summarise(TALE, model=shallow())
    with pytest.raises(LikelyError, match="no-such-model"):
        summarise(TALE, model="no-such-model")


def test_a_headline_does_not_end_in_the_middle_of_a_phrase() -> None:
    sentence = "A certain father had two sons, the elder of who was smart and sensible, and could do everything."
    assert shortened(sentence, 12) == "A certain father had two sons"
