"""Figures into words: a verdict and a sentence for each metric, and the answer to "may I share it?".

Verdicts compare with what fresh real rows score (the ceiling), never with a textbook's number alone: on a small
table two halves of the *same* real rows differ too. Limits are conventions, all in this file:

    detection    told apart no more than 60 % of the time is good, 75 % worth a look (50 % is guessing)
    similarity   2 points below the ceiling is good, 8 worth a look
    utility      97 % of what real rows teach is good (94 % if the interval reaches 99), 90 % worth a look
    membership   good if the 95 % interval reaches down to .51, not beyond .58; bad if it stays above .55
    copies       good if no more than fresh rows' own rate is explained by chance; bad from 1 % more
    distance     of images and windows: good up to 3 % of the way from the ceiling to the floor, worth a look up to 15
                 %; good, too, where it is no more than 1.5 times the ceiling
    images       and windows: hardly any fool a classifier yet; half of the way to certainty is good, 90 % worth a look

An interval that is too wide to say is "look", never "good". Nothing here is a promise: the attack is simple, the
hold-out rows are a sample, and what makes one person recognisable may be a column that no metric weighs enough.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from likely.evaluate.auroc import Z95, Area
from likely.evaluate.card import Group, Row, Share, Verdict
from likely.evaluate.privacy import NEAR, Rate
from likely.evaluate.utility import Utility
from likely.evaluate.vocabulary import ROWS, Words

SHUFFLED, COPIED = "columns shuffled independently", "a copy of the training rows"
CHANCE = 1.5  # a distance up to so many times the ceiling is as good as real
WIDE = 0.15  # an interval of the membership attack that is wider than this says too little
TINY = 5e-5  # smaller is written as 0
CAVEAT = "This is evidence, not proof: a stronger attack or an unusual row may still reveal something."


def percent(x: float | None, digits: int = 1) -> str:
    """0.9876 -> "98.8%"; never rounds up to 100 nor down to 0."""
    if x is None or math.isnan(x):
        return "n/a"
    if x in (0, 1):
        return f"{100 * x:.0f}%"
    text = f"{100 * x:.{digits}f}"
    if x < 1 and float(text) >= 100:
        return f"{100 - 10**-digits:.{digits}f}%"
    return f"under {10**-digits:.{digits}f}%" if x > 0 and float(text) == 0 else f"{text}%"


def missing_row(name: str, title: str, group: Group, why: str) -> Row:
    """A metric that could not be measured, and why."""
    return Row(name, title, group, None, None, None, None, None, None, "none", f"Not applicable because {why}.")


def within(value: float, good: float, look: float) -> Verdict:
    """Smaller is better."""
    return "good" if value <= good else "look" if value <= look else "bad"


def detection(made: Area, ceiling: Area, floor: Area, words: Words = ROWS, floor_is: str = SHUFFLED) -> Row:
    """How often a classifier tells a made row from a real one."""
    shift = max(0.0, ceiling.value - 0.5)  # hold-out rows that differ from the training rows are told apart too
    if words is ROWS:
        verdict = within(made.value - shift, 0.60, 0.75)
    else:  # the share of the way to certainty
        verdict = within((made.value - 0.5 - shift) / max(0.5 - shift, 0.01), 0.5, 0.9)
    sentence = (
        f"Shown one real and one made {words.one}, a classifier names the made one {percent(made.value)} of the time; "
        f"50% is guessing, which is perfect. Fresh real {words.many}: {percent(ceiling.value)}."
    )
    values = made.value, ceiling.value, floor.value
    return row("c2st", "Told apart by a classifier", "true", *values, 0.5, made.interval, verdict, sentence, floor_is)


def similarity(
    name: str, title: str, group: Group, values: tuple[float, float, float], sentence: str,
    limits: tuple[float, float] = (0.02, 0.08), floor_is: str = SHUFFLED,
) -> Row:  # fmt: skip
    """A likeness in [0, 1]: `values` are made, ceiling, floor, filled in for {made}, {ceiling}, {floor}."""
    made, ceiling, floor = values
    verdict = within(ceiling - made, *limits)
    words = sentence
    for key, value in (("{made}", made), ("{ceiling}", ceiling), ("{floor}", floor)):
        words = words.replace(key, percent(value))  # not str.format: column names may hold braces
    return row(name, title, group, made, ceiling, floor, 1.0, None, verdict, words, floor_is)


def distance(
    name: str, title: str, values: tuple[float, float, float], sentence: str, floor_is: str, error: float = 0.0,
    limits: tuple[float, float] = (0.03, 0.15),
) -> Row:  # fmt: skip
    """A distance, 0 = alike: `values` are made, ceiling, floor, and how much of the way to the floor was gone."""
    made, ceiling, floor = values
    far = floor - ceiling
    gone = (made - ceiling) / far if far > 0 else 0.0
    slack = Z95 * error / far if far > 0 else 0.0
    verdict: Verdict = within(gone - slack, *limits) if far > 0 else "none"  # a floor that is no worse says nothing
    if 0 < made <= CHANCE * ceiling:  # what two real sets are apart is chance, and chance is no more exact than that
        verdict = "good"
    words = sentence
    for key, value in (("{made}", made), ("{ceiling}", ceiling), ("{floor}", floor)):
        words = words.replace(key, figure(value))
    interval = (made - Z95 * error, made + Z95 * error) if error > 0 else None
    return row(name, title, "true", made, ceiling, floor, 0.0, interval, verdict, words, floor_is)


def figure(value: float) -> str:
    """A number with three digits that tell, at most four decimals, without an exponent where people read it."""
    if abs(value) < 0.01:
        return f"{value:.4f}".rstrip("0").rstrip(".") if abs(value) >= TINY else "0"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def usefulness(made: Utility, floor: float) -> Row:
    """Train on made rows, test on real ones."""
    measure = "AUROC" if made.measure == "auroc" else "rank correlation"
    verdict = within(1 - made.ratio, 0.03, 0.10)
    if made.ratio >= 0.94 and made.interval[1] >= 0.99:  # few test rows: chance explains what is lacking
        verdict = "good"
    sentence = (
        f"A model that learns from made rows to predict {made.target!r} scores {made.made:.3f} ({measure}) on real "
        f"rows; one that learns from as many real rows {made.real:.3f}. That is {percent(made.ratio)} of it."
    )
    return row(f"utility:{made.target}", f"Useful to predict {made.target}", "true", made.ratio, 1.0, floor, 1.0,
                made.interval, verdict, sentence)  # fmt: skip


def teaching(
    name: str, title: str, made: float, real: float, floor: float, tested: int, words: Words, floor_is: str
) -> Row:
    """Accuracy on real items of a classifier that learned from made ones, beside one that learned from real ones."""
    error = Z95 * math.sqrt(max(made * (1 - made), 0.01) / tested)
    verdict = within(real - made - error, 0.03, 0.10)
    sentence = (
        f"A classifier that learns from made {words.many} tells {percent(made)} of unseen real {words.many}; one that "
        f"learns from as many real {words.many}, {percent(real)}; always saying the commonest label, {percent(floor)}."
    )
    interval = max(0.0, made - error), min(1.0, made + error)
    return row(name, title, "true", made, real, floor, 1.0, interval, verdict, sentence, floor_is)


def density(made: float, ceiling: float, floor: float, words: Words = ROWS, floor_is: str = SHUFFLED) -> Row:
    """Crowded where it is safe, or thinly spread where nothing is."""
    ratio = made / ceiling if ceiling > 0 else 1.0
    verdict: Verdict = "good" if 0.8 <= ratio <= 1.25 else "look" if 0.5 <= ratio <= 2 else "bad"
    sentence = (
        f"Made {words.many} have {made:.2f} times as many real neighbours as they should (fresh real {words.many} "
        f"{ceiling:.2f}); well below 1, they lie where no real {words.many} are."
    )
    return row("density", "Density", "varied", made, ceiling, floor, 1.0, None, verdict, sentence, floor_is)


def copying(name: str, title: str, found: Rate, what: str, words: Words = ROWS) -> Row:
    """Copies or near copies against the hold-out rows' own rate."""
    verdict = within(found.excess[0], 0.001, 0.01)
    if found.made <= found.fresh:
        end = "There are no more than chance brings."
    elif verdict == "good":
        end = "The difference is within chance."
    else:
        end = f"That is more than chance brings: training {words.many} are repeated."
    sentence = (
        f"{percent(found.made, 2)} of the made {words.many} {what}; of real {words.many} never seen, "
        f"{percent(found.fresh, 2)}. {end}"
    )
    values = found.made, found.fresh, 1.0
    return row(name, title, "private", *values, 0.0, found.interval, verdict, sentence, copied(words))


def copied(words: Words) -> str:
    """The floor of privacy."""
    return COPIED.replace("rows", words.many)


def membership(made: Area, ceiling: Area, floor: float, words: Words = ROWS) -> Row:
    """Can an attacker say which rows were trained on?"""
    low, high = made.interval
    shift = ceiling.value - 0.5 if ceiling.interval[0] > 0.5 else 0.0  # hold-out rows that differ without any leak
    verdict: Verdict = (
        "bad"
        if low - shift > 0.55
        else "good"
        if low - shift <= 0.51 and high - shift <= 0.58 and high - low <= WIDE
        else "look"
    )
    end = (
        ""
        if verdict == "good"
        else f" There are too few {words.many} to say more."
        if low <= 0.51
        else " It can tell some of them."
    )
    sentence = (
        f"Given two real {words.many}, one of them in the training {'table' if words is ROWS else 'set'}, an attacker "
        f"who looks for the nearest made {words.one} names the right one {percent(made.value)} of the time (95% "
        f"interval {percent(low)} to {percent(high)}); 50% is blind guessing.{end}"
    )
    values = made.value, ceiling.value, floor
    floor_is = copied(words)
    return row("membership", "Membership attack", "private", *values, 0.5, (low, high), verdict, sentence, floor_is)


def closeness(made: float, ceiling: float, floor: float, rows: int, words: Words = ROWS) -> Row:
    """The DCR share, for screening only: it can raise an alarm but not lift one."""
    margin = 1.96 * 0.5 / math.sqrt(max(rows, 1))
    excess = made - max(0.5, ceiling)
    verdict: Verdict = "bad" if excess - margin > 0.10 else "look" if excess - margin > 0.03 else "none"
    sentence = (
        f"{percent(made)} of the made {words.many} are nearer to a training {words.one} than to an unseen one; 50% is "
        f"ideal. A screening value only: {'tables' if words is ROWS else 'sets'} that pass it can still leak."
    )
    interval = max(0.0, made - margin), min(1.0, made + margin)
    values, title = (made, ceiling, floor), f"Nearer to training {words.many}"
    return row("dcr", title, "private", *values, 0.5, interval, verdict, sentence, copied(words))


def strictness(
    name: str, title: str, value: float, ceiling: float | None, sentence: str,
    limits: tuple[float, float] = (0.005, 0.05),
) -> Row:  # fmt: skip
    """Shares that should be 1 (or as good as the real rows): valid rows, known values, right types."""
    verdict = within((ceiling if ceiling is not None else 1.0) - value, *limits)
    return row(name, title, "valid", value, ceiling, None, 1.0, None, verdict, sentence)


def answer(rows: Sequence[Row], words: Words = ROWS) -> tuple[str, Share, tuple[str, ...]]:
    """All rows -> (the answer in words, "yes" | "look first" | "no" | "not measured", the reasons)."""
    private = [row for row in rows if row.group == "private"]
    others = [row for row in rows if row.group != "private"]
    bad, look = [row for row in private if row.verdict == "bad"], [row for row in private if row.verdict == "look"]
    measured = any(row.name == "membership" and row.value is not None for row in private)
    share: Share
    if bad:
        share, says = "no", f"No: the made {words.many} give training {words.many} away."
    elif not measured:
        many = words.many
        share, says = "not measured", f"Not measured: that needs the {many} learned from and {many} never seen."
    elif look:
        share, says = "look first", "Look first: " + _list(look) + "."
    else:
        share, says = "yes", f"As far as these tests can see, yes: they found no leak. {caveat(words)}"
    faults = sorted((row for row in others if row.verdict in ("bad", "look")), key=lambda row: row.verdict != "bad")
    true = _worst(row for row in faults if row.group != "varied")
    told = next((row for row in others if row.name == "c2st" and row.value is not None), None)
    cause = next((row for row in faults if row.group != "varied"), None)
    proof = ""
    if told and told.value is not None:
        other = told.verdict == "good" and cause is not None and cause.value is not None
        but = f", but {cause.title[0].lower()}{cause.title[1:]}: {cause.value:.2f}" if other and cause else ""
        proof = f" (told apart {percent(told.value, 0)} of the time; 50% is perfect{but})"
    like = {"good": words.like, "look": words.close, "bad": words.unlike}[true]
    varied = {"good": "", "look": ", and somewhat less varied", "bad": ", and less varied"}[
        _worst(row for row in faults if row.group == "varied")
    ]
    reasons = tuple(row.sentence for row in [*bad, *look, *faults])
    return f"{like}{proof}{varied}. {words.share} {says}", share, reasons


def caveat(words: Words) -> str:
    """What a yes does not mean."""
    return CAVEAT.replace("row", words.one)


def grouped(rows: Iterable[Row]) -> list[Row]:
    """By the order in which questions are asked."""
    order = ("true", "varied", "valid", "private")
    return sorted(rows, key=lambda row: order.index(row.group))


def adding(row: Row, words: str) -> Row:
    """The row with more to its sentence."""
    return replace(row, sentence=row.sentence + words)


def _worst(rows: Iterable[Row]) -> Verdict:
    found = {row.verdict for row in rows}
    return "bad" if "bad" in found else "look" if "look" in found else "good"


def _list(rows: Sequence[Row]) -> str:
    return "see " + ", ".join(row.title.lower() for row in rows)


def row(  # noqa: PLR0913
    name: str, title: str, group: Group, value: float | None, ceiling: float | None, floor: float | None, best: float,
    interval: tuple[float, float] | None, verdict: Verdict, sentence: str, floor_is: str = SHUFFLED,
) -> Row:  # fmt: skip
    """A row, in the six digits of JSON."""
    low, high = interval if interval is not None else (None, None)
    # six digits, as in JSON: a card that comes back from a file reads the same to the last letter
    value, ceiling, floor, low, high = (None if x is None else round(x, 6) for x in (value, ceiling, floor, low, high))
    why = floor_is if floor is not None else ""
    return Row(name, title, group, value, ceiling, floor, best, low, high, verdict, sentence, why)


NEAR_WORDS = f"are as near to a training row as the nearest {100 * NEAR:g}% of unseen rows"


def near_words(words: Words) -> str:
    """What a near copy is."""
    return NEAR_WORDS.replace("rows", words.many).replace("row", words.one)
