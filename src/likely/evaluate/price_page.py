"""The page of an alignment: reward against the square root of KL, figures before and after, the run, examples.

It stands alone as the report card's does (page.py): styles and pictures inside, nothing loaded, no scripts; every text
that comes from data passes `escape`, but for HTML that a codec made of its items, which has escaped them itself.
"""

from __future__ import annotations

import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from likely.evaluate import price_plot
from likely.evaluate.frame import framed

if TYPE_CHECKING:
    from likely.evaluate.price import Example, Figure, Price

TURNS = {1: ("good", "better"), -1: ("bad", "worse"), 0: ("none", "")}
RUN = {
    "reward": ("Reward", "mean of each draw"), "kl": ("KL to the start", "nats an item"),
    "entropy": ("Entropy", "nats a choice"), "clipped": ("Clipped", "share of choices"),
    "ratio": ("Largest ratio", "of probabilities"), "unexplained": ("Value error", "share unexplained"),
    "length": ("Length", "choices an item"), "ended": ("Ended", "share of texts"), "loss": ("Loss", "nats a pair"),
    "right": ("Pairs ranked right", "share"), "alike": ("Alike", "share without a signal"),
}  # fmt: skip
REPEATS = 0.5  # of the share of different items: below it a reward is no win
GLOSSARY = {
    "Reward": "What was asked for, as a number an item. It says nothing of what was not asked for: that is what the "
    "figures before and after are for.",
    "KL": "How far the model went from its start, in nats an item: how much likelier, on average, the items it now "
    "makes are under itself than under the start. 0 is where it stood. The square root is drawn, along which a reward "
    "that is sought grows about evenly.",
    "Frontier": "The most that any model can earn at that distance from the start, estimated from items of the start. "
    "A run cannot lie above it, but for noise; it ends where too few items are left to say.",
    "Wins": "Of two items, one made before and one after, how often the later one earns more; ties count half.",
    "Held-out surprise": "How surprising real items are that the model never saw, in nats; of texts as a perplexity, "
    "the number of equally likely tokens it amounts to. It rises where the model forgets what it knew.",
}


def heading(entry: Mapping[str, Any]) -> str:
    """One line: what became of the reward, and how far it went."""
    return f"Reward {number(entry['before'])} → {number(entry['after'])}{_apart(entry, ', ', ' from the start')}"


def _apart(entry: Mapping[str, Any], before: str = "", after: str = "") -> str:
    """The distance in words, "" where it is not known."""
    far = price_plot.distance(entry)
    most = "" if "kl" in entry else "at most "
    return "" if far is None else f"{before}{most}{far:.2f} nats an item{after}"


def answer(entry: Mapping[str, Any]) -> str:
    """What happened, in two sentences."""
    spread, gain = entry.get("spread before", 0.0), entry["after"] - entry["before"]
    size = f" ({number(gain / spread, 1)} standard deviations)" if spread > 1e-9 else ""
    steps = f"{entry['steps']:,} steps of " if entry["steps"] else ""
    ended = {
        "kl": " The run was ended early: it had gone too far.", "interrupted": " The run was interrupted.",
        "terminated": " The run was interrupted.",
    }.get(str(entry.get("stopped")), "")  # fmt: skip
    return (
        f"{steps}{method(entry)} moved the mean reward by {number(gain)}{size}. Of two items, one made before and one "
        f"after, the later one earns more in {entry['won']:.0%} of pairs.{ended}"
    )


def method(entry: Mapping[str, Any]) -> str:
    """As people write it."""
    name = str(entry["method"])
    return {"best_of": "Best of n"}.get(name, name.upper())


def html(price: Price) -> str:
    """The whole page."""
    entry = price.entry
    return framed(
        "price",
        f"Alignment: {price.model}" if price.model else "Alignment",
        drawn=any(one.media.startswith("image/") for one in (*price.before, *price.after)),
        styles=("report", "price"),
        heading=escape(heading(entry)),
        answer=escape(answer(entry)),
        tiles="\n".join(_tiles(price)),
        plot=_plot(entry),
        figures=_figures(price.figures),
        examples=_examples(price),
        run=_run(entry.get("rows", ())),
        judged=_judged(entry),
        facts=_words(_facts(price))
        + "".join(f'<p class="small">{escape(note)}</p>' for note in entry.get("notes", ())),
        glossary=_words(GLOSSARY, "glossary"),
    )


def _tiles(price: Price) -> list[str]:
    """Won, distance, cost."""
    entry = price.entry
    gain, spread = entry["after"] - entry["before"], entry.get("spread before", 0.0)
    tone = "good" if entry["won"] >= 0.6 else "look" if entry["won"] > 0.52 else "bad"
    why = (
        f"Mean reward {number(entry['before'])} before, {number(entry['after'])} after; a change of {number(gain)} "
        f"where items spread by {number(spread)}."
    )
    again = _repeats(price.figures)
    if again:
        tone, why = "bad", f"{again} {why}"
    made = [_tile("What was won", f"Wins {entry['won']:.0%}", tone, why)]
    far = price_plot.distance(entry)
    if far is not None:
        tone = "good" if far <= 5 else "look" if far <= 20 else "bad"
        why = (
            f"A nat away costs beta = {entry['beta']:g} of reward." if "kl" in entry
            else "What it learned from are the best of n draws of the start: no further than log n - (n - 1) / n."
        )  # fmt: skip
        made.append(_tile("How far it went", _apart(entry).capitalize(), tone, why))
    else:
        made.append(_tile("How far it went", "Not known", "none", "This family does not say how likely its items are."))
    judged = [one for one in price.figures if one.better and one.change is not None]
    worse = sorted((one for one in judged if one.turn < 0), key=_weight, reverse=True)
    better = sum(one.turn > 0 for one in judged)
    text = "; ".join(f"{one.title} {number(one.before)} → {number(one.after)}" for one in worse[:3])
    if not judged:
        made.append(_tile("What it cost", "Not measured", "none", "Nothing beside the reward was measured."))
    elif not worse:
        made.append(_tile("What it cost", "Nothing measurable", "good",
                          f"{len(judged)} figures beside the reward: none is worse by more than noise."))  # fmt: skip
    else:
        tone = "bad" if any(one.verdict == "bad" != one.was for one in worse) else "look"
        also = f" {better} better." if better else ""
        made.append(_tile("What it cost", f"{len(worse)} of {len(judged)} figures worse", tone, f"{text}.{also}"))
    return made


def _repeats(figures: Sequence[Figure]) -> str:
    """What is said where fewer than half as many items are different; a reward is then won by one item."""
    for one in figures:
        if one.name == "distinct" and one.turn < 0 and one.before and one.after is not None:
            if one.after >= REPEATS * one.before:
                return ""
            shown = f"different items {number(one.before)} → {number(one.after)}"
            return f"But it makes the same items again and again: {shown}."
    return ""


def _weight(one: Figure) -> float:
    """How much a change is worth telling of."""
    assert one.before is not None
    assert one.after is not None
    return abs(one.after - one.before) / (abs(one.before) + abs(one.after) + 1e-9)


def _tile(ask: str, say: str, tone: str, why: str) -> str:
    return (
        f'<div class="tile {tone}"><p class="ask">{escape(ask)}</p><p class="say">{escape(say)}</p>'
        f'<p class="why">{escape(why)}</p></div>'
    )


def _plot(entry: Mapping[str, Any]) -> str:
    """Reward against distance, where that is known."""
    picture = price_plot.reward(entry)
    if not picture:
        return ""
    return (
        '<section><h2>Reward against distance</h2><p class="note">A reward is won by leaving the start. Up is what was '
        f'asked for, right is how far the model went for it.</p>{_key(entry)}<div class="broad">{picture}'
        f"{price_plot.reward(entry, narrow=True)}</div></section>"
    )


def _key(entry: Mapping[str, Any]) -> str:
    said = ['<span><i class="k-run"></i>the run, a dot a step, later ones darker</span>' if _traced(entry) else "",
            '<span><i class="k-best"></i>the most that can be had at that distance</span>'
            if entry.get("frontier") else "",
            '<span><i class="k-start"></i>before</span><span><i class="k-end"></i>after</span>']  # fmt: skip
    return f'<p class="key">{"".join(said)}</p>'


def _traced(entry: Mapping[str, Any]) -> bool:
    return any("reward" in row and "kl" in row for row in entry.get("rows", ()))


def _figures(figures: Sequence[Figure]) -> str:
    """All figures, by group."""
    if not figures:
        return '<p class="note">None were measured.</p>'
    parts, group = [], ""
    for one in figures:
        if one.group != group:
            group = one.group
            parts.append(f'<tr class="group"><th colspan="5" scope="colgroup">{escape(group)}</th></tr>')
        tone, word = TURNS[one.turn]
        change = one.change
        shown = number(change, signed=True)  # whether it is welcome is the colour and the word
        note = f"<span>{escape(one.sentence)}</span>" if one.sentence else ""
        parts.append(
            f'<tr class="{tone}"><th scope="row">{escape(one.title)}{note}</th><td class="number">{number(one.before)}'
            f'</td><td class="number">{number(one.after)}</td><td class="number change">{shown}</td>'
            f'<td><span class="lamp">{word}</span></td></tr>'
        )
    head = "".join(
        f'<th scope="col"{side}>{word}</th>'
        for word, side in (("Figure", ""), ("Before", ' class="number"'), ("After", ' class="number"'),
                           ("Change", ' class="number"'), ("", ""))
    )  # fmt: skip
    return f'<table class="figures price"><thead><tr>{head}</tr></thead><tbody>{"".join(parts)}</tbody></table>'


def _examples(price: Price) -> str:
    """The first ones of two draws, before and after."""
    if not price.before and not price.after:
        return ""
    roomy = ("image/svg", "text/html")  # curves and tables need the whole width
    broad = any(one.media.startswith(roomy) for one in price.before + price.after)
    sides = "".join(
        f'<div class="side"><h3>{word}</h3>{"".join(_example(one) for one in shown)}</div>'
        for word, shown in (("Before", price.before), ("After", price.after))
    )
    return (
        '<section><h2>Examples</h2><p class="note">The first ones of a draw before and of one after, not chosen.</p>'
        f'<div class="{"one" if broad else "two"} examples">{sides}</div></section>'
    )


def _example(one: Example) -> str:
    earned = f'<span class="earned">{number(one.reward)}</span>' if one.reward is not None else ""
    if one.media.startswith("image/"):
        source = f"data:{escape(one.media.partition(';')[0])};base64,{b64encode(one.data).decode()}"
        inside = f'<img alt="" src="{source}">'
    elif one.media.startswith("text/html"):
        inside = f'<div class="rows">{one.data.decode("utf-8", "replace")}</div>'
    else:
        inside = f"<pre>{escape(one.data.decode('utf-8', 'replace').strip())}</pre>"
    return f'<div class="example">{earned}{inside}</div>'


def _run(rows: Sequence[Mapping[str, Any]]) -> str:
    """A small picture a number of the run."""
    names = [name for name in RUN if len(rows) > 1 and name in rows[0]]
    if not names:
        return ""
    plots = "".join(
        f'<figure class="plot"><figcaption><span>{RUN[name][0]}</span><em>{number(rows[-1].get(name))}</em>'
        f"</figcaption>{price_plot.curve(rows, name)}<p>{RUN[name][1]}</p></figure>"
        for name in names
    )
    return (
        '<section><h2>The run</h2><p class="note">Step by step; the line is a running mean, the number is the last.</p>'
        f'<div class="plots">{plots}</div></section>'
    )


def _judged(entry: Mapping[str, Any]) -> str:
    """How far the judgements can be trusted that the reward was learned from."""
    said = entry.get("judgements")
    if not isinstance(said, Mapping):
        return ""
    facts = {
        "Pairs": said.get("pairs"), "Items": said.get("items"), "Ties": said.get("ties"),
        "Right on unseen items": said.get("accuracy"), "People agree with each other": said.get("ceiling"),
    }  # fmt: skip
    shown = {
        name: f"{value:.0%}" if isinstance(value, float) and value <= 1 else str(value)
        for name, value in facts.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }
    notes = said.get("notes")
    listed = "".join(f"<li>{escape(str(note))}</li>" for note in notes) if isinstance(notes, list | tuple) else ""
    more = f'<div class="reasons"><ul>{listed}</ul></div>' if listed else ""
    return f"<section><h2>The judgements behind the reward</h2>{_words(shown)}{more}</section>"


def _facts(price: Price) -> dict[str, str]:
    entry = price.entry
    options = entry.get("options", {})
    return {
        **({"Model": price.model} if price.model else {}),
        "Reward": entry["reward"],
        "Method": method(entry),
        "Beta, the price of a nat": f"{entry['beta']:g}",
        "Steps": f"{entry['steps']:,}",
        "Seed": str(entry.get("seed", "")),
        "Ended by": {"budget": "its budget", "kl": "KL over the limit"}.get(
            str(entry.get("stopped")), str(entry.get("stopped"))
        ),
        "Options": ", ".join(f"{name} {_option(value)}" for name, value in options.items() if value != "") or "none",
    }


def _option(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _words(words: Mapping[str, str], kind: str = "") -> str:
    inside = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in words.items())
    return f'<dl class="{kind}">{inside}</dl>'


def number(x: Any, digits: int | None = None, signed: bool = False) -> str:
    """Three significant digits or so many behind the point, as people write them."""
    if isinstance(x, bool) or not isinstance(x, int | float) or not math.isfinite(x):
        return "-"
    size = abs(x)
    if digits is None:
        digits = 0 if size >= 1000 else min(4, max(0, 2 - math.floor(math.log10(size)))) if size else 0
    text = f"{size:,.{digits}f}"
    if not text.strip("0.,"):
        return "0"
    return ("\N{MINUS SIGN}" if x < 0 else "+" if signed else "") + text
