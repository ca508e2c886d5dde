"""What an alignment won and what it cost: figures before and after, and the page that shows them.

print(better.price)                    a line a figure
better.price.to_html("align.html")     one page that stands alone: reward against sqrt(KL), the figures, examples
better.price["valid"].after

Reward is easily won: a policy that writes one sentence for ever may be paid best of all. What tells is the price: how
far it went (KL, in nats an item), and what became of everything that nobody asked for. Gao et al. 2023
(arXiv:2210.10760) draw reward against sqrt(KL), along which a proxy's gain first rises and then turns; beside the run
stands the frontier, the most that any policy can earn at a distance,

    pi*(x) = pi_0(x) exp(R(x) / beta) / Z,        (KL(pi* || pi_0), E_pi*[R])  for all beta,

estimated from items of the start by their weights exp(R / beta), as far as these still have company.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from likely.errors import ArtifactError, OptionError
from likely.evaluate import price_page
from likely.evaluate.card import Verdict
from likely.evaluate.price_page import number
from likely.evaluate.report import write

FRONTIER = 24  # points of the frontier
COMPANY = 1 / 32  # of the items: the least effective number of them that a point of the frontier may rest on
LARGE = 1e12  # figures beyond are damage


@dataclass(frozen=True)
class Figure:
    """One thing before and after. `better`: 1 where larger is better, -1 where smaller is, 0 where neither. `noise`:
    the standard error of the change, 0 = not known. The verdicts are the report card's."""

    name: str
    title: str
    group: str
    before: float | None
    after: float | None
    better: int = 0
    noise: float = 0.0
    sentence: str = ""
    was: Verdict = "none"
    verdict: Verdict = "none"

    @property
    def change(self) -> float | None:
        """after - before."""
        return None if self.before is None or self.after is None else self.after - self.before

    @property
    def turn(self) -> int:
        """1 better, -1 worse, 0 neither or no more than noise."""
        change = self.change
        if change is None or not self.better or abs(change) <= max(2 * self.noise, 1e-9):
            return 0
        return 1 if change * self.better > 0 else -1


class Example(NamedTuple):
    """What a person looks at: one item with its reward, or several in one picture."""

    media: str
    data: bytes
    reward: float | None = None


@dataclass(frozen=True)
class Price:
    """The last alignment of a generator. `entry` is what its card says; `before` and `after` are examples, which no
    file holds. `model` in a word."""

    entry: Mapping[str, Any]
    figures: tuple[Figure, ...]
    model: str = ""
    before: tuple[Example, ...] = field(default=(), compare=False, repr=False)
    after: tuple[Example, ...] = field(default=(), compare=False, repr=False)

    def __getitem__(self, name: str) -> Figure:
        """The figure called `name`. Raises KeyError."""
        for one in self.figures:
            if one.name == name:
                return one
        raise KeyError(f"no figure called {name!r}; there are {', '.join(one.name for one in self.figures)}")

    def __str__(self) -> str:
        entry = self.entry
        lines = [price_page.heading(entry), price_page.answer(entry), ""]
        lines.append(f"{'':36}{'before':>10}{'after':>10}{'change':>10}")
        group = ""
        for one in self.figures:
            if one.group != group:
                group = one.group
                lines.append(group)
            sign = {1: " better", -1: " WORSE", 0: ""}[one.turn]
            shown = (number(one.before), number(one.after), number(one.change, signed=True))
            lines.append(f"  {_cut(one.title, 33):34}" + "".join(f"{value:>10}" for value in shown) + sign)
        return "\n".join([*lines, *(f"Note: {note}" for note in entry.get("notes", ()))])

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return dict(self.entry)

    def to_html(self, path: str | Path | None = None) -> str:
        """The page; written to `path` if one is given. Raises StorageError."""
        text = price_page.html(self)
        if path is not None:
            write(Path(path), text)
        return text

    def save(self, path: str | Path) -> None:
        """A page (.html) or figures (.json), by the ending. Raises OptionError, StorageError."""
        path = Path(path)
        if path.suffix.lower() in (".html", ".htm"):
            self.to_html(path)
        elif path.suffix.lower() == ".json":
            write(path, json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False, indent=1) + "\n")
        else:
            raise OptionError(f"This page is written as .html or .json, not {path.suffix or path.name!r}.")

    @classmethod
    def of(cls, entry: Any, model: str = "", before: Sequence[Example] = (), after: Sequence[Example] = ()) -> Self:
        """From an entry of a card, which may come from a file. Raises ArtifactError."""
        try:
            found = tuple(_figure(one) for one in entry.get("figures", ()))
            for name in ("before", "after", "won", "beta", "steps"):
                _number(entry[name])
            for name in ("kl", "bound", "spread before", "spread after"):
                _number(entry.get(name, 0.0))
            for row in entry["rows"]:
                for value in row.values():
                    _number(value)
            for pair in entry.get("frontier", ()):
                x, y = pair
                _number(x)
                _number(y)
            texts = [entry["method"], entry["reward"], *entry.get("notes", ())]
            if not all(isinstance(text, str) for text in texts):
                raise TypeError("a text is no text")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ArtifactError(f"What this file says of its alignment is damaged ({str(error)[:80]}).") from error
        return cls(entry, found, model, tuple(before), tuple(after))


def stored(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    """Figures as plain values."""
    return [{name: _plain(value) for name, value in asdict(one).items()} for one in figures]


def frontier(rewards: np.ndarray) -> list[tuple[float, float]]:
    """(sqrt(KL), reward) of the best policies, by rewards (n,) of items of the start; empty where all are alike."""
    rewards = np.asarray(rewards, np.float64)
    spread = rewards.std()
    if len(rewards) < 2 or spread <= 1e-9:
        return []
    found = [(0.0, float(rewards.mean()))]
    for beta in spread * np.geomspace(10, 0.05, 8 * FRONTIER):
        weight = np.exp((rewards - rewards.max()) / beta)
        weight /= weight.sum()
        if 1 / (weight**2).sum() < COMPANY * len(rewards):
            break
        kl = float((weight * np.log(np.maximum(weight * len(rewards), 1e-300))).sum())
        found.append((math.sqrt(max(kl, 0.0)), float(weight @ rewards)))
    keep = np.unique(np.linspace(0, len(found) - 1, min(FRONTIER, len(found))).round().astype(int))
    return [(round(found[k][0], 8), round(found[k][1], 8)) for k in keep]


def _figure(one: Any) -> Figure:
    names = {f.name for f in fields(Figure)}
    made = Figure(**{name: value for name, value in one.items() if name in names})
    for value in (made.before, made.after):
        if value is not None:
            _number(value)
    _number(made.noise)
    texts = (made.name, made.title, made.group, made.sentence)
    if made.better not in (-1, 0, 1) or not all(isinstance(text, str) for text in texts):
        raise ValueError("a figure is damaged")
    if not {made.was, made.verdict} <= {"good", "look", "bad", "none"}:
        raise ValueError("a verdict is damaged")
    return made


def _number(value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LARGE:
        raise ValueError(f"{str(value)[:20]} is no number")


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
