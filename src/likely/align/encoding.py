"""Candidates of judgements as items of a generator: what a codec reads, and pairs of paths for its policy.

text/plain         one text; with a prompt, the text that begins with it (or the conversation, for models of turns)
application/json   one row of a table as an object: {"age": 31, "town": "Ulm"}

Prompts are the same on both sides of a pair, so that what they cost cancels in every difference.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch

from likely.align.dpo import Pairs
from likely.align.features import written
from likely.align.likelihood import WEIGHTS
from likely.align.preference import Candidate, Pair
from likely.core import Batch, Codec, Family, Policy, Tokens
from likely.errors import DataError, Unsupported

SHARES = {"left": 1.0, "right": 0.0, "tie": 0.5}


def items_of(codec: Codec[Any], candidates: Sequence[Candidate], prompts: Sequence[Any]) -> Any:
    """Items as the user has them, for codec.read. Raises Unsupported for other media, DataError for broken ones."""
    wanted = "text/plain" if isinstance(codec.space, Tokens) else "application/json"
    for one in candidates:
        if one.media != wanted or codec.name not in ("text", "table"):
            raise Unsupported(
                f"A generator of {codec.name} data cannot learn from candidates of {one.media} yet: texts (text/plain) "
                "and rows of tables (application/json, one object a row) can be encoded."
            )
    if codec.name == "table":
        return _rows(candidates)
    return prompted(codec, [one.words() for one in candidates], prompts)


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
    """A batch of n items. Raises DataError where an item does not fit into one row, unless it is to be `cut`: made
    texts that never ended are a token too long once an end is put behind them."""
    rows = codec.read(items)
    if cut and len(rows) != n and hasattr(rows, "firsts"):
        rows = rows[rows.firsts]
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
    if not isinstance(family, Policy) or family.given is not None:
        raise Unsupported(
            f"Judgements move families that say how likely their steps are, without conditions; "
            f"{type(family).__name__} {'has conditions' if isinstance(family, Policy) else 'does not'}."
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
