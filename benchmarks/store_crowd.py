"""Many processes at one store of judgements, and processes killed while they write; prints what came of it as JSON.

    python benchmarks/store_crowd.py crowd PLACE --writers 8 --readers 8 --each 50
    python benchmarks/store_crowd.py kills PLACE --times 10

crowd: each writer stores `each` judgements, one a transaction (one in fifty is taken back again); each reader reads on
behind the last number it saw until everything is written, so a row that became visible too late would be missed.
kills: a writer notes what was acknowledged, one judgement or five at once, and is killed (SIGKILL) after a random
delay; in the end every acknowledged judgement must be there, and of five at once all or none.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from likely.align.preference import Candidate, Comparison, item_of
from likely.server.store import Store

ITEMS = [
    item_of(f"prompt {k} \U0001f600 שלום", [Candidate.text(f"answer {j} of {k}", model=f"m{j}") for j in range(3)])
    for k in range(50)
]


def judgement(rng: random.Random, name: str, annotator: str) -> Comparison:
    """A judgement like people's."""
    item = rng.choice(ITEMS)
    shown = tuple(rng.sample(list(item.by_id), 2))
    return Comparison(
        item.id, shown, annotator, rng.choice(["left", "right", "tie", "bad", "skip"]), strength=rng.randrange(4),
        reason="shorter, and 'right' \"too\"", seconds=rng.uniform(1, 60), flags=("viewed",), id=name,
    )  # fmt: skip


def fork(work: Callable[[], None], errors: Path) -> int:
    """Do it in a process of its own; what went wrong is noted."""
    child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException as error:
        with errors.open("a") as file:
            file.write(f"{type(error).__name__}: {error}\n")
    finally:
        os._exit(0)


def write(place: str, number: int, each: int, acknowledged: Path) -> None:
    """One writer."""
    rng = random.Random(number)
    with Store(place) as store, acknowledged.open("w") as file:
        for k in range(each):
            one = judgement(rng, f"w{number}-{k}", f"annotator {number}")
            store.add(one)
            file.write(one.id + "\n")
            if k % 50 == 49:
                file.write(store.undo(one.id, one.annotator).id + "\n")


def read(place: str, done: Path, seen: Path) -> None:
    """One reader."""
    names, last = [], 0
    with Store(place) as store:
        while True:
            over = done.exists()
            page = store.page(last)
            names += [one.id for one in page.comparisons]
            last = page.last
            if over and not page.comparisons:
                break
            if not page.comparisons:
                time.sleep(0.02)
    seen.write_text("\n".join(names))


def crowd(place: str, writers: int, readers: int, each: int) -> dict[str, Any]:
    """Writers and readers at once."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        errors, done = folder / "errors", folder / "done"
        with Store(place) as store:
            store.add_items(ITEMS)
        start = time.monotonic()
        reading = [fork(lambda k=k: read(place, done, folder / f"r{k}"), errors) for k in range(readers)]
        writing = [fork(lambda k=k: write(place, k, each, folder / f"w{k}"), errors) for k in range(writers)]
        for child in writing:
            os.waitpid(child, 0)
        seconds = time.monotonic() - start
        done.touch()
        for child in reading:
            os.waitpid(child, 0)
        acknowledged = [line for k in range(writers) for line in (folder / f"w{k}").read_text().split()]
        with Store(place) as store:
            judgements = store.judgements()
        stored = Counter(one.id for one in judgements.comparisons)
        seen = [(folder / f"r{k}").read_text().split() if (folder / f"r{k}").exists() else [] for k in range(readers)]
        said = errors.read_text().splitlines() if errors.exists() else []
        return {
            "acknowledged": len(acknowledged),
            "stored": sum(stored.values()),
            "lost": len(set(acknowledged) - stored.keys()),
            "duplicates": sum(n - 1 for n in stored.values()),
            "missed by readers": sum(len(stored.keys() - set(names)) for names in seen),
            "read twice": sum(len(names) - len(set(names)) for names in seen),
            "locked": sum("locked" in line for line in said),
            "errors": len(said),
            "first error": said[0] if said else "",
            "seconds": round(seconds, 2),
            "a second": round(len(acknowledged) / seconds, 1),
        }


def write_forever(place: str, run: int, acknowledged: Path) -> None:
    """One at a time and five at once, in turn, until killed."""
    rng = random.Random(run)
    file = os.open(acknowledged, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with Store(place) as store:
        k = 0
        while True:
            five = [judgement(rng, f"k{run}-{k}-{j}", "ann") for j in range(5 if k % 2 else 1)]
            store.add_all(five)
            os.write(file, "".join(f"{one.id}\n" for one in five).encode())
            k += 1


def kills(place: str, times: int, longest: float, seed: int) -> dict[str, Any]:
    """A writer killed again and again."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name:
        acknowledged, errors = Path(name) / "acknowledged", Path(name) / "errors"
        acknowledged.touch()
        with Store(place) as store:
            store.add_items(ITEMS)
        met = writing = 0
        for run in range(times):
            before = acknowledged.stat().st_size
            child = fork(lambda run=run: write_forever(place, run, acknowledged), errors)
            time.sleep(rng.uniform(0.0, longest))
            os.kill(child, signal.SIGKILL)
            met += os.WIFSIGNALED(os.waitpid(child, 0)[1])
            writing += acknowledged.stat().st_size > before
        with Store(place) as store:
            stored = Counter(one.id for one in store.judgements().comparisons)
        said = acknowledged.read_text().split()
        parts = Counter(name.rpartition("-")[0] for name in stored)
        five = [n for name, n in parts.items() if int(name.rpartition("-")[2]) % 2]
        return {
            "kills": met,
            "of these behind a first acknowledgement": writing,
            "acknowledged": len(said),
            "stored": sum(stored.values()),
            "lost": len(set(said) - stored.keys()),
            "duplicates": sum(n - 1 for n in stored.values()),
            "halves of five": sum(n != 5 for n in five),
            "errors": len(errors.read_text().splitlines()) if errors.exists() else 0,
            "whole": _whole(place),
        }


def _whole(place: str) -> bool:
    """SQLite's own check of the file."""
    if "://" in place:
        return True
    with sqlite3.connect(place) as connection:
        return bool(connection.execute("PRAGMA integrity_check").fetchone() == ("ok",))


def main() -> None:
    """Run, print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["crowd", "kills"])
    parser.add_argument("place")
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--readers", type=int, default=8)
    parser.add_argument("--each", type=int, default=50)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--longest", type=float, default=0.4, help="seconds until a kill, at most")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.what == "crowd":
        made = crowd(given.place, given.writers, given.readers, given.each)
    else:
        made = kills(given.place, given.times, given.longest, given.seed)
    json.dump(made, sys.stdout)


if __name__ == "__main__":
    main()
