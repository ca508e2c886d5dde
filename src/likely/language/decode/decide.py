"""Which of several choices a text becomes: all are read after the prompt, and one is drawn.

Letters: C choices, T tokens, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from likely.language.decode.constraint import Listing
from likely.language.decode.draw import Drawn, pick
from likely.language.decode.pieces import Piece
from likely.language.decode.row import Row
from likely.language.decode.runner import Runner
from likely.language.decode.slots import Slots

TOKENS = 64  # read at once


def decide(row: Row, listing: Listing, logits: Tensor, runner: Runner, slots: Slots, at: int) -> list[Piece]:
    """All pieces of a text that has only its prompt so far, read in row `at` with `logits` (V,) after it."""
    weights, each = weigh(listing, logits, runner, slots, at, row.end_ids)
    if row.sampling.greedy:
        chosen = int(weights.argmax())
    else:
        u = torch.tensor([row.noise.draw()], dtype=torch.float64)
        chosen = int(pick(weights[None], row.sampling, u)[0])
    pieces: list[Piece] = []
    for token, logprob in zip(listing.ids[chosen], each[chosen], strict=False):
        last = len(pieces) == len(listing.ids[chosen]) - 1
        pieces.append(row.take(Drawn([token], [logprob], [()]), 0, over=last))
        if pieces[-1].reason:
            break
    return pieces


def weigh(
    listing: Listing, logits: Tensor, runner: Runner, slots: Slots, at: int, ends: frozenset[int]
) -> tuple[Tensor, list[list[float]]]:
    """(C,) log-probabilities of the choices, and those of their tokens; where a choice begins another, that of an end
    after it is the last one."""
    first = logits.float().log_softmax(0)
    each = [[float(first[ids[0]])] for ids in listing.ids]
    opens = [bool(ends) and listing.begins_another(choice) for choice in range(len(each))]
    reads = [list(ids if opens[choice] else ids[:-1]) for choice, ids in enumerate(listing.ids)]
    left = sorted((choice for choice, read in enumerate(reads) if read), key=lambda choice: -len(reads[choice]))
    while left:
        longest = len(reads[left[0]])
        count = max(1, TOKENS // longest)
        group, left = left[:count], left[count:]
        scratch = slots.branch(at, len(group), longest)
        for choice, after in zip(group, runner.every([reads[choice] for choice in group], scratch, 0), strict=True):
            found, ids = after.log_softmax(1), listing.ids[choice]
            each[choice] += [float(found[i, ids[i + 1]]) for i in range(len(ids) - 1)]
            if opens[choice]:
                each[choice].append(float(found[len(ids) - 1, sorted(ends)].logsumexp(0)))
    return torch.tensor([sum(parts) for parts in each]), each
