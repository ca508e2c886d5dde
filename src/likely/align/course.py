"""A run of alignment: steps of one method, watched, stopped in time, and resumed to the bit.

    budget      steps, or minutes of wall time, or both
    KL          the price is watched: a policy that leaves its start by more than `limit` nats an item is brought back
                to the last weights that were seen to be nearer, and the run ends there and says so. A draw tells of
                the weights before a step; methods that draw nothing are looked at every few steps, and all at the end
    reward      one that is the same for every item of the first steps ends the run: there is nothing to learn. One that
                raises ends it, too; what was learned until then stands in the checkpoint, where there is one
    bad steps   a loss that is not finite brings back the last good weights at half the rate; the third ends the run
    Ctrl-C      ends the run and keeps what was learned
    checkpoint  FOLDER/align.safetensors: policy, the last weights seen to be near, optimisers, critic, memory, numbers;
                the same call goes on from it

Randomness: every step seeds its own generator, and torch's, by (seed, step); so a step depends on what a checkpoint
holds and its number alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from likely.align.trial import ALIKE, Trial
from likely.core import Budget, Listener, Progress, Training
from likely.errors import OptionError, RewardError, TrainingError
from likely.train.checkpoint import write_atomic
from likely.train.order import mix
from likely.train.schedule import Clock, factor
from likely.train.signals import deferred

FORMAT = "3"
FAR = 50.0  # nats an item
STRIKES = 3
FLAT = 5  # steps
EVERY = 10  # steps between checkpoints, and between looks at a policy that draws nothing
LOOKED = 64  # items of such a look
WARMUP = 0.03
GOOD = "near/"  # of the names, in a checkpoint, of the last weights that were seen to be near

Row = dict[str, float]


class Method(Protocol):
    """One way to align. `parts`: optimisers, modules and tensors that change beside the policy, by name."""

    Config: ClassVar[type]
    trial: Trial
    beta: float

    def step(self, share: float, rng: torch.Generator) -> Row: ...
    def parts(self) -> Mapping[str, Any]: ...
    def numbers(self) -> dict[str, float]: ...
    def take(self, numbers: dict[str, float], tensors: dict[str, Tensor]) -> None: ...


@dataclass
class Record:
    """What happened. `stopped` is "budget", "kl", "interrupted" or "terminated"; a row a step; `notes` in words."""

    stopped: str = ""
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    scale: float = 1.0  # of the rate, halved by each bad step
    strikes: int = 0  # bad steps so far

    def mean(self, name: str, share: float = 0.1) -> float:
        """The mean of a number over the last share of the steps."""
        values = [row[name] for row in self.rows if name in row]
        tail = values[-max(1, int(len(values) * share)) :]
        return sum(tail) / len(tail) if tail else math.nan


def run(
    method: Method,
    *,
    budget: Budget,
    limit: float = FAR,
    seed: int = 0,
    listen: Listener | None = None,
    watch: Callable[[int, Row], None] | None = None,
    checkpoint: Path | None = None,
    identity: Mapping[str, str] | None = None,
) -> Record:
    """Take the steps; on return the policy has the weights to keep. `watch` sees each row as it comes.

    Raises OptionError, RewardError, TrainingError, StorageError; the policy then has the last good weights."""
    if not limit > 0:
        raise OptionError(f"limit={limit!r} was given; it is the most nats an item may cost: above 0.")
    policy, record = method.trial.policy, Record()
    who = {"method": type(method).__name__, "seed": str(seed), **(identity or {})}
    guard = _Guard(method, record, limit)
    store = _Store(checkpoint, method, guard, who) if checkpoint else None
    before = store.load(record) if store else 0.0
    clock = Clock(budget, Training(steps=budget.steps or 200), before=before)
    loaded = len(record.rows)
    if record.stopped == "kl":  # it has ended
        return record
    record.stopped = ""
    with torch.random.fork_rng(devices=_cuda(policy)), deferred() as asked:
        try:
            while not record.stopped:
                step, elapsed = len(record.rows), clock.elapsed()
                progress = clock.progress(step, elapsed)
                if listen is not None:
                    listen(_progress(record, progress, elapsed - before, step - loaded))
                if asked.interrupt or asked.terminate or (progress >= 1 and step):
                    record.stopped = "budget" if progress >= 1 else "terminated" if asked.terminate else "interrupted"
                    break
                torch.manual_seed(mix(seed, step))
                rng = torch.Generator().manual_seed(mix(seed, step, 1))
                try:
                    row = method.step(record.scale * factor(progress, WARMUP, clock.steps), rng)
                except TrainingError as error:
                    guard.strike(step, error)
                    continue
                guard.look(step, row, rng)
                record.rows.append({"step": float(step), **row})
                if watch is not None:
                    watch(step, record.rows[-1])
                flat(record)
                guard.stop(row.get("kl", 0.0))
                if store and len(record.rows) % EVERY == 0 and not record.stopped:
                    store.save(record, clock.elapsed())
            _end(method, guard, store, record, loaded, clock.elapsed(), seed)
        except KeyboardInterrupt:  # a second one: a step may be half done
            guard.back()
            record.stopped = "interrupted"
        except BaseException as error:
            try:
                if store:
                    store.rescue(error, record, clock.elapsed())
            finally:  # a full disk leaves good weights, too
                guard.back()
            raise
    return record


def even(record: Record) -> bool:
    """Whether every item of every step had one reward."""
    return all(row.get("spread", 1.0) == 0 for row in record.rows)


def flat(record: Record) -> None:
    """Raises RewardError where the first steps saw one reward only; a note where the run came to its end before."""
    steps = len(record.rows)
    if not even(record) or not (steps == FLAT or (0 < steps < FLAT and record.stopped == "budget")):
        return
    said = f"The reward was {record.rows[-1]['reward']:g} for every item of {steps} steps: {ALIKE}"
    if steps == FLAT:
        raise RewardError(said)
    record.notes.append(said)


def _end(
    method: Method, guard: _Guard, store: _Store | None, record: Record, loaded: int, elapsed: float, seed: int
) -> None:  # fmt: skip
    """Behind the last step: what was learned is written, and looked at once more."""
    if store:  # before the look, which takes a draw
        store.save(record, elapsed)
    flat(record)
    if record.stopped in ("budget", "interrupted") and len(record.rows) > loaded:
        guard.stop(method.trial.apart(LOOKED, torch.Generator().manual_seed(mix(seed, len(record.rows), 2))))
        if store and record.stopped == "kl":
            store.save(record, elapsed)


class _Guard:
    """The last weights that were seen to be near enough, to come back to. `fresh` are those whose draw comes next."""

    def __init__(self, method: Method, record: Record, limit: float) -> None:
        self.method, self.record, self.limit, self.policy = method, record, limit, method.trial.policy
        self.good = self.fresh = _copy(self.policy)

    def look(self, step: int, row: Row, rng: torch.Generator) -> None:
        """After a step: its KL is that of the weights before it; of methods that draw nothing, now and then, of these
        after it."""
        if "kl" in row:
            if row["kl"] <= self.limit:
                self.good = self.fresh
            self.fresh = _copy(self.policy)
        elif step % EVERY == EVERY - 1:
            row["kl"] = self.method.trial.apart(LOOKED, rng)
            if row["kl"] <= self.limit:
                self.good = self.fresh = _copy(self.policy)

    def stop(self, kl: float) -> None:
        """End the run where the policy has left its start too far."""
        if kl <= self.limit:
            return
        self.back()
        self.record.stopped = "kl"
        self.record.notes.append(
            f"step {len(self.record.rows) - 1}: KL to the start reached {kl:.1f} nats an item (limit {self.limit:g}). "
            "The last weights that were seen to be nearer were put back, and the run was ended: raise beta, lower the "
            "rate, or look at what the reward likes so much."
        )

    def strike(self, step: int, error: TrainingError) -> None:
        """After a step that failed. Raises it again where it is the first of the run, or one too many."""
        record = self.record
        record.strikes, record.scale = record.strikes + 1, record.scale / 2
        if record.strikes >= STRIKES or not record.rows:
            raise error
        self.back()
        record.notes.append(f"step {step}: {error} The last good weights were put back, the rate halved.")

    def back(self) -> None:
        """Put the good weights back."""
        _put(self.policy, self.good)
        self.fresh = self.good


def _progress(record: Record, progress: float, spent: float, step: int) -> Progress:
    """`spent` seconds and `step` steps since the run began or was resumed."""
    made = progress * step / len(record.rows) if record.rows else progress
    left = spent * (1 - progress) / made if made > 0 else None
    last = record.rows[-1] if record.rows else {}
    return Progress(
        "aligning", progress, last.get("reward", last.get("loss")), step / spent if spent > 0 else None, left
    )


def _cuda(policy: nn.Module) -> list[torch.device]:
    return sorted({w.device for w in policy.parameters() if w.device.type == "cuda"}, key=str)


def _copy(policy: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in policy.state_dict().items()}


@torch.no_grad()
def _put(policy: nn.Module, kept: dict[str, Tensor]) -> None:
    for name, tensor in policy.state_dict().items():
        tensor.copy_(kept[name])


class _Store:
    """The checkpoint of one run."""

    def __init__(self, folder: Path, method: Method, guard: _Guard, identity: dict[str, str]) -> None:
        self.path, self.method, self.guard = Path(folder) / "align.safetensors", method, guard
        self.identity = {"format": FORMAT, **identity}

    def tensors(self) -> dict[str, Tensor]:
        """All that changes, by name."""
        named = {f"policy/{name}": tensor for name, tensor in self.method.trial.policy.state_dict().items()}
        named |= {f"{GOOD}{name}": tensor for name, tensor in self.guard.good.items()}
        for name, part in self.method.parts().items():
            if isinstance(part, torch.optim.Optimizer):
                weights = [weight for group in part.param_groups for weight in group["params"]]
                for at, weight in enumerate(weights):
                    named |= {f"{name}/{at}/{what}": value for what, value in part.state[weight].items()}
            elif isinstance(part, nn.Module):
                named |= {f"{name}/{what}": value for what, value in part.state_dict().items()}
            else:
                named[name] = part
        return named

    def save(self, record: Record, elapsed: float) -> None:
        """Write it, all or nothing."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        note = {
            "identity": self.identity, "elapsed": elapsed, "rows": record.rows,
            "notes": record.notes, "numbers": self.method.numbers(), "scale": record.scale, "strikes": record.strikes,
            "stopped": record.stopped,
        }  # fmt: skip
        tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in self.tensors().items()}
        write_atomic(self.path, safetensors.torch.save(tensors, {"checkpoint": json.dumps(note)}))

    def rescue(self, error: BaseException, record: Record, elapsed: float) -> None:
        """A reward that raises does so before anything of its step has moved: what was learned is written, and the
        error says where."""
        if isinstance(error, RewardError) and record.rows and not even(record):
            self.save(record, elapsed)
            where = f"The {len(record.rows)} steps before it stand in {str(self.path.parent)!r}: the same call goes on."
            error.args = (f"{error} {where}",)

    def load(self, record: Record) -> float:
        """Bring the method to where it was; the seconds spent before. Raises TrainingError."""
        if not self.path.is_file():
            return 0.0
        try:
            with safetensors.safe_open(self.path, framework="pt") as file:
                note = json.loads((file.metadata() or {})["checkpoint"])
                for what, mine in self.identity.items():
                    if note["identity"].get(what) != mine:
                        raise TrainingError(
                            f"The checkpoint {str(self.path)!r} is of another run: its {what} is "
                            f"{str(note['identity'].get(what))[:100]}, this run's {mine[:100]}. Give another folder."
                        )
                saved = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no dict)
            self._restore(saved)
            self.method.take(note["numbers"], saved)
            record.rows += note["rows"]
            record.notes += note["notes"]
            record.scale, record.strikes = float(note["scale"]), int(note["strikes"])
            record.stopped = str(note["stopped"])
            return float(note["elapsed"])
        except (OSError, KeyError, TypeError, ValueError, RuntimeError, safetensors.SafetensorError) as error:
            raise TrainingError(
                f"The checkpoint {str(self.path)!r} cannot be read ({str(error)[:120]}). Remove it to start afresh."
            ) from error

    @torch.no_grad()
    def _restore(self, saved: dict[str, Tensor]) -> None:
        guard, policy = self.guard, self.method.trial.policy
        _put(policy, {name[7:]: value for name, value in saved.items() if name.startswith("policy/")})
        for name, tensor in guard.good.items():
            tensor.copy_(saved[GOOD + name])
        guard.fresh = _copy(policy)
        for name, part in self.method.parts().items():
            if isinstance(part, torch.optim.Optimizer):
                weights = [weight for group in part.param_groups for weight in group["params"]]
                for at, weight in enumerate(weights):
                    prefix = f"{name}/{at}/"
                    found = {key[len(prefix) :]: value for key, value in saved.items() if key.startswith(prefix)}
                    if found:
                        part.state[weight] = {key: value.to(weight.device) for key, value in found.items()}
            elif isinstance(part, nn.Module):
                prefix = f"{name}/"
                part.load_state_dict({k[len(prefix) :]: v for k, v in saved.items() if k.startswith(prefix)})
