"""Translation: learned from your own pairs, or by a checkpoint; placeholders and markup are kept by construction."""

from likely.apps.translate.checkpoint import by_checkpoint
from likely.apps.translate.own import learn, load, save
from likely.apps.translate.pairs import Pair, read_pairs
from likely.apps.translate.translator import Translator

__all__ = ["Pair", "Translator", "by_checkpoint", "learn", "load", "read_pairs", "save"]
