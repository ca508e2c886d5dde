"""Text: strings, files, pairs and conversations <-> tokens."""

from likely.codecs.text.codec import Text
from likely.codecs.text.texts import Texts

__all__ = ["Text", "Texts"]
