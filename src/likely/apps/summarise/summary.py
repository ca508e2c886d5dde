"""Summaries and headlines that can be checked: `summarise` and `headline`.

A sentence is either *quoted* from the text (extractive: `rank`) or *written* by a model (`writer`) and then checked
against the text (`check`). What the text does not bear out is replaced by the sentence of the text that says most
nearly the same, or dropped, or kept and flagged, as the caller wishes. Beside what is written there is always the
extractive summary of the same length: the floor, and for a small model often the better one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from likely.apps.summarise.check import Problem, Source
from likely.apps.summarise.rank import STOP, Ranking, nearest, terms
from likely.apps.summarise.sentence import Sentence, split, words
from likely.apps.summarise.writer import Listen, Writer
from likely.errors import DataError, OptionError
from likely.language.checkpoint import Checkpoint, opened
from likely.language.decode import Engine, Sampling

MOST = 50  # sentences of a summary
WISHES = ("replace", "drop", "flag")
CLAUSES = ("who", "which", "where", "while", "because", "after", "but")
TRIES = 6  # headlines written, to choose from
HEADLINE = "Write a headline of at most {words} words for the following text. Answer with the headline only."
Model = Engine | Checkpoint | str | Path


@dataclass(frozen=True)
class Flag:
    """A written sentence that the source does not bear out, why, and what was done: "replaced", "dropped", "kept"."""

    sentence: str
    problems: tuple[Problem, ...]
    done: str

    def __str__(self) -> str:
        return f"{self.done}: {self.sentence} ({'; '.join(map(str, self.problems))})"


@dataclass(frozen=True)
class Summary:
    """`sentences`, joined to `text`; of each, the sentences of the source it rests on (`sources`) and whether it is
    `written` or quoted. `flagged`: written sentences that failed the check. `extract`: the floor, quoted sentences
    only. `notes`: what there is to say about how it came to be."""

    sentences: tuple[str, ...]
    sources: tuple[tuple[Sentence, ...], ...]
    written: tuple[bool, ...]
    flagged: tuple[Flag, ...]
    extract: str
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The summary."""
        return " ".join(self.sentences)

    def __str__(self) -> str:
        return self.text


def summarise(
    text: str,
    *,
    sentences: int = 3,
    model: Model | None = "smollm2",
    doubtful: str = "replace",
    chunk: int = 0,
    listen: Listen | None = None,
) -> Summary:
    """A summary of `text` in at most `sentences` sentences.

    `model` None: extractive, nothing is written. `doubtful`: what becomes of a written sentence that the text does
    not bear out, one of WISHES. `chunk`: tokens read at once, 0 = by itself. Raises DataError for a text without words,
    OptionError for other wrong values.
    """
    if doubtful not in WISHES:
        raise OptionError(f"doubtful={doubtful!r}: one of {', '.join(WISHES)} is wanted.")
    if not 1 <= sentences <= MOST:
        raise OptionError(f"sentences={sentences}: a summary has 1 to {MOST}.")
    source = _source(text)
    ranking = Ranking(source.sentences)
    best = [source.sentences[at] for at in ranking.take(sentences)]
    extract = " ".join(sentence.text for sentence in best)
    if model is None or len(source.sentences) <= sentences:
        note = f"The text has {len(source.sentences)} sentences: there is nothing to sum up."
        short = () if model is None else (note,)
        rests = tuple((sentence,) for sentence in best)
        return Summary(tuple(one.text for one in best), rests, (False,) * len(best), (), extract, short)
    writer = Writer(_engine(model), chunk, listen or (lambda note: None))
    written = writer.summary(source.sentences, sentences)
    return checked(written, source, best, doubtful, extract)


def checked(written: Sequence[str], source: Source, best: Sequence[Sentence], doubtful: str, extract: str) -> Summary:
    """Written sentences that hold, and quoted ones in the place of those that do not."""
    lines: list[tuple[str, tuple[Sentence, ...], bool]] = []
    flags: list[Flag] = []
    used: set[int] = set()
    said: list[set[str]] = []
    for sentence in written:
        matter = set(terms(sentence))
        if any(len(matter & other) >= 0.8 * max(len(matter), 1) for other in said):  # said before
            continue
        problems = source.problems(sentence)
        if not problems or doubtful == "flag":
            lines.append((sentence, tuple(source.sentences[at] for at in source.origins(sentence)), True))
            said.append(matter)
            flags += [Flag(sentence, problems, "kept")] if problems else []
            continue
        instead = _instead(sentence, source, best, used) if doubtful == "replace" else None
        flags.append(Flag(sentence, problems, "replaced" if instead is not None else "dropped"))
        if instead is not None:
            used.add(instead.start)
            lines.append((instead.text, (instead,), False))
            said.append(set(terms(instead.text)))
    notes: tuple[str, ...] = ()
    if not lines:
        lines = [(sentence.text, (sentence,), False) for sentence in best]
        notes = ("Nothing that was written holds: the summary is quoted.",)
    return Summary(
        tuple(line[0] for line in lines), tuple(line[1] for line in lines), tuple(line[2] for line in lines),
        tuple(flags), extract, notes,
    )  # fmt: skip


def _instead(sentence: str, source: Source, best: Sequence[Sentence], used: set[int]) -> Sentence | None:
    """The quoted sentence in the place of a written one: what is most like it, else the best that is left."""
    for at, share in nearest(sentence, source.sentences, 5):
        if share >= 0.3 and source.sentences[at].start not in used:
            return source.sentences[at]
    return next((one for one in best if one.start not in used), None)


def headline(text: str, *, words: int = 12, model: Model | None = "smollm2", seed: int = 0) -> str:
    """A headline of at most `words` words. What a model writes counts only where every number, name and nearly every
    word of it is borne out by the text; else, and with `model` None, it is cut from the text's foremost sentence."""
    if not 3 <= words <= 40:
        raise OptionError(f"words={words}: a headline has 3 to 40.")
    source = _source(text)
    if model is not None:
        writer = Writer(_engine(model))
        question = HEADLINE.format(words=words)
        part = writer.chunks(source.sentences, writer.room(question, 40))[0]
        lead = " ".join(sentence.text for sentence in part)
        drawn = Sampling(temperature=0.7, top_p=0.9, tokens=40, seed=seed)
        tries = [
            *writer.ask([lead], question, Sampling(temperature=0, tokens=40))[0],
            *writer.ask([lead], question, drawn, TRIES - 1)[0],
        ]
        for written in map(_tidied, tries):
            fits = 1 < len(written.split()) <= words and len(terms(written)) > 1
            if fits and not source.problems(written, finished=False):
                return written
    first = Ranking(source.sentences, lead=0.7).take(1)[0]
    return shortened(source.sentences[first].text, words)


def shortened(sentence: str, most: int) -> str:
    """A sentence as a headline: its first clause that is not too short, at most `most` words, no full stop."""
    clean = sentence.strip().strip("\"'\u201c\u201d\u2018").rstrip(".!;:, ")
    tokens = clean.split()
    if len(tokens) <= most:
        return clean
    for at in range(min(most, len(tokens)), max(4, most // 2) - 1, -1):
        ends = tokens[at - 1][-1] in ",;:\u2014-" or tokens[at] in CLAUSES
        if ends and tokens[at - 1].lower() not in STOP:  # not "two sons, the elder of"
            return " ".join(tokens[:at]).rstrip(",;:\u2014- ")
    kept = tokens[:most]
    while len(kept) > 3 and kept[-1].lower().strip(",;:") in STOP:
        kept.pop()
    return " ".join(kept).rstrip(",;:") + " \u2026"


def _tidied(written: str) -> str:
    line = written.strip().splitlines()[0] if written.strip() else ""
    line = re.sub(r"^[\s\"'*#\u201c\u2018]+|[\s\"'*\u201d\u2019.]+$", "", line)
    return "" if line.lower().startswith(("i'm sorry", "sorry", "here is", "as an ai")) else line


def _source(text: str) -> Source:
    if not isinstance(text, str):
        raise DataError(f"A text is wanted, got {type(text).__name__}.")
    found = split(text)
    if not any(words(sentence.text) for sentence in found):
        raise DataError("The text has no words: there is nothing to sum up.")
    return Source(text, found)


def _engine(model: Model) -> Engine:
    return model if isinstance(model, Engine) else Engine(opened(model))
