"""Two texts and a label, as published tables of human judgements have them.

* PandaLM (Wang et al. 2023, arXiv:2306.05087): instruction, input, response1, response2, annotator1, annotator2, ...:
  1 or 2 = that response is better, 0 = alike. `cmp_key`, "modelA_modelB", names the models.
* LLMBar and MT-bench as LLMBar has it (Zeng et al. 2024, arXiv:2310.07641): input, output_1, output_2, label 1 or 2.

The first text is taken as the left one. Items are prompts: all pairs of one prompt stay together in a split.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from likely.align import fields
from likely.align.exchange.chosen import UNKNOWN, Gather
from likely.align.exchange.lines import Row
from likely.align.preference import Candidate, Judgements
from likely.errors import DataError

_ANNOTATOR = re.compile(r"annotator\d{1,3}")
_CHOICE = {1: "left", 2: "right", 0: "tie"}


def pandalm(given: Iterable[tuple[str, Row]]) -> Judgements:
    """Judgements of several annotators."""
    gather, extra = Gather(), dict[str, None]()
    for where, row in given:
        people = sorted(name for name in row if _ANNOTATOR.fullmatch(name))
        words = [_text(row, name, where) for name in ("instruction", "input", "response1", "response2")]
        prompt = f"{words[0]}\n\n{words[1]}" if words[1] else words[0]
        models = str(row.get("cmp_key") or "").split("_")
        named = models if len(models) == 2 and all(models) else ["", ""]
        left, right = (Candidate.text(text, model=model) for text, model in zip(words[2:], named, strict=True))
        for name in people:
            if row[name] is not None:
                gather.add(where, row, prompt, (left, right), annotator=name, choice=_choice(row[name], name, where))
        known = {"instruction", "input", "response1", "response2", "cmp_key", "idx", *people}
        extra |= dict.fromkeys(row.keys() - known)
    return gather.judgements(extra)


def llmbar(given: Iterable[tuple[str, Row]]) -> Judgements:
    """Judgements of one unnamed annotator (a majority, an author)."""
    gather = Gather()
    for where, row in given:
        prompt, one, two = (_text(row, name, where) for name in ("input", "output_1", "output_2"))
        pair = Candidate.text(one), Candidate.text(two)
        gather.add(where, row, prompt, pair, annotator=UNKNOWN, choice=_choice(row["label"], "label", where))
    return gather.judgements()


def _text(row: Row, name: str, where: str) -> str:
    value = row.get(name)
    if not isinstance(value, str):
        raise DataError(f"{where}: {name} is {fields.shown(value)}; it must be text.")
    return value


def _choice(value: Any, name: str, where: str) -> str:
    if type(value) is not int or value not in _CHOICE:
        raise DataError(
            f"{where}: {name} is {fields.shown(value)}; it must be 1 (the first is better), 2 or 0 (alike)."
        )
    return _CHOICE[value]
