"""What the server counts, in the text format that Prometheus reads (version 0.0.4).

Labels have few values: routes and models are those that there are, whatever a client asks for. All counting happens in
the thread of the event loop.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
Labels = tuple[tuple[str, str], ...]
Sample = tuple[dict[str, str], float]

HELP = {
    "requests_total": "Requests answered, by route and HTTP status.",
    "rejected_total": "Requests refused before any work, by reason.",
    "tokens_total": "Tokens, of prompts read and of texts made (cancelled texts included).",
    "wasted_tokens_total": "Tokens made after nobody waited for them any more.",
    "texts_total": "Texts ended, by reason: end, stop, length, cancelled.",
    "request_seconds": "From a request's first byte to the last of its answer.",
    "first_token_seconds": "From a request's arrival to its first token.",
    "under_way": "Requests under way.",
    "active": "Texts that get a token each step, or verbs at work, by model.",
    "waiting": "Texts or verbs that wait for a model.",
    "ready": "1 when all models are loaded and the server takes requests.",
}


class Metrics:
    """Counters and histograms, made on first use; `gauge` registers what is measured when somebody looks."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[Labels, float]] = {}
        self._times: dict[str, dict[Labels, list[float]]] = {}  # counts of the buckets, of all, and the sum
        self._gauges: dict[str, Callable[[], Iterable[Sample]]] = {}

    def count(self, name: str, by: float = 1.0, **labels: str) -> None:
        """Count on."""
        series, key = self._counts.setdefault(name, {}), tuple(labels.items())
        series[key] = series.get(key, 0.0) + by

    def took(self, name: str, seconds: float, **labels: str) -> None:
        """Note a duration."""
        series = self._times.setdefault(name, {})
        found = series.setdefault(tuple(labels.items()), [0.0] * (len(SECONDS) + 2))
        place = bisect_left(SECONDS, seconds)
        if place < len(SECONDS):
            found[place] += 1
        found[-2] += 1
        found[-1] += seconds

    def gauge(self, name: str, look: Callable[[], Iterable[Sample]]) -> None:
        """What `look` gives is shown under this name."""
        self._gauges[name] = look

    def read(self, name: str, **labels: str) -> float:
        """The sum of a counter or gauge over all series that have these labels."""
        series = [(dict(key), value) for key, value in self._counts.get(name, {}).items()]
        series += list(self._gauges[name]()) if name in self._gauges else []
        return sum(value for key, value in series if labels.items() <= key.items())

    def text(self) -> str:
        """Everything, as Prometheus reads it."""
        lines = []
        for name, series in sorted(self._counts.items()):
            lines += _head(name, "counter")
            lines += [f"likely_{name}{_labels(dict(key))} {_number(value)}" for key, value in sorted(series.items())]
        for name, look in sorted(self._gauges.items()):
            lines += _head(name, "gauge")
            lines += [f"likely_{name}{_labels(labels)} {_number(value)}" for labels, value in look()]
        for name, times in sorted(self._times.items()):
            lines += _head(name, "histogram")
            for key, found in sorted(times.items()):
                lines += _histogram(f"likely_{name}", dict(key), found)
        return "\n".join(lines) + "\n"


def _head(name: str, kind: str) -> list[str]:
    return [f"# HELP likely_{name} {HELP[name]}", f"# TYPE likely_{name} {kind}"]


def _histogram(name: str, labels: dict[str, str], found: list[float]) -> list[str]:
    lines, total = [], 0.0
    for edge, count in zip(SECONDS, found, strict=False):
        total += count
        lines.append(f"{name}_bucket{_labels(labels | {'le': f'{edge:g}'})} {_number(total)}")
    lines.append(f"{name}_bucket{_labels(labels | {'le': '+Inf'})} {_number(found[-2])}")
    lines.append(f"{name}_sum{_labels(labels)} {_number(found[-1])}")
    lines.append(f"{name}_count{_labels(labels)} {_number(found[-2])}")
    return lines


def _labels(labels: dict[str, str]) -> str:
    def quoted(value: str) -> str:
        return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

    return "{" + ",".join(f'{name}="{quoted(value)}"' for name, value in labels.items()) + "}" if labels else ""


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
