"""The `trees` family: an autoregressive chain of boosted bit-trees over cells."""

from likely.families.trees.boost import Boosting as Boosting
from likely.families.trees.family import Trees as Trees
from likely.families.trees.family import TreesConfig as TreesConfig
