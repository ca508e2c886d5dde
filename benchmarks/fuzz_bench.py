"""Hostile files: 2,000 damaged models, and what each one does.

    python benchmarks/fuzz_bench.py [--count 2000]

From a small real model: cuts, flipped bits, edited headers, and edits *with the checksum made right again*, so that
what lies behind it (codec state, config, arrays) is reached. Each file is loaded, and if that works sampled from, in a
forked process with a time limit and an audit hook that notes code being executed, programs started, sockets opened
and files written. Claims: no crash, no hang, nothing executed, and every refusal one of the library's own errors.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import pickle
import random
import select
import signal
import struct
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import likely
import results
from likely import artifact
from likely.errors import LikelyError

LIMIT = 20.0  # seconds for one file
FORBIDDEN = ("exec", "compile", "subprocess.Popen", "os.system", "os.exec", "socket.connect", "os.remove", "os.rename")


def edit(value: Any, rng: random.Random) -> Any:
    """The same JSON with one place changed."""
    value = copy.deepcopy(value)
    place, parent, key = value, None, None
    while isinstance(place, dict | list) and place and (parent is None or rng.random() < 0.9):
        parent, key = place, rng.choice(list(place)) if isinstance(place, dict) else rng.randrange(len(place))
        place = place[key]
    if parent is not None:
        odd = [None, -1, 0, 1, 2**31, 2**63, 1e308, -0.5, "", "x" * 1000, "../../x", [], {}, [[]], True, "os:system"]
        if rng.random() < 0.2:
            del parent[key]
        elif isinstance(place, int | float) and not isinstance(place, bool) and rng.random() < 0.5:
            parent[key] = place * rng.choice([-1, 2, 1000]) + rng.choice([-1, 0, 1])
        else:
            parent[key] = rng.choice(odd)
    return value


def damage(good: bytes, card: dict[str, Any], tensors: dict[str, Any], path: Path, rng: random.Random) -> str:
    """Write one damaged file; returns how it was damaged."""
    kind = rng.choice(["cut", "bits", "header", "card", "card", "array", "array", "pickle"])
    if kind == "cut":
        path.write_bytes(good[: rng.randrange(len(good))])
    elif kind == "bits":
        data = bytearray(good)
        for _ in range(rng.choice([1, 2, 8, 100])):
            data[rng.randrange(min(len(data), rng.choice([64, 4096, len(data)])))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
    elif kind == "header":
        (length,) = struct.unpack("<Q", good[:8])
        text = json.dumps(edit(json.loads(good[8 : 8 + length]), rng)).encode()
        path.write_bytes(struct.pack("<Q", len(text)) + text + good[8 + length :])
    elif kind == "card":
        artifact.write(path, edit(card, rng), tensors)
    elif kind == "array":
        name = rng.choice(sorted(tensors))
        tensor = tensors[name].clone()
        way = rng.randrange(5)
        if way == 0 and tensor.numel():
            flat = tensor.view(-1)
            for _ in range(rng.choice([1, 1, 5])):
                flat[rng.randrange(len(flat))] = rng.choice([-1, 0, 1, 7, 127])
        elif way == 1:
            tensor = tensor[: len(tensor) // 2]
        elif way == 2:
            tensor = tensor.double()
        elif way == 3:
            tensor = tensor[None]
        others = {key: value for key, value in tensors.items() if key != name}
        artifact.write(path, card, others if way == 4 else {**others, name: tensor.contiguous()})
    else:
        path.write_bytes(pickle.dumps({"model": list(range(9))}))
    return kind


def attempt(path: Path, report: int) -> None:
    """In the child: load, sample, and write one line of what happened."""
    seen: list[str] = []
    watching = [True]

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if watching[0] and event.startswith(FORBIDDEN):
            seen.append(event)
        if watching[0] and event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
            seen.append(f"open {arguments[0]!r} {arguments[1]}")

    sys.addaudithook(watch)
    try:
        likely.load(path).sample(5, seed=0)
        outcome = "works"
    except LikelyError as error:
        outcome = f"refused: {type(error).__name__}"
    except BaseException as error:
        outcome = f"OTHER: {type(error).__name__}: {str(error)[:150]}"
    watching[0] = False
    os.write(report, json.dumps([outcome, seen]).encode()[:60_000])
    os._exit(0)


def one(path: Path) -> tuple[str, list[str]]:
    """Load a file in a forked process."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        attempt(path, write)
    os.close(write)
    ready, _, _ = select.select([read], [], [], LIMIT)
    if not ready:
        os.kill(child, signal.SIGKILL)
    text = os.read(read, 65_536) if ready else b""
    os.close(read)
    _, status = os.waitpid(child, 0)
    if not text:
        return ("HANG" if not ready else f"CRASH: status {status}"), []
    outcome, seen = json.loads(text)
    return outcome, seen


def main() -> None:
    """Run, print, save."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=2000)
    count = parser.parse_args().count
    rng = random.Random(0)
    gen = likely.fit(likely.data.adult()[:800], target="income-per-year", progress=False)
    table: Counter[tuple[str, str]] = Counter()
    bad, executed = [], []
    with tempfile.TemporaryDirectory() as name:
        good = gen.save(Path(name) / "good.likely")
        card, tensors = artifact.read(good)
        likely.load(good).sample(5, seed=0)  # everything that is imported late is imported now
        path = Path(name) / "bad.likely"
        for i in range(count):
            kind = damage(good.read_bytes(), card, tensors, path, rng)
            outcome, seen = one(path)
            table[kind, outcome.split(":")[0] if not outcome.startswith("OTHER") else outcome[:60]] += 1
            if outcome.startswith(("OTHER", "CRASH", "HANG")):
                bad.append({"file": i, "kind": kind, "outcome": outcome})
                print(bad[-1], flush=True)
            executed += [f"{kind}: {event}" for event in seen]
    rows = [{"damage": kind, "outcome": outcome, "files": n} for (kind, outcome), n in sorted(table.items())]
    print(results.table(rows, ["damage", "outcome", "files"]))
    print(f"{count} files; crashes, hangs and foreign errors: {len(bad)}; forbidden events: {len(executed)}")
    print(results.save("fuzz", rows, files=count, faults=bad, forbidden_events=executed[:50]))


if __name__ == "__main__":
    main()
