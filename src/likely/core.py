"""The contracts: what a space, a codec, a family and a policy are. Imports nothing of ours.

Let X be a random item: a table row, a sentence, an image. A *codec* turns raw items into tensors of a
*space*; a *family* learns the distribution P(X) of such tensors, or P(X | C) where there is a condition C,
and draws new ones. Codecs and families meet only here, so any codec works with any family of its space.

Shape letters: B items, D variables of `Cells`, L steps of `Tokens`, S steps of a path, * the event shape.
Masks are true where something is real or decided. Log-probabilities are in nats.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, Self, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

# ------------------------------------------------------------------------------------------------ spaces


@dataclass(frozen=True)
class Tokens:
    """Ordered sequences of integers in [0, vocab) that end with `eos`; tensors (B, length), int64."""

    vocab: int
    length: int
    pad: int = 0
    bos: int = 1
    eos: int = 2


@dataclass(frozen=True)
class Cells:
    """A fixed set of D categorical variables, any subset of which may be known; tensors (B, D), int64.

    `sizes[j]` categories, coded 0..sizes[j]-1. Where `ordered[j]`, neighbouring codes mean neighbouring
    things (binned numbers). `targets` are the variables that people will predict from the others:
    a family that picks an order puts them last.
    """

    sizes: tuple[int, ...]
    ordered: tuple[bool, ...] = ()
    targets: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "ordered", tuple(self.ordered) or (False,) * len(self.sizes))
        if len(self.ordered) != len(self.sizes):
            raise ValueError(f"ordered has {len(self.ordered)} entries for {len(self.sizes)} variables")


@dataclass(frozen=True)
class Reals:
    """Arrays of real numbers; tensors (B, *shape), float32, of about unit size.

    The length of `shape` says what is near what: (F,) a vector without neighbours, (T, C) a window of T moments and C
    channels, (C, H, W) an image, (C, X, Y, Z) voxels. `bounds`: every element lies in [low, high], as pixels do in
    [-1, 1]; None = the whole line, about zero mean and unit variance. `levels`: elements take that many evenly spaced
    values from low to high (2: binary, 256: bytes); 0 = any. `onehot`: slices [start, stop) of the last axis that hold
    one category each, as 0 and 1.
    """

    shape: tuple[int, ...]
    ragged: bool = False  # the first axis may be shorter: see Batch.mask
    bounds: tuple[float, float] | None = None
    levels: int = 0
    onehot: tuple[tuple[int, int], ...] = ()


Space = Tokens | Cells | Reals
S = TypeVar("S", Tokens, Cells, Reals)

# ------------------------------------------------------------------------------------- what flows between


class Batch(NamedTuple):
    """Encoded items `x` (B, *); `given`, the encoded condition; `mask` (B, L), true = real."""

    x: Tensor
    given: Batch | None = None
    mask: Tensor | None = None


class Known(NamedTuple):
    """What is decided before sampling: a prompt, filled-in cells, a melody.

    `x` (B, *) holds the decided values where `mask` (B, *) is true. `soft` (for `Cells`) maps a variable j
    to weights (B, sizes[j]) in [0, 1]: the share of each code that the wish admits, so that ranges and
    sets are conditions like any other. A soft variable is not in the mask. B may be 1 for "all alike".
    """

    x: Tensor
    mask: Tensor
    soft: Mapping[int, Tensor] | None = None


class Completion(NamedTuple):
    """Samples that agree with a `Known`: `x` (B, *), and `ess` (B,), the effective number of weighted
    draws each was chosen from (infinite where the draw was exact)."""

    x: Tensor
    ess: Tensor


class Path(NamedTuple):
    """How samples came to be: `x` (B, *), the family's own record `trace`, `mask` (B, S) true = a choice; `given`, the
    condition they were drawn under; `drawn` (B, S), log p of each choice as it was really drawn, where that was done in
    another arithmetic than `score` has (rounded weights)."""

    x: Tensor
    trace: Tensor
    mask: Tensor
    given: Batch | None = None
    drawn: Tensor | None = None


class Scores(NamedTuple):
    """`logp` (B, S) in nats under the present weights; `features` (B, S, F) for a critic to look at."""

    logp: Tensor
    features: Tensor


class Objective(NamedTuple):
    """One optimiser's share of training: the parameters of `module` descend `loss(batch)`, a scalar."""

    name: str
    module: nn.Module
    loss: Callable[[Batch], Tensor]
    every: int = 1  # it takes part in every so many-th step: a generator waits for its critic


class Rendering(NamedTuple):
    """What a person looks at or listens to."""

    media: str  # a media type: text/html, image/png, audio/wav
    data: bytes


@dataclass(frozen=True)
class Budget:
    """How long learning may take: minutes of wall time, or optimiser steps; None = the family decides."""

    minutes: float | None = None
    steps: int | None = None


class Progress(NamedTuple):
    """One report of long work. `done` is the share finished in [0, 1]; `loss` in nats an item; `speed` in
    steps a second; `left` in seconds."""

    stage: str
    done: float
    loss: float | None = None
    speed: float | None = None
    left: float | None = None


Listener = Callable[[Progress], None]


@dataclass(frozen=True)
class Training:
    """How a family that learns by gradients wants to be trained (see `likely.train`)."""

    batch: int = 512  # items a step
    steps: int = 2000  # when the budget names no end
    rate: float = 3e-3  # peak learning rate of AdamW
    warmup: float = 0.02  # share of all steps
    decay: float = 0.02  # weight decay
    betas: tuple[float, float] = (0.9, 0.99)  # of AdamW: runs are short, and gradients change quickly at first
    clip: float = 1.0  # largest gradient norm
    ema: float = 0.998  # decay of the averaged weights, 0 = none
    precision: str = "auto"  # "auto", "float32" or "bfloat16": auto takes bf16 where the machine gains by it
    holdout: float = 0.06  # share of items left out to stop early, 0 = none
    patience: int = 10  # evaluations without a better left-out loss before stopping
    evaluations: int = 40  # evaluations over the whole run
    pool: int = 1  # steps whose items are shared out by length, where items have one: less padding; 1 = none
    # Parts that a step is computed in, for less memory. Like the number of processes it says how, not what is computed,
    # and is no part of a run's identity: hence not of the repr.
    accumulate: int = field(default=1, repr=False)


# ------------------------------------------------------------------------------------------------- codecs

Items = TypeVar("Items")


class Grammar(Protocol):
    """What may come next, so that samples are valid by construction.

    `allow` gives weights (B, sizes[j]) in [0, 1] for variable `j` of `Cells`, from the codes `x` (B, D) of the
    variables where `done` (B, D) is true; None = anything goes. A weight of 0 forbids a code.
    `involves(j)` names the variables whose codes `allow(j, ...)` reads.
    """

    def allow(self, j: int, x: Tensor, done: Tensor) -> Tensor | None: ...
    def involves(self, j: int) -> Sequence[int]: ...


class Codec(Protocol[Items]):
    """One modality: a collection of raw items (a DataFrame, a list of strings) <-> tensors of a space.

    Knows nothing of models and holds no weights. `read` takes what a user may hand in and gives the codec's own
    collection, which has a length and can be indexed by rows; `give` turns such a collection into the type that
    `read` first met. All else works on the codec's own collection. `state` is plain JSON; `load` takes it back.
    """

    name: ClassVar[str]  # in the registry
    spaces: ClassVar[tuple[type, ...]]
    cells: list[str]  # the part of an item (a column) that each variable belongs to
    grammar: Grammar | None

    @property
    def space(self) -> Space: ...
    def read(self, items: Any) -> Items: ...
    def give(self, items: Items) -> Any: ...
    def settle(self, items: Items) -> Items: ...  # real items in the parts and types of made ones, to compare both
    def fit(self, items: Items) -> Self: ...
    def encode(self, items: Items) -> Batch: ...
    def make(self, x: Tensor, *, rng: torch.Generator, within: Any = None, start: int = 0) -> Items:
        """Tensors back to items. `within` is the wish or the items with holes that `condition` or
        `partial` were asked about: what it decides is kept to the letter. `start` items were made before."""

    def partial(self, items: Items) -> Known: ...  # items with holes (None / NaN), or prompts
    def condition(self, given: Mapping[str, Any]) -> Known: ...  # one wish for all items: B = 1
    def volume(self, items: Items) -> Tensor: ...  # (B, D) nats a code leaves open: log width of a bin
    def check(self, items: Items) -> list[list[str]]: ...  # an item: reasons it is invalid; [] = valid
    def join(self, parts: Sequence[Items]) -> Items: ...  # one collection of several
    def rejects(self, items: Items) -> np.ndarray: ...  # (B,) true = must be drawn again: no construction can hold it
    def replace(self, items: Items, mask: np.ndarray, others: Items) -> Items: ...  # others where the mask is true
    def describe(self) -> Sequence[Any]: ...  # what was understood of each part; print it
    def promises(self) -> list[str]: ...  # how each constraint is held, in words
    def features(self, items: Items) -> np.ndarray: ...  # (B, F) float: what distances between items mean here
    def render(self, items: Items) -> Rendering: ...
    def state(self) -> dict[str, Any]: ...
    def load(self, state: dict[str, Any]) -> Self: ...


# ------------------------------------------------------------------------------------------------ families


class Family(nn.Module, ABC, Generic[S]):
    """One kind of model: learns tensors of a space and makes new ones. Knows nothing of raw items."""

    accepts: ClassVar[type]  # the Space
    Config: ClassVar[type]  # a frozen dataclass beside the class
    regimen: ClassVar[Training] = Training()  # how it wants to be trained by gradients

    def __init__(self, space: S, given: Space | None = None, config: Any = None) -> None:
        super().__init__()
        self.space: S = space
        self.given = given
        self.config: Any = config if config is not None else type(self).Config()

    @classmethod
    def setting(cls, privacy: str) -> Any:
        """The Config for "faithful", "balanced" or "private": how much truth to give for privacy."""
        return cls.Config()

    def plan(self) -> Training:
        """How this model wants to be trained: as its family, unless its space or config asks for something else."""
        return type(self).regimen

    def prepare(self, batch: Batch) -> None:
        """Look at the data once before gradients descend, for a better start. Nothing unless overridden."""

    def lengths(self, batch: Batch) -> Tensor | None:
        """(n,) how long items are, so that like ones may be learned together; None where all are of one size."""
        return None

    def finish(self, batch: Batch, *, rng: torch.Generator) -> None:
        """Look at the data once more with the weights that were kept: fit a prior to latents. Nothing otherwise.

        Called with the items learned from, in evaluation mode. What it stores belongs into buffers."""

    def objectives(self) -> list[Objective]:
        """What gradient descent lowers: one objective unless overridden (a GAN has two)."""
        return [Objective("loss", self, self.loss)]

    def loss(self, batch: Batch) -> Tensor:
        """The scalar to descend, in nats an item where it is a likelihood."""
        raise TypeError(f"{type(self).__name__} is not trained by gradients: call fit(batch, budget)")

    def fit(self, batch: Batch, budget: Budget, *, rng: torch.Generator, listen: Listener | None = None) -> None:
        """Learn without gradients. Families that return objectives are trained by `likely.train` instead."""
        raise TypeError(f"{type(self).__name__} is trained by gradients: use likely.train.fit(family, batch, budget)")

    @abstractmethod
    def sample(
        self,
        n: int,
        given: Batch | None = None,
        known: Known | None = None,
        *,
        rng: torch.Generator,
        temperature: float = 1.0,
        grammar: Grammar | None = None,
    ) -> Tensor:
        """Draw (n, *) tensors of the space."""

    def tensors(self) -> dict[str, Tensor]:
        """All that was learned, by name; `restore` takes it back."""
        return dict(self.state_dict())

    def restore(self, tensors: dict[str, Tensor]) -> Self:
        """Take back what `tensors` gave. Raises RuntimeError or ValueError where they do not fit."""
        self.load_state_dict(tensors, strict=True)
        return self


# Capabilities: asked with isinstance; a family that lacks one says which family has it.


@runtime_checkable
class Density(Protocol):
    """Says how likely items are. `exact` is false where log_prob is a lower bound."""

    exact: bool

    def log_prob(self, batch: Batch) -> Tensor: ...  # (B,) nats
    def log_probs(self, batch: Batch) -> Tensor:
        """(B, D) nats, the share of each variable, step or element (`Reals`: flattened); sums to log_prob."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """Says how strange each element of items is, without being a density: a reconstruction error."""

    def errors(self, batch: Batch) -> Tensor: ...  # (B, D), larger = stranger; `Reals`: flattened


@runtime_checkable
class Conditional(Protocol):
    """Completes any subset of known variables; `proposal` may help where plain sampling is inefficient."""

    def complete(
        self,
        known: Known,
        *,
        rng: torch.Generator,
        temperature: float = 1.0,
        grammar: Grammar | None = None,
        proposal: Family[Any] | None = None,
    ) -> Completion: ...


@runtime_checkable
class Latent(Protocol):
    """Maps items to latent vectors (B, Z) and back."""

    def embed(self, batch: Batch) -> Tensor: ...
    def restore_from(self, z: Tensor, given: Batch | None = None) -> Tensor: ...


@runtime_checkable
class Policy(Protocol):
    """Says how likely each *step* of a sample was: all that alignment needs."""

    def rollout(
        self, n: int, given: Batch | None = None, known: Known | None = None, *, rng: torch.Generator
    ) -> Path: ...
    def retrace(self, batch: Batch) -> Path: ...
    def score(self, path: Path) -> Scores: ...


@runtime_checkable
class Anchored(Protocol):
    """A policy that holds its start within itself, such as frozen weights under an adapter: no copy has to be made."""

    def score_start(self, path: Path) -> Scores: ...


Reward = Callable[[Sequence[Any]], Sequence[float]]  # a plain function over raw items; larger is better
Metric = Callable[[Any, Any], dict[str, float]]  # (real, made) -> named numbers
