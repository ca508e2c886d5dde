"""Alignment of a checkpoint's answers: a reward, or what people preferred, moves an adapter.

    done = align("smollm2", prompts, lambda answers: [-len(a) for a in answers], beta=0.05)
    print(done); done.save("brief")              # likely chat --model smollm2 --adapter brief

Some prompts are left out; answers to them before and after are the result: what the reward says of both, who wins pair
by pair, how far the law of answers moved (nats an answer), and what became of texts that have nothing to do with it.

Letters: n answers.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from likely.align import course, dpo
from likely.align.encoding import WORDS, readable
from likely.align.features import Features
from likely.align.preference import Judgements
from likely.align.reward import RewardModel, fit_reward
from likely.align.rewards import Reward, Rewards
from likely.align.states import Language
from likely.align.trial import Trial, ended, graded
from likely.apps.rlhf import cost, pairing
from likely.apps.rlhf.asking import Prompts
from likely.apps.rlhf.plan import BETA, LIMIT, RATE, Plan
from likely.apps.rlhf.taste import Taste, texts
from likely.core import Budget, Listener, Progress
from likely.evaluate.price import Price, frontier, stored
from likely.language import adapter, huggingface, lora
from likely.language.checkpoint import Checkpoint, opened
from likely.language.decode.engine import Engine
from likely.language.policy import Speaker, Speaking
from likely.language.tune import fingerprint
from likely.train.checkpoint import write_atomic
from likely.train.order import mix

Signal = Rewards | Judgements
MEASURED = 128  # answers before and after, at least one a prompt
UNHELD = "What it cost texts of another kind was not measured: give some, held=[...] or --held texts.txt."
KEPT = 12  # pairs of answers that the record shows
READ = 512  # tokens of a held-out text that its perplexity is measured on


@dataclass
class Answers:
    """Answers to prompts, with their rewards."""

    texts: list[str]
    rewards: list[float]


@dataclass
class Aligned:
    """The checkpoint with its adapter, the run, what there is to say (`entry`, JSON), and the answers to left-out
    prompts before and after, in one order."""

    checkpoint: Checkpoint
    record: course.Record
    entry: dict[str, Any]
    prompts: list[Any] = field(repr=False)
    before: Answers = field(repr=False)
    after: Answers = field(repr=False)
    reward: RewardModel | None = field(default=None, repr=False)

    @property
    def price(self) -> Price:
        """What it won and what it cost; print it, or `price.to_html("align.html")`."""
        shown = [cost.examples(self.prompts, side.texts, side.rewards) for side in (self.before, self.after)]
        return Price.of(self.entry, self.checkpoint.name, *shown)

    def save(self, folder: str | Path, *, merge: bool = False) -> None:
        """An adapter folder, or a whole model where `merge`; beside it alignment.json. Raises StorageError."""
        folder = Path(folder)
        if merge:
            huggingface.save(replace(self.checkpoint, network=lora.whole(self.checkpoint.network)), folder)
        else:
            adapter.save(self.checkpoint.network, folder, base=self.checkpoint.source)
        write_atomic(folder / "alignment.json", (json.dumps(self.entry, indent=1) + "\n").encode())
        self.price.to_html(folder / "alignment.html")
        if self.reward is not None:
            self.reward.save(folder / "reward.likely")

    def __str__(self) -> str:
        told = self.entry
        lines = [
            f"Reward {told['before']:.3g} -> {told['after']:.3g} (spread {told['spread before']:.2g}) on "
            f"{told['answers']} answers to {told['prompts left out']} prompts that were left out; better than the "
            f"start in {told['won']:.0%} of pairs, at {told['kl']:.2f} nats an answer.",
        ]
        if "judge won" in told:
            lines.append(f"By the judge that it did not learn from: better in {told['judge won']:.0%} of pairs.")
        if "perplexity before" in told:
            lines.append(f"Perplexity of other texts: {told['perplexity before']:.2f} -> "
                         f"{told['perplexity after']:.2f}.")  # fmt: skip
        return "\n".join(lines + [f"Note: {note}" for note in told["notes"]])


def align(  # noqa: PLR0913  (one argument a choice; all but three have defaults)
    model: Checkpoint | str | Path, prompts: Sequence[Any] | None, signal: Signal, *, method: str = "ppo",
    beta: float = BETA, seed: int = 0, minutes: float | None = None, steps: int | None = None, rate: float = 0.0,
    limit: float = LIMIT, missing: float = 0.0, judge: Reward | None = None, features: Features | None = None,
    held: Sequence[str] = (), speaking: Speaking | None = None, listen: Listener | None = None,
    watch: Callable[[int, course.Row], None] | None = None, checkpoint: str | Path | None = None, whole: bool = False,
    **options: Any,
) -> Aligned:  # fmt: skip
    """Move the adapter of `model`, a checkpoint or the name of one, towards `signal`.

    `prompts`: texts or conversations; None: those of the judgements. `signal`: a function of answers (and `prompts`), a
    reward model, several with weights, or judgements, of which a reward model on `features` is learned first (the
    states of the checkpoint itself). `beta`: the price of a nat; "ppo" raises it while answers are more than `target`
    nats (6; 0: it stays) from the start. `missing`: taken from the reward of answers that do not end. `judge`: a reward
    that only measures. `held`: texts whose perplexity before and after is told. `speaking`: of answers and adapter.
    `options` are the method's. `checkpoint`: a folder to resume from, to the bit where minutes are not given. Ends
    after `steps` (40) or `minutes`; Ctrl-C ends it and keeps what was learned, but where it is to be done as a `whole`
    it raises KeyboardInterrupt. `model` itself stays as it is.

    Raises OptionError, UnknownName, DataError, RewardError, TrainingError, StorageError, Mismatch.
    """
    began = time.monotonic()
    tell = listen or (lambda progress: None)
    base, aside = opened(model), list[str]()
    if isinstance(signal, Judgements):
        signal, aside = readable(signal, WORDS, "texts")
    plan = Plan.of(base, prompts, signal, method, speaking, seed, options, beta=beta, rate=rate, missing=missing,
                   limit=limit, steps=steps, minutes=minutes)  # fmt: skip
    config, asked, speaking = plan.config, plan.asked, plan.speaking
    told: dict[str, Any] = {}
    learned = None
    judgements = signal if isinstance(signal, Judgements) else None
    if judgements is not None:
        tell(Progress("learning the reward", 0.0))
        looks = features or looking(base, tell)
        learned = fit_reward(judgements, looks, seed=seed)
        if isinstance(looks, Language):
            looks.listen = None
        told["judgements"] = said_of(learned)
        signal = learned
    assert not isinstance(signal, Judgements)
    taste = Taste(base, signal, asked.by_ids())
    identity = fingerprint(base.network)
    policy = Speaker(base, speaking, seed=seed)
    tell(Progress("answering before", 0.0))
    start = time.monotonic()
    before = _measure(policy, taste, asked, judge, missing, seed, False)
    perplexity = _perplexity(base, held)
    trial = Trial(policy, taste, asked.source, missing=missing)
    pairs, notes = {}, aside
    if method == "dpo":
        made = (
            pairing.pairs_of(judgements, base, policy, notes) if judgements else dpo.made(trial, config.samples, seed)
        )
        pairs = {"pairs": made}
    run = plan.cls(trial, config, beta, rate or RATE, seed, **pairs)
    who = {
        "model": identity, "reward": taste.liked.identity, "beta": str(beta), "rate": str(rate or RATE),
        "missing": str(missing), "options": repr(config), "speaking": repr(speaking),
        "prompts": asked.identity,
    }  # fmt: skip
    if steps is None and minutes is None:
        steps = 40
    if minutes is not None:  # what was done so far counts, and the same is measured again at the end
        now = time.monotonic()
        minutes = max(minutes - (now - began + now - start) / 60, 0.1 * minutes)
    record = course.run(
        run, budget=Budget(minutes, steps), limit=limit, seed=seed, listen=listen, watch=watch,
        checkpoint=Path(checkpoint) if checkpoint else None, identity=who,
    )  # fmt: skip
    if whole and record.stopped in ("interrupted", "terminated"):
        raise KeyboardInterrupt
    tell(Progress("answering after", 0.0))
    after = _measure(policy, taste, asked, judge, missing, seed + 1, True)
    then = _perplexity(policy.drawing(), held)
    entry = {
        "method": method, "model": base.name, "reward": taste.liked.name, "beta": beta, "seed": seed,
        "options": {**asdict(config), "rate": rate or RATE, **asdict(speaking)}, "missing": missing,
        "steps": len(record.rows), "stopped": record.stopped, "notes": [*asked.notes, *notes, *record.notes], **told,
        "prompts": len(asked.seen), "prompts left out": len(asked.left), "answers": len(before.rewards),
        **_compared(before, after),
    }  # fmt: skip
    if not perplexity:
        entry["notes"].append(UNHELD)
    else:
        entry |= {"perplexity before": perplexity, "perplexity after": then}
    places = asked.left * before.times
    entry["examples"] = [
        {"prompt": asked.said[place], "before": before.texts[k], "after": after.texts[k],
         "reward before": before.rewards[k], "reward after": after.rewards[k]}
        for k, place in list(enumerate(places))[:KEPT]
    ]  # fmt: skip
    entry["figures"] = stored(cost.figures(
        before.columns, after.columns, (before.texts, after.texts), (perplexity, then), (before.entropy, after.entropy)
    ))  # fmt: skip
    entry["frontier"] = frontier(np.asarray(before.rewards))
    entry["rows"] = record.rows
    return Aligned(
        policy.settled(), record, entry, [asked.said[place] for place in places], Answers(before.texts, before.rewards),
        Answers(after.texts, after.rewards), learned,
    )  # fmt: skip


def said_of(model: RewardModel) -> dict[str, Any]:
    """What the record says of a reward that was learned."""
    report = model.report
    assert report is not None
    return {name: getattr(report, name) for name in ("pairs", "items", "ties", "accuracy", "error", "ceiling", "notes")}


def looking(base: Checkpoint, tell: Listener) -> Language:
    """The states of a checkpoint, which tell how far they are read."""
    began = time.monotonic()

    def heard(done: int, of: int) -> None:
        spent = time.monotonic() - began
        tell(Progress("reading what was judged", done / of, None, done / max(spent, 1e-9), spent * (of - done) / done))

    return Language(base, listen=heard)


# -------------------------------------------------------------------------------------------- before and after


@dataclass
class _Measured:
    texts: list[str]
    rewards: list[float]
    judged: list[float] | None
    kl: float
    entropy: float
    length: list[float]
    ended: list[float]
    times: int

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """As the page of the alignment takes them."""
        found = {"reward": self.rewards, "length": self.length, "ended": self.ended}
        if self.judged is not None:
            found["judge"] = self.judged
        return {name: np.asarray(values, np.float64) for name, values in found.items()}


@torch.no_grad()
def _measure(
    policy: Speaker, taste: Taste, asked: Prompts, judge: Reward | None, missing: float, seed: int, moved: bool
) -> _Measured:  # fmt: skip
    """Answers to the prompts that were left out, and what is said of them."""
    times = max(1, -(-MEASURED // len(asked.left)))
    places = asked.left * times
    path = policy.rollout(len(places), asked.given(places), rng=torch.Generator().manual_seed(mix(seed, 2)))
    done = ended(path, policy.ends).float()
    reward = graded(taste, path) - missing * (1 - done)
    answers = texts(policy.held.checkpoint, path)
    second = None
    if judge is not None:
        second = graded(Taste(policy.held.checkpoint, judge, taste.said), path).tolist()
    logp = policy.score(path).logp
    kl = float((logp - policy.score_start(path).logp).sum(1).mean()) if moved else 0.0
    return _Measured(
        answers, reward.tolist(), second, kl, -float(logp[path.mask].mean()), path.mask.sum(1).tolist(),
        done.tolist(), times,
    )  # fmt: skip


def _compared(before: _Measured, after: _Measured) -> dict[str, float]:
    """Means, spreads, and the share of pairs that the moved one wins; ties count half."""
    found: dict[str, float] = {}
    for name, measured in (("before", before), ("after", after)):
        reward = torch.tensor(measured.rewards)
        found |= {
            name: float(reward.mean()), f"spread {name}": float(reward.std(correction=0)),
            f"length {name}": _mean(measured.length), f"ended {name}": _mean(measured.ended),
        }  # fmt: skip
        if measured.judged is not None:
            found[f"judge {name}"] = _mean(measured.judged)
    found["won"] = _won(before.rewards, after.rewards)
    if before.judged is not None and after.judged is not None:
        found["judge won"] = _won(before.judged, after.judged)
        found["judge spread before"] = float(torch.tensor(before.judged).std(correction=0))
    return found | {"kl": after.kl}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _won(before: Sequence[float], after: Sequence[float]) -> float:
    pairs = list(zip(before, after, strict=True))
    return sum((b > a) + 0.5 * (b == a) for a, b in pairs) / len(pairs)


def _perplexity(base: Checkpoint, held: Sequence[str]) -> float | None:
    """exp of the mean nats a token of texts; None without any."""
    ids = [base.encode(text)[: min(READ, base.network.arch.context)] for text in held]
    ids = [row for row in ids if len(row) > 1]
    if not ids:
        return None
    told = torch.cat(Engine(base, kernel="plain").score(ids)).double()
    return math.exp(-float(told.mean()))
