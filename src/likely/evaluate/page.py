"""The report card as one page of HTML that stands alone: styles and pictures inside, nothing loaded, no scripts.

The skeleton and the styles lie in `templates/`; here the parts are filled in. Everything that comes from data (names
of columns, levels, what a check says) passes `escape`; the page's own policy forbids scripts and requests on top.
Pictures of items are no part of a card: whoever writes the page hands them over.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from html import escape

from likely.evaluate import plot, trace
from likely.evaluate.card import Bars, Card, Group, Row, Verdict
from likely.evaluate.frame import framed
from likely.evaluate.glossary import GLOSSARIES
from likely.evaluate.judge import figure, percent
from likely.evaluate.sheet import Picture
from likely.evaluate.vocabulary import ROWS, WORDS, Words

GROUPS: dict[Group, str] = {
    "true": "Is it true?", "varied": "Is it varied?", "valid": "Is it valid?", "private": "Is it private?",
}  # fmt: skip
LAMPS: dict[Verdict, str] = {"good": "good", "look": "look", "bad": "bad", "none": "for information"}
FIRST = {"True?": "c2st", "Varied?": "coverage", "Private?": "membership"}  # whose sentence a good tile shows
REASONS = 5  # listed at the top; all are in the table below
MOST = 60  # columns drawn; a wider table shows those that differ most
SLIGHT = 0.02  # a shape this far below the ceiling is coloured
Tile = tuple[str, tuple[Group, ...], dict[Verdict, str]]


def tiles(words: Words) -> tuple[Tile, ...]:
    """Three questions, the groups of metrics that answer them, what a verdict is called."""
    return (
        ("True?", ("true", "valid"), {
            "good": f"Like the real {words.many}", "look": "Close, with differences",
            "bad": f"Not like the real {words.many}", "none": "Not measured",
        }),
        ("Varied?", ("varied",), {
            "good": "As varied", "look": "A little less varied", "bad": "It repeats or forgets", "none": "Not measured",
        }),
        ("Private?", ("private",), {
            "good": "No leak found", "look": "Look first", "bad": f"It gives {words.many} away", "none": "Not measured",
        }),
    )  # fmt: skip


def html(card: Card, pictures: Sequence[Picture] = (), hint: str = "") -> str:
    """The whole page; `hint` says which pictures it does not show."""
    model, words = card.about.get("model"), WORDS[card.kind]
    return framed(
        "report",
        f"Report card: {model}" if model else "Report card",
        drawn=any(isinstance(one.data, bytes) for one in pictures),
        heading=words.heading,
        answer=escape(card.answer),
        tiles="\n".join(_tile(card, *tile) for tile in tiles(words)),
        reasons=_reasons(card),
        pictures=_pictures(pictures, hint),
        many=words.many,
        bad=words.bad_note,
        figures=_figures(card),
        columns=_columns(card) + _curves(card),
        pairs=_pairs(card) if card.kind == "rows" else "",
        privacy=_privacy(card),
        compared=_compared(card),
        glossary=_pairs_of_words(GLOSSARIES[card.kind], "glossary"),
    )


def _tile(card: Card, ask: str, groups: tuple[Group, ...], says: dict[Verdict, str]) -> str:
    """One traffic light: the worst verdict of its groups, and the sentence behind it."""
    verdict = card.tile(*groups)
    rows = [row for row in card.rows if row.group in groups]
    why = [row for row in rows if row.verdict == verdict and row.value is not None]
    why.sort(key=lambda row: row.name != FIRST[ask])
    needed = f"The {WORDS[card.kind].many} learned from are needed for this." if ask == "Private?" else ""
    text = why[0].sentence if why else needed
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


def _pictures(pictures: Sequence[Picture], hint: str) -> str:
    """What the items look like."""
    if not pictures:
        return ""
    shown = "".join(
        f'<figure class="sheet{" broad" if one.broad else ""}"><figcaption>{escape(one.title)}</figcaption>'
        f'{_picture(one)}<p class="small">{escape(one.note)}</p></figure>'
        for one in pictures
    )
    note = f'<p class="note">{escape(hint)}</p>' if hint else ""
    return f'<section><h2>What they look like</h2>{note}<div class="sheets">{shown}</div></section>'


def _picture(one: Picture) -> str:
    if isinstance(one.data, str):
        return one.data
    return f'<img alt="{escape(one.title)}" src="data:image/png;base64,{b64encode(one.data).decode()}">'


def _figures(card: Card) -> str:
    """All metrics, by group."""
    parts = []
    for group, head in GROUPS.items():
        rows = [row for row in card.rows if row.group == group]
        if rows:
            parts.append(f'<tr class="group"><th colspan="4" scope="colgroup">{head}</th></tr>')
            parts += [_figure(row, WORDS[card.kind]) for row in rows]
    head = "".join(f'<th scope="col">{word}</th>' for word in ("Metric", "Value", "Floor to perfect", "Verdict"))
    return f'<table class="figures"><thead><tr>{head}</tr></thead><tbody>{"".join(parts)}</tbody></table>'


def _figure(row: Row, words: Words) -> str:
    value = "n/a" if row.value is None else _number(row.value, words)
    beside = f"<small>real {words.many} {_number(row.ceiling, words)}</small>" if row.ceiling is not None else ""
    lamp = f'<span class="lamp">{plot.mark(row.verdict)}{"n/a" if row.value is None else LAMPS[row.verdict]}</span>'
    return (
        f'<tr class="{row.verdict}"><th scope="row">{escape(row.title)}<span>{escape(row.sentence)}</span></th>'
        f'<td class="number">{value}{beside}</td><td>{plot.gauge(row, words.many)}</td><td>{lamp}</td></tr>'
    )


def _number(x: float, words: Words) -> str:
    """Three decimals; distances of images and windows have no common scale."""
    return f"{x:.3f}" if words is ROWS or 0.1 <= abs(x) < 10 or x == 0 else figure(x)


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
    say = WORDS[card.kind]
    return (
        f"<section><h2>{say.parts}</h2>"
        f'<p class="note">{say.parts_note}{words}</p>{_key(say)}'
        f'<div class="plots">{plots}</div></section>'
    )


def _curves(card: Card) -> str:
    """Autocorrelation and spectrum, channel by channel."""
    parts = []
    for measure, (title, note) in CURVES.items():
        shown = [one for one in card.curves if one.measure == measure]
        if shown:
            plots = "\n".join(
                f'<figure class="plot"><figcaption><span title="{escape(one.name)}">{escape(one.name)}</span>'
                f"<em>{figure(one.score) if one.score is not None else ''}</em></figcaption>{trace.curve(one)}</figure>"
                for one in shown
            )
            parts.append(
                f'<section><h2>{title}</h2><p class="note">{note}</p>{_key(WORDS[card.kind])}'
                f'<div class="plots">{plots}</div></section>'
            )
    return "".join(parts)


CURVES = {
    "autocorrelation": ("Does it remember?", "How much a value says about the one some moments later, in unseen real "
                        "windows and in made ones. The line should follow the grey; the number is how far it strays."),
    "spectrum": ("Does it move at the right speed?", "How much of the movement is slow (left) and how much is quick "
                 "(right). The number is the share of power that lies at the wrong speed."),
}  # fmt: skip


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


def _key(words: Words, real: str = "real") -> str:
    """What grey and the line mean."""
    return (
        f'<p class="key"><span><i class="k-real"></i>{real} {words.many}</span>'
        f'<span><i class="k-made"></i>made {words.many}</span></p>'
    )


def _privacy(card: Card) -> str:
    if card.near is None:
        return ""
    words = WORDS[card.kind]
    many, one = words.many, words.one
    return (
        f"<section><h2>How close to the training {many}?</h2>"
        f'<p class="note">Real {many} resemble each other, so some made {many} are bound to be close to a training '
        f"{one}. The question is whether they are closer than real {many} that the model never saw. Here the line "
        f"should follow the grey; a line that piles up at the left gives training {many} away.</p>"
        f'{_key(words, "unseen real")}<figure class="plot">{plot.distances(card.near, one)}</figure></section>'
    )


def _compared(card: Card) -> str:
    counts = card.counts
    many = WORDS[card.kind].many
    sizes = {"columns": "Columns", "pixels": "Pixels of each", "moments": "Moments of each", "channels": "Channels"}
    facts = {
        f"Made {many}": f"{counts.get('made', 0):,}",
        f"Unseen real {many}": f"{counts.get('holdout', 0):,}",
        f"Training {many}": f"{counts.get('train', 0):,}" if counts.get("train") else "not at hand",
        f"{many[:1].upper()}{many[1:]} of each compared": f"at most {counts.get('compared', 0):,}",
        **{word: f"{counts[key]:,}" for key, word in sizes.items() if key in counts},
        "Seed of the evaluation": str(card.seed),
        **({"Computing time": f"{card.seconds:g} CPU seconds"} if card.seconds else {}),
        **{key[:1].upper() + key[1:]: value for key, value in card.about.items()},
    }
    notes = "".join(f'<p class="small">{escape(note)}</p>' for note in card.notes)
    return _pairs_of_words(facts) + notes


def _pairs_of_words(words: dict[str, str], kind: str = "") -> str:
    inside = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in words.items())
    return f'<dl class="{kind}">{inside}</dl>'
