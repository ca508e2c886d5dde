"""Labels for texts, sentiment among them: from no example or from a few, with probabilities that mean what they say."""

from likely.apps.label.model import Labeller, measures
from likely.apps.label.surprise import Token, surprise
from likely.apps.label.task import SENTIMENT, Task

__all__ = ["SENTIMENT", "Labeller", "Task", "Token", "measures", "surprise"]
