"""What models see in items, for rewards: the states of a generator's own steps, those of a language model.

`Steps`     of a generator whose family is a policy: the mean of what each choice was made from, and log p of the item
            under the generator as it was when judged (a frozen copy); and the item itself: its numbers, or the
            coordinates in which its codec measures distances (quantiles, one-hot levels, runs of bytes). Of any other
            family, and where there are conditions, which judgements do not tell, the item alone.
`Language`  of a checkpoint, for texts: mean and last states of the answer after its prompt, in five layers from half to
            nine tenths of the depth; log p of the answer; and how the text is made (`features.SHAPE`).

A saved reward does not hold the model: it holds its fingerprint, and the model is given again.

Letters: n items, B at a time, S steps, F features, L layers, W width.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch

from likely.align.encoding import encoded, items_of, prompted
from likely.align.features import SHAPE, Array, Features, Raw, shapes, spoken, texts_of
from likely.align.preference import Candidate
from likely.core import Family, Policy, Reals
from likely.errors import ArtifactError, Mismatch, OptionError
from likely.language import answers
from likely.language.checkpoint import Checkpoint, fingerprint, opened
from likely.nn.portion import portions

ROWS = 64


class Steps:
    """A generator's own steps, or, `alone`, its items. `generator`: anything with a codec and a family, such as a
    `Generator`."""

    name: ClassVar[str] = "steps"

    def __init__(self, generator: Any) -> None:
        family: Family[Any] = generator.family
        self.alone = family.given is not None or not isinstance(family, Policy)
        self.codec = generator.codec
        self.family: Family[Any] = copy.deepcopy(family).eval().requires_grad_(False)
        self.width = 0

    @property
    def sizes(self) -> tuple[int, int]:
        """(3, F); (0, F) where items are looked at as their codec measures them."""
        return 0 if self.alone and not isinstance(self.family.space, Reals) else 3, self.width

    def take(self, candidates: Sequence[Candidate], prompts: Sequence[Any]) -> tuple[Any, None]:
        """Texts with their prompts, rows, images, windows. Raises Unsupported for other media, DataError where too
        long."""
        items = items_of(self.codec, candidates, prompts)
        encoded(self.codec, items, len(candidates))  # what was judged must fit as a whole
        return items, None

    @torch.no_grad()
    def read(self, items: Any, prompts: Any = None) -> Raw:
        """Of items as the generator gives them; prompts only for texts."""
        if prompts is not None:
            items = prompted(self.codec, list(items), list(prompts))
        if self.alone and not isinstance(self.family.space, Reals):
            alone = self._coordinates(items)
            return self._raw(np.zeros((len(alone), 0)), alone)
        batch = encoded(self.codec, items, len(items), cut=True)
        policy, wide, numbers = cast(Policy, self.family), [], []
        for part in portions(batch, ROWS):
            if self.alone:
                flat = part.x.flatten(1).double()
                wide.append(flat.cpu().numpy())
                numbers.append(torch.stack([flat.mean(1), flat.std(1), flat.abs().amax(1)], 1).cpu().numpy())
                continue
            path = policy.retrace(part)
            logp, features = policy.score(path)
            mask = path.mask.to(features)
            count = mask.sum(1).clamp_min(1)
            if features.shape[1] == mask.shape[1] and features.shape[-1]:
                seen = (features * mask[..., None]).sum(1) / count[:, None]
                # The steps of a flow are seen through noise, whoever judges sees the item itself.
                seen = torch.cat([seen, part.x.flatten(1)], 1) if isinstance(self.family.space, Reals) else seen
                wide.append(seen.double().cpu().numpy())
            total = torch.where(path.mask, logp, 0.0).sum(1)
            numbers.append(torch.stack([total, total / count, count.log1p()], 1).double().cpu().numpy())
        means = np.concatenate(wide) if wide else np.zeros((len(batch.x), 0))
        if not isinstance(self.family.space, Reals):  # a step knows what came before it, and not that 41 is near 40
            means = np.concatenate([means, self._coordinates(items)], 1)
        return self._raw(np.concatenate(numbers), means)

    def _raw(self, numbers: Array, wide: Array) -> Raw:
        """Both, as wide as they were. Raises Mismatch where a reward was fitted to features of another width."""
        self.width = self.width or wide.shape[1]
        if wide.shape[1] != self.width:
            raise Mismatch(
                f"This reward was learned from {self.width} columns, and items have {wide.shape[1]} here: another "
                "version of likely made it. Fit it again."
            )
        return Raw(numbers, wide)

    def _coordinates(self, items: Any) -> Array:
        """(n, F) items as their codec measures distances between them."""
        rows = self.codec.read(items)
        rows = rows[rows.firsts] if hasattr(rows, "firsts") and len(rows) != len(items) else rows
        return np.asarray(self.codec.features(rows), np.float64)

    def state(self) -> dict[str, Any]:
        """Which generator."""
        return {"fingerprint": weights_of(self.family), "width": self.width}


class Language:
    """What a language model sees in texts. `model`: a checkpoint, its path, or the name of one that a package ships.

    `listen` is called with (answers read, answers in all).
    """

    name: ClassVar[str] = "language"

    def __init__(
        self, model: Checkpoint | str | Path = "smollm2", *, listen: Callable[[int, int], None] | None = None
    ) -> None:
        self.checkpoint, self.listen = opened(model), listen

    @property
    def sizes(self) -> tuple[int, int]:
        """(R, 2 L W)."""
        arch = self.checkpoint.network.arch
        return len(SHAPE) + 2, 2 * len(answers.layers_of(arch.layers)) * arch.width

    def take(self, candidates: Sequence[Candidate], prompts: Sequence[Any]) -> tuple[list[str], list[Any]]:
        """Texts. Raises Unsupported for other media."""
        return texts_of(candidates, "language features"), list(prompts)

    def read(self, items: Any, prompts: Any = None) -> Raw:
        """Of texts, (prompt, answer) pairs or conversations."""
        texts, asked = spoken(items, prompts)
        # Messages stay messages, for the chat template; what is said of overlap is said of their text.
        talks = [p if isinstance(p, list) else a for p, a in zip(prompts or [None] * len(texts), asked, strict=True)]
        found = answers.read(self.checkpoint, texts, talks, self.listen)
        n = len(texts)
        wide = np.concatenate([found.mean.reshape(n, -1), found.last.reshape(n, -1)], 1)
        likely = np.stack([found.logp / found.tokens, np.log1p(found.tokens)], 1)
        return Raw(np.concatenate([shapes(texts, asked), likely], 1), wide)

    def state(self) -> dict[str, Any]:
        """Which checkpoint, and where it was."""
        here = self.checkpoint
        where = here.source if here.source and Path(here.source).exists() else here.name
        return {"fingerprint": fingerprint(here), "name": here.name, "source": where}


def restored(name: str, state: Mapping[str, Any], model: Any) -> Features:
    """Features that a file names, with the model they look at. Raises Mismatch where it is another one."""
    print_, width = state["fingerprint"], state.get("width")
    if name == "steps":
        if model is None:
            raise OptionError("This reward looks at the steps of a generator: RewardModel.load(path, model=generator).")
        steps = Steps(model)
        if weights_of(steps.family) != print_:
            raise Mismatch("This reward looks at the steps of another generator than the one given.")
        if type(width) is not int or not 0 <= width <= 10**6:
            raise ArtifactError("A reward model says nothing sensible of the width of its features: fit it again.")
        steps.width = width
        return steps
    # A file names its checkpoint, and only a packaged name is looked for: no path from a file is opened.
    if model is None and state["name"] != "smollm2":
        raise OptionError(
            f"This reward looks at the states of {str(state['name'])[:80]!r}: RewardModel.load(path, model=its path)."
        )
    language = Language("smollm2" if model is None else model)
    if fingerprint(language.checkpoint) != print_:
        raise Mismatch("This reward looks at the states of another language model than the one given.")
    return language


def weights_of(family: Family[Any]) -> str:
    """What tells a fitted family from another: the hash of all it learned."""
    digest = hashlib.sha256(type(family).__name__.encode())
    for name, tensor in sorted(family.tensors().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        whole = tensor.detach().cpu().contiguous()
        digest.update(whole.view(-1).view(torch.uint8).numpy().tobytes() if whole.numel() else b"")
    return digest.hexdigest()[:32]
