"""The training loop: one for every family that learns by gradients.

A family gives objectives; each has its own AdamW, and in every step they are descended in turn (one for a likelihood,
two for a GAN). Around that stands what makes a run safe to leave alone:

    budget        steps, or minutes of wall time, or both: whichever ends first            (schedule.py)
    average       a running average of the weights is what is evaluated and kept           (ema.py)
    early stop    some items are left out; when their loss no longer falls, the run ends, and the best weights are kept
    bad steps     a loss or gradient that is not finite is skipped and halves the rate; when it recurs, the last good
                  weights come back; after too many the run ends with an error that says what was seen
    Ctrl-C        ends the run and keeps what was learned; SIGTERM saves and ends          (signals.py)
    checkpoint    written at each evaluation; the same call goes on from it, to the bit    (checkpoint.py)
    processes     several may share each step                                              (distribute.py)

Randomness: every step seeds torch's global generator by (seed, step, rank), and the data order is a function of (seed,
step) (order.py); so a step depends on the weights and its number alone. The caller's generator is left as it was.

Letters: n items, B items a step.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from likely.core import Batch, Budget, Family, Listener, Progress, Training
from likely.errors import OptionError, TrainingError
from likely.train import order
from likely.train.checkpoint import Checkpoints
from likely.train.distribute import Mesh, Share, whole
from likely.train.schedule import Clock, factor
from likely.train.signals import Asked, deferred
from likely.train.state import State

STRIKES = 10  # bad steps without a clean evaluation between them that end a run
PRECISIONS = ("auto", "float32", "bfloat16")
TOLD = 0.05  # seconds between reports to a listener
PLACES = 16  # at the coarsest level of an image
PAYS = 1_000_000  # parameters from which a CPU's bf16 units make up for the conversions (a guess: not measured)


@dataclass(frozen=True)
class Evaluation:
    """One look at the run: mean training losses since the last one, and the left-out loss (None: nothing left out)."""

    step: int
    seconds: float
    losses: dict[str, float]
    left_out: float | None


@dataclass(frozen=True)
class History:
    """What happened. `stopped` is "budget", "early", "interrupted" (Ctrl-C) or "terminated" (SIGTERM)."""

    stopped: str
    step: int  # steps done, those before a resumption included
    seconds: float
    best: float | None  # lowest left-out loss, nats an item: that of the weights which were kept
    bad_steps: int  # skipped, because a loss or gradient was not finite
    items: int  # learned from
    left_out: int  # left out to stop early
    precision: str  # "float32" or "bfloat16"
    evaluations: list[Evaluation] = field(default_factory=list)


def fit(
    family: Family[Any],
    data: Batch,
    budget: Budget,
    *,
    training: Training | None = None,
    seed: int = 0,
    listen: Listener | None = None,
    checkpoint: Path | None = None,
    mesh: Mesh | None = None,
) -> History:
    """Train `family` on the n items of `data`; on return it has the best weights and is in evaluation mode.

    It computes where its weights are, or on the device of `mesh`. `checkpoint` is a folder: the same call with the same
    folder resumes. Raises DataError, OptionError, TrainingError (too many bad steps, a checkpoint of another run) and
    StorageError (a checkpoint that cannot be written; the family then has the best weights so far).
    """
    training = training or family.plan()
    _check(training, seed)
    order.check(data)
    home = next((tensor.device for tensor in family.state_dict().values()), torch.device("cpu"))
    run = _Run(family, data, training, seed, mesh or Mesh(device=home))
    store = Checkpoints(checkpoint, run.identity(family), run.mesh) if checkpoint is not None else None
    with torch.random.fork_rng([run.mesh.device] if run.mesh.device.type == "cuda" else []), deferred() as asked:
        try:
            stopped = run.learn(budget, asked, store, listen if run.mesh.rank == 0 else None)
            run.state.give(family)
        except Exception:
            if run.mesh.kind != "fsdp":  # to put shards together takes all processes, and some may be gone
                run.state.give(family)
            raise
        finally:
            family.to(home).eval()
        last = torch.Generator().manual_seed(order.mix(order.FINISH, seed))
        family.finish(order.take(data, run.rows, home), rng=last)
        return run.history(stopped)


class _Run:
    """The parts of one run, and the three things that happen in it: a step, a look, a strike."""

    def __init__(self, family: Family[Any], data: Batch, training: Training, seed: int, mesh: Mesh) -> None:
        self.data, self.training, self.seed, self.mesh = data, training, seed, mesh
        if not family.objectives():
            name = type(family).__name__
            raise TrainingError(f"{name} does not learn by gradients: call its own fit(batch, budget, rng=...).")
        self.model = mesh.place(family).train()
        self.objectives = self.model.objectives()
        # Losses that play against each other say nothing about quality, so that a game leaves nothing out.
        share = training.holdout if len(self.objectives) == 1 else 0.0
        self.rows, self.left = order.split(len(data.x), share, seed)
        self.size = min(training.batch, len(self.rows))
        lengths = family.lengths(order.take(data, self.rows, mesh.device)) if training.pool > 1 else None
        self.alike = order.Alike(lengths.cpu(), training.pool, self.size, seed) if lengths is not None else None
        # On all rows in every process, and before cutting: each starts from the same weights.
        self.model.prepare(order.take(data, self.rows, mesh.device))
        self.share: Share = mesh.wrap(self.model, self.objectives)  # before the state: cutting replaces parameters
        self.state = State(self.model, self.objectives, training, keep_best=len(self.left) > 0)
        self.bf16 = training.precision == "bfloat16" or (
            training.precision == "auto" and gains(self.model, mesh.device)
        )

    def learn(self, budget: Budget, asked: Asked, store: Checkpoints | None, listen: Listener | None) -> str:
        """The loop. Returns why it stopped."""
        state, training = self.state, self.training
        if store:
            store.load(state)
        numbers = state.numbers
        clock = Clock(budget, training, before=numbers.elapsed, items=len(self.rows))
        tell = _Teller(listen, numbers.step, clock.elapsed())
        good = state.copy()
        try:
            while True:
                # Processes agree on the time and on what was asked for, or they would part ways.
                elapsed, interrupt, terminate = self.mesh.largest(clock.elapsed(), asked.interrupt, asked.terminate)
                numbers.elapsed = elapsed
                progress = clock.progress(numbers.step, elapsed)
                over = progress >= 1 and numbers.step > 0
                tell(progress, elapsed, numbers.step, self.running_loss(), last=over)
                if interrupt or terminate:
                    if self.ruined():
                        state.restore(good)
                    if store:
                        store.save(state)
                    return "terminated" if terminate else "interrupted"
                if self.due(progress, over):
                    if self.look():
                        good = state.copy()
                        if store:
                            store.save(state)
                    else:
                        state.restore(good)
                if over:
                    return "budget"
                if numbers.stale >= training.patience:
                    return "early"

                rate = training.rate * numbers.scale * factor(progress, training.warmup, clock.steps)
                bad = self.step(rate)
                if bad:
                    self.strike(f"{bad}, rate {rate:.2g}")
                    if numbers.strikes > 1:
                        state.restore(good)
        except KeyboardInterrupt:  # a second Ctrl-C, or a listener's: the step may be half done
            state.restore(good)
            return "interrupted"

    def step(self, rate: float) -> str:
        """One step of every objective in turn. Returns what was not finite, "" where all was well."""
        numbers, mesh = self.state.numbers, self.mesh
        rows = self.rows[self.drawn(numbers.step)]
        mine, weight = mesh.part(rows)
        # As many parts in every process, or one would wait for the others.
        pieces = min(self.training.accumulate, max(1, len(rows) // mesh.world))
        parts = [order.take(self.data, piece, mesh.device) for piece in mine.tensor_split(pieces)]
        mesh.seed(order.mix(order.STEP, self.seed, numbers.step, mesh.rank))
        numbers.step += 1
        bad = ""
        for k, (objective, optimiser) in enumerate(zip(self.objectives, self.state.optimisers, strict=True)):
            if numbers.step % objective.every:
                continue
            self.model.zero_grad(set_to_none=True)
            loss = torch.zeros((), device=mesh.device)
            for number, part in enumerate(parts, 1):
                with mesh.exchange(self.share, number == len(parts)):
                    with self.autocast():
                        share = self.share(k, part) * (weight * (len(part.x) / len(mine)))
                    share.backward()  # type: ignore[no-untyped-call]
                loss = loss + share.detach()
            norm = float(whole(nn.utils.clip_grad_norm_(objective.module.parameters(), self.training.clip or math.inf)))
            value = float(mesh.mean(loss))
            if not (math.isfinite(value) and math.isfinite(norm)):
                bad = f"objective {objective.name!r} at step {numbers.step}: loss {value:.4g}, gradient norm {norm:.4g}"
                continue
            for group in optimiser.param_groups:
                group["lr"] = rate
            optimiser.step()
            numbers.sums[k] += value
            numbers.counts[k] += 1
        if not bad:
            self.state.average.update(numbers.step)
        return bad

    def drawn(self, step: int) -> Tensor:
        """Which of the rows a step learns from."""
        if self.alike is not None:
            return self.alike.draw(step)
        return order.draw(step, self.size, len(self.rows), self.seed)

    def due(self, progress: float, over: bool) -> bool:
        """Whether to look now: `evaluations` times over the run, at its end, and never more work than the steps."""
        numbers = self.state.numbers
        mark = int(progress * self.training.evaluations + 1e-9)
        since = numbers.step - numbers.at
        if since and (over or (mark > numbers.mark and since * self.size >= len(self.left))):
            numbers.mark, numbers.at = mark, numbers.step
            return True
        return False

    def look(self) -> bool:
        """Judge the averaged weights on the items left out. False where they are ruined."""
        state, numbers = self.state, self.state.numbers
        left = self.left_out_loss() if len(self.left) else None
        ruined = self.ruined() or (left is not None and not math.isfinite(left))
        losses = {o.name: s / c for o, s, c in zip(self.objectives, numbers.sums, numbers.counts, strict=True) if c}
        numbers.record.append(asdict(Evaluation(numbers.step, numbers.elapsed, losses, left)))
        numbers.sums, numbers.counts = [0.0] * len(numbers.sums), [0] * len(numbers.counts)
        if ruined:
            self.strike(f"evaluation at step {numbers.step}: left-out loss {left}, or weights that are not finite")
            return False
        if left is not None and left < numbers.best:
            numbers.best, numbers.stale = left, 0
            state.keep()
        elif left is not None:
            numbers.stale += 1
        if numbers.bad == numbers.forgiven:  # none since the last look: trust grows again
            numbers.strikes, numbers.scale = 0, min(1.0, 2 * numbers.scale)
        numbers.forgiven = numbers.bad
        return True

    @torch.no_grad()
    def left_out_loss(self) -> float:
        """Mean loss of the averaged weights; the same random numbers at each call, so that calls can be compared."""
        self.mesh.seed(order.mix(order.EVALUATION, self.seed, self.mesh.rank))
        total = torch.zeros((), dtype=torch.float64, device=self.mesh.device)
        self.model.eval()
        try:
            with self.state.average.applied():
                for rows in torch.split(self.left, self.size):
                    mine, weight = self.mesh.part(rows)
                    with self.autocast():
                        loss = self.share(0, order.take(self.data, mine, self.mesh.device))
                    total += loss * weight * len(rows)
        finally:
            self.model.train()
        return float(self.mesh.mean(total)) / len(self.left)

    def strike(self, seen: str) -> None:
        """Count a bad step and halve the rate. Raises TrainingError after too many."""
        numbers = self.state.numbers
        numbers.strikes, numbers.bad, numbers.scale = numbers.strikes + 1, numbers.bad + 1, numbers.scale / 2
        if numbers.strikes >= STRIKES:
            holes = not bool(torch.isfinite(self.data.x).all())
            raise TrainingError(
                f"{numbers.strikes} steps gave a loss or gradient that is not finite, though the rate was halved each "
                f"time and the last good weights were put back. The last: {seen}. "
                + (
                    "The data hold NaN or infinite values: remove or encode them."
                    if holes
                    else f"The data are finite: try a lower rate than {self.training.rate:g}, Training(rate=...)."
                )
            )

    def ruined(self) -> bool:
        """Whether a weight of any process is not finite."""
        return self.mesh.largest(not self.state.healthy())[0] > 0

    def running_loss(self) -> float | None:
        """Mean loss of the first objective since the last look, and the last one's just after it."""
        numbers = self.state.numbers
        if numbers.counts[0]:
            return numbers.sums[0] / numbers.counts[0]
        last = numbers.record[-1]["losses"] if numbers.record else {}
        return last.get(self.objectives[0].name)

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.mesh.device.type, torch.bfloat16, enabled=self.bf16)

    def identity(self, family: Family[Any]) -> dict[str, str]:
        """What makes this run this run: a checkpoint of another is refused."""
        return {
            "family": f"{type(family).__module__}.{type(family).__qualname__}",
            "data": order.fingerprint(self.data)[:16],
            "seed": str(self.seed),
            "space": repr(family.space),
            "condition": repr(family.given),
            "config": repr(family.config),
            "training": repr(self.training),
        }

    def history(self, stopped: str) -> History:
        numbers = self.state.numbers
        return History(
            stopped=stopped,
            step=numbers.step,
            seconds=numbers.elapsed,
            best=numbers.best if math.isfinite(numbers.best) else None,
            bad_steps=numbers.bad,
            items=len(self.rows),
            left_out=len(self.left),
            precision="bfloat16" if self.bf16 else "float32",
            evaluations=[Evaluation(**entry) for entry in numbers.record],
        )


class _Teller:
    """Tells a listener how far training is, at most twenty times a second."""

    def __init__(self, listen: Listener | None, step: int, elapsed: float) -> None:
        self.listen, self.step, self.began, self.told = listen, step, elapsed, -math.inf

    def __call__(self, progress: float, elapsed: float, step: int, loss: float | None, last: bool) -> None:
        if self.listen is None or (elapsed - self.told < TOLD and not last):
            return
        self.told = elapsed
        spent, steps = elapsed - self.began, step - self.step
        speed = steps / spent if steps and spent > 0 else None
        left = elapsed * (1 - progress) / progress if steps and progress > 0 else None
        self.listen(Progress("learning", progress, loss, speed, left))


def gains(model: Family[Any], device: torch.device) -> bool:
    """Whether bf16 pays on this machine, by what it is said to be able to; a timing would differ from run to run."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu" and _work(model) >= PAYS:
        able: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
    return False


def _work(model: Family[Any]) -> int:
    """Parameters, those of convolutions times the least number of places they are used at. (Not in a game, whose
    penalties are gradients of gradients and keep their digits.)"""
    kinds = (nn.Conv2d, nn.Conv3d) if len(model.objectives()) == 1 else ()
    extra = sum(part.weight.numel() for part in model.modules() if isinstance(part, kinds))
    return sum(parameter.numel() for parameter in model.parameters()) + (PLACES - 1) * extra


def _check(training: Training, seed: int) -> None:
    """Raise OptionError for settings that make no sense."""
    wants = {
        "batch": (training.batch >= 1, "1 or more"),
        "steps": (training.steps >= 1, "1 or more"),
        "rate": (0 < training.rate < math.inf, "above 0, such as 0.003"),
        "warmup": (0 <= training.warmup < 1, "a share from 0 to below 1"),
        "decay": (training.decay >= 0, "0 or more"),
        "clip": (training.clip >= 0, "0 (no clipping) or more"),
        "ema": (0 <= training.ema < 1, "from 0 (no average) to below 1"),
        "precision": (training.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
        "holdout": (0 <= training.holdout <= 0.5, "a share from 0 to 0.5"),
        "patience": (training.patience >= 1, "1 or more"),
        "evaluations": (training.evaluations >= 1, "1 or more"),
        "pool": (training.pool >= 1, "1 (no pools) or more"),
        "accumulate": (training.accumulate >= 1, "1 or more"),
    }
    for name, (good, wanted) in wants.items():
        if not good:
            raise OptionError(f"Training({name}={getattr(training, name)!r}) was given; {name} is {wanted}.")
    if seed < 0:
        raise OptionError(f"seed is {seed!r}; it is a whole number, 0 or more.")
