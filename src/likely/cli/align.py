"""likely align: what a reward likes better becomes likelier.

    likely align patients.likely --reward taste.py:older -o older.likely
    likely align teller.likely --judgements judgements.db -o liked.likely
    likely align smollm2 --judgements judgements.db -o liked           an adapter; likely rlhf has all three stages

A reward is a function in a Python file of yours: it takes items (a table, a list of texts, an array of images, in the
type that was learned from: a polars DataFrame of a .csv) and gives a number each. The file is run; a model file never
is. Other rewards: see `cli.liking`.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

import likely
from likely.align.prompts import read as prompts_of
from likely.apps.rlhf import answering
from likely.cli.liking import signal_of
from likely.cli.options import Model, Quiet, Seed, folder, pairs, say
from likely.cli.steps import shown
from likely.errors import OptionError
from likely.evaluate.price_page import number
from likely.generator import Generator
from likely.language import packaged
from likely.language.checkpoint import opened
from likely.language.policy import Speaking

WORSE = 4  # figures that are told


align = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@align.command()
def main(  # noqa: PLR0913  (one argument an option)
    model: Model,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="The file of the aligned model, NAME.likely; of a checkpoint a folder.")
    ],
    reward: Annotated[
        list[str] | None,
        typer.Option(
            help="taste.py:older (a function), taste.likely (a reward model), mood.labels:positive (a "
            "classifier); with a weight, taste.py:older=0.5."
        ),
    ] = None,
    judgements: Annotated[
        str | None, typer.Option(help="Judgements of people: judgements.db, a database URL, .jsonl, .parquet.")
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            help="ppo, grpo, reinvent, dpo or best_of; ppo, or best_of where the family has no steps (trees, vae, gan)."
        ),
    ] = None,
    beta: Annotated[
        float | None,
        typer.Option(
            help="The price of a nat away from the start: smaller goes further; .05, judgements .7, a checkpoint .2."
        ),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Updates; 200 unless minutes are given, of a checkpoint 40.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Wall time to spend at most.")] = None,
    rate: Annotated[
        float, typer.Option(help="Of learning; 0 = a fifth of the family's own, of a checkpoint .00125.")
    ] = 0.0,
    limit: Annotated[
        float | None,
        typer.Option(help="Nats an item at which the run is ended and brought back; 50, of a checkpoint 15."),
    ] = None,
    given: Annotated[list[str] | None, typer.Option(help="A condition, sex=F; may be repeated.")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="A folder to resume from.")] = None,
    missing: Annotated[float, typer.Option(help="Taken from the reward of a text that does not end.")] = 0.0,
    holdout: Annotated[
        str | None, typer.Option(help="Items the model never saw, for the report card before and after.")
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help="The page of what it won and cost, .html; beside the model by default.")
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help="For a checkpoint: what to ask, .txt or .jsonl; else what was judged.")
    ] = None,
    tokens: Annotated[int, typer.Option(help="For a checkpoint: of an answer at most.")] = Speaking.tokens,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Make what a reward likes likelier: likely align patients.likely --reward taste.py:older -o older.likely"""
    _check({"beta": beta, "limit": limit, "minutes": minutes}, rate, {"steps": steps, "tokens": tokens})
    if checkpoint is not None:
        folder(checkpoint, "--checkpoint")
    own: dict[str, Any] = {name: value for name, value in {"beta": beta, "limit": limit}.items() if value is not None}
    if talks(model):
        if given or holdout is not None or page is not None:
            raise OptionError(f"{str(model)!r} is a language model: --given, --holdout and --page are for generators.")
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise OptionError(f"{str(out)!r} exists and is not empty: give a new folder for the adapter.")
        folder(out, "-o")
        base = opened(model)
        signal = signal_of(reward or [], judgements, str(model))
        asked = prompts_of(prompts) if prompts is not None else None
        with shown(quiet) as (listen, watch):
            done = answering.align(
                base, asked, signal, method=method or "ppo", seed=seed, minutes=minutes, steps=steps, rate=rate,
                missing=missing, speaking=Speaking(tokens=tokens), listen=listen, watch=watch, checkpoint=checkpoint,
                **own,
            )  # fmt: skip
        done.save(out)
        say(
            f"{done}\nWrote {out}; see {out / 'alignment.html'}. Next: likely chat --model {model} --adapter {out}",
            quiet,
        )
        return
    if prompts is not None:
        raise OptionError(f"--prompts is for language models; {str(model)!r} is none. Texts to go on from: --given.")
    if model.suffix.lower() in (".csv", ".tsv", ".parquet", ".jsonl", ".json", ".xlsx"):
        raise OptionError(f"{str(model)!r} is data, not a model: likely fit {model} -o {model.stem}.likely")
    gen = likely.load(model)
    if out.suffix != ".likely":
        raise OptionError(f"-o {str(out)!r}: a model is written as .likely, such as -o {out.stem or 'liked'}.likely")
    if out.exists() and out.samefile(model):
        raise OptionError(f"-o {str(out)!r} is the model it starts from, which would be lost: give another name.")
    page = page or out.with_suffix(".html")
    for file in (out, page):
        likely.output.writable(file)
    if page.suffix.lower() not in (".html", ".htm"):
        raise OptionError(f"--page {str(page)!r}: the page is written as .html.")
    signal = signal_of(reward or [], judgements, gen)
    wish = pairs(given or [], "--given", "sex=F") or None
    with shown(quiet) as (listen, watch):
        better = gen.align(
            signal, method=method, seed=seed, minutes=minutes, steps=steps, rate=rate, given=wish,
            progress=listen or False, watch=watch, checkpoint=checkpoint, missing=missing, holdout=holdout, **own,
        )  # fmt: skip
    better.save(out)
    better.price.to_html(page)
    for line in _lines(better):
        say(line, quiet)
    say(f"Wrote {out} and {page}.", quiet)


def _lines(better: Generator) -> list[str]:
    """What became of it: how far the reward can be believed, notes, what got worse, what was won."""
    entry, lines = better.card["alignment"][-1], []
    learned = entry.get("judgements")
    if learned and not any("no better than chance" in note for note in better.notes):
        lines.append(
            f"The reward, learned from {learned['pairs']} judged pairs, is right on {learned['accuracy']:.0%} of "
            f"unseen ones, give or take {learned['error']:.0%}."
        )
    lines += [f"Note: {note}" for note in better.notes]
    if worse := [one for one in better.price.figures if one.turn < 0]:
        listed = "; ".join(f"{one.title.lower()} {number(one.before)} -> {number(one.after)}" for one in worse[:WORSE])
        lines.append(f"Worse: {listed}" + (f"; {len(worse) - WORSE} more" if len(worse) > WORSE else ""))
    far = f"at {entry['kl']:.2f}" if "kl" in entry else f"at most {entry['bound']:.2f}"
    return [
        *lines,
        f"Reward {entry['before']:.3g} -> {entry['after']:.3g} (spread {entry['spread before']:.2g}), better than the "
        f"start in {entry['won']:.0%} of pairs, {far} nats an item from it.",
    ]


def _check(above: dict[str, float | None], rate: float, whole: dict[str, int | None]) -> None:
    """Raises OptionError for numbers that nothing can be done with."""
    for name, value in above.items():
        if value is not None and not 0 < value < math.inf:
            raise OptionError(f"--{name} is {value:g}; it is above 0.")
    if not 0 <= rate < math.inf:
        raise OptionError(f"--rate is {rate:g}; it is above 0, or 0 for the usual one.")
    for name, count in whole.items():
        if count is not None and count < 1:
            raise OptionError(f"--{name} is {count}; it is 1 or more.")


def talks(model: Path) -> bool:
    """Whether this names a language model of others, and not a file of ours."""
    return model.is_dir() or model.suffix == ".gguf" or (str(model) in packaged.NAMES and not model.exists())
