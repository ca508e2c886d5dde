"""likely label: sentiment, or any labels of your own, for texts: from no example, or from a few."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from likely.apps.label import SENTIMENT, Labeller
from likely.apps.label.model import check_sure
from likely.apps.label.task import flat
from likely.cli.options import Json, Quiet, Seed, say, show_json
from likely.cli.texts import filled, read_texts
from likely.errors import OptionError, UnknownName
from likely.output import writable, writer

label = typer.Typer(
    name="label",
    no_args_is_help=True,
    help="Labels texts: sentiment or labels of your own, with probabilities that mean what they say.",
)

TELL = 5.0  # seconds of silence before progress is told

Data = Annotated[
    str,
    typer.Argument(
        help="Texts: a table (.csv, .tsv, .parquet, .jsonl), .txt with one a line, or -.", show_default=False
    ),
]
Column = Annotated[str | None, typer.Option("--column", "--text", help="The column of texts; found where it is plain.")]
Out = Annotated[
    Path | None, typer.Option("-o", "--out", help="Where the labelled table goes; standard output otherwise.")
]
Sure = Annotated[float, typer.Option(help="Leave the label empty where its probability is lower: 0.9.")]
Other = Annotated[
    str | None, typer.Option(help="Texts of the same kind, a few dozen: the model's lean is measured on them.")
]
Model = Annotated[str, typer.Option(help="A checkpoint: a folder, a .gguf file, or the name of a packaged one.")]
Each = Annotated[bool, typer.Option("--each", help="A column for the probability of every label.")]
Share = Annotated[list[str] | None, typer.Option(help="How common a label is: positive=0.7; for all labels or none.")]


@label.command("sentiment")
def sentiment(  # noqa: PLR0913  (one argument an option)
    data: Data,
    column: Column = None,
    out: Out = None,
    sure: Sure = 0.0,
    unlabelled: Other = None,
    share: Share = None,
    model: Model = "smollm2",
    each: Each = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Positive or negative: likely label sentiment reviews.csv --column text"""
    _early(out, sure)
    frame, name = read_texts(data, column)
    made = Labeller.zero_shot(
        SENTIMENT, lean(unlabelled, frame, name), model=model, shares=_shares(share), listen=listener(quiet)
    )
    _label(made, frame, name, out, sure, each, as_json, quiet)


@label.command("zero")
def zero(  # noqa: PLR0913  (one argument an option)
    data: Data,
    labels: Annotated[
        list[str] | None,
        typer.Option("--label", help="A label, or LABEL=what it means; once for each.", show_default=False),
    ] = None,
    column: Column = None,
    out: Out = None,
    sure: Sure = 0.0,
    unlabelled: Other = None,
    share: Share = None,
    model: Model = "smollm2",
    each: Each = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Labels of your own, no examples: likely label zero mails.csv --label billing="bills, prices" --label shipping"""
    _early(out, sure)
    told: dict[str, str] = {}
    for text in labels or []:
        key, _, meaning = text.partition("=")
        if key.strip() in told:
            raise OptionError(f"--label {key.strip()!r} was given twice.")
        told[key.strip()] = meaning.strip()
    if not told:
        raise OptionError('Which labels? Give each: --label billing="bills and prices" --label shipping')
    frame, name = read_texts(data, column)
    chosen: Any = told if any(told.values()) else list(told)
    made = Labeller.zero_shot(
        chosen, lean(unlabelled, frame, name), model=model, shares=_shares(share), listen=listener(quiet)
    )
    _label(made, frame, name, out, sure, each, as_json, quiet)


@label.command("fit")
def fit(
    data: Annotated[str, typer.Argument(help="Labelled examples: 20, better 200 or more.", show_default=False)],
    column: Column = None,
    label: Annotated[str, typer.Option("--label", help="The column of labels.")] = "label",
    out: Annotated[Path | None, typer.Option("-o", "--out", help="The labeller: NAME.labels.")] = None,
    meaning: Annotated[list[str] | None, typer.Option(help="What a label means: LABEL=WORDS.")] = None,
    model: Model = "smollm2",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Learn from examples: likely label fit examples.csv --text text --label label -o my.labels"""
    frame, name = read_texts(data, column, but=label)
    path = writable(out if out is not None else Path(f"{Path(data).name.split('.')[0]}.labels"))
    if label not in frame.columns:
        raise UnknownName("column", label, frame.columns, hint="Name the column of labels: --label NAME")
    told = {key.strip(): words.strip() for key, _, words in (text.partition("=") for text in meaning or [])}
    frame = filled(frame, name, quiet)
    names = ["" if value is None else str(value) for value in frame[label].to_list()]
    made = Labeller.fit(frame[name].to_list(), names, descriptions=told, model=model, seed=seed, listen=listener(quiet))
    made.save(path)
    for note in made.notes:
        say(note, quiet)
    say(f"Wrote {path}: {made}.\n{_told(made.about['unseen'])}\nNext: likely label apply {path} texts.csv", quiet)


@label.command("apply")
def apply(
    labeller: Annotated[Path, typer.Argument(help="A labeller, NAME.labels.", show_default=False)],
    data: Data,
    column: Column = None,
    out: Out = None,
    sure: Sure = 0.0,
    model: Annotated[str | None, typer.Option(help="Where its checkpoint is, if not where it was.")] = None,
    each: Each = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Label texts: likely label apply my.labels texts.csv --sure 0.9"""
    _early(out, sure)
    frame, name = read_texts(data, column)
    _label(Labeller.load(labeller, model=model), frame, name, out, sure, each, as_json, quiet)


@label.command("test")
def check(
    labeller: Annotated[Path, typer.Argument(help="A labeller, NAME.labels.", show_default=False)],
    data: Annotated[str, typer.Argument(help="Labelled texts it has not seen.", show_default=False)],
    column: Column = None,
    label: Annotated[str, typer.Option("--label", help="The column of true labels.")] = "label",
    model: Annotated[str | None, typer.Option(help="Where its checkpoint is, if not where it was.")] = None,
    as_json: Json = False,
) -> None:
    """How good it is: likely label test my.labels labelled.csv --label label"""
    frame, name = read_texts(data, column, but=label)
    if label not in frame.columns:
        raise UnknownName("column", label, frame.columns, hint="Name the column of true labels: --label NAME")
    frame = filled(frame, name, False)
    found = Labeller.load(labeller, model=model).test(
        frame[name].to_list(), ["" if value is None else str(value) for value in frame[label].to_list()]
    )
    if as_json:
        show_json(found)
    else:
        print(_told(found))


# ----------------------------------------------------------------------------------------------- reading and writing


def _early(out: Path | None, sure: float) -> None:
    """What can be refused before a model is loaded."""
    check_sure(sure)
    if out is not None:
        writable(out)


def lean(unlabelled: str | None, frame: pl.DataFrame | None = None, name: str = "") -> list[str]:
    """Texts that the model's lean is measured on: those given, else up to 200 of those that are to be labelled."""
    if unlabelled is not None:
        source, column = read_texts(unlabelled, None)
    elif frame is not None:
        source, column = frame, name
    else:
        return []
    texts = filled(source, column, True)[column].to_list()
    step = max(1, len(texts) // 200)
    return texts[::step][:200]


def _shares(texts: list[str] | None) -> dict[str, float] | None:
    if not texts:
        return None
    found = {}
    for text in texts:
        key, _, value = text.partition("=")
        try:
            found[key.strip()] = float(value)
        except ValueError:
            raise OptionError(f"--share {text!r}: write LABEL=NUMBER, such as --share positive=0.7") from None
    return found


def _label(
    made: Labeller,
    frame: pl.DataFrame,
    name: str,
    out: Path | None,
    sure: float,
    each: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Label a table's texts and write it; a row without a text stays without a label."""
    for note in made.notes:
        say(note, quiet)
    texts = ["" if value is None else flat(str(value)) for value in frame[name].to_list()]
    places = [row for row, text in enumerate(texts) if text]
    found = made.label([texts[row] for row in places], sure=sure, listen=listener(quiet))
    for note in made.notes:
        say(note, quiet)
    found = found.with_columns(pl.Series("row", places, dtype=pl.Int64))
    spread = pl.DataFrame({"row": range(len(texts))}, schema={"row": pl.Int64}).join(found, on="row", how="left")
    spread = spread.sort("row").drop("row")
    if not each:
        spread = spread.select("label", "probability")
    spread = spread.with_columns(pl.selectors.float().round(4))
    renamed = {new: f"likely:{new}" for new in spread.columns if new in frame.columns}
    with writer(out, as_json) as write:
        write(pl.concat([frame, spread.rename(renamed)], how="horizontal"))
    said = Counter(value for value in found["label"].to_list() if value is not None)
    answered = sum(said.values())
    parts = [f"{key} {count}" for key, count in said.most_common(8)]
    sure_text = f", {len(texts) - answered} left without a label" if answered < len(texts) else ""
    mean = found.filter(pl.col("label").is_not_null())["probability"].mean()
    expected = f" By its own probabilities {mean:.0%} of the answers are right." if isinstance(mean, float) else ""
    say(f"{answered} of {len(texts)} texts labelled{sure_text}: {', '.join(parts)}.{expected}", quiet)


def _told(found: dict[str, Any]) -> str:
    """Measures as a few lines."""
    area = f", AUROC {found['auroc']:.3f}" if found["auroc"] is not None else ""
    most = f" (always the commonest label: {found['majority']:.1%})" if "majority" in found else ""
    unseen = "Of examples left out" if "majority" in found else f"Of {found['texts']} texts"
    lines = [
        f"{unseen}, {found['accuracy']:.1%} are labelled rightly{most}; F1 {found['f1']:.3f}{area}; "
        f"calibration error {found['ece']:.3f}."
    ]
    for level in found["levels"][2:]:
        if level["right"] is not None:
            lines.append(
                f"  --sure {level['sure']:<5} answers {level['answered']:5.0%}, {level['right']:.1%} of them rightly"
            )
    return "\n".join(lines)


def listener(quiet: bool) -> Callable[[int, int], None] | None:
    """Tells every few seconds how far the reading is."""
    if quiet:
        return None
    last = [time.monotonic()]

    def told(done: int, whole: int) -> None:
        if time.monotonic() - last[0] > TELL:
            last[0] = time.monotonic()
            say(f"{done} of {whole} texts read")

    return told
