"""Judged pairs of answers as paths of a checkpoint, for methods that learn from pairs.

Letters: P pairs, S steps.
"""

from __future__ import annotations

import torch

from likely.align.dpo import Pairs
from likely.align.encoding import SHARES
from likely.align.features import texts_of
from likely.align.likelihood import WEIGHTS
from likely.align.preference import Judgements
from likely.apps.rlhf.asking import encode
from likely.core import Batch
from likely.errors import DataError
from likely.language.checkpoint import Checkpoint
from likely.language.policy import Speaker, prompts_of

LONGEST = 512  # tokens of an answer, and of a prompt, that are learned from; pairs with longer ones are left away


def pairs_of(judgements: Judgements, base: Checkpoint, policy: Speaker, notes: list[str]) -> Pairs:
    """Left is "better" with share 1, 1/2 (a tie) or 0; what is left away is added to `notes`.

    Raises DataError where nothing was judged, Unsupported for media other than texts."""
    pairs = judgements.pairs()
    prompts, sides, kept = [], ([], []), []  # type: ignore[var-annotated]
    left = texts_of([pair.left for pair in pairs], "a checkpoint")
    right = texts_of([pair.right for pair in pairs], "a checkpoint")
    room = min(LONGEST, base.network.arch.context // 2)
    for pair, *both in zip(pairs, left, right, strict=True):
        prompt = encode(base, pair.prompt if pair.prompt is not None else "")
        ids = [[*base.tokenizer.encode(text), policy.space.eos] for text in both]
        if len(prompt) <= room and max(map(len, ids)) <= room:
            prompts.append(prompt)
            kept.append(pair)
            for side, row in zip(sides, ids, strict=True):
                side.append(row)
    if not kept:
        raise DataError(f"None of {len(pairs)} judged pairs has a prompt and answers of at most {room} tokens.")
    if len(kept) < len(pairs):
        notes.append(f"{len(pairs) - len(kept)} pairs with more than {room} tokens on a side were left away.")
    given, paths = prompts_of(prompts), []
    for side in sides:
        rows = prompts_of(side)
        paths.append(policy.retrace(Batch(rows.x, given, rows.mask)))
    device = policy.head.device
    share = torch.tensor([SHARES[pair.outcome] for pair in kept], device=device)
    weight = torch.tensor([pair.weight * WEIGHTS[pair.strength] for pair in kept], device=device)
    return Pairs(paths[0], paths[1], share, weight)
