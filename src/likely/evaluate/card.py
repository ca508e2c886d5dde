"""What a report card holds: rows of figures, pictures as numbers, remarks. Plain data, to JSON and back.

Everything a page or a terminal shows is in here, and nothing that was measured on the way is kept beside it, so that a
card stored inside a model file reads the same years later. JSON is strict: what is undefined is null, never NaN. Rare
levels and extreme values of the real table are not in it: a card is made to be shown.
"""

from __future__ import annotations

import math
import types
from dataclasses import Field, asdict, dataclass, field, fields, is_dataclass
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from likely.errors import ArtifactError
from likely.evaluate.vocabulary import Kind

Verdict = Literal["good", "look", "bad", "none"]  # none: for information, or not applicable
Group = Literal["true", "varied", "valid", "private"]
Share = Literal["yes", "look first", "no", "not measured"]
FORMAT = 1
LATER: dict[str, Any] = {"kind": "rows", "curves": []}  # fields that came later, left out of the JSON at these values


@dataclass(frozen=True)
class Row:
    """One metric. `value` is None where it is not applicable, and `sentence` says why.

    `ceiling` is what real rows in the place of the made ones score, `floor` what a bad table would (`floor_is`), `best`
    the value of a perfect table, `low` and `high` a 95 % interval of the value.
    """

    name: str
    title: str
    group: Group
    value: float | None
    ceiling: float | None
    floor: float | None
    best: float | None
    low: float | None
    high: float | None
    verdict: Verdict
    sentence: str
    floor_is: str = ""


@dataclass(frozen=True)
class Bars:
    """One column's picture: the share of real and made rows in each of K bars.

    `labels` are the K levels; or the K lower edges of numbers and the last upper one; then "missing", where cells are.
    """

    name: str
    kind: str
    score: float | None
    ceiling: float | None
    real: tuple[float, ...]
    made: tuple[float, ...]
    labels: tuple[str, ...]


@dataclass(frozen=True)
class Tie:
    """A pair of columns whose trend the made rows lose; `strength`, how closely the real rows tie them, in [0, 1]."""

    left: str
    right: str
    score: float
    ceiling: float
    strength: float | None


@dataclass(frozen=True)
class Heat:
    """How much of each pair's trend is lost: ceiling - score, in [0, 1]. Row i pairs column i with columns 0..i-1."""

    names: tuple[str, ...]
    loss: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class Near:
    """Distances to the nearest training row, as shares in bars: made rows beside hold-out rows."""

    edges: tuple[float, ...]
    made: tuple[float, ...]
    fresh: tuple[float, ...]


@dataclass(frozen=True)
class Curve:
    """A mean over all windows of one channel: `measure` ("autocorrelation", "spectrum") at the places `x`, of real and
    made windows. `score` and `ceiling` are distances, 0 = alike."""

    name: str
    measure: str
    score: float | None
    ceiling: float | None
    x: tuple[float, ...]
    real: tuple[float, ...]
    made: tuple[float, ...]


@dataclass(frozen=True)
class Card:
    """All of a report. `share` is the answer to "may I share it?"; `about` says which model, in words.

    `kind` is what was compared, and `curves` are those of windows; a card of a table has neither in its JSON.
    """

    answer: str
    share: Share
    reasons: tuple[str, ...]
    rows: tuple[Row, ...]
    columns: tuple[Bars, ...] = ()
    heat: Heat | None = None
    ties: tuple[Tie, ...] = ()
    near: Near | None = None
    counts: dict[str, int] = field(default_factory=dict)
    seed: int = 0
    about: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    seconds: float = 0.0  # CPU seconds of the whole evaluation
    kind: Kind = "rows"
    curves: tuple[Curve, ...] = ()

    def __getitem__(self, name: str) -> Row:
        """The row called `name`: card["c2st"].value. Raises KeyError."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(f"no row called {name!r}; there are {', '.join(row.name for row in self.rows)}")

    def tile(self, *groups: Group) -> Verdict:
        """The worst verdict of some groups; "none" where nothing could be judged."""
        found = [row.verdict for row in self.rows if row.group in groups]
        worst: tuple[Verdict, ...] = ("bad", "look", "good")
        return next((verdict for verdict in worst if verdict in found), "none")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` takes them back."""
        plain = _plain({one.name: _deep(getattr(self, one.name)) for one in fields(self) if _stored(one)})
        assert isinstance(plain, dict)
        for name, default in LATER.items():
            if plain[name] == default:
                del plain[name]
        return {"format": FORMAT, **plain}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_dict`. Raises ArtifactError where the data is not a report card."""
        if not isinstance(data, dict) or data.get("format") != FORMAT:
            given = data.get("format") if isinstance(data, dict) else type(data).__name__
            raise ArtifactError(f"This is no report card of format {FORMAT} (it says {str(given)[:40]!r}).")
        built = _build(cls, {key: value for key, value in data.items() if key != "format"}, "report")
        assert isinstance(built, cls)
        return built


def _stored(one: Field[Any]) -> bool:
    """Whether a field is part of the JSON: `Report.pictures` is not."""
    return bool(one.metadata.get("stored", True))


def _deep(value: Any) -> Any:
    """Dataclasses, however deep, as dictionaries."""
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return tuple(_deep(item) for item in value) if isinstance(value, tuple) else value


def _plain(value: Any) -> Any:
    """Tuples as lists, undefined and infinite numbers as None."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def _build(kind: Any, value: Any, place: str) -> Any:
    """A value of JSON as the type that a field is declared with. Raises ArtifactError with the place that is wrong."""
    origin, inside = get_origin(kind), get_args(kind)
    if is_dataclass(kind) and isinstance(kind, type):
        names = {one.name for one in fields(kind) if _stored(one)}
        if not isinstance(value, dict) or not set(value) <= names:
            raise _damaged(place)
        hints = get_type_hints(kind)
        try:
            return kind(**{name: _build(hints[name], item, f"{place}.{name}") for name, item in value.items()})
        except TypeError as error:  # a field without a default is absent
            raise _damaged(place) from error
    if origin in (Union, types.UnionType):
        if value is None and type(None) in inside:
            return None
        return _build(next(one for one in inside if one is not type(None)), value, place)
    if origin is tuple and isinstance(value, list):
        return tuple(_build(inside[0], item, f"{place}[{i}]") for i, item in enumerate(value))
    if origin is dict and isinstance(value, dict):
        return {str(key): _build(inside[1], item, f"{place}.{str(key)[:40]}") for key, item in value.items()}
    if origin is Literal and value in inside:
        return value
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    if kind in (str, int) and type(value) is kind:
        return value
    raise _damaged(place)


def _damaged(place: str) -> ArtifactError:
    return ArtifactError(f"The report card is damaged at {place[:120]}: measure it again with report(holdout).")
