"""The `gan` family: a generator and a critic that learn from each other."""

from likely.families.gan.family import Gan, GanConfig

__all__ = ["Gan", "GanConfig"]
