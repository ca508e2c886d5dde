"""A reward learned from what people prefer: Bradley-Terry with ties over features of items.

    model = fit_reward(judgements, "words")
    model(["An answer.", "Another."], prompts=["What?", "What?"])      # numbers: larger is better
    print(model.report)

    r(x) = w.f(x),    rewards = (r - shift) / scale: mean 0, standard deviation 1 over the candidates

The law of an answer, with ties, reliability of annotators and coin throws, stands in `align.likelihood`. What holds w
small, a ridge for numbers and one for directions of wide features, is chosen by cross-validation of the likelihood of
the answers of items left out. Whole items are left out, so that no prompt and no ranking stands on both sides.

What the report says is measured on items left out once more: there scaling, directions, ridges and reliabilities are
all learned without them. The temperature that calibrates P(left) is fitted to those answers.

Letters: M pairs, n candidates, R numbers, W columns, K directions, A annotators.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from likely import artifact
from likely.align import agreement, fields, likelihood, reward_report
from likely.align.features import Array, Features, Raw, Scaling, Vectors, Words, directions, restored
from likely.align.likelihood import Law, Said
from likely.align.preference import Candidate, Judgements, Pair
from likely.align.reward_report import Held, Report
from likely.errors import ArtifactError, DataError, OptionError, UnknownName

APP = "reward"
LEAST = 10  # items with a decided pair
GOOD = 50
NEAR = 0.02  # nats from the maximum, while ridges are compared
RIDGES = (3.0, 10.0, 30.0, 100.0, 300.0)  # of numbers, whose standard deviation is 1
WIDE = (0.3, 1.0, 3.0, 10.0, 1e6)  # of directions, whose rows have about length 1; the last leaves them out


class Evidence(NamedTuple):
    """Judged pairs beside what was read of their candidates: places in `raw` of the left and the right one."""

    pairs: list[Pair]
    raw: Raw
    left: Array
    right: Array
    annotators: list[str]
    notes: list[str]


@dataclass
class Piece:
    """A reward before it is named: scaling, the law, and one weight a number (R,) and a column (W,)."""

    scaling: Scaling
    law: Law
    numbers: Tensor
    wide: Tensor
    ridge: tuple[float, float]

    def __call__(self, raw: Raw) -> Array:
        """(n,) rewards in nats."""
        found: Array = self.scaling.numbers(raw) @ self.numbers.numpy()
        if raw.wide is not None:
            found = found + np.asarray(self.scaling.wide(raw) @ self.wide.numpy())
        return found


@dataclass
class RewardModel:
    """Rewards of items. `sharpness`: nats that one unit of reward is worth for an average annotator; `temperature`:
    what its logits are divided by to be calibrated; `reliability` of annotators, 1 on (geometric) average."""

    features: Features
    piece: Piece
    shift: float
    scale: float
    temperature: float
    reliability: dict[str, float]
    report: Report | None = None
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def sharpness(self) -> float:
        """Nats a unit of reward."""
        return self.scale * math.exp(float(self.piece.law.s.mean()))

    @property
    def digest(self) -> str:
        """What tells one model from another: a hash of its weights and scale."""
        held = [self.piece.numbers, self.piece.wide, torch.tensor([self.shift, self.scale], dtype=torch.float64)]
        whole = b"".join(part.detach().cpu().contiguous().numpy().tobytes() for part in held)
        return hashlib.sha256(whole).hexdigest()[:12]

    def rewards(self, items: Any, prompts: Any = None) -> Tensor:
        """(n,) rewards, float64. `items` as the features read them: texts (with `prompts`), rows, images, vectors."""
        if _none(items) and (prompts is None or _none(prompts)):
            return torch.zeros(0, dtype=torch.float64)
        return torch.from_numpy((self.piece(self.features.read(items, prompts)) - self.shift) / self.scale)

    def __call__(self, items: Any, prompts: Any = None) -> list[float]:
        """The same as numbers: a reward as `gen.align` takes it."""
        return [float(value) for value in self.rewards(items, prompts)]

    def judge(self, candidates: Sequence[Candidate], prompts: Sequence[Any] | None = None) -> list[float]:
        """Rewards of candidates of judgements."""
        if not len(candidates):
            return []
        return self(*self.features.take(candidates, [None] * len(candidates) if prompts is None else prompts))

    def probability(self, left: Tensor, right: Tensor, annotator: str | None = None) -> Tensor:
        """P (n, 3) of left, right, tie for rewards (n,), calibrated; of an annotator, or of one on average."""
        if annotator is not None and annotator not in self.reliability:
            raise UnknownName("annotator", annotator, self.reliability)
        s = self.reliability[annotator] if annotator is not None else 1.0
        z = (torch.as_tensor(left) - torch.as_tensor(right)).double() * self.sharpness * s / self.temperature
        return likelihood.outcomes(z, self.piece.law.nu, self.piece.law.eps)

    # ------------------------------------------------------------------------------------------------- file

    def save(self, path: str | Path) -> Path:
        """One file, NAME.likely, all or nothing; a model that features come from is named in it, not held."""
        path, law, scaling = Path(path), self.piece.law, self.piece.scaling
        arrays = {"law.s": law.s, "law.w": law.w, "weight.numbers": self.piece.numbers, "weight.wide": self.piece.wide}
        for name in ("mean", "std", "middle", "gain"):
            arrays[f"scaling.{name}"] = torch.from_numpy(np.ascontiguousarray(getattr(scaling, name), np.float64))
        card = {
            "app": APP, "features": {"name": self.features.name, "state": self.features.state()},
            "rows": scaling.rows, "nu": law.nu if math.isfinite(law.nu) else None, "eps": law.eps,
            "ridge": list(self.piece.ridge), "shift": self.shift, "scale": self.scale,
            "temperature": self.temperature, "annotators": list(self.reliability),
            "reliability": list(self.reliability.values()), "about": self.about,
            "report": self.report.to_dict() if self.report else None,
        }  # fmt: skip
        artifact.write(path, card, arrays)
        return path

    @classmethod
    def load(cls, path: str | Path, model: Any = None) -> RewardModel:
        """From its file. `model`: the generator or the checkpoint whose states it looks at, where it does.

        Raises ArtifactError for a file that is none or is damaged, Mismatch for another model.
        """
        card, arrays = artifact.read_app(path, APP, "a reward model", "fit_reward(judgements).save('taste.likely')")
        try:
            features = _features(card["features"], model)
            found = _read(card, arrays, features)
            return cls(features, *found)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError, OverflowError) as error:
            raise ArtifactError(
                f"{str(path)!r} is a damaged reward model ({str(error)[:80]}): fit it again."
            ) from error


# ------------------------------------------------------------------------------------------------------ fitting


def fit_reward(
    judgements: Judgements, features: str | Features = "words", *, folds: int = 5, seed: int = 0
) -> RewardModel:
    """A reward model with its report, `folds`-fold by item. `features`: "words", "vectors", or an object: `Words()`,
    `Steps(generator)`, `Language("smollm2")`, or your own.

    Raises DataError where nothing, or too little, was judged, Unsupported for media that the features cannot read,
    OptionError for anything but Judgements.
    """
    looks = restored_by_name(features) if isinstance(features, str) else features
    if not isinstance(judgements, Judgements):
        raise OptionError(
            f"fit_reward was given {fields.shown(judgements)}; it learns from Judgements: "
            "Store('judgements.db').judgements() of a database, exchange.read('judgements.jsonl') of a file."
        )
    if type(folds) is not int or not 2 <= folds <= 20:
        raise OptionError(f"folds={folds!r}: a whole number from 2 to 20 is wanted.")
    if type(seed) is not int or seed < 0:
        raise OptionError(f"seed={seed!r}: a whole number, 0 or more, is wanted.")
    evidence = gather(judgements, looks)
    found = held_out(evidence, folds, seed)
    piece = learn(evidence, np.arange(len(evidence.pairs)), seed)
    reward = piece(evidence.raw)
    if float(reward.std()) < 1e-9:
        raise DataError(reward_report.nothing(evidence.pairs, evidence.notes))
    temperature = reward_report.temperature(found)
    s = piece.law.s
    told = {name: float((s[k] - s.mean()).exp()) for k, name in enumerate(evidence.annotators)}
    report = reward_report.report(evidence.pairs, found, told, looks.name, folds, evidence.notes)
    about = {"pairs": len(evidence.pairs), "candidates": len(reward), "folds": folds, "seed": seed}
    return RewardModel(looks, piece, float(reward.mean()), float(reward.std()), temperature, told, report, about)


def _none(items: Any) -> bool:
    """Whether these are no items at all."""
    return not isinstance(items, str) and hasattr(items, "__len__") and len(items) == 0


def gather(judgements: Judgements, features: Features) -> Evidence:
    """Pairs that can be learned from, and what the features read of their candidates. Raises DataError."""
    pairs, notes = judgements.pairs(), []
    if not pairs:
        said = judgements.counts()
        more = f": {said['skip']} skipped, {said['bad']} both bad" if said["skip"] + said["bad"] else ""
        raise DataError(f"There are no judged pairs{more}. Compare some first: likely rank MODEL")
    decided = [pair for pair in pairs if pair.outcome != "tie"]
    if not decided:
        raise DataError(f"All {len(pairs)} judged pairs are ties: nothing was preferred to anything.")
    blind, unseen = agreement.blind(judgements)
    pairs = [pair for pair in pairs if pair.group not in unseen]
    if blind and all(pair.outcome == "tie" for pair in pairs):
        name, (side, times) = next(iter(blind.items()))
        raise DataError(
            f"{'Annotator' if len(blind) == 1 else 'Every annotator, such as'} {name!r} always says {side} "
            f"({times} of {times}): that is no preference. Judge again, with sides drawn."
        )
    if blind:
        notes.append("left out, since they always say one side: " + ", ".join(map(repr, sorted(blind))))
    there = {pair.item for pair in pairs if pair.outcome != "tie"}
    if len(there) < LEAST:
        raise DataError(
            f"{len(there)} items have a decided pair; at least {LEAST} are needed to learn a reward, {GOOD} are good."
        )
    place: dict[tuple[str, str], int] = {}
    candidates: list[Candidate] = []
    prompts: list[Any] = []
    for pair in pairs:
        for shown in (pair.left, pair.right):
            if place.setdefault((pair.item, shown.id), len(place)) == len(candidates):
                candidates.append(shown)
                prompts.append(pair.prompt)
    raw = features.read(*features.take(candidates, prompts))
    left = np.array([place[pair.item, pair.left.id] for pair in pairs])
    right = np.array([place[pair.item, pair.right.id] for pair in pairs])
    notes += reward_report.contradictions(pairs)
    return Evidence(pairs, raw, left, right, sorted({pair.annotator for pair in pairs}), notes)


def said(evidence: Evidence, rows: Array, apart: Array) -> Said:
    """Pairs as the likelihood has them; `apart` (len(rows), D)."""
    some, number = [evidence.pairs[k] for k in rows], {name: k for k, name in enumerate(evidence.annotators)}
    return Said(
        torch.from_numpy(np.ascontiguousarray(apart)),
        torch.tensor([("left", "right", "tie").index(pair.outcome) for pair in some]),
        torch.tensor([pair.weight * likelihood.WEIGHTS[pair.strength] for pair in some], dtype=torch.float64),
        torch.tensor([number[pair.annotator] for pair in some]),
    )


def learn(evidence: Evidence, rows: Array, seed: int, ridge: tuple[float, float] | None = None) -> Piece:
    """A reward from these pairs alone; `ridge` of numbers and of directions, None = chosen by folds of them."""
    here = np.unique(np.concatenate([evidence.left[rows], evidence.right[rows]]))
    raw = evidence.raw.take(here)
    scaling = Scaling.learn(raw)
    numbers = scaling.numbers(raw)
    R, W = numbers.shape[1], 0 if raw.wide is None else raw.wide.shape[1]
    basis = np.zeros((0, W))
    parts = [numbers]
    if raw.wide is not None:
        wide = scaling.wide(raw)
        basis = directions(wide)
        parts.append(np.asarray(wide @ basis.T))
    f = np.concatenate(parts, 1)
    left, right = np.searchsorted(here, evidence.left[rows]), np.searchsorted(here, evidence.right[rows])
    data = said(evidence, rows, f[left] - f[right])
    ties, A = bool((data.outcome == 2).any()), len(evidence.annotators)
    if ridge is None:
        ridge = _chosen(data, [evidence.pairs[k].item for k in rows], R, A, seed)
    law = likelihood.fit(data, _ridge(R, f.shape[1], ridge), A, ties=ties)
    return Piece(scaling, law, law.w[:R], torch.from_numpy(basis.T @ law.w[R:].numpy()), ridge)


def _chosen(data: Said, items: Sequence[str], R: int, A: int, seed: int) -> tuple[float, float]:
    """The ridges under which answers about items left out are likeliest: first that of numbers, then the other."""
    fold = torch.from_numpy(folded(items, 3, seed + 1))
    D, ties = data.apart.shape[1], bool((data.outcome == 2).any())
    costs: dict[tuple[float, float], float] = {}
    laws: dict[int, Law] = {}

    def cost(ridge: tuple[float, float]) -> float:
        if ridge not in costs:
            costs[ridge] = 0.0
            for k in range(3):
                seen, out = data.take((fold != k).nonzero().flatten()), data.take((fold == k).nonzero().flatten())
                # Reliabilities, ties and coin throws are found once: they hardly depend on the ridge.
                laws[k] = likelihood.fit(seen, _ridge(R, D, ridge), A, ties=ties, start=laws.get(k), near=NEAR,
                                         hold=k in laws)  # fmt: skip
                P = laws[k].shares(out.apart, out.annotator).gather(1, out.outcome[:, None]).squeeze(1)
                costs[ridge] -= float((out.weight * P.clamp_min(1e-9).log()).sum())
        return costs[ridge]

    best = (RIDGES[2] if R else RIDGES[0], WIDE[2] if D > R else WIDE[-1])
    for turn in (0, 1) if D > R > 0 else (1 if D > R else 0,):
        grid = (RIDGES, WIDE)[turn]
        best = min(((best[0], v) if turn else (v, best[1]) for v in grid), key=cost)
    return best


def _ridge(R: int, D: int, ridge: tuple[float, float]) -> Tensor:
    return torch.tensor([ridge[0]] * R + [ridge[1]] * (D - R), dtype=torch.float64)


def folded(items: Sequence[str], folds: int, seed: int) -> Array:
    """The fold of each pair, by its item: items in a drawn order, each to the fold that has the fewest pairs."""
    sizes = Counter(items)
    order = np.random.default_rng(seed).permutation(np.array(sorted(sizes)))
    filled, fold = [0] * folds, {}
    for name in order:
        fold[str(name)] = filled.index(min(filled))
        filled[fold[str(name)]] += sizes[str(name)]
    return np.array([fold[name] for name in items])


def held_out(evidence: Evidence, folds: int, seed: int) -> Held:
    """What rewards say of pairs whose items they have not seen."""
    fold = folded([pair.item for pair in evidence.pairs], folds, seed)
    sign = np.array([{"left": 1.0, "right": -1.0, "tie": 0.0}[pair.outcome] for pair in evidence.pairs])
    who = np.array([evidence.annotators.index(pair.annotator) for pair in evidence.pairs])
    held = Held(fold, sign, *[np.zeros(len(fold)) for _ in range(4)])
    for k in range(folds):
        seen, out = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        if not len(out) or not sign[seen].any():
            continue
        piece = learn(evidence, seen, seed)
        reward, law = piece(evidence.raw), piece.law
        unit = float(reward[np.unique(np.r_[evidence.left[seen], evidence.right[seen]])].std()) or 1.0
        nats = reward[evidence.left[out]] - reward[evidence.right[out]]
        held.apart[out], held.z[out] = nats / unit, nats * law.s.exp().numpy()[who[out]]
        held.nu[out], held.eps[out] = math.exp(law.nu), 1 / (1 + math.exp(-law.eps))
    return held


# --------------------------------------------------------------------------------------------------------- file


def restored_by_name(name: str) -> Features:
    """Features that can be named. Raises UnknownName."""
    if name not in ("words", "vectors"):
        raise UnknownName("features", name, ["words", "vectors"], "Of models: Steps(generator), Language('smollm2').")
    return Words() if name == "words" else Vectors()


def _features(told: Mapping[str, Any], model: Any) -> Features:
    if told["name"] in ("steps", "language"):
        from likely.align import states

        return states.restored(told["name"], told["state"], model)
    return restored(told["name"], told["state"])


def _read(card: Mapping[str, Any], arrays: Mapping[str, Tensor], features: Features) -> tuple[Any, ...]:
    """What a file says, checked. Raises ValueError, KeyError or TypeError."""
    R, W = features.sizes
    names, told = card["annotators"], card["reliability"]
    shapes = {"law.s": (len(names),), "weight.numbers": (R,), "weight.wide": (W,), "scaling.mean": (R,),
              "scaling.std": (R,), "scaling.middle": (W,), "scaling.gain": (W,)}  # fmt: skip
    if set(arrays) != {*shapes, "law.w"} or not isinstance(card["rows"], bool) or len(told) != len(names):
        raise ValueError("its parts are not those of a reward model")
    for name, array in arrays.items():
        wanted = shapes.get(name, tuple(array.shape))
        finite = torch.isfinite(array) | (array == math.inf if name == "scaling.std" else torch.tensor(False))
        if array.dtype != torch.float64 or array.ndim != 1 or tuple(array.shape) != wanted or not bool(finite.all()):
            raise ValueError(f"{name} is not what it should be")
    if bool((arrays["scaling.std"] <= 0).any()):
        raise ValueError("scaling.std is not above 0")
    nu = -math.inf if card["nu"] is None else _number(card["nu"])
    law = Law(arrays["law.w"], arrays["law.s"], nu, _number(card["eps"]))
    mean, std, middle, gain = (arrays[f"scaling.{name}"].numpy() for name in ("mean", "std", "middle", "gain"))
    scaling = Scaling(mean, std, middle, gain, card["rows"])
    first, second = card["ridge"]
    piece = Piece(scaling, law, arrays["weight.numbers"], arrays["weight.wide"], (_number(first), _number(second)))
    scale, temperature = _number(card["scale"]), _number(card["temperature"])
    reliability = {str(name): _number(value) for name, value in zip(names, told, strict=True)}
    if min(scale, temperature, *reliability.values()) <= 0:
        raise ValueError("a scale is not above 0")
    report = Report.from_dict(card["report"]) if card["report"] is not None else None
    return piece, _number(card["shift"]), scale, temperature, reliability, report, dict(card["about"])


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{str(value)[:20]!r} is no number")
    return float(value)
