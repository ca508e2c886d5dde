"""Conversations -> text, by the chat template that comes with a model.

A template is a Jinja program that writes messages the way the model read them in training: who speaks, what, and the
control tokens between. It is a stranger's program: it runs in a sandbox with a bounded amount of work (see
`likely.language.sandbox`), so that one that loops for ever, or floods, ends with an error that names its line.

Templates may use what those of Hugging Face may: `messages`, `add_generation_prompt`, `tools`, `documents`, the names
of special tokens, `raise_exception(text)`, `strftime_now(format)`, the filter `tojson`, `break`, `continue` and
`generation` blocks.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from functools import cached_property
from traceback import walk_tb
from typing import Any

from likely.errors import DataError
from likely.language.sandbox import Meter, Overrun, environment, metered

SOURCE = 2**19  # characters of a template; the longest known have some 20 000
WORK, LARGEST, SECONDS = 2_000_000, 1_000_000, 5.0  # the first two grow with what is rendered


class Refusal(Exception):
    """What a template says through `raise_exception`."""


def _refuse(text: object) -> None:
    raise Refusal(str(text)[:500])


def _now(format: str) -> str:
    return datetime.datetime.now().strftime(format[:200])


class Template:
    """A chat template. `tokens`: special tokens it may name, as "bos_token" -> "<s>"."""

    def __init__(self, source: str, tokens: Mapping[str, str] | None = None) -> None:
        if len(source) > SOURCE:
            raise DataError(f"A chat template of {len(source)} characters is not read; {SOURCE} is the most.")
        self.source, self.tokens = source, dict(tokens or {})

    @cached_property
    def _compiled(self) -> Any:
        # Compiled on first use: a checkpoint with a broken template still completes texts, and needs no Jinja for it.
        jinja = environment({"raise_exception": _refuse, "strftime_now": _now})
        return self._guarded("cannot be read", 0, lambda: jinja.from_string(self.source))

    def render(self, messages: Sequence[Mapping[str, Any]], *, begin: bool = True, **variables: Any) -> str:
        """The text of `messages`, each {"role": ..., "content": ...}; `begin`: with the words that begin an answer.
        `variables` are seen by the template too: tools, documents, enable_thinking, ...

        Raises DataError where messages are none, where the template refuses them or fails, or where it does not end.
        """
        check(messages)
        compiled = self._compiled
        names = {
            "tools": None, "documents": None, **self.tokens, **variables,
            "messages": [dict(message) for message in messages], "add_generation_prompt": begin,
        }  # fmt: skip
        size = _size(names)
        text: str = self._guarded("cannot write these messages", size, lambda: "".join(compiled.generate(**names)))
        return text

    def _guarded(self, what: str, size: int, work: Any) -> Any:
        meter = Meter(WORK + 50 * size, LARGEST + 8 * size, SECONDS)
        try:
            return metered(meter, work)
        except Refusal as error:
            raise DataError(f"The chat template refuses these messages: {error}") from error
        except Overrun as error:
            raise DataError(f"The chat template was stopped{_line(error)}: {error}.") from error
        except RecursionError as error:
            raise DataError(f"The chat template was stopped{_line(error)}: it is nested too deeply.") from error
        except Exception as error:  # whatever a stranger's program may run into
            if type(error).__module__.partition(".")[0] == "likely":
                raise
            said = error.msg if isinstance(error, SyntaxError) else str(error)[:300]
            raise DataError(f"The chat template {what}{_line(error)}: {said or type(error).__name__}") from error


def check(messages: Sequence[Mapping[str, Any]]) -> None:
    """Raises DataError unless these are messages with a role and a content."""
    wanted = 'a conversation is a list like [{"role": "user", "content": "Hello"}]'
    if isinstance(messages, str | Mapping) or not isinstance(messages, Sequence) or not messages:
        raise DataError(f"Got {str(messages)[:60]!r}; {wanted}.")
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise DataError(f"Message {number} is {str(message)[:60]!r}; {wanted}.")
        content = message.get("content")
        if not isinstance(content, str | list | None):
            raise DataError(f"The content of message {number} is of type {type(content).__name__}; {wanted}.")


def _line(error: BaseException) -> str:
    """Where in the template, as far as it is known."""
    line = None if isinstance(error, SyntaxError) else getattr(error, "lineno", None)
    for frame, number in walk_tb(error.__traceback__):
        if frame.f_code.co_filename == "<template>":
            line = number
    return f" at line {line}" if line else ""


def _size(value: Any) -> int:
    """Characters and elements of what is rendered: a caller's own data, so a tree."""
    if isinstance(value, Mapping):
        return 1 + sum(len(str(key)) + _size(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return 1 + sum(map(_size, value))
    return 1 + len(value) if isinstance(value, str) else 1
