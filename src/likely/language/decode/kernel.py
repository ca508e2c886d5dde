"""Which arithmetic runs a network.

    plain      the network as it is
    bfloat16   a copy in bfloat16
    int8       weights in 8 bits for up to 8 tokens at a time, bfloat16 for more (prompts, large batches)
    int4       weights in 4 bits, the head in 8, for up to 8 tokens at a time, bfloat16 for more
    auto       int8 on a processor where it gives what it should and is faster, else plain

int8 and int4 run the compiled pass (see `likely.language.compiled`) where there is a compiler and the network is of the
kind it covers, else torch's packed products. Where the processor has no fast bfloat16, float32 stands in its place. All
that is decided is said in `about`; that a compiler is missing, once in the log too. What "auto" means depends on the
instructions that a processor has, and only where they are unknown on a measurement: the same machine decides alike.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from likely.errors import OptionError, UnknownName
from likely.language.compiled.build import library
from likely.language.compiled.many import quick
from likely.language.compiled.step import Pass, instructions, why_not
from likely.language.decode.runner import Runner
from likely.language.decode.swift import Swift
from likely.language.quantize import Packed, cast, int4, int8, pack
from likely.nn.decoder import Decoder

KERNELS = ("auto", "plain", "bfloat16", "int8", "int4")
ALIKE = 0.8  # cosine of logits by both ways, least: a wrong one is near 0, the rounding of 4 bits far above
GAIN = 1.15  # int8 must be so much faster than the network as it is
KNOWN = ("AVX2", "AVX512")  # instructions with which torch's int8 product is 1.8 times as fast and more
log = logging.getLogger("likely.decode")


def build(network: Decoder, kernel: str = "auto", *, compiled: bool = True) -> Runner:
    """A runner of the network with one of KERNELS; `compiled` false: without the compiled pass.

    Raises UnknownName, OptionError.
    """
    if kernel not in KERNELS:
        raise UnknownName("kernel", kernel, KERNELS)
    device = network.embed.weight.device
    why = ""
    if kernel in ("int8", "int4") and device.type != "cpu":
        raise OptionError(f'kernel="{kernel}" runs on the processor; the network is on {device}. Use "bfloat16".')
    if kernel == "auto":
        kernel, why = _choose(network, device, compiled)
    dense = network if kernel == "plain" else cast(network, fast_type(device))
    about: dict[str, str] = {}
    if kernel in ("plain", "bfloat16"):
        runner = Runner(dense.eval())
    else:
        bits = 8 if kernel == "int8" else 4
        swift, about["compiled"] = _swift(network, dense, bits) if compiled else (None, "no: not wanted")
        runner = swift or Runner(pack(network, dense, int8 if bits == 8 else int4))
    runner.about = {"kernel": kernel, "type": str(dense.embed.weight.dtype).removeprefix("torch."), **about}
    if why:
        runner.about["why"] = why
    runner.about["memory"] = _memory(network, runner, dense)
    return runner


def _swift(network: Decoder, dense: Decoder, bits: int) -> tuple[Swift | None, str]:
    """A runner with the compiled pass, or None; and what to say of it."""
    why = why_not(network)
    if why:
        return None, f"no: {why}"
    found, words = library()
    if found is None:
        _told(words)
        return None, f"no: {words}"
    try:
        made = Swift(
            quick(dense.eval(), found), Pass(found, network, bits, dense.embed.weight.dtype, torch.get_num_threads())
        )
    except (MemoryError, OSError) as error:
        return None, f"no: {error}"
    few, many = made.slots(), made.slots()
    ids = [at * 7919 % network.arch.vocab for at in range(1, 9)]  # spread: control tokens, the first ones, are odd
    both = made.every([ids], few, 0)[0], Runner(dense).every([ids], many, 0)[0]
    both = both[0] - both[0].mean(1, keepdim=True), both[1] - both[1].mean(1, keepdim=True)
    likeness = float(F.cosine_similarity(*both).mean())
    if not likeness > ALIKE:
        return None, f"no: its results are off (likeness {likeness:.2f})"
    if made.compiled.path == "plain":  # no vector instructions that it knows
        slow = _seconds(lambda: made.step([0], few))
        if slow > _seconds(lambda: Runner.step(made, [0], many)):
            return None, "no: this processor has none of the instructions it is fast with"
    return made, f"yes: {words}, {made.compiled.path}, {made.compiled.workers} threads"


@cache
def _told(words: str) -> None:
    """Say once why tokens take longer than they could."""
    log.warning("Decoding without the compiled pass, at about a third of its speed: %s.", words)


def fast_type(device: torch.device) -> torch.dtype:
    """bfloat16 where products in it are computed as such, else float32."""
    if device.type != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return torch.bfloat16
    return torch.float32


def _choose(network: Decoder, device: torch.device, compiled: bool) -> tuple[str, str]:
    """What "auto" means here, and why."""
    if device.type != "cpu":
        return "plain", f"the network is on {device}"
    if compiled and not why_not(network):
        found, _ = library()
        if found is not None and instructions(found) != "plain":
            return "int8", ""  # should its results be off, torch's product stands in
    dtype = fast_type(device)
    rng = torch.Generator().manual_seed(0)
    weight = torch.randn(2048, 1024, generator=rng) / 32
    x, dense = torch.randn(1, 1024, generator=rng).to(dtype), weight.to(dtype)
    try:
        packed = int8(weight, dense, None)
        error = float((packed(x).float() - x.float() @ weight.T).norm() / (x.float() @ weight.T).norm())
    except RuntimeError as problem:
        return "plain", f"this build of torch has no int8 product: {str(problem)[:80]}"
    if error > 0.02:
        return "plain", f"the int8 product is off by {error:.0%} here"
    if torch.backends.cpu.get_cpu_capability() in KNOWN:
        return "int8", ""
    gain = _seconds(lambda: F.linear(x, dense)) / _seconds(lambda: packed(x))
    return ("int8", "") if gain > GAIN else ("plain", f"int8 is {gain:.2f} times as fast here")


def _seconds(work: Callable[[], Tensor]) -> float:
    """CPU-seconds of the fastest of a few repeats."""
    found = []
    for _ in range(7):
        began = time.process_time()
        for _ in range(4):
            work()
        found.append(time.process_time() - began)
    return max(min(found), 1e-9)


def _memory(network: Decoder, runner: Runner, dense: Decoder) -> str:
    """What the weights hold, in words."""

    def size(tensors: list[Tensor]) -> int:
        return sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())

    parts = [f"{size(list(dense.parameters())) / 1e6:.0f} MB {dense.embed.weight.dtype}".replace("torch.", "")]
    packed = sum(module.size for module in runner.network.modules() if isinstance(module, Packed))
    packed += runner.compiled.size if isinstance(runner, Swift) else 0
    if packed:
        parts.append(f"{packed / 1e6:.0f} MB packed")
    if dense is not network:
        parts.append(f"beside the network's own {size(list(network.parameters())) / 1e6:.0f} MB")
    return ", ".join(parts)
