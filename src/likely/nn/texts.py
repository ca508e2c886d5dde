"""Several texts in one row, none of which sees another.

A row of T steps that holds one short text is mostly padding. Packed rows hold several, and attention must stay within
each (block-diagonal and causal), with positions that begin anew. A mask of (T, T) would be right and wasteful: a text
of t steps has t^2 / 2 pairs, the row T^2. So attention alone leaves the rows: texts of like length are laid side by
side as (M, t), padded at the end, where causality already hides the padding; what comes out goes back to its place.
All else in a decoder treats steps one by one and need not know.

    weights = softmax(q k^T / sqrt(D) + causal)      a text;      out = weights v

For short texts on a CPU the products are written out: the fused kernel is made for long ones, and in bf16 takes four
times as long for 128 steps. The queries that share a key head are stacked, so that keys are never repeated.

Letters: B rows, T steps, M texts side by side, t steps of the longest, H query heads, G key heads, D numbers a head.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

SHORT = {torch.float32: 64, torch.bfloat16: 256}  # steps up to which a CPU is quicker with the products written out
ALIKE = 0.8  # texts go side by side if the shortest has this share of the longest's steps


class Texts:
    """Which steps of each row are one text. `numbers` (B, T): equal neighbours are one text, 0 is padding.

    `positions` (B, T) count from 0 in each text. `window`: steps in sight at most, 0 = all.
    """

    def __init__(self, numbers: Tensor, window: int = 0) -> None:
        B, T = numbers.shape
        device = numbers.device
        first = torch.ones(B, T, dtype=torch.bool, device=device)
        first[:, 1:] = numbers[:, 1:] != numbers[:, :-1]
        step = torch.arange(T, device=device)
        self.positions = step - torch.where(first, step, 0).cummax(1).values
        self.window = window
        starts = first.flatten().nonzero().flatten()
        sizes = torch.diff(starts, append=starts.new_tensor([B * T]))
        real = numbers.flatten()[starts] != 0
        self.groups = [_lay(starts[real][rows], sizes[real][rows]) for rows in _alike(sizes[real])]

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q (B, H, T, D), k and v (B, G, T, D) -> what each step takes from its own text (B, T, H * D), padding 0."""
        B, H, T, D = q.shape
        q, k, v = (x.to(v.dtype).transpose(1, 2).reshape(B * T, -1) for x in (q, k, v))
        found, places = [], []
        for index, inside in self.groups:
            M, t = index.shape
            parts = [x.index_select(0, index.flatten()).view(M, t, -1, D).transpose(1, 2) for x in (q, k, v)]
            out = look(parts[0], parts[1], parts[2], self.window).transpose(1, 2).reshape(M * t, H * D)
            whole = bool(inside.all())
            found.append(out if whole else out[inside.flatten()])
            places.append(index.flatten() if whole else index[inside])
        if not found:
            return q.new_zeros(B, T, H * D)
        seen = torch.cat(found)
        return seen.new_zeros(B * T, H * D).index_copy(0, torch.cat(places), seen).view(B, T, H * D)


def look(q: Tensor, k: Tensor, v: Tensor, window: int = 0) -> Tensor:
    """Causal attention of q (M, H, t, D) to k, v (M, G, t, D): (M, H, t, D)."""
    (M, H, t, D), G = q.shape, k.shape[1]
    hidden = None
    if window and t > window:
        hidden = torch.ones(t, t, dtype=torch.bool, device=q.device).tril().triu(1 - window)
    if q.device.type == "cpu" and t <= SHORT.get(v.dtype, 0):
        if hidden is None:
            hidden = torch.ones(t, t, dtype=torch.bool, device=q.device).tril()
        bias = torch.zeros(t, t, dtype=v.dtype, device=q.device).masked_fill(~hidden, -math.inf)
        each = (q * D**-0.5).reshape(M, G, H // G * t, D)  # the queries of one key head, one after the other
        weights = (each @ k.transpose(-1, -2)).view(M, G, H // G, t, t) + bias
        out: Tensor = (weights.softmax(-1).view(M, G, H // G * t, t) @ v).view(M, H, t, D)
        return out
    causal = hidden is None and t > 1
    return F.scaled_dot_product_attention(q, k, v, attn_mask=hidden, is_causal=causal, enable_gqa=H != G)


def _alike(sizes: Tensor) -> Iterator[Tensor]:
    """Rows of `sizes` (n,), the longest first, in groups of like size."""
    order = sizes.argsort(descending=True, stable=True)
    ordered: list[int] = sizes[order].tolist()
    begin = 0
    for end in range(1, len(ordered) + 1):
        if end == len(ordered) or ordered[end] < ALIKE * ordered[begin]:
            yield order[begin:end]
            begin = end


def _lay(starts: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Flat steps (M, t) of texts side by side, and which are of the text itself; beyond its end, the last one again."""
    step = torch.arange(int(sizes[0]), device=starts.device)
    return starts[:, None] + torch.minimum(step, sizes[:, None] - 1), step < sizes[:, None]
