"""Text <-> ids, by the Rust library `tokenizers`."""

from __future__ import annotations

from collections.abc import Sequence


class Tokenizer:
    """Made of the JSON text of a tokenizer.json."""

    def __init__(self, source: str) -> None:
        raise NotImplementedError

    def encode(self, text: str, special: bool = False) -> list[int]:
        """Ids of a text, nothing added. Control tokens written in it are text unless `special`."""
        raise NotImplementedError

    def decode(self, ids: Sequence[int], special: bool = False) -> str:
        """Text of ids; control tokens are left out unless `special`."""
        raise NotImplementedError

    @property
    def size(self) -> int:
        """Ids are below this."""
        raise NotImplementedError

    def id(self, token: str) -> int | None:
        """The id of a token as the vocabulary writes it."""
        raise NotImplementedError

    def token(self, id: int) -> str | None:
        """The token of an id as the vocabulary writes it."""
        raise NotImplementedError

    def bytes(self, id: int) -> bytes:
        """The bytes of text that an id stands for; none for control tokens."""
        raise NotImplementedError


class Stream:
    """Ids in, text out, never half a character: `feed` each id, `flush` at the end."""

    def __init__(self, tokenizer: Tokenizer, special: bool = False) -> None:
        raise NotImplementedError

    def feed(self, id: int) -> str:
        """The text that this id completes, maybe none."""
        raise NotImplementedError

    def flush(self) -> str:
        """What was held back."""
        raise NotImplementedError
