"""Names -> parts. One table to grep; import happens at look-up; other packages join by entry point on a miss.

A line maps a name to "module:Class". Entry points are looked for in the group `likely.KIND`
(`likely.codec`, `likely.family`, `likely.app`) and only when the table has no such name.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from types import ModuleType
from typing import Any

from likely.errors import MissingExtra, UnknownName

TABLES: dict[str, dict[str, str]] = {
    "codec": {
        "table": "likely.codecs.table:Table",
        "image": "likely.codecs.image:Image",
        "series": "likely.codecs.series:Series",
        "text": "likely.codecs.text:Text",
    },
    "family": {
        "trees": "likely.families.trees:Trees",
        "masked": "likely.families.masked:Masked",
        "exact": "likely.families.exact:Exact",
        "vae": "likely.families.vae:Vae",
        "autoencoder": "likely.families.autoencoder:Autoencoder",
        "flow": "likely.families.flow:Flow",
        "gan": "likely.families.gan:Gan",
        "cyclegan": "likely.families.cyclegan:CycleGan",
        "transformer": "likely.families.transformer:Transformer",
        "lstm": "likely.families.lstm:Lstm",
        "seq2seq": "likely.families.seq2seq:Seq2seq",
    },
    "demo": {
        "patients": "likely.cli.demo_patients:patients",
        "images": "likely.cli.demo_images:images",
        "monitor": "likely.cli.demo_monitor:pump",
    },
    "method": {
        "ppo": "likely.align.ppo:PPO",
        "grpo": "likely.align.grpo:GRPO",
        "dpo": "likely.align.dpo:DPO",
        "reinvent": "likely.align.reinvent:Reinvent",
    },
    "command": {
        "rank": "likely.cli.rank:rank",
        "align": "likely.cli.align:align",
        "rlhf": "likely.cli.rlhf:rlhf",
        "monitor": "likely.cli.monitor:monitor",
        "chat": "likely.cli.chat:chat",
        "label": "likely.cli.label:label",
        "sentiment": "likely.cli.sentiment:sentiment",
        "summarise": "likely.cli.summarise:summarise",
        "translate": "likely.cli.translate:translate",
        "tune": "likely.cli.tune:tune",
        "headline": "likely.cli.summarise:headline",
        "serve": "likely.cli.serve:serve",
    },
    "app": {
        "monitor": "likely.apps.monitor:Monitor",
    },
}

# package -> extra that installs it
EXTRAS: dict[str, str] = {
    "pandas": "pandas",
    "pyarrow": "arrow",
    "PIL": "images",
    "tokenizers": "text",
    "jinja2": "chat",
    "llguidance": "schema",
    "uvicorn": "serve",
    "pypdf": "pdf",
    "polib": "translate",
    "sacrebleu": "translate",
    "sqlalchemy": "store",
    "pg8000": "store",
}


def names(kind: str) -> list[str]:
    """All names of a kind, ours first, then those of installed packages."""
    own = list(TABLES[kind])
    return own + [point.name for point in entry_points(group=f"likely.{kind}") if point.name not in own]


def get(kind: str, name: str) -> Any:
    """The class called `name`. Raises UnknownName with the nearest name."""
    target = TABLES[kind].get(name)
    if target is None:
        for point in entry_points(group=f"likely.{kind}"):
            if point.name == name:
                return point.load()
        raise UnknownName(kind, name, names(kind))
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)


def require(package: str, doing: str) -> ModuleType:
    """An optional package, or an error that says how to install it; `doing` is what it is needed for."""
    try:
        return import_module(package)
    except ModuleNotFoundError as error:
        # A bug inside an installed package must not read as "not installed".
        if error.name != package.partition(".")[0]:
            raise
        raise MissingExtra(doing, package, EXTRAS.get(package, package)) from error
