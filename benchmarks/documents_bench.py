"""Answers from documents: right, wrong, refused; and numbers that stand nowhere.

    OMP_NUM_THREADS=1 python benchmarks/documents_bench.py          # about 4 CPU-minutes
    OMP_NUM_THREADS=1 python benchmarks/documents_bench.py --fit    # the weights of `likely.apps.chat.gate`

documents/pottery     an invented pottery studio, 7 files, 32 questions, half of them without an answer: held out. Its
                      questions were written before the program, and no weight or threshold was fitted on them
documents/tuning      an invented campsite, library and room heater, 96 questions, half without an answer: the gate's

Systems: quotations (no model); with the packaged SmolLM2-135M; and that model unaided, which gets the best passage that
BM25 finds and is told to say so when the passage does not answer.

Claims, on the held-out questions with the model: at least 80% of the answerable right (answer and quotation hold the
expected pieces, from the expected file), at least 80% of the unanswerable refused, no invented number.
"""

from __future__ import annotations

import argparse
import itertools
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

import results
from likely.apps.chat import Documents
from likely.apps.chat.asked import asked
from likely.apps.chat.evidence import SIGNS, Evidence, candidates, wanted
from likely.apps.chat.examination import Case, cases, examine, summary
from likely.apps.chat.verify import foreign_numbers
from likely.apps.chat.words import content
from likely.language.checkpoint import load
from likely.language.decode import Engine, Sampling

HERE = Path(__file__).parent / "documents"
TUNING = ("tuning/campsite", "tuning/library", "tuning/heater")
HELD = "pottery"
STRENGTH, STEPS = 0.1, ("words", "model")
UNAIDED = (
    "Answer the question from the text in one short sentence. If the text does not answer it, say: I do not know.\n\n"
    "Text: {text}\n\nQuestion: {question}"
)
UNKNOWING = re.compile(
    r"\b(?:not know|don't know|cannot|can't|unable|unclear|no information"
    r"|not (?:mention|specif|provid|stat|answer|say|contain)"
    r"|does(?: not|n't) (?:mention|specify|provide|state|answer|say|contain))", re.IGNORECASE
)  # fmt: skip
COLUMNS = ["corpus", "system", "answerable", "right", "wrong", "over-refused", "unanswerable", "refused", "answered",
           "foreign", "worded", "cpu_s"]  # fmt: skip


def unaided(documents: Documents, engine: Engine, questions: Sequence[Case]) -> dict[str, Any]:
    """The model with a passage and an instruction."""
    counts: dict[str, Any] = dict.fromkeys(("right", "wrong", "over-refused", "refused", "answered", "foreign"), 0)
    for case in questions:
        found = documents.index.search(content(case.question), 1)
        passage = documents.passages[found[0][0]] if found else documents.passages[0]
        text = f"{passage.title}: {passage.text}"
        ids = engine.checkpoint.chat([{"role": "user", "content": UNAIDED.format(text=text, question=case.question)}])
        said = engine.generate([ids], Sampling(temperature=0, tokens=60))[0][0].text
        knows = not UNKNOWING.search(said)
        counts["foreign"] += bool(foreign_numbers(said, text, case.question))
        if case.answer is None:
            counts["answered" if knows else "refused"] += 1
        else:
            counts["right" if case.holds(said) else "wrong" if knows else "over-refused"] += 1
    asked_ = sum(case.answer is not None for case in questions)
    return {"answerable": asked_, "unanswerable": len(questions) - asked_, **counts}


# ------------------------------------------------------------------------------------------------ fitting the gate

Question = tuple[Case, np.ndarray, np.ndarray]  # signs (n, 7), right (n)


def signs(documents: Documents, questions: Sequence[Case]) -> list[Question]:
    """What the gate sees of every question, and which sentences are right."""
    found = []
    for case in questions:
        evidence = candidates(documents.index, documents.synonyms, wanted(case.question, asked(case.question)))
        if documents.voice is not None:
            evidence = documents.voice.lift(case.question, evidence)
        table = np.array([item.signs for item in evidence]).reshape(-1, len(SIGNS))
        found.append((case, table, np.array([_right(case, item) for item in evidence], bool)))
    return found


def _right(case: Case, evidence: Evidence) -> bool:
    return case.answer is not None and evidence.passage.document == case.document and case.holds(evidence.quote)


def fitted(questions: Sequence[Question], columns: list[int]) -> tuple[np.ndarray, float]:
    """Weights of all signs and bias of a logistic regression on standardised signs, for raw ones."""
    table = np.vstack([signs for _, signs, _ in questions])[:, columns]
    right = np.concatenate([right for *_, right in questions])
    mean, spread = table.mean(0), table.std(0) + 1e-9
    model = LogisticRegression(C=STRENGTH, max_iter=1000).fit((table - mean) / spread, right)
    weights = np.zeros(len(SIGNS))
    weights[columns] = model.coef_[0] / spread
    return weights, float(model.intercept_[0] - (model.coef_[0] / spread * mean).sum())


def judged(questions: Sequence[Question], weights: np.ndarray, bias: float) -> list[tuple[bool, float, bool]]:
    """Of each question: whether it has an answer, how sure the surest sentence is, whether that is right."""
    found = []
    for case, table, right in questions:
        sure = 1 / (1 + np.exp(-bias - table @ weights))
        best = int(sure.argmax()) if len(sure) else -1
        found.append(
            (case.answer is not None, float(sure[best]) if len(sure) else 0.0, bool(len(sure) and right[best]))
        )
    return found


def threshold(found: Sequence[tuple[bool, float, bool]]) -> tuple[float, float, float]:
    """Where the smaller share is largest, halfway to the next lower score: (least, right share, refused share)."""
    scores = sorted({sure for _, sure, _ in found} | {0.0, 1.0})
    best = (-1.0, 0.0, 0.0, 0.0)
    for low, least in itertools.pairwise(scores):
        right = float(np.mean([sure >= least and ok for has, sure, ok in found if has]))
        refused = float(np.mean([sure < least for has, sure, _ in found if not has]))
        best = max(best, (min(right, refused), right + refused, (low + least) / 2, right))
    least = best[2]
    refused = float(np.mean([sure < least for has, sure, _ in found if not has]))
    return least, best[3], refused


def fit(engine: Engine) -> list[dict[str, Any]]:
    """Fit both gates; print what to put into `gate`; the cross-validated shares."""
    rows = []
    for system in STEPS:
        model = engine if system == "model" else None
        corpora = [signs(Documents.read(HERE / name, model=model), cases(HERE / f"{name}.jsonl")) for name in TUNING]
        columns = list(range(len(SIGNS))) if model else list(range(len(SIGNS) - 2))
        crossed = []
        for at, corpus in enumerate(corpora):
            others = [question for other, made in enumerate(corpora) if other != at for question in made]
            crossed += judged(corpus, *fitted(others, columns))
        least, right, refused = threshold(crossed)
        weights, bias = fitted([question for corpus in corpora for question in corpus], columns)
        print(f"{system.upper()} = Gate(({', '.join(f'{w:.3f}' for w in weights)}), {bias:.3f}, {least:.3f})")
        rows.append({"system": system, "questions": len(crossed), "right": right, "refused": refused, "least": least})
    print(results.table(rows, ["system", "questions", "right", "refused", "least"]))
    return rows


def main() -> None:
    """Measure, or fit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fit", action="store_true", help="fit the gate on the tuning corpora, and print it")
    parser.add_argument("--only", help="one corpus, such as pottery; nothing is saved")
    arguments = parser.parse_args()
    engine = Engine(load("smollm2"))
    if arguments.fit:
        fit(engine)
        return
    rows = []
    for name in [arguments.only] if arguments.only else (HELD, *TUNING):
        questions = cases(HERE / f"{name}.jsonl")
        for system in ("quotations", "with the model", "the model unaided"):
            documents = Documents.read(HERE / name, model=engine if system == "with the model" else None)
            began = time.process_time()
            if system == "the model unaided":
                counts = unaided(documents, engine, questions)
            else:
                counts = summary(examine(documents, questions))
            rows.append({"corpus": name, "system": system, **counts, "cpu_s": round(time.process_time() - began, 1)})
            print(results.table(rows[-1:], COLUMNS), flush=True)
    print(results.table(rows, COLUMNS))
    if not arguments.only:
        results.save("documents", rows, model="SmolLM2-135M-Instruct, Q4_1 GGUF", held_out=HELD, engine=engine.about)


if __name__ == "__main__":
    main()
