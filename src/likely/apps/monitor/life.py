"""How long until it fails? Remaining useful life from histories that ended in failure, with an interval.

The target is piece-wise linear: early on nothing is worn and nothing can be known, so what is left is capped,

    y_t = min(cap, end - t)

(Heimes 2008, doi:10.1109/PHM.2008.4711422). Boosted trees (`forest.py`) predict it from two views of a history
(`wear.py`) and are averaged. Cross-validation over whole machines gives honest errors, from which split-conformal
intervals are cut, in bins of the predicted life because errors shrink as the end comes near (Vovk et al. 2005;
Mondrian conformal prediction):

    [prediction + q_(a/2), prediction + q_(1 - a/2)],   quantiles of the errors in the bin of the prediction

Each machine weighs the same, and the level is raised to a(M)= ceil((1 - a)(M + 1)) / M for M machines. Coverage holds
for machines drawn like those learned from; readings of one machine depend on each other, so it is exact for one
reading a machine.

Letters: N readings, C sensors, K features, M machines.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from likely import artifact
from likely.apps.monitor.forest import Forest
from likely.apps.monitor.lead_time import Lead, lead_time
from likely.apps.monitor.readings import Readings, frame_of
from likely.apps.monitor.scale import Scale
from likely.apps.monitor.threshold import DAY
from likely.apps.monitor.wear import VIEWS, features
from likely.apps.monitor.windows import carry
from likely.errors import ArtifactError, DataError, OptionError
from likely.version import VERSION

SKIP = 20  # first readings of a history that are not learned from: windows are not filled yet
FOLDS = 5
FEWEST = 8  # histories
BINS = 5  # of predicted life, for intervals
SHARE = 0.63  # of the median length of a history: the cap where none is given
HORIZONS = (0.1, 0.25, 0.5)  # of the cap, in the lead-time report


class History(NamedTuple):
    """One machine: scaled readings x (N, C), age (N,), in the unit of time, and its name."""

    x: NDArray[np.float64]
    age: NDArray[np.float64]
    name: str


class Life:
    """A model of remaining life. Make one with `Life.fit` or `Life.load`."""

    def __init__(
        self,
        readings: Readings,
        cap: float,
        scale: Scale,
        forests: dict[str, Forest],
        errors: dict[str, NDArray[np.float64]],
        about: dict[str, Any],
    ) -> None:  # fmt: skip
        self.readings, self.cap, self.scale, self.forests = readings, cap, scale, forests
        self.errors, self.about = errors, about  # edges (BINS - 1,), low (BINS,), high (BINS,)
        self.leads: list[Lead] = [Lead(*lead) for lead in about["leads"]]
        self.notes: list[str] = []

    @property
    def unit(self) -> str:
        """What time is counted in."""
        return "days" if self.readings.dated else "cycles"

    @classmethod
    def fit(
        cls, data: Any, *, time: str | None = None, entity: str | None = None, cap: float | None = None,
        drop: Iterable[str] = (), confidence: float = 0.9, seed: int = 0,
    ) -> Self:  # fmt: skip
        """Learn from histories (a path or a frame), each of which ends with the failure of its machine.

        `entity` names the machine, `time` the cycle or the date. Raises DataError, OptionError.
        """
        if cap is not None and not cap > 0:
            raise OptionError(f"cap={cap} was given; it is the longest life that is told apart, above 0.")
        if not 0.5 <= confidence < 1:
            raise OptionError(f"confidence={confidence} was given; it lies in [0.5, 1).")
        frame = frame_of(data)
        if entity is None:
            raise OptionError("Which column names the machine? Several histories are needed: --entity COLUMN.")
        readings = Readings(time, entity, step=None if time is not None else 1.0)
        notes = readings.fit(frame, drop)
        scale, histories = _histories(readings, frame, None)
        long = [history for history in histories if len(history.x) > SKIP + 1]
        if len(long) < FEWEST:
            raise DataError(
                f"{len(long)} histories of more than {SKIP + 1} readings were given; "
                f"{FEWEST} that end in failure are needed."
            )
        if len(long) < len(histories):
            notes.append(f"{len(histories) - len(long)} histories of {SKIP + 1} readings or fewer were passed over.")
        cap = cap if cap is not None else SHARE * float(np.median([history.age[-1] for history in long]))
        left = [np.minimum(cap, history.age[-1] - history.age) for history in long]
        guess = _cross(long, left, cap, seed)
        errors = _intervals(guess, left, confidence)
        forests = _grow(long, left, seed)
        made = cls(
            readings, cap, scale, forests, errors, {"leads": [], "machines": len(long), "confidence": confidence}
        )
        made.notes = notes
        whole = [history.age[-1] - history.age for history in long]
        lows = [made.interval(one)[0] for one in guess]
        horizons = [float(f"{share * cap:.2g}") for share in HORIZONS]
        after = [w[SKIP:] for w in whole]
        made.leads = [lead_time([low <= at for low in lows], after, at) for at in horizons]
        off = np.concatenate([g - y[SKIP:] for g, y in zip(guess, left, strict=True)])
        made.about |= {
            "leads": [list(lead) for lead in made.leads],
            "rmse": float(np.sqrt((off**2).mean())),
            "seed": seed,
        }
        return made

    def predict(self, data: Any, *, all_readings: bool = False) -> pl.DataFrame:
        """Remaining life of each machine at its last reading (or at each): entity, life, low, high. A `high` at the cap
        means the cap or more. Raises Mismatch, DataError."""
        _, histories = _histories(self.readings, frame_of(data), self.scale)
        lines = []
        for history in histories:
            life = _predict(self.forests, history, self.cap)
            low, high = self.interval(life)
            rows = slice(None) if all_readings else slice(-1, None)
            lines.append(
                pl.DataFrame(
                    {
                        "entity": [history.name] * len(life[rows]), "age": history.age[rows], "life": life[rows],
                        "low": low[rows], "high": high[rows],
                    }
                )
            )  # fmt: skip
        return pl.concat(lines)

    def interval(self, life: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Predicted life (N,) -> low and high (N,)."""
        which = np.searchsorted(self.errors["edges"], life)
        low, high = life + self.errors["low"][which], life + self.errors["high"][which]
        return np.clip(low, 0, self.cap), np.clip(high, 0, self.cap)

    def save(self, path: str | Path) -> Path:
        """Write NAME.likely. Raises StorageError."""
        card = {
            "app": "life", "version": VERSION, "readings": self.readings.state(), "cap": self.cap,
            "about": self.about | {"leads": [[None if x != x else x for x in lead] for lead in self.leads]},
        }  # fmt: skip
        tensors = {f"scale.{name}": value for name, value in self.scale.arrays.items()}
        for view, forest in self.forests.items():
            tensors |= {f"{view}.{name}": value for name, value in forest.arrays.items()}
        tensors |= {f"errors.{name}": torch.from_numpy(value) for name, value in self.errors.items()}
        artifact.write(path, card, tensors)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote. Raises ArtifactError where the file holds something else."""
        card, tensors = artifact.read_app(
            path, "life", "one of remaining life", "likely monitor life histories.csv --entity machine -o life.likely"
        )
        try:
            readings, scale = Readings.load(card["readings"]), Scale()
            scale.arrays = {name: tensors[f"scale.{name}"] for name in ("middle", "spread")}
            C = len(readings.owner)
            names = ("feature", "cut", "left", "right", "value", "root")
            forests = {}
            for view in VIEWS:
                width = features(np.zeros((2, C)), np.zeros(2), view).shape[1]
                forests[view] = Forest({name: tensors[f"{view}.{name}"] for name in names}).check(width)
            errors = {name: tensors[f"errors.{name}"].numpy() for name in ("edges", "low", "high")}
            if len(errors["low"]) != len(errors["edges"]) + 1 or len(errors["high"]) != len(errors["low"]):
                raise ValueError("its intervals do not fit")
            if len(scale.arrays["middle"]) != C:
                raise ValueError("its scale has another width")
            about = card["about"] | {
                "leads": [[np.nan if x is None else x for x in one] for one in card["about"]["leads"]]
            }
            return cls(readings, float(card["cap"]), scale, forests, errors, about)
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            raise ArtifactError(f"{str(path)!r} is a damaged model ({str(error)[:120]}): fit it again.") from error


def _histories(readings: Readings, frame: pl.DataFrame, scale: Scale | None) -> tuple[Scale, list[History]]:
    """The machines of a table; the scale is learned where none is given."""
    taken = readings.take(frame)
    scale = scale if scale is not None else Scale().fit(readings.fill(taken.x))
    unit = DAY if readings.dated and readings.time is not None else 1.0
    found = []
    for code, name in enumerate(taken.names):
        rows = taken.entity == code
        x = scale(carry(taken.x[rows], readings.medians)).double().numpy()
        when = taken.stamps[rows]
        found.append(History(x, (when - when[0]) / unit, name))
    return scale, found


def _grow(histories: list[History], left: list[NDArray[np.float64]], seed: int) -> dict[str, Forest]:
    """Trees of both views. Each machine weighs the same: else those that live longest, and are capped longest, rule."""
    y = np.concatenate([one[SKIP:] for one in left])
    weight = np.concatenate([np.full(len(one) - SKIP, 1 / (len(one) - SKIP)) for one in left])
    weight *= len(y) / weight.sum()
    return {
        view: Forest.grow(np.concatenate([features(h.x, h.age, view)[SKIP:] for h in histories]), y, weight, seed)
        for view in VIEWS
    }


def _predict(forests: dict[str, Forest], history: History, cap: float) -> NDArray[np.float64]:
    each = [forest.predict(features(history.x, history.age, view)) for view, forest in forests.items()]
    life: NDArray[np.float64] = np.clip(np.mean(each, 0), 0, cap)
    return life


def _cross(
    histories: list[History], left: list[NDArray[np.float64]], cap: float, seed: int
) -> list[NDArray[np.float64]]:
    """Predictions (N - SKIP,) of each history by trees that have not seen its machine."""
    order = np.random.default_rng(seed).permutation(len(histories))
    guess: list[NDArray[np.float64]] = [np.zeros(0)] * len(histories)
    for fold in range(FOLDS):
        out = set(order[fold::FOLDS].tolist())
        seen = [i for i in range(len(histories)) if i not in out]
        forests = _grow([histories[i] for i in seen], [left[i] for i in seen], seed)
        for i in out:
            guess[i] = _predict(forests, histories[i], cap)[SKIP:]
    return guess


def _intervals(
    guess: list[NDArray[np.float64]], left: list[NDArray[np.float64]], confidence: float
) -> dict[str, NDArray[np.float64]]:
    """Quantiles of the errors in bins of the prediction, each machine weighing the same."""
    M = len(guess)
    level = min(1.0, np.ceil(confidence * (M + 1)) / M)
    each = np.concatenate(guess)
    off = np.concatenate([y[SKIP:] - g for g, y in zip(guess, left, strict=True)])
    weight = np.concatenate([np.full(len(g), 1 / len(g)) for g in guess])
    edges = np.quantile(each, np.linspace(0, 1, BINS + 1)[1:-1])
    which = np.searchsorted(edges, each)
    low, high = np.zeros(BINS), np.zeros(BINS)
    for k in range(BINS):
        inside = which == k if (which == k).any() else np.ones(len(each), bool)
        order = np.argsort(off[inside])
        share = np.cumsum(weight[inside][order]) / weight[inside].sum()
        sorted_off = off[inside][order]
        low[k] = sorted_off[min(np.searchsorted(share, (1 - level) / 2), len(share) - 1)]
        high[k] = sorted_off[min(np.searchsorted(share, (1 + level) / 2), len(share) - 1)]
    return {"edges": edges, "low": low, "high": high}
