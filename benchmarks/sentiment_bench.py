"""Sentiment of sentences that people rated: from no example, from 20, 50 and 200, beside VADER and a tf-idf classifier.

    OMP_NUM_THREADS=1 python benchmarks/sentiment_bench.py --vader .venv-vader/bin/python

Data: movie reviews, New York Times editorials, Amazon reviews and tweets, each sentence rated by about twenty people
from -4 to 4 (Hutto and Gilbert 2014, "VADER", from the source archive of vaderSentiment 3.3.2), under
../shared/data/text_ratings. A sentence is positive or negative where the mean of its ratings is at least 1 from 0;
the others are left out. What was tried while the labeller was made was tried on the sentences whose hash is even; all
figures here are from at most 1,000 of the others. Three seeds, each another 200 examples, 48 unlabelled sentences and
500 to test on (nyt has 486), all different.

  one rater   how often a rater, left out, agrees with the sign of the mean of the others (a 0 counts half): the ceiling
  VADER       compound > 0; "fitted": a logistic curve of the compound score on the 200 examples
  tf-idf      words and pairs of words, logistic regression, C by cross-validation, on the 200 examples
  zero-shot   `Labeller.sentiment`: raw (the model's own answer), half of its lean on sentences of our own removed, and
              its lean on the 48 unlabelled ones
  N examples  `Labeller.fit`

ECE: ten groups of equal number. `answered`, `right`: the share of texts whose label has probability .9 or more, and how
many of those are right. VADER's authors wrote its rules from tweets and rated its words with the same crowd that rated
these sentences (their paper); on tweets it agrees with the mean of the raters more often than a rater does.

The peer's environment: python -m venv .venv-vader; .venv-vader/bin/pip install vaderSentiment==3.3.2
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import os
import pickle
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV

import results
from likely.apps.label import Labeller, measures
from likely.apps.label import model as module
from likely.apps.label.head import layers_of
from likely.apps.label.reading import Reader, Reading
from likely.language.checkpoint import opened

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("LIKELY_SHARED_DATA") or ROOT.parent / "shared" / "data") / "text_ratings"
CACHE = ROOT / ".cache" / "sentiment"
SPENT = CACHE / "spent.json"
SETS = {
    "movie": "movieReviewSnippets",
    "nyt": "nytEditorialSnippets",
    "amazon": "amazonReviewSnippets",
    "tweets": "tweets",
}
POOL, TRAIN, UNLABELLED, TEST = 1000, 200, 48, 500
LABELS = ("positive", "negative")
VADER = """
import json, sys
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
judge = SentimentIntensityAnalyzer()
print(json.dumps([judge.polarity_scores(text)["compound"] for text in json.load(sys.stdin)]))
"""


def reading() -> dict[str, float]:
    """How many texts were read for what is remembered, and in how many CPU-seconds."""
    return dict(json.loads(SPENT.read_text())) if SPENT.exists() else {"texts": 0, "cpu_seconds": 0.0}


class Remembered(Reader):
    """A reader that reads each text once, and remembers it on disk."""

    spent, read_texts = 0.0, 0

    def __init__(self, checkpoint: Any, beginning: str, endings: Any, layers: Any = ()) -> None:
        # Hidden states too where only answers are wanted: zero-shot and fitted then read each text once between them.
        super().__init__(checkpoint, beginning, endings, layers or layers_of(checkpoint.network.arch.layers))

    def read(self, texts: Any, lead: str = "", listen: Any = None) -> Reading:
        """As `Reader.read`."""
        key = hashlib.sha256(json.dumps([self.beginning, self.layers, self.tails, lead]).encode()).hexdigest()[:16]
        path = CACHE / f"{key}.pickle"
        known: dict[str, Any] = pickle.loads(path.read_bytes()) if path.exists() else {}  # our own file
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            began = time.process_time()
            found = super().read(new, lead, listen)
            Remembered.spent += time.process_time() - began
            Remembered.read_texts += len(new)
            for at, text in enumerate(new):
                said = dict(zip(map(tuple, self.words[0]), found.logp[0][at], strict=True))  # labels come in any order
                known[text] = (found.mean[at].astype("f2"), found.last[:, at].astype("f2"), said)
            CACHE.mkdir(parents=True, exist_ok=True)
            was = reading()
            total = {"texts": was["texts"] + len(new), "cpu_seconds": was["cpu_seconds"] + time.process_time() - began}
            SPENT.write_text(json.dumps(total))
            path.write_bytes(pickle.dumps(known))
        rows = [known[text] for text in texts]
        mean, last = (np.stack([row[part] for row in rows]).astype("f4") for part in (0, 1))
        logp = [np.array([[row[2][tuple(word)] for word in self.words[0]] for row in rows], "f4")]
        return Reading(mean, last.transpose(1, 0, 2, 3), logp, 0)


def sentences(name: str) -> tuple[list[str], np.ndarray, list[list[int]]]:
    """Texts, labels (0 positive, 1 negative) and ratings of the sentences whose hash is odd."""
    texts, labels, ratings = [], [], []
    with gzip.open(DATA / f"{SETS[name]}.tsv.gz", "rt", encoding="utf-8") as file:
        next(file)
        for line in file:
            key, _, _, each, text = line.rstrip("\n").split("\t", 4)
            given = json.loads(each)
            if abs(np.mean(given)) >= 1 and hashlib.sha256((name + key).encode()).digest()[0] % 2:
                texts.append(text)
                labels.append(int(np.mean(given) < 0))
                ratings.append(given)
    kept = np.random.default_rng(0).permutation(len(texts))[:POOL]
    return [texts[at] for at in kept], np.array(labels)[kept], [ratings[at] for at in kept]


def agreement(ratings: list[list[int]]) -> float:
    """How often a rater agrees with the sign of the mean of the others, over all raters of all sentences."""
    shares = []
    for given in ratings:
        scores = np.array(given, float)
        rest = np.sign((scores.sum() - scores) / (len(scores) - 1))
        shares.append(np.where(scores == 0, 0.5, np.sign(scores) == rest).mean())
    return float(np.mean(shares))


def two(p: np.ndarray) -> np.ndarray:
    """Probabilities (n,) of negative -> (n, 2)."""
    return np.stack([1 - p, p], 1)


def words(train: list[str], y: np.ndarray, test: list[str]) -> np.ndarray:
    """Probabilities (n, 2) of the tf-idf classifier."""
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    known = vectors.fit_transform(train)
    model = LogisticRegressionCV(Cs=[0.1, 1, 10, 100], cv=5, scoring="neg_log_loss", max_iter=1000, l1_ratios=[0.0],
                                 use_legacy_attributes=False)  # fmt: skip
    model.fit(known, y)
    return model.predict_proba(vectors.transform(test))


def one(name: str, seed: int, checkpoint: Any, compound: np.ndarray | None) -> list[dict[str, Any]]:
    """All methods on one set and seed."""
    texts, y, _ = sentences(name)
    order = np.random.default_rng(100 + seed).permutation(len(texts))
    train, free, test = np.split(order[: TRAIN + UNLABELLED + TEST], [TRAIN, TRAIN + UNLABELLED])
    known, new = [texts[at] for at in train], [texts[at] for at in test]
    names = [LABELS[label] for label in y[train]]
    found: dict[str, np.ndarray] = {}
    if compound is not None:
        score = -compound  # larger = more negative
        found["VADER"] = two(np.clip(0.5 + score[test] / 2 - 1e-9, 0, 1))
        fitted = LogisticRegression(C=10).fit(score[train, None], y[train])
        found["VADER, fitted"] = fitted.predict_proba(score[test, None])
    found["tf-idf, 200 examples"] = words(known, y[train], new)
    own = Labeller.sentiment(model=checkpoint)
    found["zero-shot, own sentences"] = own.probabilities(new)
    own.offset = np.zeros(2)
    found["zero-shot, raw"] = own.probabilities(new)
    found["zero-shot, 48 unlabelled"] = Labeller.sentiment([texts[at] for at in free], model=checkpoint).probabilities(
        new
    )
    for count in (20, 50, 200):
        made = Labeller.fit(known[:count], names[:count], model=checkpoint, seed=seed)
        p = made.probabilities(new)
        found[f"{count} examples"] = p[:, [made.labels.index(label) for label in LABELS]]
    rows = []
    for method, p in found.items():
        was = measures(p, y[test])
        level = next(level for level in was["levels"] if level["sure"] == 0.9)
        rows.append(
            {
                "set": name, "seed": seed, "method": method, "texts": len(test),
                "positive": float((y[test] == 0).mean()), "answered": level["answered"], "right": level["right"],
                **{key: was[key] for key in ("accuracy", "f1", "auroc", "ece")},
            }
        )  # fmt: skip
    return rows


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vader", help="a Python that has vaderSentiment 3.3.2")
    parser.add_argument("--sets", nargs="*", default=list(SETS))
    options = parser.parse_args()
    module.Reader = Remembered  # type: ignore[misc]
    checkpoint = opened("smollm2")
    rows: list[dict[str, Any]] = []
    ceiling: dict[str, float] = {}
    for name in options.sets:
        texts, _, ratings = sentences(name)
        ceiling[name] = agreement(ratings)
        compound = None
        if options.vader:
            done = subprocess.run([options.vader, "-c", VADER], input=json.dumps(texts), text=True, capture_output=True,
                                  check=True)  # fmt: skip
            compound = np.array(json.loads(done.stdout))
        for seed in range(3):
            rows += one(name, seed, checkpoint, compound)
            print(f"{name} {seed}: {Remembered.read_texts} texts read in {Remembered.spent:.0f} CPU-s", flush=True)
    spent = reading()
    shown, methods = [], list(dict.fromkeys(row["method"] for row in rows))
    for name in options.sets:
        shown.append({"set": name, "method": "one rater", "accuracy": ceiling[name]})
        for method in methods:
            mine = [row for row in rows if row["set"] == name and row["method"] == method]
            means = {
                key: float(np.mean([row[key] for row in mine if row[key] is not None] or [np.nan]))
                for key in ("accuracy", "f1", "auroc", "ece", "answered", "right")
            }
            shown.append({"set": name, "method": method, **{k: None if np.isnan(v) else v for k, v in means.items()}})
    print(results.table(shown, ["set", "method", "accuracy", "f1", "auroc", "ece", "answered", "right"]))
    results.save(
        "sentiment", rows, means=shown, ceiling=ceiling, reading=spent, model="SmolLM2-135M-Instruct, bfloat16"
    )


if __name__ == "__main__":
    main()
