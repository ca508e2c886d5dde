"""Differentiable augmentation: the critic sees real and made images changed at random, and cannot learn a small set by
heart (Zhao et al. 2020, arXiv:2006.10738).

    brightness    x + b,  b uniform in +-1/4 of the range of values
    translation   up to an eighth of each side, what comes in is the edge repeated
    cutout        a square of half of each side set to the middle value

The same *kinds* of change are made to both, so that the made images need not show them. All are differentiable in x.

Letters: B items, C channels, H, W sides.
"""

from __future__ import annotations

import torch
from torch import Tensor


def augment(x: Tensor, low: float = -1.0, high: float = 1.0) -> Tensor:
    """Images (B, C, H, W) with values in [low, high], changed by torch's global generator."""
    return cutout(translation(brightness(x, (high - low) / 4)), (low + high) / 2)


def brightness(x: Tensor, most: float) -> Tensor:
    """Add one number up to +-most to each image."""
    return x + (2 * torch.rand(len(x), 1, 1, 1, device=x.device) - 1) * most


def translation(x: Tensor) -> Tensor:
    """Move each image by whole pixels, up to an eighth of its sides."""
    B, C, H, W = x.shape
    rows = _moved(B, H, x.device)[:, None, :, None].expand(B, C, H, W)
    columns = _moved(B, W, x.device)[:, None, None, :].expand(B, C, H, W)
    return x.gather(2, rows).gather(3, columns)


def _moved(B: int, side: int, device: torch.device) -> Tensor:
    """The pixel (B, side) that each place shows."""
    most = side // 8
    shift = torch.randint(-most, most + 1, (B, 1), device=device)
    place = torch.arange(side, device=device) + shift
    return place.clamp(0, side - 1)


def cutout(x: Tensor, value: float) -> Tensor:
    """Set a rectangle of half of each side to `value`; it may reach over the edge."""
    B, _, H, W = x.shape
    inside = []
    for side in (H, W):
        centre = torch.randint(0, side, (B, 1), device=x.device)
        inside.append((torch.arange(side, device=x.device) - centre).abs() * 4 < side)
    hole = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return torch.where(hole, value, x)
