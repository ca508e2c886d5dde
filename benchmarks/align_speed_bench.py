"""What an update of PPO costs, and the drawing of its samples, beside TRL 1.12 and transformers on the same network.

    OMP_NUM_THREADS=1 python benchmarks/align_speed_bench.py --peer PYTHON [--repeats 7]

PYTHON: of an environment with trl 1.12 (pip install torch==2.13.0 trl==1.12.0); it runs align_peer.py, which makes a
GPT-2 that both sides load: 4 layers, 128 wide, 4 heads, 256 tokens. 32 samples of 16 + 32 tokens, 4 epochs over them in
one minibatch, fp32, one thread, CPU-seconds of each process, both sides in turn, medians of repeats.

    epochs        the 4 passes over one draw: forward, backward, optimisers of policy and value
    but writing   the whole update without the drawing of tokens: log p under policy and start, values, credit, epochs
    write         32 rows go on from prompts of 16 tokens for 32 tokens, drawn at temperature 1

TRL's PPO (trl.experimental.ppo.PPOTrainer) needs a value network with a body of its own. "gpt2" gives it one of the
policy's shape, as it is used; "small" gives it next to none, so that the same work is left on both sides: our critic is
a small network that reads what the policy has seen. Rewards cost nothing on both sides. No row ends early on either.

Claims: epochs at least 1.5 times TRL's samples a CPU-second (value "gpt2"), writing at least 3 times those of
transformers.generate.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import results
from likely.align.ppo import PPO, PPOConfig
from likely.align.trial import Trial, Wish
from likely.core import Known, Tokens
from likely.core import Path as Way
from likely.families.transformer import Transformer, TransformerConfig
from likely.language.fields import Fields, read_json
from likely.language.huggingface.folder import decoder

PROMPT, NEW, SAMPLES, EPOCHS, WIDTH, LAYERS, HEADS, VOCAB = 16, 32, 32, 4, 128, 4, 4, 256
PARTS = ("epochs", "but writing", "all")
COLUMNS = ["task", "who", "CPU s", "least", "most", "samples / CPU s", "ours is times as fast"]


class Peer:
    """The other side, in its own process."""

    def __init__(self, python: str, folder: Path) -> None:
        command = [python, str(Path(__file__).parent / "align_peer.py"), str(folder)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.versions = self._line()

    def _line(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def ask(self, **asked: Any) -> Any:
        """One answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        return self._line()

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


class Ours:
    """The same network as a `transformer`, moved by our PPO."""

    def __init__(self, folder: Path) -> None:
        network = decoder(folder, Fields(read_json(folder / "config.json"), str(folder)), torch.float32)
        space = Tokens(VOCAB, PROMPT + NEW)
        config = TransformerConfig(style="gpt2", width=WIDTH, depth=LAYERS, heads=HEADS)
        self.policy = Transformer(space, None, config, decoder=network)
        self.policy.bias = nn.Parameter(torch.zeros(VOCAB))
        self.policy.bias.data[space.eos] = -1e9  # no row ends early
        self.ppo = PPO(
            Trial(self.policy, self.judge, self.source), PPOConfig(samples=SAMPLES, epochs=EPOCHS), 0.05, 1e-4, 0
        )
        self.rng = torch.Generator().manual_seed(0)
        self.learn, self.write = self.ppo.learn, self.policy.rollout
        self.spent: dict[str, float] = {}
        self.ppo.learn, self.policy.rollout = self._learn, self._write  # type: ignore[method-assign]

    def source(self, n: int, rng: torch.Generator) -> Wish:
        """Prompts."""
        x = torch.zeros(n, PROMPT + NEW, dtype=torch.int64)
        x[:, :PROMPT] = torch.randint(3, VOCAB, (n, PROMPT), generator=rng)
        return Wish(known=Known(x, torch.arange(PROMPT + NEW).lt(PROMPT).expand(n, -1)))

    def judge(self, path: Way) -> Tensor:
        """A reward that costs nothing."""
        return path.x[:, PROMPT:].float().mean(1) / 100

    def _learn(self, *given: Any) -> dict[str, float]:
        began = time.process_time()
        made = self.learn(*given)
        self.spent["epochs"] = time.process_time() - began
        return made

    def _write(self, *given: Any, **rest: Any) -> Way:
        began = time.process_time()
        made = self.write(*given, **rest)
        self.spent["write"] = time.process_time() - began
        return made

    def updated(self, updates: int) -> list[dict[str, float]]:
        """CPU-seconds of so many updates, in parts."""
        rows = []
        for _ in range(updates):
            began = time.process_time()
            self.ppo.step(1.0, self.rng)
            spent = time.process_time() - began
            rows.append({**self.spent, "all": spent, "but writing": spent - self.spent["write"]})
        return rows

    def written(self) -> float:
        """CPU-seconds of one draw."""
        wish = self.source(SAMPLES, self.rng)
        began = time.process_time()
        path = self.write(SAMPLES, None, wish.known, rng=self.rng)
        spent = time.process_time() - began
        assert torch.equal(path.mask, torch.arange(PROMPT + NEW).ge(PROMPT).expand(SAMPLES, -1))
        return spent


def measured(peer: Peer, ours: Ours, repeats: int, updates: int) -> dict[str, dict[str, list[float]]]:
    """task -> who -> CPU-seconds."""
    found: dict[str, dict[str, list[float]]] = {}

    def note(task: str, who: str, value: float) -> None:
        found.setdefault(task, {}).setdefault(who, []).append(value)

    for at in range(repeats + 1):
        for value in ("gpt2", "small"):
            rows = peer.ask(task="update", value=value, updates=updates)
            for row in rows if at else []:
                for part in PARTS:
                    note(part, f"TRL, value {value}", row[part])
        for row in ours.updated(updates) if at else ours.updated(updates) and []:
            for part in PARTS:
                note(part, "likely", row[part])
        for _ in range(updates):
            theirs, own = peer.ask(task="write", rows=SAMPLES), ours.written()
            if at:  # the first round is not counted
                note("write", "transformers.generate", theirs)
                note("write", "likely", own)
        print(f"  {at}:", {task: {who: round(each[-1], 3) for who, each in row.items()} for task, row in found.items()},
              flush=True)  # fmt: skip
    return found


def main() -> None:
    """Run, print, save."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--peer", required=True, help="the Python of an environment with trl 1.12")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--updates", type=int, default=3, help="updates, and draws, a repeat")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        peer = Peer(given.peer, Path(name))
        try:
            found = measured(peer, Ours(Path(name)), given.repeats, given.updates)
        finally:
            peer.close()
    rows = []
    for task, each in found.items():
        own = statistics.median(each["likely"])
        for who, spent in each.items():
            middle = statistics.median(spent)
            rows.append({
                "task": task, "who": who, "CPU s": middle, "least": min(spent), "most": max(spent),
                "samples / CPU s": SAMPLES / middle, "ours is times as fast": middle / own,
            })  # fmt: skip
    print(results.table(rows, COLUMNS))
    print(results.save("align_speed", rows, peer=peer.versions, shape={
        "layers": LAYERS, "width": WIDTH, "heads": HEADS, "vocabulary": VOCAB, "prompt": PROMPT, "new": NEW,
        "samples": SAMPLES, "epochs": EPOCHS, "repeats": given.repeats * given.updates,
    }))  # fmt: skip
    for task, who, least in (("epochs", "TRL, value gpt2", 1.5), ("write", "transformers.generate", 3.0)):
        (row,) = (row for row in rows if row["task"] == task and row["who"] == who)
        assert row["ours is times as fast"] >= least, row


if __name__ == "__main__":
    main()
