"""What a reward looks at in an item: numbers, and wide vectors of which few directions matter.

    numbers (n, R)   each standardised: length, overlap with the prompt, log p under a model
    wide    (n, W)   counts of words (weighted by tf-idf, rows of length 1), or hidden states (columns standardised)

A reward is linear in both. It is learned in the span of the training items (their first K principal directions), and is
then one weight a column again: what is kept of a million possible words is a vector, not the words.

`Words` knows nothing but the text. Its counts are hashed, so that nothing has to be remembered (Weinberger et al. 2009,
arXiv:0902.2206); its numbers say how an answer is made. `Vectors` are items that are vectors of numbers.

Letters: n items, R numbers, W columns, K directions.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import torch
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.utils.extmath import randomized_svd

from likely.align.preference import Candidate
from likely.errors import ArtifactError, DataError, Mismatch, Unsupported

Array = np.ndarray[Any, np.dtype[Any]]
WORDS, LETTERS = 2**14, 2**14  # columns of words and pairs of words, of runs of letters
DIRECTIONS = 64
FEW = 1000  # items up to which directions are exact
SHAPE = (
    "characters", "words", "sentences", "lines", "letters a word", "different words", "repeated triples", "digits",
    "punctuation", "beyond ASCII", "ends a sentence", "begins with a capital", "words from the prompt",
    "words of the prompt used", "length beside the prompt", "copies the prompt",
)  # fmt: skip


class Raw(NamedTuple):
    """What was read of n items, before anything is learned: `numbers` (n, R), `wide` (n, W), or None."""

    numbers: Array
    wide: Any

    def take(self, rows: Array) -> Raw:
        """Some of them."""
        return Raw(self.numbers[rows], None if self.wide is None else self.wide[rows])


class Features(Protocol):
    """A way to look at items. `sizes` is (R, W), or zeros before anything was read."""

    name: ClassVar[str]

    @property
    def sizes(self) -> tuple[int, int]: ...
    def take(self, candidates: Sequence[Candidate], prompts: Sequence[Any]) -> tuple[Any, Any]:
        """Candidates and their prompts as items and prompts. Raises Unsupported for media that cannot be read."""

    def read(self, items: Any, prompts: Any = None) -> Raw: ...  # of items as the user has them
    def state(self) -> dict[str, Any]: ...  # JSON: what `restored` needs to read in the same way


@dataclass
class Scaling:
    """How raw features are scaled, learned from items: `mean`, `std` (R,) of numbers; of wide ones `middle` and `gain`
    (W,), column by column, and whether rows are brought to length 1 (`rows`: tf-idf)."""

    mean: Array
    std: Array
    middle: Array
    gain: Array
    rows: bool

    @classmethod
    def learn(cls, raw: Raw) -> Scaling:
        """From the items at hand."""
        mean, std = raw.numbers.mean(0), raw.numbers.std(0)
        std = np.where(std > 1e-9, std, np.inf)  # what never varies says nothing, later neither
        if raw.wide is None:
            return cls(mean, std, np.zeros(0), np.zeros(0), False)
        n = raw.wide.shape[0]
        if sparse.issparse(raw.wide):
            met = np.asarray((raw.wide > 0).sum(0)).ravel()
            idf = np.where(met > 0, np.log((1 + n) / (1 + met)) + 1, 0.0)
            return cls(mean, std, np.zeros(raw.wide.shape[1]), idf, True)
        spread = raw.wide.std(0)
        spread = np.where(spread > 1e-6, spread, np.inf)
        return cls(mean, std, raw.wide.mean(0), 1 / (spread * math.sqrt(raw.wide.shape[1])), False)

    def numbers(self, raw: Raw) -> Array:
        """(n, R), mean 0 and standard deviation 1 over the items learned from."""
        found: Array = (raw.numbers - self.mean) / self.std
        return np.clip(found, -8, 8)  # an item far from all that was judged is judged as one at the edge

    def wide(self, raw: Raw) -> Any:
        """(n, W) scaled."""
        if not self.rows:
            return (np.asarray(raw.wide, np.float64) - self.middle) * self.gain
        scaled = raw.wide.multiply(self.gain).tocsr()
        size = np.sqrt(np.asarray(scaled.multiply(scaled).sum(1))).ravel()
        return sparse.diags_array(1 / np.where(size > 0, size, 1)) @ scaled


def directions(wide: Any, count: int = DIRECTIONS) -> Array:
    """The first principal directions (K, W) of scaled rows (n, W)."""
    n, W = wide.shape
    K = min(count, n - 1, W)
    if K < 1:
        return np.zeros((0, W))
    if n > FEW:
        _, size, found = randomized_svd(wide, K, n_iter=4, random_state=0)
    else:
        products = wide @ wide.T  # n is small beside W
        square, u = np.linalg.eigh(products.toarray() if sparse.issparse(products) else products)
        size = np.sqrt(np.clip(square[::-1][:K], 0, None))
        found = np.asarray((u[:, ::-1][:, :K] / np.where(size > 0, size, 1)).T @ wide)
    kept: Array = found[size > 1e-6 * max(1e-300, float(size[0]))]  # below it, rounding
    return kept


# -------------------------------------------------------------------------------------------------------- texts


class Words:
    """Texts by their words, pairs of words, runs of 3 to 5 letters, and how they are made (SHAPE)."""

    name: ClassVar[str] = "words"

    @property
    def sizes(self) -> tuple[int, int]:
        """(R, W)."""
        return len(SHAPE), WORDS + LETTERS

    def take(self, candidates: Sequence[Candidate], prompts: Sequence[Any]) -> tuple[list[str], list[Any]]:
        """Texts. Raises Unsupported for other media."""
        return texts_of(candidates, "word features"), list(prompts)

    def read(self, items: Any, prompts: Any = None) -> Raw:
        """Of texts, (prompt, answer) pairs or conversations. Raises DataError for anything else."""
        texts, asked = spoken(items, prompts)
        words = HashingVectorizer(n_features=WORDS, ngram_range=(1, 2), alternate_sign=False, norm=None,
                                  token_pattern=r"(?u)\b\w+\b")  # fmt: skip
        runs = HashingVectorizer(n_features=LETTERS, analyzer="char_wb", ngram_range=(3, 5), alternate_sign=False,
                                 norm=None)  # fmt: skip
        counts = sparse.hstack([words.transform(texts), runs.transform(texts)], format="csr", dtype=np.float64)
        counts.data = 1 + np.log(counts.data)
        return Raw(shapes(texts, asked), sparse.csr_array(counts))

    def state(self) -> dict[str, Any]:
        """Nothing: hashes are always the same."""
        return {}


class Vectors:
    """Items that are vectors of numbers: JSON lists as candidates, rows of an array or tensor later."""

    name: ClassVar[str] = "vectors"

    def __init__(self, size: int = 0) -> None:
        self.size = size

    @property
    def sizes(self) -> tuple[int, int]:
        """(R, 0)."""
        return self.size, 0

    def take(self, candidates: Sequence[Candidate], prompts: Sequence[Any]) -> tuple[Array, None]:
        """JSON lists of numbers. Raises Unsupported, DataError."""
        rows = []
        for one in candidates:
            if one.media != "application/json":
                raise Unsupported(f"Vector features read application/json (lists of numbers), not {one.media}.")
            try:
                rows.append([float(value) for value in json.loads(one.words())])
            except (ValueError, TypeError) as error:
                raise DataError(f"A candidate is no list of numbers: {one.words()[:60]!r}.") from error
        if len({len(row) for row in rows}) != 1:
            raise DataError("The vectors of the candidates are of different lengths.")
        return np.asarray(rows), None

    def read(self, items: Any, prompts: Any = None) -> Raw:
        """Of (n, R) numbers. Raises DataError, Mismatch."""
        try:
            rows = np.asarray(torch.as_tensor(items).detach().cpu(), np.float64)
        except (TypeError, ValueError, RuntimeError) as error:
            raise DataError(f"Vectors (n, R) of numbers are wanted: {error}") from error
        if rows.ndim != 2 or not np.isfinite(rows).all():
            raise DataError(f"Vectors (n, R) of finite numbers are wanted, {rows.shape} was given.")
        self.size = self.size or rows.shape[1]
        if rows.shape[1] != self.size:
            raise Mismatch(f"The reward knows vectors of {self.size} numbers; {rows.shape[1]} were given.")
        return Raw(rows, None)

    def state(self) -> dict[str, Any]:
        """How long a vector is."""
        return {"size": self.size}


def restored(name: str, state: Mapping[str, Any]) -> Features:
    """Features that need no model. Raises ArtifactError."""
    if name == "words":
        return Words()
    size = state.get("size")
    if name == "vectors" and type(size) is int and 1 <= size <= 10**6:
        return Vectors(size)
    raise ArtifactError(f"A reward model looks at {str(name)[:40]!r}, which this version of likely does not know.")


def texts_of(candidates: Sequence[Candidate], what: str) -> list[str]:
    """The texts of candidates. Raises Unsupported."""
    found = [text_of(one) for one in candidates]
    for one, text in zip(candidates, found, strict=True):
        if text is None:
            raise Unsupported(
                f"{what[0].upper()}{what[1:]} read text, not {one.media}: give Steps(generator) with the generator "
                "that made these items, or features of your own."
            )
    return [text or "" for text in found]


def text_of(one: Candidate) -> str | None:
    """A candidate's text, that of its messages where it is several of them; None where it is none."""
    if one.media.startswith("text/"):
        return one.words()
    if one.media == "application/json":
        try:
            found = json.loads(one.words())
        except (ValueError, RecursionError):
            return None
        if isinstance(found, list) and found and _messages(found):
            return written(found)
    return None


def _messages(found: list[Any]) -> bool:
    return all(isinstance(m, Mapping) and isinstance(m.get("content"), str) for m in found)


def spoken(items: Any, prompts: Any = None) -> tuple[list[str], list[str]]:
    """Answers and what they answer, from strings, (prompt, answer) pairs, records or lists of messages, and prompts
    (strings, messages or None). Raises DataError."""
    if isinstance(items, str):
        raise DataError("A list of texts is wanted, one text was given: write [text].")
    answers, asked = [], []
    listed = list(items)
    given = [None] * len(listed) if prompts is None else list(prompts)
    if isinstance(prompts, str) or len(given) != len(listed):
        raise DataError(f"{len(listed)} items need as many prompts; give a list of them.")
    for place, (item, prompt) in enumerate(zip(listed, given, strict=True)):
        before: Any = ""
        if isinstance(item, Mapping) and len(item) == 2:  # a prompt and an answer, as a codec gives them
            item = tuple(item.values())
        if isinstance(item, tuple) and len(item) == 2:
            before, item = item
        elif isinstance(item, list) and item and all(isinstance(m, Mapping) and "content" in m for m in item):
            before, item = item[:-1], item[-1]["content"]
        if not isinstance(item, str):
            raise DataError(f"Item {place + 1} is {type(item).__name__}, not text.")
        answers.append(item)
        asked.append(written(before if prompt is None else prompt))
    return answers, asked


def written(prompt: Any) -> str:
    """A prompt as one text: the contents of messages, JSON of anything else."""
    if prompt is None or isinstance(prompt, str):
        return prompt or ""
    if isinstance(prompt, list) and _messages(prompt):
        return "\n".join(m["content"] for m in prompt)
    return json.dumps(prompt, ensure_ascii=False, default=str)


_WORD = re.compile(r"\w+")
_END = re.compile(r"[.!?](?=\s|$)|[\u3002\uff01\uff1f]")


def shapes(texts: Sequence[str], prompts: Sequence[str]) -> Array:
    """(n, len(SHAPE)) numbers: see SHAPE; amounts as log(1 + x)."""
    return np.array([_shape(text, prompt) for text, prompt in zip(texts, prompts, strict=True)]).reshape(-1, len(SHAPE))


def _shape(text: str, prompt: str) -> list[float]:
    words, asked = _WORD.findall(text.lower()), _WORD.findall(prompt.lower())
    distinct, wanted, size = set(words), set(asked), max(1, len(text))
    triples = list(zip(words, words[1:], words[2:], strict=False))
    common, tail = len(distinct & wanted), text.rstrip()
    asked_triples = set(zip(asked, asked[1:], asked[2:], strict=False))
    return [
        math.log1p(len(text)),
        math.log1p(len(words)),
        math.log1p(len(_END.findall(text))),
        math.log1p(text.count("\n")),
        sum(map(len, words)) / max(1, len(words)),
        len(distinct) / max(1, len(words)),
        1 - len(set(triples)) / max(1, len(triples)) if triples else 0.0,
        sum(c.isdigit() for c in text) / size,
        sum(not c.isalnum() and not c.isspace() for c in text) / size,
        sum(ord(c) > 127 for c in text) / size,
        float(tail[-1:] in tuple(".!?)\"'`\u3002")) if tail else 0.0,
        float(text.lstrip()[:1].isupper()),
        common / max(1, len(distinct)),
        common / max(1, len(wanted)),
        abs(math.log1p(len(words)) - math.log1p(len(asked))) if prompt else 0.0,
        sum(triple in asked_triples for triple in triples) / max(1, len(triples)),
    ]
