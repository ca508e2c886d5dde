"""Beam search: of each source the K likeliest beginnings are kept, step by step.

    score(x) = log p(x | c) / ((5 + n) / 6)^alpha + beta sum_s log min(1, a_s),    n steps, `eos` included

since sums of logs favour short texts, and texts that leave out what is hard to say; a_s: how often the lexicon looked
at step s of the source (Wu et al. 2016, arXiv:1609.08144, eq. 14, where both are .2 to .6). A source is done when
its best ended text scores no less than the best open one would if it ended now. With K = 1 and alpha = beta = 0 it is
greedy decoding.

Letters: B sources, K beams, L steps, V tokens.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor

from likely.core import Batch
from likely.families.autoregressive import Autoregressive, Walk


class Reader(Walk, Protocol):
    """Rows that know what of their source they have not looked at: (B,), 0 = nothing."""

    def missed(self) -> Tensor: ...


class Found(NamedTuple):
    """Texts x (B, L) and their log p (B,) in nats."""

    x: Tensor
    logp: Tensor


def search(model: Autoregressive, given: Batch, beams: int, alpha: float, beta: float = 0.0) -> Found:
    """The best text of each source."""
    space, B, K = model.space, len(given.x), beams
    device = given.x.device
    walk = cast(Reader, model.walk(B, given))
    law = _law(model, walk.step(torch.full((B, 1), space.bos, device=device)))
    x = torch.full((B, space.length), space.pad, device=device)
    best = torch.full((B,), -torch.inf, device=device)
    logp = best.clone()
    who = torch.arange(B, device=device)  # the source of each row of beams
    text = x[:, None].repeat(1, K, 1)
    score = torch.full((B, K), -torch.inf, device=device)
    score[:, 0] = 0.0
    law = law[:, None].expand(-1, K, -1)
    parent = torch.arange(B, device=device)[:, None].expand(-1, K)  # the row of the walk behind each beam
    for s in range(space.length):
        V = law.shape[2]
        top, place = (score[:, :, None] + law).flatten(1).topk(min(2 * K, K * V), 1)
        beam, token = place // V, place % V
        length = ((5 + s + 1) / 6) ** alpha
        # An end, or the last step: the text is whole.
        worth = top / length
        if beta:
            worth = worth - beta * walk.missed()[parent.gather(1, beam)]
        ended = torch.where((token == space.eos) | (s + 1 == space.length), worth, -torch.inf)
        value, at = ended.max(1)
        better = (value > best[who]).nonzero().flatten()
        if len(better):
            rows, pick = who[better], at[better]
            x[rows] = text[better, beam[better, pick]]
            x[rows, s] = token[better, pick]
            best[rows], logp[rows] = value[better], top[better, pick]
        if s + 1 == space.length:
            break
        top = top.masked_fill(token == space.eos, -torch.inf)
        score, at = top.topk(K, 1)
        beam, token = beam.gather(1, at), token.gather(1, at)
        stay = (best[who] < score[:, 0] / length).nonzero().flatten()
        if not len(stay):
            break
        who, score, beam, token, parent = who[stay], score[stay], beam[stay], token[stay], parent[stay]
        text = text[stay].gather(1, beam[:, :, None].expand(-1, -1, space.length)).clone()
        text[:, :, s] = token
        walk.keep(parent.gather(1, beam).flatten())
        law = _law(model, walk.step(token.reshape(-1, 1))).view(len(who), K, -1)
        parent = torch.arange(len(who) * K, device=device).view(-1, K)
    return Found(x, logp)


def _law(model: Autoregressive, hidden: Tensor) -> Tensor:
    return torch.log_softmax(model.outcomes(hidden).float(), -1)
