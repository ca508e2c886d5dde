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
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from likely.align import course
from likely.align.encoding import WORDS, readable
from likely.align.exchange import own
from likely.align.preference import Judgements
from likely.align.reward import RewardModel, fit_reward
from likely.align.rewards import Rewards, Weighted
from likely.apps.rlhf.answering import Aligned, align, looking, said_of
from likely.apps.rlhf.asking import judged
from likely.apps.rlhf.plan import BETA, Plan
from likely.core import Listener
from likely.errors import OptionError, StorageError
from likely.language import adapter, huggingface, lora
from likely.language.checkpoint import Checkpoint, fingerprint, hastened, load
from likely.language.policy import Speaking
from likely.language.tune import Tuning, prepare, tune
from likely.train.checkpoint import write_atomic

SHARE = 0.25  # of the minutes, for examples


def rlhf(  # noqa: PLR0913  (one argument a choice; all but two have defaults)
    model: str | Path, out: str | Path, *, examples: Sequence[Mapping[str, Any]] = (),
    judgements: Judgements | None = None, reward: Rewards | None = None, prompts: Sequence[Any] | None = None,
    method: str = "ppo", minutes: float | None = None, steps: int | None = None, seed: int = 0,
    speaking: Speaking | None = None, listen: Listener | None = None, tell: Callable[[str], None] = lambda text: None,
    watch: Callable[[int, course.Row], None] | None = None, **options: Any,
) -> Aligned:  # fmt: skip
    """All three stages; `options` are those of `align`. `tell` hears a sentence a stage.

    Raises OptionError where neither judgements nor a reward is given, or the folder holds another run, and what the
    stages raise.
    """
    folder, base, began = Path(out), load(model), time.monotonic()
    if (judgements is None) == (reward is None):
        raise OptionError("Give what is to be liked: judgements, or a reward; one of them.")
    if judgements is not None:
        judgements, aside = readable(judgements, WORDS, "texts")
        for note in aside:
            tell(note)
        strange = {one.media for item in judgements.items for one in item.candidates if not one.media.startswith(WORDS)}
        if strange:
            raise OptionError(
                f"These are judgements of {', '.join(sorted(strange)[:3])}; a language model learns from texts. For "
                "the generator that made them: likely align MODEL.likely --judgements judgements.db -o liked.likely"
            )
    if examples:
        prepare(base, examples, Tuning())
    liked = judgements if judgements is not None else reward
    asked = {name: options[name] for name in ("beta", "rate", "missing", "limit") if name in options}
    rest = {name: value for name, value in options.items() if name not in (*asked, "held", "judge", "features")}
    Plan.of(base, prompts, liked, method, speaking, seed, rest, steps=steps, minutes=minutes,
            **{"beta": BETA, **asked})  # fmt: skip
    if claim(folder, {
        "model": fingerprint(base), "examples": _hash(list(examples)), "method": method, "seed": seed,
        "judgements": _hash(own.rows(judgements)) if judgements is not None else "",
        "reward": Weighted(reward).identity if reward is not None else "", "prompts": _hash(prompts),
        "speaking": repr(speaking), "minutes": minutes, "steps": steps,
        "options": _hash({**asked, **rest, "held": list(options.get("held", ()))}),
    }):  # fmt: skip
        raise OptionError(
            f"{str(folder)!r} holds this run, and it is done: likely chat --model {folder / 'model'}. To run it again, "
            "give a new folder."
        )
    if examples:
        part = SHARE * minutes if minutes is not None else None
        tell(tuned(base, folder, examples, part, seed, listen))
    hastened(base)
    told: dict[str, Any] = {}
    if judgements is not None and method != "dpo":
        liked = learned(base, folder / "reward.likely", judgements, seed, listen)
        told["judgements"] = said_of(liked)
        tell(str(liked.report))
        prompts = judged(judgements) if prompts is None else prompts
    assert liked is not None
    if minutes is not None:
        minutes = max(minutes - (time.monotonic() - began) / 60, 0.1 * minutes)
    done = align(
        base, prompts, liked, method=method, minutes=minutes, steps=steps, seed=seed, speaking=speaking,
        listen=listen, watch=watch, checkpoint=folder / "run", whole=True, **options,
    )  # fmt: skip
    done.entry |= told
    adapter.save(done.checkpoint.network, folder / "adapter", base=str(folder / "tuned") if examples else str(model))
    shutil.rmtree(folder / "model", ignore_errors=True)  # half a one, of a run that was killed while writing
    huggingface.save(replace(done.checkpoint, network=lora.whole(done.checkpoint.network)), folder / "model")
    done.price.to_html(folder / "rlhf.html")
    write_atomic(folder / "rlhf.json", (json.dumps(done.entry, indent=1, allow_nan=False) + "\n").encode())
    shutil.rmtree(folder / "tuning", ignore_errors=True)
    tell(str(done))
    return done


def tuned(
    base: Checkpoint, folder: Path, examples: Sequence[Mapping[str, Any]], minutes: float | None, seed: int,
    listen: Listener | None,
) -> str:  # fmt: skip
    """Learn from examples, or take what was learned; it is folded into `base`. A sentence about it.

    Raises KeyboardInterrupt where it was stopped: folder/tuning holds it then."""
    place = folder / "tuned"
    if (place / adapter.WEIGHTS).is_file():
        adapter.load(base.network, place)
        said = f"Examples were learned before: {place}"
    else:
        done = tune(base, examples, minutes=minutes, seed=seed, listen=listen, checkpoint_dir=folder / "tuning")
        if done.history.stopped in ("interrupted", "terminated"):
            raise KeyboardInterrupt
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

    looks = looking(base, listen or (lambda progress: None))
    made = fit_reward(judgements, looks, seed=seed)
    looks.listen = None
    made.save(place)
    return made


def claim(folder: Path, asked: dict[str, Any]) -> bool:
    """Mark a folder as that of this run; whether the run is done.

    Raises OptionError where it is that of another, or holds other things."""
    note = folder / "recipe.json"
    if note.is_file() and len(list(folder.iterdir())) > 1:  # else nothing was made yet
        try:
            found = json.loads(note.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        before = found if isinstance(found, dict) else {}
        other = [name for name in asked if before.get(name) != asked[name]]
        if other:
            raise OptionError(
                f"{str(folder)!r} holds another run (its {', '.join(other)}): give a new folder, or the same options "
                "to go on with it."
            )
        return (folder / "rlhf.json").is_file()
    if folder.exists() and (not folder.is_dir() or any(path != note for path in folder.iterdir())):
        raise OptionError(f"{str(folder)!r} exists and is not empty: give a new folder.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"Cannot make the folder {str(folder)!r}: {error.strerror or error}.") from error
    write_atomic(note, (json.dumps(asked, indent=1) + "\n").encode())
    return False


def _hash(what: Any) -> str:
    text = what if isinstance(what, str) else json.dumps(what, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
