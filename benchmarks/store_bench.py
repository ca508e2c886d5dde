"""Is an acknowledged judgement ever lost? Crowds and kills, on SQLite and on PostgreSQL.

    python benchmarks/store_bench.py [--scale 1.0]

8 writers and 8 readers (processes) and 100,000 judgements, one a transaction; 200 writers killed (SIGKILL) at random
moments. PostgreSQL is a server of its own, made for the run (Debian: apt-get install postgresql) and stopped behind it.
`--scale 0.1` does a tenth of both.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import results

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.server.postgres import binaries, serve  # noqa: E402

CROWD = ["acknowledged", "stored", "lost", "duplicates", "missed by readers", "read twice", "locked", "errors"]
KILLS = ["kills", "of these behind a first acknowledgement", "acknowledged", "stored", "lost", "duplicates"]


def run(*arguments: str) -> dict[str, Any]:
    """One run of store_crowd.py."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "store_crowd.py"), *arguments], stdout=subprocess.PIPE, check=True
    )
    return dict(json.loads(done.stdout))


def main() -> None:
    """Run, print, save."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--scale", type=float, default=1.0)
    scale = parser.parse_args().scale
    each, times = max(1, round(12_500 * scale)), max(1, round(200 * scale))
    programs = binaries()
    crowds, kills = [], []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        places = {"sqlite": lambda name: str(folder / f"{name}.db")}
        if programs is None:
            print("no PostgreSQL here (apt-get install postgresql): SQLite alone", flush=True)
        else:
            places["postgresql"] = stack.enter_context(serve(programs)).database
        for name, place in places.items():
            start = time.monotonic()
            crowds.append({"database": name, **run("crowd", place("crowd"), "--each", str(each))})
            kills.append({"database": name, **run("kills", place("kills"), "--times", str(times))})
            print(f"{name}: {time.monotonic() - start:.0f} seconds", flush=True)
    print("8 writers, 8 readers")
    print(results.table(crowds, ["database", *CROWD, "a second"]))
    print("killed while writing")
    print(results.table(kills, ["database", *KILLS, "halves of five", "errors", "whole"]))
    rows = [{"test": "crowd", **row} for row in crowds] + [{"test": "kills", **row} for row in kills]
    print(results.save("store", rows, scale=scale, writers=8, readers=8))
    # What is claimed, so that a run that fails says so by its status.
    for row in rows:
        assert not any(row.get(name) for name in ("lost", "duplicates", "missed by readers", "read twice", "errors")), (
            row
        )
        assert not row.get("halves of five"), row
        assert row.get("whole", True), row


if __name__ == "__main__":
    main()
