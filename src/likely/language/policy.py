"""A checkpoint that answers prompts, as a policy: a low-rank adapter in its upper blocks moves, all else stays.

    p(answer | prompt) = prod_s p(a_s | prompt, a_1 .. a_{s-1}),    s = 1 .. e,    e the end, or `tokens` without one

Three things make this affordable on a laptop:

trunk       blocks below the first adapted one are the same for the policy, for its start, and in every epoch: what they
            make of a text is computed once and goes with it (`Path.trace`)
start       the same network with the adapter switched off: no second copy (Hu et al. 2022, arXiv:2106.09685)
drawing     by `language.decode`, many prompts at a time, on matrices with the adapter added in, in bfloat16 or fewer
            bits. That is another arithmetic than scoring has, so log p as drawn is kept (`Path.drawn`), and whoever
            learns weighs by the difference

What moves is computed in float32: in bfloat16 a text gets other probabilities in other company, by a tenth of them at
times, and no ratio of probabilities would be 1 (docs/log.md). So the adapted blocks are copies, and the checkpoint is
what it was.

A path: x (B, S) answers with their end, given.x (B, P) prompts padded behind, given.mask which of them is real, trace
(B, P + S, W) states behind the trunk.

Letters: B texts, P steps of prompts, S steps of answers, T of both, W width, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from likely.core import Batch, Family, Grammar, Known, Path, Scores, Tokens
from likely.errors import DataError, OptionError, UnknownName, Unsupported
from likely.families.autoregressive import groups
from likely.language import lora
from likely.language.checkpoint import Checkpoint
from likely.language.decode.batcher import Batcher
from likely.language.decode.kernel import KERNELS, build
from likely.language.decode.sampling import Sampling
from likely.language.lora import Lora
from likely.language.loss import log_probs
from likely.language.quantize import shallow
from likely.nn.decoder import Decoder
from likely.nn.portion import take

UPPER = 5  # one in so many blocks is adapted, the last ones, unless it is said how many
ROWS = 16  # texts at a time where no gradient is wanted
KEPT = 2**30  # bytes of trunk states that go with texts that were not drawn; of more, they are computed again


@dataclass(frozen=True)
class Speaking:
    """`tokens` of an answer at most; `layers`, how many of the last blocks are adapted, 0: a fifth; `rank` and `alpha`
    (0: twice the rank) of the adapter, `modules` (none named: all); `kernel` that draws (`decode.kernel`), `rows` at a
    time."""

    tokens: int = 64
    layers: int = 0
    rank: int = 16
    alpha: float = 0.0
    modules: tuple[str, ...] = ()
    kernel: str = "plain"
    rows: int = 32

    def __post_init__(self) -> None:
        for name, least in {"tokens": 1, "layers": 0, "rank": 1, "rows": 1}.items():
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise OptionError(f"{name}={value!r} was given; it is a whole number, {least} or more.")
        if not self.alpha >= 0:
            raise OptionError(f"alpha={self.alpha!r} was given; it is 0 (twice the rank) or more.")

    def check(self, checkpoint: Checkpoint) -> None:
        """Raises OptionError where this is not for that checkpoint, Unsupported where it has no ends, UnknownName."""
        arch = checkpoint.network.arch
        if self.layers > arch.layers:
            raise OptionError(f"layers={self.layers} was given; {checkpoint.name!r} has {arch.layers}.")
        if self.tokens >= arch.context:
            raise OptionError(f"tokens={self.tokens} was given; {checkpoint.name!r} reads {arch.context} at most.")
        if self.kernel not in KERNELS:
            raise UnknownName("kernel", self.kernel, KERNELS)
        lora.choose(arch, tuple(self.modules))
        checkpoint.end  # noqa: B018  (it looks)

    @property
    def lora(self) -> Lora:
        """The adapter."""
        return Lora(self.rank, self.alpha or 2.0 * self.rank, modules=tuple(self.modules))


@dataclass(frozen=True)
class Held:
    """What a speaker stands on and does not count as its own weights: the checkpoint, and a network that shares its
    lower blocks and has adapted copies of the upper ones, in float32."""

    checkpoint: Checkpoint
    network: Decoder


class Speaker(Family[Tokens]):
    """Answers of a checkpoint. Its weights are those of the adapter; all else is held beside them.

    Raises OptionError for more layers than there are, Mismatch where the network has an adapter already.
    """

    accepts: ClassVar[type] = Tokens
    Config: ClassVar[type] = Speaking
    exact = True

    def __init__(self, checkpoint: Checkpoint, config: Speaking | None = None, *, seed: int = 0) -> None:
        config = config or Speaking()
        config.check(checkpoint)
        arch = checkpoint.network.arch
        self.ends = tuple(sorted(checkpoint.ends))
        space = Tokens(arch.vocab, config.tokens, pad=0, bos=checkpoint.bos or 0, eos=checkpoint.end)
        super().__init__(space, Tokens(arch.vocab, arch.context - config.tokens), config)
        self.first = arch.layers - (config.layers or max(1, arch.layers // UPPER))
        lora.clear(checkpoint.network)
        network = shallow(checkpoint.network.eval().requires_grad_(False))
        lower, upper = list(network.blocks[: self.first]), list(network.blocks[self.first :])
        network.blocks = nn.ModuleList([*lower, *(copy.deepcopy(block).float() for block in upper)])
        network.norm = copy.deepcopy(network.norm).float()
        lora.attach(network, config.lora, seed=seed, first=self.first)
        self.held = Held(checkpoint, network)
        self.pairs = nn.ModuleList(pair for _, matrix in lora.adapted(network) for pair in matrix.each())

    @property
    def head(self) -> Tensor:
        """What hidden states are held against (V, W)."""
        network = self.held.checkpoint.network
        weight: Tensor = (network.embed if network.head is None else network.head).weight
        return weight

    def drawing(self) -> Checkpoint:
        """The checkpoint with what was learned in its matrices, in their own type; it shares all others."""
        base = self.held.checkpoint
        made = shallow(base.network)
        made.blocks = nn.ModuleList(list(base.network.blocks))
        for layer in range(self.first, len(made.blocks)):
            made.blocks[layer] = block = shallow(base.network.blocks[layer])
            for name, matrix in self.held.network.blocks[layer].named_children():
                if isinstance(matrix, lora.Adapted):
                    plain = shallow(getattr(block, name))
                    plain.weight = nn.Parameter(matrix.joined().to(self.head.dtype), requires_grad=False)
                    setattr(block, name, plain)
        return replace(base, network=made)

    def settled(self) -> Checkpoint:
        """The checkpoint with the adapter attached; the one that this stands on stays as it is, its weights shared."""
        base = self.held.checkpoint
        network = shallow(base.network)
        network.blocks = nn.ModuleList([shallow(block) for block in base.network.blocks])
        lora.attach(network, self.config.lora, first=self.first)
        pairs = [pair for _, matrix in lora.adapted(network) for pair in matrix.each()]
        for mine, theirs in zip(self.pairs, pairs, strict=True):
            theirs.load_state_dict(mine.state_dict())
        return replace(base, network=network)

    def objectives(self) -> list[Any]:
        """None: examples are learned by `likely.language.tune`."""
        return []

    def loss(self, batch: Batch) -> Tensor:
        """-log p of answers, nats an answer."""
        return -self.score(self.retrace(batch)).logp.sum(1).mean()

    # --------------------------------------------------------------------------------------------- drawing

    def rollout(self, n: int, given: Batch | None = None, known: Known | None = None, *, rng: torch.Generator) -> Path:
        """An answer to each of n prompts. Raises DataError without prompts, Unsupported for begun answers."""
        if known is not None:
            raise Unsupported("A checkpoint goes on from a prompt: give what an answer begins with as part of it.")
        if given is None or len(given.x) != n:
            raise DataError(f"{n} prompts are needed to draw {n} answers.")
        given = placed(given, self.head.device)
        prompts, S, device = listed(given), self.config.tokens, self.head.device
        answers, logprobs = self._answers(prompts, int(torch.randint(2**62, (1,), generator=rng)))
        x = torch.zeros(n, S, dtype=torch.long)
        mask = torch.zeros(n, S, dtype=torch.bool)
        drawn = torch.zeros(n, S)
        for row, (ids, told) in enumerate(zip(answers, logprobs, strict=True)):
            x[row, : len(ids)] = torch.tensor(ids)
            mask[row, : len(ids)] = True
            drawn[row, : len(ids)] = torch.tensor(told)
        x, mask, drawn = x.to(device), mask.to(device), drawn.to(device)
        return Path(x, self._trunk(x, mask, given), mask, given, drawn)

    def _answers(self, prompts: list[tuple[int, ...]], seed: int) -> tuple[list[list[int]], list[list[float]]]:
        """Ids and log p of an answer to each; prompts that are the same are read once."""
        speaking = self.drawing()
        batcher = Batcher(speaking, build(speaking.network, self.config.kernel), rows=self.config.rows)
        places: dict[tuple[int, ...], list[int]] = {}
        for place, prompt in enumerate(prompts):
            places.setdefault(prompt, []).append(place)
        sampling = Sampling(tokens=self.config.tokens, seed=seed)
        rows = {batcher.add(prompt, sampling, n=len(at)): at for prompt, at in places.items()}
        ids: list[list[int]] = [[] for _ in prompts]
        told: list[list[float]] = [[] for _ in prompts]
        while batcher.active or batcher.waiting:
            for piece in batcher.step():
                if piece.token is not None:
                    ids[rows[piece.request][piece.sample]].append(piece.token)
                    told[rows[piece.request][piece.sample]].append(piece.logprob)
        return ids, told

    def sample(
        self, n: int, given: Batch | None = None, known: Known | None = None, *, rng: torch.Generator,
        temperature: float = 1.0, grammar: Grammar | None = None,
    ) -> Tensor:  # fmt: skip
        """Answers (n, S) to n prompts; only at temperature 1, as alignment wants them."""
        if temperature != 1.0 or grammar is not None:
            raise Unsupported("A policy draws at temperature 1 and freely: likely.language.decode has the rest.")
        return self.rollout(n, given, known, rng=rng).x

    # ---------------------------------------------------------------------------------------------- policy

    def retrace(self, batch: Batch) -> Path:
        """The way to these answers, batch.mask (B, S) true up to and with the end of each, to prompts batch.given."""
        if batch.given is None or batch.mask is None:
            raise DataError("Answers of a checkpoint are judged with their prompts and how long they are.")
        batch = placed(batch, self.head.device)
        assert batch.given is not None
        assert batch.mask is not None
        size = (batch.given.x.shape[1] + batch.x.shape[1]) * len(batch.x) * self.head.shape[1]
        trace = batch.x.new_zeros(len(batch.x), 0, dtype=self.head.dtype)
        if size * self.head.element_size() <= KEPT:
            trace = self._trunk(batch.x, batch.mask, batch.given)
        return Path(batch.x, trace, batch.mask, batch.given)

    def score(self, path: Path) -> Scores:
        """log p (B, S) of each choice, 0 elsewhere, and the states (B, S, W) it was chosen from, without gradients."""
        given, mask, S = path.given, path.mask, path.mask.shape[1]
        assert given is not None
        assert given.mask is not None
        starts, counts = given.mask.sum(1), mask.sum(1)
        real = torch.arange(given.x.shape[1] + S, device=mask.device) < (starts + counts)[:, None]
        network, W = self.held.network, self.head.shape[1]
        states, places = [], []
        for rows, T in groups(real):
            some = torch.arange(len(mask), device=mask.device) if rows is None else rows
            for part in torch.split(some, len(some) if torch.is_grad_enabled() else ROWS):
                if path.trace.ndim == 3:
                    x = path.trace[part, :T]
                else:
                    given_part = take(given, part)
                    x = self._trunk(path.x[part], mask[part], given_part)[:, :T]
                hidden = network.norm(network.through(x.float(), self.first, network.arch.layers))
                at, step = mask[part].nonzero(as_tuple=True)
                states.append(hidden[at, starts[part][at] + step - 1])
                places.append(part[at] * S + step)
        place, state = torch.cat(places), torch.cat(states)
        told = log_probs(state, self.head, path.x.flatten()[place])
        logp = told.new_zeros(mask.numel()).index_put((place,), told).view(mask.shape)
        features = torch.zeros(mask.numel(), W, device=mask.device)
        features[place] = state.detach().float()
        return Scores(logp, features.view(*mask.shape, W))

    @torch.no_grad()
    def score_start(self, path: Path) -> Scores:
        """The same, without the adapter."""
        with lora.off(self.held.network):
            return self.score(path)

    @torch.no_grad()
    def _trunk(self, x: Tensor, mask: Tensor, given: Batch) -> Tensor:
        """States (B, P + S, W) behind the blocks that are not adapted; 0 behind the end of each text."""
        network = self.held.checkpoint.network
        ids, counts = together(x, mask, given)
        B, T = ids.shape
        rope = network.arch.rope
        if rope is not None and rope.scaling == "dynamic" and int(counts.max()) > rope.trained:
            raise Unsupported(
                f"A text of {int(counts.max())} tokens: over {rope.trained} the positions of this checkpoint depend on "
                "the length of the whole, and no step can be scored by itself. Give shorter prompts or answers."
            )
        out = torch.zeros(B, T, network.arch.width, dtype=self.head.dtype, device=ids.device)
        real = torch.arange(T, device=ids.device) < counts[:, None]
        for rows, used in groups(real):
            some = torch.arange(B, device=ids.device) if rows is None else rows
            for part in torch.split(some, ROWS):
                out[part, :used] = network.through(network.enter(ids[part, :used]), 0, self.first)
        return out


# ------------------------------------------------------------------------------------------------------ parts


def prompts_of(rows: Sequence[Sequence[int]], length: int = 0) -> Batch:
    """Prompts as a condition: ids padded behind to the longest of them, or to `length`."""
    P = max(length, max(map(len, rows)))
    x = torch.tensor([[*row, *[0] * (P - len(row))] for row in rows])
    return Batch(x, None, torch.arange(P) < torch.tensor([len(row) for row in rows])[:, None])


def placed(batch: Batch, device: torch.device) -> Batch:
    """The same on a device."""
    given = placed(batch.given, device) if batch.given is not None else None
    return Batch(batch.x.to(device), given, batch.mask.to(device) if batch.mask is not None else None)


def listed(given: Batch) -> list[tuple[int, ...]]:
    """The ids of each prompt."""
    assert given.mask is not None
    return [tuple(row[:n]) for row, n in zip(given.x.tolist(), given.mask.sum(1).tolist(), strict=True)]


def together(x: Tensor, mask: Tensor, given: Batch) -> tuple[Tensor, Tensor]:
    """Prompts and right behind them their answers: ids (B, P + S), and how many are real (B,)."""
    assert given.mask is not None
    starts, (B, P), S = given.mask.sum(1), given.x.shape, x.shape[1]
    ids = torch.zeros(B, P + S, dtype=torch.long, device=x.device)
    ids[:, :P] = given.x * given.mask
    at = starts[:, None] + torch.arange(S, device=x.device)
    ids.scatter_(1, at, x * mask)
    return ids, starts + mask.sum(1)
