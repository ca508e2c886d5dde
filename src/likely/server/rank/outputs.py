"""What a model makes, as candidates of judgements: a checkpoint answers prompts, a generator makes what it learned.

    texts               text/plain, the answer without its prompt
    rows of a table     application/json, one object
    images              image/png, pixel by pixel
    windows             application/json: [[...C numbers...], ...T moments...], or T objects
    anything else       as its codec renders it

A maker is loaded when it is first asked. Its candidates can be made again from their `seed` and `parameters`: a
generator's by `gen.sample(1, seed=..., temperature=..., given=...)`, a checkpoint's by `Sampling(seed=...)`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from likely.align.preference import Candidate
from likely.errors import ArtifactError, DataError, OptionError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:/+-]{0,99}")
NOT = (".txt", ".jsonl", ".json", ".csv", ".db")
HASHED = (".safetensors", ".json", ".gguf", ".jinja", ".model", ".txt")
Given = Callable[[Any], Any]


class Wanted(NamedTuple):
    """A prompt, and a seed for each candidate."""

    prompt: Any
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Settings:
    """How candidates are drawn. `tokens`: of a checkpoint's answer, at most."""

    temperature: float = 1.0
    tokens: int = 200

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= 20:
            raise OptionError(
                f"--temperature {self.temperature:g}: it goes from 0 (the likeliest) over 1 to 20 (wild)."
            )
        if not 1 <= self.tokens <= 100_000:
            raise OptionError(f"--tokens {self.tokens}: give a whole number from 1 to 100,000.")


class Maker:
    """One model under one set of settings. `name`: as results call it. `source`: the file, folder or packaged name."""

    def __init__(self, name: str, source: str, settings: Settings) -> None:
        self.name, self.source, self.settings = name, source, settings
        self.generator = source.endswith(".likely")
        self.path = located(source)

    @cached_property
    def artifact(self) -> str:
        """The hash of its file or files."""
        return digest(self.path)

    @property
    def parameters(self) -> dict[str, Any]:
        """What a candidate says it was drawn with."""
        found: dict[str, Any] = {"temperature": self.settings.temperature}
        return found if self.generator else found | {"tokens": self.settings.tokens}

    @cached_property
    def model(self) -> Any:
        """The generator, or the engine of a checkpoint. Raises ArtifactError and such."""
        if self.generator:
            from likely.generator import load

            return load(self.path)
        from likely.language.checkpoint import load as read
        from likely.language.decode import Engine

        return Engine(read(self.source))

    @property
    def kind(self) -> str:
        """What it makes: texts, rows, images, windows."""
        from likely.output import many

        return many(self.model) if self.generator else "texts"

    @property
    def form(self) -> list[str]:
        """What items of it look like, for their ids: those of rows hold the columns."""
        columns = self.model.codec.columns if self.generator and self.kind == "rows" else ()
        return [self.kind, *sorted(columns)]

    def check(self, asked: Sequence[Any]) -> None:
        """That it can be asked this, before anybody waits for it. Raises LikelyError."""
        wishes = [wish for one in asked if (wish := self._wish(one))]
        if not wishes or not self.generator:
            return
        codec = self.model.codec if self.model.conditions is None else self.model.conditions.codec
        for wish in wishes:
            codec.condition(wish)
        if self.kind == "rows":  # a wish may be well said and yet hold in no row
            self.make([Wanted(asked[0], (0,))])

    def make(self, wanted: Sequence[Wanted]) -> list[list[Candidate]]:
        """A candidate for every seed of every prompt. Raises LikelyError where a prompt cannot be met."""
        return [self._items(one) for one in wanted] if self.generator else self._texts(wanted)

    def _candidate(self, content: bytes, media: str, seed: int) -> Candidate:
        return Candidate(content, media, self.name, self.artifact, seed, self.parameters)

    # ------------------------------------------------------------------------------------------- checkpoints

    def _texts(self, wanted: Sequence[Wanted]) -> list[list[Candidate]]:
        from likely.language.decode import Sampling

        batcher, rows = self.model.batcher(), []
        texts: dict[Any, list[str]] = {}
        for one in wanted:
            ids = self._ids(one.prompt)
            asked = [Sampling(self.settings.temperature, seed=seed, tokens=self.settings.tokens) for seed in one.seeds]
            rows.append([batcher.add(ids, sampling) for sampling in asked])
            texts.update({request: [] for request in rows[-1]})
        while batcher.active or batcher.waiting:
            for piece in batcher.step():
                texts[piece.request].append(piece.text)
        return [
            [self._candidate("".join(texts[request]).strip().encode(), "text/plain", seed)
             for request, seed in zip(requests, one.seeds, strict=True)]
            for requests, one in zip(rows, wanted, strict=True)
        ]  # fmt: skip

    def _ids(self, prompt: Any) -> Any:
        self._wish(prompt)
        checkpoint = self.model.checkpoint
        if checkpoint.template is None:
            from likely.align.features import written

            return checkpoint.encode(written(prompt))
        return checkpoint.chat(prompt if isinstance(prompt, list) else [{"role": "user", "content": prompt}])

    # -------------------------------------------------------------------------------------------- generators

    def _wish(self, prompt: Any) -> Any:
        """What a generator is given; None for a checkpoint, and where nothing is asked. Raises DataError."""
        if not self.generator:
            if prompt is None or isinstance(prompt, dict):
                raise DataError(f"{self.name!r} is a language model: it needs texts to answer, --prompts prompts.txt")
            return None
        if prompt is None:
            return None
        if isinstance(prompt, dict):
            from likely.server.items import given

            return given(prompt)
        gen = self.model
        if gen.card["codec"]["name"] == "text" and gen.conditions is None:
            return {"prompt": prompt}
        raise DataError(
            f"{self.name!r} makes {self.kind}, it answers no texts: leave --prompts out, or write wishes, "
            '{"given": {"column": value}}.'
        )

    def _items(self, one: Wanted) -> list[Candidate]:
        gen, wish = self.model, self._wish(one.prompt)
        temperature = max(self.settings.temperature, 0.05)
        made = []
        for seed in one.seeds:
            (items,) = gen.stream(1, given=wish, temperature=temperature, seed=seed)
            content, media = _content(gen, items, one.prompt)
            made.append(self._candidate(content, media, seed))
        return made


def _content(gen: Any, items: Any, prompt: Any) -> tuple[bytes, str]:
    """One item of the codec's own collection, as bytes of a media type."""
    from likely.server.items import tell

    kind = gen.card["codec"]["name"]
    if kind == "text":
        return _answer(gen.codec.give(items)[0], prompt).encode(), "text/plain"
    if kind == "image":
        return base64.b64decode(tell(gen, items)[0]["image"]), "image/png"
    if kind in ("table", "series"):
        told = tell(gen, items)
        one = told if kind == "series" and isinstance(told[0], dict) else told[0]
        return json.dumps(one, ensure_ascii=False, allow_nan=False).encode(), "application/json"
    drawn = gen.codec.render(items)
    return drawn.data, drawn.media.partition(";")[0]


def _answer(made: Any, prompt: Any) -> str:
    """The text that was made, without what it was asked to begin with."""
    if isinstance(made, list):  # messages
        return str(made[-1]["content"])
    if isinstance(made, dict):
        made = list(made.values())[-1]
    elif isinstance(made, tuple):
        made = made[-1]
    text, before = str(made), prompt if isinstance(prompt, str) else ""
    return text[len(before) :] if before and text.startswith(before) else text


# --------------------------------------------------------------------------------------------------- names


def alike(found: Sequence[Maker]) -> list[str]:
    """What items of these models look like, for their ids. Raises OptionError where they make different kinds."""
    by: dict[str, list[Maker]] = {}
    for maker in found:
        by.setdefault(maker.kind, []).append(maker)
    if len(by) > 1:
        told = ", ".join(f"{maker.name!r} makes {kind}" for kind, some in by.items() for maker in some)
        apart = ", then ".join(f"likely rank {some[0].source}" for some in by.values())
        raise OptionError(f"Only outputs of one kind can be compared: {told}. Rank them apart: {apart}")
    return sorted({part for maker in found for part in maker.form})


def makers(sources: Iterable[str], temperatures: Sequence[float], tokens: int) -> list[Maker]:
    """A maker for each model and temperature; several temperatures are part of the name. Raises OptionError,
    ArtifactError where there is no such model."""
    found: dict[str, Maker] = {}
    for text in sources:
        name, equals, source = text.partition("=")
        if not equals or "/" in name:
            source, name = text, Path(text).name.removesuffix(".likely").removesuffix(".gguf")
        for temperature in temperatures:
            full = name if len(temperatures) == 1 else f"{name}@{temperature:g}"
            if not NAME.fullmatch(full) or not source:
                raise OptionError(f"{text!r}: {full[:80]!r} is no name for a model; give one: mine={source or 'PATH'}")
            if full in found:
                raise OptionError(f"Two models are called {full!r}: give one another name, as in {name}-2={source}")
            found[full] = Maker(full, source, Settings(temperature, tokens))
    return list(found.values())


def located(source: str) -> Path:
    """Where a model lies. Raises ArtifactError."""
    from likely.language import packaged

    path = Path(source)
    if path.suffix.lower() in NOT and path.is_file():
        raise ArtifactError(f"{source!r} is no model; prompts come behind one: likely rank smollm2 --prompts {source}")
    if path.exists():
        return path
    if source in packaged.NAMES:
        return packaged.find(source)
    raise ArtifactError(
        f"There is no model {source[:200]!r}. A model is a file NAME.likely, a Hugging Face folder, a .gguf file, or "
        f"one of: {', '.join(packaged.NAMES)}."
    )


def digest(path: Path) -> str:
    """SHA-256 of a file, or of the files of a folder that make a model."""
    files = [path] if path.is_file() else sorted(p for p in path.iterdir() if p.suffix in HASHED and p.is_file())
    whole = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            part = hashlib.file_digest(stream, "sha256")
        if path.is_file():
            return part.hexdigest()
        whole.update(f"{file.name} {part.hexdigest()}\n".encode())
    return whole.hexdigest()
