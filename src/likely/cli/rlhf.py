"""likely rlhf: a language model learns from examples, then what people prefer, and follows it.

likely rlhf smollm2 --judgements judgements.db --minutes 30 -o mine
likely rlhf smollm2 --examples examples.jsonl --reward taste.py:short --prompts prompts.jsonl -o mine
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from likely.align.prompts import read as prompts_of
from likely.apps.rlhf.plan import BETA, DEFAULTS, LIMIT, RATE
from likely.apps.rlhf.recipe import rlhf as three_stages
from likely.cli.liking import signal_of
from likely.cli.options import Quiet, Seed, say
from likely.cli.steps import shown
from likely.errors import OptionError
from likely.language import conversation
from likely.language.policy import Speaking

rlhf = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@rlhf.command(no_args_is_help=True)
def main(  # noqa: PLR0913  (one argument an option)
    model: Annotated[str, typer.Argument(help="A Hugging Face folder, a .gguf file, or smollm2.", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="A new folder, or one to go on with.", show_default=False)],
    judgements: Annotated[
        str | None, typer.Option(help="Judgements of people: judgements.db, a database URL, .jsonl, .parquet.")
    ] = None,
    reward: Annotated[
        list[str] | None,
        typer.Option(help="A function of a Python file, taste.py:short; with a weight, taste.py:short=0.5."),
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option(help='JSONL of {"prompt": ..} or {"messages": [..]}; or a text a line of a .txt.')
    ] = None,
    examples: Annotated[
        Path | None, typer.Option(help='To learn from first, JSONL of {"prompt": .., "answer": ..}.')
    ] = None,
    method: Annotated[str, typer.Option(help="ppo, grpo or dpo.")] = "ppo",
    minutes: Annotated[
        float | None, typer.Option(help="Wall time to spend at most, a quarter of it on examples.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Updates; 40 unless minutes are given.")] = None,
    beta: Annotated[float, typer.Option(help="The price of a nat away from the start: smaller goes further.")] = BETA,
    target: Annotated[
        float | None, typer.Option(help="ppo raises beta while answers are further than so many nats, 6; 0: it stays.")
    ] = None,
    missing: Annotated[float, typer.Option(help="Taken from the reward of answers that do not end.")] = 0.0,
    tokens: Annotated[int, typer.Option(help="Of an answer at most.")] = Speaking.tokens,
    layers: Annotated[int, typer.Option(help="How many of the last layers learn; 0 = a fifth.")] = 0,
    rank: Annotated[int, typer.Option(help="Of the adapter.")] = Speaking.rank,
    rate: Annotated[float, typer.Option(help="Peak learning rate.")] = RATE,
    limit: Annotated[float, typer.Option(help="Nats an answer at which the run is ended and brought back.")] = LIMIT,
    held: Annotated[
        Path | None, typer.Option(help="Texts, one a line, whose perplexity before and after is told.")
    ] = None,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Three stages: likely rlhf smollm2 --judgements judgements.db --minutes 30 -o mine"""
    for name, value in {"minutes": minutes, "rate": rate, "beta": beta, "limit": limit}.items():
        if value is not None and not 0 < value < math.inf:
            raise OptionError(f"--{name} is {value:g}; it is above 0.")
    steered: dict[str, Any] = {} if target is None else {"target": target}
    if steered and "target" not in DEFAULTS.get(method, {}):
        raise OptionError(f"--target is for ppo, which steers beta; {method} does not: leave it out.")
    speaking = Speaking(tokens=tokens, layers=layers, rank=rank)
    signal = signal_of(reward or [], judgements, model)
    liked = {"judgements": signal} if judgements is not None else {"reward": signal}
    asked = prompts_of(prompts) if prompts is not None else None
    if asked is None and judgements is None:
        raise OptionError("Prompts are needed to draw answers to: --prompts prompts.jsonl")
    shown_to = conversation.read(examples) if examples is not None else ()
    others = prompts_of(held) if held is not None else ()
    say(f"Loading {model} ...", quiet)
    try:
        with shown(quiet) as (listen, watch):
            three_stages(
                model, out, examples=shown_to, prompts=asked, method=method, minutes=minutes, steps=steps, seed=seed,
                speaking=speaking, beta=beta, missing=missing, rate=rate, limit=limit, held=others, listen=listen,
                watch=watch, tell=lambda text: say(text, quiet), **liked, **steered,
            )  # fmt: skip
    except KeyboardInterrupt:
        say(f"{out} holds what was done: the same line goes on from there.", quiet)
        raise
    say(f"Wrote {out}; what it won and cost: {out / 'rlhf.html'}. Next: likely chat --model {out / 'model'}", quiet)
