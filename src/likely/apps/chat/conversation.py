"""A conversation with a language model: messages in order, one answer at a time, the oldest forgotten when all is full.

    system        said once, before all else; never forgotten
    messages      user and assistant by turns, written the way the model read them in training (its chat template)
    context       what the model sees at once. `tokens` of it are for the answer; when messages and answer no longer
                  fit, the oldest exchange (a question and its answer) is left out, so that no message is ever cut

What anybody says stays text: a control token that is spelled in a message does not become one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from likely.errors import DataError, OptionError
from likely.language.checkpoint import Checkpoint
from likely.language.decode import Engine, Piece, Sampling
from likely.language.template import Template

# Of a model without a template of its own.
PLAIN = (
    "{% for message in messages %}{{ {'user': 'User: ', 'assistant': 'Assistant: '}.get(message['role'], '') }}"
    "{{ message['content'] }}\n\n{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)
STOPS = ("\nUser:", "\nAssistant:")
# Tried on the packaged model, see docs/apps/chat.md: greedy it goes in circles, at 1 it loses the thread.
SAMPLING = Sampling(temperature=0.3, top_p=0.9, repetition=1.1, tokens=400)


@dataclass(frozen=True)
class Spoken:
    """What an answer took: `tokens` in `seconds`, the first of them after `wait`; why it ended (see `Piece.reason`,
    "cancelled" where it was stopped); `forgotten`: exchanges left out of its prompt."""

    tokens: int
    seconds: float
    wait: float
    reason: str
    forgotten: int

    @property
    def rate(self) -> float:
        """Tokens a second once the prompt was read; 0 where there are too few to say."""
        return (self.tokens - 1) / max(self.seconds - self.wait, 1e-9) if self.tokens > 1 else 0.0


class Conversation:
    """`model`: a checkpoint, or an engine that runs one. The messages so far are in `messages`, without the
    system's."""

    def __init__(self, model: Checkpoint | Engine, *, system: str = "", sampling: Sampling | None = None) -> None:
        self.engine = model if isinstance(model, Engine) else Engine(model)
        self.checkpoint, self.sampling = self.engine.checkpoint, sampling or SAMPLING
        if self.checkpoint.template is None:
            self.checkpoint = replace(self.checkpoint, template=Template(PLAIN))
            self.sampling = replace(self.sampling, stop=(*self.sampling.stop, *STOPS))
        self.system = system
        self.messages: list[dict[str, str]] = []
        self.spoken: Spoken | None = None
        self._turn = 0

    def say(self, text: str) -> str:
        """The answer to a message, whole."""
        return "".join(piece.text for piece in self.stream(text)).strip()

    def stream(self, text: str) -> Iterator[Piece]:
        """The answer to a message, a piece a token. Closing the iterator stops it; what was said so far is kept.

        Raises OptionError where the message alone is longer than the context, DataError where it is empty.
        """
        if not text.strip():
            raise DataError("There is nothing to answer: the message is empty.")
        self.messages.append({"role": "user", "content": text})
        try:
            ids, forgotten = self._prompt()
        except Exception:
            self.messages.pop()
            raise
        return self._answer(ids, forgotten)

    def retry(self) -> str | None:
        """Take the last exchange back: its question, to be said again; None where there was none."""
        while self.messages:
            message = self.messages.pop()
            if message["role"] == "user":
                return message["content"]
        return None

    def clear(self) -> None:
        """Forget all messages; the system's stays."""
        self.messages.clear()

    def _answer(self, ids: list[int], forgotten: int) -> Iterator[Piece]:
        self._turn += 1
        began, wait, said, tokens, reason = time.perf_counter(), 0.0, "", 0, "cancelled"
        sampling = self.sampling
        if sampling.seed is not None:  # every answer has numbers of its own, a retry too
            sampling = replace(sampling, seed=(sampling.seed + 1_000_003 * (self._turn - 1)) % 2**64)
        pieces = self.engine.stream(ids, sampling)
        try:
            for piece in pieces:
                wait = wait or time.perf_counter() - began
                tokens += piece.token is not None
                said += piece.text
                reason = piece.reason or reason
                yield piece
        finally:
            if said.strip():
                self.messages.append({"role": "assistant", "content": said.strip()})
            else:
                self.messages.pop()  # a question without an answer would break the order of speakers
            self.spoken = Spoken(tokens, time.perf_counter() - began, wait, reason, forgotten)

    def _prompt(self) -> tuple[list[int], int]:
        """Ids of as many exchanges as fit, the system's message before them, and how many were left out."""
        context = self.checkpoint.network.arch.context
        room = context - min(self.sampling.tokens, context // 2)
        head = [{"role": "system", "content": self.system}] if self.system else []
        starts = [at for at, message in enumerate(self.messages) if message["role"] == "user"]
        for forgotten, start in enumerate(starts):
            ids = self.checkpoint.chat([*head, *self.messages[start:]])
            if len(ids) <= room:
                return ids, forgotten
        raise OptionError(
            f"The message has {len(ids)} tokens with what goes before it; {room} fit, since the context is {context} "
            f"and {context - room} are for the answer: {len(ids) - room} too many. Shorten it, or give it in parts."
        )
