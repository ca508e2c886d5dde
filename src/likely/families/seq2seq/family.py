"""The `seq2seq` family: tokens that say what a source says, by an encoder and a decoder with cross-attention.

    log p(x | c) = sum_s log softmax(head(h_s))[x_s],    h = decoder(bos, x_1 .. x_{L-1};  encoder(c))

(nn/encoder_decoder.py: Vaswani et al. 2017, arXiv:1706.03762; T5: Raffel et al. 2020, arXiv:1910.10683.) The source c
is tokens (a sentence to translate), a sequence of real vectors (S, C), ragged where `Batch.mask` says so (a recording),
or one real vector (F,), which is read as a few steps of its own. `style`: "rope" (rotary positions, SwiGLU) or "t5".

`lexicon` K: of each token of a source of tokens, the K tokens of the target that it stands for most, counted before
training (alignment.py), speak for themselves in the logits (nn/lexicon.py): what helps most where pairs are few.

While learning, a share `smooth` of each step's target may be spread evenly over all outcomes (Szegedy et al. 2016,
arXiv:1512.00567): sharper laws are punished, and beam search profits.

Letters: B items, S steps of the source, T and L of the target, W width, V tokens, C channels, F numbers, M steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from likely.core import Batch, Reals, Space, Tokens, Training
from likely.errors import Mismatch, OptionError
from likely.families.autoregressive import Autoregressive
from likely.families.seq2seq.alignment import align
from likely.families.seq2seq.search import Found, search
from likely.nn.condition import required
from likely.nn.decoder import Cache
from likely.nn.encoder_decoder import Architecture, EncoderDecoder, Memory
from likely.nn.lexicon import Lexicon
from likely.nn.portion import take
from likely.nn.rope import Rope

STYLES = ("rope", "t5")
SLOTS = 4  # steps that one vector is read as
UNSEEN = 0.05  # of a look: what has had less counts as much
BYTES = 256 * 2**20  # of keys and values while drawing


@dataclass(frozen=True)
class Seq2seqConfig:
    """`style`: "rope" or "t5". `width` of the stream, `encoder` and `depth` blocks of either half, `heads`, `hidden`
    units; 0 = chosen. `dropout` and `smooth` in [0, 1). `shared`: source and target have one vocabulary, and one
    embedding. `lexicon`: candidates of a token of the source, 0 = none. `batch` items a step, `steps` and `rate` of
    training, 0 = chosen."""

    style: str = "rope"
    width: int = 0
    encoder: int = 0
    depth: int = 0
    heads: int = 0
    hidden: int = 0
    dropout: float = 0.1
    smooth: float = 0.0
    shared: bool = False
    lexicon: int = 0
    batch: int = 0
    steps: int = 0
    rate: float = 0.0

    def __post_init__(self) -> None:
        for name in ("width", "encoder", "depth", "heads", "hidden", "lexicon", "batch", "steps", "rate"):
            if not 0 <= getattr(self, name) < math.inf:
                raise OptionError(f"{name}={getattr(self, name)} was given; it must be at least 0 (0: chosen).")
        if self.style not in STYLES:
            raise OptionError(f"style={self.style!r} was given; it is one of {', '.join(STYLES)}.")
        if not 0 <= self.dropout < 1 or not 0 <= self.smooth < 1:
            raise OptionError(f"dropout={self.dropout} and smooth={self.smooth} must be in [0, 1).")
        if self.width and self.heads and self.width % self.heads:
            raise OptionError(f"width={self.width}, heads={self.heads}: the heads must divide the width.")


class Seq2seq(Autoregressive):
    """Encoder and decoder, with attention to what is given."""

    Config: ClassVar[type] = Seq2seqConfig

    def __init__(self, space: Tokens, given: Space | None = None, config: Seq2seqConfig | None = None) -> None:
        super().__init__(space, given, config)
        self.network = EncoderDecoder(architecture(cast(Seq2seqConfig, self.config), space, given))
        vector = isinstance(given, Reals) and len(given.shape) == 1
        self.lexicon: Lexicon | None = None
        if size := cast(Seq2seqConfig, self.config).lexicon:
            if not isinstance(given, Tokens):
                raise Mismatch("lexicon=... says what tokens stand for: it wants a source of tokens.")
            self.lexicon = Lexicon(given.vocab, space.vocab, self.network.arch.width, size)
        self.spread = nn.Linear(given.shape[0], SLOTS * self.network.arch.width) if vector else None  # type: ignore[union-attr]

    def plan(self) -> Training:
        """The rate falls with the width."""
        config = cast(Seq2seqConfig, self.config)
        return Training(
            batch=config.batch or 64, steps=config.steps or 3000,
            rate=config.rate or min(2e-3, 0.3 / self.network.arch.width), warmup=0.05, decay=0.05, betas=(0.9, 0.99),
            clip=float(self.space.length), ema=0.995,
        )  # fmt: skip

    def prepare(self, batch: Batch) -> None:
        """Look whether items are in order; count what stands for what. Raises DataError."""
        super().prepare(batch)
        if self.lexicon is not None:
            given = cast(Batch, required(batch.given, self.given))
            x, seen = self.source(given)
            seen = seen if seen is not None else torch.ones_like(x, dtype=torch.bool)
            rows = [[part[real].tolist() for part, real in zip(ids.cpu(), mask.cpu(), strict=True)]
                    for ids, mask in ((x, seen), (batch.x, self.real(batch)))]  # fmt: skip
            sizes = (cast(Tokens, self.given).vocab, self.space.vocab, self.lexicon.ids.shape[1])
            ids, share = align(rows[0], rows[1], *sizes)
            self.lexicon.learn(torch.from_numpy(ids), torch.from_numpy(share))

    def lengths(self, batch: Batch) -> Tensor:
        """Steps of each target; of those alike, of each source."""
        own = super().lengths(batch) * 10_000
        seen = self.source(batch.given)[1] if self.spread is None else None
        return own if seen is None else own + seen.sum(1).clamp_max(9_999)

    # --------------------------------------------------------------------------------------- the network

    def source(self, given: Batch | None) -> tuple[Tensor, Tensor | None]:
        """What is given, as ids (B, S) or reals (B, S, C), no longer than needed, and which steps are real (B, S)."""
        given = cast(Batch, required(given, self.given))
        x, seen = given.x, given.mask
        if isinstance(self.given, Tokens):
            if seen is None:
                ends = (x == self.given.eos).long()
                seen = (ends.cumsum(1) - ends) == 0
        elif self.spread is not None:
            return self.spread(x).view(len(x), SLOTS, -1), None
        if seen is None:
            return x, None
        seen = seen.clone()
        seen[:, 0] = True  # nothing at all is one step of padding
        S = int(seen.any(0).nonzero().max()) + 1
        return x[:, :S], seen[:, :S]

    def memory(self, given: Batch | None, dropout: float = 0.0) -> Memory:
        """The source, read."""
        x, seen = self.source(given)
        beside = self.lexicon.gloss(x, self.network.embed.weight) if self.lexicon is not None else None
        return self.network.encode(x, seen=seen, dropout=dropout, beside=beside)

    def states(self, seen: Tensor, given: Batch | None, dropout: float) -> Tensor:
        memory = self.memory(given, dropout)
        hidden = self.network.decode(seen, self.network.recall(memory), dropout=dropout)
        if self.lexicon is None:
            return hidden
        look = self.lexicon.look(hidden, self.lexicon.key(memory.hidden), memory.seen)
        return torch.cat([hidden, self.lexicon(look, self.source(given)[0])], -1)

    def head(self, hidden: Tensor) -> Tensor:
        if self.lexicon is None:
            return self.network.logits(hidden)
        width = self.network.arch.width
        return self.network.logits(hidden[..., :width]) + hidden[..., width:]

    def features(self, hidden: Tensor) -> Tensor:
        return hidden[..., : self.network.arch.width]

    def price(self, logits: Tensor, x: Tensor) -> Tensor:
        share = self.config.smooth if self.training else 0.0
        if not share:
            return super().price(logits, x)
        law = torch.log_softmax(logits, 1)
        spread = law.masked_fill(law == -torch.inf, 0.0).sum(1) / (law.shape[1] - len(self.barred))
        return -(1 - share) * law.gather(1, x[:, None]).squeeze(1) - share * spread

    def walk(self, n: int, given: Batch | None) -> Answer:
        return Answer(self, given, n)

    def rows(self) -> int:
        """Items drawn at once: keys and values stay within 256 MB."""
        arch, given = self.network.arch, self.given
        steps = given.length if isinstance(given, Tokens) else given.shape[0] if isinstance(given, Reals) else 0
        each = 8 * arch.layers * arch.heads * arch.head * (self.space.length + steps)
        return max(1, min(super().rows(), BYTES // each))

    # -------------------------------------------------------------------------------------------- search

    @torch.no_grad()
    def search(self, given: Batch, *, beams: int = 4, alpha: float = 0.6, beta: float = 0.0) -> Found:
        """The likeliest targets that a beam search finds: x (B, L) and their log p (B,); deterministic.

        `alpha` 0: by log p alone; larger values favour longer targets. `beta`: the price of leaving out parts of the
        source, which takes a lexicon. Raises OptionError, ConditionError.
        """
        if beams < 1 or not 0 <= alpha < math.inf or not 0 <= beta < math.inf:
            raise OptionError(f"beams={beams} must be at least 1, alpha={alpha} and beta={beta} at least 0.")
        if beta and self.lexicon is None:
            raise OptionError(f"beta={beta} prices what the lexicon has not looked at; this model has lexicon=0.")
        given = cast(Batch, required(given, self.given))
        parts = [
            search(self, take(given, rows), beams, alpha, beta)
            for rows in torch.split(torch.arange(len(given.x)), max(1, self.rows() // beams))
        ]
        return Found(torch.cat([part.x for part in parts]), torch.cat([part.logp for part in parts]))


class Answer:
    """Rows on their way: keys and values of the source, and of what was written so far."""

    def __init__(self, model: Seq2seq, given: Batch | None, n: int) -> None:
        self.network, self.lexicon = model.network, model.lexicon
        memory = model.memory(given)
        self.recall = self.network.recall(memory)
        if self.lexicon is not None:
            self.keys: Tensor = self.lexicon.key(memory.hidden)
            self.x = model.source(given)[0]
            self.seen = memory.seen if memory.seen is not None else torch.ones_like(self.x, dtype=torch.bool)
            self.looked = torch.zeros(self.x.shape, device=self.x.device)
        weight = self.network.embed.weight
        self.cache = Cache(self.network.arch, n, model.space.length, weight.dtype, weight.device)

    def step(self, tokens: Tensor) -> Tensor:
        """Take in tokens (B, T); the hidden state (B, W) behind the last, and what the lexicon says (B, V) if there is
        one."""
        hidden = self.network.decode(tokens, self.recall, cache=self.cache)[:, -1:]
        if self.lexicon is not None:
            look = self.lexicon.look(hidden, self.keys, self.seen)
            self.looked = self.looked + look[:, 0]
            hidden = torch.cat([hidden, self.lexicon(look, self.x)], -1)
        return hidden[:, 0]

    def missed(self) -> Tensor:
        """How much of its source each row has not looked at yet (B,): -sum_s log min(1, looks at s); 0 = nothing."""
        share = self.looked.clamp(UNSEEN, 1.0).log()
        return -share.masked_fill(~self.seen, 0.0).sum(1)

    def keep(self, rows: Tensor) -> None:
        """Go on with these rows, in this order; a row may be named more than once."""
        self.cache.keep(rows)
        self.recall.keep(rows)
        if self.lexicon is not None:
            self.keys, self.x, self.seen = self.keys[rows], self.x[rows], self.seen[rows]
            self.looked = self.looked[rows]


def architecture(config: Seq2seqConfig, space: Tokens, given: Space | None) -> Architecture:
    """The network that a config describes, its zeros filled in. Raises Mismatch for what is no source."""
    width = config.width or 256
    heads = config.heads or max(1, width // 64)
    while width % heads:
        heads -= 1
    t5 = config.style == "t5"
    hidden = config.hidden or (4 * width if t5 else 8 * (-(-width // 3)))
    arch = Architecture(
        vocab=space.vocab, source=1, width=width, encoder=config.encoder or 3, layers=config.depth or 3, heads=heads,
        head=width // heads, hidden=hidden, rope=None if t5 else Rope(), scaled=not t5,
        activation="relu" if t5 else "silu", gated=not t5, shrink=t5, shared=config.shared,
    )  # fmt: skip
    match given:
        case Tokens(vocab=vocab):
            if config.shared and vocab != space.vocab:
                raise Mismatch(
                    f"shared=True wants one vocabulary; the source has {vocab} tokens and the target {space.vocab}."
                )
            return replace(arch, source=vocab)
        case Reals(shape=(channels,)):
            return replace(arch, source=width, reals=True, shared=False)
        case Reals(shape=(_, channels)):
            return replace(arch, source=channels, reals=True, shared=False)
        case None:
            raise Mismatch("seq2seq makes tokens from a source: give one with given=..., or take 'transformer'.")
    what = f"reals of shape {given.shape}" if isinstance(given, Reals) else type(given).__name__
    raise Mismatch(
        f"seq2seq reads tokens, vectors or sequences of them, not {what}: 'transformer' takes any condition."
    )
