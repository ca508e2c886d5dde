"""What a token of training costs: a 6-layer, 384-wide, 6-head character model, context 256, beside peers of that shape.

    OMP_NUM_THREADS=1 python benchmarks/language_train_bench.py --text TALES [--curve 300]

Batches of 8 windows, AdamW, gradients cut at norm 1 (a token), no dropout; one thread, CPU-seconds, medians of
interleaved repeats, in fp32 and with bf16 autocast.

  transformers    GPT2LMHeadModel in a loop as anybody writes it
  plain           the same in plain PyTorch, after nanoGPT: no biases, fused attention, exact GELU; the same loop
  likely, gpt2    family `transformer`, style "gpt2", trained by likely.train.loop, which averages weights and guards
  likely, llama   the same in style "llama": rotary positions, RMS norm, SwiGLU

Claim: likely trains at least 1.1 times the tokens a CPU-second of transformers, in both precisions. What a run costs
once (copies of the weights at its start and end) is shared by --steps steps. With --curve so many steps of each are run
in bf16, the plain loop with two seeds, and mean losses of two sixths of the run are shown: what differs less than the
two seeds is noise.

TALES: a text file, or a .tsv.gz whose column Content holds texts; the 62 commonest characters are tokens.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import math
import statistics
import time
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

import results
from likely.core import Batch, Budget, Tokens, Training
from likely.families.transformer import Transformer, TransformerConfig
from likely.train.loop import fit

V, L, W, LAYERS, HEADS, B, RATE = 65, 256, 384, 6, 6, 8, 1e-3
PRECISIONS = ("float32", "bfloat16")
COLUMNS = ["precision", "who", "parameters", "tokens / CPU s", "times transformers"]


def windows(path: Path) -> Tensor:
    """(n, L) windows of the text, one every 64 characters."""
    if path.name.endswith(".tsv.gz"):
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            text = "\n\n".join(row["Content"] for row in csv.DictReader(stream, delimiter="\t"))
    else:
        text = path.read_text(encoding="utf-8")
    code = {c: 3 + k for k, (c, _) in enumerate(Counter(text).most_common(V - 4))}
    ids = torch.tensor([code.get(c, V - 1) for c in text])
    return ids.unfold(0, L, 64).contiguous()


class Plain(nn.Module):
    """The model as nanoGPT has it."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(V, W), nn.Embedding(L, W)
        self.norm1 = nn.ModuleList(nn.LayerNorm(W, bias=False) for _ in range(LAYERS))
        self.norm2 = nn.ModuleList(nn.LayerNorm(W, bias=False) for _ in range(LAYERS))
        self.qkv = nn.ModuleList(nn.Linear(W, 3 * W, bias=False) for _ in range(LAYERS))
        self.out = nn.ModuleList(nn.Linear(W, W, bias=False) for _ in range(LAYERS))
        self.up = nn.ModuleList(nn.Linear(W, 4 * W, bias=False) for _ in range(LAYERS))
        self.down = nn.ModuleList(nn.Linear(4 * W, W, bias=False) for _ in range(LAYERS))
        self.norm = nn.LayerNorm(W, bias=False)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                last = name.startswith(("out", "down"))
                nn.init.normal_(weight, std=0.02 / math.sqrt(2 * LAYERS) if last else 0.02)

    def loss(self, x: Tensor) -> Tensor:
        """Nats a token of windows x (B, L)."""
        seen = torch.cat([torch.ones_like(x[:, :1]), x[:, :-1]], 1)
        h = self.token(seen) + self.place(torch.arange(L))
        for k in range(LAYERS):
            q, k_, v = (p.view(len(x), L, HEADS, -1).transpose(1, 2) for p in self.qkv[k](self.norm1[k](h)).split(W, 2))
            a = F.scaled_dot_product_attention(q, k_, v, is_causal=True)
            h = h + self.out[k](a.transpose(1, 2).reshape(len(x), L, W))
            h = h + self.down[k](F.gelu(self.up[k](self.norm2[k](h))))
        logits = F.linear(self.norm(h), self.token.weight)
        return F.cross_entropy(logits.flatten(0, 1), x.flatten())


def plain() -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """nanoGPT's model and its loss."""
    model = Plain()
    return model, model.loss


def theirs() -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """GPT-2 of transformers and its loss; it shifts the labels itself, so that the beginning is put before the text."""
    config = GPT2Config(
        vocab_size=V, n_positions=L + 1, n_embd=W, n_layer=LAYERS, n_head=HEADS, resid_pdrop=0.0, embd_pdrop=0.0,
        attn_pdrop=0.0, bos_token_id=1, eos_token_id=2, use_cache=False,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)

    def loss(x: Tensor) -> Tensor:
        seen = torch.cat([torch.ones_like(x[:, :1]), x[:, :-1]], 1)
        logits = model(input_ids=seen).logits
        return F.cross_entropy(logits.float().flatten(0, 1), x.flatten())

    return model, loss


def loop(make: Callable[[], tuple[nn.Module, Callable[[Tensor], Tensor]]]) -> Callable[[Tensor, int, str, int], Any]:
    """A loop as anybody writes it: the mean loss of each sixth of the steps."""

    def run(x: Tensor, steps: int, precision: str, seed: int) -> list[float]:
        torch.manual_seed(seed)
        model, loss_of = make()
        optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, betas=(0.9, 0.99), weight_decay=0.1, fused=True)
        losses = []
        for step in range(steps):
            for group in optimiser.param_groups:
                group["lr"] = RATE * min(1, (step + 1) / (0.03 * steps)) * (1 + math.cos(math.pi * step / steps)) / 2
            rows = torch.randint(len(x), (B,))
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                loss = loss_of(x[rows])
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            losses.append(loss.item())
        return sixths(losses)

    return run


def ours(style: str) -> Callable[[Tensor, int, str, int], Any]:
    """Family and loop of likely."""

    def run(x: Tensor, steps: int, precision: str, seed: int) -> list[float]:
        torch.manual_seed(seed)
        model = Transformer(Tokens(V, L), None, TransformerConfig(style=style, width=W, depth=LAYERS, heads=HEADS))
        training = Training(
            batch=B, steps=steps, rate=RATE, warmup=0.03, decay=0.1, clip=float(L), ema=0.99, holdout=0.0,
            precision=precision, evaluations=6 if steps >= 60 else 1,
        )  # fmt: skip
        history = fit(model, Batch(x), Budget(), training=training, seed=seed)
        return [look.losses["loss"] / L for look in history.evaluations]

    return run


def sixths(losses: list[float]) -> list[float]:
    """The mean of each sixth."""
    edges = [round(k * len(losses) / 6) for k in range(7)]
    return [statistics.fmean(losses[a:b]) for a, b in pairwise(edges) if b > a]


RUNS = {
    "transformers": loop(theirs), "plain": loop(plain), "likely, gpt2": ours("gpt2"), "likely, llama": ours("llama"),
}  # fmt: skip


def parameters(name: str) -> int:
    """How many numbers a model learns."""
    if name.startswith("likely"):
        config = TransformerConfig(style=name.split()[1], width=W, depth=LAYERS, heads=HEADS)
        model: nn.Module = Transformer(Tokens(V, L), None, config)
    else:
        model = (theirs if name == "transformers" else plain)()[0]
    return sum(weight.numel() for weight in model.parameters())


def speeds(x: Tensor, repeats: int, steps: int) -> list[dict[str, Any]]:
    """Tokens a CPU-second of all, in turn, and the median ratio to transformers."""
    rows = []
    for precision in PRECISIONS:
        found: dict[str, list[float]] = {name: [] for name in RUNS}
        for repeat in range(repeats + 1):
            for name in sorted(RUNS, reverse=bool(repeat % 2)):
                began = time.process_time()
                RUNS[name](x, steps, precision, 0)
                if repeat:  # the first of each warms up
                    found[name].append(B * L * steps / (time.process_time() - began))
        for name, values in found.items():
            ratio = statistics.median(a / b for a, b in zip(values, found["transformers"], strict=True))
            rows.append(
                {"precision": precision, "who": name, "parameters": parameters(name),
                 "tokens / CPU s": statistics.median(values), "times transformers": ratio}
            )  # fmt: skip
    return rows


def curves(x: Tensor, steps: int) -> list[dict[str, Any]]:
    """Losses in bf16, nats a token, at the third and the last sixth of the steps."""
    rows = []
    for name, seed in (("transformers", 0), ("plain", 0), ("plain", 1), ("likely, gpt2", 0), ("likely, llama", 0)):
        losses = RUNS[name](x, steps, "bfloat16", seed)
        rows.append({"who": f"{name}, seed {seed}", "steps": steps, "third sixth": losses[2], "last sixth": losses[-1]})
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Run, print, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--curve", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    x = windows(asked.text)
    rows = speeds(x, asked.repeats, asked.steps)
    print(results.table(rows, COLUMNS))
    results.save("language_train", rows)
    if asked.curve:
        found = curves(x, asked.curve)
        print(results.table(found, ["who", "steps", "third sixth", "last sixth"]))
        results.save("language_train", rows, curves=found)


if __name__ == "__main__":
    main()
