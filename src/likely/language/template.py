"""Conversations -> text, by the chat template of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class Template:
    """A Jinja template. `tokens`: names it may use, as bos_token -> "<s>"."""

    def __init__(self, source: str, tokens: Mapping[str, str] | None = None) -> None:
        raise NotImplementedError

    def render(self, messages: Sequence[Mapping[str, Any]], *, begin: bool = True, **variables: Any) -> str:
        """The text of messages {"role", "content"}; `begin`: with the words that begin an answer."""
        raise NotImplementedError
