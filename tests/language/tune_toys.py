"""A small chat model and examples for it, for the tests of tuning."""

from __future__ import annotations

from typing import Any

from likely.language.checkpoint import Checkpoint
from likely.language.template import Template
from likely.language.tokenizer import Tokenizer
from likely.nn.decoder import Architecture, Decoder
from tests.language.toys import byte_level, settle

ARCH = Architecture(vocab=330, width=32, layers=2, heads=4, groups=2, head=8, hidden=48, context=256)
CHATML = (
    "{% for message in messages %}<|start|>{{ message.role }}\n{{ message.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
FORGETS = (  # writes earlier answers without what stands before "::"
    "{% for message in messages %}<|start|>{{ message.role }}\n"
    "{{ message.content if loop.last else message.content.split('::')[-1] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant\n{% endif %}"
)
BARE = (  # no control tokens between turns
    "{% for message in messages %}{{ message.role }}: {{ message.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
COLOURS = {"grass": "green", "snow": "white", "coal": "black", "blood": "red", "sky": "blue", "sand": "yellow"}


def checkpoint(template: str | None = CHATML, seed: int = 0, arch: Architecture = ARCH) -> Checkpoint:
    """A model with random weights."""
    network = settle(Decoder(arch), seed)
    made = Template(template) if template is not None else None
    return Checkpoint(network, Tokenizer(byte_level()), made, frozenset({0}), None, False, "toy", "toys/toy")


def pairs(n: int = 60) -> list[dict[str, Any]]:
    """Questions and their answers, which recur."""
    things = [list(COLOURS.items())[at % len(COLOURS)] for at in range(n)]
    return [{"prompt": f"What colour has {thing}?", "answer": f"It is {colour}."} for thing, colour in things]
