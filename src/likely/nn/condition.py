"""A condition of any space as one vector, for families that learn p(x | c).

    Cells   the sum of one embedding for each variable
    Reals   an encoder chosen by the shape (networks.py)
    Tokens  embeddings and a recurrent network (Cho et al. 2014, arXiv:1406.1078), its state at the last real token

Letters: B items, D variables, L tokens, Q width of the result.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from likely.core import Batch, Cells, Reals, Space, Tokens
from likely.errors import ConditionError, Mismatch
from likely.nn.networks import encoder

DEPTH = 1  # hidden layers of the encoder of reals


class Condition(nn.Module):
    """Batches of the space `given` -> (B, width)."""

    def __init__(self, given: Space, width: int) -> None:
        super().__init__()
        self.given, self.width = given, width
        match given:
            case Cells(sizes=sizes):
                self.code = nn.Embedding(sum(sizes), width)
                nn.init.normal_(self.code.weight, std=max(len(sizes), 1) ** -0.5)
                start = torch.tensor([sum(sizes[:j]) for j in range(len(sizes))])
                self.register_buffer("start", start, persistent=False)
            case Reals(shape=shape):
                self.network = encoder(shape, width, width, DEPTH)
            case Tokens(vocab=vocab):
                self.token = nn.Embedding(vocab, width)
                self.walk = nn.GRU(width, width, batch_first=True)

    def forward(self, batch: Batch) -> Tensor:
        x = batch.x
        match self.given:
            case Cells():
                start: Tensor = self.get_buffer("start")
                y: Tensor = self.code(x + start).sum(1)
            case Reals():
                y = self.network(x)
            case Tokens(pad=pad):
                mask = batch.mask if batch.mask is not None else x != pad
                # The last real token, not the number of them: there may be holes, or nothing at all.
                place = torch.arange(x.shape[1], device=x.device)
                last = torch.where(mask, place, 0).amax(1)
                y = self.walk(self.token(x))[0][torch.arange(len(x), device=x.device), last]
        return y


def required(given: Batch | None, space: Space | None, n: int | None = None) -> Batch | None:
    """The condition `given`, checked against the `space` the model learned it in; one item stands for all n.

    Raises ConditionError where a condition is missing or of another length, Mismatch where the model knows none.
    """
    if space is None:
        if given is not None:
            raise Mismatch("A condition was given to a model that learned without one: fit it with given=...")
        return None
    if given is None:
        raise ConditionError("This model makes items for a condition: say which one by given=...")
    if n is None or len(given.x) == n:
        return given
    if len(given.x) != 1:
        raise ConditionError(f"{len(given.x)} conditions were given for {n} items: give {n}, or one for all of them.")
    mask = given.mask.expand(n, *given.mask.shape[1:]) if given.mask is not None else None
    return Batch(given.x.expand(n, *given.x.shape[1:]), None, mask)
