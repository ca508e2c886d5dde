"""A runner that reads few tokens by the compiled pass, and many by torch.

Few: every step of texts under way, short prompts, drafts. The compiled pass computes each token as if it were alone, to
the last bit. Many tokens at once are limited by arithmetic, where torch's bfloat16 products on dense weights are the
faster ones; but the order in which those add depends on the number of rows, and after a few dozen tokens a last bit is
another text. So long prompts are read one by one: what else is in the batch changes no bit of a text. Reading eight of
128 tokens takes 1.9 times as long for it, an eighth of the whole where 128 more are written.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from likely.language.compiled.step import Pass
from likely.language.decode.runner import Runner
from likely.language.decode.slots import Slots
from likely.nn.decoder import Decoder

FEW, STEP = 24, 64  # tokens of a prompt; tokens at once


class Swift(Runner):
    """`network`: the dense form, in the type of the cache."""

    def __init__(self, network: Decoder, compiled: Pass) -> None:
        super().__init__(network)
        self.compiled = compiled

    def begin(self, texts: Sequence[Sequence[int]], slots: Slots, first: int) -> Tensor:
        """Read new tokens of each row from `first` on: (B, V) logits after the last of each."""
        found, at = list[Tensor](), 0
        while at < len(texts):
            end = at + 1
            if len(texts[at]) > FEW:
                found.append(super().begin(texts[at:end], slots, first + at))
            else:
                while end < len(texts) and len(texts[end]) <= FEW and end - at < STEP // FEW:
                    end += 1
                found.append(self._run(texts[at:end], slots, first + at))
            at = end
        return torch.cat(found)

    def every(self, texts: Sequence[Sequence[int]], slots: Slots, first: int) -> list[Tensor]:
        """Read new tokens of each row from `first` on: of each row (T, V) logits after each of its tokens."""
        counts = [len(text) for text in texts]
        if sum(counts) > FEW:
            return super().every(texts, slots, first)
        return list(torch.split(self._run(texts, slots, first, list(range(sum(counts)))), counts))

    def step(self, tokens: Sequence[int], slots: Slots) -> Tensor:
        """One more token for each of the first rows: (B, V) logits of the next."""
        if len(tokens) > STEP:
            return super().step(tokens, slots)
        return self._run([[token] for token in tokens], slots, 0)

    def _run(self, texts: Sequence[Sequence[int]], slots: Slots, first: int, outs: list[int] | None = None) -> Tensor:
        starts = slots.room([len(text) for text in texts], first)
        rows = [first + at for at, text in enumerate(texts) for _ in text]
        places = [start + at for start, text in zip(starts, texts, strict=True) for at in range(len(text))]
        ids = [token for text in texts for token in text]
        logits = self.compiled.run(
            ids, rows, places, outs if outs is not None else _ends(texts), slots.keys, slots.values
        )
        slots.add([len(text) for text in texts], first)
        return logits


def _ends(texts: Sequence[Sequence[int]]) -> list[int]:
    """Where the last token of each text stands among all."""
    ends, at = [], -1
    for text in texts:
        at += len(text)
        ends.append(at)
    return ends
