"""What a language model does for answers from documents: it weighs evidence, and it may word what was found.

As a judge of its own knowledge a small model is worth little: told to refuse what a passage does not answer, the
packaged
one never refuses. As a scorer it is worth much: by how much a sentence makes the question likelier is a fact about both
that no wording can talk it out of. So it is asked for numbers first, and for words last, under verification.

What stands in a document is data: it enters the prompt as the text of a message, in which control tokens are not
parsed;
there are no tools it could call; and whatever it makes the model say has to pass the verification.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from likely.apps.chat.evidence import Evidence
from likely.apps.chat.verify import reasons
from likely.apps.chat.words import words
from likely.language.checkpoint import Checkpoint
from likely.language.decode import Engine, Sampling

ASK = "Write a question that this text answers.\n\n{text}"
TELL = "{text}\n\nAnswer this question in one short sentence, in the words of the text: {question}"
NOTHING = "..."
LONGEST, TOKENS = 1200, 60  # characters of a sentence or passage that are shown; tokens of an answer


class Voice:
    """`model`: a checkpoint, or an engine that runs one."""

    def __init__(self, model: Checkpoint | Engine) -> None:
        self.engine = model if isinstance(model, Engine) else Engine(model)

    def lift(self, question: str, found: Sequence[Evidence]) -> list[Evidence]:
        """The same evidence with what the model says of each: `lift` and `left`, see `evidence`."""
        if not found:
            return []
        question = question[:1].upper() + question[1:]
        asked = self.engine.checkpoint.tokenizer.encode(question)
        prompts = [self._message(ASK.format(text=text)) for text in (NOTHING, *map(_shown, found))]
        scores = [row[-len(asked) :] for row in self.engine.score([[*prompt, *asked] for prompt in prompts])]
        inside = self._content(question, asked)
        return [
            evidence.told(float((row - scores[0]).mean()), float(-row[inside].sum()) / max(_count(question), 1))
            for evidence, row in zip(found, scores[1:], strict=True)
        ]

    def _content(self, question: str, ids: Sequence[int]) -> Tensor:
        """(T,) true = a token of a content word."""
        ends = torch.tensor([len(self.engine.checkpoint.tokenizer.bytes(id)) for id in ids]).cumsum(0).tolist()
        starts = [0, *ends[:-1]]
        spans = [
            (len(question[: word.start].encode()), len(question[: word.end].encode()))
            for word in words(question)
            if word.content
        ]
        return torch.tensor(
            [
                any(start < last and first < end for first, last in spans)
                for start, end in zip(starts, ends, strict=True)
            ]
        )

    def word(self, question: str, evidence: Evidence) -> str:
        """The answer in the model's own words; "" where no draft says what the sentence says and nothing else."""
        passage, title = evidence.passage.text, evidence.passage.title
        prompt = self._message(TELL.format(text=_shown(evidence), question=question))
        for sampling in (Sampling(temperature=0, tokens=TOKENS), Sampling(temperature=0.5, tokens=TOKENS, seed=1)):
            for draft in self.engine.generate([prompt], sampling)[0]:
                text = " ".join(draft.text.split())
                if not reasons(text, evidence.quote, passage, title, finished=draft.reason == "end"):
                    return text
        return ""

    def _message(self, text: str) -> list[int]:
        checkpoint = self.engine.checkpoint
        if checkpoint.template is None:
            return checkpoint.encode(text + "\n\n")
        return checkpoint.chat([{"role": "user", "content": text}])


def _shown(evidence: Evidence) -> str:
    title = evidence.passage.title[:200]
    return (f"{title}: " if title else "") + evidence.quote[:LONGEST]


def _count(question: str) -> int:
    """Content words of a question."""
    return sum(word.content for word in words(question))
