"""How a language model reads texts: once each, after a beginning that all share, then with several endings.

    beginning   examples, or the list of labels: read once, its keys and values kept
    text        read after it; the mean of its hidden states is one account of it
    endings     "Sentiment:" and the like, each read on top of the text and taken back; the hidden state at its end is
                another account, and the likelihood of each label's words after it is an answer

so that w wordings of a question cost little more than one. Texts of like length are read together, padded on the left.

Letters: n texts, B texts at a time, T tokens, L layers looked at, W width, S endings, K words.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likely.errors import DataError, OptionError
from likely.language.checkpoint import Checkpoint
from likely.nn.decoder import Cache

ROWS = 16  # texts at a time
LONGEST = 1024  # tokens of a text that are read; of a longer one, its beginning and its end
Listen = Callable[[int, int], None]  # texts read so far, texts in all


@dataclass(frozen=True)
class Ending:
    """What is read after a text, and the words whose likelihood after it is asked for."""

    text: str
    words: tuple[str, ...]


@dataclass
class Reading:
    """Of each text: `mean` (n, L, W) and `last` (S, n, L, W) hidden states, float32; `logp` (S, n, K) nats of the words
    of each ending, a list of (n, K) since K may differ; `cut` texts were too long and read in part."""

    mean: NDArray[np.float32]
    last: NDArray[np.float32]
    logp: list[NDArray[np.float32]]
    cut: int


class Reader:
    """Reads with a checkpoint after one `beginning`; `layers` count from 1, none = no hidden states wanted."""

    def __init__(
        self, checkpoint: Checkpoint, beginning: str, endings: Sequence[Ending], layers: Sequence[int] = ()
    ) -> None:
        self.checkpoint, self.endings = checkpoint, list(endings)
        arch = checkpoint.network.arch
        self.layers = [layer for layer in layers if 1 <= layer <= arch.layers]
        start = checkpoint.bos if checkpoint.bos is not None else min(checkpoint.ends, default=0)
        encode = checkpoint.tokenizer.encode
        # Something must stand before the first token of a text; models that begin texts with `bos` want it there.
        self.beginning = [*([start] if checkpoint.begins or not beginning else []), *encode(beginning)]
        self.tails = [encode(ending.text) for ending in self.endings]
        self.words = [[encode(word) for word in ending.words] for ending in self.endings]
        if not all(self.tails) or not all(ids for words in self.words for ids in words):
            raise OptionError("Every ending and every word of a label needs at least one token.")
        self.after = max(
            (len(tail) + max(map(len, words), default=0) for tail, words in zip(self.tails, self.words, strict=True)),
            default=0,
        )
        self.room = min(LONGEST, arch.context - len(self.beginning) - self.after)
        if self.room < 8:
            raise OptionError(
                f"The examples and labels fill {len(self.beginning) + self.after} tokens of a context of "
                f"{arch.context}: nothing is left for the text. Give fewer examples, or a model with a longer context."
            )

    @torch.inference_mode()
    def read(self, texts: Sequence[str], lead: str = "", listen: Listen | None = None) -> Reading:
        """Every text after the beginning and `lead`. Raises DataError for texts that are none."""
        ids, cut = [], 0
        for text in texts:
            whole = self.checkpoint.tokenizer.encode(lead + text)
            if not whole:
                raise DataError("An empty text was given: there is nothing to read in it.")
            cut += len(whole) > self.room
            half = self.room // 2
            ids.append(whole if len(whole) <= self.room else whole[: self.room - half] + whole[-half:])
        n, L, W = len(ids), len(self.layers), self.checkpoint.network.arch.width
        found = Reading(
            np.zeros((n, L, W), np.float32), np.zeros((len(self.tails), n, L, W), np.float32),
            [np.zeros((n, len(words)), np.float32) for words in self.words], cut,
        )  # fmt: skip
        network = self.checkpoint.network.eval()
        states: dict[int, Tensor] = {}

        def catcher(layer: int) -> Callable[..., None]:
            return lambda _module, _given, out: states.update({layer: out})

        hooks = [network.blocks[layer - 1].register_forward_hook(catcher(layer)) for layer in self.layers]
        try:
            start = self._start()
            order = sorted(range(n), key=lambda at: len(ids[at]))
            for first in range(0, n, ROWS):
                group = order[first : first + ROWS]
                self._group(start, group, [ids[at] for at in group], states, found)
                if listen is not None:
                    listen(min(first + ROWS, n), n)
        finally:
            for hook in hooks:
                hook.remove()
        return found

    def _cache(self, rows: int, length: int) -> Cache:
        weight = self.checkpoint.network.embed.weight
        return Cache(self.checkpoint.network.arch, rows, length, weight.dtype, weight.device)

    def _start(self) -> Cache:
        cache = self._cache(1, len(self.beginning))
        device = self.checkpoint.network.embed.weight.device
        self.checkpoint.network(torch.tensor([self.beginning], device=device), cache=cache)
        return cache

    def _group(
        self, start: Cache, group: list[int], ids: list[list[int]], states: dict[int, Tensor], found: Reading
    ) -> None:
        network, P = self.checkpoint.network, start.used
        device = network.embed.weight.device
        B, T = len(ids), max(map(len, ids))
        cache = self._cache(B, P + T + self.after)
        cache.keys[:, :, :, :P], cache.values[:, :, :, :P] = start.keys, start.values
        cache.seen[:, :P], cache.used = True, P
        x = torch.tensor([[0] * (T - len(row)) + row for row in ids], device=device)
        seen = torch.tensor([[False] * (T - len(row)) + [True] * len(row) for row in ids], device=device)
        network(x, seen=seen, cache=cache)
        share = (seen / seen.sum(1, keepdim=True))[..., None]
        for at, layer in enumerate(self.layers):
            found.mean[group, at] = (states[layer].float() * share).sum(1).cpu().numpy()
        end = cache.used
        for s, tail in enumerate(self.tails):
            hidden = network(torch.tensor([tail] * B, device=device), cache=cache)[:, -1]
            for at, layer in enumerate(self.layers):
                found.last[s, group, at] = states[layer][:, -1].float().cpu().numpy()
            found.logp[s][group] = self._answers(hidden, self.words[s], cache, B).cpu().numpy()
            cache.cut(end)

    def _answers(self, hidden: Tensor, words: list[list[int]], cache: Cache, B: int) -> Tensor:
        """(B, K) nats of each word, of one token or more, after hidden states (B, W)."""
        network, used = self.checkpoint.network, cache.used
        first = network.logits(hidden).float().log_softmax(-1)
        columns = []
        for ids in words:
            total = first[:, ids[0]]
            if len(ids) > 1:
                more = network(torch.tensor([ids[:-1]] * B, device=hidden.device), cache=cache)
                each = network.logits(more).float().log_softmax(-1)
                total = total + each[:, torch.arange(len(ids) - 1), ids[1:]].sum(1)
                cache.cut(used)
            columns.append(total)
        return torch.stack(columns, 1) if columns else torch.zeros(B, 0)
