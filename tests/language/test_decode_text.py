"""Text leaves whole characters at a time and without any part of a stop string."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from likely.language.decode import Sampling
from likely.language.decode.engine import Engine
from likely.language.decode.text import Text
from tests.language.decode_toys import checkpoint, tokenizer

LETTERS = st.text(st.sampled_from("ab<é1 the日😀"), max_size=40)


def said(text: str, stops: list[str], by_bytes: bool) -> tuple[list[str], bool]:
    words = tokenizer()
    ids = [id for byte in text.encode() for id in _byte(byte)] if by_bytes else words.encode(text)
    out = Text(words, stops)
    pieces = []
    for id in ids:
        pieces.append(out.feed(id))
        if out.stopped:
            break
    return [*pieces, out.flush()], out.stopped


def _byte(byte: int) -> list[int]:
    return [id for id in range(256) if tokenizer().bytes(id) == bytes([byte])]


@settings(max_examples=80, deadline=None)
@given(
    text=LETTERS,
    stops=st.lists(st.text(st.sampled_from("ab<é1 t"), min_size=1, max_size=4), max_size=3),
    by_bytes=st.booleans(),
)
def test_the_text_up_to_the_first_stop(text: str, stops: list[str], by_bytes: bool) -> None:
    pieces, stopped = said(text, stops, by_bytes)
    ends = [text.find(stop) for stop in stops if stop in text]
    assert stopped == bool(ends)
    joined = "".join(pieces)
    if not ends:
        assert joined == text
    else:  # tokens end where they end: the stop that is whole first counts
        assert any(stop in text and joined == text[: text.find(stop)] for stop in stops)
        assert not any(stop in joined for stop in stops)
    assert all("\ufffd" not in piece for piece in pieces)


@settings(max_examples=60, deadline=None)
@given(text=LETTERS, stop=st.text(st.sampled_from("ab<é"), min_size=2, max_size=4))
def test_no_piece_shows_what_a_stop_takes_back(text: str, stop: str) -> None:
    whole = text.replace(stop, "") + stop
    if whole.find(stop) != len(whole) - len(stop):
        return
    pieces, stopped = said(whole, [stop], True)
    assert stopped
    assert "".join(pieces) == whole[: -len(stop)]


def test_half_a_character_at_the_end_is_said_to_be_one() -> None:
    words = tokenizer()
    out = Text(words, [])
    half = _byte("日".encode()[0])[0]
    assert out.feed(half) == ""
    assert out.flush() == "\ufffd"


def test_a_stop_ends_a_completion_and_is_not_part_of_it() -> None:
    made = Engine(checkpoint(), kernel="plain")
    letters = {id: -1e4 for id in range(256) if not 32 <= made.checkpoint.tokenizer.bytes(id)[0] < 127}
    ids, tried = tuple(range(65, 80)), 0
    for seed in range(6):
        ((free,),) = made.generate([ids], Sampling(seed=seed, tokens=30, ends=False, bias=letters))
        if "\ufffd" in free.text or len(free.text) < 12:
            continue
        stop, tried = free.text[8:11], tried + 1
        wish = Sampling(seed=seed, tokens=30, ends=False, bias=letters, stop=(stop,))
        ((cut,),) = made.generate([ids], wish)
        assert cut.text == free.text[: free.text.find(stop)]
        assert cut.reason == "stop"
        assert cut.ids == free.ids[: len(cut.ids)]
        assert len(cut.ids) < len(free.ids)
    assert tried
