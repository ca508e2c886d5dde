"""How a text is to go on: a value that says all of it, checked once.

    z' = z - penalties + bias            logits z of the next token
    p  = softmax(z' / temperature)       0 = the likeliest token, always
    top_k    the k likeliest tokens      (Fan et al. 2018, arXiv:1805.04833)
    top_p    the fewest likeliest tokens that hold p of the mass        (Holtzman et al. 2020, arXiv:1904.09751)
    min_p    tokens at least min_p times as likely as the likeliest     (Nguyen et al. 2024, arXiv:2407.01082)

`repetition` divides the positive logits of tokens that occur in the prompt or the text so far and multiplies the
negative ones (Keskar et al. 2019, arXiv:1909.05858); `presence` and `frequency` are subtracted from the logits of
tokens of the text so far, once or once an occurrence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from likely.errors import OptionError
from likely.language.decode.constraint import Constraint

MOST_STOPS, MOST_STOP, MOST_ALTERNATIVES = 16, 1000, 50


@dataclass(frozen=True)
class Sampling:
    """`temperature` >= 0, `top_k` >= 0 (0 = all), `top_p` in (0, 1], `min_p` in [0, 1), `repetition` > 0 (1 = none).

    `tokens`: most new tokens. `stop`: strings that end the text and are not part of it. `seed`: None = a new one.
    `logprobs`: so many likeliest alternatives are reported for each token. `bias`: token id -> what is added to its
    logit. `constraint`: what the text must be (`choices`, `regex`, `json_schema`). `ends` false: an end-of-text token
    does not end the text and is never drawn. Raises OptionError.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition: float = 1.0
    presence: float = 0.0
    frequency: float = 0.0
    bias: Mapping[int, float] = field(default_factory=dict)
    stop: tuple[str, ...] = ()
    tokens: int = 256
    seed: int | None = None
    logprobs: int = 0
    constraint: Constraint | None = None
    ends: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "stop", _strings(self.stop))
        _number("temperature", self.temperature, 0.0, 100.0, "0 = always the likeliest token, 1 = as learned")
        _number("top_p", self.top_p, 0.0, 1.0, "the share of the mass to draw from, 1 = all", open_low=True)
        _number("min_p", self.min_p, 0.0, 1.0, "least probability beside the likeliest token's, 0 = none")
        _number("repetition", self.repetition, 0.0, 100.0, "1 = no penalty, 1.1 = a light one", open_low=True)
        _number("presence", self.presence, -100.0, 100.0, "0 = no penalty")
        _number("frequency", self.frequency, -100.0, 100.0, "0 = no penalty")
        _whole("top_k", self.top_k, 0, None, "0 = all tokens")
        _whole("tokens", self.tokens, 1, None, "the most new tokens")
        _whole("logprobs", self.logprobs, 0, MOST_ALTERNATIVES, "the number of alternatives")
        if self.seed is not None:
            _whole("seed", self.seed, 0, 2**64 - 1, "None = a new one")
        if len(self.stop) > MOST_STOPS:
            raise OptionError(f"{len(self.stop)} stop strings; at most {MOST_STOPS}.")
        for text in self.stop:
            if not isinstance(text, str) or not 0 < len(text) <= MOST_STOP:
                raise OptionError(f"stop={str(text)[:40]!r}: give strings of 1 to {MOST_STOP} characters.")
        for token, value in self.bias.items():
            _whole("bias", token, 0, None, "a token id -> what is added to its logit")
            _number("bias", value, -1e4, 1e4, "what is added to a logit")
        if self.constraint is not None and not isinstance(self.constraint, Constraint):
            raise OptionError(
                f"constraint={str(self.constraint)[:40]!r}: give choices([...]), regex(...) or json_schema(...)."
            )

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always taken."""
        return self.temperature == 0


def _strings(given: Any) -> tuple[Any, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _number(name: str, value: Any, low: float, high: float, meaning: str, *, open_low: bool = False) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise OptionError(f"{name}={repr(value)[:40]}: give a number ({meaning}).")
    if not low <= value <= high or (open_low and value == low):
        span = f"over {low:g} and at most {high:g}" if open_low else f"from {low:g} to {high:g}"
        raise OptionError(f"{name}={value!r}: give a number {span} ({meaning}).")


def _whole(name: str, value: Any, low: int, high: int | None, meaning: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise OptionError(f"{name}={repr(value)[:40]}: give a whole number ({meaning}).")
    if value < low or (high is not None and value > high):
        span = f"from {low} to {high}" if high is not None else f"of at least {low}"
        raise OptionError(f"{name}={value}: give a whole number {span} ({meaning}).")
