"""The `vae` family: variational autoencoders (family.py) and their priors (prior.py)."""

from likely.families.vae.family import Vae, VaeConfig

__all__ = ["Vae", "VaeConfig"]
