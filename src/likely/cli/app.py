"""Puts the verbs together, and turns every expected failure into one clear line and exit code 2."""

from __future__ import annotations

import errno
import os
import sys
from typing import Annotated

import typer

from likely import registry
from likely.cli import demo, fill, fit, report, sample, score, show
from likely.errors import LikelyError
from likely.version import VERSION

app = typer.Typer(
    name="likely",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Learns the distribution of your data and makes more of it, on your own machine.",
)


def _version(asked: bool) -> None:
    if asked:
        print(f"likely {VERSION}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Learns the distribution of your data and makes more of it, on your own machine."""


for verb in (
    fit.fit,
    sample.sample,
    fill.fill,
    score.score,
    report.report,
    show.list_,
    show.show,
    demo.demo,
):
    app.command(name=verb.__name__.rstrip("_"))(verb)


APPLICATIONS = {
    "rank": "Say which of two outputs is better, on a page of your own machine",
    "align": "Make likelier what a reward or people like better",
    "rlhf": "A language model learns from examples and judgements, and follows them (three stages)",
    "monitor": "Watch machines and tables (fit, watch, life)",
    "chat": "Talk with a language model, or with your documents",
    "label": "Labels of your own for texts: zero-shot, or from a few examples (zero, fit, apply, test)",
    "sentiment": "Positive or negative, of a sentence or of a file of texts",
    "summarise": "A summary of a text, every number and name checked against it",
    "headline": "A headline for a text",
    "translate": "Learn to translate from pairs, translate texts and .po files (fit, apply)",
    "tune": "Fine-tune a checkpoint: all weights or LoRA",
    "serve": "Serve models: OpenAI's routes and our own verbs",
}


def _lazily(name: str) -> None:
    """An application has verbs and options of its own, and brings torch: it is imported when it is called."""

    def call(words: typer.Context) -> None:
        registry.get("command", name)(words.args, prog_name=f"likely {name}")

    app.command(
        name=name,
        help=f"{APPLICATIONS[name]}: likely {name} --help",
        add_help_option=False,
        context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    )(call)


for application in registry.TABLES["command"]:
    _lazily(application)


def main() -> None:
    """Entry point. Exit codes: 0 done, 2 refused with a reason, 130 interrupted."""
    try:
        try:
            app(prog_name="likely")
        finally:
            sys.stdout.flush()
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):  # typer's answer to it is 1
            raise SystemExit(0) from None
        if leaving.code == 130:  # typer's answer to Ctrl-C
            print("\nInterrupted; nothing half-written was left.", file=sys.stderr)
        raise
    except LikelyError as error:
        fail(str(error))
    except BrokenPipeError:
        # The reader of our output went away (head, a closed pager): not an error of ours.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except MemoryError:
        fail("Not enough memory. Take fewer rows (or columns), or ask for fewer at once.")
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EPERM, errno.EDQUOT):
            raise
        fail(f"{error.strerror}: {error.filename or 'the output'}. Free some space, or write somewhere else.")


def fail(message: str) -> None:
    """One line on standard error, exit code 2."""
    print(f"likely: {message}", file=sys.stderr)
    raise SystemExit(2)
