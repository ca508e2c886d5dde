"""How likely given texts are to a language model: for `echo` with log-probabilities, and for `surprise`."""

from __future__ import annotations

import torch

from likely.language.decode import Engine
from likely.language.decode.draw import top
from likely.server.reply import Prompt

PART = 256  # positions turned into logits at once


@torch.inference_mode()
def score(engine: Engine, ids: tuple[int, ...], alternatives: int = 0) -> Prompt:
    """The ids with the log-probability in nats of each but the first given those before, and likeliest alternatives."""
    runner = engine.runner
    logprobs: list[float | None] = [None]
    tops: list[tuple[tuple[int, float], ...]] = [()]
    if len(ids) > 1:
        hidden = runner.read([ids[:-1]], runner.slots(), 0)[0]
        for at in range(0, len(ids) - 1, PART):
            logits = runner.logits(hidden[at : at + PART]).float().log_softmax(1)
            for row, token in zip(logits, ids[at + 1 : at + 1 + PART], strict=True):
                logprobs.append(float(row[token]))
                tops.append(top(row, alternatives))
    return Prompt(ids, engine.checkpoint.tokenizer.decode(ids, special=True), tuple(logprobs), tuple(tops))
