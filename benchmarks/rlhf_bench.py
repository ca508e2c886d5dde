"""SmolLM2-135M follows a taste: PPO by LoRA on two cores, two rewards, five seeds.

    python benchmarks/rlhf_bench.py                       both rewards, seeds 0 to 4 (three hours of one core)
    python benchmarks/rlhf_bench.py --only brief --seeds 0 1

    taste   a reward model on pairs of the model's own answers, on its states. Who judged them, erring in one of ten, is
            a reward model of people's judgements in three sets (PandaLM, MT-bench, LLMBar natural); it is the judge
            after, too, and the policy never sees it (the protocol of Gao et al. 2023, arXiv:2210.10760)
    brief   a Python function: about a dozen words, and polite ones among them; it is its own judge, on prompts that
            were left out

Asked: reward up by a standard deviation of the start at no more than 10 nats an answer; better than the start in 70 %
of pairs by the judge, on prompts left out; perplexity of tales (Grimm) no more than 10 % up; 60 CPU-minutes.
Floor: the start against itself (50 %, 0 nats). Beside it: the best of 16 answers of the start by the reward.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import results
from likely.align import exchange
from likely.align.preference import Candidate, Comparison, Item, Judgements
from likely.align.reward import RewardModel, fit_reward
from likely.apps.rlhf import answering, taste
from likely.language import lora
from likely.language.checkpoint import Checkpoint, opened
from likely.language.decode.engine import Engine
from likely.language.decode.sampling import Sampling
from likely.language.policy import Speaking
from reward_bench import CACHE, Kept

SHARED = Path(os.environ.get("LIKELY_SHARED_DATA", "../shared/data"))
SETS = ("pandalm_testset_half_a", "mt_bench_human_majority_200", "llmbar_natural")
POLITE = ("please", "thank", "happy to", "glad", "welcome", "hope this helps", "of course", "certainly", "sure")
LONGEST = 300  # characters of a prompt
TOKENS = {"taste": 48, "brief": 32}
STEPS = {"taste": 24, "brief": 48}
OPTIONS: dict[str, dict[str, Any]] = {
    "taste": {"beta": 0.1, "horizon": 128, "rate": 1.75e-3},
    "brief": {"beta": 0.15},
}
ERRS = 0.1  # of the judge's answers
BEST = 16
COLUMNS = ["reward", "seed", "before", "after", "spread", "risen", "won", "judge won", "kl", "perplexity before",
           "perplexity after", "best of 16 won", "cpu minutes"]  # fmt: skip


def brief(answers: list[str]) -> list[float]:
    """About twelve words, and one or two that are polite."""
    return [
        -abs(len(text.split()) - 12) / 10 + min(2, sum(word in text.lower() for word in POLITE)) for text in answers
    ]


def judged() -> Judgements:
    """The three sets together."""
    first, *others = (exchange.read(SHARED / "preferences" / f"{name}.jsonl.gz") for name in SETS)
    return first.merge(*others)


def asked() -> list[str]:
    """Their prompts, but for long ones."""
    return [item.prompt for item in judged().items if isinstance(item.prompt, str) and len(item.prompt) < LONGEST]


def tales(n: int = 24, size: int = 900) -> list[str]:
    """Passages of tales that no reward knows."""
    with gzip.open(SHARED / "grimm" / "grimm_selected.tsv.gz", "rt", encoding="utf-8") as file:
        text = " ".join(row["Content"] for row in csv.DictReader(file, delimiter="\t"))
    step = len(text) // (n + 1)
    return [text[at * step : at * step + size].partition(" ")[2] for at in range(1, n + 1)]


def ceiling(base: Checkpoint, done: answering.Aligned, judge: Any, tokens: int, reward: Any) -> float:
    """The share of pairs that the best of 16 answers of the start, by the reward, wins by the judge."""
    seen: dict[str, Any] = {}
    for prompt in done.prompts:
        seen.setdefault(json.dumps(prompt), prompt)
    prompts = list(seen.values())
    ids = [base.chat([{"role": "user", "content": prompt}]) for prompt in prompts]
    found = Engine(base, kernel="plain").generate(ids, Sampling(tokens=tokens, seed=77), n=BEST)
    every = taste.Taste(base, reward, {})
    law = taste.Taste(base, judge, {})
    won = []
    for prompt, answers in zip(prompts, found, strict=True):
        texts = [one.text for one in answers]
        best = texts[int(np.argmax(every.rewards(texts, [prompt] * BEST)))]
        ours = law.rewards([best], [prompt])[0]
        theirs = [text for other, text in zip(done.prompts, done.before.texts, strict=True) if other == prompt]
        for value in law.rewards(theirs, [prompt] * len(theirs)):
            won.append(float(ours > value) + 0.5 * float(ours == value))
    return float(np.mean(won))


def run(name: str, seed: int, models: tuple[RewardModel, RewardModel] | None, best: bool) -> dict[str, Any]:
    """One row."""
    base = opened("smollm2")
    prompts = asked()
    reward, judge = (brief, brief) if models is None else models
    began = time.process_time()
    done = answering.align(
        base, prompts, reward, judge=judge, seed=seed, steps=STEPS[name], held=tales(),
        speaking=Speaking(tokens=TOKENS[name]), **OPTIONS[name],
        watch=lambda step, row: print(f"{name} {seed} {step}: reward {row['reward']:.3f} kl {row['kl']:.2f} length "
                                      f"{row['length']:.1f} ended {row['ended']:.2f}", flush=True),
    )  # fmt: skip
    spent = (time.process_time() - began) / 60
    told = done.entry
    print(done, flush=True)
    for one in told["examples"][:3]:
        print(json.dumps(one, indent=1), flush=True)
    row = {
        "reward": name, "seed": seed, "before": told["before"], "after": told["after"], "spread": told["spread before"],
        "risen": (told["after"] - told["before"]) / told["spread before"], "won": told["won"],
        "judge won": told["judge won"], "kl": told["kl"], "perplexity before": told["perplexity before"],
        "perplexity after": told["perplexity after"], "cpu minutes": spent, "length before": told["length before"],
        "length after": told["length after"], "ended before": told["ended before"], "ended after": told["ended after"],
        "steps": told["steps"], "stopped": told["stopped"],
        "curve": [[step["reward"], step["kl"]] for step in told["rows"]],
        "examples": told["examples"][:4] if name == "brief" else told["examples"][:2],
    }  # fmt: skip
    if best:
        lora.remove(base.network)
        row["best of 16 won"] = ceiling(base, done, judge, TOKENS[name], reward)
    return row


def tastes(pairs: int = 2) -> tuple[RewardModel, RewardModel]:
    """The reward that is learned, and the judge whose judgements it was learned from."""

    def told(done: int, of: int) -> None:
        if done % 64 < 8:
            print(f"read {done}/{of}", flush=True)

    base = opened("smollm2")
    kept = CACHE / "learned.likely", CACHE / "gold.likely"
    if all(path.exists() for path in kept):
        return RewardModel.load(kept[0], base), RewardModel.load(kept[1], base)
    gold = fit_reward(judged(), Kept(base, listen=told))
    print(gold.report, flush=True)
    prompts = asked()
    ids = [base.chat([{"role": "user", "content": prompt}]) for prompt in prompts]
    found = Engine(base, kernel="plain").generate(ids, Sampling(tokens=TOKENS["taste"], seed=11), n=2 * pairs)
    said = [prompt for prompt, answers in zip(prompts, found, strict=True) for _ in answers]
    texts = [one.text for answers in found for one in answers]
    worth = torch.from_numpy((gold.piece(Kept(base, listen=told).read(texts, said)) - gold.shift) / gold.scale)
    rng = torch.Generator().manual_seed(0)
    items, votes = [], []
    for at in range(0, len(texts), 2):
        both = Candidate.text(texts[at], seed=at), Candidate.text(texts[at + 1], seed=at + 1)
        outcome = int(worth[at] < worth[at + 1]) ^ int(torch.rand((), generator=rng) < ERRS)
        items.append(Item(f"pair {at}", said[at], both))
        votes.append(Comparison(items[-1].id, tuple(one.id for one in both), "judge", ("left", "right")[outcome]))
    learned = fit_reward(Judgements(tuple(items), tuple(votes)), Kept(base, listen=told))
    print(learned.report, flush=True)
    mine = torch.from_numpy((learned.piece(Kept(base).read(texts, said)) - learned.shift) / learned.scale)
    apart = torch.stack([worth[::2] - worth[1::2], mine[::2] - mine[1::2]])
    print(f"within a pair the reward and the judge correlate by {float(torch.corrcoef(apart)[0, 1]):.2f}", flush=True)
    learned.save(kept[0])
    gold.save(kept[1])
    return learned, gold


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=list(TOKENS), nargs="+", default=list(TOKENS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--name", default="rlhf")
    options = parser.parse_args()
    path = results.FOLDER / f"{options.name}.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    models = tastes() if "taste" in options.only else None
    for seed in options.seeds:
        for name in options.only:
            row = run(name, seed, models if name == "taste" else None, best=seed == 0)
            rows = [one for one in rows if (one["reward"], one["seed"]) != (name, seed)] + [row]
            results.save(options.name, rows)  # what was measured stays, whatever comes next
            print(results.table(rows, COLUMNS), flush=True)


if __name__ == "__main__":
    main()
