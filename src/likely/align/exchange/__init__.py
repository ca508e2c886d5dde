"""Judgements from and to files: our own lossless lines, TRL's preference formats, HH dialogues, labelled tables.

    read(path)                     finds out the form from the columns
    write(judgements, path, form)  "own" | "trl" | "conversational" | "implicit" | "hh"

JSON lines (.jsonl, gzipped with .gz) and Parquet (.parquet). What a form cannot say is never dropped in silence:
`write` counts it in what it returns, `read` puts it in the judgements' `notes`.
"""

from __future__ import annotations

from likely.align.exchange.forms import FORMS, Written, read, write

__all__ = ["FORMS", "Written", "read", "write"]
