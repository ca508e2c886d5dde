"""A checkpoint that talks: continue prompts, stream one, say how likely texts are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from likely.language.checkpoint import Checkpoint
from likely.language.decode.batcher import Batcher
from likely.language.decode.pieces import Completion, Piece
from likely.language.decode.sampling import Sampling

Prompt = str | Sequence[int]


class Engine:
    """`kernel`: "auto", "plain" (the network's own type), "bfloat16", "int8", "int4"."""

    def __init__(self, checkpoint: Checkpoint, *, kernel: str = "auto", rows: int = 32) -> None:
        raise NotImplementedError

    @property
    def about(self) -> dict[str, str]:
        """What runs: kernel, compiled or why not, memory."""
        raise NotImplementedError

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling | None = None, *, n: int = 1
    ) -> list[list[Completion]]:
        """n completions of each prompt; strings are encoded as `checkpoint.encode` does, ids are taken as they are."""
        raise NotImplementedError

    def stream(self, prompt: Prompt, sampling: Sampling | None = None) -> Iterator[Piece]:
        """One completion, a piece a token. Closing the iterator stops the work."""
        raise NotImplementedError

    def score(self, texts: Sequence[Prompt]) -> list[Tensor]:
        """Of each text, (T - 1,) nats: log-probability of each token but the first, given those before it."""
        raise NotImplementedError

    def choose(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> Tensor:
        """(prompts, texts): log-probability in nats of each text as the continuation of each prompt; not normalised."""
        raise NotImplementedError

    def batcher(self, *, rows: int = 32, memory: int = 2 << 30) -> Batcher:
        """A batcher on the same weights, for a server."""
        raise NotImplementedError

    def refresh(self) -> None:
        """Take over the network's weights as they are now, after training changed them."""
        raise NotImplementedError
