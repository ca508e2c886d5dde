"""A decoder on rows of `Slots`: logits of what comes next, for texts of different lengths at once.

New texts are padded on the right: under a causal mask no real step ever sees padding, so no mask is needed, and what
padding writes lies behind the end of its row. Texts under way see each their own steps by a mask of their lengths;
where all lengths are the same there is none.

Letters: B rows, T new steps, S steps in sight, W width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from likely.language.decode.slots import Slots, Span
from likely.nn.decoder import Decoder
from likely.nn.rope import angles


class Runner:
    """Runs `network` in the type of its weights."""

    def __init__(self, network: Decoder) -> None:
        self.network, self.arch = network, network.arch
        self.about: dict[str, str] = {}

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.network.embed.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The type of hidden states, keys and values."""
        return self.network.embed.weight.dtype

    def slots(self) -> Slots:
        """Room for keys and values."""
        return Slots(self.arch, self.dtype, self.device)

    @torch.inference_mode()
    def begin(self, texts: Sequence[Sequence[int]], slots: Slots, first: int) -> Tensor:
        """Read new tokens of each row from `first` on: (B, V) logits after the last of each."""
        hidden = self.read(texts, slots, first)
        last = torch.tensor([len(text) - 1 for text in texts], device=self.device)
        return self.logits(hidden[torch.arange(len(texts), device=self.device), last])

    @torch.inference_mode()
    def every(self, texts: Sequence[Sequence[int]], slots: Slots, first: int) -> list[Tensor]:
        """Read new tokens of each row from `first` on: of each row (T, V) logits after each of its tokens."""
        hidden = self.read(texts, slots, first)
        return [self.logits(row[: len(text)]) for row, text in zip(hidden, texts, strict=True)]

    @torch.inference_mode()
    def read(self, texts: Sequence[Sequence[int]], slots: Slots, first: int) -> Tensor:
        """Read T new tokens, or fewer, of each row from `first` on: hidden states (B, T, W), normed.

        Rows that `slots` does not have yet are added.
        """
        counts = [len(text) for text in texts]
        T = max(counts)
        starts = slots.room([T] * len(texts), first)  # padding is written too
        ids = torch.tensor([[*text, *[0] * (T - len(text))] for text in texts], device=self.device)
        hidden = self._hidden(ids, starts, counts, Span(slots, first, starts, T))
        slots.add(counts, first)
        return hidden

    @torch.inference_mode()
    def logits(self, hidden: Tensor) -> Tensor:
        """(..., W) -> (..., V) float32."""
        return self.network.logits(hidden).float()

    @torch.inference_mode()
    def step(self, tokens: Sequence[int], slots: Slots) -> Tensor:
        """One more token for each of the first rows: (B, V) logits of the next."""
        return self.begin([[token] for token in tokens], slots, 0)

    def _hidden(self, ids: Tensor, starts: Sequence[int], counts: Sequence[int], span: Span) -> Tensor:
        """Hidden states (B, T, W), normed."""
        network, T = self.network, ids.shape[1]
        start = torch.tensor(starts, device=self.device)[:, None]
        last = start + torch.tensor(counts, device=self.device)[:, None] - 1
        positions = torch.minimum(start + torch.arange(T, device=self.device), last)  # padding must not go over the end
        x = network.embed(ids)
        turn = self._turn(positions, x.dtype)
        if network.position is not None:
            x = x + network.position(positions)
        mask = self._mask(starts, T, span.end)
        for layer, block in enumerate(network.blocks):
            x = block(x, turn, mask, span, layer)
        out: Tensor = network.norm(x)
        return out

    def _turn(self, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
        rope, head = self.arch.rope, self.arch.head
        if rope is None:
            return None
        if rope.scaling != "dynamic":
            return angles(rope, head, positions, dtype)
        each = [
            angles(rope, head, row[None], dtype) for row in positions
        ]  # by the length of each text, not the longest
        return torch.cat([cos for cos, _ in each]), torch.cat([sin for _, sin in each])

    def _mask(self, starts: Sequence[int], T: int, S: int) -> Tensor | None:
        """(B or 1, 1, T, S) true = in sight; None = all that is before."""
        window = self.arch.window
        even = min(starts) == max(starts)
        if even and (T == 1 or starts[0] == 0) and not (window and window < S):
            return None
        begin = torch.tensor(starts[:1] if even else starts, device=self.device)
        position = begin[:, None, None, None] + torch.arange(T, device=self.device)[:, None]
        column = torch.arange(S, device=self.device)
        mask = column <= position
        return mask & (column > position - window) if window else mask
