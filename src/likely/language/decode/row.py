"""One text under way: its prompt, what came so far, and whether it is over."""

from __future__ import annotations

import torch
from torch import Tensor

from likely.errors import ConstraintError
from likely.language.decode.constraint import Walk
from likely.language.decode.draw import Drawn, Noise
from likely.language.decode.pieces import Piece, Request
from likely.language.decode.text import Text
from likely.language.tokenizer import Tokenizer


class Row:
    """Sample `index` of a request. `context`: tokens that prompt and text may have together; `ends`: the ids that end a
    text."""

    def __init__(self, request: Request, index: int, seed: int, tokenizer: Tokenizer, ends: Tensor, context: int,
                 walk: Walk | None) -> None:  # fmt: skip
        self.request, self.index, self.walk = request, index, walk
        self.prompt, self.sampling = request.ids, request.sampling
        self.noise = Noise(seed, index, request.ids)
        self.text = Text(tokenizer, self.sampling.stop)
        self.ends, self.end_ids = ends, frozenset(ends.tolist())
        self.most = min(self.sampling.tokens, context - len(self.prompt))
        self.ids: list[int] = []
        self.stuck = False
        self.endless: Tensor | None = None  # all but the ends, where those are not wanted

    @property
    def last(self) -> int:
        """The token that the model has to read next."""
        return self.ids[-1] if self.ids else self.prompt[-1]

    def allowed(self, vocab: int) -> Tensor | None:
        """(vocab,) true = may come next; None = all."""
        if self.walk is None:
            if not self.sampling.ends and self.endless is None:
                self.endless = torch.ones(vocab, dtype=torch.bool)
                self.endless[self.ends] = False
            return self.endless
        mask = torch.zeros(vocab, dtype=torch.bool)
        found = self.walk.allowed
        mask[: len(found)] = found  # a network may have more rows than the tokenizer has tokens
        mask[self.ends] = self.walk.whole and self.sampling.ends
        return mask

    def take(self, drawn: Drawn, at: int, *, over: bool = False) -> Piece:
        """The token `at` of those drawn is the next one of this text; `over`: and the last."""
        token = drawn.tokens[at]
        self.ids.append(token)
        reason = said = ""
        if token in self.end_ids:
            reason = "end"
        else:
            said = self.text.feed(token)
            over = over or self._walked(token)
            if self.text.stopped or over:
                reason = "stop"
            elif self.stuck or len(self.ids) >= self.most:
                reason = "length"
        if reason:
            said += self.text.flush()
            if self.text.stopped:
                reason = "stop"
        return Piece(self.request, self.index, token, said, drawn.logprobs[at], drawn.tops[at], reason)

    def _walked(self, token: int) -> bool:
        """Whether the constraint is met and allows nothing more."""
        if self.walk is None:
            return False
        try:
            self.walk.advance(token)
            return self.walk.over
        except ConstraintError:  # it gave up on the way: the text is cut here, as by a limit
            self.stuck = True
            return False

    def cancel(self) -> Piece:
        """The piece that says that the text was given up."""
        return Piece(self.request, self.index, None, self.text.flush(), 0.0, (), "cancelled")
