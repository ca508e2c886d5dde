"""Which family learns, in which setting, and why: decided by the space, the size of the data and the time allowed.

The time that trees need grows with rows x bits a row x the features of each question; the constant was measured on
two laptop cores (docs/log.md). Everything else follows from it, and the reason is told in one sentence.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import torch

from likely import registry
from likely.core import Family, Reals, Space, Tokens
from likely.errors import Mismatch, OptionError, UnknownName

PRIVACY = ("faithful", "balanced", "private")
TREE_SECONDS = 1.0e-6  # CPU seconds a row, bit and feature
PAIR_SECONDS = 1.0e-4  # CPU seconds a pair of cells, whose tie is measured whatever the number of rows
FEW = 80  # rows under which no relation between columns can be told from chance (trees.Boosting.rows)
LONGEST = 30.0  # minutes that trees may take when no budget is named


@dataclass(frozen=True)
class Choice:
    """A family to train, its name and config for the card, and why it was taken."""

    name: str
    family: Family[Any]
    config: dict[str, Any]
    reason: str


def choose(
    family: str | Family[Any] | None,
    space: Space,
    rows: int,
    minutes: float | None,
    privacy: str,
    seed: int,
    options: dict[str, Any],
    given: Space | None = None,
    tokens: int = 0,
) -> Choice:
    """The family for `rows` items of `space`, with the space `given` of their condition, if any, and so many `tokens`.

    Raises UnknownName, OptionError, Mismatch.
    """
    if isinstance(family, Family):
        if options:
            raise OptionError(f"{', '.join(options)}: options belong to the family you made: give them to it instead.")
        name = next(
            (n for n in registry.names("family") if registry.get("family", n) is type(family)), type(family).__name__
        )
        return Choice(name, family, asdict(family.config), f"'{name}' was given.")
    quick = False
    if family is None:
        family, reason, quick = _decide(space, rows, minutes, tokens)
    else:
        reason = f"'{family}' was asked for."
    cls = registry.get("family", family)
    if not isinstance(space, cls.accepts):
        fits = [n for n in registry.names("family") if isinstance(space, registry.get("family", n).accepts)]
        raise Mismatch(
            f"This data gives {type(space).__name__}; {family!r} takes {cls.accepts.__name__}. "
            f"Families that fit: {', '.join(fits)}."
        )
    config = cls.setting(privacy)
    if quick:
        config = replace(config, folds=2, rate=2 * config.rate, patience=5)
    config = configure(config, options, family)
    if isinstance(space, Tokens):
        config = cls.sized(config, space, tokens, rows, minutes)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)  # a network's first weights come from torch's global generator
        model = cls(space, given, config)
    return Choice(family, model, asdict(config), f"{reason} Privacy: {privacy}.")


def configure(config: Any, values: dict[str, Any], family: str) -> Any:
    """The config with some values replaced. Raises UnknownName, OptionError for a value of another type."""
    known = {field.name: field for field in fields(config)}
    for name, value in values.items():
        if name not in known:
            raise UnknownName(f"option of {family!r}", name, known)
        old = getattr(config, name)
        fits = isinstance(value, type(old)) and not (isinstance(value, bool) and not isinstance(old, bool))
        if not fits and not (isinstance(old, float) and isinstance(value, int) and not isinstance(value, bool)):
            raise OptionError(f"{name} is {value!r}; {family!r} wants {type(old).__name__}, such as {old!r}.")
        if isinstance(value, float) and not np.isfinite(value):
            raise OptionError(f"{name} is {value!r}; {family!r} wants a finite number, such as {old!r}.")
    return replace(config, **values)


def _decide(space: Space, rows: int, minutes: float | None, tokens: int = 0) -> tuple[str, str, bool]:
    if isinstance(space, Reals):
        what = {1: "vectors", 2: "windows", 3: "images"}.get(len(space.shape), "arrays")
        return "vae", f"'vae': the truest {what} a second of learning, with a likelihood and a latent space.", False
    if isinstance(space, Tokens):
        return "transformer", f"'transformer': {tokens:,} tokens, of which each is learned from all before it.", False
    threads = max(1, torch.get_num_threads())
    bits = np.log2(np.maximum(space.sizes, 2))
    need = TREE_SECONDS * rows * float((bits * np.arange(len(bits))).sum()) / threads / 60 + 0.02
    need += PAIR_SECONDS * len(bits) ** 2 / 2 / 60
    size = f"{rows:,} rows of {len(space.sizes)} cells"
    about = f"about {max(1, round(need * 60))} seconds" if need < 2 else f"about {need:.0f} minutes"
    allowed = minutes if minutes is not None else LONGEST
    if rows < FEW and need > 2:
        return "exact", f"'exact', independent columns: {rows:,} rows are too few to tell relations of columns.", False
    if need <= 0.8 * allowed:
        return (
            "trees",
            f"'trees': {size} take them {about} on {threads} threads, and nothing is truer on tables.",
            False,
        )
    if need / 3 <= 0.8 * allowed:
        return (
            "trees",
            f"'trees' in a quick setting: {size} would take {about} in full, {allowed:g} minutes are allowed.",
            True,
        )
    if allowed >= 0.1:
        return (
            "masked",
            f"'masked': trees would take {about} for {size}; the network stops after {allowed:g} minutes.",
            False,
        )
    return "exact", f"'exact': in {allowed * 60:.0f} seconds nothing but independent columns can be learned.", False
