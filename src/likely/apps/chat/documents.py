"""Answers from a folder of documents: find, weigh, answer or refuse, and always say where it stands.

question -> passages by BM25 -> sentences with signs -> gate -> no:  a refusal, and what comes nearest
                                                          yes: the model's wording if verified, else a quotation

documents = Documents.read("handbook")                 # no model: quotations only
documents = Documents.read("handbook", model=load("smollm2"))
print(documents.ask("How long can I keep a book?"))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from likely.apps.chat import gate
from likely.apps.chat.asked import asked
from likely.apps.chat.evidence import Evidence, candidates, wanted
from likely.apps.chat.followup import joined
from likely.apps.chat.index import Index
from likely.apps.chat.passages import passages
from likely.apps.chat.reading import Document, read
from likely.apps.chat.synonyms import Synonyms
from likely.apps.chat.voice import Voice
from likely.apps.chat.words import content, words
from likely.errors import DataError
from likely.language.checkpoint import Checkpoint
from likely.language.decode import Engine

LONGEST, LIFTED, NEAREST = 2000, 8, 2  # characters of a question; sentences shown to the model; named in a refusal


@dataclass(frozen=True)
class Citation:
    """Where a quotation stands: `document` relative to the folder, `line` (or page) on which `quote` begins."""

    document: str
    line: int
    quote: str
    headings: tuple[str, ...] = ()
    unit: str = "line"

    def __str__(self) -> str:
        return f"{self.document}:{self.line}" if self.unit == "line" else f"{self.document}, {self.unit} {self.line}"


@dataclass(frozen=True)
class Answer:
    """`text` answers, or says why not (`refused`). `citation`: the sentence it rests on; None of a refusal.

    `verified`: the text is a model's wording that passed the verification, not the quotation itself. `evidence`:
    sentences that were weighed, surest first. `question`: as it was understood, with what a follow-up left unsaid.
    """

    text: str
    citation: Citation | None
    refused: bool
    evidence: tuple[Evidence, ...]
    verified: bool
    question: str

    def __str__(self) -> str:
        if self.citation is None:
            return self.text
        quote = f" “{self.citation.quote}”" if self.verified else ""
        return f"{self.text}\n  [{self.citation}]{quote}"


class Documents:
    """Documents that were read, ready to be asked. `notes`: what was left out, and why."""

    def __init__(
        self, documents: Sequence[Document], *, model: Checkpoint | Engine | None = None,
        synonyms: Synonyms | None = None, engine: str = "auto", notes: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.names = [document.name for document in documents]
        self.passages = [passage for document in documents for passage in passages(document)]
        if not self.passages:
            raise DataError("There is no sentence in these documents, only headings.")
        self.index = Index(self.passages, engine)
        self.synonyms = synonyms or Synonyms()
        self.voice = Voice(model) if model is not None else None
        self.gate = gate.MODEL if self.voice else gate.WORDS
        self.notes = tuple(notes)

    @classmethod
    def read(
        cls, folder: str | Path, *, model: Checkpoint | Engine | None = None, note: Callable[[str], None] | None = None
    ) -> Documents:
        """The documents of a folder, or one file. `note` is told of every file that is left out, as it happens.

        Raises DataError where there is nothing to read.
        """
        notes: list[str] = []

        def keep(text: str) -> None:
            notes.append(text)
            if note is not None:
                note(text)

        return cls(read(folder, keep), model=model, notes=notes)

    def ask(self, question: str, *, before: str = "") -> Answer:
        """The answer to a question. `before`: the previous question, for one that leans on it ("And on Sundays?").

        Raises DataError where the question is empty or longer than 2,000 characters.
        """
        if not question.strip():
            raise DataError("There is nothing to answer: the question is empty.")
        if len(question) > LONGEST:
            raise DataError(f"The question has {len(question):,} characters; ask it in at most {LONGEST:,}.")
        whole = joined(" ".join(question.split()), before)
        if not content(whole):
            return Answer(
                f"Ask about something that stands in the documents{self._topics()}.", None, True, (), False, whole
            )
        found = self._weigh(whole)
        if not found or not self.gate.opens(found[0]):
            return Answer(self._refusal(whole, found), None, True, tuple(found), False, whole)
        top = _together(found, self.gate.least / 2)
        worded = self.voice.word(whole, top) if self.voice else ""
        passage = top.passage
        citation = Citation(passage.document, top.line, top.quote, passage.headings, passage.unit)
        return Answer(worded or top.quote, citation, False, tuple(found), bool(worded), whole)

    def _weigh(self, question: str) -> list[Evidence]:
        """Evidence, surest first. The model looks at what is surest by words."""
        found = gate.WORDS.weigh(candidates(self.index, self.synonyms, wanted(question, asked(question))))
        if self.voice is None:
            return found
        return self.gate.weigh(self.voice.lift(question, found[:LIFTED]))

    def _refusal(self, question: str, found: Sequence[Evidence]) -> str:
        """What is missing, and what comes nearest."""
        unknown = [word for word in _plain(question) if not self._known(word)]
        says = "The documents do not seem to answer that"
        if unknown:
            says += f"; nothing in them mentions {' or '.join(repr(word) for word in unknown[:3])}"
        near: list[Evidence] = []
        for evidence in found:
            if all(evidence.passage is not other.passage for other in near) and len(near) < NEAREST:
                near.append(evidence)
        if not near:
            return f"{says}. They are about other things{self._topics()}."
        listed = "\n".join(f"  [{_cited(evidence)}] “{evidence.quote}”" for evidence in near)
        return f"{says}. Nearest to it:\n{listed}"

    def _known(self, word: str) -> bool:
        return any(self.index.holding[stem] for found in content(word) for stem in (found, *self.synonyms.more(found)))

    def _topics(self) -> str:
        """Some of what the documents are about, by their headings."""
        topics = list(dict.fromkeys(passage.headings[-1] for passage in self.passages if passage.headings))
        return f": {', '.join(topics[:6])}{' and more' if len(topics) > 6 else ''}" if topics else ""


def _together(found: Sequence[Evidence], least: float) -> Evidence:
    """The surest evidence; with the second, where that has some ground and stands right before or after it: what a
    sentence leaves open ("not into the household rubbish"), its neighbour often tells ("shops take it back")."""
    top = found[0]
    if len(found) > 1 and found[1].passage is top.passage and found[1].sure >= least:
        lines = top.passage.sentences
        first, last = (lines.index(top.sentences[at]) for at in (0, -1))
        low, high = (lines.index(found[1].sentences[at]) for at in (0, -1))
        if low == last + 1 or high == first - 1:
            return replace(top, sentences=lines[min(first, low) : max(last, high) + 1])
    return top


def _cited(evidence: Evidence) -> Citation:
    passage = evidence.passage
    return Citation(passage.document, evidence.line, evidence.quote, passage.headings, passage.unit)


def _plain(question: str) -> list[str]:
    """The content words of a question as they were written."""
    return list(dict.fromkeys(question[word.start : word.end] for word in words(question) if word.content))
