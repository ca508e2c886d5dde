"""What a text must be.

contract     what a constraint, and a text under one, can do
choice       one of these texts, with the probabilities that the model gives them
pattern      regular expressions as trees       automaton   trees as automata of bytes
regex        automata and the tokens of a vocabulary
schema       JSON that a schema accepts (needs llguidance)
"""

from likely.language.decode.constraint.choice import Listing, choices
from likely.language.decode.constraint.contract import Compiled, Constraint, Walk, Words
from likely.language.decode.constraint.regex import regex
from likely.language.decode.constraint.schema import json_schema

__all__ = ["Compiled", "Constraint", "Listing", "Walk", "Words", "choices", "json_schema", "regex"]
