"""What a distance between images looks at: a small network that learned from the real images, pinned by a hash.

Distances between raw pixels see the place of every stroke and little else. The custom is to compare what a network for
pictures sees; the usual one (Inception) needs weights from elsewhere, photographs as input and a network connection. So
a small convolutional network learns from a part of the real *training* images, and from nothing else:

    classifier    to tell their labels, where there are labels
    rotation      to tell by how many quarters an image was turned (Gidaris et al. 2018, arXiv:1803.07728)
    autoencoder   to draw an image again from 64 numbers, where turns cannot be told (textures, discs)

Its features are 64 numbers before the last layer and the mean activity of every channel below, which sees grain and
blur that a classifier is free to ignore; each in units of its spread over the images learned from. The weights are
fixed by the images and the seed, and named by the first digits of their SHA-256: equal names, comparable numbers.
Learning uses one thread, since sums in another order would be another network.

Any other function from images to vectors will do as well: `evaluate_images(..., features=f)`.

Letters: B images of a batch, H, W height and width, C channels, F features.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from likely.errors import DataError, Mismatch
from likely.evaluate.arrays import SIDE, Array, pooled, scaled
from likely.evaluate.columns import Floats

Features = Callable[[Array], Any]  # images (N, H, W, C) -> (N, F), an array or tensor
WIDTH = 64  # features of the last layer
BATCH = 128
SEEN = 32_000  # images that pass through the network while it learns
LEAST = 60  # steps, however few images there are
TELLS = 0.5  # share of turns a network must tell to have learned something; a guess tells 1/4
CHUNK = 512  # images at a time without gradients
PIXELS = 1024  # numbers an image is averaged down to where pixels are compared


class FeatureNet:
    """A network that learned from real images: images (N, H, W, C) -> (N, F). `learn` makes one.

    `name` says what it learned, `digest` is the SHA-256 of its weights, `accuracy` the share it tells of images it did
    not learn from (None for an autoencoder).
    """

    LAST = WIDTH  # the features of the last layer come first

    def __init__(self, body: Body, bounds: tuple[float, float], name: str, classes: Array, accuracy: float | None):
        self.body, self.bounds, self.name, self.classes, self.accuracy = body.eval(), bounds, name, classes, accuracy
        self.shape = body.shape
        self.digest = _digest(body)

    @property
    def label(self) -> str:
        """Its name and the first digits of its hash."""
        return f"{self.name} {self.digest[:8]}"

    def __call__(self, images: Array) -> Floats:
        """(N, H, W, C) images like those it learned from -> (N, F) float64."""
        return self._run(images, lambda x: (self.body.see(x)[0] - self.body.mean) / self.body.spread)

    def classify(self, images: Array) -> Array:
        """(N,) the labels it gives."""
        best: Array = self.classes[self._run(images, lambda x: self.body(x)).argmax(axis=1)]
        return best

    @torch.no_grad()
    def _run(self, images: Array, do: Callable[[Tensor], Tensor]) -> Floats:
        out = []
        small = scaled(images[:1], self.bounds, SIDE).shape[1:]
        if (small[2], *small[:2]) != self.shape:
            raise Mismatch(
                f"This network learned from images of {self.shape[1]} x {self.shape[2]} and {self.shape[0]} channels "
                f"(averaged down to {SIDE} at most); these are {small[0]} x {small[1]} and {small[2]}."
            )
        with one_thread():
            for start in range(0, len(images), CHUNK):
                x = scaled(images[start : start + CHUNK], self.bounds, SIDE)
                out.append(do(_tensor(x)).double().numpy())
        return np.concatenate(out)


class Body(nn.Module):
    """Convolutions that halve the image until no side is longer than 4, 64 numbers, a head."""

    mean: Tensor
    spread: Tensor

    def __init__(self, shape: tuple[int, int, int], out: int) -> None:
        super().__init__()
        self.shape = shape
        channels, height, width = shape
        self.levels = nn.ModuleList()
        wide = 16
        if max(height, width) <= 16:  # a small image: look once before it shrinks
            self.levels.append(nn.Conv2d(channels, wide, 3, padding=1))
            channels, wide = wide, 32
        while max(height, width) > 4:
            self.levels.append(nn.Conv2d(channels, wide, 3, stride=2, padding=1))
            channels, wide = wide, min(2 * wide, 64)
            height, width = -(-height // 2), -(-width // 2)
        self.last = nn.Linear(channels * height * width, WIDTH)
        self.head = nn.Linear(WIDTH, out)
        total = WIDTH + sum(int(level.out_channels) for level in self.levels if isinstance(level, nn.Conv2d))
        self.register_buffer("mean", torch.zeros(total))
        self.register_buffer("spread", torch.ones(total))

    def see(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, H, W) -> all features (B, F), and the last layer's (B, 64)."""
        seen = []
        for level in self.levels:
            x = F.gelu(level(x))
            seen.append(x.mean(dim=(2, 3)))
        last: Tensor = self.last(x.flatten(1))
        return torch.cat([last, *seen], 1), last

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> logits, or pixels, (B, out)."""
        out: Tensor = self.head(F.gelu(self.see(x)[1]))
        return out


def learn(images: Array, bounds: tuple[float, float], labels: Array | None = None, *, seed: int = 0) -> FeatureNet:
    """A network of these real images (N, H, W, C), their labels (N,) if there are any.

    Same images, labels and seed on the same machine: same weights. 5,000 images of 28 x 28 take about 10 CPU seconds.
    """
    x = _tensor(scaled(images, bounds, SIDE))
    if labels is not None and len(classes := np.unique(labels)) > 1:
        target = torch.from_numpy(np.searchsorted(classes, labels))
        return _learn(x, bounds, "classifier", classes, target, seed)
    side = min(x.shape[2:])
    if side > 1:
        found = _learn(x, bounds, "rotation", np.arange(4), None, seed)
        if found.accuracy is not None and found.accuracy >= TELLS:
            return found
    return _learn(x, bounds, "autoencoder", np.arange(0), None, seed)


def _learn(
    x: Tensor, bounds: tuple[float, float], name: str, classes: Array, target: Tensor | None, seed: int
) -> FeatureNet:
    """Gradient descent on one of the three tasks; every tenth image is kept to say how well it went."""
    with torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(seed)
        body = Body((x.shape[1], x.shape[2], x.shape[3]), len(classes) or math.prod(x.shape[1:]))
        order = torch.randperm(len(x))
        kept = order[: len(x) // 10]
        own = order[len(kept) :]
        steps = max(LEAST, min(SEEN, 30 * len(own)) // BATCH)
        tune = torch.optim.AdamW(body.parameters(), lr=2e-3, weight_decay=0.01)
        pace = torch.optim.lr_scheduler.OneCycleLR(tune, 4e-3, total_steps=steps, pct_start=0.1)
        queue = torch.empty(0, dtype=torch.int64)
        for _ in range(steps):
            while len(queue) < min(BATCH, len(own)):
                queue = torch.cat([queue, own[torch.randperm(len(own))]])
            rows, queue = queue[:BATCH], queue[BATCH:]
            tune.zero_grad()
            _task(body, x[rows], name, None if target is None else target[rows])[0].backward()  # type: ignore[no-untyped-call]
            tune.step()
            pace.step()
        body.eval()
        with torch.no_grad():
            right = _task(body, x[kept], name, None if target is None else target[kept])[1] if len(kept) else None
            seen = torch.cat([body.see(x[i : i + CHUNK])[0] for i in range(0, len(x), CHUNK)]).double()
            body.mean.copy_(seen.mean(0))
            spread = seen.std(0) if len(seen) > 1 else torch.ones_like(seen[0])
            body.spread.copy_(torch.where(spread > 1e-4, spread, 1.0))
    return FeatureNet(body, bounds, name, classes, right)


def _task(body: Body, x: Tensor, name: str, target: Tensor | None) -> tuple[Tensor, float | None]:
    """The loss of a batch (B, C, H, W), and the share it tells."""
    if name == "autoencoder":
        return F.mse_loss(body(x), x.flatten(1)), None
    if name == "rotation":
        x, target = turned(x)
    assert target is not None
    logits = body(x)
    return F.cross_entropy(logits, target), float((logits.argmax(1) == target).float().mean())


def turned(x: Tensor) -> tuple[Tensor, Tensor]:
    """Images (B, C, H, W), each turned by 0 to 3 quarters about its middle, and the quarters (B,).

    An image that is not square is turned within its middle square; what is outside is the real image's frame.
    """
    side = min(x.shape[2:])
    top, left = (x.shape[2] - side) // 2, (x.shape[3] - side) // 2
    quarters = torch.randint(0, 4, (len(x),))
    out = x.clone()
    for k in range(1, 4):
        rows = (quarters == k).nonzero().flatten()
        middle = x[rows, :, top : top + side, left : left + side]
        out[rows, :, top : top + side, left : left + side] = torch.rot90(middle, k, (2, 3))
    return out, quarters


class Pixels:
    """The pixels themselves in [-1, 1], averaged down to 1,024 numbers where there are more: cheap, without
    learning."""

    name = "pixels"
    label = "pixels"

    def __init__(self, bounds: tuple[float, float]) -> None:
        self.bounds = bounds

    def __call__(self, images: Array) -> Floats:
        """(N, H, W, C) -> (N, F) float64."""
        return pooled(scaled(images, self.bounds, SIDE), PIXELS).astype(np.float64)


def apply(features: Features, images: Array) -> Floats:
    """(N, H, W, C) -> (N, F) float64 by any function, in parts. Raises DataError where it gives something else."""
    out = []
    for start in range(0, len(images), CHUNK):
        part = images[start : start + CHUNK]
        given = features(part)
        found = np.asarray(given.detach().cpu() if isinstance(given, Tensor) else given, np.float64)
        if found.ndim != 2 or len(found) != len(part) or not np.isfinite(found).all():
            raise DataError(
                f"The feature function gave {found.shape} for {len(part)} images; finite numbers (n, F) are needed."
            )
        out.append(found)
    return np.concatenate(out)


def title(features: Features) -> str:
    """What a function of features is called on the card: its own label, or the name of the function."""
    for name in ("label", "name", "__name__"):
        found = getattr(features, name, None)
        if isinstance(found, str):
            return found[:60]
    return type(features).__name__[:60]


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread of torch while inside: sums then have one order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _tensor(x: NDArray[np.float32]) -> Tensor:
    return torch.from_numpy(x).permute(0, 3, 1, 2).contiguous()


def _digest(body: nn.Module) -> str:
    """SHA-256 of all weights: name, shape and bytes of each, in the order of names."""
    found = hashlib.sha256()
    for name, tensor in sorted(body.state_dict().items()):
        found.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        found.update(tensor.contiguous().numpy().tobytes())
    return found.hexdigest()
