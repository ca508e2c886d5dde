"""likely rank: which of two outputs is better? A page on this machine, or the terminal.

likely rank smollm2 --prompts prompts.txt              two answers to each prompt
likely rank small.likely large.likely --pairs 50       two models against each other
likely rank --store judgements.db                      go on with what is there
likely rank --results --store judgements.db            what came of it
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from likely.cli.options import Quiet, Seed, say
from likely.cli.options import pairs as parsed
from likely.errors import LikelyError, OptionError

if TYPE_CHECKING:
    from likely.server.rank.choosing import Guide
    from likely.server.rank.making import Making
    from likely.server.rank.session import Session
    from likely.server.store import Store

rank = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
VARIABLE = "LIKELY_TOKEN"
PAIRS = 50  # of models that are asked nothing
PATIENCE = 4.0  # seconds for a locked database, before the page says so


@rank.command()
def main(  # noqa: PLR0913  (one argument an option)
    models: Annotated[list[str] | None, typer.Argument(
        help='NAME.likely, a Hugging Face folder, a .gguf file, "smollm2", or NAME=any of these; none: what is stored.',
        show_default=False,
    )] = None,
    prompts: Annotated[Path | None, typer.Option(help="What to ask: .txt, a prompt a line, or .jsonl.")] = None,
    given: Annotated[list[str] | None, typer.Option(help="What holds in every row: sex=F; may be repeated.")] = None,
    pairs: Annotated[int | None, typer.Option(
        help=f"Pairs to judge; else one a prompt, {PAIRS} without prompts.")] = None,
    store: Annotated[str, typer.Option(help="Where judgements are kept: a file or postgresql://")] = "judgements.db",
    annotators: Annotated[str, typer.Option(help="Who judges, each by a link: anna,bob")] = "me",
    votes: Annotated[int, typer.Option(help="Annotators that see a pair at most; 0 = all of them.")] = 0,
    repeats: Annotated[float, typer.Option(help="Share of showings that repeat an earlier pair.")] = 0.1,
    criteria: Annotated[str, typer.Option(help="Asked beside the choice: helpful,true")] = "",
    temperature: Annotated[list[float] | None, typer.Option(help="Of drawing; several are compared.")] = None,
    tokens: Annotated[int, typer.Option(help="Length of a checkpoint's answer at most.")] = 200,
    reward: Annotated[Path | None, typer.Option(help="A reward model that chooses pairs, taste.likely.")] = None,
    results: Annotated[bool, typer.Option("--results", help="What came of it, instead of judging.")] = False,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="With --results: a page, results.html.")] = None,
    terminal: Annotated[bool, typer.Option("--terminal", help="Judge texts here instead of in a browser.")] = False,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port; 0 = any free one.")] = 8765,
    public: Annotated[bool, typer.Option("--public", help="Allow an address that other machines can reach.")] = False,
    name: Annotated[list[str] | None, typer.Option(help="HOST[:PORT] that a Host header may also say.")] = None,
    no_open: Annotated[bool, typer.Option("--no-open", help="Print the link; open no browser.")] = False,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:  # fmt: skip
    """Say which of two outputs is better: likely rank smollm2 --prompts prompts.txt"""
    people = _people(annotators)
    if results:
        if models or prompts or given:
            raise OptionError("--results shows what is in the store: leave models and --prompts out.")
        _results(store, out)
        return
    if out is not None:
        raise OptionError(f"-o is for the page of results: likely rank --results --store {store} -o {out}")
    if terminal and len(people) > 1:
        raise OptionError("A terminal has one person before it: --annotators anna")
    if not models:
        if prompts is not None:
            raise OptionError(f"Who answers the prompts? Name a model: likely rank smollm2 --prompts {prompts}")
        if given:
            raise OptionError("--given is a wish for a model: name one, likely rank patients.likely --given sex=F")
        _filled(store)
    from likely.server.rank.session import Rules, Session
    from likely.server.store import Store

    asked = tuple(word.strip() for word in criteria.split(",") if word.strip())
    rules = Rules(seed, pairs, repeats, votes, criteria=asked)
    makers = _makers(models or [], temperature or [1.0], tokens)
    form = _form(makers)
    slots = _plan(makers, _asked(makers, prompts, given or []), pairs, seed, form) if makers else []
    for maker in makers:
        maker.check([slot.prompt for slot in slots if slot.prompt is not None])
    with Store(store, patience=PATIENCE, make=bool(models)) as kept:
        guide = _guide(kept, reward, makers, seed, quiet)
        scope = [slot.item for slot in slots] if slots else None
        if slots and pairs is None:
            rules = Rules(
                seed, len(slots) * max(1, len(makers) * (len(makers) - 1) // 2), repeats, votes, criteria=asked
            )
        session = Session(kept, rules, guide=guide, scope=scope)
        making = _making(kept, session, makers, slots, seed, quiet) if slots else None
        if not slots and not session.couples:
            raise OptionError(
                f"{store!r} holds no two different outputs: name a model, likely rank smollm2 --prompts FILE"
            )
        try:
            if terminal:
                from likely.cli import rank_terminal

                rank_terminal.run(session, people[0], making, quiet)
            else:
                _page(session, making, people, store, host, port, public, name or [], no_open, quiet)
        finally:
            if making is not None:
                making.stop()
                say("Finishing the pairs that are being made ...", quiet or making.state.stage != "making")
                making.wait(60)
        if making is not None and making.state.stage == "failed":
            raise LikelyError(making.state.error)
    say(f"{_kept(session)} kept in {store}{_shares(session, people)}. Results: "
        f"likely rank --results --store {store}", quiet)  # fmt: skip


def _kept(session: Session) -> str:
    from likely.server.rank.results import many

    session.read()
    kept = sum(len(seat.active()) for seat in session.seats.values())
    return f"{many(kept, 'judgement')} {'is' if kept == 1 else 'are'}"


def _shares(session: Session, people: list[str]) -> str:
    """Whose they are, where others judged, too."""
    if all(name in people for name, seat in session.seats.items() if seat.active()):
        return ""
    return ", " + ", ".join(f"{len(session.seat(one).active())} of them by {one}" for one in people)


def _people(text: str) -> list[str]:
    people = [word.strip() for word in text.split(",") if word.strip()]
    if not people or len(set(people)) < len(people):
        raise OptionError(f"--annotators {text!r}: different names are wanted, such as anna,bob")
    if len(people) > 1000 or any(len(word) > 100 or not word.isprintable() for word in people):
        raise OptionError("--annotators: up to 1000 names of up to 100 characters are wanted.")
    return people


def _filled(store: str) -> None:
    """Raises OptionError where there is no store yet, and no model to fill it."""
    place = store.removeprefix("sqlite:///")
    if "://" not in place and not Path(place).is_file():
        raise OptionError(
            f"There is no {store!r} yet. Name a model to fill it: likely rank smollm2 --prompts prompts.txt, or "
            "likely rank patients.likely"
        )


def _makers(models: list[str], temperatures: list[float], tokens: int) -> list[Any]:
    """Raises OptionError, ArtifactError."""
    if not models:
        return []
    from likely.server.rank import outputs

    makers = outputs.makers(models, temperatures, tokens)
    if len(makers) == 1 and makers[0].settings.temperature == 0:
        raise OptionError("At temperature 0 a model says the same twice: give --temperature 0.8, or another model.")
    return makers


def _asked(makers: list[Any], prompts: Path | None, given: list[str]) -> list[Any]:
    """What models are asked: prompts, or one wish; [] = nothing. Raises OptionError, DataError."""
    if prompts is not None and given:
        raise OptionError('Give --prompts or --given, not both; wishes stand in a file as {"given": {"sex": "F"}}.')
    talks = next((maker.name for maker in makers if not maker.generator), None)
    if talks is not None and prompts is None:
        raise OptionError(f"{talks!r} is a language model: give it something to answer, --prompts prompts.txt")
    if prompts is None:
        wish = parsed(given, "--given", "sex=F")
        return [wish] if wish else []
    from likely.align.prompts import read

    return read(prompts)


def _form(makers: list[Any]) -> list[str]:
    """What outputs look like; generators are loaded for it. Raises OptionError, ArtifactError."""
    from likely.server.rank.outputs import alike

    return alike(makers)


def _plan(makers: list[Any], asked: list[Any], pairs: int | None, seed: int, form: list[str]) -> list[Any]:
    """Slots. Raises OptionError."""
    from likely.server.rank.making import plan

    width = max(1, len(makers) * (len(makers) - 1) // 2)
    spoken = any(not isinstance(one, dict) for one in asked)
    number = pairs if pairs is not None else len(asked) * width if spoken or len(asked) > 1 else PAIRS
    return plan(asked, len(makers), number, seed, form)


def _guide(store: Store, reward: Path | None, makers: list[Any], seed: int, quiet: bool) -> Guide:
    from likely.server.rank.choosing import Guide

    def listen(text: str) -> None:
        say(text, quiet)

    if reward is None:
        guide = Guide(store, seed=seed, listen=listen)
        guide.generators = [maker.model for maker in makers if maker.generator]
        return guide
    from likely.align.reward import RewardModel

    try:
        taste = RewardModel.load(reward)
    except OptionError:  # it looks at the steps of a generator
        generators = [maker for maker in makers if maker.generator]
        if not generators:
            raise
        taste = RewardModel.load(reward, generators[0].model)
    return Guide(store, reward=taste, seed=seed, listen=listen)


def _making(store: Store, session: Session, makers: list[Any], slots: list[Any], seed: int, quiet: bool) -> Making:
    from likely.server.rank.making import Making

    made = Making(store, makers, slots, seed, tell=session.grow, listen=lambda text: say(text, quiet))
    made.start()
    return made


def _page(  # noqa: PLR0913
    session: Session, making: Making | None, people: list[str], store: str, host: str, port: int, public: bool,
    names: list[str], no_open: bool, quiet: bool,
) -> None:  # fmt: skip
    from likely.server.listen import bind, url
    from likely.server.rank import view
    from likely.server.rank.host import Host, access, link, tokens
    from likely.server.rank.routes import App

    keys = tokens(people, os.environ.get(VARIABLE, "").strip())
    made = bind(host, port, public=public)
    address = url(made)

    def told() -> str:
        from likely.server.rank.results import gather
        from likely.server.rank.results_page import page

        return page(gather(session.store.judgements(), _named(store)))

    if any(one.media == "application/json" for line in session.outlines.values() for one in line.candidates):
        threading.Thread(target=view.prepare, daemon=True).start()
    app = App(session, access(keys, names), (*people, None), making=making, results=told)

    def started() -> None:
        width = max(len(person) for person in people)
        for person, key in zip(people, keys, strict=False):
            print(f"{person:{width}}  {link(address, key)}", flush=True)
        print(f"{'results':{width}}  {link(address, keys[-1], '/results')}", flush=True)
        say("Every answer is kept when the page moves on. Ctrl-C ends it; the same line goes on.", quiet)
        if not no_open and len(people) == 1:
            _open(link(address, keys[0]))

    Host(app, started=started).run(made)


def _named(store: str) -> str:
    """The store as results name it: never with a password."""
    if "://" not in store or store.startswith("sqlite"):
        return store
    head, _, rest = store.partition("://")
    return f"{head}://{rest.rpartition('@')[2]}"


def _open(address: str) -> None:
    """Show a page in a browser, by a file that only this user can read: command lines can be seen by others."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return
    with tempfile.NamedTemporaryFile("w", suffix=".html", prefix="likely-rank-", delete=False) as file:
        file.write(f'<!doctype html><meta http-equiv="refresh" content="0;url={address}"><a href="{address}">Rank</a>')
    webbrowser.open(Path(file.name).as_uri())


def _results(store: str, out: Path | None) -> None:
    from likely.output import writable
    from likely.server.rank.results import gather, text
    from likely.server.rank.results_page import page
    from likely.server.store import Store
    from likely.train.checkpoint import write_atomic

    _filled(store)
    if out is not None:
        if out.suffix.lower() not in (".html", ".htm"):
            raise OptionError(f"-o {str(out)!r}: results are a page, such as -o results.html")
        writable(out)
    with Store(store, make=False) as kept:
        found = gather(kept.judgements(), _named(store))
    print(text(found))
    if out is not None:
        write_atomic(out, page(found).encode())
        say(f"Wrote {out}.")
