"""Which arithmetic runs a network. For now: the network as it is, or in bfloat16."""

from __future__ import annotations

import copy

import torch

from likely.errors import UnknownName
from likely.language.decode.runner import Runner
from likely.nn.decoder import Decoder

KERNELS = ("auto", "plain", "bfloat16", "int8", "int4")


def build(network: Decoder, kernel: str) -> Runner:
    """A runner of the network with one of KERNELS. Raises UnknownName."""
    if kernel not in KERNELS:
        raise UnknownName("kernel", kernel, KERNELS)
    if kernel != "plain":
        network = copy.deepcopy(network).to(torch.bfloat16)
    runner = Runner(network.eval())
    runner.about = {"kernel": kernel}
    return runner
