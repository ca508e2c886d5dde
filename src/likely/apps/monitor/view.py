"""One way of looking at rows, with several detectors that share a scale and a unit, and learn from data that are not
all normal.

Each part's score becomes nats of its own tail (`tail.py`); the score of a row is their mean. A part that sees nothing
adds noise of about one nat, a part that sees a fault adds many, so one of four is enough to be heard.

Data to learn from hold anomalies too, and those teach the detectors that anomalies are normal. So learning has two
rounds:

    1. scale, fit quick parts, add up their nats; set the strangest `trim` of the rows aside
    2. scale again and fit all parts on the rows that are left; rule each part's tail with ALL rows, censored

Trimming normal rows costs little (the rest still show what is normal); leaving anomalies in costs much: see the log.

Letters: N rows to learn from, B rows, F numbers a row, P parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likely.apps.monitor.margins import Margins
from likely.apps.monitor.mixture import Mixture
from likely.apps.monitor.neighbours import Neighbours
from likely.apps.monitor.part import Part
from likely.apps.monitor.pca import Principal, Residual
from likely.apps.monitor.scale import Scale
from likely.apps.monitor.state import State
from likely.apps.monitor.tail import Tail
from likely.errors import ArtifactError, OptionError, UnknownName

PARTS: dict[str, type[Part]] = {part.name: part for part in (Mixture, Neighbours, Principal, Residual, Margins, State)}
QUICK = ("neighbours", "likelihood", "margins")  # of the first round


class Nats(NamedTuple):
    """How strange rows are: `total` (B,), the mean of `parts`, each (B,)."""

    total: Tensor
    parts: dict[str, Tensor]


class View:
    """Detectors that look at the same numbers."""

    def __init__(self, parts: Sequence[str], trim: float) -> None:
        unknown = next((name for name in parts if name not in PARTS), None)
        if unknown is not None:
            raise UnknownName("part", unknown, PARTS)
        if not parts:
            raise OptionError(f"No parts were named; choose some of {', '.join(PARTS)}.")
        self.trim = trim
        self.scale = Scale()
        self.parts: dict[str, Part] = {name: PARTS[name]() for name in parts}
        self.tails: dict[str, Tail] = {name: Tail() for name in parts}

    def fit(self, x: NDArray[np.float64], rng: np.random.Generator) -> Self:
        """Learn from finite rows x (N, F)."""
        kept = np.ones(len(x), bool)
        if self.trim > 0:
            rough = self._rough(x, rng)
            kept = rough <= np.quantile(rough, 1 - self.trim)
        self.scale.fit(x[kept])
        clean, rest = self.scale(x[kept]), self.scale(x[~kept])
        for name, part in self.parts.items():
            part.fit(clean, rng)
            self.tails[name].fit(torch.cat([part.own(clean), part.scores(rest)]))
        return self

    def score(self, x: NDArray[np.float64]) -> Nats:
        """Rows x (B, F) -> nats."""
        z = self.scale(x)
        parts = {name: self.tails[name](part.scores(z)) for name, part in self.parts.items()}
        return Nats(torch.stack(list(parts.values())).mean(0), parts)

    def blame(self, x: NDArray[np.float64]) -> Tensor:
        """Rows x (B, F) -> the share of each number in the strangeness (B, F), adding up to 1.

        Every part says what each number adds; a part speaks as loudly as it is alarmed.
        """
        z = self.scale(x)
        total = torch.zeros_like(z)
        for name, part in self.parts.items():
            share = part.blame(z)
            loud = self.tails[name](part.score(z)).float()
            total += share / share.sum(1, keepdim=True).clamp(min=1e-12) * loud[:, None]
        return total / total.sum(1, keepdim=True).clamp(min=1e-12)

    def tensors(self) -> dict[str, Tensor]:
        """All that was learned, by name."""
        found = {f"scale.{name}": value for name, value in self.scale.arrays.items()}
        for name, part in self.parts.items():
            found |= {f"{name}.{key}": value for key, value in part.arrays.items()}
            found |= {f"{name}.tail.{key}": value for key, value in self.tails[name].arrays.items()}
        return found

    def restore(self, tensors: dict[str, Tensor]) -> Self:
        """Take back what `tensors` gave. Raises ArtifactError where an array is missing."""
        try:
            self.scale.arrays = {name: tensors[f"scale.{name}"] for name in ("middle", "spread")}
            for name, part in self.parts.items():
                part.arrays = {key: tensors[f"{name}.{key}"] for key in part.wants}
                self.tails[name].arrays = {key: tensors[f"{name}.tail.{key}"] for key in ("knots", "ruler")}
        except KeyError as error:
            raise ArtifactError(f"The monitor lacks the array {error.args[0]!r}: fit it again.") from error
        return self

    def _rough(self, x: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        """How strange each row is to quick parts that learned from all of them: (N,) nats."""
        z = Scale().fit(x)(x)
        total = torch.zeros(len(z), dtype=torch.float64)
        for name in QUICK:
            own = PARTS[name]().fit(z, rng).own(z)
            total += Tail().fit(own)(own)
        rough: NDArray[np.float64] = total.numpy()
        return rough
