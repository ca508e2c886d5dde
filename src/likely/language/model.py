"""A language model as everything else works with it: network, tokenizer, chat template, and where texts end."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from likely.errors import Mismatch, Unsupported
from likely.language.template import Template
from likely.language.tokenizer import Tokenizer
from likely.nn.decoder import Decoder

MARK = "\ue000"  # a private character: stands within control tokens that a message spells, while it is rendered


@dataclass
class Checkpoint:
    """`ends`: ids that end a text, maybe several. `bos`: the id that begins one, and `begins`: whether it does.
    `template` None: not a chat model. `source`: the file or folder it came from.

    Raises Mismatch where the tokenizer has ids that the network does not know. The other way round is fine: many
    embeddings are padded.
    """

    network: Decoder
    tokenizer: Tokenizer
    template: Template | None
    ends: frozenset[int]
    bos: int | None
    begins: bool
    name: str
    source: str

    def __post_init__(self) -> None:
        vocabulary = self.network.arch.vocab
        if self.tokenizer.size > vocabulary:
            raise Mismatch(
                f"The tokenizer of {self.source!r} has ids up to {self.tokenizer.size - 1}, but its network knows "
                f"{vocabulary} of them: they belong to different models."
            )
        beyond = [id for id in (*self.ends, *([] if self.bos is None else [self.bos])) if id >= vocabulary]
        if beyond:
            raise Mismatch(f"{self.source!r} ends or begins texts with id {beyond[0]}; its network knows {vocabulary}.")
        self.begins = self.begins and self.bos is not None
        self.tokenizer.control(self.ends | ({self.bos} if self.bos is not None else set()))

    @property
    def end(self) -> int:
        """The token that ends an answer: what the template writes behind one, else the first that ends texts. Raises
        Unsupported where no token ends a text."""
        if not self.ends:
            raise Unsupported(f"{self.name!r} has no token that ends a text, which answers need.")
        if self.template is not None:
            turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "!"}]
            found = [token for token in self.chat(turns, begin=False) if token in self.ends]
            if found:
                return found[-1]
        return min(self.ends)

    def encode(self, text: str) -> list[int]:
        """Ids of a text to go on with: `bos` first where texts begin with it. Control tokens written in it are text."""
        return [*([self.bos] if self.begins and self.bos is not None else []), *self.tokenizer.encode(text)]

    def chat(self, messages: Sequence[Mapping[str, Any]], *, begin: bool = True, **variables: Any) -> list[int]:
        """Ids of a conversation; `begin`: up to where the answer begins. What a message says never becomes a control
        token: only those that the template writes do. Raises as `Template.render`, Unsupported without a template."""
        if self.template is None:
            raise Unsupported(
                f"{self.name!r} has no chat template: it completes texts. Take a model tuned for conversation "
                "(instruct, chat), or give it a template."
            )
        specials = [token for token in sorted(self.tokenizer.specials, key=len, reverse=True) if len(token) > 1]
        if not specials:
            return self.tokenizer.encode(self.template.render(messages, begin=begin, **variables))
        control = re.compile("|".join(map(re.escape, specials)))
        marked = [_marked(message, control) for message in messages] if isinstance(messages, list | tuple) else messages
        # Tools and documents come from users, too; plain words are settings of the template.
        given = {key: value if isinstance(value, str) else _marked(value, control) for key, value in variables.items()}
        text = self.template.render(marked, begin=begin, **given)
        if MARK not in text:
            return self.tokenizer.encode(text, special=True)
        ids: list[int] = []
        parts = re.split(f"({control.pattern})", text)
        for plain, token in zip(parts[::2], [*parts[1::2], None], strict=True):
            ids += self.tokenizer.encode(plain.replace(MARK, "")) if plain else []
            ids += [self.tokenizer.specials[token]] if token is not None else []
        return ids


def _marked(value: Any, control: re.Pattern[str]) -> Any:
    """A message in which every control token is broken by a mark."""
    if isinstance(value, str):
        return control.sub(lambda found: found[0][:1] + MARK + found[0][1:], value.replace(MARK, ""))
    if isinstance(value, Mapping):
        return {key: _marked(item, control) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_marked(item, control) for item in value]
    return value
