"""likely tune: a checkpoint learns from examples of yours, as an adapter or as a whole."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

import typer

from likely.cli.options import Json, Quiet, Seed, say, show_json
from likely.errors import OptionError
from likely.language import conversation
from likely.language.checkpoint import load
from likely.language.tune import Tuned, Tuning
from likely.language.tune import tune as learn
from likely.train.distribute import join
from likely.train.log import Quiet as Silent
from likely.train.log import bar

tune = typer.Typer(
    name="tune", add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="Fine-tune a language model on examples of yours.",
)  # fmt: skip


@tune.command(no_args_is_help=True)
def run(  # noqa: PLR0913  (one argument an option)
    model: Annotated[str, typer.Argument(help="A Hugging Face folder, a .gguf file, or smollm2.", show_default=False)],
    examples: Annotated[
        Path,
        typer.Argument(
            help='JSONL, a line each: {"prompt": .., "answer": ..}, {"messages": [..]} or {"text": ..}.',
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="A new folder for what was learned.", show_default=False)],
    method: Annotated[str, typer.Option(help="lora: a small adapter; full: all weights.")] = "lora",
    minutes: Annotated[float | None, typer.Option(help="Time to spend at most; 3 passes otherwise.")] = None,
    steps: Annotated[int | None, typer.Option(help="Steps at most.")] = None,
    rank: Annotated[int, typer.Option(help="Of the adapter: larger learns more, and forgets more.")] = 16,
    rate: Annotated[float | None, typer.Option(help="Peak learning rate; 0.001 for lora, 0.00005 for full.")] = None,
    length: Annotated[int | None, typer.Option(help="Longest example in tokens; longer ones are cut.")] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Write a whole model, not an adapter.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Prompts and answers without the chat template.")] = False,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A folder: run the same line again to go on after a stop.")
    ] = None,
    save_memory: Annotated[
        bool, typer.Option("--save-memory", help="Half the memory or less, a third slower.")
    ] = False,
    seed: Seed = 0,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Learn from examples: likely tune smollm2 examples.jsonl -o mine --minutes 10"""
    options: dict[str, Any] = {"method": method, "rank": rank, "rate": rate, "length": length, "plain": plain}
    if save_memory:
        options |= {"accumulate": 10**6, "recompute": True}  # as many parts as a step has rows
    tuning = Tuning(**options)
    _check(model, examples, out, tuning, minutes, steps)
    items = conversation.read(examples)
    with join("ddp") as mesh:
        first = mesh.rank == 0
        say(f"Loading {model} ...", quiet or not first)
        base = load(model)
        with bar() as listen:
            done = learn(
                base, items, minutes=minutes, steps=steps, seed=seed, checkpoint_dir=checkpoint, mesh=mesh,
                listen=Silent() if quiet or not first else listen, **options,
            )  # fmt: skip
        if not first:
            return
        say(str(done), quiet)
        say(_advice(done), quiet or not _advice(done))
        done.save(out, merge=merge)
    whole = merge or method == "full"
    follow = f"likely chat --model {out}" if whole else f"likely chat --model {model} --adapter {out}"
    say(f"Wrote {out}, {'a whole model' if whole else 'an adapter'}. Next: {follow}", quiet)
    if as_json:
        show_json(_figures(done))


def _check(model: str, examples: Path, out: Path, tuning: Tuning, minutes: float | None, steps: int | None) -> None:
    """Raises OptionError for what would fail after minutes of work."""
    tuning.lora  # noqa: B018  (it checks)
    if tuning.rate is not None and not 0 < tuning.rate < math.inf:
        raise OptionError(f"--rate is {tuning.rate:g}; it is above 0, such as 0.001.")
    if minutes is not None and not 0 < minutes < math.inf:
        raise OptionError(f"--minutes is {minutes:g}; it is above 0.")
    if steps is not None and steps < 1:
        raise OptionError(f"--steps is {steps}; it is 1 or more.")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OptionError(f"{str(out)!r} exists and is not empty: give a new name, or remove it first.")
    if Path(model).suffix in (".jsonl", ".json", ".csv", ".txt") and not Path(model).is_dir():
        raise OptionError(f"The model comes first, then the examples: likely tune MODEL {model} -o {out}")
    if examples.is_dir():
        raise OptionError(f"{str(examples)!r} is a folder; examples are a JSONL file: likely tune MODEL FILE -o {out}")


def _advice(done: Tuned) -> str:
    """What to do where left-out answers are no better known than before."""
    if done.before is None or done.after is None or done.after < 0.98 * done.before:
        return ""
    return "Answers that were left out are hardly better known than before: more examples help, or more minutes."


def _figures(done: Tuned) -> dict[str, Any]:
    """The result as numbers."""
    history, packed = done.history, done.packed
    return {
        "method": done.method, "perplexity_before": done.before, "perplexity_after": done.after,
        "steps": history.step, "seconds": history.seconds, "stopped": history.stopped, "precision": history.precision,
        "examples": packed.texts, "cut": packed.cut, "dropped": packed.dropped, "tokens": packed.tokens,
        "learned_tokens": packed.learned, "rows": len(packed.batch.x), "rows_left_out": history.left_out,
    }  # fmt: skip
