"""likely summarise, likely headline: every number and name checked against the source."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from likely.apps.summarise import Summary
from likely.apps.summarise import headline as head_line
from likely.apps.summarise import summarise as sum_up
from likely.cli.options import Json, Quiet, Seed, say
from likely.codecs.table.read import decoded
from likely.errors import DataError, OptionError

summarise = typer.Typer(
    name="summarise",
    no_args_is_help=True,
    help="Summaries and headlines, every number and name checked against the source.",
)

headline = typer.Typer(
    name="headline", no_args_is_help=True, help="A headline for a text; its numbers and names stand in the text."
)

MOST = 64 * 2**20  # bytes of a text
File = Annotated[str, typer.Argument(help="A text file, or - for standard input.", show_default=False)]
Words = Annotated[int, typer.Option(help="Words of a headline, at most.")]
Extract = Annotated[bool, typer.Option("--extract", help="Sentences of the text only: no model, nothing written.")]
Model = Annotated[str, typer.Option(help="A checkpoint: a folder, a .gguf file, or the name of a packaged one.")]
Encoding = Annotated[str, typer.Option(help="Of the file.")]


@summarise.command(no_args_is_help=True)
def run(  # noqa: PLR0913  (one argument an option)
    file: File,
    sentences: Annotated[int, typer.Option("-n", "--sentences", help="How many sentences, at most.")] = 3,
    head: Annotated[bool, typer.Option("--headline", help="A headline instead of a summary.")] = False,
    words: Words = 12,
    extract: Extract = False,
    doubtful: Annotated[
        str, typer.Option(help="Written sentences that the text does not bear out: replace, drop or flag.")
    ] = "replace",
    sources: Annotated[bool, typer.Option("--sources", help="After each sentence the lines it rests on.")] = False,
    beside: Annotated[bool, typer.Option("--both", help="Also print the extractive summary.")] = False,
    model: Model = "smollm2",
    chunk: Annotated[int, typer.Option(help="Tokens read at once; 0 = by itself.")] = 0,
    encoding: Encoding = "utf-8",
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Sum up a text: likely summarise report.txt --sources"""
    if head:
        title(file, words, extract, model, encoding, seed, as_json)
        return
    text = _text(file, encoding)
    chosen = None if extract else model
    made = sum_up(
        text, sentences=sentences, model=chosen, doubtful=doubtful, chunk=chunk, listen=lambda note: say(note, quiet)
    )
    if as_json:
        print(json.dumps(_record(made), ensure_ascii=False, indent=2))
    else:
        print(_page(made, sources))
        if beside and not extract:
            print(f"\nQuoted:\n{made.extract}")
    for note in made.notes:
        say(note, quiet)
    for flag in made.flagged:
        say(f"{flag.done.capitalize()}: {flag.sentence}\n    {'; '.join(map(str, flag.problems))}.", quiet)


@headline.command(no_args_is_help=True)
def title(
    file: File,
    words: Words = 12,
    extract: Extract = False,
    model: Model = "smollm2",
    encoding: Encoding = "utf-8",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """One line for a text: likely headline report.txt"""
    line = head_line(_text(file, encoding), words=words, model=None if extract else model, seed=seed)
    print(json.dumps({"headline": line}, ensure_ascii=False) if as_json else line)


def _page(made: Summary, sources: bool) -> str:
    if not sources:
        return made.text
    lines = []
    for sentence, rests, written in zip(made.sentences, made.sources, made.written, strict=True):
        where = ", ".join(dict.fromkeys(source.lines for source in rests))
        lines.append(f"{sentence} [{'' if written else 'quoted, '}line {where}]" if where else sentence)
    return "\n".join(lines)


def _record(made: Summary) -> dict[str, Any]:
    sentences = [
        {
            "text": text,
            "written": written,
            "sources": [{"text": one.text, "lines": [one.first, one.last]} for one in rests],
        }
        for text, rests, written in zip(made.sentences, made.sources, made.written, strict=True)
    ]
    flagged = [
        {
            "text": flag.sentence,
            "done": flag.done,
            "problems": [{"kind": one.kind, "reason": one.reason} for one in flag.problems],
        }
        for flag in made.flagged
    ]
    return {
        "summary": made.text,
        "sentences": sentences,
        "flagged": flagged,
        "extract": made.extract,
        "notes": list(made.notes),
    }


def _text(file: str, encoding: str) -> str:
    name = "standard input" if file == "-" else file
    if file == "-":
        raw = sys.stdin.buffer.read(MOST + 1)
    else:
        path = Path(file)
        if path.is_dir():
            raise DataError(f"{file!r} is a folder: give one text file.")
        if not path.exists():
            raise DataError(f"No file {file!r}.")
        try:
            with path.open("rb") as stream:
                raw = stream.read(MOST + 1)
        except OSError as error:
            raise DataError(f"Cannot read {file!r}: {error.strerror}.") from error
    if len(raw) > MOST:
        raise OptionError(f"{name} has more than {MOST >> 20} MB: give a part of it.")
    text = decoded(raw, name, encoding).decode()
    if "\x00" in text[:10_000]:
        raise DataError(f"{name} is no text: it has zero bytes.")
    return text
