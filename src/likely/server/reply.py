"""The answers to a request for text, in the shapes of OpenAI's reference: whole, or in chunks.

`tokens` counts what the model drew, the token that ends a text included; that token is not among the log-probabilities,
so the tokens told there joined are the text (but for stop strings, which are cut from the text).
"""

from __future__ import annotations

import codecs
import secrets
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from likely.language.decode import Piece
from likely.language.tokenizer import Tokenizer

REASONS = {"end": "stop", "stop": "stop", "length": "length"}
LEAST = -9999.0  # a log-probability that JSON can say, for -inf


class Prompt(NamedTuple):
    """A prompt as `echo` gives it back: its tokens with log-probabilities (None for the first) and alternatives."""

    ids: tuple[int, ...]
    text: str = ""
    logprobs: tuple[float | None, ...] = ()
    top: tuple[tuple[tuple[int, float], ...], ...] = ()


class Reply:
    """`chat`: the shape. `told`: with log-probabilities, `top` alternatives each. `usage`: counts come with the end."""

    def __init__(self, model: str, words: Tokenizer, prompts: Sequence[Prompt], *, n: int, chat: bool, told: bool,
                 top: int, echo: bool, usage: bool) -> None:  # fmt: skip
        self.words, self.prompts, self.n = words, list(prompts), n
        self.chat, self.told, self.top, self.echo, self.usage = chat, told, top, echo, usage
        self.kind = "chat.completion" if chat else "text_completion"
        prefix = "chatcmpl" if chat else "cmpl"
        self.head = {"id": f"{prefix}-{secrets.token_hex(12)}", "created": int(time.time()), "model": model}
        self.made = 0  # tokens so far
        self._offsets: dict[int, _Offset] = {}

    # -------------------------------------------------------------------------------------------------- whole

    def whole(self, texts: Sequence[Sequence[Piece]]) -> dict[str, Any]:
        """The answer: the pieces of each text, prompt by prompt."""
        choices = [self._choice(index, pieces) for index, pieces in enumerate(texts)]
        return {**self.head, "object": self.kind, "choices": choices, "usage": self.counts()}

    def _choice(self, index: int, pieces: Sequence[Piece]) -> dict[str, Any]:
        text, logprobs = self._said(index, pieces, first=True)
        reason = self._reason(pieces) or "length"  # an echo alone has no pieces
        if not self.chat:
            return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason}
        message = {"role": "assistant", "content": text, "refusal": None}
        return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": reason}

    def counts(self) -> dict[str, int]:
        """Usage: tokens of the prompts, each once; tokens made."""
        asked = sum(len(prompt.ids) for prompt in self.prompts)
        return {"prompt_tokens": asked, "completion_tokens": self.made, "total_tokens": asked + self.made}

    # ------------------------------------------------------------------------------------------------- chunks

    def opening(self) -> list[dict[str, Any]]:
        """Chunks before the first token: who speaks, or the echo."""
        if self.chat:
            return [
                self._chunk({"index": index, "delta": {"role": "assistant", "content": "", "refusal": None},
                             "logprobs": None, "finish_reason": None})
                for index in range(self.n)
            ]  # fmt: skip
        return [self._part(index, (), first=True) for index in range(self.n * len(self.prompts))] if self.echo else []

    def chunk(self, index: int, pieces: Sequence[Piece]) -> dict[str, Any] | None:
        """The next part of text `index`; None where there is nothing to say yet."""
        part = self._part(index, pieces, first=False)
        choice = part["choices"][0]
        said = choice["delta"] if self.chat else choice["text"]
        return part if said or choice["finish_reason"] or choice["logprobs"] else None

    def _part(self, index: int, pieces: Sequence[Piece], first: bool) -> dict[str, Any]:
        text, logprobs = self._said(index, pieces, first)
        reason = self._reason(pieces)
        if self.chat:
            delta = {"content": text} if text or logprobs else {}
            return self._chunk({"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": reason})
        return self._chunk({"index": index, "text": text, "logprobs": logprobs, "finish_reason": reason})

    def closing(self) -> dict[str, Any]:
        """The chunk of counts, of no choices."""
        return {**self._chunk(), "usage": self.counts()}

    def _chunk(self, *choices: dict[str, Any]) -> dict[str, Any]:
        kind = "chat.completion.chunk" if self.chat else self.kind
        usage = {"usage": None} if self.usage else {}
        return {**self.head, "object": kind, "choices": list(choices), **usage}

    # -------------------------------------------------------------------------------------------------- parts

    def _said(self, index: int, pieces: Sequence[Piece], first: bool) -> tuple[str, dict[str, Any] | None]:
        """The text of pieces and, if asked for, their log-probabilities."""
        self.made += sum(piece.token is not None for piece in pieces)
        text = "".join(piece.text for piece in pieces)
        echoed = self.prompts[index // self.n] if self.echo and first else None
        text = (echoed.text if echoed else "") + text
        if not self.told:
            return text, None
        real = [piece for piece in pieces if piece.token is not None and piece.reason != "end"]
        if self.chat:
            entries = [
                {
                    **self._entry(piece.token or 0, piece.logprob),
                    "top_logprobs": [self._entry(*one) for one in piece.top],
                }
                for piece in real
            ]
            return text, {"content": entries, "refusal": None} if entries or first else None
        return text, self._columns(index, real, echoed)

    def _entry(self, token: int, logprob: float) -> dict[str, Any]:
        data = self.words.bytes(token, special=True)
        return {"token": data.decode("utf-8", "replace"), "logprob": max(logprob, LEAST), "bytes": list(data)}

    def _columns(self, index: int, pieces: Sequence[Piece], echoed: Prompt | None) -> dict[str, Any] | None:
        rows: list[tuple[int, float | None, tuple[tuple[int, float], ...]]] = []
        if echoed is not None:
            rows += zip(echoed.ids, echoed.logprobs, echoed.top, strict=True)
        rows += [(piece.token or 0, piece.logprob, piece.top) for piece in pieces]
        if not rows:
            return None
        offset = self._offsets.setdefault(index, _Offset())
        tokens, offsets, tops = [], [], []
        for token, logprob, top in rows:
            tokens.append(self._word(token))
            offsets.append(offset.then(self.words.bytes(token, special=True)))
            alternatives = {self._word(other): max(value, LEAST) for other, value in top}
            if logprob is not None and self.top:
                alternatives.setdefault(self._word(token), max(logprob, LEAST))
            tops.append(alternatives or None)
        logprobs = [None if logprob is None else max(logprob, LEAST) for _, logprob, _ in rows]
        return {
            "tokens": tokens, "token_logprobs": logprobs, "top_logprobs": tops if self.top else None,
            "text_offset": offsets,
        }  # fmt: skip

    def _word(self, token: int) -> str:
        """A token as a string; part of a character as OpenAI's older route writes it."""
        data = self.words.bytes(token, special=True)
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            return "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)

    def _reason(self, pieces: Sequence[Piece]) -> str | None:
        return REASONS.get(pieces[-1].reason) if pieces else None


class _Offset:
    """Where in a text a token begins, in characters."""

    def __init__(self) -> None:
        self.utf8, self.at = codecs.getincrementaldecoder("utf-8")("replace"), 0

    def then(self, data: bytes) -> int:
        """The place of these bytes, which come next."""
        before = self.at
        self.at += len(self.utf8.decode(data))
        return before
