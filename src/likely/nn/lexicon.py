"""A lexicon beside a network: what each token of the source usually stands for speaks for those tokens.

    x_s     = embed(x_s) + sum_y share(y | x_s) embed(y)         the encoder reads both
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
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FLOOR = 1e-3  # at first
TINY = 1e-30


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

    def gloss(self, source: Tensor, embed: Tensor) -> Tensor:
        """What sources (B, S) stand for, as the mean of embeddings (V, W) of their candidates: (B, S, W)."""
        rows, share = self.ids[source].long().flatten(0, 1), self.share[source].flatten(0, 1)
        mean = F.embedding_bag(rows, embed, per_sample_weights=share.to(embed.dtype), mode="sum")
        beside: Tensor = mean.view(*source.shape, -1)
        return beside

    def look(self, hidden: Tensor, keys: Tensor, seen: Tensor | None) -> Tensor:
        """Where states (B, T, W) look in sources of keys (B, S, W), of which `seen` (B, S) are real: (B, T, S)."""
        score: Tensor = self.ask(hidden) @ keys.transpose(1, 2) * hidden.shape[-1] ** -0.5
        if seen is not None:
            score = score.masked_fill(~seen[:, None], -torch.inf)
        return score.float().softmax(-1)

    def forward(self, look: Tensor, source: Tensor) -> Tensor:
        """What is added to the logits (B, T, V) where steps look (B, T, S) at sources (B, S)."""
        B, T, _ = look.shape
        votes = (look[..., None] * self.share[source][:, None]).view(B, T, -1)
        place = self.ids[source].long().view(B, 1, -1).expand(B, T, -1)
        return _Raise.apply(votes, place, self.trust, self.vocab)  # type: ignore[no-any-return, no-untyped-call]


class _Raise(torch.autograd.Function):
    """scale * log(1 + v / floor) for the sum v of the votes of each token. Few tokens have any, so nothing is computed
    for the others; where one has several votes, each bears its share of the gradient of scale and floor."""

    @staticmethod
    def forward(ctx: Any, votes: Tensor, place: Tensor, trust: Tensor, vocab: int) -> Tensor:
        out = votes.new_zeros(*votes.shape[:2], vocab).scatter_add_(2, place, votes)
        total = out.gather(2, place)
        ctx.save_for_backward(votes, place, trust, total)
        scale, floor = trust
        return out.scatter_(2, place, scale * torch.log1p(total * torch.exp(-floor)))

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, Tensor, None]:
        votes, place, trust, total = ctx.saved_tensors
        scale, floor = trust
        grad = grads[0].gather(2, place)
        over = total * torch.exp(-floor)
        bent = scale / (1 + over)
        once = grad * votes / total.clamp_min(TINY)
        turned = torch.stack([(once * torch.log1p(over)).sum(), -(once * bent * over).sum()])
        return grad * bent * torch.exp(-floor), None, turned, None
