"""Which model is better: strengths from judged pairs, with ties, weights and intervals.

Bradley and Terry (1952) with ties by Davidson (1970). Player i has strength theta_i = log pi_i; with eta = log nu

    p(i > j) = pi_i / Z,   p(j > i) = pi_j / Z,   p(tie) = nu sqrt(pi_i pi_j) / Z
    Z = pi_i + pi_j + nu sqrt(pi_i pi_j)

that is softmax(theta_i, theta_j, eta + (theta_i + theta_j) / 2): an exponential family, so the log-likelihood is
concave and Newton's method climbs it. Each theta has a normal prior of standard deviation `prior` (10 by default),
so that a player who never lost is strong but not infinite, and eta the same. Without ties nu = 0.

Strengths are only comparable within a component of the graph of who met whom; each component has mean zero.
Intervals: percentiles of a bootstrap that draws whole items, since judgements of one item are no independent evidence.

Sources: Bradley and Terry, Biometrika 39 (1952); Davidson, JASA 65 (1970) 317-328; Hunter, Ann. Statist. 32 (2004).

Shapes: M pairs, P players.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from likely.align.preference import Judgements, Pair
from likely.errors import DataError, OptionError

PLAYERS = 2000  # Newton's matrix is P x P
Array = np.ndarray[Any, np.dtype[Any]]


@dataclass(frozen=True)
class Place:
    """One player: strength in nats with its interval, wins, ties and losses (weighted), component."""

    name: str
    strength: float
    low: float
    high: float
    wins: float
    ties: float
    losses: float
    component: int


@dataclass(frozen=True)
class Ranking:
    """Players, the strongest first. `tie`: nu, 0 without ties. `notes`: what to know before believing it."""

    places: tuple[Place, ...]
    tie: float
    pairs: int
    notes: tuple[str, ...]

    def win(self, one: str, other: str) -> float:
        """The chance that `one` is preferred, where somebody prefers. NaN where they are not comparable."""
        a, b = self._place(one), self._place(other)
        return math.nan if a.component != b.component else 1 / (1 + math.exp(b.strength - a.strength))

    def _place(self, name: str) -> Place:
        for place in self.places:
            if place.name == name:
                return place
        raise DataError(f"{name!r} was not ranked; ranked: {', '.join(place.name for place in self.places[:20])}.")

    def __str__(self) -> str:
        width = max((len(place.name) for place in self.places), default=0)
        lines = [f"{'':{width}}  strength  (95% interval)     wins   ties losses"]
        for one in self.places:
            span = f"({one.low:.3f} to {one.high:.3f})"
            counts = (f"{value:.1f}".removesuffix(".0") for value in (one.wins, one.ties, one.losses))
            columns = "".join(f"{text:>7}" for text in counts)
            lines.append(f"{one.name:{width}}  {one.strength:8.3f}  {span:18}{columns}")
        return "\n".join([*lines, *(f"Note: {note}" for note in self.notes)])


def rank(
    judgements: Judgements | Sequence[Pair], *, by: Literal["model", "candidate"] = "model", prior: float = 10.0,
    draws: int = 200, seed: int = 0,
) -> Ranking:  # fmt: skip
    """Strengths of the models (or of single candidates, by id). `draws`: bootstrap samples, 0 = no intervals (NaN).

    Raises DataError where no pair tells anything about them, OptionError for options that make no sense.
    """
    if by not in ("model", "candidate"):
        raise OptionError(f"by is {by!r}; it must be 'model' or 'candidate'.")
    if not (prior > 0 and math.isfinite(prior)):
        raise OptionError(f"prior is {prior!r}; it must be a standard deviation > 0, in nats.")
    if draws < 0:
        raise OptionError(f"draws is {draws}; it must be 0 or more.")
    pairs = judgements.pairs() if isinstance(judgements, Judgements) else list(judgements)
    if not pairs:
        raise DataError("No pair is judged yet; judge some: likely rank MODEL.likely")
    met = [pair for pair in pairs if _name(pair.left, by) != _name(pair.right, by)]
    notes = []
    if len(met) < len(pairs):
        notes.append(f"{len(pairs) - len(met)} pairs show one {by} twice and were left out.")
    if not met:
        hint = "; give candidates a model, or rank by='candidate'." if by == "model" else "."
        raise DataError(f"None of {len(pairs)} judged pairs is of two different {by}s{hint}")
    names = sorted({_name(side, by) for pair in met for side in (pair.left, pair.right)})
    if len(names) > PLAYERS:
        raise DataError(f"There are {len(names)} {by}s; at most {PLAYERS} can be ranked together.")
    place = {name: k for k, name in enumerate(names)}
    i = np.array([place[_name(pair.left, by)] for pair in met])
    j = np.array([place[_name(pair.right, by)] for pair in met])
    y = np.array([("left", "right", "tie").index(pair.outcome) for pair in met])
    w = np.array([pair.weight for pair in met])
    theta, tie = fit(i, j, y, w, len(names), prior=prior)
    parts, component = connected_components(coo_array((w, (i, j)), shape=(len(names),) * 2), directed=False)
    theta = _centred(theta, component, int(parts))
    low, high = _bootstrap(met, (i, j, y, w), theta, component, prior, draws, seed)
    counts = np.zeros((len(names), 3))  # wins, ties, losses
    for side, columns in ((i, (0, 2, 1)), (j, (2, 0, 1))):
        np.add.at(counts, (side, np.array(columns)[y]), w)
    notes += _notes(names, i, j, y, component, parts)
    made = [
        Place(name or "(no name)", float(theta[k]), float(low[k]), float(high[k]), float(counts[k, 0]),
              float(counts[k, 1]), float(counts[k, 2]), int(component[k]))
        for k, name in enumerate(names)
    ]  # fmt: skip
    return Ranking(tuple(sorted(made, key=lambda one: (-one.strength, one.name))), tie, len(met), tuple(notes))


def fit(
    i: Array, j: Array, y: Array, w: Array, players: int, *, prior: float = 10.0, start: Array | None = None
) -> tuple[Array, float]:
    """theta (P,) and nu at the maximum. i, j (M,) players, y (M,) 0 = i won, 1 = j won, 2 = tie, w (M,) weights."""
    ties = bool(((y == 2) & (w > 0)).any())
    x: Array = np.zeros(players + 1) if start is None else np.append(start, 0.0)
    value, slope, curve = _likelihood(x, i, j, y, w, prior, ties)
    for _ in range(100):
        step = np.linalg.solve(curve, slope)
        size = 1.0
        while True:  # Newton's step, halved until it climbs
            tried = x + size * step
            new = _likelihood(tried, i, j, y, w, prior, ties)
            if new[0] >= value - 1e-12 * abs(value) or size < 1e-6:
                break
            size /= 2
        x, (value, slope, curve) = tried, new
        if np.abs(slope).max() < 1e-9 * max(1.0, float(w.sum())):
            break
    return x[:-1], float(np.exp(x[-1])) if ties else 0.0


def _likelihood(
    x: Array, i: Array, j: Array, y: Array, w: Array, prior: float, ties: bool
) -> tuple[float, Array, Array]:
    """Log-posterior, gradient (P+1,), minus its matrix of second derivatives (P+1, P+1)."""
    n, theta = len(x) - 1, x[:-1]
    eta = x[-1] if ties else -np.inf
    logits = np.stack([theta[i], theta[j], eta + (theta[i] + theta[j]) / 2])  # (3, M)
    top = logits.max(0)
    p = np.exp(logits - top)
    total = p.sum(0)
    p /= total
    value = float((w * (logits[y, np.arange(len(y))] - top - np.log(total))).sum() - (x @ x) / (2 * prior**2))
    hit = y[None] == np.arange(3)[:, None]
    left = w * ((hit[0] - p[0]) + (hit[2] - p[2]) / 2)
    right = w * ((hit[1] - p[1]) + (hit[2] - p[2]) / 2)
    slope: Array = np.bincount(i, left, n) + np.bincount(j, right, n)
    slope = np.append(slope, (w * (hit[2] - p[2])).sum() if ties else 0.0) - x / prior**2
    # The three logits as functions of (theta_i, theta_j, eta): the covariance of their rows under p.
    rows = np.array([[1.0, 0, 0], [0, 1.0, 0], [0.5, 0.5, 1.0]])
    mean = rows.T @ p  # (3, M)
    second = np.einsum("km,ka,kb->abm", p, rows, rows) - mean[:, None] * mean[None]
    curve = np.eye(n + 1) / prior**2
    places = (i, j, np.full_like(i, n))
    for a in range(3 if ties else 2):
        for b in range(3 if ties else 2):
            np.add.at(curve, (places[a], places[b]), w * second[a, b])
    return value, slope, curve


def _bootstrap(
    met: Sequence[Pair], data: tuple[Array, Array, Array, Array], theta: Array, component: Array, prior: float,
    draws: int, seed: int,
) -> tuple[Array, Array]:  # fmt: skip
    if draws == 0:
        return np.full(len(theta), np.nan), np.full(len(theta), np.nan)
    i, j, y, w = data
    number = {name: k for k, name in enumerate(dict.fromkeys(pair.item for pair in met))}
    item = np.array([number[pair.item] for pair in met])
    rng, made, parts = np.random.default_rng(seed), [], int(component.max()) + 1
    for _ in range(draws):
        times = np.bincount(rng.integers(0, len(number), len(number)), minlength=len(number))[item]
        keep = times > 0
        drawn, _ = fit(i[keep], j[keep], y[keep], (w * times)[keep], len(theta), prior=prior, start=theta)
        made.append(_centred(drawn, component, parts))
    low, high = np.quantile(np.stack(made), [0.025, 0.975], axis=0)
    return low, high


def _centred(theta: Array, component: Array, parts: int) -> Array:
    sizes = np.bincount(component, minlength=parts)
    centred: Array = theta - (np.bincount(component, theta, parts) / sizes)[component]
    return centred


def _notes(names: Sequence[str], i: Array, j: Array, y: Array, component: Array, parts: int) -> list[str]:
    notes = []
    if parts > 1:
        groups = [", ".join(name[:40] or "(no name)" for name, part in zip(names, component, strict=True) if part == k)
                  for k in range(parts)]  # fmt: skip
        shown = "; ".join(groups[:5]) + ("; ..." if parts > 5 else "")
        notes.append(f"Not comparable, since nobody compared them: {parts} groups ({shown}).")
    # Who beat or tied whom: where the graph is not strongly connected, the strengths rest on the prior.
    tie = y == 2
    winner, loser = np.where(y == 1, j, i), np.where(y == 1, i, j)
    a, b = np.concatenate([winner, loser[tie]]), np.concatenate([loser, winner[tie]])
    strong, _ = connected_components(coo_array((np.ones(len(a)), (a, b)), shape=(len(names),) * 2), connection="strong")
    if strong > parts:
        notes.append("Some never lost, or never won, against the others: how far apart they are is held by the prior.")
    return notes


def _name(side: Any, by: str) -> str:
    return str(side.model if by == "model" else side.id)
