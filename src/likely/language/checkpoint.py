"""A language model as everything else works with it: network, tokenizer, chat template, and where texts end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from likely.language.template import Template
from likely.language.tokenizer import Tokenizer
from likely.nn.decoder import Decoder


@dataclass
class Checkpoint:
    """`ends`: ids that end a text, maybe several. `bos`: the id that begins one, and `begins`: whether it does.
    `template` None: not a chat model. `source`: the file or folder it came from."""

    network: Decoder
    tokenizer: Tokenizer
    template: Template | None
    ends: frozenset[int]
    bos: int | None
    begins: bool
    name: str
    source: str

    def encode(self, text: str) -> list[int]:
        """Ids of a text to go on with: `bos` first where texts begin with it. Control tokens are not parsed."""
        raise NotImplementedError

    def chat(self, messages: Sequence[Mapping[str, Any]], *, begin: bool = True, **variables: Any) -> list[int]:
        """Ids of a conversation, up to where the answer begins. What a message says never becomes a control token."""
        raise NotImplementedError


def load(path: str | Path, *, dtype: torch.dtype = torch.float32) -> Checkpoint:
    """A Hugging Face folder, a .gguf file, or the name of a packaged model ("smollm2")."""
    raise NotImplementedError
