"""Candidates of judgements as items of a generator: what a codec reads, and pairs of paths for its policy.

text/plain         one text; with a prompt, the text that begins with it (or the conversation, for models of turns)
application/json   one row of a table as an object: {"age": 31, "town": "Ulm"}; one window of a series as its T moments,
                   each a list of C numbers, for models that learned from arrays
image/png          one image, for models of images; .jpeg, .webp, .gif and .bmp as well

Prompts are the same on both sides of a pair, so that what they cost cancels in every difference.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch

from likely.align.dpo import Pairs
from likely.align.features import written
from likely.align.likelihood import WEIGHTS
from likely.align.preference import Candidate, Judgements, Pair
from likely.codecs.image.file import picture
from likely.core import Batch, Codec, Family, Policy, Tokens
from likely.errors import DataError, Unsupported

PICTURES = ("image/png", "image/jpeg", "image/webp", "image/gif", "image/bmp")
WORDS = ("text/",)  # what a language model reads
PIXELS = 2**24  # of one image
MEDIA = {
    "text": ("text/plain",), "table": ("application/json",), "series": ("application/json",), "image": PICTURES,
}  # fmt: skip
SHARES = {"left": 1.0, "right": 0.0, "tie": 0.5}


def readable(judgements: Judgements, media: Sequence[str], of: str) -> tuple[Judgements, list[str]]:
    """The judgements of candidates whose media begin so, and a note where others lie in the same store. Where none
    are such: all, for those who read them to refuse."""
    items = {
        item.id: item for item in judgements.items
        if all(one.media.startswith(tuple(media)) for one in item.candidates)
    }  # fmt: skip
    votes = tuple(one for one in judgements.comparisons if one.item in items)
    left = len(judgements.comparisons) - len(votes)
    if not left or not votes:
        return judgements, []
    note = f"{left} judgements are not of {of}, and were left away: {len(votes)} are."
    return Judgements(tuple(items.values()), votes, judgements.notes), [note]


def items_of(codec: Codec[Any], candidates: Sequence[Candidate], prompts: Sequence[Any]) -> Any:
    """Items as the user has them, for codec.read. Raises Unsupported for other media, DataError for broken ones."""
    for one in candidates:
        if one.media.partition(";")[0] not in MEDIA.get(codec.name, ()):
            wanted = ", ".join(MEDIA.get(codec.name, ())) or "none yet"
            raise Unsupported(
                f"A generator of {codec.name} data cannot learn from candidates of {one.media}: it takes {wanted}."
            )
    if codec.name == "table":
        return _rows(candidates)
    if codec.name == "image":
        return [_picture(one) for one in candidates]
    if codec.name == "series":
        return _windows(candidates)
    return prompted(codec, [one.words() for one in candidates], prompts)


def _picture(one: Candidate) -> Any:
    try:
        return picture(one.content, PIXELS)
    except DataError as error:
        raise DataError(f"The image of candidate {one.id[:8]} cannot be read: {error}") from error


def _windows(candidates: Sequence[Candidate]) -> np.ndarray:
    """(n, T, C) numbers; null is a missing one."""
    found = []
    for one in candidates:
        try:
            window = np.array(json.loads(one.words()), dtype=np.float64)
        except (ValueError, TypeError, RecursionError, OverflowError) as error:
            raise DataError(f"A candidate is no window, T lists of C numbers: {one.words()[:60]!r}.") from error
        if window.ndim != 2 or not window.size:
            raise DataError(f"A candidate is no window, T lists of C numbers: {one.words()[:60]!r}.")
        found.append(window)
    shapes = sorted({window.shape for window in found})
    if len(shapes) > 1:
        raise DataError(f"The candidates are windows of different shapes: {shapes[:3]}.")
    return np.stack(found)


def prompted(codec: Codec[Any], answers: Sequence[Any], prompts: Sequence[Any] | None) -> list[Any]:
    """Texts with what they answer, in the form of this codec."""
    roles = tuple(getattr(getattr(codec, "form", None), "roles", ()))
    made: list[Any] = []
    for place, answer in enumerate(answers):
        prompt = prompts[place] if prompts is not None else None
        if not isinstance(answer, str) or (prompt is None and not roles):
            made.append(answer)
        elif not roles:
            before = written(prompt)
            made.append(answer if answer.startswith(before) else before + answer)
        else:
            turns = prompt if isinstance(prompt, list) else [{"role": roles[-2:][0], "content": written(prompt)}]
            made.append([*turns, {"role": roles[-1], "content": answer}])
    return made


def _rows(candidates: Sequence[Candidate]) -> Any:
    import polars as pl

    rows = []
    for one in candidates:
        try:
            row = json.loads(one.words())
        except (ValueError, RecursionError) as error:
            raise DataError(f"A candidate is no JSON: {one.words()[:60]!r}.") from error
        if not isinstance(row, Mapping) or any(isinstance(value, list | Mapping) for value in row.values()):
            raise DataError(f"A candidate is no row, an object of column: value: {one.words()[:60]!r}.")
        rows.append(dict(row))
    try:
        return pl.from_dicts(rows, infer_schema_length=None)
    except (pl.exceptions.PolarsError, TypeError) as error:
        raise DataError(f"The candidates are not rows of one table: {str(error)[:120]}") from error


def encoded(codec: Codec[Any], items: Any, n: int, *, cut: bool = False) -> Batch:
    """A batch of n items. Raises DataError where an item does not fit into one row, unless it is to be `cut`. Made
    texts that never ended fit: the end that would be one token too many is not theirs."""
    rows = codec.read(items)
    if len(rows) != n and isinstance(codec.space, Tokens) and hasattr(rows, "firsts"):
        fits = all(len(text) <= codec.space.length for text in rows.whole())
        rows = rows[rows.firsts] if cut or fits else rows
    batch = codec.encode(rows)
    if len(batch.x) != n:
        longest = codec.space.length - 1 if isinstance(codec.space, Tokens) else 0
        raise DataError(
            f"{n} items became {len(batch.x)} rows: some are longer than the {longest} tokens that this generator "
            "writes, or empty. Leave them out."
        )
    return batch


def pairs_of(pairs: Sequence[Pair], codec: Codec[Any], family: Family[Any]) -> Pairs:
    """Judged pairs as DPO takes them: left is "better" with share 1, 1/2 (a tie) or 0. Raises Unsupported."""
    if not isinstance(family, Policy):
        raise Unsupported(
            f"Pairs move families that say how likely their steps are, and {type(family).__name__} does not: "
            "method='best_of' learns a reward from them, and from the best by it."
        )
    if family.given is not None:
        raise Unsupported(
            f"Pairs do not tell conditions, and this {type(family).__name__} has some: method='ppo' learns a reward "
            "from them, which looks at the items alone."
        )
    prompts = [pair.prompt for pair in pairs]
    sides = []
    for side in ("left", "right"):
        candidates = [getattr(pair, side) for pair in pairs]
        batch = encoded(codec, items_of(codec, candidates, prompts), len(pairs))
        sides.append(cast(Policy, family).retrace(batch))
    share = torch.tensor([SHARES[pair.outcome] for pair in pairs])
    weight = torch.tensor([pair.weight * WEIGHTS[pair.strength] for pair in pairs])
    return Pairs(sides[0], sides[1], share, weight)
