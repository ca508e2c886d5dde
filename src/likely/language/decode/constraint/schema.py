"""JSON that a schema accepts, by the Rust library llguidance, which is optional."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from likely.errors import ConstraintError
from likely.language.decode.constraint.contract import Compiled, Constraint, Words
from likely.registry import require

LONG = 100_000  # characters of a schema
DOING = "holding texts to a JSON schema"


def json_schema(schema: Mapping[str, Any] | str) -> Constraint:
    """JSON that a schema accepts; {} = any JSON. Raises ConstraintError, or MissingExtra without llguidance."""
    require("llguidance", DOING)
    try:
        parsed = json.loads(schema) if isinstance(schema, str) else dict(schema)
        text = json.dumps(parsed, sort_keys=True)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConstraintError(f"The schema is no JSON: {str(error)[:100]}") from error
    if not isinstance(parsed, dict):
        raise ConstraintError(f"A JSON schema is an object, got {type(parsed).__name__}.")
    if len(text) > LONG:
        raise ConstraintError(f"The schema has {len(text)} characters; at most {LONG}.")
    return JsonSchema(text)


@dataclass(frozen=True)
class JsonSchema:
    """A schema as JSON text."""

    schema: str

    def compile(self, words: Words) -> Compiled:
        """Raises ConstraintError where llguidance does not take the schema."""
        return Grammar(self.schema, words)


class _Spelling:
    """The vocabulary in the form that llguidance asks for."""

    def __init__(self, words: Words) -> None:
        self.tokens = [words.bytes(id) for id in range(words.size)]
        self.special_token_ids = [id for id, text in enumerate(self.tokens) if not text]
        # It wants a token that ends; which ones do is decided outside, so any control token will do.
        self.eos_token_id = self.special_token_ids[0] if self.special_token_ids else 0
        self.bos_token_id = None
        self.encode = words.encode

    def __call__(self, text: str | bytes) -> list[int]:
        return self.encode(text if isinstance(text, str) else text.decode(errors="replace"))


class Grammar:
    """A schema over the tokens of a vocabulary."""

    def __init__(self, schema: str, words: Words) -> None:
        self.library = require("llguidance", DOING)
        self.size = words.size
        spelling = _Spelling(words)
        try:
            wrapped = self.library.TokenizerWrapper(spelling)
            self.tokenizer = self.library.LLTokenizer(wrapped, n_vocab=words.size)
            self.grammar = self.library.LLMatcher.grammar_from_json_schema(schema)
        except (ValueError, RuntimeError) as error:
            raise ConstraintError(f"llguidance does not take the schema: {str(error)[:200]}") from error
        self.special = torch.tensor(spelling.special_token_ids, dtype=torch.long)
        self.walk()

    def walk(self) -> Walk:
        """A text from its beginning."""
        return Walk(self)


class Walk:
    """One text under way."""

    def __init__(self, grammar: Grammar) -> None:
        self.grammar = grammar
        self.matcher = grammar.library.LLMatcher(grammar.tokenizer, grammar.grammar, log_level=0)
        self._check()

    def _check(self) -> None:
        if self.matcher.is_error():
            raise ConstraintError(f"llguidance gave up on the schema: {self.matcher.get_error()[:200]}")

    @property
    def allowed(self) -> Tensor:
        """(V,) true = may come next."""
        bits = torch.frombuffer(bytearray(self.matcher.compute_bitmask()), dtype=torch.uint8)
        mask = (bits[:, None] >> torch.arange(8, dtype=torch.uint8) & 1).flatten()[: self.grammar.size].bool()
        mask[self.grammar.special] = False
        return mask

    @property
    def whole(self) -> bool:
        """Whether the text so far is JSON that the schema accepts."""
        return bool(self.matcher.is_accepting())

    @property
    def over(self) -> bool:
        """Whether nothing may follow."""
        return self.whole and (bool(self.matcher.is_stopped()) or not bool(self.allowed.any()))

    def advance(self, token: int) -> None:
        """This token came."""
        self.matcher.consume_token(token)
        self._check()
