"""Labels for texts, with probabilities that mean what they say.

    Labeller.zero_shot(["billing", "shipping"], unlabelled)     no examples: the model's own answer, its lean removed
    Labeller.fit(texts, labels)                                 from 20 examples on: a head on the model's hidden states
    labeller.label(texts, sure=0.9)                             a label a text, None where it is less sure
    labeller.test(texts, labels)                                accuracy, F1, AUROC, calibration error, coverage

A saved labeller holds the task, the head and the name of the checkpoint; not the checkpoint.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from likely import artifact
from likely.apps.label.calibration import Scores, calibration_error, coverage, remove_prior, softmax
from likely.apps.label.head import Features, Head, layers_of, learn
from likely.apps.label.reading import Listen, Reader, Reading
from likely.apps.label.task import EMPTY, ORDINARY, SENTIMENT, Example, Task, check_labels, flat, task_of
from likely.errors import ArtifactError, DataError, Mismatch, OptionError
from likely.evaluate.auroc import macro_auroc
from likely.language.checkpoint import Checkpoint, fingerprint, opened
from likely.version import VERSION

FEW = 16  # unlabelled texts from which on a model's lean is measured on them
SHOTS = 8  # examples shown before every text, at most; the others teach the head
LEAST = 8  # examples to fit from
LEVELS = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)  # how sure: the report says what each costs
OWN = 0.5  # of the lean measured on sentences of our own, which are of another kind than what is to be labelled
MODEL = "smollm2"
PARTS = ("middle", "spread", "weight", "bias")  # of a head


class Labeller:
    """A task, a checkpoint, and what turns its answers into probabilities. See `zero_shot`, `fit`, `load`."""

    def __init__(
        self, task: Task, checkpoint: Checkpoint, head: Head | None, slope: float, offset: NDArray[np.float64],
        about: dict[str, Any],
    ) -> None:  # fmt: skip
        self.task, self.checkpoint, self.head = task, checkpoint, head
        self.slope, self.offset, self.about = slope, offset, about
        self.notes: list[str] = []  # what the last call has to say
        layers = layers_of(checkpoint.network.arch.layers) if head is not None else ()
        self.reader = Reader(checkpoint, task.beginning, [task.ending], layers)

    def __str__(self) -> str:
        how = f"{self.about['examples']} examples" if self.head is not None else "no examples"
        return f"labeller of {', '.join(self.task.labels)} from {how} on {self.checkpoint.name}"

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in the order of the probabilities."""
        return self.task.labels

    # ------------------------------------------------------------------------------------------ learning

    @classmethod
    def sentiment(
        cls, unlabelled: Sequence[str] = (), *, model: Checkpoint | str | Path = MODEL, **options: Any
    ) -> Self:
        """Positive or negative, from no example: `zero_shot` with the task made for it."""
        return cls.zero_shot(SENTIMENT, unlabelled, model=model, **options)

    @classmethod
    def zero_shot(
        cls,
        labels: Task | Sequence[str] | Mapping[str, str],
        unlabelled: Sequence[str] = (),
        *,
        model: Checkpoint | str | Path = MODEL,
        shares: Mapping[str, float] | None = None,
        listen: Listen | None = None,
    ) -> Self:
        """From labels alone, with descriptions where they are a mapping. `unlabelled`: a few dozen texts of the kind
        that is to be labelled; the model's lean is measured on them: their labels come out in `shares`, equal ones
        unless said. Raises OptionError, DataError."""
        task = labels if isinstance(labels, Task) else task_of(labels)
        wanted = _shares(task, shares)
        made = cls(task, opened(model), None, 1.0, np.zeros(len(task.labels)), {"examples": 0})
        texts = _texts(unlabelled, "unlabelled texts", least=0)
        notes, trust = [], 1.0
        if len(texts) < FEW:
            own = ORDINARY if task.question == SENTIMENT.question else EMPTY
            what = f"{len(own)} sentences of our own" if own is ORDINARY else "texts that say nothing"
            notes.append(
                f"{len(texts)} unlabelled texts were given; with {FEW} or more the model's lean to a label is measured "
                f"on them. It was measured on {what}."
            )
            trust = OWN if own is ORDINARY else 1.0
            texts, wanted = list(own), np.full(len(task.labels), 1 / len(task.labels))
        made.offset = trust * remove_prior(made._read(texts, listen).answers, wanted)
        made.about |= {"unlabelled": len(texts)}
        made.notes = notes + made.notes
        return made

    @classmethod
    def fit(
        cls,
        texts: Sequence[str],
        labels: Sequence[str],
        *,
        descriptions: Mapping[str, str] | None = None,
        model: Checkpoint | str | Path = MODEL,
        seed: int = 0,
        listen: Listen | None = None,
    ) -> Self:
        """From labelled examples, at least LEAST, better 50 to 200 or more; every label at least twice."""
        texts = _texts(texts, "examples", least=LEAST)
        names = _names(labels, len(texts))
        order = list(dict.fromkeys(sorted(names)))
        check_labels(order)
        counts = Counter(names)
        alone = [name for name in order if counts[name] < 2]
        if alone:
            raise DataError(f"The label {alone[0]!r} has one example: give it two or more, or leave it out.")
        told = _described(order, descriptions)
        rng = np.random.default_rng(seed)
        task, rest = _shown(task_of(told if any(told.values()) else order), texts, names, rng)
        K = len(order)
        made = cls(task, opened(model), _blank(K), 1.0, np.zeros(K), {})
        y = np.array([task.labels.index(names[at]) for at in rest])
        learned = learn(made._read([texts[at] for at in rest], listen), y, rng)
        made.head, made.slope, made.offset = learned.head, learned.slope, learned.offset
        p = softmax(learned.slope * learned.unseen + learned.offset)
        made.about = {"examples": len(texts), "seed": seed, "unseen": measures(p, y)}
        made.about["unseen"]["majority"] = float(np.bincount(y).max() / len(y))
        return made

    # ------------------------------------------------------------------------------------------ labelling

    def probabilities(self, texts: Sequence[str], listen: Listen | None = None) -> Scores:
        """(n, K), rows sum to 1."""
        features = self._read(_texts(texts, "texts", least=0), listen)
        scores = features.answers if self.head is None else self.head.scores(features)
        return softmax(self.slope * scores + self.offset)

    def label(self, texts: Sequence[str], *, sure: float = 0.0, listen: Listen | None = None) -> pl.DataFrame:
        """A line a text: `label`, null where its probability is under `sure`; `probability` of the best label; and
        that of each, `p:LABEL`."""
        check_sure(sure)
        p = self.probabilities(texts, listen)
        top = p.max(1) if len(p) else np.zeros(0)
        best = [self.labels[k] if top[row] >= sure else None for row, k in enumerate(p.argmax(1))] if len(p) else []
        each = {f"p:{label}": p[:, k] for k, label in enumerate(self.labels)}
        return pl.DataFrame({"label": pl.Series(best, dtype=pl.String), "probability": top, **each})

    def test(self, texts: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
        """How good it is on labelled texts: see `measures`."""
        names = _names(labels, len(texts))
        strange = sorted(set(names) - set(self.labels))
        if strange:
            raise Mismatch(f"The label {strange[0]!r} is none of {', '.join(self.labels)}.")
        return measures(self.probabilities(texts), np.array([self.labels.index(name) for name in names]))

    def _read(self, texts: Sequence[str], listen: Listen | None) -> Features:
        read: Reading = self.reader.read([flat(text) for text in texts], "Text: ", listen)
        self.notes = []
        if read.cut:
            self.notes.append(
                f"Of {read.cut} text{'s' * (read.cut != 1)} only the beginning and the end were read: more than "
                f"{self.reader.room} tokens."
            )
        states = np.concatenate([read.last[0], read.mean], 1)
        flattened = states.reshape(len(states), states.shape[1] * states.shape[2])
        return Features(flattened.astype(float), read.logp[0].astype(float))

    # ------------------------------------------------------------------------------------------ storing

    def save(self, path: str | Path) -> Path:
        """Write NAME.labels: one file, no code in it. Raises StorageError."""
        known = self.checkpoint
        card = {
            "app": "label", "version": VERSION, "task": self.task.state(), "slope": self.slope, "about": self.about,
            "lean": self.head.lean if self.head is not None else 0.0,
            "checkpoint": {"name": known.name, "source": known.source, "print": fingerprint(known)},
        }  # fmt: skip
        tensors = {"offset": torch.from_numpy(self.offset)}
        if self.head is not None:
            tensors |= {f"head.{part}": torch.from_numpy(getattr(self.head, part)) for part in PARTS}
        artifact.write(path, card, tensors)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path, *, model: Checkpoint | str | Path | None = None) -> Self:
        """Read what `save` wrote. `model`: where its checkpoint is, if not where it was. Raises ArtifactError where the
        file is no labeller or is damaged, Mismatch where the checkpoint is another one."""
        card, tensors = artifact.read_app(path, "label", "a labeller", "likely label fit examples.csv -o my.labels")
        try:
            task, about = Task.load(card["task"]), dict(card["about"])
            name, source, wanted = (str(card["checkpoint"][key]) for key in ("name", "source", "print"))
            K, slope = len(task.labels), float(card["slope"])
            arrays = {name: tensor.double().numpy() for name, tensor in tensors.items()}
            offset = arrays.pop("offset")
            lean = float(card.get("lean", 0.0))
            parts = {part: arrays.pop(f"head.{part}") for part in PARTS} if arrays else {}
            head = Head(**parts, lean=lean) if parts else None
            good = (
                offset.shape == (K,)
                and 0 < slope < 1e6
                and 0 <= lean < 1e6
                and not arrays
                and all(map(_finite, tensors.values()))
            )
            if not good or (head is not None and not _fits(head, K)) or not isinstance(about.get("examples"), int):
                raise ValueError("its arrays do not fit together")
        except (KeyError, TypeError, ValueError, AttributeError, OptionError) as error:
            raise ArtifactError(f"{str(path)!r} is a damaged labeller ({str(error)[:120]}): fit it again.") from error
        checkpoint = opened(model if model is not None else _where(name, source))
        if fingerprint(checkpoint) != wanted:
            raise Mismatch(
                f"{str(path)!r} was fitted on {name!r}, and {checkpoint.source!r} is another model. "
                "Say where that one is (--model), or fit again."
            )
        arch = checkpoint.network.arch
        if head is not None and len(head.middle) != 2 * len(layers_of(arch.layers)) * arch.width + K:
            raise ArtifactError(f"{str(path)!r} is a damaged labeller (its head has the wrong width): fit it again.")
        return cls(task, checkpoint, head, slope, offset, about)


def measures(p: Scores, y: NDArray[np.int64]) -> dict[str, Any]:
    """Of probabilities (n, K) and true labels (n,): accuracy, macro-averaged F1 over the labels met, AUROC (one against
    the rest), ECE, and for each of LEVELS how many texts are answered and how many of those answers are right."""
    best, K = p.argmax(1), p.shape[1]
    f1 = []
    for k in range(K):
        hit, said, true = ((best == k) & (y == k)).sum(), (best == k).sum(), (y == k).sum()
        if true:
            f1.append(2 * hit / (said + true))
    area = macro_auroc(p, y)
    levels = [(sure, *coverage(p, y, sure)) for sure in LEVELS]
    return {
        "texts": len(y), "accuracy": float((best == y).mean()), "f1": float(np.mean(f1)),
        "auroc": None if np.isnan(area) else area, "ece": calibration_error(p, y),
        "levels": [
            {"sure": sure, "answered": share, "right": None if np.isnan(right) else right}
            for sure, share, right in levels
        ],
    }  # fmt: skip


def check_sure(sure: float) -> None:
    """Raises OptionError unless it is a probability below 1."""
    if not 0 <= sure < 1:
        raise OptionError(f"sure={sure}: give a probability from 0 (answer always) to below 1, such as 0.9.")


def _where(name: str, source: str) -> str:
    """Where to look for a checkpoint: its file or folder, else by its name, as packaged models are."""
    return source if source and Path(source).exists() else name


def _shown(task: Task, texts: Sequence[str], names: Sequence[str], rng: np.random.Generator) -> tuple[Task, list[int]]:
    """The task with some short examples, and the places of the others. That of sentiment has examples of its own."""
    if task.examples:
        return task, list(range(len(texts)))
    wanted = min(max(SHOTS, len(task.labels)), len(texts) // 10)
    order = sorted(rng.permutation(len(texts)).tolist(), key=lambda at: len(texts[at]))
    counts, shown = Counter(names), []
    for turn in range(wanted):
        label = task.labels[turn % len(task.labels)]
        left = [at for at in order if names[at] == label and at not in shown]
        if len(left) > 2 and counts[label] > 2:  # two of each are kept to learn from
            shown.append(left[len(left) // 4])  # short, not the shortest
    shown = [shown[at] for at in rng.permutation(len(shown))]
    return task.show((texts[at], names[at]) for at in shown), [at for at in range(len(texts)) if at not in set(shown)]


def _texts(texts: Sequence[str], what: str, least: int) -> list[str]:
    if isinstance(texts, str):
        raise OptionError(f"A list of {what} is wanted, got one text: write [text].")
    found = list(texts)
    for place, text in enumerate(found, 1):
        if not isinstance(text, str) or not text.strip():
            raise DataError(f"Number {place} of the {what} is empty: leave it out.")
    if len(found) < least:
        raise DataError(f"{len(found)} {what} were given; at least {least} are needed, 50 to 200 are good.")
    return found


def _names(labels: Sequence[str], count: int) -> list[str]:
    if isinstance(labels, str) or len(labels) != count:
        raise DataError(f"{count} texts need {count} labels, got {labels!r:.40}." if isinstance(labels, str)
                        else f"{count} texts need as many labels, got {len(labels)}.")  # fmt: skip
    names = [str(label).strip() if label is not None else "" for label in labels]
    if "" in names:
        raise DataError(f"Example {names.index('') + 1} has no label.")
    return names


def _described(labels: Sequence[str], descriptions: Mapping[str, str] | None) -> dict[str, str]:
    told = dict(descriptions or {})
    strange = sorted(set(told) - set(labels))
    if strange:
        raise OptionError(f"{strange[0]!r} is described, but no example has it; the labels are {', '.join(labels)}.")
    return {label: told.get(label, "") for label in labels}


def _shares(task: Task, shares: Mapping[str, float] | None) -> NDArray[np.float64]:
    if shares is None:
        return np.full(len(task.labels), 1 / len(task.labels))
    if set(shares) != set(task.labels) or any(not 0 < share < 1 for share in shares.values()):
        raise OptionError(f"shares needs a number between 0 and 1 for each of {', '.join(task.labels)}.")
    found = np.array([shares[label] for label in task.labels], float)
    if abs(found.sum() - 1) > 0.01:
        raise OptionError(f"The shares add up to {found.sum():g}, not to 1.")
    return found


def _blank(K: int) -> Head:
    return Head(np.zeros(0), np.zeros(0), np.zeros((K, 0)), np.zeros(K), 0.0)


def _finite(tensor: torch.Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())


def _fits(head: Head, K: int) -> bool:
    D = len(head.middle)
    return head.middle.shape == head.spread.shape == (D,) and head.weight.shape == (K, D) and head.bias.shape == (K,)


__all__ = ["Example", "Labeller", "fingerprint", "measures"]
