"""Which report card a modality gets: of tables, of images, of windows of a series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from likely.core import Codec, Listener, Reals
from likely.errors import OptionError
from likely.evaluate.arrays import Labels
from likely.evaluate.images import evaluate_images
from likely.evaluate.report import Report
from likely.evaluate.series import evaluate_series
from likely.evaluate.table import evaluate_table


@dataclass
class Evidence:
    """The real items behind a fit, kept in memory for the report and never saved. `given`: the conditions of both, one
    row an item, where the items themselves do not hold them."""

    train: Any
    control: Any
    given: tuple[Any, Any] | None = None


def sets(codec: Codec[Any], own: Evidence | None, holdout: Any, train: Any) -> tuple[Any, Any]:
    """The items learned from, or None, and unseen ones, both settled. Raises OptionError where there are no unseen."""
    learned = codec.read(train) if train is not None else own.train if own else None
    fresh = codec.read(holdout) if holdout is not None else own.control if own else None
    if fresh is None or len(fresh) == 0:
        raise OptionError(
            "There are no control rows to compare with: the table was too small, or fit was called with control=0. "
            "Give rows the model never saw: report(holdout)."
        )
    return codec.settle(learned) if learned is not None else None, codec.settle(fresh)


def compare(
    codec: Codec[Any], train: Any, holdout: Any, made: Any, *, target: str | None, seed: int,
    listen: Listener | None, about: dict[str, Any],
) -> Report:  # fmt: skip
    """The report card of `made` items beside real ones, all in the codec's own collections; `train` may be None."""
    space = codec.space
    if isinstance(space, Reals) and hasattr(holdout, "pixels"):
        sets = (train, holdout, made)
        labels = [None if one is None else one.labels for one in sets]
        return evaluate_images(
            None if train is None else train.pixels, holdout.pixels, made.pixels,
            labels=None if labels[0] is None else Labels(*labels), seed=seed, listen=listen, about=about,
        )  # fmt: skip
    if isinstance(space, Reals) and hasattr(holdout, "values") and getattr(holdout.values, "ndim", 0) == 3:
        names = [channel.name for channel in getattr(codec, "channels", [])]
        return evaluate_series(
            None if train is None else train.values, holdout.values, made.values, channels=names or None, seed=seed,
            listen=listen, about=about,
        )  # fmt: skip
    return evaluate_table(train, holdout, made, target=target, check=codec.check, seed=seed, listen=listen, about=about)
