"""A lexicon beside a network: what each token of the source usually stands for speaks for those tokens.

    a_t     = softmax(ask(h_t) . key(m_s) / sqrt(W))            where the step looks in the source
    votes_t = sum_s a_ts share(y | x_s)                         what stands there, in the other language
    logits_t = head(h_t) + scale * log(1 + votes_t / floor)

(Arthur, Neubig and Nakamura 2016, arXiv:1606.02006; the shares by families/seq2seq/alignment.py.) `scale` and `floor`
are learned. A network that has seen a word three times cannot know what it means; a table of counts can, and the
network says which meaning, where, and in what form.

Letters: B items, S steps of the source, T of the target, W width, V tokens, K candidates of a token of the source.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

FLOOR = 1e-3  # at first


class Lexicon(nn.Module):
    """`ids` (source, K) and `share` (source, K) of the candidates; nothing is known until `learn`."""

    ids: Tensor
    share: Tensor

    def __init__(self, source: int, vocab: int, width: int, size: int) -> None:
        super().__init__()
        self.vocab = vocab
        self.register_buffer("ids", torch.zeros(source, size, dtype=torch.int32))
        self.register_buffer("share", torch.zeros(source, size))
        self.ask, self.key = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        for weight in (self.ask.weight, self.key.weight):
            nn.init.normal_(weight, std=0.04)
        self.trust = nn.Parameter(torch.tensor([1.0, math.log(FLOOR)]))  # scale, log of floor

    @torch.no_grad()
    def learn(self, ids: Tensor, share: Tensor) -> None:
        """Take candidates (source, K) and their shares."""
        self.ids.copy_(ids)
        self.share.copy_(share)

    def forward(self, hidden: Tensor, keys: Tensor, source: Tensor, seen: Tensor | None) -> Tensor:
        """What is added to the logits (B, T, V), from states (B, T, W), keys (B, S, W) of the source's, its ids (B, S)
        and which of them are real."""
        score = self.ask(hidden) @ keys.transpose(1, 2) * hidden.shape[-1] ** -0.5
        if seen is not None:
            score = score.masked_fill(~seen[:, None], -torch.inf)
        look = score.float().softmax(-1)
        B, T, _ = look.shape
        votes = (look[..., None] * self.share[source][:, None]).view(B, T, -1)
        place = self.ids[source].long().view(B, 1, -1).expand(B, T, -1)
        said = votes.new_zeros(B, T, self.vocab).scatter_add(2, place, votes)
        scale, floor = self.trust
        added: Tensor = scale * torch.log1p(said * torch.exp(-floor))
        return added
