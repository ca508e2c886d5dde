"""Texts <-> token numbers: every token is a short string of bytes, and any text can be written with them.

    characters   each character that is common enough is a token; all others are spelt in bytes of UTF-8
    bytes        the 256 bytes of UTF-8
    bpe          the bytes, and pairs of tokens that stand side by side most often, again and again: byte-level pair
                 encoding (Gage 1994; Sennrich et al. 2016, arXiv:1508.07909; on bytes: Radford et al. 2019), by the
                 library `tokenizers`

Privacy: a vocabulary is a list of strings that goes into every model file. So a character outside of ASCII, and a pair
of bytes, becomes a token only from strings that at least `least` texts hold: pairs are learned from the words of such
texts alone, and each other word is spelt in smaller pieces. No token of several bytes is known from fewer texts.

Letters: N tokens of a text, V tokens of the vocabulary.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from likely.codecs.state import list_of, text_of
from likely.errors import ArtifactError
from likely.registry import require

Ids = NDArray[np.int32]

KINDS = ("characters", "bytes", "bpe")
MOST = 60_000  # tokens
LONGEST = 256  # bytes of a token
WORDS = 2_000_000  # different words that are counted at most
BYTES = [bytes([b]) for b in range(256)]


class Vocabulary:
    """The tokens in order, as `pieces`. Of characters the first `own` are such; `merges` of bpe: which two tokens each
    one after the bytes is made of."""

    def __init__(
        self, kind: str, pieces: Sequence[bytes], merges: Sequence[tuple[int, int]] = (), own: int = 0
    ) -> None:
        self.kind, self.pieces, self.merges, self.own = kind, list(pieces), list(merges), own

    def __len__(self) -> int:
        return len(self.pieces)

    # ------------------------------------------------------------------------------------------------ learn

    @classmethod
    def of_bytes(cls) -> Self:
        """The 256 bytes."""
        return cls("bytes", BYTES)

    @classmethod
    def of_characters(cls, texts: Sequence[str], least: int) -> Self:
        """The characters of ASCII that occur, and others that `least` texts hold; bytes for all that is left out."""
        held: Counter[str] = Counter()
        for text in texts:
            held.update(set(text))
        known = sorted(c for c, count in held.items() if c.isascii() or count >= least)[: MOST - 256]
        return cls._characters(known)

    @classmethod
    def _characters(cls, known: Sequence[str]) -> Self:
        own = [c.encode() for c in known]
        taken = set(own)
        return cls("characters", own + [byte for byte in BYTES if byte not in taken], own=len(own))

    @classmethod
    def of_pairs(cls, texts: Sequence[str], least: int, size: int) -> Self:
        """Up to `size` tokens by byte-level pair encoding of the words that `least` texts hold. Raises MissingExtra."""
        tokenizers = require("tokenizers", "learning a vocabulary of pairs")
        cut = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        held, count = Counter[str](), Counter[str]()
        for text in texts:
            words = Counter(word for word, _ in cut.pre_tokenize_str(text))
            count.update(words)
            held.update(words.keys())
            if len(held) > WORDS:
                held = Counter({word: n for word, n in held.items() if n > 1})
        common = [word for word, n in sorted(held.items()) if n >= least]
        letters = _letters()
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=min(size, MOST), initial_alphabet=sorted(letters), show_progress=False,
            max_token_length=32, min_frequency=2,
        )  # fmt: skip
        model = tokenizers.Tokenizer(tokenizers.models.BPE())
        # Without a pre-tokenizer each item is one word.
        model.train_from_iterator(_repeated(common, count), trainer)
        return cls._read(model)

    @classmethod
    def _read(cls, model: Any) -> Self:
        """From a trained model of `tokenizers`: the merges in their order."""
        found = json.loads(model.to_str())["model"]["merges"]
        back = {letter: b for b, letter in enumerate(_letters())}
        number = {letter: b for letter, b in back.items()}
        merges: list[tuple[int, int]] = []
        for left, right in found:
            if left + right in number:
                continue
            number[left + right] = 256 + len(merges)
            merges.append((number[left], number[right]))
        return cls._merged(merges)

    @classmethod
    def _merged(cls, merges: Sequence[tuple[int, int]]) -> Self:
        pieces = list(BYTES)
        for left, right in merges:
            pieces.append(pieces[left] + pieces[right])
        return cls("bpe", pieces, merges)

    # ---------------------------------------------------------------------------------------- encode, decode

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """The tokens (N,) of each text."""
        match self.kind:
            case "bytes":
                return [np.frombuffer(text.encode(), np.uint8).astype(np.int32) for text in texts]
            case "characters":
                return [self._spell(text) for text in texts]
            case _:
                return [np.array(found.ids, np.int32) for found in self._pairs.encode_batch(list(texts))]

    def decode(self, ids: Iterable[int]) -> bytes:
        """The bytes of tokens."""
        return b"".join([self.pieces[i] for i in ids])

    def _spell(self, text: str) -> Ids:
        points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
        codes, number, byte = self._points
        place = np.minimum(np.searchsorted(codes, points), max(len(codes) - 1, 0))
        known = codes[place] == points if len(codes) else np.zeros(len(points), bool)
        if known.all():
            return number[place]
        parts: list[Ids] = []
        edges = np.flatnonzero(np.diff(known)) + 1
        for a, b in zip([0, *edges.tolist()], [*edges.tolist(), len(points)], strict=True):
            parts.append(number[place[a:b]] if known[a] else byte[np.frombuffer(text[a:b].encode(), np.uint8)])
        return np.concatenate(parts)

    @property
    def characters(self) -> list[str]:
        """The characters that are tokens."""
        return [piece.decode() for piece in self.pieces[: self.own]]

    @cached_property
    def _points(self) -> tuple[NDArray[np.uint32], Ids, Ids]:
        """Code points that are tokens, in order, and their numbers; and the number of each byte."""
        codes = np.array([ord(c) for c in self.characters], np.uint32)
        order = np.argsort(codes)
        number = {piece: place for place, piece in enumerate(self.pieces)}
        return codes[order], order.astype(np.int32), np.array([number[byte] for byte in BYTES], np.int32)

    @cached_property
    def _pairs(self) -> Any:
        """The model of `tokenizers` that these merges are."""
        tokenizers = require("tokenizers", "texts in pairs of bytes")
        letters = _letters()
        names = ["".join(letters[b] for b in piece) for piece in self.pieces]
        model = tokenizers.models.BPE(
            vocab={name: i for i, name in enumerate(names)},
            merges=[(names[left], names[right]) for left, right in self.merges],
        )
        made = tokenizers.Tokenizer(model)
        made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
        return made

    # ------------------------------------------------------------------------------------------------- keep

    def state(self) -> dict[str, Any]:
        """Plain JSON: the characters, or the merges one behind the other, two numbers each."""
        if self.kind == "characters":
            return {"kind": self.kind, "characters": self.characters}
        return {"kind": self.kind, "merges": [number for pair in self.merges for number in pair]}

    @classmethod
    def load(cls, state: Any) -> Self:
        """The inverse of `state`, from a file that may come from anybody. Raises ArtifactError."""
        kind = text_of(state, "kind", KINDS)
        if kind == "characters":
            known = list_of(state, "characters", str, most=MOST)
            if any(len(c) != 1 or 0xD800 <= ord(c) < 0xE000 for c in known) or len(set(known)) < len(known):
                raise ArtifactError("The model file is damaged: its vocabulary of characters is no list of characters.")
            return cls._characters(known)
        flat = list_of(state, "merges", int, most=2 * MOST)
        merges = list(zip(flat[::2], flat[1::2], strict=False))
        size = [1] * 256
        for place, (left, right) in enumerate(merges):
            if not (0 <= left < 256 + place and 0 <= right < 256 + place) or size[left] + size[right] > LONGEST:
                raise ArtifactError("The model file is damaged: its pairs of tokens do not fit together.")
            size.append(size[left] + size[right])
        if len(flat) % 2 or (kind == "bytes" and merges):
            raise ArtifactError("The model file is damaged: its pairs of tokens do not fit together.")
        made = cls._merged(merges) if kind == "bpe" else cls.of_bytes()
        if len(set(made.pieces)) < len(made.pieces):
            raise ArtifactError("The model file is damaged: two of its tokens are the same.")
        return made


def _repeated(words: Sequence[str], count: Counter[str]) -> Iterable[list[str]]:
    """Each word as often as it occurs, a thousand at a time."""
    batch: list[str] = []
    for word in words:
        for _ in range(count[word]):
            batch.append(word)
            if len(batch) == 1000:
                yield batch
                batch = []
    yield batch


def _letters() -> list[str]:
    """The printable letter that `tokenizers` writes for each byte: itself where it is printable, else one after 255."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {b: chr(b) for b in plain}
    for b in range(256):
        if b not in letters:
            letters[b] = chr(256 + len(letters) - len(plain))
    return [letters[b] for b in range(256)]
