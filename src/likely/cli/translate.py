"""likely translate: learn to translate from pairs, and translate texts and message catalogues."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from likely.apps import translate as app
from likely.cli.options import Json, Quiet, Seed, say, show_json
from likely.errors import DataError, OptionError
from likely.output import writable
from likely.registry import require
from likely.train.checkpoint import write_atomic
from likely.train.log import Quiet as Silent
from likely.train.log import bar

translate = typer.Typer(
    name="translate", no_args_is_help=True, add_completion=False, rich_markup_mode=None,
    pretty_exceptions_enable=False, help="Learns to translate from your pairs; translates texts and .po files.",
)  # fmt: skip

MOST = 1 << 28  # bytes of a text
FILES = (".txt", ".text", ".md")  # what ends so is meant as a file
Source = Annotated[str, typer.Option(help="The column, or key, of the texts.")]
Target = Annotated[str, typer.Option(help="The column, or key, of the translations.")]
Model = Annotated[str, typer.Option(help="A T5 folder or a chat model, in place of a learned one.")]
To = Annotated[str, typer.Option("--to", help="With --model: the language to translate into, such as German.")]


@translate.command("fit")
def fit(  # noqa: PLR0913  (one argument an option)
    pairs: Annotated[
        Path, typer.Argument(help="Texts and translations: .tsv, .tsv.gz, .jsonl, .po, .mo.", show_default=False)
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="The translator: NAME.likely.", show_default=False)],
    source: Source = "",
    target: Target = "",
    minutes: Annotated[float | None, typer.Option(help="Time to spend; 6,000 steps otherwise.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps at most.")] = None,
    width: Annotated[int, typer.Option(help="Of the network; larger learns more, and slower.")] = 160,
    depth: Annotated[int, typer.Option(help="Blocks of encoder and decoder.")] = 2,
    checkpoint: Annotated[Path | None, typer.Option(help="A folder: the same line again goes on from there.")] = None,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Learn: likely translate fit pairs.tsv -o de.likely --minutes 10"""
    path = writable(out)
    if (minutes is not None and not minutes > 0) or (steps is not None and steps < 1):
        raise OptionError(f"--minutes {minutes} and --steps {steps} must be above 0.")
    found = app.read_pairs(pairs, source, target)
    say(f"{len(found):,} pairs, such as {found[0].source[:60]!r} = {found[0].target[:60]!r}", quiet)
    with bar() as told:
        made, history = app.learn(
            found, minutes=minutes, steps=steps, seed=seed, width=width, depth=depth, checkpoint=checkpoint,
            listen=Silent() if quiet else told,
        )  # fmt: skip
    app.save(made, path)
    best = f", {history.best:.1f} nats a left-out sentence" if history.best is not None else ""
    if history.stopped in ("interrupted", "terminated"):
        goes = (
            "The same line goes on from there." if checkpoint else "With --checkpoint FOLDER it could be gone on with."
        )
        say(f"Stopped early, the best so far is kept. {goes}", quiet)
    say(f"{history.step} steps in {history.seconds:.0f} s{best}.\nWrote {path}: {made}.", quiet)
    say(f"Next: likely translate apply {path} 'A text.'   or   messages.po -o filled.po", quiet)


@translate.command("apply")
def apply(
    what: Annotated[
        list[str],
        typer.Argument(help="A translator NAME.likely (none with --model); then a text, a file, a .po file, or -."),
    ],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Where it goes; standard output otherwise.")] = None,
    model: Model = "",
    to: To = "",
    reviewed: Annotated[bool, typer.Option("--reviewed", help=".po: do not flag what is filled in as fuzzy.")] = False,
    quiet: Quiet = False,
) -> None:
    """Translate: likely translate apply de.likely "The gate is open."  |  messages.po -o filled.po  |  - < text.txt"""
    made, rest = _translator(what, model, to)
    if len(rest) != 1:
        raise OptionError(
            f"One text or file is translated at a time; {len(rest)} were given. Quote a text: 'Two words.'"
        )
    path = writable(out) if out is not None else None
    given = rest[0]
    with bar() as told:
        listen = Silent() if quiet else told
        if given.lower().endswith((".po", ".mo")):
            text, done = made.fill(_file(given), reviewed=reviewed, listen=listen)
            remark = (
                f"{done.filled} of {done.entries} entries filled in, {done.before} were translated."
                f"{'' if reviewed or not done.filled else ' They are flagged fuzzy, for a person to look at.'}"
            )
        else:
            lines = _lines(given)
            text, remark = "\n".join(made.translate(lines, listen)), f"{len(lines)} lines."
    if path is None:
        print(text.removesuffix("\n"))
    else:
        write_atomic(path, (text.removesuffix("\n") + "\n").encode())
        say(f"Wrote {path}. {remark}", quiet)


@translate.command("score")
def score(
    what: Annotated[list[str], typer.Argument(help="A translator (none with --model), then pairs it has not seen.")],
    source: Source = "",
    target: Target = "",
    model: Model = "",
    to: To = "",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """How good: likely translate score de.likely held-out.tsv   (chrF and BLEU, beside copying the source)"""
    made, rest = _translator(what, model, to)
    if len(rest) != 1:
        raise OptionError(f"Pairs of one file are scored; {len(rest)} were given.")
    metrics: Any = require("sacrebleu", "chrF and BLEU")
    pairs = app.read_pairs(rest[0], source, target)
    with bar() as told:
        listen = Silent() if quiet else told
        said = made.translate([pair.source for pair in pairs], listen)
    wanted = [[pair.target for pair in pairs]]
    rows = {"translator": said, "copy of the source": [pair.source for pair in pairs]}
    found = {
        name: {"chrf": metrics.corpus_chrf(texts, wanted).score, "bleu": metrics.corpus_bleu(texts, wanted).score}
        for name, texts in rows.items()
    }
    if as_json:
        show_json({"pairs": len(pairs), **found})
        return
    print(f"{len(pairs)} pairs           chrF   BLEU")
    for name, values in found.items():
        print(f"{name:<20} {values['chrf']:5.1f}  {values['bleu']:5.1f}")


def _translator(what: list[str], model: str, to: str) -> tuple[app.Translator, list[str]]:
    """The translator, and what else was given."""
    if model:
        if not to:
            raise OptionError("--model wants to know the language: --to German")
        return app.by_checkpoint(model, to), what
    if to:
        raise OptionError("--to goes with --model; a learned translator knows one language.")
    if not what[0].endswith(".likely"):
        raise OptionError(
            f"The translator comes first, a file NAME.likely; {what[0][:60]!r} was given. Learn one: likely translate "
            "fit pairs.tsv -o de.likely. The packaged model does not translate."
        )
    return app.load(what[0]), what[1:]


def _file(name: str) -> Path:
    path = Path(name)
    if not path.is_file():
        raise DataError(f"There is no file {name[:200]!r}.")
    return path


def _lines(given: str) -> list[str]:
    """The lines of standard input, of a file, or of a text."""
    if given == "-":
        data = sys.stdin.buffer.read(MOST + 1)
    elif given.lower().endswith(FILES) or (len(given) < 256 and Path(given).is_file()):
        path = _file(given)
        with path.open("rb") as file:
            data = file.read(MOST + 1)
    else:
        data = given.encode()
    if len(data) > MOST:
        raise DataError(f"Over {MOST >> 20} MB of text; translate it in parts.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"Line {line} is no UTF-8: save the text as UTF-8.") from error
    if not text.strip():
        raise DataError("There is nothing to translate: the text is empty.")
    return text.replace("\r\n", "\n").removesuffix("\n").split("\n")
