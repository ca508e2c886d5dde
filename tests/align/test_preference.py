"""Judgements: what may be said, what follows from it."""

from __future__ import annotations

from typing import Any

import pytest

from likely.align.preference import Candidate, Comparison, Item, Judgements, item_of
from likely.errors import DataError, OptionError
from tests.align.judged import item, say

Q = item("q", "abc")
A, B, C = Q.by_id


def test_a_candidates_id_is_of_content_and_origin() -> None:
    one = Candidate.text("hello", model="m", seed=3, parameters={"t": 0.5, "k": [1, 2]})
    assert one.id == Candidate(b"hello", "text/plain", "m", "", 3, {"k": (1, 2), "t": 0.5}).id
    assert one.sha256 == "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
    others = [
        Candidate.text("hello"),
        Candidate.text("hello", model="n", seed=3, parameters={"t": 0.5, "k": [1, 2]}),
        Candidate.text("hello", model="m", seed=4, parameters={"t": 0.5, "k": [1, 2]}),
        Candidate.text("hello", model="m", seed=3, parameters={"t": 0.6, "k": [1, 2]}),
        Candidate(b"hello", "text/html", model="m", seed=3, parameters={"t": 0.5, "k": [1, 2]}),
    ]
    assert len({one.id, *(other.id for other in others)}) == 6
    assert one.words() == "hello"
    assert Candidate.text("שלום 😀").words() == "שלום 😀"


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Candidate("text"), "must be bytes"),
        (lambda: Candidate(b"", "png"), "image/png"),
        (lambda: Candidate(b"", seed=-1), "from 0 to"),
        (lambda: Candidate(b"", seed=True), "from 0 to"),
        (lambda: Candidate(b"", model="a\0b"), "NUL"),
        (lambda: Candidate(b"", parameters={"x": float("nan")}), "nan"),
        (lambda: Candidate(b"", parameters={1: 2}), "key"),
        (lambda: Candidate(b"", parameters={"x": {1, 2}}), "set"),
        (lambda: Candidate.text("\ud800"), "surrogate"),
        (lambda: Candidate(b"\xff").words(), "byte 0"),
        (lambda: Candidate(b"", "image/png").words(), "no text"),
        (lambda: Item("q", None, (Candidate(b"a"),)), "2 to 64"),
        (lambda: Item("q", None, (Candidate(b"a"), Candidate(b"a"))), "same candidate twice"),
        (lambda: Item("q", None, (Candidate(b"a"), b"b")), "wanted a Candidate"),
        (lambda: Item("", None, (Candidate(b"a"), Candidate(b"b"))), "empty"),
        (lambda: Item("q", [[]] * 3 + [float("inf")], (Candidate(b"a"), Candidate(b"b"))), "inf"),
        (lambda: say(Q, "both"), "'both'.*left, right, tie, bad, skip"),
        (lambda: say(Q, "left", "abc"), "'left'.*ranking, bad, skip"),
        (lambda: say(Q, "ranking", "ab", ranking=((0,), (1,))), "'ranking'"),
        (lambda: say(Q, "ranking", "abc", ranking=((0,), (1,))), "each place from 0 to 2"),
        (lambda: say(Q, "ranking", "abc", ranking=((0, 1), (1, 2))), "each place"),
        (lambda: say(Q, "ranking", "abc", ranking=((0, 1, 2), ())), "each place"),
        (lambda: say(Q, "ranking", "abc", ranking=(0, 1, 2)), "groups of places"),
        (lambda: say(Q, "left", ranking=((0,), (1,))), "no ranking"),
        (lambda: say(Q, "left", strength=4), "from 0 to 3"),
        (lambda: say(Q, "left", seconds=-1), "seconds"),
        (lambda: say(Q, "left", by=""), "empty"),
        (lambda: say(Q, "left", reason="a\0"), "NUL.*PostgreSQL"),
        (lambda: say(Q, "left", criteria={"style": "good"}), "'style'.*'good'"),
        (lambda: say(Q, "left", flags="viewed"), "list of texts"),
        (lambda: say(Q, "left", time="yesterday"), "ISO 8601"),
        (lambda: say(Q, "left", time="2026-01-01T00:00:00"), "time zone"),
        (lambda: say(Q, "left", undoes="x"), "an undo shows nothing"),
        (lambda: say(Q, "undo"), "'undo'"),
        (lambda: Comparison("q", ("a", "a"), "ann", "left"), "different"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(make: Any, words: str) -> None:
    with pytest.raises(DataError, match=words):
        make()


def test_nesting_is_bounded() -> None:
    deep: Any = 0
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(DataError, match="64 deep"):
        item_of(deep, [Candidate(b"a"), Candidate(b"b")])


def test_a_collection_is_checked_as_a_whole() -> None:
    one = say(Q, "left", id="one")
    other = item("other")
    undo = one.taken_back()
    for items, rows, words in [
        ([], [one], "item 'q', which is not among"),
        ([other], [Comparison("other", (A, B), "ann", "left", id="x")], "shows candidate"),
        ([Q], [one, one], "Comparison 1 .* id of an earlier one"),
        ([Q, item("q")], [], "Two items have the id 'q'"),
        ([Q], [undo], "undoes 'one', which is not among"),
        ([Q], [undo, one], "undoes 'one', which is not among"),
        ([Q], [say(Q, "left", repeats="no")], "repeats 'no'"),
        ([Q], [one, say(Q, "left", by="bob", repeats="one")], "another item or annotator"),
        ([Q], [one, say(Q, "left", "bc", repeats="one")], "other candidates"),
        ([Q], [one, undo, say(Q, "left", repeats=undo.id)], "is an undo"),
    ]:
        with pytest.raises(DataError, match=words):
            Judgements(tuple(items), tuple(rows))


def test_undo_is_a_row_and_takes_only_its_own_back() -> None:
    one, two = say(Q, "left"), say(Q, "right")
    made = Judgements((Q,), (one, two, one.taken_back()))
    assert made.active() == (two,)
    assert [pair.outcome for pair in made.pairs()] == ["right"]
    assert made.counts()["undone"] == 1
    assert len(made) == 3


def test_bad_and_skip_are_no_pairs_but_are_counted() -> None:
    rows = [say(Q, choice) for choice in ("left", "right", "tie", "bad", "skip", "bad")]
    made = Judgements((Q,), tuple(rows))
    assert [pair.outcome for pair in made.pairs()] == ["left", "right", "tie"]
    counts = made.counts()
    assert (counts["bad"], counts["skip"], counts["ties"], counts["pairs"]) == (2, 1, 1, 3)


def test_a_ranking_gives_all_its_pairs_as_one_judgement() -> None:
    # Shown c, a, b; b is best, c and a are alike.
    row = say(Q, "ranking", "cab", ranking=((2,), (0, 1)), strength=2)
    pairs = Judgements((Q,), (row,)).pairs()
    said = {(pair.left.model, pair.right.model): pair.outcome for pair in pairs}
    assert said == {("c", "a"): "tie", ("c", "b"): "right", ("a", "b"): "right"}
    assert sum(pair.weight for pair in pairs) == pytest.approx(1)
    assert {pair.group for pair in pairs} == {row.id}
    assert {pair.strength for pair in pairs} == {2}


def test_showings_of_one_chain_weigh_as_one() -> None:
    one = say(Q, "left", "ab")
    two = say(Q, "right", "ba", repeats=one.id)
    three = say(Q, "skip", "ab", repeats=two.id)
    other = say(Q, "left", "ab", by="bob")
    pairs = Judgements((Q,), (one, two, three, other)).pairs()
    assert [pair.weight for pair in pairs] == [0.5, 0.5, 1.0]
    # The first showing taken back: the second weighs all.
    assert [p.weight for p in Judgements((Q,), (one, two, one.taken_back())).pairs()] == [1.0]


def test_a_split_keeps_items_whole_and_depends_on_id_and_seed_alone() -> None:
    items = [item(f"i{k}") for k in range(400)]
    rows = [say(one, "left") for one in items for _ in range(3)]
    rows += [row.taken_back() for row in rows[::7]]
    made = Judgements(tuple(items), tuple(rows))
    train, held = made.split(0.25, seed=1)
    assert {one.id for one in train.items}.isdisjoint(one.id for one in held.items)
    assert len(train.items) + len(held.items) == 400
    assert len(train) + len(held) == len(rows)
    assert 70 <= len(held.items) <= 130
    # Fewer items, another order: each is on the same side.
    some = Judgements(tuple(items[:50][::-1]), ())
    assert {one.id for one in some.split(0.25, seed=1)[1].items} == {one.id for one in held.items} & {
        one.id for one in items[:50]
    }
    assert made.split(0.25, seed=2)[1].items != held.items
    assert made.split(0)[1].items == ()
    assert made.split(1)[0].items == ()
    with pytest.raises(OptionError, match="from 0 to 1"):
        made.split(25)


def test_merging_is_idempotent_and_refuses_one_id_for_two_things() -> None:
    one, two = say(Q, "left"), say(Q, "right", by="bob")
    a, b = Judgements((Q,), (one,)), Judgements((Q, item("r")), (one, two))
    both = a.merge(b, a)
    assert both.comparisons == (one, two)
    assert both.merge(both) == both
    with pytest.raises(DataError, match="Two different comparisons"):
        a.merge(Judgements((Q,), (say(Q, "right", id=one.id),)))
    with pytest.raises(DataError, match="different prompts"):
        a.merge(Judgements((Item("q", "another", Q.candidates),)))


def test_items_of_one_id_join_their_candidates() -> None:
    more = Item("q", Q.prompt, (*item("q", "cde").candidates,))
    joined = Judgements((Q,)).merge(Judgements((more,))).items[0]
    assert [one.model for one in joined.candidates] == list("abcde")


def test_the_same_undo_from_two_places_is_one() -> None:
    one = say(Q, "left")
    first, second = one.taken_back(), one.taken_back(time="2020-01-01T00:00:00+00:00")
    both = Judgements((Q,), (one, first)).merge(Judgements((Q,), (one, second)))
    assert both.comparisons == (one, first)


def test_equal_prompts_are_one_item() -> None:
    a, b, c = (Candidate.text(x) for x in "abc")
    assert item_of({"x": 1, "y": 2}, [a, b]).id == item_of({"y": 2, "x": 1}, [b, c]).id != item_of("x", [a, b]).id


def test_times_are_kept_in_utc() -> None:
    assert say(Q, "left", time="2026-01-31T12:00:00+02:00").time == "2026-01-31T10:00:00+00:00"
    assert say(Q, "left", time="").time == ""
