"""Fine-tuning: a checkpoint learns from examples, all of its weights or a low-rank adapter.

    from likely.language import checkpoint, tune
    tuned = tune.tune(checkpoint.load("smollm2"), [{"prompt": "Ping?", "answer": "Pong."}, ...], minutes=5)
    print(tuned); tuned.save("adapter")

What is lowered is the mean surprise of the learned tokens; examples are packed into rows, rows are the items of the
project's one training loop (`likely.train.loop`), from which come early stopping, checkpoints that resume to the bit,
bf16, several processes, and parts of a step for less memory. A step's loss is

    sum of nats over its rows / (rows * c),     c = mean number of learned tokens of a row, over all rows

with the same c in every step: a sum over rows, so that cutting a step in parts or among processes changes nothing. (A
mean over the tokens of each part would weigh tokens by the company they are in.)

Some rows are left out; how well their answers are known before and after is the result, as a perplexity a token.

Letters: B rows, T steps of a row, V vocabulary.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, NoReturn

import torch
from torch import Tensor

from likely.core import Batch, Budget, Family, Listener, Progress, Tokens, Training
from likely.errors import OptionError, UnknownName, Unsupported
from likely.language import adapter, conversation, huggingface, lora, packing
from likely.language.checkpoint import Checkpoint
from likely.language.lora import Lora
from likely.language.loss import nats
from likely.language.packing import Packed
from likely.nn.decoder import Decoder
from likely.train import order
from likely.train.distribute import Mesh
from likely.train.loop import History, fit, gains

METHODS = ("lora", "full")
RATES = {"lora": 1e-3, "full": 5e-5}
LONGEST = 2048  # steps of a row at most, unless asked for
STEP = 2048  # tokens of a step about, where examples are many
A_PASS = 8  # steps of a pass at least, where they are few


@dataclass(frozen=True)
class Tuning:
    """How to tune. `method` "lora" or "full"; `rate` the peak of AdamW's, None = by method. For LoRA: `rank`, `alpha`
    (None = twice the rank), `dropout`, `rslora`, `modules` (none named = all).

    `length` steps of a row, `batch` rows of a step (None = chosen by the examples), in `accumulate` parts;
    `recompute` activations instead of keeping them; `passes` over the examples where neither steps nor minutes are
    given; `holdout`, the share of rows left out; `plain`: pairs are written without the chat template.
    """

    method: str = "lora"
    rate: float | None = None
    rank: int = 16
    alpha: float | None = None
    dropout: float = 0.0
    rslora: bool = False
    modules: tuple[str, ...] = ()
    length: int | None = None
    batch: int | None = None
    accumulate: int = 1
    recompute: bool = False
    passes: int = 3
    holdout: float = 0.1
    precision: str = "auto"
    plain: bool = False

    def __post_init__(self) -> None:
        wants = {
            "method": (self.method in METHODS, " or ".join(METHODS)),
            "length": (self.length is None or self.length >= 2, "2 steps or more"),
            "batch": (self.batch is None or self.batch >= 1, "1 row or more"),
            "passes": (self.passes >= 1, "1 or more"),
            "holdout": (0 <= self.holdout <= 0.5, "a share from 0 to 0.5"),
        }
        for name, (good, wanted) in wants.items():
            if not good:
                raise OptionError(f"{name} is {getattr(self, name)!r}; it is {wanted}.")

    @property
    def lora(self) -> Lora:
        """The adapter that is asked for. Raises OptionError."""
        alpha = 2.0 * self.rank if self.alpha is None else self.alpha
        return Lora(self.rank, alpha, self.dropout, self.rslora, tuple(self.modules))

    def training(self, rows: int, length: int) -> Training:
        """The settings of the loop for so many rows."""
        batch = self.batch or max(1, min(STEP // length, rows // A_PASS))
        return Training(
            batch=batch, steps=-(-self.passes * rows // batch), rate=self.rate or RATES[self.method], warmup=0.06,
            decay=0.0 if self.method == "lora" else 0.01, ema=0.0, precision=self.precision, holdout=self.holdout,
            patience=4, evaluations=20, accumulate=self.accumulate,
        )  # fmt: skip


@dataclass(frozen=True)
class Identity:
    """What makes a run the same run, besides data and settings of the loop: `base` is a hash of its first weights."""

    method: str = ""
    lora: Lora | None = None
    base: str = ""
    scale: float = 1.0  # learned tokens of a row, in the mean


class Learner(Family[Tokens]):
    """A network as the training loop sees it. Its items are rows of packed texts (see `Packed`)."""

    accepts: ClassVar[type] = Tokens
    Config: ClassVar[type] = Identity

    def __init__(self, network: Decoder, identity: Identity) -> None:
        super().__init__(Tokens(network.arch.vocab, network.arch.context), None, identity)
        self.network = network

    def loss(self, batch: Batch) -> Tensor:
        """Nats a learned token, about: see the head of this file."""
        found: Tensor = self.nats(batch) / (len(batch.x) * self.config.scale)
        return found

    def nats(self, batch: Batch) -> Tensor:
        """The nats of all learned tokens together."""
        ids, texts = batch.x.unbind(1)
        mask = batch.mask if batch.mask is not None else texts > 0
        T = int((texts > 0).any(0).nonzero().max()) + 1
        hidden = self.network(ids[:, :T], texts=texts[:, :T])[:, :-1]
        wanted = mask[:, 1:T]  # what is learned at a step is said by the step before it
        head: Tensor = self.network.embed.weight if self.network.head is None else self.network.head.weight
        return nats(hidden[wanted], head, ids[:, 1:T][wanted].long())

    def sample(self, *args: Any, **options: Any) -> NoReturn:
        """Refused: tuning is all that this is for."""
        raise Unsupported("A network that is being tuned does not sample: use likely.language.decode.")


@dataclass
class Tuned:
    """The checkpoint, what happened, and the perplexity of left-out answers `before` and `after`: exp of the mean nats
    a token; None where nothing was left out."""

    checkpoint: Checkpoint
    history: History
    packed: Packed
    method: str
    before: float | None
    after: float | None

    def save(self, folder: str | Path, *, merge: bool = False) -> None:
        """Write an adapter folder; or, merged or fully tuned, a Hugging Face folder, for which the network is folded.
        Raises StorageError."""
        if self.method == "lora" and not merge:
            adapter.save(self.checkpoint.network, folder, base=self.checkpoint.source)
            return
        lora.fold(self.checkpoint.network)
        huggingface.save(self.checkpoint, folder)

    def __str__(self) -> str:
        history, packed = self.history, self.packed
        rows, _, length = packed.batch.x.shape
        learned = sum(weight.numel() for weight in self.checkpoint.network.parameters() if weight.requires_grad)
        lines = [
            f"{packed.texts} examples, {packed.tokens} tokens ({packed.learned} learned) in {rows} rows of {length}; "
            f"{learned / 1e6:.3g} million weights, {history.step} steps, {history.seconds:.0f} s, {history.precision}.",
        ]
        if packed.cut:
            lines.append(f"{packed.cut} examples were too long and cut at {length} tokens.")
        if packed.dropped:
            lines.append(f"{packed.dropped} examples were left away: nothing to learn was left of them.")
        if self.before is None or self.after is None:
            lines.append("Nothing was left out to judge by: give more examples, or a larger holdout.")
        else:
            judged = f"Perplexity of answers in {history.left_out} rows that were left out"
            lines.append(f"{judged}: {self.before:.3f} before, {self.after:.3f} after.")
        return "\n".join(lines)


def tune(
    checkpoint: Checkpoint,
    examples: Sequence[Mapping[str, Any]],
    *,
    minutes: float | None = None,
    steps: int | None = None,
    seed: int = 0,
    checkpoint_dir: str | Path | None = None,
    mesh: Mesh | None = None,
    listen: Listener | None = None,
    **options: Any,
) -> Tuned:
    """Tune the network of `checkpoint` in place; `options` are those of `Tuning`.

    `examples` are objects with "messages", "prompt" and "answer", or "text" (`likely.language.conversation`). It runs
    for so many `minutes` or `steps`, whichever ends first, and stops early when left-out rows get no better.
    `checkpoint_dir` is a folder: the same call resumes from it, to the bit where minutes are not given. Raises
    DataError, OptionError, UnknownName, Mismatch, TrainingError and StorageError.
    """
    known = [field.name for field in fields(Tuning)]
    for name in options:
        if name not in known:
            raise UnknownName("option of tune", name, known)
    tuning, network = Tuning(**options), checkpoint.network
    tell = listen or (lambda progress: None)
    tell(Progress("packing", 0.0))
    packed = prepare(checkpoint, examples, tuning)
    rows, left = order.split(len(packed.batch.x), tuning.holdout, seed)
    home = network.embed.weight.device
    mesh = mesh or Mesh(device=home)
    base = fingerprint(network) if checkpoint_dir is not None else ""
    if tuning.method == "lora":
        lora.attach(network, tuning.lora, seed=seed)
    else:
        lora.clear(network)
        network.float().requires_grad_(True)
    network.recompute = tuning.recompute
    scale = packed.learned / len(packed.batch.x)
    learner = Learner(network, Identity(tuning.method, tuning.lora if tuning.method == "lora" else None, base, scale))
    training = tuning.training(len(rows), packed.batch.x.shape[2])
    began = time.monotonic()
    try:
        learner.to(mesh.device)
        tell(Progress("judging the start", 0.0))
        before = perplexity(learner, packed.batch, left, training, mesh)
        if minutes is not None:  # the same is done again at the end
            minutes = max(minutes - 2 * (time.monotonic() - began) / 60, 0.1 * minutes)
        history = fit(
            learner, packed.batch, Budget(minutes, steps), training=training, seed=seed, listen=listen, mesh=mesh,
            checkpoint=Path(checkpoint_dir) if checkpoint_dir is not None else None,
        )  # fmt: skip
        tell(Progress("judging the end", 0.0))
        after = perplexity(learner, packed.batch, left, training, mesh)
    except Exception:
        if tuning.method == "lora":  # another try must not find half an adapter
            lora.remove(network)
        raise
    finally:
        network.recompute = False
        learner.to(home).eval()
    return Tuned(checkpoint, history, packed, tuning.method, before, after)


def prepare(checkpoint: Checkpoint, examples: Sequence[Mapping[str, Any]], tuning: Tuning) -> Packed:
    """The examples as rows. Raises DataError, and OptionError for rows that the network has no room for."""
    context = checkpoint.network.arch.context
    if tuning.length is not None and tuning.length > context:
        raise OptionError(f"length is {tuning.length}; {checkpoint.name!r} reads {context} steps at most.")
    texts = conversation.examples(checkpoint, examples, plain=tuning.plain)
    return packing.pack(texts, tuning.length or packing.length_for(texts, context, LONGEST))


@torch.no_grad()
def perplexity(learner: Learner, data: Batch, rows: Tensor, training: Training, mesh: Mesh) -> float | None:
    """exp of the mean nats of the learned tokens of `rows`; None where there are none. Processes share the rows."""
    if not len(rows):
        return None
    bf16 = training.precision == "bfloat16" or (training.precision == "auto" and gains(learner, mesh.device))
    total = torch.zeros((), dtype=torch.float64, device=mesh.device)
    learner.eval()
    for part in torch.split(rows, training.batch):
        mine, weight = mesh.part(part)
        with torch.autocast(mesh.device.type, torch.bfloat16, enabled=bf16):
            found = learner.nats(order.take(data, mine, mesh.device))
        total += found if weight else 0.0
    assert data.mask is not None  # packed rows say what is learned
    mean = float(mesh.mean(total)) * mesh.world / int(data.mask[rows].sum())
    return math.exp(min(mean, 700.0))


def fingerprint(network: Decoder) -> str:
    """A hash of all weights: SHA-256, the first 16 digits."""
    digest = hashlib.sha256()
    for name, weight in network.named_parameters():
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
        digest.update(weight.detach().cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
