"""A writer that is a checkpoint: a T5 in a Hugging Face folder, or any chat model, told to translate.

Of sentences with marks a T5 gets the text "translate English to German: ...", and a chat model a message. What either
says is a draft like any other: `Translator` keeps what must be kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from likely.apps.translate.translator import Translator
from likely.errors import Mismatch, OptionError, Unsupported
from likely.language.checkpoint import load
from likely.language.decode import Engine, Sampling
from likely.language.fields import Fields, read_json
from likely.language.huggingface import t5
from likely.nn.decoder import Cache

TIMES, MORE, CONTEXT = 3, 16, 512  # tokens of a translation: so many times those of the source, and more
TOLD = "Translate from {source} to {target}. Answer with the translation only.\n\n{text}"


def by_checkpoint(path: str | Path, target: str, source: str = "English") -> Translator:
    """A translator into the language `target`, by its English name. Raises ArtifactError, OptionError, Unsupported."""
    for word in (source, target):
        if not word.strip() or len(word) > 40:
            raise OptionError(f"A language is named in English, such as German; {word[:40]!r} was given.")
    folder = Path(path)
    if (folder / "config.json").is_file() and Fields(
        read_json(folder / "config.json"), str(folder / "config.json")
    ).get("model_type") == "t5":
        return Translator(Encoding(t5.load(folder), source, target))
    return Translator(Chatting(Engine(load(path)), source, target))


class Chatting:
    """A chat model."""

    def __init__(self, engine: Engine, source: str, target: str) -> None:
        if engine.checkpoint.template is None:
            raise Unsupported(f"{engine.checkpoint.name!r} has no chat template: give a chat model, or a T5.")
        self.engine, self.source, self.target = engine, source, target
        self.about = f"{engine.checkpoint.name}, told to translate from {source} to {target}"

    def write(self, sentences: Sequence[str]) -> list[str]:
        """Each by a message of its own, at temperature 0; the first line of the answer."""
        model = self.engine.checkpoint
        told = [TOLD.format(source=self.source, target=self.target, text=text) for text in sentences]
        prompts = [model.chat([{"role": "user", "content": text}]) for text in told]
        most = TIMES * max(len(model.tokenizer.encode(text)) for text in sentences) + MORE
        found = self.engine.generate(prompts, Sampling(temperature=0, tokens=most))
        return [next((line for line in row[0].text.splitlines() if line.strip()), "") for row in found]


class Encoding:
    """An encoder-decoder of the T5 kind, greedily."""

    def __init__(self, checkpoint: t5.Seq2seqCheckpoint, source: str, target: str) -> None:
        self.checkpoint, self.prefix = checkpoint, f"translate {source} to {target}: "
        self.about = f"{checkpoint.name}, translating from {source} to {target}"

    @torch.no_grad()
    def write(self, sentences: Sequence[str]) -> list[str]:
        """One by one."""
        network = self.checkpoint.network
        out = []
        for text in sentences:
            source = self.checkpoint.encode(self.prefix + text)
            if len(source) > CONTEXT:
                raise Mismatch(f"A sentence of {len(source)} tokens; {self.checkpoint.name!r} reads {CONTEXT}: cut it.")
            most = TIMES * len(source) + MORE
            recall = network.recall(network.encode(torch.tensor([source])))
            weight = network.embed.weight
            cache = Cache(network.arch, 1, most, weight.dtype, weight.device)
            ids, last = [], self.checkpoint.start
            for _ in range(most):
                hidden = network.decode(torch.tensor([[last]]), recall, cache=cache)
                last = int(network.logits(hidden[:, -1]).argmax())
                if last in self.checkpoint.ends:
                    break
                ids.append(last)
            out.append(self.checkpoint.tokenizer.decode(ids).strip())
        return out
