"""Which form a file has, and what of the judgements a form can say."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from likely.align.exchange import chosen, labelled, own
from likely.align.exchange.lines import Row, read_rows, write_rows
from likely.align.preference import Candidate, Judgements, Pair
from likely.errors import DataError, OptionError

# form -> (columns a row must have, what it is)
FORMS: dict[str, tuple[frozenset[str], str]] = {
    "own": (frozenset({"likely"}), "likely's own lines"),
    "own table": (frozenset({"kind", "line"}), "the same as Parquet"),
    "trl": (frozenset({"chosen", "rejected"}), "TRL's preferences (with or without prompt, texts or messages) and HH"),
    "pandalm": (frozenset({"instruction", "input", "response1", "response2", "annotator1"}), "PandaLM"),
    "llmbar": (frozenset({"input", "output_1", "output_2", "label"}), "LLMBar"),
}
_PARSE: dict[str, Callable[[Iterable[tuple[str, Row]]], Judgements]] = {
    "own": own.parse,
    "own table": own.parse,
    "trl": chosen.parse,
    "pandalm": labelled.pandalm,
    "llmbar": labelled.llmbar,
}
WRITES = ("own", "trl", "conversational", "implicit", "hh")


@dataclass(frozen=True)
class Written:
    """What `write` did. `rows` in the file; `left_out`: what the form cannot say -> how many of them."""

    path: Path
    form: str
    rows: int
    left_out: dict[str, int]

    def __str__(self) -> str:
        said = "".join(f"\n  not in it: {what} ({n})" for what, n in self.left_out.items())
        return f"{self.rows} rows in {self.path}{said}"


def read(path: str | Path) -> Judgements:
    """The judgements of a file. Raises DataError where it is of no known form or a row of it is broken."""
    path = Path(path)
    rows = read_rows(path)
    first = next(rows, None)
    if first is None:
        raise DataError(f"{str(path)!r} is empty: it holds no judgements.")
    columns = first[1].keys()
    for form, (needed, _) in FORMS.items():
        if needed <= columns:
            try:
                return _PARSE[form](chain([first], rows))
            except DataError as error:
                # Some errors name the file already.
                text = str(error)
                raise DataError(text if str(path) in text else f"{path}, {text}") from error
    known = "; ".join(f"{what}: {', '.join(sorted(needed))}" for needed, what in FORMS.values())
    raise DataError(f"{str(path)!r} has the columns {', '.join(map(str, columns))[:200]}, which are no known form of "
                    f"judgements. Forms and the columns they need: {known}.")  # fmt: skip


def write(judgements: Judgements, path: str | Path, form: str = "own") -> Written:
    """Write judgements. All forms but "own" hold only pairs that were decided: see `Written.left_out`.

    Raises OptionError for an unknown form, DataError where no row would be left, StorageError where the disk refuses.
    """
    path = Path(path)
    if form not in WRITES:
        raise OptionError(f"There is no form {form!r} to write; there are {', '.join(WRITES)}.")
    if form == "own":
        table = path.name.lower().endswith(".parquet")
        lines = own.table(judgements) if table else own.rows(judgements)
        write_rows(path, lines)
        return Written(path, form, len(lines), {})
    left_out: Counter[str] = Counter()
    rows = []
    for pair in judgements.pairs():
        try:
            rows.append(_row(pair, form))
            if form == "implicit":
                left_out.update(_moved(pair.prompt, rows[-1]))
        except DataError as error:
            left_out[str(error)] += 1
    counts = judgements.counts()
    left_out += Counter(_unsaid(judgements, counts))
    if not rows:
        reasons = "; ".join(f"{what} ({n})" for what, n in left_out.items()) or "there are no judgements"
        raise DataError(f"Nothing can be written as {form}: {reasons}.")
    write_rows(path, rows)
    return Written(path, form, len(rows), dict(left_out))


def _unsaid(judgements: Judgements, counts: dict[str, int]) -> dict[str, int]:
    """What chosen and rejected cannot say, beside ties."""
    active = judgements.active()
    of = [item.by_id[name] for item in judgements.items for name in item.by_id]
    return {
        "judgements of both bad": counts["bad"],
        "judgements skipped": counts["skip"],
        "judgements taken back": counts["undone"],
        "rankings, written as their pairs": sum(one.choice == "ranking" for one in active),
        "strengths": sum(one.strength > 0 for one in active),
        "criteria": sum(len(one.criteria) for one in active),
        "reasons": sum(bool(one.reason) for one in active),
        "annotators' names": len({one.annotator for one in active} - {chosen.UNKNOWN}),
        "candidates' models, seeds and parameters": sum(
            bool(c.model or c.seed is not None or c.parameters) for c in of
        ),
    }


def _moved(prompt: str | None, row: Row) -> list[str]:
    """What an implicit row, whose words are all there, no longer says of its prompt."""
    found = chosen.sides(row).prompt
    if not isinstance(found, str):
        return ["prompts that are text, since they are read as turns of a dialogue (trl keeps them)"]
    if not found.startswith(prompt or ""):
        return ["where a prompt ends, since it does not end in white space (trl keeps it)"]
    return []


def _row(pair: Pair, form: str) -> Row:
    """One row. Raises DataError with what it is that cannot be said."""
    if pair.outcome == "tie":
        raise DataError("ties")
    good, bad = (pair.left, pair.right) if pair.outcome == "left" else (pair.right, pair.left)
    for side in (good, bad):
        if side.media not in ("text/plain", "application/json"):
            raise DataError(f"pairs of {side.media}")
    prompt = pair.prompt
    if form in ("trl", "implicit"):
        if not isinstance(prompt, str | None):
            raise DataError("pairs whose prompt is no text (write them as conversational)")
        if good.media != "text/plain" or bad.media != "text/plain":
            raise DataError("pairs of messages (write them as conversational)")
        if form == "trl":
            return {"prompt": prompt or "", "chosen": good.words(), "rejected": bad.words()}
        return {"chosen": (prompt or "") + good.words(), "rejected": (prompt or "") + bad.words()}
    before = _messages(prompt)
    if form == "conversational":
        return {"prompt": before, "chosen": _answer(good), "rejected": _answer(bad)}
    return {name: chosen.dialogue(before + _answer(side)) for name, side in (("chosen", good), ("rejected", bad))}


def _messages(prompt: Any) -> chosen.Messages:
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    if isinstance(prompt, list) and all(isinstance(one, dict) and "role" in one for one in prompt):
        return prompt
    raise DataError("pairs whose prompt is neither text nor messages")


def _answer(side: Candidate) -> chosen.Messages:
    if side.media == "text/plain":
        return [{"role": "assistant", "content": side.words()}]
    made = json.loads(side.words())
    if not isinstance(made, list) or not all(isinstance(one, dict) and "role" in one for one in made):
        raise DataError("pairs of JSON that are no messages")
    return made
