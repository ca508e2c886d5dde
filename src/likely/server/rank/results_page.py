"""Results as one page of HTML that stands alone: no scripts, nothing loaded, every text escaped."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from likely.align.agreement import Annotator, Share
from likely.align.ranking import Place, Ranking
from likely.server.rank.results import Results, many

MODELS = 40  # drawn
STYLE = """
:root{--paper:#fcfbf9;--ink:#1f2328;--soft:#5d656e;--line:#e3e0da;--faint:#f2f0eb;--made:#2458a6;--look:#8a5600}
@media(prefers-color-scheme:dark){:root{--paper:#14171b;--ink:#e4e7ea;--soft:#a0a9b3;--line:#2e343b;--faint:#21262c;
--made:#8ab6ff;--look:#e0a843}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);overflow-wrap:anywhere;
font:16px/1.55 system-ui,-apple-system,"Segoe UI","Liberation Sans",sans-serif}
main{max-width:900px;margin:0 auto;padding:40px 28px 72px}h1,h2{font-family:Charter,Georgia,"DejaVu Serif",serif;
font-weight:600;line-height:1.2}h1{font-size:2rem;margin:0 0 .3em}h2{font-size:1.3rem;margin:2.2em 0 .5em}
p{margin:0 0 .7em;max-width:46em}.soft{color:var(--soft)}.small{font-size:.9rem}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(190px,1fr));gap:14px;margin:26px 0 0}
.tile{border:1px solid var(--line);border-top:3px solid var(--made);border-radius:6px;padding:14px 16px 10px}
.tile b{display:block;font:600 1.5rem/1.2 Charter,Georgia,serif}.tile span{font-size:.88rem;color:var(--soft)}
.tile span.ask{display:block;color:var(--ink);margin-bottom:6px}
table{border-collapse:collapse;width:100%;font-size:.92rem}.wide{overflow-x:auto}
td,th{text-align:left;padding:8px 16px 8px 0;border-top:1px solid var(--line);vertical-align:top;font-weight:400}
thead th{color:var(--soft);font-size:.82rem;border:0;white-space:nowrap}tbody th{font-weight:600;min-width:6em}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}small{color:var(--soft);display:block}
ul{margin:0;padding-left:1.2em}li{margin:.3em 0}.warn{border-left:3px solid var(--look);padding:2px 0 2px 34px}
svg{display:block;width:100%;max-width:640px;height:auto;margin:4px 0 10px}svg text{font-size:13px;fill:var(--ink)}
svg .tick{font-size:11px;fill:var(--soft)}.zero{stroke:var(--line)}.span{stroke:var(--made);stroke-width:5;
stroke-linecap:round;opacity:.3}.dot{fill:var(--made)}
pre{background:var(--faint);border-radius:6px;padding:10px 14px;overflow-x:auto;white-space:pre-wrap;
margin:.2em 0 1.2em;font:.9rem/1.5 ui-monospace,Menlo,Consolas,"DejaVu Sans Mono",monospace}
@media(max-width:600px){main{padding:24px 16px 48px}h1{font-size:1.6rem}}
"""
HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><meta name="referrer" content="no-referrer">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>What people prefer</title><style>{style}</style></head><body><main>"""


def page(found: Results) -> str:
    """The whole page."""
    counts, a = found.counts, found.agreement
    parts = [
        HEAD.format(style=STYLE), "<h1>What people prefer</h1>",
        f"<p>{many(counts['active'], 'judgement')} of {many(counts['items'], 'item')} by "
        f"{many(counts['annotators'], 'annotator')}: {many(counts['pairs'] - counts['ties'], 'pair')} decided, "
        f"{many(counts['ties'], 'tie')}, {counts['bad']:,} both bad, {counts['skip']:,} skipped; "
        f"<span class=soft>{many(counts['repeats'], 'repeat')}, {counts['undone']:,} taken back.</span></p>",
        '<div class="tiles">',
        _tile("Do people agree?", "-" if a.alpha is None else f"{a.alpha:.2f}",
              _alpha(a.interval, a.several) if a.alpha is not None else f"{a.several:,} pairs have two votes or more"),
        _tile("With themselves?", _percent(a.itself), _interval(a.itself, "repeats")),
        _tile("Chose left", _percent(a.left), _interval(a.left, "decisions") + "; 50% is even"),
        "</div>", _warnings(a.warnings), "<h2>Which model is preferred?</h2>",
        _ranking(found.ranking) if found.ranking is not None else f"<p>{escape(found.why)}</p>",
        "<h2>Who judged</h2>", _people(a.annotators), "<h2>What to do next</h2>",
        *(f"<p>{escape(why)}</p><pre>{escape(command)}</pre>" for why, command in found.steps),
        "<h2>How to read this</h2>",
        "<p class='soft small'>Agreement is Krippendorff's alpha over pairs with two votes or more: 1 is agreement, 0 "
        "what chance would give. Decisive votes of two people were equal in "
        f"{_percent(a.decisive)} of {a.decisive.of:,}: a reward learned from them can hardly be right more often. "
        f"Repeats with the sides exchanged were answered alike in {_percent(a.swapped)} of {a.swapped.of:,}. "
        "Strengths are of Bradley and Terry, ties of Davidson, in nats: a model that is stronger by 1 is preferred "
        "with probability 0.73. Intervals hold 95%: of strengths and alpha by a bootstrap of items, of shares by "
        "Wilson.</p>",
        "</main></body></html>\n",
    ]  # fmt: skip
    return "".join(parts)


def _tile(ask: str, value: str, note: str) -> str:
    ask, value, note = escape(ask), escape(value), escape(note)
    return f'<div class="tile"><span class="ask">{ask}</span><b>{value}</b><span>{note}</span></div>'


def _alpha(interval: tuple[float, float] | None, several: int) -> str:
    span = "" if interval is None else f"{interval[0]:.2f} to {interval[1]:.2f}, "
    return f"Krippendorff's alpha; {span}{several:,} shared pairs"


def _percent(share: Share) -> str:
    return "-" if not share.of else f"{share.share:.0%}"


def _interval(share: Share, what: str) -> str:
    return f"no {what} yet" if not share.of else f"{share.low:.0%} to {share.high:.0%}, of {share.of:,} {what}"


def _warnings(warnings: Iterable[str]) -> str:
    lines = "".join(f"<li>{escape(text)}</li>" for text in warnings)
    return f'<h2>Before you believe it</h2><ul class="warn">{lines}</ul>' if lines else ""


def _counts(one: Place) -> str:
    """Wins, ties, losses: whole where they are."""
    said = (f"{value:,.1f}".removesuffix(".0") for value in (one.wins, one.ties, one.losses))
    return "".join(f'<td class="n">{text}</td>' for text in said)


def _ranking(found: Ranking) -> str:
    rows = "".join(
        f'<tr><th>{escape(one.name)}</th><td class="n">{one.strength:+.2f}<small>{_span(one)}</small></td>'
        f"{_counts(one)}</tr>"
        for one in found.places
    )
    notes = "".join(f"<p class='soft small'>{escape(text)}</p>" for text in found.notes)
    return (
        f"{_plot(found.places[:MODELS])}<div class=wide><table><thead><tr><th>model</th><th class=n>strength</th>"
        f"<th class=n>wins</th><th class=n>ties</th><th class=n>losses</th></tr></thead><tbody>{rows}</tbody></table>"
        f"</div>{notes}"
    )


def _span(one: Place) -> str:
    return f"{one.low:+.2f} to {one.high:+.2f}" if math.isfinite(one.low) else ""


def _plot(places: Sequence[Place]) -> str:
    """Strengths with their intervals, the strongest above."""
    ends = [0.0, *(v for one in places for v in (one.low, one.high, one.strength) if math.isfinite(v))]
    low, high = min(ends), max(ends)
    span = (high - low) or 1.0
    left, wide, row = 150.0, 340.0, 28.0

    def x(value: float) -> float:
        return left + wide * (value - low) / span

    tall = row * len(places) + 30
    parts = [f'<line class="zero" x1="{x(0):.1f}" x2="{x(0):.1f}" y1="4" y2="{tall - 22:.0f}"/>',
             f'<text class="tick" x="{x(0):.1f}" y="{tall - 6:.0f}" text-anchor="middle">0</text>']  # fmt: skip
    for end in (low, high):
        if abs(x(end) - x(0)) > 40:
            parts.append(
                f'<text class="tick" x="{x(end):.1f}" y="{tall - 6:.0f}" text-anchor="middle">{end:+.1f}</text>'
            )
    for k, one in enumerate(places):
        y = 18 + row * k
        name = one.name if len(one.name) <= 18 else one.name[:17] + "…"
        parts.append(f'<text x="{left - 20:.0f}" y="{y + 5:.0f}" text-anchor="end">{escape(name)}</text>')
        if math.isfinite(one.low):
            parts.append(f'<line class="span" x1="{x(one.low):.1f}" x2="{x(one.high):.1f}" y1="{y:.0f}" y2="{y:.0f}"/>')
        parts.append(f'<circle class="dot" cx="{x(one.strength):.1f}" cy="{y:.0f}" r="5"/>')
    label = "strength of each model with its interval"
    return f'<svg viewBox="0 0 520 {tall:.0f}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _people(annotators: Sequence[Annotator]) -> str:
    if not annotators:
        return "<p>Nobody yet.</p>"
    rows = "".join(
        f"<tr><th>{escape(one.name)}</th><td class=n>{one.comparisons:,}</td><td class=n>{one.decisive:,}</td>"
        f"<td class=n>{one.ties:,}</td><td class=n>{one.bad:,}</td><td class=n>{one.skip:,}</td>{_cell(one.left)}"
        f"{_cell(one.itself)}{_cell(one.agrees)}"
        f"<td class=n>{'-' if one.seconds is None else f'{one.seconds:.1f} s'}</td></tr>"
        for one in annotators
    )
    heads = (
        "judgements",
        "decided",
        "ties",
        "bad",
        "skipped",
        "left",
        "agrees with self",
        "with others",
        "median time",
    )
    head = "".join(f"<th class=n>{name}</th>" for name in heads)
    return f"<div class=wide><table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>"


def _cell(share: Share) -> str:
    note = f"<small>{share.low:.0%}–{share.high:.0%}</small>" if share.of else ""
    return f"<td class=n>{_percent(share)}{note}</td>"
