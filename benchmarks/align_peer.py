"""The side of TRL and transformers in align_speed_bench.py: a process that answers a line of JSON with a line of JSON.

    PYTHON benchmarks/align_peer.py FOLDER        (an environment with trl 1.12)

It makes a GPT-2 of the shape asked for, saves it in FOLDER, and says so. Then, as often as it is asked:

    {"task": "write", "rows": 32}      transformers.generate, sampling: CPU-seconds
    {"task": "update", "value": "gpt2" | "small", "updates": n}
                                       n updates by trl.experimental.ppo.PPOTrainer: CPU-seconds of each, in parts

"value": TRL wants a value network with a body of its own. "gpt2" is a body of the policy's shape, which is how TRL is
run; "small" has no body but an embedding, so that almost nothing but the policy is left to pay for.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
import trl
from datasets import Dataset
from torch import nn
from transformers import (
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    TrainerCallback,
)
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

LAYERS, WIDTH, HEADS, VOCAB, PROMPT, NEW, SAMPLES, EPOCHS = 4, 128, 4, 256, 16, 32, 32, 4
CONFIG = GPT2Config(
    vocab_size=VOCAB, n_positions=PROMPT + NEW + 1, n_embd=WIDTH, n_layer=LAYERS, n_head=HEADS, resid_pdrop=0.0,
    embd_pdrop=0.0, attn_pdrop=0.0, activation_function="gelu", bos_token_id=1, eos_token_id=None, num_labels=1,
    pad_token_id=0,
)  # fmt: skip


class Small(nn.Module):
    """A "model" with a body that is an embedding, and one number a token: a reward or a value that costs nothing."""

    base_model_prefix = "body"

    def __init__(self) -> None:
        super().__init__()
        self.body, self.score = Body(), nn.Linear(8, 1)


class Body(nn.Module):
    """The embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCAB, 8)

    def forward(self, input_ids: torch.Tensor, **rest: Any) -> SimpleNamespace:
        return SimpleNamespace(hidden_states=(self.embed(input_ids),))


class Watch(TrainerCallback):
    """CPU-seconds of each update: of writing, of what stands between it and the epochs, of the epochs, of the rest."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.wrote, self.began = 0.0, time.process_time()
        self.epochs: list[float] = []

    def on_step_end(self, *given: Any, **rest: Any) -> None:
        """One update is over."""
        now = time.process_time()
        self.rows.append({
            "write": self.wrote, "epochs": self.epochs[1] - self.epochs[0], "all": now - self.began,
            "but writing": now - self.began - self.wrote,
        })  # fmt: skip
        self.wrote, self.began, self.epochs = 0.0, time.process_time(), []


def tokenizer() -> PreTrainedTokenizerFast:
    """One whose tokens are numbers."""
    from tokenizers import Tokenizer, models

    made = Tokenizer(models.WordLevel({str(k): k for k in range(VOCAB)}, unk_token="0"))
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="0", eos_token="2", padding_side="left")


def trained(folder: Path, value: str) -> tuple[PPOTrainer, Watch]:
    """A trainer of the model in the folder."""
    torch.manual_seed(0)
    config = PPOConfig(
        output_dir=str(folder / "out"), per_device_train_batch_size=SAMPLES, gradient_accumulation_steps=1,
        num_mini_batches=1, num_ppo_epochs=EPOCHS, response_length=NEW, temperature=1.0, learning_rate=1e-4,
        lr_scheduler_type="constant",
        local_rollout_forward_batch_size=SAMPLES, num_sample_generations=0, total_episodes=SAMPLES, bf16=False,
        gradient_checkpointing=False, use_cpu=True, report_to="none", save_strategy="no", disable_tqdm=True,
        logging_strategy="no",
    )  # fmt: skip
    rows = torch.randint(3, VOCAB, (1024, PROMPT)).tolist()
    watch = Watch()
    made = PPOTrainer(
        config, tokenizer(), GPT2LMHeadModel.from_pretrained(folder), GPT2LMHeadModel.from_pretrained(folder), Small(),
        Dataset.from_dict({"input_ids": rows}),
        GPT2ForSequenceClassification(CONFIG) if value == "gpt2" else Small(), callbacks=[watch],
    )  # fmt: skip
    return made, watch


def hook(watches: list[Watch]) -> None:
    """Have the trainer's module say when it writes, and when its epochs begin and end."""
    write, whiten = ppo_trainer.batch_generation, ppo_trainer.masked_whiten

    def writing(*given: Any, **rest: Any) -> Any:
        began = time.process_time()
        made = write(*given, **rest)
        watches[-1].wrote = time.process_time() - began
        return made

    def whitening(*given: Any, **rest: Any) -> Any:
        made = whiten(*given, **rest)
        watches[-1].epochs = [time.process_time()]
        return made

    ppo_trainer.batch_generation, ppo_trainer.masked_whiten = writing, whitening


class Ended:
    """The accelerator, which the trainer asks for the first time after its epochs."""

    def __init__(self, accelerator: Any, watches: list[Watch]) -> None:
        self.given, self.watches = accelerator.gather_for_metrics, watches
        accelerator.gather_for_metrics = self

    def __call__(self, *given: Any) -> Any:
        if len(self.watches[-1].epochs) == 1:
            self.watches[-1].epochs.append(time.process_time())
        return self.given(*given)


def main() -> None:
    """Answer."""
    torch.set_num_threads(1)
    folder, said = Path(sys.argv[1]), sys.stdout
    torch.manual_seed(0)
    GPT2LMHeadModel(CONFIG).save_pretrained(folder)
    versions = {"trl": trl.__version__, "transformers": transformers.__version__, "torch": torch.__version__}
    print(json.dumps(versions), flush=True)
    writer = GPT2LMHeadModel.from_pretrained(folder).eval()
    trainers: dict[str, tuple[PPOTrainer, Watch]] = {}
    watches: list[Watch] = []
    hook(watches)
    for line in sys.stdin:
        asked = json.loads(line)
        with redirect_stdout(sys.stderr):
            if asked["task"] == "write":
                answer: Any = written(writer, asked["rows"])
            else:
                if asked["value"] not in trainers:
                    made, watch = trained(folder, asked["value"])
                    Ended(made.accelerator, watches)
                    trainers[asked["value"]] = made, watch
                made, watch = trainers[asked["value"]]
                watches.append(watch)
                watch.rows, watch.began = [], time.process_time()
                made.args.num_total_batches = asked["updates"]
                made.train()
                answer = watch.rows
        print(json.dumps(answer), file=said, flush=True)


@torch.inference_mode()
def written(model: GPT2LMHeadModel, rows: int) -> float:
    """CPU-seconds that so many items take."""
    ids = torch.randint(3, VOCAB, (rows, PROMPT))
    began = time.process_time()
    found = model.generate(
        ids, attention_mask=torch.ones_like(ids), do_sample=True, top_k=0, top_p=1.0, max_new_tokens=NEW,
        min_new_tokens=None, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    spent = time.process_time() - began
    assert found.shape == (rows, PROMPT + NEW)
    return spent


if __name__ == "__main__":
    main()
