"""Many texts at once, a token each a step; texts come and go between steps.

    add      a request waits: a prompt, n samples of it
    step     1. the cancelled leave, rows close up
             2. waiting prompts are read, as many as there are rows and room for, those of like length together;
                a long one in parts of `part` tokens, a part a step, so that texts under way go on meanwhile;
                the samples of one prompt share the reading: their rows are copies
             3. every text under way gets its next token (one that is alone: several, where a draft holds)

Promised: a text depends on its prompt, its sampling and its seed. Its random numbers are its own; its logits are those
it would have alone up to rounding, since a matrix product of more rows may add in another order. With the compiled pass
(see `swift`) they are those to the last bit, up to 64 texts at a time.
"""

from __future__ import annotations

import operator
import os
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from likely.errors import OptionError
from likely.language.decode.constraint import Compiled, Constraint, Listing
from likely.language.decode.decide import decide
from likely.language.decode.draft import lookup
from likely.language.decode.draw import draw
from likely.language.decode.pieces import Piece, Request
from likely.language.decode.row import Row
from likely.language.decode.runner import Runner
from likely.language.decode.sampling import Sampling
from likely.language.model import Checkpoint

PART, WASTE, MOST_SAMPLES = 512, 1.25, 1024


@dataclass
class _Waiting:
    """Samples `first` .. `first + n - 1` of a request; `read` tokens of its prompt are in the cache already."""

    request: Request
    seed: int
    first: int
    n: int
    read: int = 0


class Batcher:
    """`rows` texts at most at a time, the others wait; `memory` bytes of keys and values at most, but one text always.

    One thread calls `step`; `add` and `cancel` may be called from any. `draft`: most tokens that a lone text may get
    by prompt lookup, 0 = none.
    """

    def __init__(self, checkpoint: Checkpoint, runner: Runner, *, rows: int = 32, memory: int = 2 << 30,
                 part: int = PART, draft: int = 0) -> None:  # fmt: skip
        if rows < 1 or memory < 1 or part < 1 or draft < 0:
            raise OptionError(
                f"rows={rows}, memory={memory}, part={part}, draft={draft}: give whole numbers from 1 on (draft: 0)."
            )
        self.checkpoint, self.runner = checkpoint, runner
        self.most_rows, self.memory, self.part, self.draft = rows, memory, part, draft
        self.context = runner.arch.context
        self.ends = torch.tensor(sorted(checkpoint.ends), dtype=torch.long)
        self.slots = runner.slots()
        self._rows: list[Row] = []
        self._reading: _Waiting | None = None  # the long prompt that is being read in parts, in the row after the last
        self._waiting: deque[_Waiting] = deque()
        self._lock = threading.Lock()
        self._compiled: dict[Constraint, Compiled] = {}

    @property
    def active(self) -> int:
        """Texts under way."""
        return len(self._rows)

    @property
    def waiting(self) -> int:
        """Texts that wait for a row, those whose prompt is being read among them."""
        with self._lock:
            reading = self._reading.n if self._reading else 0
            return sum(item.n for item in self._waiting) + reading

    def add(self, ids: Sequence[int], sampling: Sampling | None = None, *, n: int = 1, first: int = 0) -> Request:
        """Continue a prompt n times; sample `first` is the first. Raises OptionError where the prompt is empty, holds
        what is no token, or leaves no room in the context; ConstraintError where a constraint cannot be met."""
        sampling = sampling or Sampling()
        ids = listed(ids)
        vocab = self.runner.arch.vocab
        if type(n) is not int or not 1 <= n <= MOST_SAMPLES:
            raise OptionError(f"n={n}: give a number of samples from 1 to {MOST_SAMPLES}.")
        if not ids:
            raise OptionError("The prompt is empty: give at least one token, such as the one that begins a text.")
        if min(ids) < 0 or max(ids) >= vocab:
            odd = max(ids) if max(ids) >= vocab else min(ids)
            raise OptionError(f"The prompt holds id {odd}; ids are 0 to {vocab - 1}.")
        if sampling.bias and max(sampling.bias) >= vocab:
            raise OptionError(f"bias names id {max(sampling.bias)}; ids are 0 to {vocab - 1}.")
        if len(ids) >= self.context:
            raise OptionError(
                f"The prompt has {len(ids)} tokens; the context is {self.context}, one of them for the answer: "
                f"{len(ids) - self.context + 1} too many. Shorten it, or leave out its oldest part."
            )
        if sampling.constraint is not None and sampling.constraint not in self._compiled:
            self._compiled[sampling.constraint] = sampling.constraint.compile(self.checkpoint.tokenizer)
        seed = sampling.seed if sampling.seed is not None else int.from_bytes(os.urandom(8), "big")
        request = Request(ids, sampling, n, left=n)
        with self._lock:
            self._waiting.append(_Waiting(request, seed, first, n))
        return request

    def cancel(self, request: Request) -> None:
        """Stop: the next step reports its unfinished samples with reason "cancelled" and computes nothing for them."""
        request.cancelled = True

    @torch.inference_mode()
    def step(self) -> list[Piece]:
        """One more token for every text under way; [] = nothing to do. A long prompt may take steps without a piece:
        go on while `active or waiting`."""
        pieces = self._leave()
        old = list(self._rows)
        pieces += self._read()
        pieces += self._go_on(len(old)) if old else []
        if not self._rows and not self._reading:
            self.slots.clear()
        return pieces

    # ------------------------------------------------------------------------------------------------ cancelled

    def _leave(self) -> list[Piece]:
        pieces = []
        for at in reversed(range(len(self._rows))):
            if self._rows[at].request.cancelled:
                pieces.append(self._close(self._rows[at].cancel()))
                self._drop(at)
        with self._lock:
            gone = [item for item in self._waiting if item.request.cancelled]
            self._waiting = deque(item for item in self._waiting if not item.request.cancelled)
        if self._reading is not None and self._reading.request.cancelled:
            gone.append(self._reading)
            self._reading = None
            self.slots.drop(len(self._rows))
        for item in gone:
            for index in range(item.first, item.first + item.n):
                pieces.append(self._close(Piece(item.request, index, None, "", 0.0, (), "cancelled")))
        return pieces

    def _close(self, piece: Piece) -> Piece:
        piece.request.left -= bool(piece.reason)
        return piece

    def _drop(self, at: int) -> None:
        """Row `at` leaves; the last text takes its place, and the prompt that is being read that of the last."""
        last = len(self._rows) - 1
        if at != last:
            self.slots.copy(last, at)
            self._rows[at] = self._rows[last]
        self._rows.pop()
        self.slots.drop(last)

    # ------------------------------------------------------------------------------------------------ prompts

    def _read(self) -> list[Piece]:
        """Read waiting prompts; the first tokens of those that are read to the end."""
        if self._reading is not None:
            return self._read_part(self._reading)
        admitted = self._admit()
        if not admitted:
            return []
        if len(admitted) == 1 and len(admitted[0].request.ids) > self.part:
            self._reading = admitted[0]
            return self._read_part(self._reading)
        pieces = []
        for group in self._alike(admitted):
            first = len(self._rows)
            logits = self.runner.begin([item.request.ids for item in group], self.slots, first)
            pieces += self._spread(group, logits, first)
        return pieces

    def _admit(self) -> list[_Waiting]:
        """The next ones for which there are rows, memory and time; a long prompt is admitted alone."""
        admitted: list[_Waiting] = []
        rows, tokens, most = len(self._rows), 0, self.part if self._rows else 16 * self.part
        longest = max((len(row.prompt) + row.most for row in self._rows), default=0)
        with self._lock:
            while self._waiting and rows < self.most_rows:
                item = self._waiting[0]
                length = len(item.request.ids)
                need = max(longest, min(length + item.request.sampling.tokens, self.context))
                fits = self.slots.bytes(rows + 1, need) <= self.memory
                if (rows and not fits) or (tokens and (tokens + length > most or length > self.part)):
                    break
                n = 1
                while n < item.n and rows + n < self.most_rows and self.slots.bytes(rows + n + 1, need) <= self.memory:
                    n += 1
                admitted.append(_Waiting(item.request, item.seed, item.first, n))
                rows, tokens, longest = rows + n, tokens + length, need
                if n == item.n:
                    self._waiting.popleft()
                else:
                    item.first, item.n = item.first + n, item.n - n
                    break
                if length > self.part:
                    break
        return admitted

    def _alike(self, items: list[_Waiting]) -> list[list[_Waiting]]:
        """Groups of like length: padding costs at most a quarter, and a group is not larger than it has to be."""
        groups: list[list[_Waiting]] = []
        for item in sorted(items, key=lambda item: len(item.request.ids)):
            lengths = [len(other.request.ids) for other in groups[-1]] if groups else []
            padded = len(item.request.ids) * (len(lengths) + 1)
            wasted = padded > WASTE * (sum(lengths) + len(item.request.ids)) + 64
            if lengths and not wasted and padded <= 4 * PART:
                groups[-1].append(item)
            else:
                groups.append([item])
        return groups

    def _read_part(self, item: _Waiting) -> list[Piece]:
        ids, first = item.request.ids, len(self._rows)
        part = ids[item.read : item.read + self.part]
        logits = self.runner.begin([part], self.slots, first)
        item.read += len(part)
        if item.read < len(ids):
            return []
        self._reading = None
        return self._spread([item], logits, first)

    def _spread(self, group: list[_Waiting], logits: Tensor, first: int) -> list[Piece]:
        """Rows of prompts just read, in `slots` from `first` on, become rows of samples; their first tokens."""
        total = first + sum(item.n for item in group)
        self.slots.reserve(total, max(self.slots.lengths) + 1)
        rows, source = [self._row(item, item.first) for item in group], list(range(len(group)))
        for at, item in enumerate(group):
            for index in range(item.first + 1, item.first + item.n):
                self.slots.copy(first + at, len(self.slots.lengths))
                rows.append(self._row(item, index))
                source.append(at)
        self._rows += rows
        logits = logits[source] if len(source) > len(group) else logits
        pieces: list[Piece] = []
        for at in reversed(range(len(rows))):  # texts with choices are decided as a whole, and leave
            found = self._wish(rows[at].request)
            if isinstance(found, Listing):
                pieces += map(self._close, decide(rows[at], found, logits[at], self.runner, self.slots, first + at))
                self._drop(first + at)
                logits[at] = logits[-1]
                logits = logits[:-1]
        return pieces + (self._advance(first, logits) if len(logits) else [])

    def _row(self, item: _Waiting, index: int) -> Row:
        found = self._wish(item.request)
        walk = found.walk() if found is not None and not isinstance(found, Listing) else None
        return Row(item.request, index, item.seed, self.checkpoint.tokenizer, self.ends, self.context, walk)

    def _wish(self, request: Request) -> Compiled | None:
        wish = request.sampling.constraint
        return None if wish is None else self._compiled[wish]

    # ------------------------------------------------------------------------------------------------ tokens

    def _go_on(self, count: int) -> list[Piece]:
        """The next tokens of the first `count` rows."""
        if count == 1 and len(self._rows) == 1 and self.draft:
            row = self._rows[0]
            most = min(self.draft, row.most - len(row.ids) - 1)
            draft = lookup(row.prompt, row.ids, most) if most > 0 else []
            if draft:
                return self._verify(row, draft)
        logits = self.runner.step([row.last for row in self._rows[:count]], self.slots)
        return self._advance(0, logits, count)

    def _advance(self, first: int, logits: Tensor, count: int | None = None) -> list[Piece]:
        """Draw the next token of `count` rows from `first` on, all by default; those that are over leave."""
        rows = self._rows[first : first + count if count is not None else None]
        found = draw(logits, rows)
        pieces = [self._close(row.take(found, at)) for at, row in enumerate(rows)]
        for at in reversed(range(len(rows))):
            if pieces[at].reason:
                self._drop(first + at)
        return pieces

    def _verify(self, row: Row, draft: list[int]) -> list[Piece]:
        """Read the last token and the draft at once; draw as if each had come alone, as far as the draft is right."""
        before = self.slots.lengths[0]
        (logits,) = self.runner.every([[row.last, *draft]], self.slots, 0)
        pieces: list[Piece] = []
        for at in range(len(draft) + 1):
            pieces.append(self._close(row.take(draw(logits[at : at + 1], [row]), 0)))
            if pieces[-1].reason or at == len(draft) or row.last != draft[at]:
                break
        self.slots.lengths[0] = before + len(pieces)
        if pieces[-1].reason:
            self._drop(0)
        return pieces


def listed(ids: Sequence[int]) -> tuple[int, ...]:
    """A prompt's ids. Raises OptionError where it is no sequence of whole numbers."""
    try:
        found = tuple(operator.index(id) for id in ids)
    except TypeError as error:
        raise OptionError(f"A prompt is a text or a list of token ids, got {str(ids)[:40]!r}.") from error
    return found
