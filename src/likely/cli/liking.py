"""What is to be liked, as a command line says it: judgements, functions of a Python file, rewards and classifiers.

    --judgements judgements.db          a store, a database URL, or a file of judgements
    --reward taste.py:older             a function of a Python file of the user's, which is run
    --reward taste.likely               a reward model (fit_reward(judgements).save(...), or likely rlhf)
    --reward mood.labels:positive       a classifier (likely label fit): log p of that label
    --reward taste.py:older=0.5         any of them with a weight

A classifier's reward is log p, not p: where it is nearly sure, p hardly differs between items, and nothing pulls.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import math
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from likely import artifact
from likely.align import exchange, reward
from likely.align.reward import RewardModel
from likely.apps.label.model import Labeller
from likely.errors import OptionError, RewardError, UnknownName
from likely.server.store import Store

WANTED = "FILE.py:FUNCTION, NAME.likely (a reward model) or NAME.labels:LABEL (a classifier), with =WEIGHT behind"
DATABASES = (".db", ".sqlite", ".sqlite3")


def signal_of(rewards: Sequence[str], judgements: str | None, model: Any = None) -> Any:
    """Rewards, or judgements. `model`: the generator, or the name of the checkpoint, whose states a reward model may
    look at.

    Raises OptionError unless one of them is given, StorageError, DataError, and what `load_reward` raises.
    """
    if bool(rewards) == bool(judgements):
        raise OptionError("Give what is to be liked: --reward taste.py:older, or --judgements judgements.db; not both.")
    if judgements is None:
        return [load_reward(name, model) for name in rewards]
    if "://" in judgements or judgements.endswith(DATABASES):
        if "://" not in judgements and not Path(judgements).is_file():
            raise OptionError(f"--judgements {judgements!r}: there is no such file.")
        with Store(judgements, make=False) as store:
            return store.judgements()
    return exchange.read(judgements)


def load_reward(text: str, model: Any = None) -> tuple[Callable[..., Any], float]:
    """A reward and its weight. Raises OptionError, RewardError for a file that cannot be run, ArtifactError."""
    said, factor = _weighed(text)
    place, _, name = said.rpartition(":")
    if said.endswith(DATABASES) and Path(said).is_file():
        raise OptionError(f"--reward {text!r} is a store of judgements: --judgements {said}")
    if Path(said).is_file() and not said.endswith(".py"):
        return _kept(said, "", text, model), factor
    if place and Path(place).is_file() and not place.endswith(".py"):
        return _kept(place, name, text, model), factor
    if not place.endswith(".py") or not name.isidentifier():
        gone = place or said
        missing = f"there is no file {gone!r}" if Path(gone).suffix in (".likely", ".labels") else f"wanted is {WANTED}"
        raise OptionError(f"--reward {text!r}: {missing}.")
    return _function(place, name, text), factor


def _weighed(text: str) -> tuple[str, float]:
    said, equals, weight = text.rpartition("=")
    if not equals or "/" in weight or weight.endswith((".py", ".likely", ".labels")):
        return text, 1.0
    try:
        factor = float(weight)
    except ValueError as error:
        raise OptionError(f"--reward {text!r}: the weight {weight!r} is no number.") from error
    if not math.isfinite(factor):
        raise OptionError(f"--reward {text!r}: the weight {weight!r} is no finite number.")
    return said, factor


def _function(place: str, name: str, text: str) -> Callable[..., Any]:
    """A function of a Python file, which is run."""
    if not Path(place).is_file():
        raise OptionError(f"--reward {text!r}: there is no file {place!r}.")
    module, digest = _module(Path(place).resolve())
    function = getattr(module, name, None)
    if not callable(function):
        known = ", ".join(one for one in vars(module) if not one.startswith("_") and callable(getattr(module, one)))
        raise OptionError(f"{place!r} has no function {name!r}" + (f"; it has: {known}." if known else "."))
    return _Told(function, name, digest, str(Path(place).resolve()))


class _Told:
    """A reward that knows which one it is: `digest` tells a file from the same one after it was changed."""

    def __init__(self, function: Callable[..., Any], name: str, digest: str, file: str = "") -> None:
        self.function, self.__name__, self.digest, self.file = function, name, digest, file
        with suppress(TypeError, ValueError):  # a builtin has none
            self.__signature__ = inspect.signature(function)

    def __call__(self, *given: Any, **named: Any) -> Any:
        try:
            return self.function(*given, **named)
        except RewardError:
            raise
        except Exception as error:
            lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == self.file]
            where = f"{Path(self.file).name}, line {lines[-1]}; " if lines else ""
            raise RewardError(
                f"The reward failed on {len(given[0])} items: {type(error).__name__}: {error} ({where}{self.__name__} "
                f"was given {_seen(given[0])}.)"
            ) from error


def _seen(items: Any) -> str:
    """What a function gets, in a few words."""
    kind = f"{type(items).__module__.partition('.')[0]}.{type(items).__name__}".removeprefix("builtins.")
    columns = getattr(items, "columns", None)
    if columns is not None:
        return f"a {kind} with the columns {', '.join(list(columns)[:12])}{', ...' if len(columns) > 12 else ''}"
    first = f" of {type(items[0]).__name__}" if isinstance(items, list) and items else ""
    return f"a {kind}{first}" + (f" of shape {items.shape}" if hasattr(items, "shape") else "")


@cache
def _module(place: Path) -> tuple[ModuleType, str]:
    """A Python file as a module that can import what stands beside it, run once; and its hash."""
    digest = hashlib.sha256(place.read_bytes()).hexdigest()[:12]
    name = f"{place.stem}_{digest}"
    spec = importlib.util.spec_from_file_location(name, place)
    if spec is None or spec.loader is None:
        raise OptionError(f"{str(place)!r} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up
    sys.path.insert(0, str(place.parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise RewardError(f"{place.name!r} cannot be run: {type(error).__name__}: {error}") from error
    finally:
        sys.path.remove(str(place.parent))
    return module, digest


def _kept(place: str, label: str, text: str, model: Any) -> Callable[..., Any]:
    """A reward model or a classifier of a file."""
    card, _ = artifact.read(Path(place))
    if card.get("app") == reward.APP:
        if label:
            raise OptionError(
                f"--reward {text!r}: {place!r} is a reward model and has no labels: leave {label!r} away."
            )
        looks = card.get("features")
        steps = isinstance(looks, dict) and looks.get("name") == "steps"  # of a generator; else states of a checkpoint
        return RewardModel.load(place, model if isinstance(model, str) != steps else None)
    if card.get("app") != "label":
        raise OptionError(f"--reward {text!r}: {place!r} is no reward model and no classifier; wanted is {WANTED}.")
    found = Labeller.load(place)
    if label not in found.labels:
        raise UnknownName("label", label, found.labels)
    made = classifier(found, label)
    return _Told(made, label, hashlib.sha256(Path(place).read_bytes()).hexdigest()[:12])


def classifier(labeller: Labeller, label: str) -> Callable[[Sequence[str]], list[float]]:
    """log p of a label, as a reward of texts; an empty one, which models write, too, says nothing of any label."""
    column = labeller.labels.index(label)

    def reward_of(texts: Sequence[str]) -> list[float]:
        p = np.full(len(texts), 1 / len(labeller.labels))
        said = [at for at, text in enumerate(texts) if text.strip()]
        if said:
            p[said] = labeller.probabilities([texts[at] for at in said])[:, column]
        return [float(value) for value in np.log(np.clip(p, 1e-6, 1.0))]

    reward_of.__name__ = label
    return reward_of
