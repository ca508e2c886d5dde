"""Ranking in the terminal: the questions of the page, for texts and rows of tables, a line an answer."""

from __future__ import annotations

import sys
import time
from textwrap import fill
from typing import Any

from likely.cli.options import say
from likely.errors import LikelyError, Unsupported
from likely.server.rank import view
from likely.server.rank.couples import Showing
from likely.server.rank.making import Making
from likely.server.rank.results import plain
from likely.server.rank.session import Session

KEYS = {"l": "left", "r": "right", "t": "tie", "b": "bad", "s": "skip"}
NAMES = {name: key for key, name in KEYS.items()}
HELP = "l left, r right (l2: clearly, l3: much better), t tie, b both bad, s skip, u undo, q leave; then Enter."
WIDTH = 100


def run(session: Session, annotator: str, making: Making | None, quiet: bool) -> None:
    """Ask until all is judged, the input ends, or `q`. Raises Unsupported for pictures and sounds."""
    say(HELP, quiet)
    while True:
        if making is not None:
            session.more = making.state.stage in ("waiting", "loading", "making")
        showing = session.next(annotator)
        if showing is None:
            if session.more and not session.count(annotator).over:
                time.sleep(0.2)
                continue
            return
        _show(session, annotator, showing)
        if not _asked(session, annotator, showing):
            return


def _show(session: Session, annotator: str, showing: Showing) -> None:
    count = session.count(annotator)
    print(f"\n--- {count.done + 1} of {count.goal} " + "-" * 60)
    prompt = session.item(showing.couple.item).prompt
    if prompt is not None:
        print(plain(_words(view.prompt(prompt))) + "\n")
    for name, one in zip(("LEFT", "RIGHT"), session.candidates(showing), strict=True):
        print(f"[{name}]\n{plain(_words(view.view(one)))}\n")


def _words(shown: Any) -> str:
    match shown["kind"]:
        case "text":
            lines = shown["text"].splitlines() or ["(nothing)"]
            return "\n".join(line if shown["code"] else fill(line, WIDTH, break_long_words=False) for line in lines)
        case "row":
            return "\n".join(f"{name}: {value}" for name, value in shown["cells"])
        case "chat":
            return "\n".join(f"{role}: {text}" for role, text in shown["turns"])
        case "table":
            return "\n".join("\t".join(row) for row in [shown["head"], *shown["rows"]])
    raise Unsupported(
        f"A terminal shows texts and rows; this is {shown.get('media', shown['kind'])}: leave --terminal out."
    )


def _asked(session: Session, annotator: str, showing: Showing) -> bool:
    """Take one line; false = leave."""
    began = time.monotonic()
    while True:
        print("> ", end="", flush=True)
        line = sys.stdin.readline()
        word = line.strip().lower()
        if not line or word in ("q", "quit"):
            print()
            return False
        try:
            if word in ("u", "undo"):
                last = session.count(annotator).last
                if last is None:
                    say("There is nothing to take back.")
                    continue
                session.undo(annotator, last)
                return True
            digit = word[-1:] if word[-1:] in ("1", "2", "3") else ""
            key = word.removesuffix(digit).strip()
            key = NAMES.get(key, key)
            if key not in KEYS or (digit and key not in ("l", "r")):
                say(HELP)
                continue
            session.answer(annotator, showing.id, KEYS[key], strength=int(digit or 0), flags=("terminal",),
                           seconds=round(time.monotonic() - began, 3))  # fmt: skip
            return True
        except LikelyError as error:  # a locked database: the answer is given again
            say(f"Not kept: {error} Answer again.")
