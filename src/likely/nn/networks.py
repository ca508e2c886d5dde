"""The network that fits a space: chosen by the shape of its tensors, so that families need not know.

    (F,)            a vector                    a perceptron
    (C, H, W)       an image of <= 1024 numbers a perceptron: on a CPU it wins there, in seconds and in nats
    (C, H, W)       a larger image              two-dimensional convolutions
    (T, C)          a window of moments         one-dimensional convolutions over time
    (C, X, Y, Z)    voxels                      three-dimensional convolutions (a perceptron if <= 1024)

`width` is the width of a perceptron's hidden layers, or the channels of the coarsest level of a convolutional network;
`depth` the number of hidden layers, or of convolutions a level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import nn

from likely.nn.convolution import Decoder, Encoder
from likely.nn.mlp import MLP

TINY = 1024  # elements up to which an image is given to a perceptron


def flat(shape: Sequence[int], most: int = TINY) -> bool:
    """Whether arrays of this shape are best taken as vectors: images do up to `most` elements."""
    return len(shape) < 2 or len(shape) > 4 or (len(shape) > 2 and math.prod(shape) <= most)


def encoder(shape: Sequence[int], out: int, width: int, depth: int, condition: int = 0) -> nn.Module:
    """A network (B, *shape) -> (B, out). With condition > 0 it is called with a second tensor (B, condition)."""
    if flat(shape):
        return MLP(shape, (out,), width, depth, condition)
    return Encoder(shape, out, width, depth, condition)


def decoder(inp: int, shape: Sequence[int], width: int, depth: int) -> MLP | Decoder:
    """A network (B, inp) -> (B, *shape). A condition is to be concatenated to its input; `aim` sets where it starts."""
    if flat(shape):
        return MLP((inp,), shape, width, depth)
    return Decoder(inp, shape, width, depth)
