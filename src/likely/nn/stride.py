"""A few more tokens for many rows of a small decoder on a CPU, compiled: drawing many short texts at once.

`Decoder.forward` for one token is some sixty operators a layer, and for 32 rows of a network of a few million weights
two thirds of the time are spent between their products. Here it is one call of C (stride.c) that gives the same numbers
but for the order of sums: float noise. Weights are laid out for it when drawing begins, since they may have moved.

What it covers: float32 on a CPU, all of one length, layers that are the decoder's own, sizes of whole 16s, and at most
`BYTES` of weights: larger networks are held up by their products, which torch spreads over cores. For all else, and
where there is no compiler, callers go on with the decoder.

Letters: B rows, T new tokens, S steps of the cache, W width, N outputs, K inputs of a matrix.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_float, c_int32, c_int64, c_size_t, c_void_p
from functools import cache as once

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likely.nn import native
from likely.nn.decoder import ACTIVATIONS, Block, Cache, Decoder
from likely.nn.rope import angles

BYTES = 32 * 2**20
TILE, PANEL = 16, 32
LINES = 256  # tokens of all rows at once: what they need stays near the processor
LONG = 64  # new tokens of a row, above which attention that is made for many is the faster one


class _Matrix(Structure):
    _fields_ = (("w", c_void_p), ("bias", c_void_p), ("n", c_int32), ("k", c_int32))


class _Layer(Structure):
    _fields_ = (
        ("qkv", _Matrix), ("out", _Matrix), ("up", _Matrix), ("down", _Matrix),
        *((name, c_void_p) for name in ("norm1", "shift1", "norm2", "shift2", "q_norm", "k_norm")),
    )  # fmt: skip


class _Model(Structure):
    _fields_ = (
        *((name, c_int32) for name in ("layers", "width", "heads", "groups", "head", "hidden")),
        *((name, c_int32) for name in ("interleaved", "act", "gated", "window")),
        ("eps", c_float), ("layer", POINTER(_Layer)),
        *((name, c_void_p) for name in ("norm", "shift", "embed", "position", "cos", "sin")),
    )  # fmt: skip


class _Job(Structure):
    _fields_ = (
        ("id", c_void_p), ("keys", c_void_p), ("values", c_void_p),
        *((name, c_int64) for name in ("to_layer", "to_row", "to_group")),
        ("y", c_void_p), ("work", c_void_p), ("rows", c_int32), ("tokens", c_int32), ("at", c_int32),
    )  # fmt: skip


def library(target: tuple[str, ...] | None = None) -> tuple[ctypes.CDLL | None, str]:
    """The library and its compiler, or None and why not. `target`: see `native.library`."""
    found, why = native.library("likely.nn", ("stride.c", "lanes.h"), target)
    return (None if found is None else _typed(found)), why


@once
def _typed(found: ctypes.CDLL) -> ctypes.CDLL:
    found.room.restype, found.room.argtypes = c_size_t, (c_void_p, c_int32, c_int32)
    found.stride.restype, found.stride.argtypes = None, (c_void_p, c_void_p)
    found.pack.restype, found.pack.argtypes = None, (c_void_p, c_int32, c_int32, c_void_p)
    return found


def why_not(network: Decoder) -> str:
    """What keeps a network from being run like this; "" = nothing."""
    arch, weight = network.arch, network.embed.weight
    linear = [layer for block in network.blocks for layer in _linear(block)]
    reasons = {
        f"it is in {weight.dtype} on {weight.device.type}": (weight.dtype, weight.device.type)
        != (torch.float32, "cpu"),
        "its layers were exchanged": any(type(layer) is not nn.Linear for layer in linear)
        or any(type(block) is not Block for block in network.blocks),
        "its sizes are no multiples of 16": any(size % TILE for size in (arch.width, arch.hidden, arch.head)),
        "its positions depend on the length": arch.rope is not None and arch.rope.scaling == "dynamic",
        f"its weights are more than {BYTES >> 20} MB": 12 * arch.layers * arch.width * arch.width > BYTES
        or sum(layer.weight.nbytes for layer in linear if type(layer) is nn.Linear) > BYTES,
    }
    return next((reason for reason, true in reasons.items() if true), "")


class Stride:
    """Steps of `network` over `cache`, whose rows have no padding. The weights are those of now."""

    def __init__(self, found: ctypes.CDLL, network: Decoder, cache: Cache) -> None:
        self.found, self.cache, arch = found, cache, network.arch
        self.width, self.room = arch.width, cache.keys.shape[3]
        self.kept: list[Tensor] = []  # what the structures point to
        self.layers = (_Layer * arch.layers)(*(self._layer(block) for block in network.blocks))
        turn = None
        if arch.rope is not None:
            turn = angles(arch.rope, arch.head, torch.arange(self.room)[None], torch.float32)
        self.model = _Model(
            arch.layers, arch.width, arch.heads, arch.groups, arch.head, arch.hidden,
            int(arch.rope is not None and arch.rope.interleaved), list(ACTIVATIONS).index(arch.activation),
            int(arch.gated), arch.window, arch.eps, self.layers, *self._norm(network.norm),
            self._keep(network.embed.weight), None if network.position is None else self._keep(network.position.weight),
            *((None, None) if turn is None else (self._keep(part[0, 0]) for part in turn)),
        )  # fmt: skip

    def step(self, tokens: Tensor) -> Tensor:
        """Take in tokens (B, T); hidden states (B, W), normed, behind the last of each row."""
        cache, keys, (B, T) = self.cache, self.cache.keys, tokens.shape
        # The library does not look.
        fits = keys.stride() == cache.values.stride() and keys.stride()[3:] == (keys.shape[4], 1)
        if T < 1 or cache.room < T or keys.shape[1] != B or tokens.dtype != torch.int64 or not fits:
            raise ValueError("the cache does not fit the tokens")
        tokens, y, model = tokens.contiguous(), torch.empty(B, self.width), ctypes.byref(self.model)
        rows = max(1, LINES // T)
        work = torch.empty(self.found.room(model, min(rows, B) * T, self.room))
        for row in range(0, B, rows):
            part = keys[:, row:], cache.values[:, row:]
            job = _Job(
                tokens[row:].data_ptr(), part[0].data_ptr(), part[1].data_ptr(), *keys.stride()[:3],
                y[row:].data_ptr(), work.data_ptr(), min(rows, B - row), T, cache.used,
            )  # fmt: skip
            self.found.stride(model, ctypes.byref(job))
        cache.seen[:, cache.used : cache.used + T] = True
        cache.used += T
        return y

    def _layer(self, block: nn.Module) -> _Layer:
        def scale(name: str) -> int | None:
            found = getattr(block, name, None)
            return None if found is None else self._keep(found.weight)

        norms = [*self._norm(block.get_submodule("norm1")), *self._norm(block.get_submodule("norm2"))]
        return _Layer(*(self._matrix(layer) for layer in _linear(block)), *norms, scale("q_norm"), scale("k_norm"))

    def _norm(self, norm: nn.Module) -> tuple[int, int | None]:
        """Scale and shift: layer norm has both."""
        scale = self._keep(norm.get_parameter("weight"))
        return scale, self._keep(norm.get_parameter("bias")) if isinstance(norm, nn.LayerNorm) else None

    def _matrix(self, layer: nn.Linear) -> _Matrix:
        """In panels [N / 32][K][32]."""
        N, K = layer.weight.shape
        more = -N % PANEL
        weight, panels = layer.weight.detach().contiguous(), torch.empty((N + more) * K)
        self.found.pack(weight.data_ptr(), N, K, panels.data_ptr())
        bias = None if layer.bias is None else self._keep(F.pad(layer.bias, (0, more)))
        return _Matrix(self._keep(panels), bias, N + more, K)

    def _keep(self, tensor: Tensor) -> int:
        self.kept.append(tensor.detach().contiguous())
        return int(self.kept[-1].data_ptr())


def _linear(block: nn.Module) -> list[nn.Linear]:
    return [getattr(block, name) for name in ("qkv", "out", "up", "down")]
