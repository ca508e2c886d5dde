"""Decoding: from a checkpoint and a prompt to text.

sampling     how a text is to go on             pieces      what comes out
batcher      many texts, a token a step         engine      generate, stream, score
constraint   what a text must be
"""

from likely.language.decode.batcher import Batcher
from likely.language.decode.constraint import Constraint, choices, json_schema, regex
from likely.language.decode.engine import Engine
from likely.language.decode.pieces import Completion, Piece, Request
from likely.language.decode.sampling import Sampling

__all__ = [
    "Batcher", "Completion", "Constraint", "Engine", "Piece", "Request", "Sampling", "choices", "json_schema", "regex",
]  # fmt: skip
