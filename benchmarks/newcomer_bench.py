"""A newcomer's hour: from `likely rank` to a model that follows their taste, by the commands of docs/align/taste.md.

    python benchmarks/newcomer_bench.py --minutes 20

The newcomer is made up: they like about a dozen words and politeness (`rlhf_bench.brief`), call near pairs ties, err in
one answer of ten, and take ten seconds a pair, which are counted though not waited for. They answer at the page's own
routes, over HTTP. Then one line, `likely rlhf`. Said is what their taste thinks of answers to prompts that were neither
judged nor learned from, of the model before and after, at temperature 1: the mean, and the share of pairs won.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import results
from likely.language.checkpoint import Checkpoint, opened
from likely.language.decode.engine import Engine
from likely.language.decode.sampling import Sampling
from rlhf_bench import asked, brief

SECONDS, ERRS, NEAR = 10.0, 0.1, 0.15
TOKENS = 48
COLUMNS = [
    "pairs",
    "wall minutes",
    "with thinking",
    "taste before",
    "taste after",
    "won",
    "words before",
    "words after",
]


def call(link: str, path: str, said: dict[str, Any] | None = None) -> dict[str, Any]:
    """One request of the page."""
    address, _, token = link.partition("#")
    request = urllib.request.Request(
        address.rstrip("/") + path, None if said is None else json.dumps(said).encode(),
        {"Authorization": f"Bearer {token.partition('=')[2] or token}", "Content-Type": "application/json"},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=600) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def judge(folder: Path, pairs: int) -> float:
    """Judge so many pairs at the page; wall minutes."""
    began, draw = time.monotonic(), random.Random(0)
    line = [sys.executable, "-m", "likely", "rank", "smollm2", "--prompts", "prompts.txt", "--pairs", str(pairs),
            "--tokens", str(TOKENS), "--no-open", "--port", "0"]  # fmt: skip
    with subprocess.Popen(line, cwd=folder, stdout=subprocess.PIPE, text=True) as page:
        assert page.stdout is not None
        link = ""
        while not link:
            found = re.search(r"http://\S+#\S+", page.stdout.readline())
            link = found[0] if found else ""
        done = 0
        while True:
            state = call(link, "/api/state")
            showing = state["showing"]
            if showing is None:
                if state["count"]["over"]:
                    break
                time.sleep(0.5)
                continue
            left, right = brief([showing["left"]["text"], showing["right"]["text"]])
            choice = "tie" if abs(left - right) < NEAR else "left" if left > right else "right"
            if choice != "tie" and draw.random() < ERRS:
                choice = "right" if choice == "left" else "left"
            call(link, "/api/answer", {"id": showing["id"], "choice": choice, "seconds": SECONDS, "flags": ["viewed"]})
            done += 1
        page.terminate()
    print(f"{done} answers", flush=True)
    return (time.monotonic() - began) / 60


def speak(model: Checkpoint, prompts: list[str]) -> list[str]:
    """Two answers to each prompt."""
    ids = [model.chat([{"role": "user", "content": prompt}]) for prompt in prompts]
    found = Engine(model).generate(ids, Sampling(tokens=TOKENS, seed=5), n=2)
    return [one.text for answers in found for one in answers]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--folder", type=Path, help="an empty folder that is kept, to look at")
    options = parser.parse_args()
    prompts = asked()
    random.Random(0).shuffle(prompts)
    held, prompts = prompts[:60], prompts[60:]
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or Path(name)
        folder.mkdir(exist_ok=True)
        (folder / "prompts.txt").write_text("\n".join(prompt.replace("\n", " ") for prompt in prompts))
        judged = judge(folder, options.pairs)
        began = time.monotonic()
        line = [sys.executable, "-m", "likely", "rlhf", "smollm2", "--judgements", "judgements.db", "--prompts",
                "prompts.txt", "--tokens", str(TOKENS), "--minutes", str(options.minutes), "-o", "mine"]  # fmt: skip
        subprocess.run(line, cwd=folder, check=True, env=dict(os.environ))
        wall = judged + (time.monotonic() - began) / 60
        before, after = speak(opened("smollm2"), held), speak(opened(folder / "mine" / "model"), held)
        told = json.loads((folder / "mine" / "rlhf.json").read_text())
    was, now = brief(before), brief(after)
    won = statistics.mean((b > a) + 0.5 * (b == a) for a, b in zip(was, now, strict=True))
    for question, one, other in list(zip(held, before[::2], after[::2], strict=True))[:5]:
        print(json.dumps({"prompt": question, "before": one, "after": other}, indent=1), flush=True)
    row = {
        "pairs": options.pairs, "wall minutes": wall, "with thinking": wall + options.pairs * SECONDS / 60,
        "taste before": statistics.mean(was), "taste after": statistics.mean(now), "spread": statistics.stdev(was),
        "won": won, "words before": statistics.mean(len(text.split()) for text in before),
        "words after": statistics.mean(len(text.split()) for text in after), "kl": told["kl"],
        "steps": told["steps"], "reward before": told["before"], "reward after": told["after"],
        "accuracy": told["judgements"]["accuracy"],
        "examples": [{"prompt": q, "before": a, "after": b}
                     for q, a, b in list(zip(held, before[::2], after[::2], strict=True))[:4]],
    }  # fmt: skip
    results.save("newcomer", [row])
    print(results.table([row], COLUMNS))


if __name__ == "__main__":
    main()
