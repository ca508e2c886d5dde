"""One more token for many rows of a decoder on a CPU: what `Decoder.forward` does for T = 1, without what learning needs.

A small network spends half of a step outside of arithmetic. Here weights are turned once for all steps, so that a
product reads them in the order of its loops; queries of all heads meet the keys in one batched product, which for one
query a row takes half the time of attention that is made for many; and nothing is recorded. The numbers are those of
the decoder but for the order of sums: float noise.

    h = h + out(softmax(q K' / sqrt(D)) V),    q, k, v = qkv(norm1(h)),    K, V = the cache with k, v
    h = h + down(act(up(norm2(h))))

Letters: B rows, S steps in sight, W width, G key heads, R query heads for each of these, D numbers a head.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from likely.nn.decoder import Block, Cache, Decoder
from likely.nn.rope import angles, rotate

TURNED = 64 * 2**20  # bytes of weights that a turned copy is worth making of: beyond, a step waits for memory anyway

Product = Callable[[Tensor], Tensor]


class Layer(NamedTuple):
    """A block, its weights turned."""

    norm1: nn.Module
    qkv: Product
    out: Product
    norm2: nn.Module
    up: Product
    down: Product
    block: Block


def fits(network: Decoder) -> bool:
    """Whether a network can be run like this: float weights on a CPU, its layers none but its own."""
    weight = network.embed.weight
    kinds = {type(layer) for block in network.blocks for layer in _linear(block)}
    return (
        weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.float64) and kinds == {nn.Linear}
        and all(type(block) is Block for block in network.blocks)
        and (network.arch.rope is None or network.arch.rope.scaling != "dynamic")
    )  # fmt: skip


class Stride:
    """Steps of `network` over `cache`, whose rows are of one length and without padding."""

    def __init__(self, network: Decoder, cache: Cache) -> None:
        self.network, self.cache, self.arch = network, cache, network.arch
        size = sum(layer.weight.nbytes for block in network.blocks for layer in _linear(block))
        self.layers = [_layer(cast(Block, block), size <= TURNED) for block in network.blocks]
        rope = self.arch.rope
        places = torch.arange(cache.keys.shape[3])[None]
        self.turn = None if rope is None else angles(rope, self.arch.head, places, network.embed.weight.dtype)

    @torch.inference_mode()
    def step(self, tokens: Tensor) -> Tensor:
        """Take in one token a row (B,); hidden states (B, W), normed, behind it."""
        cache, at = self.cache, self.cache.used
        h = self.network.embed(tokens)
        if self.network.position is not None:
            h = h + self.network.position.weight[at]
        for k, layer in enumerate(self.layers):
            h = h + layer.out(self._attend(k, layer, layer.qkv(layer.norm1(h)), at))
            h = h + layer.down(self._feed(layer, layer.up(layer.norm2(h))))
        cache.seen[:, at] = True
        cache.used = at + 1
        return cast(Tensor, self.network.norm(h))

    def _attend(self, k: int, layer: Layer, both: Tensor, at: int) -> Tensor:
        """What each row takes from the steps in sight (B, G R D), from queries, keys and values side by side."""
        arch, B = self.arch, len(both)
        q, key, value = (part.view(B, -1, arch.head) for part in both.split(arch.sizes, 1))
        if arch.qk_norm:
            q, key = layer.block.q_norm(q), layer.block.k_norm(key)
        if self.turn is not None and arch.rope is not None:
            cos, sin = (part[0, 0, at] for part in self.turn)
            q, key = (rotate(part, cos, sin, arch.rope.interleaved) for part in (q, key))
        keys, values = self.cache.keys[k], self.cache.values[k]
        keys[:, :, at], values[:, :, at] = key, value
        first = max(0, at + 1 - arch.window) if arch.window else 0
        K = keys.flatten(0, 1)[:, first : at + 1]
        V = values.flatten(0, 1)[:, first : at + 1]
        q = q.reshape(B * arch.groups, -1, arch.head)
        weight = torch.baddbmm(q.new_empty(1), q, K.transpose(1, 2), beta=0, alpha=1 / math.sqrt(arch.head))
        return torch.bmm(weight.softmax(-1), V).view(B, -1)

    def _feed(self, layer: Layer, x: Tensor) -> Tensor:
        """The activation, gated or not."""
        if not self.arch.gated:
            return layer.block.act(x)
        gate, x = x.chunk(2, 1)
        return layer.block.act(gate).mul_(x)


def _layer(block: Block, turned: bool) -> Layer:
    qkv, out, up, down = (_product(layer, turned) for layer in _linear(block))
    return Layer(block.norm1, qkv, out, block.norm2, up, down, block)


def _linear(block: nn.Module) -> list[nn.Linear]:
    return [getattr(block, name) for name in ("qkv", "out", "up", "down")]


def _product(layer: nn.Linear, turned: bool) -> Product:
    """x (B, K) -> (B, N) by a layer, its weight as it stands or a turned copy."""
    weight, bias = layer.weight.detach().t(), layer.bias
    weight = weight.contiguous() if turned else weight
    if bias is None:
        return lambda x: torch.mm(x, weight)
    bias = bias.detach()
    return lambda x: torch.addmm(bias, x, weight)
