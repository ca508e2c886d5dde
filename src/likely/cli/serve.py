"""likely serve: models over HTTP, for OpenAI's clients and for our own verbs."""

from __future__ import annotations

import logging
import os
import secrets
import sys
from pathlib import Path
from typing import Annotated

import typer

from likely.cli.options import Quiet, say
from likely.errors import DataError
from likely.server.run import Server, bind, url
from likely.server.settings import Access, Limits
from likely.server.shelf import Language, Running, Shelf

serve = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
VARIABLE = "LIKELY_TOKEN"
LARGEST = 65_536  # bytes of a token file


@serve.command()
def main(  # noqa: PLR0913  (one argument an option)
    models: Annotated[list[str], typer.Argument(
        help='A folder of Hugging Face, a .gguf file, "smollm2", or NAME.likely; NAME=any of these to name it.',
        show_default=False,
    )],
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 = any free one.")] = 8000,
    public: Annotated[bool, typer.Option("--public", help="Allow an address that other machines can reach.")] = False,
    name: Annotated[list[str] | None, typer.Option(help="HOST[:PORT] that a Host header may also say.")] = None,
    origin: Annotated[list[str] | None, typer.Option(help="Origin of a web page that may call.")] = None,
    token_file: Annotated[Path | None, typer.Option(help=f"Tokens, one a line; else {VARIABLE}; else made up.")] = None,
    kernel: Annotated[str, typer.Option(help="auto, plain, bfloat16, int8 or int4.")] = "auto",
    rows: Annotated[int, typer.Option(help="Texts at a time, a model.")] = 32,
    memory: Annotated[float, typer.Option(help="GiB of keys and values, a model.")] = 2.0,
    queue: Annotated[int, typer.Option(help="Texts that may wait, a model; more are refused (429).")] = Limits.queue,
    tokens: Annotated[int, typer.Option(help="New tokens of a request, all its texts together.")] = Limits.tokens,
    samples: Annotated[int, typer.Option(help="Texts of a request: prompts x n.")] = Limits.samples,
    each: Annotated[int, typer.Option(help="Requests under way of one client.")] = Limits.each,
    body: Annotated[int, typer.Option(help="Bytes of a request.")] = Limits.body,
    seconds: Annotated[float, typer.Option(help="Seconds a request may take.")] = Limits.seconds,
    grace: Annotated[float, typer.Option(help="Seconds that requests may go on after Ctrl-C.")] = Limits.grace,
    verbose: Annotated[bool, typer.Option("--verbose", help="A line a request on standard error.")] = False,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Serve models at http://127.0.0.1:8000: likely serve smollm2 patients.likely"""
    limits = Limits(
        queue=queue, tokens=tokens, samples=samples, each=each, body=body, seconds=seconds, grace=grace,
        held=max(Limits.held, body),
    )  # fmt: skip
    own, made_up = tokens_of(token_file)
    access = Access.of(own, hosts=name or [], origins=origin or [])
    shelf = Shelf(models, running=Running(kernel, rows, int(memory * 2**30)), limits=limits)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="likely: %(message)s")
    if verbose:
        logging.getLogger("likely.server").setLevel(logging.INFO)

    def loaded() -> None:
        talks = next((model.name for model in shelf.models.values() if isinstance(model, Language)), None)
        say(_welcome(address, own[0] if made_up else None, talks, next(iter(shelf.models))), quiet)

    server = Server(shelf, access, limits, listen=lambda text: say(f"Loaded {text}", quiet), loaded=loaded)
    made = bind(host, port, public=public)
    address = url(made)
    say(f"Listening at {address}", quiet)
    if made_up:  # said even when quiet: nobody could ask otherwise
        print(f"Token, for this run only: {own[0]}", file=sys.stderr)
    server.run(made)


def tokens_of(path: Path | None) -> tuple[list[str], bool]:
    """The bearer tokens, and whether one was made up."""
    if path is not None:
        try:
            with open(path, encoding="utf-8") as file:
                found = [line.strip() for line in file.read(LARGEST).splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"Cannot read the token file {str(path)!r}: {error}") from error
        if not found:
            raise DataError(f"The token file {str(path)!r} is empty: one token a line is wanted.")
        return found, False
    given = os.environ.get(VARIABLE, "").strip()
    return ([given], False) if given else ([secrets.token_urlsafe(24)], True)


def _welcome(address: str, token: str | None, talks: str | None, first: str) -> str:
    """What to type next."""
    key = token or "TOKEN"
    head = f"curl {address}"
    auth = f"-H 'Authorization: Bearer {key}' -H 'Content-Type: application/json'"
    if talks is None:
        return f'Try:\n  {head}/v1/likely/sample {auth} -d \'{{"model": "{first}", "n": 3}}\'\nCtrl-C ends it.'
    body = f'{{"model": "{talks}", "messages": [{{"role": "user", "content": "Hello"}}], "stream": true}}'
    return (
        f"Try:\n  {head}/v1/chat/completions {auth} -d '{body}'\n"
        "or, in Python:\n"
        "  from openai import OpenAI\n"
        f'  client = OpenAI(base_url="{address}/v1", api_key="{key}")\n'
        f'  print(client.chat.completions.create(model="{talks}", messages=[{{"role": "user", "content": "Hello"}}]))\n'
        "Ctrl-C ends it."
    )
