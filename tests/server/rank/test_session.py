"""The rules of ranking: sides, repeats, undo, resume, several people, and that nothing is lost or kept twice."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import likely
from likely.align.preference import Candidate, Comparison, Item
from likely.errors import DataError, OptionError, StorageError
from likely.server.rank import Rules, Session
from likely.server.rank.choosing import Guide
from likely.server.rank.couples import Showing
from likely.server.rank.outputs import Wanted, makers
from likely.server.rank.session import Answered, Stale, Unplayed
from likely.server.store import Store
from tests.server.rank.conftest import sound, texts

NEVER = Rules(repeats=0.0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "judgements.db", patience=20) as made:
        yield made


def session(store: Store, items: list[Item], rules: Rules = NEVER, **options: Any) -> Session:
    store.add_items(items)
    return Session(store, rules, **options)


def judge(made: Session, who: str, choice: str = "left", most: int = 10**6) -> list[Showing]:
    """Answer until all is answered."""
    shown = []
    while len(shown) < most and (showing := made.next(who)) is not None:
        made.answer(who, showing.id, choice)
        shown.append(showing)
    return shown


def test_every_pair_is_asked_once_and_kept(store: Store) -> None:
    made = session(store, texts(30))
    shown = judge(made, "anna")
    assert len({one.couple for one in shown}) == 30
    kept = store.judgements()
    assert [one.id for one in kept.comparisons] == [one.id for one in shown]
    assert [one.shown for one in kept.comparisons] == [one.shown for one in shown]
    assert made.count("anna") == (30, 30, True, shown[-1].id)


def test_sides_are_drawn_and_models_stand_left_half_of_the_time(store: Store) -> None:
    made = session(store, texts(400))
    left = Counter(made.item(one.couple.item).by_id[one.shown[0]].model for one in judge(made, "anna"))
    assert 160 < left["model-x"] < 240  # 200 +- 4 standard deviations


def test_the_same_seed_asks_the_same_and_another_does_not(store: Store) -> None:
    items = texts(12)
    first = session(store, items, replace(NEVER, seed=5))
    again = Session(store, replace(NEVER, seed=5))
    other = Session(store, replace(NEVER, seed=6))
    order = [first.next(who) for who in "abc"]
    assert order == [again.next(who) for who in "abc"]
    assert [one.couple for one in order if one] != [other.next(who).couple for who in "abc"]  # type: ignore[union-attr]


def test_only_different_models_and_different_outputs_meet(store: Store) -> None:
    same = Item("same", None, (Candidate.text("a", model="x"), Candidate.text("a", model="y")))
    two = Item("two", None, tuple(Candidate.text(f"{m}{k}", model=m) for m in "xy" for k in range(2)))
    one = Item("one", None, tuple(Candidate.text(f"{k}", model="x", seed=k) for k in range(3)))
    made = session(store, [same, two, one])
    assert Counter(couple.item for couple in made.couples) == {"two": 4, "one": 3}


def test_repeats_come_back_some_with_the_sides_exchanged(store: Store) -> None:
    made = session(store, texts(300), Rules(seed=1, repeats=0.2))
    shown = judge(made, "anna")
    again = [one for one in shown if one.repeats]
    assert 45 < len(again) < 105  # of about 370 showings, a fifth of those that may repeat
    before = {one.id: one for one in shown}
    swapped = sum(one.shown != before[str(one.repeats)].shown for one in again)
    assert 0.3 < swapped / len(again) < 0.7
    assert len({one.repeats for one in again}) == len(again)  # nothing is repeated twice
    places = {one.id: k for k, one in enumerate(shown)}
    assert min(places[one.id] - places[str(one.repeats)] for one in again) > 5
    assert store.judgements().counts()["repeats"] == len(again)
    assert made.count("anna").done == 300


def test_undo_is_a_row_and_the_pair_lies_there_again(store: Store) -> None:
    made = session(store, texts(5))
    shown = judge(made, "anna", most=3)
    made.undo("anna", shown[-1].id)
    assert made.undo("anna", shown[-1].id).undoes == shown[-1].id  # twice is once
    again = made.next("anna")
    assert again is not None
    assert (again.couple, again.shown) == (shown[-1].couple, shown[-1].shown)
    assert again.id != shown[-1].id
    made.answer("anna", again.id, "tie")
    made.undo("anna", again.id)
    made.undo("anna", shown[1].id)
    assert made.count("anna").done == 1
    assert [one.choice for one in store.judgements().active()] == ["left"]
    judge(made, "anna", "right")
    assert Counter(one.choice for one in store.judgements().active()) == {"left": 1, "right": 4}
    with pytest.raises(Stale):
        made.undo("bob", shown[0].id)


def test_an_undone_repeat_is_asked_as_a_repeat(store: Store) -> None:
    made = session(store, texts(30), Rules(seed=2, repeats=0.5))
    shown = judge(made, "anna")
    one = next(showing for showing in shown[::-1] if showing.repeats)
    made.undo("anna", one.id)
    again = made.next("anna")
    assert again is not None
    assert again.repeats == one.repeats


def test_a_new_run_goes_on_where_the_last_ended(store: Store) -> None:
    made = session(store, texts(20))
    first = judge(made, "anna", most=8)
    lying = made.next("anna")
    later = Session(store, NEVER)
    assert lying is not None
    later.answer("anna", lying.id, "tie", seconds=1.5)  # the page of the last run, still open
    rest = judge(later, "anna")
    assert len(first) + 1 + len(rest) == 20
    assert len({one.couple for one in [*first, lying, *rest]}) == 20
    assert later.count("anna").over


def test_the_same_answer_twice_is_kept_once_another_is_refused(store: Store) -> None:
    made = session(store, texts(3))
    showing = made.next("anna")
    assert showing is not None
    assert made.next("anna") == showing  # another tab sees the same
    kept = made.answer("anna", showing.id, "left", seconds=1.0)
    assert made.answer("anna", showing.id, "left", seconds=2.0) == kept
    with pytest.raises(Answered, match="already: left"):
        made.answer("anna", showing.id, "right")
    elsewhere = Session(store, NEVER)
    with pytest.raises(Answered):
        elsewhere.answer("anna", showing.id, "right")
    assert len(store.judgements()) == 1
    with pytest.raises(Stale):
        made.answer("anna", "0" * 32, "left")
    with pytest.raises(Stale):
        made.answer("bob", showing.id, "left")  # what lies before anna


def test_another_process_that_was_first_is_believed(store: Store) -> None:
    made = session(store, texts(3))
    other = Session(store, NEVER)
    showing = made.next("anna")
    assert showing is not None
    assert other.next("anna") == showing
    other.answer("anna", showing.id, "left")
    with pytest.raises(Answered):
        made.answer("anna", showing.id, "right")
    assert made.next("anna") != showing or made.count("anna").done == 1


def test_votes_of_another_process_are_seen(store: Store) -> None:
    rules = Rules(repeats=0.0, votes=1)
    one, other = session(store, texts(10), rules), Session(store, rules)
    judge(one, "anna", most=4)
    judge(other, "bob", most=4)
    judge(one, "carla")
    assert set(Counter(row.item for row in store.judgements().active()).values()) == {1}
    assert len(store.judgements()) == 10


def test_what_could_not_be_kept_is_given_again_and_kept_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made = session(store, texts(3))
    showing = made.next("anna")
    assert showing is not None
    real = store.add

    def breaks(one: Comparison) -> None:
        real(one)  # it arrived, but nobody heard of it
        raise StorageError("The disk is full.")

    monkeypatch.setattr(store, "add", breaks)
    with pytest.raises(StorageError):
        made.answer("anna", showing.id, "left", seconds=1.0)
    assert made.next("anna") == showing
    monkeypatch.undo()
    made.answer("anna", showing.id, "left", seconds=9.0)
    assert [one.seconds for one in store.judgements().comparisons] == [1.0]


def test_people_judge_the_same_pairs_first_and_votes_bound_them(store: Store) -> None:
    made = session(store, texts(40))
    a = {one.couple for one in judge(made, "anna", most=10)}
    b = {one.couple for one in judge(made, "bob", most=10)}
    assert a == b
    bounded = Session(store, Rules(repeats=0.0, votes=2))
    assert not a & {one.couple for one in judge(bounded, "carla")}
    votes = Counter(one.item for one in store.judgements().active())
    judge(bounded, "dave")
    judge(bounded, "eve")
    votes = Counter(one.item for one in store.judgements().active())
    assert set(votes.values()) == {2}


def test_threads_of_several_people_lose_nothing(store: Store) -> None:
    made = session(store, texts(15), Rules(repeats=0.1))
    failed: list[BaseException] = []

    def work(who: str) -> None:
        try:
            judge(made, who)
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=(f"p{k}",)) for k in range(6) for _ in range(2)]  # two tabs each
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not [error for error in failed if not isinstance(error, Answered | Stale)]
    kept = store.judgements()
    votes = Counter((one.annotator, one.item) for one in kept.active() if one.repeats is None)
    assert set(votes.values()) == {1}
    assert len(votes) == 90


def test_goals_and_growth(store: Store) -> None:
    made = session(store, texts(4), Rules(repeats=0.0, pairs=10))
    made.more = True
    judge(made, "anna")
    assert made.count("anna")[:3] == (4, 10, False)
    store.add_items(texts(7))
    made.grow([f"item-{k}" for k in range(4, 7)])
    judge(made, "anna")
    assert made.count("anna")[:3] == (7, 10, False)
    made.more = False
    assert made.count("anna")[:3] == (7, 7, True)
    short = Session(store, Rules(repeats=0.0, pairs=3))
    assert len(judge(short, "bob")) == 3
    scoped = Session(store, NEVER, scope=["item-1", "item-2"])
    assert {one.couple.item for one in judge(scoped, "carla")} == {"item-1", "item-2"}


def test_sounds_must_be_heard(store: Store) -> None:
    item = Item("tones", None, (Candidate(sound(1), "audio/wav", "x"), Candidate(sound(2), "audio/wav", "y")))
    made = session(store, [item])
    showing = made.next("anna")
    assert showing is not None
    with pytest.raises(Unplayed, match="Play both"):
        made.answer("anna", showing.id, "left", flags=("viewed",))
    assert made.next("anna") == showing
    made.answer("anna", showing.id, "skip")
    made.undo("anna", showing.id)
    made.answer("anna", made.next("anna").id, "left", flags=("played",))  # type: ignore[union-attr]
    assert store.judgements().active()[0].flags == ("played",)


def test_bad_answers_and_rules_are_refused(store: Store) -> None:
    made = session(store, texts(2))
    showing = made.next("anna")
    assert showing is not None
    for wrong in ({"choice": "best"}, {"choice": "undo"}, {"choice": "left", "strength": 4},
                  {"choice": "left", "reason": "\0"}, {"choice": "left", "criteria": {"a": "b"}},
                  {"choice": "left", "seconds": -1.0}):  # fmt: skip
        with pytest.raises(DataError):
            made.answer("anna", showing.id, **wrong)  # type: ignore[arg-type]
    assert len(store.judgements()) == 0
    for rules in ({"repeats": 0.9}, {"pairs": 0}, {"votes": -1}, {"criteria": ("a", "a")}):
        with pytest.raises(OptionError):
            Rules(**rules)  # type: ignore[arg-type]


def test_what_a_reward_is_unsure_of_comes_first(store: Store) -> None:
    items = texts(20)
    made = session(store, items, Rules(repeats=0.0, guided=1.0), guide=Guide(store, background=False))
    assert made.guide is not None
    sure = [one.item for one in made.couples][:15]
    made.guide._rewards = {
        name: made.item(item.id).by_id and _nats(item.id in sure, place)
        for item in items for place, name in enumerate(item.by_id)
    }  # fmt: skip
    first = judge(made, "anna", most=5)
    assert not {one.couple.item for one in first} & set(sure)


def _nats(sure: bool, place: int) -> Any:
    return np.array([4.0, 4.2, 3.9]) * place if sure else np.array([2.0, -2.0, 0.1]) * place


def test_a_guide_learns_from_judgements_and_knows_what_it_does_not_know(store: Store) -> None:
    polite, rude = ["thank you", "please", "kindly"], ["no", "stop", "never"]
    items = []
    for k in range(44):
        pair = (polite[k % 3], rude[k % 3]) if k < 40 else (f"zebra {k}", f"quartz {k}")
        items.append(Item(f"i{k:02}", f"q{k}", tuple(Candidate.text(f"{w} it is {k}", model="m", seed=s)
                                                     for s, w in enumerate(pair))))  # fmt: skip
    made = session(store, items, guide=Guide(store, background=False), scope=[item.id for item in items[:36]])
    while (showing := made.next("anna")) is not None:
        left, _ = made.candidates(showing)
        made.answer("anna", showing.id, "left" if left.seed == 0 else "right")
    guide = made.guide
    assert guide is not None
    assert guide.fits >= 1, guide.note
    made.grow([item.id for item in items[36:]])
    guide._due = 0
    made._consider()
    worth = {couple.item: value for couple, value in guide.worth(made.couples).items()}
    known, unknown = [worth[f"i{k:02}"] for k in range(36, 40)], [worth[f"i{k:02}"] for k in range(40, 44)]
    assert max(known) < min(unknown)
    assert max(worth.values()) <= 0.6932


def test_a_guide_that_cannot_read_says_so_and_ranking_goes_on(store: Store) -> None:
    items = [Item(f"p{k}", None, tuple(Candidate(bytes([k, s]), "image/png", "m", seed=s) for s in (0, 1)))
             for k in range(40)]  # fmt: skip
    told: list[str] = []
    made = session(store, items, guide=Guide(store, background=False, listen=told.append))
    for k in range(40):
        judge(made, "anna", "right" if k % 2 else "left", most=1)
    assert made.guide is not None
    assert made.guide.note.startswith("Pairs are drawn, not chosen: choosing them needs texts, or a model of rows")
    assert "Steps" not in made.guide.note
    assert len(told) == len(set(told)) == 1


@pytest.mark.parametrize("family", ["exact", "trees", "flow"])
def test_a_guide_reads_rows_as_their_generator_sees_them(store: Store, family: str) -> None:
    draw = np.random.default_rng(0)
    frame = pl.DataFrame({name: draw.choice(list("abcd"), 300) for name in ("x", "y", "z")})
    options = {"minutes": 0.02} if family == "flow" else {}
    gen = likely.fit(frame, family=family, progress=False, **options)
    rows = gen.sample(120, seed=1).to_dicts()
    items = [Item(f"r{k:02}", None, tuple(Candidate(json.dumps(row).encode(), "application/json", "m", seed=s)
                                          for s, row in enumerate(rows[2 * k : 2 * k + 2])))
             for k in range(60)]  # fmt: skip
    made = session(store, items, guide=Guide(store, background=False))
    assert made.guide is not None
    made.guide.generators.append(gen)
    for k in range(45):
        showing = made.next("ann")
        assert showing is not None
        left, right = (json.loads(one.content) for one in made.candidates(showing))
        made.answer("ann", showing.id, "left" if (left["x"] < right["x"]) or k % 9 == 0 else "right")
    assert made.guide.fits, made.guide.note
    assert len(made.guide.worth(made.couples)) == len(made.couples) > 50


@pytest.mark.parametrize("codec", ["image", "series"])
def test_a_guide_reads_images_and_windows_as_their_generator_sees_them_and_leaves_other_kinds_alone(
    store: Store, tmp_path: Path, codec: str
) -> None:
    draw = np.random.default_rng(0)
    data = draw.integers(0, 255, (60, 6, 6), dtype=np.uint8) if codec == "image" else draw.normal(size=(60, 12, 2))
    likely.fit(data, codec=codec, family="vae", minutes=0.02, progress=False).save(tmp_path / "flat.likely")
    (maker,) = makers([str(tmp_path / "flat.likely")], [1.0], 10)
    items = [Item(f"p{k:02}", None, tuple(maker.make([Wanted(None, (2 * k, 2 * k + 1))])[0])) for k in range(40)]
    rows = [Item(f"r{k}", None, tuple(Candidate(b'{"x": %d}' % s, "application/json", "m", seed=s) for s in (0, 1)))
            for k in range(3)]  # fmt: skip
    for one in rows:
        store.add_item(one)
        store.add(Comparison(one.id, tuple(one.by_id), "ann", "left", id=one.id))
    made = session(store, items, guide=Guide(store, background=False), scope=[item.id for item in items])
    assert made.guide is not None
    made.guide.generators.append(maker.model)
    for k in range(35):
        judge(made, "anna", "right" if k % 2 else "left", most=1)
    assert made.guide.fits, made.guide.note
    assert len(made.guide.worth(made.couples)) == len(made.couples) == 40
