"""The compiled pass of a decoder: weights laid out for it, and the call.

What it covers is the LLaMA line: RMS norm, rotary positions, gated feed-forward with SiLU or GELU, heads of whole 16s.
For all else `why_not` says what is in the way.

Letters: N outputs, K inputs of a matrix, T tokens, O of them with logits, V vocabulary.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import threading
import weakref
from collections.abc import Sequence
from ctypes import POINTER, Structure, c_char_p, c_float, c_int32, c_int64, c_size_t, c_void_p

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from likely.language.quantize import to_int4, to_int8
from likely.nn.decoder import Decoder
from likely.nn.rope import angles

TILE, GROUP = 16, 32  # outputs and inputs of a tile
KINDS = {torch.float32: 0, torch.bfloat16: 1}


class _Matrix(Structure):
    _fields_ = (
        ("w", c_void_p),
        ("scale", c_void_p),
        ("bias", c_void_p),
        ("n", c_int32),
        ("k", c_int32),
        ("bits", c_int32),
    )


class _Layer(Structure):
    _fields_ = (
        ("qkv", _Matrix), ("out", _Matrix), ("up", _Matrix), ("down", _Matrix),
        ("norm1", c_void_p), ("norm2", c_void_p), ("q_norm", c_void_p), ("k_norm", c_void_p),
    )  # fmt: skip


class _Model(Structure):
    _fields_ = (
        *((name, c_int32) for name in ("layers", "width", "heads", "groups", "head", "hidden")),
        *((name, c_int32) for name in ("interleaved", "gelu", "embed_kind", "cache_kind")),
        ("eps", c_float), ("layer", POINTER(_Layer)), ("top", _Matrix),
        *((name, c_void_p) for name in ("norm", "embed", "cos", "sin")),
    )  # fmt: skip


class _Job(Structure):
    _fields_ = (
        ("tokens", c_int32), ("outs", c_int32),
        *((name, c_void_p) for name in ("id", "row", "place", "out", "keys", "values")),
        *((name, c_int64) for name in ("layer", "line", "group")),
        ("logits", c_void_p), ("work", c_void_p),
    )  # fmt: skip


def why_not(network: Decoder) -> str:
    """What keeps a network from being run by the compiled pass; "" = nothing."""
    arch = network.arch
    reasons = {
        "it has no rotary positions": arch.rope is None,
        "its rotary positions depend on the length": arch.rope is not None and arch.rope.scaling == "dynamic",
        "its norms are not RMS norms": arch.norm != "rms",
        "its feed-forward is not gated": not arch.gated or arch.bias_feed or arch.bias_out,
        f"its activation is {arch.activation}": arch.activation not in ("silu", "gelu_tanh"),
        "it sees a window of steps": 0 < arch.window < arch.context,
        "its sizes are no multiples of 16": any(size % TILE for size in (arch.width, arch.hidden, arch.head)),
        "its heads are wider than 256": arch.head > 256,
        "its layers were exchanged": any(type(layer) is not nn.Linear for layer in _layers(network)),
        f"it is in {network.embed.weight.dtype}": network.embed.weight.dtype not in KINDS,
    }
    return next((reason for reason, true in reasons.items() if true), "")


def instructions(library: ctypes.CDLL) -> str:
    """What a library was compiled for: "avx512vnni", "avxvnni", "avx2", or "plain", which is slow."""
    library.path.restype = c_char_p
    return str(library.path().decode())


def _dismiss(library: ctypes.CDLL, team: int, process: int) -> None:
    if os.getpid() == process:
        library.dismiss(team)


def _matrices(network: Decoder) -> list[Tensor]:
    return [weight for name, weight in network.blocks.named_parameters() if weight.ndim == 2]


def _size(matrix: Tensor, bits: int) -> int:
    """Bytes of the tiles of a matrix."""
    N, K = matrix.shape
    N, K = N + -N % TILE, K + -K % GROUP
    return N * K if bits == 8 else N * K // (TILE * GROUP) * 320


def _layers(network: Decoder) -> list[nn.Module]:
    return [getattr(block, name) for block in network.blocks for name in ("qkv", "out", "up", "down")]


class Arena:
    """Memory for all weights of a model, in large pages where the system has them: fewer misses in its tables."""

    def __init__(self, size: int) -> None:
        # private: shared memory gets small pages, and takes three times as long to read
        self.map = mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            with contextlib.suppress(OSError):
                self.map.madvise(mmap.MADV_HUGEPAGE)
        self.bytes = torch.frombuffer(self.map, dtype=torch.uint8)
        self.used = 0

    def keep(self, tensor: Tensor) -> int:
        """Copy a tensor in; its address."""
        size = tensor.nbytes
        place = self.bytes[self.used : self.used + size]
        place.copy_(tensor.contiguous().view(torch.uint8).reshape(-1))
        self.used += -(-size // 64) * 64
        return int(place.data_ptr())


def tiles8(weight: Tensor) -> tuple[Tensor, Tensor]:
    """(N, K) -> tiles of unsigned bytes, and scales (N) float32, both padded to whole tiles: see product.h."""
    q, scale = to_int8(weight)
    N, K = q.shape
    q = F.pad(q, (0, -K % GROUP, 0, -N % TILE))
    tiles = q.view(-1, TILE, q.shape[1] // GROUP, GROUP // 4, 4).permute(0, 2, 3, 1, 4)
    return (tiles.to(torch.int16) + 128).to(torch.uint8).contiguous(), F.pad(scale, (0, -N % TILE))


def tiles4(weight: Tensor) -> Tensor:
    """(N, K) -> tiles of nibbles with scales and zeros (N / 16, K / 32, 320) uint8, padded to whole tiles."""
    N, K = weight.shape
    q, scale, zero = to_int4(F.pad(weight, (0, -K % GROUP, 0, -N % TILE)))
    q = q.view(-1, TILE, q.shape[1] // GROUP, 2, 4, 4)  # tile, output, block, half, four inputs, input
    nibbles = (q[:, :, :, 0] | q[:, :, :, 1] << 4).permute(0, 2, 3, 1, 4).flatten(2)
    both = [part.view(-1, TILE, part.shape[1]).transpose(1, 2).contiguous().view(torch.uint8) for part in (scale, zero)]
    return torch.cat((nibbles, *both), -1)


class Pass:
    """A network laid out for the library. `bits`: 8 or 4 a weight; the head has 8."""

    def __init__(self, library: ctypes.CDLL, network: Decoder, bits: int, dtype: torch.dtype, workers: int) -> None:
        arch = network.arch
        self.library, self.arch, self.bits, self.dtype, self.workers = library, arch, bits, dtype, workers
        library.room.restype, library.room.argtypes = c_size_t, (c_void_p, c_int32, c_int32, c_int32)
        library.gather.restype, library.gather.argtypes = c_void_p, (c_int32,)
        library.dismiss.restype, library.dismiss.argtypes = None, (c_void_p,)
        library.step.restype, library.step.argtypes = None, (c_void_p, c_void_p, c_void_p, c_int32)
        sizes = [_size(matrix, bits) for matrix in _matrices(network)]
        self.arena = Arena(sum(sizes) + _size(network.embed.weight, 8))
        self.kept: list[Tensor] = []  # what the structures point to
        self.model = self._model(network)
        self.turned = 0
        self._gather()

    def _gather(self) -> None:
        """Workers of this process."""
        self.process, self.lock = os.getpid(), threading.Lock()
        self.team = self.library.gather(self.workers)
        if not self.team:
            raise MemoryError("no memory for the workers")
        weakref.finalize(self, _dismiss, self.library, self.team, self.process)

    @property
    def path(self) -> str:
        """The instructions that are used."""
        return instructions(self.library)

    @property
    def size(self) -> int:
        """Bytes of the packed weights."""
        return self.arena.used

    def _model(self, network: Decoder) -> _Model:
        arch = self.arch
        self.layers = (_Layer * arch.layers)(*(self._layer(block) for block in network.blocks))
        head = network.head if network.head is not None else network.embed
        embed = network.embed.weight.detach()
        embed = embed if embed.dtype == self.dtype else embed.to(self.dtype)
        assert arch.rope is not None
        return _Model(
            arch.layers, arch.width, arch.heads, arch.groups, arch.head, arch.hidden, int(arch.rope.interleaved),
            int(arch.activation == "gelu_tanh"), KINDS[embed.dtype], KINDS[self.dtype], arch.eps, self.layers,
            self._matrix(head.weight, None, 8), self._floats(network.norm.get_parameter("weight")), self._keep(embed),
            None, None,
        )  # fmt: skip

    def _layer(self, block: nn.Module) -> _Layer:
        def matrix(layer: nn.Linear) -> _Matrix:
            return self._matrix(layer.weight, layer.bias, self.bits)

        def scale(name: str) -> int | None:
            found = getattr(block, name, None)
            return None if found is None else self._floats(found.get_parameter("weight"))

        return _Layer(
            *(matrix(getattr(block, name)) for name in ("qkv", "out", "up", "down")),
            *(scale(name) for name in ("norm1", "norm2", "q_norm", "k_norm")),
        )

    def _matrix(self, weight: Tensor, bias: Tensor | None, bits: int) -> _Matrix:
        N, K = weight.shape
        weight = weight.detach()
        if bits == 8:
            tiles, scales = tiles8(weight)
            scale: int | None = self._keep(scales)
        else:
            tiles, scale = tiles4(weight), None
        added = None if bias is None else self._floats(F.pad(bias.detach(), (0, -N % TILE)))
        return _Matrix(self.arena.keep(tiles), scale, added, N + -N % TILE, K + -K % GROUP, bits)

    def _floats(self, tensor: Tensor) -> int:
        return self._keep(tensor.detach().float())

    def _keep(self, tensor: Tensor) -> int:
        self.kept.append(tensor.contiguous())
        return int(self.kept[-1].data_ptr())

    def _turn(self, seen: int) -> None:
        """Cosines and sines of at least so many places."""
        if seen <= self.turned:
            return
        assert self.arch.rope is not None
        self.turned = min(max(2 * self.turned, seen, 1024), max(self.arch.context, seen))
        both = angles(self.arch.rope, self.arch.head, torch.arange(self.turned)[None], torch.float32)
        self.angles = [part[0, 0].contiguous() for part in both]
        self.model.cos, self.model.sin = (part.data_ptr() for part in self.angles)

    def run(self, ids: Sequence[int], rows: Sequence[int], places: Sequence[int], outs: Sequence[int], keys: Tensor,
            values: Tensor) -> Tensor:  # fmt: skip
        """Read token ids[t] as the `places[t]`-th of row `rows[t]`: logits (O, V) float32 after those `outs` names.

        `keys`, `values` (layers, rows, groups, steps, head) are read and written. Tokens of a row: in order.
        """
        T, seen = len(ids), max(places) + 1
        if not (
            keys.dtype == values.dtype == self.dtype
            and keys.stride() == values.stride()
            and keys.stride()[3:] == (self.arch.head, 1)
            and seen <= keys.shape[3]
            and max(rows) < keys.shape[1]
            and max(ids) < self.arch.vocab
            and min(*ids, *rows, *places) >= 0
        ):
            raise ValueError("the cache or the ids do not fit the network")  # the library does not look
        if os.getpid() != self.process:  # a fork has none of the workers, nor whoever held the lock
            self._gather()
        given = torch.tensor([ids, rows, places], dtype=torch.int32)
        wanted = torch.tensor(outs, dtype=torch.int32)
        logits = torch.empty(len(outs), self.model.top.n)
        model = ctypes.byref(self.model)
        work = torch.empty(self.library.room(model, T, seen, self.workers))
        # One call at a time: the workers and the angles are shared, and ctypes lets other threads run meanwhile.
        job = _Job(
            T, len(outs), given[0].data_ptr(), given[1].data_ptr(), given[2].data_ptr(), wanted.data_ptr(),
            keys.data_ptr(), values.data_ptr(), *keys.stride()[:3], logits.data_ptr(), work.data_ptr(),
        )  # fmt: skip
        with self.lock:
            self._turn(seen)
            self.library.step(model, ctypes.byref(job), self.team, seen)
        return logits[:, : self.arch.vocab]
