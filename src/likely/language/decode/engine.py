"""A checkpoint that talks: continue prompts, stream one, say how likely texts are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from likely.errors import OptionError
from likely.language.decode.batcher import Batcher, listed
from likely.language.decode.kernel import build
from likely.language.decode.pieces import Completion, Piece, Request
from likely.language.decode.sampling import Sampling
from likely.language.model import Checkpoint

Prompt = str | Sequence[int]
TOKENS, LOGITS = 2048, 256  # read at once; turned into logits at once


class Engine:
    """`kernel`: "auto", "plain" (the network as it is), "bfloat16", "int8", "int4": see `kernel`. `rows`: most texts
    at a time. `draft`: most tokens of a lone text that prompt lookup may guess a step, 0 = none."""

    def __init__(self, checkpoint: Checkpoint, *, kernel: str = "auto", rows: int = 32, draft: int = 3) -> None:
        self.checkpoint, self.kernel, self.rows, self.draft = checkpoint, kernel, rows, draft
        self.runner = build(checkpoint.network, kernel)

    @property
    def about(self) -> dict[str, str]:
        """What runs: kernel, memory of the weights, and where something faster was not possible, why."""
        return dict(self.runner.about)

    def refresh(self) -> None:
        """Take over the network's weights as they are now, after training changed them."""
        self.runner = build(self.checkpoint.network, self.kernel)

    def batcher(self, *, rows: int | None = None, memory: int = 2 << 30) -> Batcher:
        """A batcher on the same weights, for a server."""
        return Batcher(self.checkpoint, self.runner, rows=rows or self.rows, memory=memory, draft=self.draft)

    def ids(self, prompt: Prompt) -> tuple[int, ...]:
        """Ids of a prompt: strings as `checkpoint.encode` has it, ids as they are."""
        return tuple(self.checkpoint.encode(prompt)) if isinstance(prompt, str) else listed(prompt)

    def generate(
        self, prompts: Sequence[Prompt], sampling: Sampling | None = None, *, n: int = 1
    ) -> list[list[Completion]]:
        """n completions of each prompt. With a seed: the same for the same prompt, whatever other prompts there are;
        a prompt given again gets the samples that come after."""
        if isinstance(prompts, str):
            raise OptionError("generate takes a list of prompts: write generate([prompt]).")
        batcher, again = self.batcher(), Counter[tuple[int, ...]]()
        requests = []
        for prompt in prompts:
            ids = self.ids(prompt)
            requests.append(batcher.add(ids, sampling, n=n, first=again[ids] * n))
            again[ids] += 1
        found: dict[tuple[Request, int], list[Piece]] = {}
        while batcher.active or batcher.waiting:
            for piece in batcher.step():
                found.setdefault((piece.request, piece.sample), []).append(piece)
        by_request: dict[Request, list[Completion]] = {request: [] for request in requests}
        for (request, _), pieces in sorted(found.items(), key=lambda item: item[0][1]):
            by_request[request].append(whole(pieces))
        return [by_request[request] for request in requests]

    def stream(self, prompt: Prompt, sampling: Sampling | None = None) -> Iterator[Piece]:
        """One completion, a piece a token. Closing the iterator ends the work."""
        batcher = self.batcher(rows=1)
        batcher.add(self.ids(prompt), sampling)
        return self._pieces(batcher)

    def _pieces(self, batcher: Batcher) -> Iterator[Piece]:
        while batcher.active or batcher.waiting:
            yield from batcher.step()

    @torch.inference_mode()
    def score(self, texts: Sequence[Prompt]) -> list[Tensor]:
        """Of each text, (T - 1,) float32: log-probability in nats of each token but the first, given those before."""
        if isinstance(texts, str):
            raise OptionError("score takes a list of texts: write score([text]).")
        all_ids = [self.ids(text) for text in texts]
        found: list[Tensor] = [torch.zeros(0)] * len(all_ids)
        for group in self._groups(all_ids):
            slots = self.runner.slots()
            hidden = self.runner.read([all_ids[at][:-1] for at in group], slots, 0)
            for row, at in zip(hidden, group, strict=True):
                found[at] = self._likelihood(row[: len(all_ids[at]) - 1], all_ids[at][1:])
        return found

    @torch.inference_mode()
    def choose(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> Tensor:
        """(prompts, texts) float32: log-probability in nats of each text as the continuation of each prompt.

        Not normalised: `softmax(1)` makes them probabilities of the choices. A prompt is read once for all texts.
        """
        if isinstance(prompts, str) or isinstance(texts, str):
            raise OptionError("choose takes a list of prompts and one of texts: write choose([prompt], [text, text]).")
        ends = [self.checkpoint.tokenizer.encode(text) for text in texts]
        if not ends or not all(ends):
            raise OptionError("choose needs texts of at least one token each.")
        return torch.stack([self._choose(self.ids(prompt), ends) for prompt in prompts])

    def _choose(self, ids: tuple[int, ...], ends: list[list[int]]) -> Tensor:
        self._check(len(ids) + max(map(len, ends)))
        slots = self.runner.slots()
        start = self.runner.begin([ids], slots, 0)[0].log_softmax(0)
        found = torch.stack([start[end[0]] for end in ends]).cpu()
        longer = [at for at, end in enumerate(ends) if len(end) > 1]
        for group in (longer[i : i + self.rows] for i in range(0, len(longer), self.rows)):
            slots.reserve(1 + len(group), len(ids) + max(len(ends[at]) for at in group))
            for row in range(len(group)):
                slots.copy(0, 1 + row)
            hidden = self.runner.read([ends[at][:-1] for at in group], slots, 1)
            for row, at in zip(hidden, group, strict=True):
                found[at] += self._likelihood(row[: len(ends[at]) - 1], ends[at][1:]).sum()
            slots.cut(1)
        return found

    def _likelihood(self, hidden: Tensor, ids: Sequence[int]) -> Tensor:
        """(T,) log-probabilities of ids after hidden states (T, W)."""
        parts = []
        for at in range(0, len(ids), LOGITS):
            logits = self.runner.logits(hidden[at : at + LOGITS])
            target = torch.tensor(ids[at : at + LOGITS], device=logits.device)
            parts.append(logits.gather(1, target[:, None])[:, 0] - logits.logsumexp(1))
        return torch.cat(parts).cpu() if parts else torch.zeros(0)

    def _groups(self, all_ids: Sequence[Sequence[int]]) -> list[list[int]]:
        """Texts of at least two tokens, those of like length together, few enough to be read at once."""
        groups: list[list[int]] = []
        for at in sorted((at for at, ids in enumerate(all_ids) if len(ids) > 1), key=lambda at: len(all_ids[at])):
            self._check(len(all_ids[at]) - 1)
            if groups and (len(groups[-1]) + 1) * len(all_ids[at]) <= TOKENS:
                groups[-1].append(at)
            else:
                groups.append([at])
        return groups

    def _check(self, length: int) -> None:
        context = self.runner.arch.context
        if length > context:
            raise OptionError(
                f"A text has {length} tokens; the context is {context}: {length - context} too many. Cut it into parts."
            )


def whole(pieces: Sequence[Piece]) -> Completion:
    """The completion that the pieces of one sample are."""
    real = [piece for piece in pieces if piece.token is not None]
    return Completion(
        "".join(piece.text for piece in pieces),
        tuple(piece.token for piece in real if piece.token is not None),
        tuple(piece.logprob for piece in real),
        pieces[-1].reason,
        tuple(piece.top for piece in real) if real and real[0].top else (),
    )
