"""What following a taste cost a checkpoint, for the page of an alignment: figures of answers before and after.

Letters: n answers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from likely.evaluate.price import Example, Figure

MAKES, KNOWS, JUDGE = "What it says", "What it knows", "A judge it did not learn from"
SHOWN = 8


def figures(
    before: dict[str, np.ndarray], after: dict[str, np.ndarray], texts: tuple[Sequence[str], Sequence[str]],
    perplexity: tuple[float | None, float | None], entropy: tuple[float, float],
) -> list[Figure]:  # fmt: skip
    """`before` and `after` hold "length", "ended", "reward" and maybe "judge", (n,) each."""
    found = []
    pairs = [different(side) for side in texts]
    same = [len(set(side)) / max(1, len(side)) for side in texts]
    if "judge" in before:
        found.append(_mean("judge", "Its reward", JUDGE, before, after, 1, "What the judge says of both."))
    found += [
        _mean("length", "Length", MAKES, before, after, 0, "Tokens of an answer, its end counted."),
        _mean("ended", "Answers that end", MAKES, before, after, 1,
              "The others were cut off at the most tokens there is room for."),
        Figure("distinct2", "Different pairs of words", MAKES, pairs[0], pairs[1], 1, 0.01,
               "Of all pairs of neighbours, the share that are different: low where one thing is said for ever."),
        Figure("distinct", "Different answers", MAKES, same[0], same[1], 1, 0.01,
               "Of all answers, the share that are different."),
        Figure("entropy", "Entropy", MAKES, entropy[0], entropy[1], 0, 0.0,
               "Nats a choice: how open the model is. It falls where a reward is sought."),
        Figure("spread", "Spread of the reward", MAKES, float(before["reward"].std()), float(after["reward"].std()), 0,
               0.0, "Its standard deviation over answers."),
    ]  # fmt: skip
    was, now = perplexity
    if was is not None and now is not None:
        found.append(Figure("perplexity", "Perplexity of other texts", KNOWS, was, now, -1, 0.005 * was,
                            "A token, of texts that have nothing to do with it: what it forgot."))  # fmt: skip
    return found


def examples(prompts: Sequence[Any], answers: Sequence[str], rewards: Sequence[float]) -> tuple[Example, ...]:
    """The first answers, each under what was asked."""
    made = []
    for prompt, answer, reward in list(zip(prompts, answers, rewards, strict=True))[:SHOWN]:
        asked = prompt if isinstance(prompt, str) else "\n".join(str(turn.get("content", "")) for turn in prompt)
        made.append(Example("text/plain", f"{asked.strip()}\n\n→ {answer.strip()}".encode(), reward))
    return tuple(made)


def different(texts: Sequence[str]) -> float:
    """Of pairs of neighbouring words, the share that are different."""
    pairs = [pair for text in texts for words in (text.split(),) for pair in pairwise(words)]
    return len(set(pairs)) / max(1, len(pairs))


def _mean(
    name: str, title: str, group: str, before: dict[str, np.ndarray], after: dict[str, np.ndarray], better: int,
    sentence: str,
) -> Figure:  # fmt: skip
    sides = before[name], after[name]
    noise = math.sqrt(sum(float(side.var()) / len(side) for side in sides))
    return Figure(name, title, group, float(sides[0].mean()), float(sides[1].mean()), better, noise, sentence)
