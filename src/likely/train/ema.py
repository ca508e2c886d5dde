"""The running average of the weights: what is evaluated and kept.

    a <- d a + (1 - d) w,      d_s = min(decay, (1 + s) / (10 + s))   after step s

Single steps of stochastic descent wander around the minimum; their average sits nearer to it. The decay grows
with the steps done, so that the average forgets the random start. Counts and other whole numbers are copied.

Source: Polyak & Juditsky, 1992, doi:10.1137/0330046; Tarvainen & Valpola, 2017, arXiv:1703.01780.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn

from likely.train.distribute import local

Blend = Callable[[list[Tensor], list[Tensor], None], None]


class Average:
    """Running average of `weights`, live tensors by name. `decay` in [0, 1); 0 keeps no average."""

    def __init__(self, weights: dict[str, Tensor], decay: float) -> None:
        self.weights, self.decay = weights, decay
        self.tensors = {name: weight.detach().clone() for name, weight in weights.items()} if decay > 0 else {}
        # Averaging is elementwise, so that each process averages its own shard of a sharded tensor.
        pairs = [(local(self.tensors[name]), local(weights[name])) for name in self.tensors]
        self._smooth = [pair for pair in pairs if pair[0].is_floating_point()]
        self._counts = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights as they are after `step` steps (from 1)."""
        if self._smooth:
            decay = min(self.decay, (1 + step) / (10 + step))
            blend: Blend = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
            blend([average for average, _ in self._smooth], [weight for _, weight in self._smooth], None)
        for average, weight in self._counts:
            average.copy_(weight)

    @property
    def final(self) -> dict[str, Tensor]:
        """What the run would give if it ended now: the average, or the weights themselves where none is kept."""
        return self.tensors or self.weights

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within: the model has the averaged weights. After: its own again, to the bit."""
        with torch.no_grad():
            kept = {name: self.weights[name].clone() for name in self.tensors}
            for name, average in self.tensors.items():
                self.weights[name].copy_(average)
        try:
            yield
        finally:
            with torch.no_grad():
                for name, weight in kept.items():
                    self.weights[name].copy_(weight)
