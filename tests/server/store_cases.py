"""What both databases must do; test_store.py and test_store_postgres.py run it over their own places."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from likely.align.preference import Candidate, Comparison, Item, Judgements
from likely.errors import DataError, OptionError
from likely.server.store import Store
from tests.align.judged import item, say

ROOT = Path(__file__).parents[2]
Q = item("q", "abc")


def crowd(*arguments: str) -> dict[str, Any]:
    """A run of benchmarks/store_crowd.py, in processes of its own."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "store_crowd.py"), *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


ODD = [
    "'; DROP TABLE likely_item; --", 'a"b', "%s %(x)s :name ? $1", "\\", "\u202eמימין\u202c",
    "\U0001f468\u200d\U0001f469",
    "\x01\x1f\x7f", "é vs e\u0301", " lead and trail ", "\r\n\t", "<script>alert(1)</script>", "\ufffe\uffff",
]  # fmt: skip


class Cases:
    """Needs a fixture `place`: a new, empty one."""

    def test_what_is_stored_comes_back_whole(self, place: str) -> None:
        picture = Item("pic \U0001f600", {"a": [1, None, "\0"], "ü": 0.1}, (
            Candidate(bytes(range(256)), "image/png", "vae.likely", "ab" * 32, 2**63 - 1, {"t": 0.7, "x": "\0"}),
            Candidate(b"", "audio/wav"), Candidate.text("\0")))  # fmt: skip
        one = say(Q, "left", strength=3, criteria={"style": "tie"}, reason="x", seconds=1 / 3, flags=("viewed",))
        rows = [
            one, say(Q, "ranking", "cab", ranking=((2,), (0, 1))), say(Q, "skip", "abc", time=""),
            say(Q, "left", "ba", repeats=one.id), Comparison(picture.id, tuple(picture.by_id)[:2], "bob", "bad"),
        ]  # fmt: skip
        with Store(place) as store:
            store.add_items([Q, picture])
            for row in rows:
                store.add(row)
            rows.append(store.undo(one.id, "ann"))
        with Store(place) as store:
            made = store.judgements()
            assert made.comparisons == tuple(rows)
            assert set(made.items) == {Q, picture}
            assert made.by_item[picture.id].prompt == picture.prompt
            assert [one.parameters for one in made.by_item[picture.id].candidates] == [
                one.parameters for one in picture.candidates
            ]
            assert one not in made.active()
            assert store.counts() == {"items": 2, "candidates": 6, "comparisons": 6, "undos": 1, "annotators": 2}
            assert store.items([picture.id]) == [picture]
            assert store.item_ids() == sorted(["q", picture.id])

    def test_odd_texts_and_a_megabyte(self, place: str) -> None:
        whole = "x\U0001f600" * 200_000  # a megabyte
        items = [Item(text, text, (Candidate.text(text, model=text), Candidate.text(whole))) for text in ODD]
        rows = [
            Comparison(one.id, tuple(one.by_id), text, "left", criteria={text: "tie"}, reason=text, flags=(text,),
                       id=text)
            for one, text in zip(items, ODD, strict=True)
        ]  # fmt: skip
        with Store(place) as store:
            store.merge(Judgements(tuple(items), tuple(rows)))
            made = store.judgements()
        assert made.comparisons == tuple(rows)
        assert {one.id: one for one in made.items} == {one.id: one for one in items}

    def test_content_is_kept_once(self, place: str) -> None:
        content = b"z" * 300_000
        with Store(place) as store:
            store.add_items(
                Item(f"i{k}", k, (Candidate(content, model="m", seed=k), Candidate(b"y"))) for k in range(20)
            )
            question = store._sa.text("SELECT sum(length(content)) FROM likely_blob")
            size = store._database.read(lambda connection: connection.execute(question).scalar(), "sizes")
        assert size == 300_001

    def test_outlines_are_items_without_content(self, place: str) -> None:
        with Store(place) as store:
            store.add_items([Q, item("other", "xy")])
            whole, (one,) = store.outlines(), store.outlines(["q"])
            assert [line.item for line in whole] == ["other", "q"]
            assert store.outlines(["nowhere"]) == []
        assert (one.item, one.prompt) == ("q", Q.prompt)
        assert [tuple(sketch) for sketch in one.candidates] == [
            (x.id, x.sha256, x.media, x.model, x.artifact, x.seed, x.parameters) for x in Q.candidates
        ]

    def test_the_same_again_is_acknowledged_and_kept_once(self, place: str) -> None:
        one = say(Q, "left", reason="first")
        with Store(place) as store, Store(place) as other:
            for _ in range(3):
                store.add_item(Q)
                other.add(one)
                store.add_all([one, one])
            assert store.undo(one.id, "ann") == other.undo(one.id, "ann")
            assert store.counts()["comparisons"] == 2
            other.merge(store.judgements())
            assert store.counts() == {"items": 1, "candidates": 3, "comparisons": 2, "undos": 1, "annotators": 1}
            with pytest.raises(DataError, match=f"another judgement '{one.id}'.* differ in reason"):
                store.add(say(Q, "left", reason="second", id=one.id, time=one.time))

    def test_items_grow_but_prompts_do_not_change(self, place: str) -> None:
        more = Item("q", Q.prompt, item("q", "cde").candidates)
        with Store(place) as store, Store(place) as other:
            store.add_item(Q)
            store.add(say(Q, "left"))
            other.add_item(more)
            store.add(say(more, "left", "de"))  # what another connection added is known
            assert [one.model for one in store.items(["q"])[0].candidates] == list("abcde")
            with pytest.raises(DataError, match="different prompt"):
                store.add_item(Item("q", "else", Q.candidates))

    def test_what_cannot_be_right_is_refused_and_nothing_of_it_stored(self, place: str) -> None:
        one, undo = say(Q, "left"), say(Q, "left").taken_back()
        with Store(place) as store:
            store.add_item(Q)
            store.add(one)
            for bad, words in [
                (say(item("other"), "left"), "item 'other', which is not in the store"),
                (Comparison("q", ("x", "y"), "ann", "left"), "does not have"),
                (say(Q, "left", repeats="no"), "repeats 'no'"),
                (undo, "undoes"),
                (say(Q, "left", by="bob", repeats=one.id), "another item or annotator"),
            ]:
                with pytest.raises(DataError, match=words):
                    store.add_all([say(Q, "left"), bad])
            for id, by, words in [("no", "ann", "no judgement 'no'"), (one.id, "bob", "another annotator"),
                                  (store.undo(one.id, "ann").id, "ann", "an undo itself")]:  # fmt: skip
                with pytest.raises(DataError, match=words):
                    store.undo(id, by)
            with pytest.raises(DataError, match="no item 'other'"):
                store.items(["other"])
            with pytest.raises(OptionError, match="100,000"):
                store.page(size=0)
            with pytest.raises(DataError, match="NUL"):
                store.add(say(Q, "left", reason="\0"))
            assert store.counts()["comparisons"] == 2

    def test_pages_follow_the_order_of_storing(self, place: str) -> None:
        rows = [say(Q, "left") for _ in range(25)]
        with Store(place) as store:
            store.add_item(Q)
            assert store.page() == ((), 0)
            store.add_all(rows)
            pages = list(store.pages(10))
            assert [len(page.comparisons) for page in pages] == [10, 10, 5]
            assert [one for page in pages for one in page.comparisons] == rows
            late = say(Q, "right")
            store.add(late)
            assert store.page(pages[-1].last).comparisons == (late,)

    def test_threads_share_a_store(self, place: str) -> None:
        errors: list[BaseException] = []
        with Store(place) as store:
            store.add_item(Q)

            def work(k: int) -> None:
                try:
                    for _ in range(10):
                        store.add(say(Q, "left", by=f"t{k}"))
                        store.page()
                except BaseException as error:
                    errors.append(error)

            threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert not errors
            assert store.counts()["comparisons"] == 60

    def test_a_crowd_of_processes_loses_nothing(self, place: str) -> None:
        made = crowd("crowd", place, "--writers", "8", "--readers", "8", "--each", "50")
        assert made["first error"] == ""
        assert made["acknowledged"] == made["stored"] == 8 * 51
        for name in ("lost", "duplicates", "missed by readers", "read twice", "locked", "errors"):
            assert made[name] == 0, made

    def test_killed_writers_lose_nothing_acknowledged(self, place: str) -> None:
        made = crowd("kills", place, "--times", "10")
        assert made["kills"] == 10
        assert made["acknowledged"] > 0
        for name in ("lost", "duplicates", "halves of five", "errors"):
            assert made[name] == 0, made
        assert made["whole"]
