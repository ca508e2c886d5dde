"""Text <-> ids, by the Rust library `tokenizers`: byte-pair encoding and its like, as a tokenizer.json describes them.

Two things are done here rather than there. Control tokens (<|im_end|>, </s>) written in a text are text unless the
caller says otherwise, so that what a user types can never end a turn or open another. And ids become text through
bytes, one at a time, so that streamed text equals text decoded at once and half a character is never shown:

    byte-level    each character of a token stands for a byte (Radford et al. 2019): a table gives the byte back
    sentencepiece "▁" stands for a space, <0x41> for a byte (Kudo and Richardson 2018, arXiv:1808.06226)

Tokenizers that decode in another way are decoded by the library, whole.
"""

from __future__ import annotations

import codecs
import contextlib
import json
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from likely.errors import ArtifactError, DataError
from likely.registry import require

LARGEST = 2**22  # ids; the largest vocabularies have some 300 000
Result = TypeVar("Result")
Bytes = bytes  # the type, where a method has its name


def alphabet() -> dict[str, int]:
    """The character that stands for each byte in byte-level tokens, and the byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + at): byte for at, byte in enumerate(others)}


class Tokenizer:
    """Made of the text of a tokenizer.json. `origin`: the file to name in errors.

    Raises ArtifactError where the text describes no tokenizer, MissingExtra where `tokenizers` is not installed.
    """

    def __init__(self, source: str, origin: str = "tokenizer.json") -> None:
        self._library = require("tokenizers", "reading and writing text with a language model")
        self._origin = origin
        self._rust = self._guarded(lambda: self._library.Tokenizer.from_str(source))
        self._rust.no_truncation()
        self._rust.no_padding()
        self._lock = threading.Lock()  # whether control tokens are parsed is a switch of the library's object
        vocabulary: dict[str, int] = self._rust.get_vocab(with_added_tokens=True)
        self.size = max(vocabulary.values(), default=-1) + 1
        if not 1 <= self.size <= LARGEST:
            raise ArtifactError(f"The tokenizer {origin!r} has ids up to {self.size - 1}; 1 to {LARGEST} ids are read.")
        decoder = self._rust.decoder
        self._kind, self._strip = _decoding(None if decoder is None else json.loads(decoder.__getstate__()))
        self._alphabet = alphabet() if self._kind == "bytes" else {}
        self._bytes: dict[int, Bytes] = {}
        self._learn()

    def _learn(self) -> None:
        added = self._rust.get_added_tokens_decoder()
        self.specials: dict[str, int] = {token.content: id for id, token in added.items() if token.special}
        self._control = frozenset(self.specials.values())

    @classmethod
    def read(cls, path: Any) -> Tokenizer:
        """From a file. Raises ArtifactError where it cannot be read."""
        try:
            with open(path, encoding="utf-8") as file:
                return cls(file.read(), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise ArtifactError(f"Cannot read the tokenizer {str(path)!r}: {error}") from error

    def json(self) -> str:
        """The text of a tokenizer.json that makes the same tokenizer."""
        return str(self._rust.to_str(pretty=False))

    def control(self, ids: Iterable[int]) -> None:
        """Make control tokens of those that are parsed in texts: a user must not write what ends one, whatever the
        file says."""
        added = self._rust.get_added_tokens_decoder()
        tokens = [added[id].content for id in ids if id in added and not added[id].special]
        if tokens:
            marked = [self._library.AddedToken(token, special=True, normalized=False) for token in tokens]
            self._rust.add_special_tokens(marked)
            self._learn()
            self._bytes.clear()

    # ------------------------------------------------------------------------------------------ text -> ids

    def encode(self, text: str, special: bool = False) -> list[int]:
        """Ids of a text, nothing added. Control tokens written in it are text, unless `special`.

        Raises DataError where it is no text: not a string, or halves of surrogate pairs, which no UTF-8 has.
        """
        if not isinstance(text, str):
            raise DataError(f"A text is wanted, got {type(text).__name__}.")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"Character {error.start} of the text is half a surrogate pair: no UTF-8.") from error
        with self._lock:
            self._rust.encode_special_tokens = not special
            ids: list[int] = self._guarded(lambda: self._rust.encode(text, add_special_tokens=False).ids)
        return ids

    def affixes(self) -> tuple[list[int], list[int]]:
        """The ids that the file itself puts before and after a text, as <s> or </s>."""
        with self._lock:
            bare = self._guarded(lambda: self._rust.encode("a", add_special_tokens=False).ids)
            full = self._guarded(lambda: self._rust.encode("a", add_special_tokens=True).ids)
        for start in range(len(full) - len(bare) + 1):
            if full[start : start + len(bare)] == bare:
                return full[:start], full[start + len(bare) :]
        return [], []

    # ------------------------------------------------------------------------------------------ ids -> text

    def decode(self, ids: Sequence[int], special: bool = False) -> str:
        """The text of ids; control tokens are left out unless `special`. Bytes that are no UTF-8 become U+FFFD."""
        if self._kind == "other":
            known = [id for id in ids if 0 <= id < self.size]
            return str(self._guarded(lambda: self._rust.decode(known, skip_special_tokens=not special)))
        stream = Stream(self, special)
        return "".join([stream.feed(id) for id in ids]) + stream.flush()

    def bytes(self, id: int, special: bool = False) -> Bytes:
        """The bytes of text that an id stands for; none for ids without a token, and for control tokens unless
        `special`. A space that only marks the beginning of a text is still there."""
        if id in self._control and not special:
            return b""
        found = self._bytes.get(id)
        if found is None:
            found = self._bytes[id] = self._spell(self.token(id) or "")
        return found

    def _spell(self, token: str) -> Bytes:
        if self._kind == "bytes":
            known = [self._alphabet.get(character) for character in token]
            return token.encode() if None in known else Bytes(byte for byte in known if byte is not None)
        if self._kind in ("spaces", "fallback"):
            if self._kind == "fallback" and len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
                with contextlib.suppress(ValueError):
                    return Bytes([int(token[3:5], 16)])
            return token.replace("▁", " ").encode()
        return token.encode()

    # --------------------------------------------------------------------------------------------- look-ups

    def id(self, token: str) -> int | None:
        """The id of a token as the vocabulary writes it."""
        found: int | None = self._rust.token_to_id(token)
        return found

    def token(self, id: int) -> str | None:
        """The token of an id as the vocabulary writes it."""
        found: str | None = self._rust.id_to_token(id) if 0 <= id < self.size else None
        return found

    def _guarded(self, work: Callable[[], Result]) -> Result:
        """What the library makes, its complaints and panics turned into errors of ours."""
        try:
            return work()
        except BaseException as error:
            if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
                raise
            raise ArtifactError(f"The tokenizer {self._origin!r} does not work: {str(error)[:200]}") from error


class Stream:
    """Ids in, text out, never half a character: `feed` each id, `flush` at the end. All pieces joined are what
    `decode` gives."""

    def __init__(self, tokenizer: Tokenizer, special: bool = False) -> None:
        self.tokenizer, self.special = tokenizer, special
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._strip = tokenizer._strip  # leading spaces that are not part of the text; -1: all those of the first token
        self._ids: list[int] = []
        self._sent = ""

    def feed(self, id: int) -> str:
        """The text that this id completes, maybe none."""
        if self.tokenizer._kind == "other":
            return self._whole(id)
        piece = self.tokenizer.bytes(id, self.special)
        if self._strip and piece:
            room = len(piece) if self._strip < 0 else self._strip
            spaces = min(len(piece) - len(piece.lstrip(b" ")), room)
            # Spaces left to remove only matter while nothing but spaces has come.
            self._strip = self._strip - spaces if self._strip > 0 and spaces == len(piece) else 0
            piece = piece[spaces:]
        return self._utf8.decode(piece)

    def flush(self) -> str:
        """What was held back."""
        if self.tokenizer._kind == "other":
            text = self.tokenizer.decode(self._ids, self.special)
            return text[len(self._sent) :] if text.startswith(self._sent) else ""
        return self._utf8.decode(b"", True)

    def _whole(self, id: int) -> str:
        """For tokenizers whose tokens have no bytes of their own: all is decoded again, and what is new is given."""
        self._ids.append(id)
        text = self.tokenizer.decode(self._ids, self.special)
        if text.endswith("\ufffd") or not text.startswith(self._sent):
            return ""
        new, self._sent = text[len(self._sent) :], text
        return new


def _decoding(decoder: Any) -> tuple[str, int]:
    """How tokens become text, and how many leading spaces are dropped (-1: all of the first token).

    "bytes"; "spaces"; "fallback": spaces, and bytes written <0x41>; "other"."""
    parts = decoder.get("decoders", [decoder]) if isinstance(decoder, dict) else []
    kinds = [part.get("type") for part in parts]
    if "ByteLevel" in kinds and set(kinds) <= {"ByteLevel", "Fuse"}:
        return "bytes", 0
    if kinds == ["Metaspace"] and parts[0].get("replacement") == "▁":
        return "spaces", 0 if parts[0].get("prepend_scheme") == "never" else -1
    replaced = [part for part in parts if part.get("type") == "Replace"]
    strips = [part for part in parts if part.get("type") == "Strip"]
    if (
        set(kinds) - {"Strip"} == {"Replace", "ByteFallback", "Fuse"}
        and [(part.get("pattern"), part.get("content")) for part in replaced] == [({"String": "▁"}, " ")]
        and [(part.get("content"), part.get("stop")) for part in strips] in ([], [(" ", 0)])
    ):
        return "fallback", int(strips[0]["start"]) if strips else 0
    return "other", 0
