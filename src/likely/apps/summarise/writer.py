"""What a language model writes about a text, in parts that fit its context: map, then reduce.

    map       the text in chunks of whole sentences, each summed up alone
    check     what the chunk does not bear out goes no further
    reduce    the summaries, joined, are a text again: until it is one chunk

A conversation where the model has a template, else a text to go on with. Always the likeliest token, with a light
penalty on repetition, so that the same model writes the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from likely.apps.summarise.check import Source
from likely.apps.summarise.sentence import Sentence, pack, split
from likely.errors import OptionError
from likely.language.checkpoint import Checkpoint
from likely.language.decode import Engine, Sampling

CHUNK = 1024  # tokens read at once, unless the context is smaller
LEAST = 32  # tokens of text that make sense to sum up
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_LABEL = re.compile(
    r"^\W*(?:here(?:'s| is| are)[^:]*|summary|headline|title|the (?:text|summary)[^:.]{0,30}):\s*", re.IGNORECASE
)
Listen = Callable[[str], None]


@dataclass
class Writer:
    """A model that writes; `chunk` tokens at a time, 0 = as many as is good for small models."""

    engine: Engine
    chunk: int = 0
    listen: Listen = field(default=lambda text: None)

    def __post_init__(self) -> None:
        context = self.engine.checkpoint.network.arch.context
        if self.chunk < 0 or self.chunk > context:
            raise OptionError(f"chunk={self.chunk}: the model reads 1 to {context} tokens at once; 0 = by itself.")

    @property
    def checkpoint(self) -> Checkpoint:
        """The model."""
        return self.engine.checkpoint

    def room(self, question: str, answer: int) -> int:
        """Tokens of text that fit beside a question and its answer. Raises OptionError where there are too few."""
        context = self.checkpoint.network.arch.context
        most = context - len(self.prompt("", question)) - answer - 8  # joined, two texts may be a token more
        if most < LEAST:
            raise OptionError(
                f"The context of {self.checkpoint.name!r} is {context} tokens: too short to read and to write in. "
                "Take another model, or --extract, which needs none."
            )
        return min(most, self.chunk or CHUNK)

    def chunks(self, sentences: Sequence[Sentence], room: int) -> list[list[Sentence]]:
        """Sentences in parts of at most `room` tokens, each sentence in one; an endless one is cut where it is full."""
        encode = self.checkpoint.tokenizer.encode
        sizes = [len(encode(sentence.text)) + 1 for sentence in sentences]
        return [[sentences[at] for at in part] for part in pack(sizes, room)]

    def prompt(self, text: str, question: str) -> list[int]:
        """Ids of the question about a text."""
        if self.checkpoint.template is not None:
            return self.checkpoint.chat([{"role": "user", "content": f"{question}\n\n{text}"}])
        return self.checkpoint.encode(f"{text}\n\n{question}\n\n")

    def ask(self, texts: Sequence[str], question: str, sampling: Sampling, n: int = 1) -> list[list[str]]:
        """n answers about each text, without the words that small models put before them."""
        room = self.room(question, sampling.tokens)
        prompts = [self.prompt(self._clipped(text, room), question) for text in texts]
        found = self.engine.generate(prompts, sampling, n=n)
        return [[_LABEL.sub("", answer.text.strip()).strip() for answer in answers] for answers in found]

    def summary(self, sentences: Sequence[Sentence], count: int) -> list[str]:
        """Sentences of a model about a text, unchecked against the whole of it; `count` of them, or fewer."""
        question, answer = _question(count), 40 * count + 20
        sampling = Sampling(temperature=0, tokens=answer, repetition=1.05)
        room = self.room(question, answer)
        parts = self.chunks(sentences, room)
        while len(parts) > 1:
            self.listen(f"Summing up {len(parts)} parts")
            texts = [" ".join(sentence.text for sentence in part) for part in parts]
            kept: list[Sentence] = []
            for part, text, answers in zip(parts, texts, self.ask(texts, question, sampling), strict=True):
                source = Source(text, part)
                good = [line for line in split(answers[0]) if not source.problems(line.text)]
                kept += good[:count] or part[:1]
            merged = self.chunks(kept, room)
            if len(merged) >= len(parts):  # summaries as long as what they sum up: go on with what stands first in each
                return [part[0].text for part in merged][:count]
            parts = merged
        text = " ".join(sentence.text for sentence in parts[0])
        self.listen("Writing")
        answer_text = self.ask([text], question, sampling)[0][0]
        return [sentence.text for sentence in split(answer_text)][:count]

    def _clipped(self, text: str, room: int) -> str:
        """A text whose one sentence is longer than all there is room for, cut."""
        ids = self.checkpoint.tokenizer.encode(text)
        return text if len(ids) <= room else self.checkpoint.tokenizer.decode(ids[:room])


def _question(count: int) -> str:
    number = NUMBERS[count] if count < len(NUMBERS) else str(count)
    sentences = f"{number} short sentences" if count > 1 else "one short sentence"
    return (
        f"Summarize the following text in {sentences}. Say what happens and who does it. Use only what the text says."
    )
