"""What there is and what fits what: computed from the registry, printed by `likely list`."""

from __future__ import annotations

from typing import Any

from likely import registry
from likely.core import Conditional, Density, Latent, Policy, Scorer
from likely.errors import MissingExtra

# What a family can do beside `fit` and `sample`: the protocol that says so.
CAPABILITIES = {
    "surprise": (Density, Scorer),
    "given, fill": (Conditional,),
    "embed": (Latent,),
    "align": (Policy,),
}


def grid() -> dict[str, list[dict[str, Any]]]:
    """Codecs with the families that fit their spaces, and families with what they can do."""
    families = {name: registry.get("family", name) for name in registry.names("family")}
    codecs = []
    for name in registry.names("codec"):
        try:
            codec = registry.get("codec", name)
        except MissingExtra as error:
            codecs.append({"name": name, "about": str(error), "families": []})
            continue
        fits = [f for f, cls in families.items() if cls.accepts in codec.spaces]
        codecs.append({"name": name, "about": _first_line(codec), "families": fits})
    return {
        "codecs": codecs,
        "families": [
            {
                "name": name,
                "about": _first_line(cls),
                "takes": cls.accepts.__name__,
                "can": [
                    "sample",
                    *[word for word, some in CAPABILITIES.items() if any(_has(cls, one) for one in some)],
                ],
            }
            for name, cls in families.items()
        ],
    }


def _has(cls: type, protocol: type) -> bool:
    """Whether instances of the class would have the protocol's methods (isinstance wants an instance)."""
    wanted = [name for name in vars(protocol) if not name.startswith("_") and callable(getattr(protocol, name))]
    return all(callable(getattr(cls, name, None)) for name in wanted)


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").strip().split("\n")[0]
