"""Small pictures as inline SVG, drawn by hand: gauges, histograms, a heat map, a distance plot.

No script and no size in the file depends on a column's name: every text passes `escape`. Colours are CSS classes of the
page, so that light, dark and print need no second picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from likely.evaluate.card import Bars, Heat, Near, Row

MARKS = {  # a shape beside each colour: for eyes that do not tell red from green
    "good": '<circle cx="5" cy="5" r="5"/>',
    "look": '<path d="M5 0 10 10H0z"/>',
    "bad": '<rect width="10" height="10"/>',
    "none": '<rect y="4" width="10" height="2.5"/>',
}
FULL = 0.15  # a pair that loses this much has the darkest colour


def mark(verdict: str) -> str:
    """The sign of a verdict: circle, triangle, square, dash."""
    return f'<svg viewBox="0 0 10 10" aria-hidden="true">{MARKS[verdict]}</svg>'


def gauge(row: Row, many: str = "rows") -> str:
    """Where a value lies between the floor (left) and perfect (right)."""
    if row.value is None or row.best is None:
        return ""
    side = -1.0 if row.best == 1 else 1.0  # on which side of `best` values are worse
    marks = [x for x in (row.value, row.floor) if x is not None]
    far = max([side * (x - row.best) for x in marks] + [0.05])

    def at(x: float) -> float:
        return round(6 + 160 * min(1.0, max(0.0, 1 - side * (x - row.best) / far)), 1)  # type: ignore[operator]

    parts = ['<line class="axis" x1="6" y1="12" x2="166" y2="12"/>']
    if row.low is not None and row.high is not None:
        parts.append(f'<line class="span" x1="{at(row.low)}" y1="12" x2="{at(row.high)}" y2="12"/>')
    if row.floor is not None:
        parts.append(f'<circle class="low" cx="{at(row.floor)}" cy="12" r="3.5"/>')
    if row.ceiling is not None:
        parts.append(f'<line class="top" x1="{at(row.ceiling)}" y1="3" x2="{at(row.ceiling)}" y2="21"/>')
    parts.append(f'<circle class="dot" cx="{at(row.value)}" cy="12" r="5.5"/>')
    says = f"value {row.value:.3f}" + (f", real {many} {row.ceiling:.3f}" if row.ceiling is not None else "")
    return f'<svg class="gauge" viewBox="0 0 172 24" role="img" aria-label="{says}">{"".join(parts)}</svg>'


def histogram(bars: Bars) -> str:
    """One column: real rows as grey bars, made rows as a line over numbers or as a second bar beside a level."""
    return _levels(bars) if bars.kind in ("category", "flag") else _numbers(bars)


def _levels(bars: Bars) -> str:
    """Two horizontal bars a level, with its name above: names of any length stay readable."""
    top = max([*bars.real, *bars.made, 1e-9])
    parts = []
    for k, label in enumerate(bars.labels):
        y = 15 * k
        parts.append(
            f'<text x="82" y="{y + 9}" text-anchor="end">{escape(_short(label, 12))}'
            f"<title>{escape(label)}</title></text>"
            f'<rect class="real" x="86" y="{y + 1}" width="{_n(104 * bars.real[k] / top)}" height="6"/>'
            f'<rect class="madebar" x="86" y="{y + 7.5}" width="{_n(104 * bars.made[k] / top)}" height="3"/>'
        )
    return _svg("chart", 190, max(15 * len(bars.labels), 96), parts, bars.name)


def _numbers(bars: Bars) -> str:
    """Grey bars and a stepped line; a last bar apart for missing cells."""
    missing = bool(bars.labels) and bars.labels[-1] == "missing"
    count = len(bars.real) - missing
    top = max([*bars.real, *bars.made, 1e-9])
    room = 166 if missing and count else 190
    width = room / max(count, 1)

    def box(x: float, share: float, wide: float) -> str:
        high = 78 * share / top
        return f'<rect class="real" x="{_n(x)}" y="{_n(80 - high)}" width="{_n(wide)}" height="{_n(high)}"/>'

    parts = [box(k * width + 0.4, bars.real[k], max(width - 0.8, 0.6)) for k in range(count)]
    if count:
        parts.append(f'<path class="made" d="{_steps(bars.made[:count], width, 80, 78 / top)}"/>')
        parts += [f'<text x="0" y="93">{escape(bars.labels[0])}</text>',
                  f'<text x="{room}" y="93" text-anchor="end">{escape(bars.labels[count])}</text>']  # fmt: skip
    if missing:
        x, edge, anchor = (room + 6, 190, "end") if count else (0, 0, "start")
        parts.append(box(x, bars.real[-1], 18))
        parts.append(f'<path class="made" d="M{x} {_n(80 - 78 * bars.made[-1] / top)}h18"/>')
        parts.append(f'<text x="{edge}" y="93" text-anchor="{anchor}">∅</text>')
    parts.append('<line class="base" x1="0" y1="80.5" x2="190" y2="80.5"/>')
    return _svg("chart", 190, 96, parts, bars.name)


def heat(map_: Heat) -> str:
    """A triangle of squares: darker = more of the pair's trend is lost."""
    size = len(map_.names)
    cell = max(12.0, min(34.0, 620 / size))
    left, under = 118.0, 92.0
    parts = []
    for i in range(size):
        y = i * cell
        if i:
            parts.append(_label(left - 6, y + cell / 2 + 3, map_.names[i], 20))
        for j, lost in enumerate(map_.loss[i]):
            place = f'x="{_n(left + j * cell)}" y="{_n(y)}" width="{_n(cell - 1)}" height="{_n(cell - 1)}"'
            title = f"{map_.names[j]} and {map_.names[i]}: " + (
                f"{lost:.3f} lost" if lost is not None else "no trend to compare"
            )
            shade = f'<rect {place} fill-opacity="{_n(min(1.0, lost / FULL), 2)}"/>' if lost else ""
            parts.append(f'<g><title>{escape(title)}</title><rect class="cell" {place}/>{shade}</g>')
        if i < size - 1:
            x, y = left + i * cell + cell / 2 + 3, size * cell + 5
            turned = f'<text transform="translate({_n(x)} {_n(y)}) rotate(-55)" text-anchor="end">'
            parts.append(f"{turned}{escape(_short(map_.names[i], 17))}</text>")
    width, height = left + size * cell, size * cell + under
    svg = _svg("heat", width, height, parts, "trend lost, pair by pair")
    return svg.replace("<svg ", f'<svg style="max-width:{_n(width * 1.15)}px" ', 1)


def distances(near: Near, one: str = "row") -> str:
    """Distances to the nearest training row (or other kind of item): unseen rows in grey, made rows as a line."""
    top = max([*near.fresh, *near.made, 1e-9])
    width = 640 / max(len(near.fresh), 1)
    parts = [
        f'<rect class="real" x="{_n(20 + k * width + 0.5)}" y="{_n(180 - 165 * share / top)}" width="{_n(width - 1)}" '
        f'height="{_n(165 * share / top)}"/>'
        for k, share in enumerate(near.fresh)
    ]
    line = _steps(near.made, width, 180, 165 / top)
    parts.append(f'<g transform="translate(20 0)"><path class="made" d="{line}"/></g>')
    parts.append('<line class="base" x1="20" y1="180.5" x2="660" y2="180.5"/>')
    ticks = near.edges[:: max(1, (len(near.edges) - 1) // 5)]
    for k, edge in enumerate(ticks):
        x = 20 + 640 * edge / (near.edges[-1] or 1)
        anchor = "start" if k == 0 else "middle" if x < 650 else "end"
        parts.append(f'<text x="{_n(x)}" y="195" text-anchor="{anchor}">{edge:.2g}</text>')
    parts.append(f'<text x="340" y="212" text-anchor="middle">distance to the nearest training {one}</text>')
    return _svg("chart", 680, 220, parts, f"distances to the nearest training {one}")


def _steps(shares: Sequence[float], width: float, base: float, scale: float) -> str:
    """A path that runs along the tops of bars."""
    parts = [f"M0 {_n(base)}"]
    for k, share in enumerate(shares):
        parts.append(f"V{_n(base - scale * share)}H{_n((k + 1) * width)}")
    return "".join([*parts, f"V{_n(base)}"])


def _label(x: float, y: float, text: str, length: int) -> str:
    return f'<text x="{_n(x)}" y="{_n(y)}" text-anchor="end">{escape(_short(text, length))}</text>'


def _short(text: str, length: int) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"


def _n(x: float, digits: int = 1) -> str:
    """A number as short as it can be written."""
    return f"{x:.{digits}f}".rstrip("0").rstrip(".") if digits else f"{x:.0f}"


def _svg(kind: str, width: float, height: float, parts: Iterable[str], label: str) -> str:
    box = f"0 0 {_n(width)} {_n(height)}"
    return f'<svg class="{kind}" viewBox="{box}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'
