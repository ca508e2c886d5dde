"""A file of questions with what is expected -> how well documents are answered from.

One JSON object a line. `answer`: pieces of text that the answer and its quotation must hold ("a | b": one of them
suffices), or null: not to be answered. `document`: where it stands; `before`: the previous question, for a follow-up.

    {"question": "How long can I keep a film?", "document": "lending.md", "answer": ["one week | 7 days"]}
    {"question": "Do you lend guitars?", "answer": null}

    right      answered, with the pieces in the text, and cited from the right document with the pieces in the quotation
    wrong      answered, but not right                      over-refused   refused, though there is an answer
    refused    rightly, of those without an answer          answered       of those without an answer: wrongly
    hit@k      the passage with the answer is among the first k that the words of the question find
    foreign    answers with a number that the cited passage does not hold
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from likely.apps.chat.documents import Answer, Documents
from likely.apps.chat.verify import foreign_numbers
from likely.apps.chat.words import content
from likely.errors import DataError

MOST, LONGEST = 10_000, 16 << 20
KEYS = frozenset(("question", "answer", "document", "before"))
OUTCOMES = ("right", "wrong", "over-refused", "refused", "answered")


@dataclass(frozen=True)
class Case:
    """A question with what is expected. `answer` None: a refusal."""

    question: str
    answer: tuple[str, ...] | None
    document: str = ""
    before: str = ""

    def holds(self, text: str) -> bool:
        """Whether a text holds all pieces of the answer."""
        text = _plain(text)
        return all(any(_plain(way) in text for way in piece.split(" | ")) for piece in self.answer or ())


@dataclass(frozen=True)
class Marked:
    """A case, what was answered, which of OUTCOMES that is, the rank of the passage (0 = not found), and numbers that
    the cited passage does not hold."""

    case: Case
    answer: Answer
    outcome: str
    rank: int
    foreign: tuple[str, ...]


def cases(path: str | Path) -> list[Case]:
    """The cases of a file. Raises DataError that names the line."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"No file {str(path)[:200]!r}: a test is a file with one JSON object a line.")
    if path.stat().st_size > LONGEST:
        raise DataError(f"{str(path)!r} has {path.stat().st_size >> 20} MB; up to {LONGEST >> 20} MB are read.")
    found = []
    for number, row in enumerate(path.read_text(encoding="utf-8", errors="replace").split("\n"), 1):
        if row.strip():
            found.append(_case(row, f"{path.name}, line {number}"))
    if not found:
        raise DataError(f"There is no question in {str(path)!r}.")
    if len(found) > MOST:
        raise DataError(f"{str(path)!r} has {len(found):,} questions; at most {MOST:,}.")
    return found


def _case(row: str, where: str) -> Case:
    wanted = '{"question": "...", "document": "file.md", "answer": ["piece"]} or "answer": null'
    try:
        made = json.loads(row)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: no JSON. Wanted: {wanted}") from error
    if not isinstance(made, dict) or not isinstance(made.get("question"), str) or not made["question"].strip():
        raise DataError(f"{where}: no question. Wanted: {wanted}")
    if unknown := sorted(set(made) - KEYS):
        raise DataError(f"{where}: {unknown[0][:40]!r} is not known. Wanted: {wanted}")
    if "answer" not in made:
        raise DataError(f"{where}: no answer; null stands for: not to be answered. Wanted: {wanted}")
    pieces = [made["answer"]] if isinstance(made["answer"], str) else made["answer"]
    if pieces is not None and not (
        isinstance(pieces, list) and pieces and all(isinstance(p, str) and p.strip() for p in pieces)
    ):
        raise DataError(f"{where}: the answer is {str(pieces)[:40]!r}. Wanted: {wanted}")
    rest = {key: made.get(key, "") for key in ("document", "before")}
    if not all(isinstance(value, str) for value in rest.values()):
        raise DataError(f"{where}: document and before are texts. Wanted: {wanted}")
    return Case(made["question"], None if pieces is None else tuple(pieces), **rest)


def examine(
    documents: Documents, questions: Sequence[Case], seen: Callable[[Marked], None] = lambda marked: None
) -> list[Marked]:
    """Ask all of them. `seen` gets each as it is done. Raises DataError where a case names a document that is not
    there."""
    for case in questions:
        if case.document and case.document not in documents.names:
            raise DataError(f"The question {case.question[:60]!r} names {case.document[:80]!r}, which was not read.")
    found = []
    for case in questions:
        marked = mark(documents, case, documents.ask(case.question, before=case.before))
        seen(marked)
        found.append(marked)
    return found


def mark(documents: Documents, case: Case, answer: Answer) -> Marked:
    """What an answer is worth."""
    cited, passage = answer.citation, ""
    if cited is not None:
        passage = " ".join((*cited.headings, cited.quote, answer.evidence[0].passage.text))
    foreign = tuple(foreign_numbers(answer.text, passage)) if cited is not None else ()
    if case.answer is None:
        outcome = "refused" if answer.refused else "answered"
    elif cited is None:
        outcome = "over-refused"
    else:
        placed = not case.document or cited.document == case.document
        outcome = "right" if placed and case.holds(answer.text) and case.holds(cited.quote) else "wrong"
    return Marked(case, answer, outcome, _rank(documents, case), foreign)


def _rank(documents: Documents, case: Case) -> int:
    """Rank of the first passage that holds the answer, among those that the words of the question find; 0 = none."""
    if case.answer is None:
        return 0
    for rank, (number, _) in enumerate(documents.index.search(content(case.question), 50), 1):
        passage = documents.passages[number]
        if (not case.document or passage.document == case.document) and case.holds(passage.text):
            return rank
    return 0


def summary(found: Sequence[Marked]) -> dict[str, float]:
    """Counts of the outcomes, of answers with foreign numbers and of wordings by the model; hit@1, 3, 5 as shares."""
    counts: dict[str, float] = {outcome: sum(m.outcome == outcome for m in found) for outcome in OUTCOMES}
    asked = [marked for marked in found if marked.case.answer is not None]
    hits = {f"hit@{k}": sum(0 < m.rank <= k for m in asked) / max(len(asked), 1) for k in (1, 3, 5)}
    return {
        "answerable": len(asked), "unanswerable": len(found) - len(asked), **counts, **hits,
        "foreign": sum(bool(marked.foreign) for marked in found), "worded": sum(m.answer.verified for m in found),
    }  # fmt: skip


def _plain(text: str) -> str:
    return " ".join(text.lower().split())
