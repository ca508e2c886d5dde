"""Does it help to ask for the pairs that a reward is least sure of? And what does a question cost?

    python benchmarks/rank_bench.py

People's judgements (hh_harmless, half a) are the answers of one annotator. A third of the items is left out; of the
others pairs are asked for, drawn or guided, and after 60, 120 and 240 answers a reward on words is fitted to what was
said. Its accuracy on the items left out, over seeds; the same answers in both, asked for in another order. `taste`: the
same texts with a made-up annotator who likes short answers and questions, without noise.

Second: CPU-milliseconds of `next` and `answer` with 10,500 pairs in the store, the write to the disk included.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import results
from likely.align import exchange
from likely.align.preference import Candidate, Item, Judgements
from likely.align.reward import gather, learn, restored_by_name
from likely.server.rank import Rules, Session
from likely.server.rank.choosing import Guide
from likely.server.store import Store

DATA = Path(os.environ.get("LIKELY_SHARED_DATA", "../shared/data")) / "preferences"
AT = (60, 120, 240)
COLUMNS = ["answers by", "asked", "answers", "accuracy", "lowest", "highest", "seeds"]


def likes(item: Item) -> dict[str, float]:
    """What a made-up annotator thinks of candidates."""
    texts = {name: one.words()[-400:] for name, one in item.by_id.items()}
    return {name: 3.0 * text.count("?") - len(text) / 100 for name, text in texts.items()}


def accuracy(said: Judgements, held: list[tuple[Item, str, str]]) -> float:
    """Of a reward fitted to what was said, on (item, better, worse)."""
    looks = restored_by_name("words")
    evidence = gather(said, looks)
    piece = learn(evidence, np.arange(len(evidence.pairs)), 0)
    sides = []
    for place in (1, 2):
        raw = looks.read(*looks.take([row[0].by_id[row[place]] for row in held], [row[0].prompt for row in held]))
        sides.append(piece(raw))
    return float((sides[0] > sides[1]).mean())


def run(judgements: Judgements, answers: str, share: float, seed: int) -> list[float]:
    """Accuracies after AT answers."""
    pool, held = judgements.split(1 / 3, seed=seed)

    def better(item: Item, pair: Any) -> tuple[str, str]:
        if answers == "taste":
            worth = likes(item)
            first, second = sorted(pair, key=lambda name: -worth[name])
            return first, second
        return truth[item.id, frozenset(pair)]

    truth = {}
    for pair in judgements.pairs():
        names = (pair.left.id, pair.right.id) if pair.outcome == "left" else (pair.right.id, pair.left.id)
        truth[pair.item, frozenset(names)] = names
    by = judgements.by_item
    rows = {(pair.item, frozenset((pair.left.id, pair.right.id))) for pair in held.pairs()}
    tests = [(by[item], *better(by[item], tuple(pair))) for item, pair in rows]
    found = []
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "j.db") as store:
        store.add_items(pool.items)
        guide = Guide(store, seed=seed, background=False)
        session = Session(store, Rules(seed=seed, repeats=0.0, guided=share), guide=guide if share else None)
        for count in range(1, AT[-1] + 1):
            showing = session.next("ann")
            assert showing is not None
            first, _ = better(by[showing.couple.item], showing.shown)
            session.answer("ann", showing.id, "left" if showing.shown[0] == first else "right")
            if count in AT:
                found.append(accuracy(store.judgements(), tests))
    return found


def costs() -> dict[str, float]:
    """CPU-milliseconds of a question and of an answer."""
    asks, answers = [], []
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "j.db") as store:
        models = ("a", "b", "c")
        store.add_items(
            Item(f"i{k}", f"q{k}", tuple(Candidate.text(f"{m} {k}", model=m) for m in models)) for k in range(3500)
        )
        session = Session(store, Rules(seed=1))
        for _ in range(300):
            begun = time.process_time()
            showing = session.next("ann")
            asks.append(time.process_time() - begun)
            assert showing is not None
            begun = time.process_time()
            session.answer("ann", showing.id, "left")
            answers.append(time.process_time() - begun)
    return {"next_ms": 1e3 * statistics.median(asks), "answer_ms": 1e3 * statistics.median(answers)}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    seeds = parser.parse_args().seeds
    judgements = exchange.read(DATA / "hh_harmless_base_test_half_a.jsonl.gz")
    two = {
        item.id: item for item in judgements.items if len(item.candidates) == 2
    }  # of more, some pairs have no answer
    judgements = Judgements(tuple(two.values()), tuple(one for one in judgements.comparisons if one.item in two))
    rows: list[dict[str, Any]] = []
    for answers in ("people", "taste"):
        for asked, share in (("drawn", 0.0), ("guided", 0.7)):
            found = np.array([run(judgements, answers, share, seed) for seed in range(seeds)])
            for k, count in enumerate(AT):
                rows.append({
                    "answers by": answers, "asked": asked, "answers": count, "accuracy": float(found[:, k].mean()),
                    "lowest": float(found[:, k].min()), "highest": float(found[:, k].max()), "seeds": seeds,
                })  # fmt: skip
            print(results.table(rows[-len(AT) :], COLUMNS), flush=True)
    cost = costs()
    print(cost)
    print(results.save("rank", rows, costs=cost))


if __name__ == "__main__":
    main()
