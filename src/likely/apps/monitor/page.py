"""What a monitor saw, as one page of HTML that stands alone: no scripts, nothing loaded, every text escaped."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
import polars as pl

from likely.apps.monitor import plot, stamps
from likely.apps.monitor.episode import Episode, episodes
from likely.apps.monitor.model import Look, Monitor
from likely.apps.monitor.readings import Taken

MACHINES = 6  # drawn
SHOWN = 40  # episodes or rows listed
SENSORS = 24  # drawn
STYLE = """
:root{--paper:#fcfbf9;--ink:#1f2328;--soft:#656d76;--line:#e3e0da;--made:#2458a6;--bad:#b42f25;--look:#a86a07}
@media(prefers-color-scheme:dark){:root{--paper:#14171b;--ink:#e4e7ea;--soft:#98a1ab;--line:#2e343b;--made:#7fb0ff;
--bad:#f0776b;--look:#e0a843}}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,"Segoe UI","Liberation Sans",sans-serif}
main{max-width:1040px;margin:0 auto;padding:44px 24px 72px}
h1,h2{font-family:Charter,Georgia,"DejaVu Serif",serif;font-weight:600}h1{font-size:2rem;margin:0 0 .3em}
h2{font-size:1.3rem;margin:2em 0 .3em}p{margin:0 0 .8em;max-width:52em}.note{color:var(--soft);font-size:.9rem}
svg{display:block;width:100%;margin:2px 0;overflow:visible}text{font-size:11px;fill:var(--soft)}
.name{font-size:12px;fill:var(--ink)}.line{fill:none;stroke:var(--made);stroke-width:1.1;stroke-linejoin:round}
.grid{stroke:var(--line)}line.edge{stroke:var(--look);stroke-dasharray:5 4}text.edge{fill:var(--look)}
.alarm{fill:var(--bad)}.blame{fill:var(--bad);opacity:.28}.other{fill:var(--soft);opacity:.13}.heat{fill:var(--bad)}
table{border-collapse:collapse;width:100%;font-size:.9rem}td,th{text-align:left;padding:6px 12px 6px 0;
border-top:1px solid var(--line);vertical-align:top}thead th{color:var(--soft);font-weight:500;border:0}
.n{text-align:right;font-variant-numeric:tabular-nums}.key i{display:inline-block;width:14px;height:10px;margin:0 6px 0
14px} .k1{background:var(--bad);opacity:.35}.k2{background:var(--soft);opacity:.2}
"""
HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title><style>{style}</style></head><body><main>"""


def page(monitor: Monitor, data: Any, title: str = "What the monitor saw") -> str:
    """Score `data` and draw it. Raises what `Monitor.score` raises."""
    verdicts = monitor.score(data)
    looks, taken = monitor.look(data)
    budget, unit = monitor.threshold.budget, monitor.threshold.unit
    text = HEAD.format(title=escape(title), style=STYLE) + f"<h1>{escape(title)}</h1>"
    count = int(verdicts["alarm"].sum())
    if monitor.readings.ordered:
        found = episodes(verdicts)
        text += (
            f"<p>{len(taken.x):,} readings of {len(monitor.sensors)} columns, {len(verdicts):,} windows of "
            f"{monitor.length}: <b>{len(found)} alarm{'s' * (len(found) != 1)}</b>. An alarm rings where a normal "
            f"machine would cause fewer than {budget:g} {'a day' if unit == 'day' else 'in ' + escape(unit)}.</p>"
        )
        text += _list(found, unit) + _machines(monitor, looks, taken, verdicts, found)
    else:
        text += (
            f"<p>{len(verdicts):,} rows of {len(monitor.sensors)} columns: <b>{count:,} alarms</b>. An alarm rings "
            f"where fewer than {budget:g} of 1,000 normal rows would ring.</p>" + _rows(monitor, looks[0], verdicts)
        )
    return text + _drift(monitor.drift(data)) + "</main></body></html>"


def _list(found: list[Episode], unit: str) -> str:
    if not found:
        return ""
    named = any(one.entity for one in found)
    lines = "".join(
        f"<tr><td>{escape(str(one.start))}</td><td>{escape(str(one.end))}</td>"
        f"{f'<td>{escape(one.entity)}</td>' if named else ''}"
        f"<td><b>{escape(one.sensor)}</b>{' (stuck)' if one.stuck else ''}</td><td>{escape(str(one.at))}</td>"
        f'<td class="n">{_rate(one.false_alarms)}</td><td>{escape(", ".join(one.parts))}</td></tr>'
        for one in found[:SHOWN]
    )
    more = f'<p class="note">... and {len(found) - SHOWN} more.</p>' if len(found) > SHOWN else ""
    machine = ("machine",) if named else ()
    heads = ("from", "to", *machine, "sensor", "strangest at", f"false alarms per {unit}", "seen most by")
    head = "".join(f"<th>{name}</th>" for name in heads)
    return f"<h2>Alarms</h2><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>{more}"


def _machines(monitor: Monitor, looks: list[Look], taken: Taken, verdicts: pl.DataFrame, found: list[Episode]) -> str:
    text, first = "", 0
    by_entity: dict[int, list[tuple[int, Look]]] = {}
    for look in looks:
        by_entity.setdefault(look.segment.entity, []).append((first, look))
        first += len(look.starts)
    ranked = sorted(by_entity, key=lambda e: -max(float(look.nats.total.max()) for _, look in by_entity[e]))
    for code in ranked[:MACHINES]:
        name = taken.names[code]
        text += f"<h2>{escape(name) or 'The series'}</h2>" + _machine(monitor, by_entity[code], verdicts, found)
    if len(ranked) > MACHINES:
        text += f'<p class="note">The strangest {MACHINES} of {len(ranked)} machines are drawn.</p>'
    return text


def _machine(monitor: Monitor, looks: list[tuple[int, Look]], verdicts: pl.DataFrame, found: list[Episode]) -> str:
    T = monitor.length
    ends = np.concatenate([look.segment.stamps[look.starts + T - 1] for _, look in looks])
    begins = np.concatenate([look.segment.stamps[look.starts] for _, look in looks])
    rate = np.concatenate([look.rate for _, look in looks])
    parts = {
        name: np.concatenate([look.nats.parts[name].numpy() for _, look in looks]) for name in looks[0][1].nats.parts
    }
    rows = np.concatenate([first + np.arange(len(look.starts)) for first, look in looks])
    alarm = verdicts["alarm"].to_numpy()[rows]
    place = {int(row): k for k, row in enumerate(rows)}
    axis = plot.Axis(float(looks[0][1].segment.stamps[0]), float(looks[-1][1].segment.stamps[-1]))
    notation = stamps.ISO if monitor.readings.dated and monitor.readings.time else stamps.NUMBER
    spread = np.linspace(axis.low, axis.low + axis.span, 5)
    words = [(float(m), str(stamps.write(round(float(m)), notation))) for m in spread]
    spans = [
        (float(begins[place[one.first]]), float(ends[place[one.last]]), one) for one in found if one.first in place
    ]
    text = (
        '<p class="note">The higher, the rarer: how many false alarms it would cost to ring at a score like this. '
        "Each point is a window, drawn at its end.</p>"
    )
    text += plot.score(axis, ends, rate, alarm, monitor.threshold.budget, monitor.threshold.unit)
    text += plot.ticks(axis, words)
    text += (
        '<p class="note key">Sensors.<i class="k1"></i>alarm, this sensor is to blame<i class="k2"></i>alarm, '
        "another one is</p>"
    )
    owner = monitor.readings.owner
    when = np.concatenate([look.segment.stamps for _, look in looks])
    for c, name in list(enumerate(monitor.sensors))[:SENSORS]:
        column = int(np.flatnonzero(owner == c)[0])
        value = np.concatenate([look.segment.x[:, column] for _, look in looks])
        text += plot.sensor(axis, name, when, value, [(a, b, one.sensor == name) for a, b, one in spans])
    text += plot.ticks(axis, words)
    return text + '<p class="note">What each part sees; darker is stranger.</p>' + plot.strips(axis, ends, parts)


def _rows(monitor: Monitor, look: Look, verdicts: pl.DataFrame) -> str:
    order = np.arange(len(verdicts), dtype=float)
    axis = plot.Axis(0.0, max(1.0, len(order) - 1.0))
    alarm = verdicts["alarm"].to_numpy()
    text = "<h2>All rows</h2>" + plot.score(
        axis, order, look.rate, alarm, monitor.threshold.budget, monitor.threshold.unit
    )
    text += plot.ticks(axis, [(0.0, "row 0"), (order[-1], f"row {len(order) - 1:,}")])
    text += plot.strips(axis, order, {name: part.numpy() for name, part in look.nats.parts.items()})
    lines = "".join(
        f'<tr><td class="n">{row["row"]:,}</td><td class="n">{row["score"]:.1f}</td>'
        f'<td class="n">{_rate(row["false_alarms"])}</td>'
        f"<td><b>{escape(row['sensor'])}</b> ({row['share']:.0%})</td></tr>"
        for row in verdicts.sort("score", descending=True).head(SHOWN).to_dicts()
    )
    head = "<th>row</th><th>score, nats</th><th>false alarms per 1,000 rows</th><th>column</th>"
    return text + f"<h2>The strangest</h2><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


def _rate(value: float) -> str:
    return f"{value:.2g}" if value >= 1e-9 else "&lt; 1e-9"


def _drift(drift: pl.DataFrame) -> str:
    lines = "".join(
        f'<tr><td>{escape(row["column"])}</td><td class="n">{row["psi"]:.2f}</td><td class="n">{row["shift"]:.2f}</td>'
        f"<td>{'<b>moved</b>' if row['moved'] else 'as learned'}</td></tr>"
        for row in drift.to_dicts()
    )
    head = "<th>column</th><th class='n'>stability index</th><th class='n'>shift, in spreads</th><th></th>"
    return (
        '<h2>Drift</h2><p class="note">An alarm says that something is wrong now; drift says that what is normal has '
        "changed. If these data are normal, fit the monitor again with them.</p>"
        f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
    )
