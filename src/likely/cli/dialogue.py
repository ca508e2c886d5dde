"""A dialogue in the terminal: lines in, answers out, commands that begin with a slash.

Ctrl-C stops an answer, not the program; Ctrl-D leaves. What one talks with is a `Partner`: a model, or documents.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol

from likely.apps.chat.conversation import Conversation
from likely.apps.chat.documents import Answer, Documents
from likely.cli.options import say
from likely.errors import LikelyError, OptionError
from likely.language.decode import Piece
from likely.output import writable
from likely.train.checkpoint import write_atomic

Command = tuple[str, Callable[[str], Iterator[str] | None]]  # what it does, for /help; and it


class Partner(Protocol):
    """`answer` gives the answer to a line, piece by piece; `remark` what to say of it when it is done, or "";
    `commands` are its own."""

    commands: dict[str, Command]

    def answer(self, text: str) -> Iterator[str]: ...
    def remark(self) -> str: ...
    def messages(self) -> list[dict[str, str]]: ...


class Dialogue:
    """Reads lines until /quit or the end of input."""

    def __init__(self, partner: Partner, quiet: bool = False) -> None:
        self.partner, self.quiet = partner, quiet
        self.commands: dict[str, Command] = {
            "help": ("this list", self._help),
            **partner.commands,
            "save": ("FILE: write what was said, as text, or as messages (.jsonl)", self._save),
            "quit": ("leave; Ctrl-D does too", self._quit),
        }
        self.over = False

    def run(self) -> None:
        """Until it is over."""
        say("Type a message; /help lists commands, Ctrl-C stops an answer, Ctrl-D leaves.", self.quiet)
        while not self.over:
            try:
                line = _line()
                if line.strip():
                    self.take(line)
            except EOFError:
                print(file=sys.stderr)
                return
            except KeyboardInterrupt:  # at the prompt, or just before or after an answer
                say("\n(Ctrl-D or /quit leaves.)")

    def take(self, line: str) -> None:
        """One line: a command or a message. An error is said, and the dialogue goes on."""
        try:
            pieces = self._command(line) if line.startswith("/") else self.partner.answer(line.strip())
            if pieces is not None:
                self._say(pieces)
        except LikelyError as error:
            say(str(error))

    def _command(self, line: str) -> Iterator[str] | None:
        name, _, rest = line[1:].strip().partition(" ")
        if name == "exit":
            name = "quit"
        if name not in self.commands:
            near = get_close_matches(name, self.commands, n=1, cutoff=0.5)
            guess = f"Did you mean /{near[0]}? " if near else ""
            raise OptionError(f"No command /{name[:40]}. {guess}/help lists them; a space before / makes it a message.")
        return self.commands[name][1](rest.strip())

    def _say(self, pieces: Iterator[str]) -> None:
        """Print an answer as it comes. Ctrl-C ends it."""
        try:
            for piece in pieces:
                print(piece, end="", flush=True)
            print(flush=True)
        except KeyboardInterrupt:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
            print(flush=True)
            say("(stopped)")
        remark = self.partner.remark()
        if remark:
            say(remark, self.quiet)

    # ------------------------------------------------------------------------------------------ commands for all

    def _help(self, rest: str) -> None:
        for name, (does, _) in self.commands.items():
            say(f"  /{name:8} {does}")

    def _quit(self, rest: str) -> None:
        self.over = True

    def _save(self, rest: str) -> None:
        messages = self.partner.messages()
        if not rest:
            raise OptionError("Where to? /save talk.txt, or /save talk.jsonl")
        if not messages:
            raise OptionError("Nothing was said yet.")
        path = writable(Path(rest).expanduser())
        if path.suffix.lower() in (".jsonl", ".json"):
            text = json.dumps({"messages": messages}, ensure_ascii=False) + "\n"
        else:
            mark = {"user": "> ", "system": "# "}
            text = "\n\n".join(mark.get(said["role"], "") + said["content"] for said in messages) + "\n"
        write_atomic(path, text.encode())
        say(f"Wrote {path}.")


class Talking:
    """A conversation with a model."""

    def __init__(self, conversation: Conversation) -> None:
        self.conversation, self.forgot = conversation, False
        self.commands: dict[str, Command] = {
            "clear": ("forget what was said", self._clear),
            "system": ("TEXT: what the model is told before all else; alone: show it", self._system),
            "retry": ("answer the last message again", self._retry),
        }

    def answer(self, text: str) -> Iterator[str]:
        return spoken(self.conversation.stream(text))

    def remark(self) -> str:
        took = self.conversation.spoken
        if took is None:
            return ""
        said = [f"[{took.tokens} tokens, {took.rate:.0f} a second]" if took.rate else f"[{took.tokens} tokens]"]
        if took.reason == "length":
            said.append("[cut: the answer reached --tokens]")
        if took.forgotten and not self.forgot:
            self.forgot = True
            said.append("[the conversation no longer fits the model's context: its oldest part is being left out]")
        return " ".join(said)

    def messages(self) -> list[dict[str, str]]:
        head = [{"role": "system", "content": self.conversation.system}] if self.conversation.system else []
        return [*head, *self.conversation.messages]

    def _clear(self, rest: str) -> None:
        self.conversation.clear()
        self.forgot = False
        say("Forgotten.")

    def _system(self, rest: str) -> None:
        if rest:
            self.conversation.system = rest
        say(f"System: {self.conversation.system or '(the one of the model itself)'}")

    def _retry(self, rest: str) -> Iterator[str]:
        text = self.conversation.retry()
        if text is None:
            raise OptionError("Nothing was said yet.")
        return self.answer(text)


class Asking:
    """Questions to documents."""

    def __init__(self, documents: Documents, as_json: bool = False) -> None:
        self.documents, self.as_json = documents, as_json
        self.last: Answer | None = None
        self.said: list[dict[str, str]] = []
        self.commands: dict[str, Command] = {
            "clear": ("forget the last question, which a short one may lean on", self._clear),
            "sources": ("list the documents", self._sources),
            "why": ("what else was weighed for the last answer", self._why),
        }

    def answer(self, text: str) -> Iterator[str]:
        self.last = answer = self.documents.ask(text, before=self.last.question if self.last else "")
        self.said += [{"role": "user", "content": text}, {"role": "assistant", "content": str(answer)}]
        yield as_line(answer) if self.as_json else str(answer)

    def remark(self) -> str:
        return ""

    def messages(self) -> list[dict[str, str]]:
        return self.said

    def _clear(self, rest: str) -> None:
        self.last = None
        say("Forgotten.")

    def _sources(self, rest: str) -> None:
        for name in self.documents.names:
            say(f"  {name}")

    def _why(self, rest: str) -> None:
        if self.last is None or not self.last.evidence:
            raise OptionError("Nothing was weighed yet.")
        say(f"Asked: {self.last.question}. An answer needs {self.documents.gate.least:.2f}.")
        for evidence in self.last.evidence[:5]:
            say(f"  {evidence.sure:.2f}  {evidence.passage.document}:{evidence.line}  {evidence.quote[:100]}")


def as_line(answer: Answer) -> str:
    """An answer as a line of JSON."""
    cited = answer.citation
    sure = round(answer.evidence[0].sure, 4) if answer.evidence else 0.0
    place = {} if cited is None else {"document": cited.document, cited.unit: cited.line, "quote": cited.quote}
    said = {"question": answer.question, "refused": answer.refused, "text": answer.text, **place}
    return json.dumps({**said, "verified": answer.verified, "sure": sure}, ensure_ascii=False)


def spoken(pieces: Iterator[Piece]) -> Iterator[str]:
    """The texts of pieces, without white space at the beginning. Closing it closes them."""
    begun = False
    try:
        for piece in pieces:
            text = piece.text if begun else piece.text.lstrip()
            begun = begun or bool(text)
            if text:
                yield text
    finally:
        close = getattr(pieces, "close", None)
        if close is not None:
            close()


def _line() -> str:
    """A line from the terminal; a backslash at its end goes on to the next."""
    said: list[str] = []
    shown = sys.stdout.isatty()  # then input() may write the prompt, and knows where the line begins
    while True:
        mark = "  " if said else "> "
        if not shown:
            print(mark, end="", file=sys.stderr, flush=True)
        line = input(mark if shown else "").encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        said.append(line.removesuffix("\\"))
        if not line.endswith("\\"):
            return "\n".join(said)


with suppress(ImportError):
    import readline  # noqa: F401  (arrow keys and history for input(); not on every system)
