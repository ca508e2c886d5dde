"""The three stages on a checkpoint: learn from examples, learn what people prefer, follow it.

    done = rlhf("smollm2", "mine", examples=[{"prompt": .., "answer": ..}, ..], judgements=judgements, minutes=50)

    1  tune      examples, by a low-rank adapter that is then folded in; left out where there are none
    2  reward    judgements, as a Bradley-Terry model on the states of what came out of 1; or a function of yours
    3  follow    PPO (or GRPO, DPO, ...) of a second adapter, prompts drawn from what was judged or given

(Ouyang et al. 2022, arXiv:2203.02155.) What a stage made stands in the folder once it is done:

    tuned/  adapter of 1        reward.likely  of 2        adapter/  of 3, on top of 1        model/  all in one
    recipe.json  what was asked for            rlhf.json, rlhf.html  what came out           run/  to resume 3 from

The same call goes on where it was stopped; another one on the same folder is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from likely.align import course
from likely.align.exchange import own
from likely.align.preference import Judgements
from likely.align.reward import RewardModel, fit_reward
from likely.align.states import Language
from likely.apps.rlhf.answering import Aligned, Signal, align, said_of
from likely.apps.rlhf.asking import judged
from likely.core import Listener, Progress
from likely.errors import OptionError
from likely.language import adapter, huggingface, lora
from likely.language.checkpoint import Checkpoint, fingerprint, hastened, load
from likely.language.policy import Speaking
from likely.language.tune import tune
from likely.train.checkpoint import write_atomic

SHARE = 0.25  # of the minutes, for examples


def rlhf(  # noqa: PLR0913  (one argument a choice; all but two have defaults)
    model: str | Path, out: str | Path, *, examples: Sequence[Mapping[str, Any]] = (),
    judgements: Judgements | None = None, reward: Signal | None = None, prompts: Sequence[Any] | None = None,
    method: str = "ppo", minutes: float | None = None, steps: int | None = None, seed: int = 0,
    speaking: Speaking | None = None, listen: Listener | None = None, tell: Callable[[str], None] = lambda text: None,
    watch: Callable[[int, course.Row], None] | None = None, **options: Any,
) -> Aligned:  # fmt: skip
    """All three stages; `options` are those of `align`. `tell` hears a sentence a stage.

    Raises OptionError where neither judgements nor a reward is given, or the folder holds another run, and what the
    stages raise.
    """
    folder, base = Path(out), load(model)
    if (judgements is None) == (reward is None):
        raise OptionError("Give what is to be liked: judgements, or a reward; one of them.")
    if claim(folder, {
        "model": fingerprint(base), "examples": _hash(list(examples)), "method": method, "seed": seed,
        "judgements": _hash(own.rows(judgements)) if judgements is not None else "", "prompts": _hash(prompts),
        "speaking": repr(speaking), "minutes": minutes, "steps": steps,
    }):  # fmt: skip
        raise OptionError(
            f"{str(folder)!r} holds this run, and it is done: likely chat --model {folder / 'model'}. To run it again, "
            "give a new folder."
        )
    if examples:
        part = SHARE * minutes if minutes is not None else None
        tell(tuned(base, folder / "tuned", examples, part, seed, listen))
        minutes = minutes - part if minutes is not None and part is not None else None
    hastened(base)
    told: dict[str, Any] = {}
    signal: Signal
    if judgements is not None and method != "dpo":
        signal = learned(base, folder / "reward.likely", judgements, seed, listen)
        told["judgements"] = said_of(signal)
        tell(str(signal.report))
        prompts = judged(judgements) if prompts is None else prompts
    else:
        signal = judgements if judgements is not None else reward  # type: ignore[assignment]
    done = align(
        base, prompts, signal, method=method, minutes=minutes, steps=steps, seed=seed, speaking=speaking,
        listen=listen, watch=watch, checkpoint=folder / "run", **options,
    )  # fmt: skip
    done.entry |= told
    adapter.save(base.network, folder / "adapter", base=str(model))
    lora.fold(base.network)
    huggingface.save(base, folder / "model")
    done.price.to_html(folder / "rlhf.html")
    write_atomic(folder / "rlhf.json", (json.dumps(done.entry, indent=1) + "\n").encode())
    tell(str(done))
    return done


def tuned(
    base: Checkpoint, place: Path, examples: Sequence[Mapping[str, Any]], minutes: float | None, seed: int,
    listen: Listener | None,
) -> str:  # fmt: skip
    """Learn from examples, or take what was learned; it is folded into `base`. A sentence about it."""
    if (place / adapter.WEIGHTS).is_file():
        adapter.load(base.network, place)
        said = f"Examples were learned before: {place}"
    else:
        done = tune(base, examples, minutes=minutes, seed=seed, listen=listen, checkpoint_dir=place.parent / "tuning")
        adapter.save(base.network, place, base=base.source)
        said = str(done)
    lora.fold(base.network)
    return said


def learned(
    base: Checkpoint, place: Path, judgements: Judgements, seed: int, listen: Listener | None
) -> RewardModel:  # fmt: skip
    """The reward of judgements, learned or as it was learned before."""
    if place.is_file():
        return RewardModel.load(place, base)

    def heard(done: int, of: int) -> None:
        if listen is not None:
            listen(Progress("reading what was judged", done / of))

    made = fit_reward(judgements, Language(base, listen=heard), seed=seed)
    made.save(place)
    return made


def claim(folder: Path, asked: dict[str, Any]) -> bool:
    """Mark a folder as that of this run; whether the run is done.

    Raises OptionError where it is that of another, or holds other things."""
    note = folder / "recipe.json"
    if note.is_file() and len(list(folder.iterdir())) > 1:  # else nothing was made yet
        try:
            before = json.loads(note.read_text(encoding="utf-8"))
        except ValueError:
            before = {}
        other = [name for name in asked if before.get(name) != asked[name]]
        if other:
            raise OptionError(
                f"{str(folder)!r} holds another run (its {', '.join(other)}): give a new folder, or the same options "
                "to go on with it."
            )
        return (folder / "rlhf.json").is_file()
    if folder.exists() and (not folder.is_dir() or any(path != note for path in folder.iterdir())):
        raise OptionError(f"{str(folder)!r} exists and is not empty: give a new folder.")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(note, (json.dumps(asked, indent=1) + "\n").encode())
    return False


def _hash(what: Any) -> str:
    text = what if isinstance(what, str) else json.dumps(what, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
