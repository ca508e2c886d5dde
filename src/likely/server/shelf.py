"""The models, by name: language models (checkpoints of others) and generators (files of ours).

a Hugging Face folder, a .gguf file, "smollm2"   a language model: chat, completions, surprise
NAME.likely                                      a generator: sample, fill, surprise
NAME=any of these                                under a name of one's own
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import likely.generator
from likely.errors import OptionError, UnknownName
from likely.generator import Generator
from likely.language.checkpoint import load
from likely.language.decode import Batcher, Engine
from likely.language.decode.kernel import KERNELS
from likely.server.desk import Desk
from likely.server.metrics import Metrics
from likely.server.refusal import Refusal
from likely.server.settings import Limits
from likely.server.worker import Worker

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/+-]{0,99}")


@dataclass(frozen=True)
class Running:
    """How language models run. `kernel`: see `likely.language.decode.kernel`. `rows`: texts at a time. `memory`: bytes
    of keys and values, a model."""

    kernel: str = "auto"
    rows: int = 32
    memory: int = 2 << 30

    def __post_init__(self) -> None:
        if self.kernel not in KERNELS:
            raise UnknownName("kernel", self.kernel, KERNELS)
        if not 1 <= self.rows <= 1024:
            raise OptionError(f"rows={self.rows}: give a whole number from 1 to 1024.")


class Language:
    """A language model at work."""

    kind = "language"

    def __init__(self, name: str, engine: Engine, running: Running, limits: Limits, metrics: Metrics) -> None:
        def make() -> Batcher:
            return engine.batcher(rows=running.rows, memory=running.memory)

        self.name, self.engine, self.created = name, engine, int(time.time())
        self.context = engine.runner.arch.context
        self.worker = Worker(name, make, running.rows, limits.queue, metrics)

    @property
    def active(self) -> int:
        """Texts that get a token each step."""
        return self.worker.batcher.active

    @property
    def waiting(self) -> int:
        """Texts that wait for a row, those that are still being prepared among them."""
        return max(0, self.worker.pending - self.active)

    def start(self) -> None:
        """Begin to work in the running event loop."""
        self.worker.start()

    def end(self) -> None:
        """Stop."""
        self.worker.end()


Model = Language | Desk


class Shelf:
    """`sources`: NAME=PATH or PATH each. `load` fills it, `start` sets it to work."""

    def __init__(self, sources: Iterable[str], *, running: Running | None = None, limits: Limits | None = None,
                 metrics: Metrics | None = None) -> None:  # fmt: skip
        self.running, self.limits, self.metrics = running or Running(), limits or Limits(), metrics or Metrics()
        self.sources = named(sources)
        self.models: dict[str, Model] = {}
        self.ready = False

    def load(self, listen: Callable[[str], None] = lambda _: None) -> None:
        """Read all models. Raises LikelyError for the first that cannot be read."""
        for name, source in self.sources.items():
            if source.endswith(".likely"):
                self.put(name, likely.generator.load(source))
            else:
                self.put(name, Engine(load(source), kernel=self.running.kernel, rows=self.running.rows))
            listen(f"{name}: {source}")

    def put(self, name: str, model: Engine | Generator) -> None:
        """One more model."""
        if isinstance(model, Generator):
            self.models[name] = Desk(name, model, self.limits.queue, self.metrics)
        else:
            self.models[name] = Language(name, model, self.running, self.limits, self.metrics)

    def start(self) -> None:
        """Set all to work, in the running event loop."""
        for model in self.models.values():
            model.start()
        self.ready = True

    def end(self) -> None:
        """Stop all."""
        self.ready = False
        for model in self.models.values():
            model.end()

    def get(self, name: str) -> Model:
        """Raises Refusal (404)."""
        found = self.models.get(name)
        if found is None:
            raise Refusal(404, str(UnknownName("model", name, self.models)), param="model", code="model_not_found")
        return found

    def language(self, name: str) -> Language:
        """Raises Refusal (404; 400 where it is a generator)."""
        found = self.get(name)
        if not isinstance(found, Language):
            raise Refusal(
                400, f"{name!r} makes {found.things}, it does not talk: use /v1/likely/sample, fill or surprise.",
                param="model", code="wrong_kind",
            )  # fmt: skip
        return found


def named(sources: Iterable[str]) -> dict[str, str]:
    """Name -> source. Raises OptionError for names that are taken, or none."""
    found: dict[str, str] = {}
    for text in sources:
        name, equals, source = text.partition("=")
        if not equals or "/" in name:
            source = text
            name = Path(text).name.removesuffix(".likely").removesuffix(".gguf")
        if not NAME.fullmatch(name) or not source:
            raise OptionError(f"{text!r}: {name!r} is no name for a model; give one: likely serve my-model={source}")
        if name in found:
            raise OptionError(f"Two models are called {name!r}: give one another name, as in {name}-2={source}")
        found[name] = source
    if not found:
        raise OptionError("Serve what? Give a model: likely serve smollm2")
    return found
