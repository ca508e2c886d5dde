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


for verb in (fit.fit, sample.sample, fill.fill, score.score, report.report, show.list_, show.show, demo.demo):
    app.command(name=verb.__name__.rstrip("_"))(verb)


@app.command(
    name="monitor",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def monitor(words: typer.Context) -> None:
    """Watch machines and tables: likely monitor --help (fit, watch, life)"""
    # An application has verbs of its own, and brings torch: it is imported when it is called.
    registry.get("command", "monitor")(words.args, prog_name="likely monitor")


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
