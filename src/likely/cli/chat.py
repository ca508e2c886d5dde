"""likely chat: talk with a language model, or with your own documents.

Standard output holds answers and nothing else; prompts, speed and remarks go to standard error, so that
`echo "..." | likely chat > answer.txt` holds the answer.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from likely.apps.chat.conversation import SAMPLING, Conversation
from likely.apps.chat.documents import Documents
from likely.apps.chat.examination import Marked, cases, examine, summary
from likely.cli.dialogue import Asking, Dialogue, Talking, as_line, spoken
from likely.cli.options import Quiet, say, show_json
from likely.errors import MissingExtra, OptionError
from likely.language import adapter, lora
from likely.language.checkpoint import Checkpoint, load
from likely.language.packaged import MissingModel

MOST_PIPED = 1 << 20
DEFAULT = "smollm2"

chat = typer.Typer(
    name="chat", add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="Talk with a language model, or with your own documents (--about FOLDER).",
)  # fmt: skip


@chat.command()
def talk(  # noqa: PLR0913  (one argument an option)
    prompt: Annotated[str | None, typer.Option("-p", "--prompt", help="One message, one answer.")] = None,
    about: Annotated[Path | None, typer.Option(help="Answer from the documents in this folder, cited.")] = None,
    model: Annotated[str, typer.Option(help="A Hugging Face folder, a .gguf file, or smollm2.")] = "",
    tuned: Annotated[Path | None, typer.Option("--adapter", help="What likely tune learned, a folder.")] = None,
    system: Annotated[str, typer.Option(help="What the model is told before all else.")] = "",
    temperature: Annotated[float, typer.Option(help="0: always the likeliest word.")] = SAMPLING.temperature,
    seed: Annotated[int | None, typer.Option(help="Same seed, same machine, same answers.")] = None,
    tokens: Annotated[int, typer.Option(help="The longest answer, in tokens (about 3/4 of a word).")] = SAMPLING.tokens,
    quote: Annotated[bool, typer.Option("--quote", help="With --about: quotations only, no model.")] = False,
    test: Annotated[
        Path | None, typer.Option(help="With --about: ask what stands in a .jsonl file, and count.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --about: each answer as a line of JSON.")] = False,
    quiet: Quiet = False,
) -> None:
    """A conversation in the terminal: likely chat. One question: likely chat -p "..." or echo "..." | likely chat"""
    sampling = dataclasses.replace(SAMPLING, temperature=temperature, tokens=tokens, seed=seed)
    for given, name in ((quote, "--quote"), (test, "--test"), (as_json, "--json")):
        if given and about is None:
            raise OptionError(f"{name} goes with --about: likely chat --about FOLDER {name}")
    if about is not None and system:
        raise OptionError("--system is for conversations; answers from documents have no instructions.")
    live = prompt is None and test is None and sys.stdin is not None and sys.stdin.isatty()
    if about is not None:
        if tuned is not None:
            raise OptionError("--adapter is for conversations; answers from documents keep to the model as it is.")
        _about(about, model, prompt, test, live, quote, as_json, quiet)
        return
    text = "" if live else _given(prompt)
    say("Loading the model ...", quiet or not live)
    checkpoint = load(model or DEFAULT)
    if tuned is not None:
        adapter.load(checkpoint.network, tuned)
        lora.merge(checkpoint.network)
    conversation = Conversation(checkpoint, system=system, sampling=sampling)
    if live:
        Dialogue(Talking(conversation), quiet).run()
        return
    for piece in spoken(conversation.stream(text)):
        print(piece, end="", flush=True)
    print()


def _about(folder: Path, model: str, prompt: str | None, test: Path | None, live: bool, quote: bool, as_json: bool,
           quiet: bool) -> None:  # fmt: skip
    """Answers from documents: to one question, to a line each of standard input, to a test, or in a dialogue."""
    if quote and model:
        raise OptionError("--quote works without a model: leave --model out.")
    questions = cases(test) if test is not None else []
    lines = [] if live or questions else _given(prompt).split("\n")

    def note(text: str) -> None:
        say(f"Note: {text}", quiet)

    documents = Documents.read(folder, model=None if quote else _model(model, note), note=note)
    say(f"{len(documents.names)} documents, {len(documents.passages)} passages.", quiet or not live)
    if questions:
        found = examine(documents, questions, lambda marked: _remark(marked, quiet))
        _show(found, as_json)
    elif live:
        Dialogue(Asking(documents, as_json), quiet).run()
    else:
        before = ""
        for line in filter(str.strip, lines):
            answer = documents.ask(line, before=before)
            print(as_line(answer) if as_json else answer, flush=True)
            before = answer.question


def _model(name: str, note: Callable[[str], None]) -> Checkpoint | None:
    """The model; none where the packaged one, which nobody asked for by name, is not installed."""
    try:
        return load(name or DEFAULT)
    except (MissingModel, MissingExtra) as error:
        if name:
            raise
        note(f"no model, so answers are quotations. {error}")
        return None


def _given(prompt: str | None) -> str:
    """The message: from -p, else from standard input. Raises OptionError where there is none, or too much."""
    if prompt is None:
        data = sys.stdin.buffer.read(MOST_PIPED + 1) if sys.stdin is not None else b""
        if len(data) > MOST_PIPED:
            raise OptionError(f"Standard input holds over {MOST_PIPED >> 20} MB; a message is shorter.")
        prompt = data.decode("utf-8", "replace")
    if not prompt.strip():
        raise OptionError('Nothing was asked: likely chat -p "..." or echo "..." | likely chat')
    return prompt.strip()


def _remark(marked: Marked, quiet: bool) -> None:
    """What went wrong with a question of a test."""
    if marked.outcome in ("right", "refused") and not marked.foreign:
        return
    said = "" if marked.answer.citation is None else f"\n    {marked.answer.text} [{marked.answer.citation}]"
    wanted = f" (wanted: {', '.join(marked.case.answer)})" if marked.case.answer else ""
    foreign = f"; foreign: {', '.join(marked.foreign)}" if marked.foreign else ""
    say(f"{marked.outcome}{foreign}: {marked.case.question}{wanted}{said}", quiet)


def _show(found: list[Marked], as_json: bool) -> None:
    counts = summary(found)
    if as_json:
        show_json(counts)
        return
    asked, other = int(counts["answerable"]), int(counts["unanswerable"])
    print(f"answerable    {asked:4}   right {counts['right']:.0f}, wrong {counts['wrong']:.0f}, "
          f"refused {counts['over-refused']:.0f}")  # fmt: skip
    print(f"unanswerable  {other:4}   refused {counts['refused']:.0f}, answered {counts['answered']:.0f}")
    print(f"passages             hit@1 {counts['hit@1']:.2f}, hit@3 {counts['hit@3']:.2f}, hit@5 {counts['hit@5']:.2f}")
    print(
        f"answers              {counts['worded']:.0f} worded by the model, {counts['foreign']:.0f} with a foreign number"  # noqa: E501
    )
