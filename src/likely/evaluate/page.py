"""The report card as one page of HTML that stands alone: styles and pictures inside, nothing loaded, no scripts.

The skeleton and the styles lie in `templates/`; here the parts are filled in. Everything that comes from data (names
of columns, levels, what a check says) passes `escape`; the page's own policy forbids scripts and requests on top.
"""

from __future__ import annotations

from html import escape
from importlib.resources import files
from string import Template

from likely.evaluate import plot
from likely.evaluate.card import Bars, Card, Group, Row, Verdict
from likely.evaluate.judge import percent

GROUPS: dict[Group, str] = {
    "true": "Is it true?", "varied": "Is it varied?", "valid": "Is it valid?", "private": "Is it private?",
}  # fmt: skip
LAMPS: dict[Verdict, str] = {"good": "good", "look": "look", "bad": "bad", "none": "for information"}
TILES: tuple[tuple[str, tuple[Group, ...], dict[Verdict, str]], ...] = (
    ("True?", ("true", "valid"), {
        "good": "Like the real rows", "look": "Close, with differences", "bad": "Not like the real rows",
        "none": "Not measured",
    }),
    ("Varied?", ("varied",), {
        "good": "As varied", "look": "A little less varied", "bad": "It repeats or forgets", "none": "Not measured",
    }),
    ("Private?", ("private",), {
        "good": "No leak found", "look": "Look first", "bad": "It gives rows away", "none": "Not measured",
    }),
)  # fmt: skip
FIRST = {"True?": "c2st", "Varied?": "coverage", "Private?": "membership"}  # whose sentence a good tile shows
REASONS = 5  # listed at the top; all are in the table below
MOST = 60  # columns drawn; a wider table shows those that differ most
SLIGHT = 0.02  # a shape this far below the ceiling is coloured
GLOSSARY = {
    "Made rows": "The rows that the model made: the table this page is about.",
    "Training rows": "The real rows that the model learned from.",
    "Unseen (fresh) rows": "Real rows set aside before learning. All comparisons are made against these, never against "
    "the training rows: a model that merely copies would look perfect there.",
    "Real rows (the tall mark)": "What real rows score when they take the place of the made ones. Two halves of the "
    "same real table differ too; this is by how much.",
    "Floor (the hollow mark)": "What a bad table scores: every column right on its own but shuffled independently; for "
    "privacy, a copy of the training rows.",
    "Told apart (C2ST)": "A classifier (gradient boosting) learns to tell made rows from unseen ones. 50% means it can "
    "only guess; 100% that it always can.",
    "Shapes and trends": "How alike single columns, and pairs of columns, are spread; defined as in SDMetrics.",
    "Coverage and density": "Whether all kinds of real rows have made rows near them, and whether made rows crowd "
    "somewhere.",
    "Useful to predict": "A model learned from made rows, tested on unseen real rows, against one learned from real "
    "rows.",
    "Membership attack": "Somebody who holds the made table and a person's row tries to say whether that person was in "
    "the training table. 50% is blind guessing.",
    "Nearer to training rows (DCR)": "Distance to the closest record. Good for raising an alarm, worthless for lifting "
    "one: tables that pass it can still leak.",
    "95% interval": "Where the value would lie in 95 of 100 repetitions with other rows of the same kind.",
}


def html(card: Card) -> str:
    """The whole page."""
    folder = files("likely.evaluate") / "templates"
    model = card.about.get("model")
    heading = "Is it like the real table, and may I share it?"
    return Template((folder / "report.html").read_text(encoding="utf-8")).substitute(
        title=escape(f"Report card: {model}" if model else "Report card"),
        style=(folder / "report.css").read_text(encoding="utf-8"),
        heading=heading,
        answer=escape(card.answer),
        tiles="\n".join(_tile(card, *tile) for tile in TILES),
        reasons=_reasons(card),
        figures=_figures(card),
        columns=_columns(card),
        pairs=_pairs(card),
        privacy=_privacy(card),
        compared=_compared(card),
        glossary=_pairs_of_words(GLOSSARY, "glossary"),
    )


def _tile(card: Card, ask: str, groups: tuple[Group, ...], says: dict[Verdict, str]) -> str:
    """One traffic light: the worst verdict of its groups, and the sentence behind it."""
    verdict = card.tile(*groups)
    rows = [row for row in card.rows if row.group in groups]
    why = [row for row in rows if row.verdict == verdict and row.value is not None]
    why.sort(key=lambda row: row.name != FIRST[ask])
    text = why[0].sentence if why else "The rows learned from are needed for this." if ask == "Private?" else ""
    return (
        f'<div class="tile {verdict}"><p class="ask">{_lamp(verdict)}{ask}</p><p class="say">{says[verdict]}</p>'
        f'<p class="why">{escape(text)}</p></div>'
    )


def _lamp(verdict: Verdict) -> str:
    """The sign of a verdict alone."""
    return f'<span class="lamp">{plot.mark(verdict)}</span>'


def _reasons(card: Card) -> str:
    if not card.reasons:
        return ""
    shown = "".join(f"<li>{escape(reason)}</li>" for reason in card.reasons[:REASONS])
    return f'<section class="reasons"><h3>What speaks against it</h3><ul>{shown}</ul></section>'


def _figures(card: Card) -> str:
    """All metrics, by group."""
    parts = []
    for group, head in GROUPS.items():
        rows = [row for row in card.rows if row.group == group]
        if rows:
            parts.append(f'<tr class="group"><th colspan="4" scope="colgroup">{head}</th></tr>')
            parts += [_figure(row) for row in rows]
    head = "".join(f'<th scope="col">{word}</th>' for word in ("Metric", "Value", "Floor to perfect", "Verdict"))
    return f'<table class="figures"><thead><tr>{head}</tr></thead><tbody>{"".join(parts)}</tbody></table>'


def _figure(row: Row) -> str:
    value = "n/a" if row.value is None else f"{row.value:.3f}"
    beside = f"<small>real rows {row.ceiling:.3f}</small>" if row.ceiling is not None else ""
    lamp = f'<span class="lamp">{plot.mark(row.verdict)}{"n/a" if row.value is None else LAMPS[row.verdict]}</span>'
    return (
        f'<tr class="{row.verdict}"><th scope="row">{escape(row.title)}<span>{escape(row.sentence)}</span></th>'
        f'<td class="number">{value}{beside}</td><td>{plot.gauge(row)}</td><td>{lamp}</td></tr>'
    )


def _columns(card: Card) -> str:
    """Small multiples, in the order of the table."""
    if not card.columns:
        return ""
    shown, words = list(card.columns), ""
    if len(shown) > MOST:
        keep = {bars.name for bars in sorted(shown, key=_lost, reverse=True)[:MOST]}
        words = f" The {MOST} of {len(shown)} columns that differ most are shown."
        shown = [bars for bars in shown if bars.name in keep]
    plots = "\n".join(
        f'<figure class="plot {_tone(bars)}"><figcaption><span title="{escape(bars.name)}">{escape(bars.name)}</span>'
        f"<em>{percent(bars.score)}</em></figcaption>{plot.histogram(bars)}</figure>"
        for bars in shown
    )
    return (
        "<section><h2>Column by column</h2>"
        '<p class="note">How values are spread in unseen real rows and in made rows; the percentage says how '
        f"alike, ∅ is missing.{words}</p>{_key()}"
        f'<div class="plots">{plots}</div></section>'
    )


def _lost(bars: Bars) -> float:
    return (bars.ceiling or 0.0) - (bars.score or 0.0) if bars.score is not None else 0.0


def _tone(bars: Bars) -> Verdict:
    lost = _lost(bars)
    return "none" if bars.score is None or lost <= SLIGHT else "look" if lost <= 4 * SLIGHT else "bad"


def _pairs(card: Card) -> str:
    """The heat map of lost trends, and the worst columns and pairs."""
    worst = sorted((bars for bars in card.columns if _lost(bars) > 0.005), key=_lost, reverse=True)[:5]
    columns = "".join(_compare(bars.name, bars.score, bars.ceiling) for bars in worst)
    ties = "".join(_compare(f"{tie.left} and {tie.right}", tie.score, tie.ceiling) for tie in card.ties[:5])
    head = '<th></th><th class="number">made</th><th class="number">real rows</th>'
    lists = ""
    for title, rows in (("Columns furthest off", columns), ("Pairs furthest off", ties)):
        empty = '<tr><td colspan="3">None is noticeably further from the real rows than other real rows are.</td></tr>'
        lists += (
            f'<div><h3>{title}</h3><table class="plain"><thead><tr>{head}</tr></thead>'
            f"<tbody>{rows or empty}</tbody></table></div>"
        )
    picture = ""
    if card.heat is not None and len(card.heat.names) <= MOST:
        picture = (
            '<p class="note">Each square is a pair of columns: the darker, the more of what ties them together is '
            "lost, beyond what differs between real rows. Blank is as good as real; "
            f"the darkest loses {plot.FULL:g} or more.</p>"
            f"{plot.heat(card.heat)}"
        )
    return f'<section><h2>What ties the columns together</h2>{picture}<div class="two">{lists}</div></section>'


def _compare(name: str, score: float | None, ceiling: float | None) -> str:
    """One line of the lists of what is furthest off."""
    figures = "".join(f'<td class="number">{percent(one)}</td>' for one in (score, ceiling))
    return f"<tr><td>{escape(name)}</td>{figures}</tr>"


def _key(real: str = "real rows") -> str:
    """What grey and the line mean."""
    return f'<p class="key"><span><i class="k-real"></i>{real}</span><span><i class="k-made"></i>made rows</span></p>'


def _privacy(card: Card) -> str:
    if card.near is None:
        return ""
    return (
        "<section><h2>How close to the training rows?</h2>"
        '<p class="note">Real rows resemble each other, so some made rows are bound to be close to a training row. The '
        "question is whether they are closer than real rows that the model never saw. Here the line should follow the "
        "grey; a line that piles up at the left gives training rows away.</p>"
        f'{_key("unseen real rows")}<figure class="plot">{plot.distances(card.near)}</figure></section>'
    )


def _compared(card: Card) -> str:
    counts = card.counts
    facts = {
        "Made rows": f"{counts.get('made', 0):,}",
        "Unseen real rows": f"{counts.get('holdout', 0):,}",
        "Training rows": f"{counts.get('train', 0):,}" if counts.get("train") else "not at hand",
        "Rows of each compared": f"at most {counts.get('compared', 0):,}",
        "Columns": f"{counts.get('columns', 0):,}",
        "Seed of the evaluation": str(card.seed),
        **({"Computing time": f"{card.seconds:g} CPU seconds"} if card.seconds else {}),
        **{key[:1].upper() + key[1:]: value for key, value in card.about.items()},
    }
    notes = "".join(f'<p class="small">{escape(note)}</p>' for note in card.notes)
    return _pairs_of_words(facts) + notes


def _pairs_of_words(words: dict[str, str], kind: str = "") -> str:
    inside = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in words.items())
    return f'<dl class="{kind}">{inside}</dl>'
