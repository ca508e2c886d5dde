"""Images: folders, files, arrays or PIL images <-> reals."""

from likely.codecs.image.codec import Image
from likely.codecs.image.pictures import Pictures

__all__ = ["Image", "Pictures"]
