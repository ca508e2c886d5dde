"""The text codec: strings, files of text, pairs and conversations <-> `Tokens` (L).

Texts are read as characters, bytes or pairs of bytes (`vocabulary`); any text can be written, and what is decoded is
what was encoded. A text of L tokens or more is cut into rows that say so (`texts`). Turns of a conversation begin with
a token of their role, which no text can spell. What is drawn under `grammar` is always text (`utf8`). All that was
decided is said by `describe`.

Shape letters: n rows, L steps, V tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likely.codecs.state import entry, flag_of, list_of, whole_of
from likely.codecs.text import intake
from likely.codecs.text.features import features_of
from likely.codecs.text.intake import Document, Form, Turn, Wanted
from likely.codecs.text.texts import BOS, EOS, FIRST, MORE, PAD, Ids, Texts, cut
from likely.codecs.text.turns import given, turns_of
from likely.codecs.text.utf8 import Grammar, broken, trim
from likely.codecs.text.vocabulary import KINDS, Vocabulary
from likely.core import Batch, Known, Rendering, Tokens
from likely.errors import ConditionError, DataError, Mismatch, NotFitted, OptionError, UnknownName

STEPS = 512  # of a row, where nobody says how many
LONGEST = 100_000  # steps of a row, at most
MUCH = 1_000_000  # characters from which pairs of bytes pay
A_PAIR = 250  # characters behind each token of pairs
PAIRS = 8192  # tokens of pairs, at most, where nobody says how many
UNITS = 5  # times `least`: fewer texts than that are counted by lines
SHOWN = 50  # texts of a rendering
PROMPT = "prompt"  # the one thing that can be asked for


class Text:
    """Texts of one kind.

    `tokens`: "characters", "bytes" or "bpe", None = bpe where there is much text. `vocabulary`: how many tokens of bpe.
    `length`: steps of a row, None = the longest text, at most 512. `field`: of records. `split`: a text file into
    "paragraphs", "lines" or one "document". `least`: texts behind every token of several bytes. `encoding`: of files.
    """

    name: ClassVar[str] = "text"
    spaces: ClassVar[tuple[type, ...]] = (Tokens,)

    def __init__(
        self,
        *,
        tokens: str | None = None,
        vocabulary: int | None = None,
        length: int | None = None,
        field: str | None = None,
        split: str = "auto",
        least: int = 10,
        encoding: str = "utf-8",
    ) -> None:
        if tokens is not None and tokens not in KINDS:
            raise UnknownName("kind of tokens", tokens, KINDS)
        if split not in intake.SPLITS:
            raise UnknownName("way to split a text", split, intake.SPLITS)
        for word, value, low in (("vocabulary", vocabulary, 256), ("length", length, 4), ("least", least, 1)):
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, int) or not low <= value <= LONGEST
            ):
                raise OptionError(f"{word}={value!r}: a whole number from {low} to {LONGEST:,} is wanted.")
        self.wanted = Wanted(field, split, encoding)
        self.asked, self.size, self.least = tokens, vocabulary, least
        self.length = length or 0
        self._named = length is not None
        self.words: Vocabulary | None = None
        self.form = Form()
        self.cells: list[str] = []
        self.empty, self.n = False, 0
        self.said: list[str] = []
        self._fit = False
        self._grammar: Grammar | None = None

    # ---------------------------------------------------------------------------------------------- any texts

    def read(self, items: Any) -> Texts:
        """Any texts -> rows of tokens. The first ones decide vocabulary and length."""
        if isinstance(items, Texts):
            return items
        if self._fit:
            return self._rows(intake.later(items, self.wanted, self.form).documents)
        taken = intake.take(items, self.wanted)
        self.form, self.said, self._grammar = taken.form, list(taken.said), None
        texts = [text for document in taken.documents for _, text in document]
        characters = sum(map(len, texts))
        if not characters:
            raise DataError(f"All {len(texts):,} texts are empty: there is nothing to learn.")
        self.words = self._vocabulary(texts, characters)
        self.empty = any(not any(text for _, text in document) for document in taken.documents)
        lengths = [len(ids) for ids in self._encode(taken.documents)]
        if not self._named:
            self.length = max(4, min(STEPS, max(lengths) + 1))
        long = sum(length >= self.length for length in lengths)
        rows = self._rows(taken.documents)
        self.said.insert(0, f"{len(taken.documents):,} texts, {characters:,} characters, {sum(lengths):,} tokens")
        if long:
            self.said.append(
                f"{long:,} texts of more than {self.length - 1:,} tokens were cut: {len(rows):,} rows in all"
            )
        if self.empty:
            self.said.append("some texts are empty, and some made ones will be")
        return rows

    def _vocabulary(self, texts: list[str], characters: int) -> Vocabulary:
        """The vocabulary that so much text asks for."""
        kind, least, units = self.asked, self.least, texts
        unit = "texts"
        if len(texts) < UNITS * least:
            unit, units = "lines", [line for text in texts for line in text.splitlines(keepends=True)]
        if kind is None:
            kind = "bpe" if characters >= MUCH or self.size else "characters"
            if kind == "bpe" and find_spec("tokenizers") is None:
                kind = "characters"
                self.said.append("characters, since tokenizers is not installed: pip install 'likely[text]' for pairs")
        if kind == "bytes":
            self.said.append("tokens: the 256 bytes")
            return Vocabulary.of_bytes()
        if kind == "characters":
            made = Vocabulary.of_characters(units, least)
            self.said.append(f"tokens: {made.own} characters; others (in fewer than {least} {unit}) are spelt in bytes")
            return made
        size = self.size or max(512, min(PAIRS, characters // A_PAIR))
        made = Vocabulary.of_pairs(units, least, size)
        self.said.append(
            f"tokens: {len(made):,} strings of bytes; {unit} that hold one of several bytes: {least} or more"
        )
        return made

    def _encode(self, documents: Sequence[Document]) -> list[Ids]:
        """Each document as tokens, its turns behind their roles."""
        words, shift = self._words(), FIRST + len(self.form.roles)
        flat = words.encode([text for document in documents for _, text in document])
        made, at = [], 0
        for document in documents:
            parts: list[Ids] = []
            for (role, _), ids in zip(document, flat[at : at + len(document)], strict=True):
                if role:
                    parts.append(np.array([FIRST + self.form.roles.index(role)], np.int32))
                parts.append(ids + shift)
            at += len(document)
            made.append(np.concatenate(parts).astype(np.int32) if parts else np.zeros(0, np.int32))
        return made

    def _rows(self, documents: Sequence[Document]) -> Texts:
        """Documents as rows, cut where they are too long."""
        rows, number = [], []
        for place, ids in enumerate(self._encode(documents)):
            parts = cut(ids, self.length)
            rows += parts
            number += [place] * len(parts)
        return Texts.of(rows, number)

    # ------------------------------------------------------------------------------------------------ learn

    def fit(self, items: Any) -> Self:
        """Settle on what was read. Raises DataError where texts are too few, or all the same."""
        if not isinstance(items, Texts):
            self._fit = False
            items = self.read(items)
        self._words()
        if len(items) < 2:
            raise DataError(
                f"There is one text of {int(items.lengths.sum()):,} tokens: nothing varies that could be learned. Give "
                "more texts, or a file in parts: split='lines'."
            )
        first = items.row(0)
        if all(np.array_equal(first, row) for row in items):
            raise DataError(f"All {len(items):,} texts are the same: there is nothing to learn.")
        self.n, self._fit = len(items), True
        return self

    def _words(self) -> Vocabulary:
        if self.words is None:
            raise NotFitted("This text codec has not seen any text yet: call fit(texts) first.")
        return self.words

    @property
    def space(self) -> Tokens:
        """V tokens: four that stand for no text, the roles, and the vocabulary; rows of L steps."""
        return Tokens(FIRST + len(self.form.roles) + len(self._words()), self.length, PAD, BOS, EOS)

    @property
    def grammar(self) -> Grammar:
        """Whole characters, and turns that begin with a role."""
        if self._grammar is None:
            self._grammar = Grammar(self._words().pieces, len(self.form.roles), self.empty)
        return self._grammar

    def describe(self) -> list[str]:
        """What was understood, line by line; print it."""
        self._words()
        return [*self.said, f"rows of up to {self.length:,} tokens"]

    def promises(self) -> list[str]:
        """No constraints: nothing to keep."""
        return []

    def rejects(self, items: Texts) -> NDArray[np.bool_]:
        """(n,) false: the grammar holds all there is to hold."""
        return np.zeros(len(items), bool)

    # -------------------------------------------------------------------------------------- encode, decode

    def encode(self, items: Texts) -> Batch:
        """Rows -> (n, L) int64, padded."""
        V = self.space.vocab
        if len(items) and (int(items.lengths.max()) > self.length or int(items.ids.max()) >= V):
            raise Mismatch("These texts were read by another codec: give the texts themselves.")
        x = np.full((len(items), self.length), PAD, np.int64)
        inside = np.arange(self.length) < items.lengths[:, None]
        x[inside] = items.ids
        return Batch(torch.from_numpy(x))

    def make(self, x: Tensor, *, rng: torch.Generator, within: Any = None, start: int = 0) -> Texts:
        """Tokens (n, L) -> rows, each a text of its own. They begin as they were asked to: tokens hold the prompt."""
        codes = x.detach().cpu().numpy()
        if codes.ndim != 2 or codes.shape[1] != self.length or (codes.size and int(codes.max()) >= self.space.vocab):
            raise Mismatch(
                f"Tokens (B, {self.length}) below {self.space.vocab} were wanted, {tuple(x.shape)} were given."
            )
        ends = codes == EOS
        lengths = np.where(ends.any(1), ends.argmax(1) + 1, self.length)
        inside = np.arange(self.length) < lengths[:, None]
        starts = np.concatenate([[0], lengths.cumsum()]).astype(np.int64)
        return Texts(codes[inside].astype(np.int32), starts, np.arange(len(codes)) + start)

    def texts(self, items: Texts) -> list[list[Turn]]:
        """Each text, its rows put together, as turns (role, text); the role is "" where there are none."""
        return turns_of(items.whole(), self._words(), self.form.roles)

    def give(self, items: Texts) -> Any:
        """Texts in the form that was learned from."""
        return given(self.texts(items), self.form)

    def settle(self, items: Texts) -> Texts:
        """Real rows are already in the form of made ones."""
        return items

    def join(self, parts: Sequence[Texts]) -> Texts:
        """One collection of several."""
        return Texts.join(parts)

    def replace(self, items: Texts, mask: NDArray[np.bool_], others: Texts) -> Texts:
        """The rows of `others` in the places where the mask (n,) is true."""
        other = iter(others)
        rows = [next(other) if swap else row for row, swap in zip(items, mask.tolist(), strict=True)]
        return Texts.of(rows, items.number)

    def apart(self, items: Texts, share: float, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row numbers to learn from and to set aside; the rows of one text stay together."""
        numbers = np.unique(items.number)
        aside = numbers[np.random.default_rng(seed).permutation(len(numbers))[: int(share * len(numbers))]]
        out = np.isin(items.number, aside)
        return np.flatnonzero(~out), np.flatnonzero(out)

    def sums(self, items: Texts, values: NDArray[Any]) -> NDArray[Any]:
        """Values (n,) of rows, summed over the rows of each text."""
        return np.add.reduceat(values, items.firsts)

    def spell(self, items: Texts) -> list[list[str]]:
        """What stands at each step of each row, in words."""
        shift, roles = FIRST + len(self.form.roles), self.form.roles
        special = ["<pad>", "<begin>", "<end>", "<more>", *(f"<{role}>" for role in roles)]
        names = special + [piece.decode("utf-8", "backslashreplace") for piece in self._words().pieces]
        assert len(special) == shift
        return [[names[i] for i in row.tolist()] for row in items]

    # ------------------------------------------------------------------------------------------------ known

    def partial(self, items: Texts) -> Known:
        """Texts to go on with, prompts -> Known (n, L). Raises ConditionError for one that leaves no room."""
        lengths = items.lengths - np.array([len(row) > 0 and row[-1] == EOS for row in items], np.int64)
        x = self.encode(items).x
        answer = self._answer()
        for k, row in enumerate(items):
            if len(row) and row[0] == MORE:
                tokens = int((items[items.number == items.number[k]].ids >= FIRST).sum())
                raise ConditionError(
                    f"A prompt has {tokens:,} tokens; the model sees {self.length:,} in all, and wants room to go on: "
                    f"shorten the prompt by {tokens - self.length + 1:,} tokens or more."
                )
            said = row[(row >= FIRST) & (row < FIRST + len(self.form.roles))]
            if answer is not None and lengths[k] < self.length - 1 and (not len(said) or said[-1] != answer):
                x[k, lengths[k]] = answer
                lengths[k] += 1
        mask = torch.arange(self.length) < torch.from_numpy(lengths)[:, None]
        return Known(torch.where(mask, x, PAD), mask)

    def _answer(self) -> int | None:
        """The token of the role that answers: the last one."""
        return FIRST + len(self.form.roles) - 1 if self.form.roles else None

    def condition(self, given: Mapping[str, Any]) -> Known:
        """How texts shall begin: {"prompt": "Once upon"}. Raises ConditionError for anything else."""
        if set(given) != {PROMPT}:
            raise ConditionError(
                f"Texts cannot be asked for by {', '.join(map(repr, list(given)[:3]))}: say how they begin, "
                "given={'prompt': 'Once upon'}, or learn with conditions, fit(texts, given=labels)."
            )
        return self.partial(self.read([given[PROMPT]]))

    # -------------------------------------------------------------------------------------------- judgement

    def volume(self, items: Texts) -> Tensor:
        """(n, 1) zeros: tokens leave nothing open."""
        return torch.zeros((len(items), 1), dtype=torch.float64)

    def check(self, items: Texts) -> list[list[str]]:
        """For each row the reasons why it is no text of this kind; [] = it may be one."""
        shift, roles = FIRST + len(self.form.roles), len(self.form.roles)
        found = []
        for row in items:
            reasons = []
            inner = row[row != EOS]
            go_on = len(inner) > 0 and inner[0] == MORE
            if not len(inner) and not self.empty:
                reasons.append("it is empty")
            if (inner[1:] < FIRST).any() or (len(inner) and not go_on and inner[0] < FIRST):
                reasons.append("it holds a token that stands for no text")
            if roles and len(inner) and not go_on and not FIRST <= inner[0] < shift:
                reasons.append("it begins without a role")
            if not go_on and broken(trim(self._words().decode((inner[inner >= shift] - shift).tolist()))):
                reasons.append("it holds bytes that are no text")
            found.append(reasons)
        return found

    def features(self, items: Texts) -> NDArray[np.float32]:
        """(n, F): short strings of bytes, and the length."""
        shift = FIRST + len(self.form.roles)
        return features_of([self._words().decode((row[row >= shift] - shift).tolist()) for row in items])

    def render(self, items: Texts) -> Rendering:
        """The first texts, an empty line between two."""
        shown = []
        for turns in self.texts(items[:SHOWN]):
            shown.append("\n".join(f"{role}: {text}" if role else text for role, text in turns))
        return Rendering("text/plain; charset=utf-8", ("\n\n".join(shown) + "\n").encode())

    # ------------------------------------------------------------------------------------------------- keep

    def state(self) -> dict[str, Any]:
        """Plain JSON: the vocabulary, and no text."""
        return {
            "version": 1, "form": self.form.state(), "vocabulary": self._words().state(), "length": self.length,
            "least": self.least, "empty": self.empty, "n": self.n, "said": self.said,
        }  # fmt: skip

    def load(self, state: dict[str, Any]) -> Self:
        """The inverse of `state`, from a file that may come from anybody. Raises ArtifactError."""
        whole_of(state, "version", low=1, high=1)
        self.form = Form.load(state)
        self.words = Vocabulary.load(entry(state, "vocabulary"))
        self.length, self.least = whole_of(state, "length", 4, LONGEST), whole_of(state, "least", 1, LONGEST)
        self.empty, self.n = flag_of(state, "empty"), whole_of(state, "n")
        self.said = list_of(state, "said", str, most=100)
        self._fit, self._grammar = True, None
        return self
