"""Learning: data in any form -> a codec that reads it, a family that fits, a generator that holds both.

    gen = likely.fit("patients.csv", target="died")

What is decided here: which rows are set aside as control rows, which codec and family there are to be, on which device
gradients are computed, and what the card of the model says of all that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from likely import registry
from likely.choice import PRIVACY, Choice, choose
from likely.conditions import Conditions
from likely.core import Batch, Budget, Cells, Codec, Family, Listener, Progress, Reals, Tokens
from likely.errors import DataError, OptionError, UnknownName
from likely.generator import Generator
from likely.judgement import Evidence
from likely.train import loop
from likely.train.distribute import Mesh
from likely.train.log import bar
from likely.train.order import whole_seed
from likely.version import VERSION

PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
LEAST = {"faithful": 10, "balanced": 10, "private": 25}  # rows behind every level and bin


def fit(  # noqa: PLR0913  (one argument a choice; all but the data have defaults)
    data: Any,
    *,
    codec: str | Codec[Any] | None = None,
    family: str | Family[Any] | None = None,
    given: Any = None,
    target: str | None = None,
    privacy: str = "balanced",
    columns: Mapping[str, str] | None = None,
    constraints: list[Any] | None = None,
    control: float = 0.1,
    minutes: float | None = None,
    seed: int = 0,
    device: str | None = None,
    progress: bool | Listener = True,
    checkpoint: str | Path | None = None,
    **options: Any,
) -> Generator:
    """Learn the distribution of `data`: a table (DataFrame, list of dicts, path), images (a folder, arrays, PIL) or a
    series (codec="series").

    codec, family       names of the registry; inferred where None. `options` are fields of the family's Config.
    given               what items are made for, one row (or label) an item: then P(X | C) is learned. None = the labels
                        that images come with, if any; False = no condition.
    target              a column people will predict: it is learned last, from all others.
    privacy             "faithful", "balanced" or "private": how much truth to give for privacy.
    columns             what a column is, where the inference is wrong: {"zip": "category"}.
    constraints         what must hold in every row: ["start <= end", "total = a + b"].
    control             share of rows set aside, never learned from, for the report card.
    minutes             wall time to spend at most; None = what the family needs.
    device              where gradients are computed: "cpu", "cuda", "cuda:1"; None = a GPU if torch sees one.
    progress            a progress bar on standard error, or your own function of `Progress`.
    checkpoint          a folder to resume from (families that learn by gradients).
    """
    seed = whole_seed(seed)
    if privacy not in PRIVACY:
        raise UnknownName("privacy setting", privacy, PRIVACY)
    if minutes is not None and not minutes > 0:
        raise OptionError(f"minutes is {minutes!r}; give more than 0, or None to take what is needed.")
    if not 0 <= control <= 0.5:
        raise OptionError(f"control is {control!r}; it is the share of rows set aside for the report: 0 to 0.5.")
    place = _device(device)
    with nullcontext(progress) if callable(progress) else listening(progress) as listen:
        if listen:
            listen(Progress("reading", 0.0))
        coder = _codec(codec or infer(data), family, target, privacy, columns, constraints)
        items = coder.read(data)
        learned, aside = _apart(coder, items, control, seed)
        coder = coder.fit(items[learned])
        batch = coder.encode(items[learned])
        rng = torch.Generator().manual_seed(seed)
        conditions, beside = None, None
        asked = _asked(given, coder, items)
        if asked is not None:
            conditions, c, frame = Conditions.learn(asked, len(items), learned, rng)
            batch = Batch(batch.x, c, batch.mask)
            if hasattr(coder, "attach"):
                items = coder.attach(items, frame)
            else:
                beside = frame[learned], frame[aside]
        known = conditions.codec.space if conditions else None
        tokens = int((batch.x != coder.space.pad).sum()) if isinstance(coder.space, Tokens) else 0
        choice = choose(family, coder.space, len(learned), minutes, privacy, seed, options, known, tokens)
        if (isinstance(coder.space, Cells) and not coder.space.sizes) or (
            isinstance(coder.space, Reals) and 0 in coder.space.shape
        ):
            raise DataError("Every column is empty, constant or an id: there is nothing to learn.")
        model = choice.family
        budget = Budget(minutes=minutes)
        if model.objectives():
            where = Path(checkpoint) if checkpoint else None
            loop.fit(model, batch, budget, seed=seed, listen=listen, checkpoint=where, mesh=Mesh(device=place))
        else:
            model.fit(batch, budget, rng=rng, listen=listen)
    card = _card(coder, choice, seed, items, len(learned), target, privacy)
    card["given"] = conditions.card() if conditions else None
    evidence = Evidence(items[learned], items[aside], beside)
    return Generator(coder, model, card, evidence, conditions, [choice.reason], torch.Generator().manual_seed(seed + 1))


def listening(wanted: bool) -> AbstractContextManager[Listener | None]:
    """A progress bar on standard error, or silence."""
    return bar() if wanted else nullcontext(None)


# ------------------------------------------------------------------------------------------------------ parts


def _device(name: str | None) -> torch.device:
    """Where to compute. Raises OptionError for a device that torch does not see."""
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise OptionError(f"device is {name!r}, which torch cannot use here; 'cpu' always works.") from error
    return device


def infer(data: Any) -> str:
    """The name of the codec that such data ask for: a folder or image files, arrays of three axes or more, PIL images
    are images; a .txt file or a list of strings is text; all else is a table. Windows of a series cannot be told from
    images, nor records of texts from a table: codec="series" and codec="text" say so.

    Raises DataError for a folder that is not there."""
    if isinstance(data, str | Path):
        path = Path(data)
        if not path.suffix and not path.exists():
            raise DataError(f"There is no file or folder {str(path)!r}: check the name, and where you are.")
        if path.name.lower().removesuffix(".gz").endswith(".txt"):
            return "text"
        return "image" if path.is_dir() or path.suffix.lower() in PICTURES else "table"
    first = data[0] if isinstance(data, list | tuple) and data else data
    if isinstance(first, str | Path) and not isinstance(data, str | Path):
        return "image" if Path(first).suffix.lower() in PICTURES else "text"
    axes = getattr(first, "ndim", 0) + (1 if isinstance(data, list) else 0)
    if hasattr(first, "getexif") or (isinstance(axes, int) and axes >= 3 and not hasattr(first, "columns")):
        return "image"
    return "table"


def _asked(given: Any, coder: Codec[Any], items: Any) -> Any:
    """The conditions to learn with: those named, or the labels that come with the items; None = no condition."""
    if given is False:
        return None
    if given is not None:
        return given
    found = getattr(coder, "conditions", lambda _: None)(items)
    if found is None:
        return None
    if getattr(coder, "calendar", False):
        return found
    return found.select("label") if "label" in found.columns and found["label"].n_unique() > 1 else None


def _apart(coder: Codec[Any], items: Any, control: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Items to learn from and control items; a codec whose items overlap says itself which share nothing."""
    if hasattr(coder, "apart") and len(items) >= 200 and control > 0:
        learned, aside = coder.apart(items, control, seed)
        return np.asarray(learned), np.asarray(aside)
    return _split(len(items), control, seed)


def _codec(
    codec: str | Codec[Any], family: str | Family[Any] | None, target: str | None, privacy: str,
    columns: Mapping[str, str] | None, constraints: list[Any] | None,
) -> Codec[Any]:  # fmt: skip
    if not isinstance(codec, str):
        if target or columns or constraints:
            raise OptionError("target, columns and constraints belong to the codec you made: give them to it instead.")
        return codec
    cls = registry.get("codec", codec)
    options = {"columns": columns, "constraints": constraints, "targets": [target] if target else None}
    if codec == "image":
        named = [word for word in ("columns", "constraints", "target") if options.get(word, target)]
        if named:
            raise OptionError(f"{', '.join(named)}: images have no columns; leave it out.")
        return cast(Codec[Any], cls())
    if codec == "text":
        return cast(Codec[Any], cls(least=LEAST[privacy]))
    if codec != "table":
        return cast(Codec[Any], cls(**({"columns": columns} if columns else {})))
    wanted = (
        registry.get("family", family).accepts if isinstance(family, str) else type(family).accepts if family else Cells
    )
    space = "reals" if wanted is Reals else "cells"
    return cast(
        Codec[Any], cls(least=LEAST[privacy], space=space, **{name: value for name, value in options.items() if value})
    )


def _split(n: int, control: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows to learn from and control rows (at most 5,000; none of a table under 200 rows), both in their own order."""
    aside = min(5_000, int(n * control)) if n >= 200 else 0
    order = np.random.default_rng(seed).permutation(n)
    return np.sort(order[aside:]), np.sort(order[:aside])


def _card(
    codec: Codec[Any], choice: Choice, seed: int, items: Any, rows: int, target: str | None, privacy: str
) -> dict[str, Any]:
    return {
        "library": VERSION,
        "codec": {"name": codec.name, "state": codec.state()},
        "family": {"name": choice.name, "config": choice.config},
        "choice": choice.reason,
        "seed": seed,
        "rows": rows,
        "target": target,
        "privacy": privacy,
        "data": hashlib.sha256(codec.encode(items).x.numpy().tobytes()).hexdigest(),
        "report": None,
    }
