"""How a language model reads answers: what it thinks of each after its prompt, and how likely it would have said it.

    prompt    as the chat template writes it (plain where there is none), read once for all its answers; those that
              have one answer are read with it, several at a time
    answer    after it, and the token that ends it: hidden states of each step, log p of each token

Of an answer of T tokens (its end is one of them): the mean of the states of its steps, the state at its last step,
where all of it has been seen, and log p of its tokens.

Letters: n answers, B answers at a time, T tokens, L layers looked at, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from likely.errors import DataError
from likely.language.checkpoint import Checkpoint
from likely.language.loss import log_probs
from likely.nn.decoder import Cache, Decoder

LONGEST = 768  # tokens of an answer that are read, and of a prompt: of a longer one its beginning and its end
ROWS = 8  # answers at a time
DEPTHS = (0.5, 0.6, 0.7, 0.8, 0.9)  # where features of meaning are most linear
Listen = Callable[[int, int], None]  # answers read so far, answers in all


@dataclass
class Read:
    """Of n answers: `mean` and `last` states (n, L, W), `logp` (n,) nats of all tokens, `tokens` (n,)."""

    mean: NDArray[np.float32]
    last: NDArray[np.float32]
    logp: NDArray[np.float64]
    tokens: NDArray[np.int64]


def layers_of(count: int) -> list[int]:
    """The layers looked at, from 1, of a network of `count`."""
    return sorted({max(1, round(depth * count)) for depth in DEPTHS})


@torch.inference_mode()
def read(
    checkpoint: Checkpoint, answers: Sequence[str], prompts: Sequence[Any], listen: Listen | None = None
) -> Read:  # fmt: skip
    """Each answer after its prompt: a text, or messages ("role", "content") that end where the answer begins.

    Raises DataError for what is no text.
    """
    network = checkpoint.network.eval()
    layers, n, W = layers_of(network.arch.layers), len(answers), network.arch.width
    shape = (n, len(layers), W)
    found = Read(np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(n), np.zeros(n, np.int64))
    groups: dict[tuple[int, ...], list[int]] = {}
    room = min(LONGEST, network.arch.context // 2 - 1)
    for place, prompt in enumerate(prompts):
        groups.setdefault(tuple(_cut(_asked(checkpoint, prompt), room)), []).append(place)
    end = checkpoint.end if checkpoint.ends else 0
    ids = [[*_cut(checkpoint.tokenizer.encode(_text(answer)), room), end] for answer in answers]
    states: dict[int, Tensor] = {}

    def catcher(layer: int) -> Callable[..., None]:
        return lambda _module, _given, out: states.update({layer: out})

    hooks = [network.blocks[layer - 1].register_forward_hook(catcher(layer)) for layer in layers]
    done = 0
    try:
        lone = sorted(
            ((prompt, places[0]) for prompt, places in groups.items() if len(places) == 1),
            key=lambda one: len(one[0]) + len(ids[one[1]]),
        )
        for first in range(0, len(lone), ROWS):
            some = lone[first : first + ROWS]
            _lone(checkpoint, [list(p) for p, _ in some], [at for _, at in some], [ids[at] for _, at in some],
                  (layers, states), found)  # fmt: skip
            done += len(some)
            if listen is not None:
                listen(done, n)
        for prompt, places in groups.items():
            if len(places) == 1:
                continue
            device, dtype = network.embed.weight.device, network.embed.weight.dtype
            start = Cache(network.arch, 1, len(prompt), dtype, device)
            before = network(torch.tensor([prompt], device=device), cache=start)[:, -1:]
            shared = sorted(places, key=lambda at: len(ids[at]))
            for first in range(0, len(shared), ROWS):
                group = shared[first : first + ROWS]
                _group(checkpoint, start, before, group, [ids[at] for at in group], (layers, states), found)
                done += len(group)
                if listen is not None:
                    listen(done, n)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _group(
    checkpoint: Checkpoint, start: Cache, before: Tensor, group: list[int], ids: list[list[int]],
    looked: tuple[list[int], dict[int, Tensor]], found: Read,
) -> None:  # fmt: skip
    """Some answers to one prompt: padded behind, which nothing before it sees."""
    network, P, (layers, states) = checkpoint.network, start.used, looked
    B, T = len(ids), max(map(len, ids))
    device = network.embed.weight.device
    cache = Cache(network.arch, B, P + T, network.embed.weight.dtype, device)
    cache.keys[:, :, :, :P], cache.values[:, :, :, :P] = start.keys, start.values
    cache.seen[:, :P], cache.used = True, P
    x = torch.tensor([row + [0] * (T - len(row)) for row in ids], device=device)
    count = torch.tensor([len(row) for row in ids], device=device)
    real = torch.arange(T, device=device) < count[:, None]
    hidden = network(x, cache=cache)
    # The token at step t is told by the state before it.
    told = torch.cat([before.expand(B, -1, -1), hidden[:, :-1]], 1)
    _take(network, group, x, real, told, [states[layer] for layer in layers], found)


def _lone(
    checkpoint: Checkpoint, prompts: list[list[int]], group: list[int], ids: list[list[int]],
    looked: tuple[list[int], dict[int, Tensor]], found: Read,
) -> None:  # fmt: skip
    """Some answers, each with its own prompt before it; padded behind."""
    network, (layers, states) = checkpoint.network, looked
    rows = [[*prompt, *answer] for prompt, answer in zip(prompts, ids, strict=True)]
    B, T, longest = len(rows), max(map(len, ids)), max(map(len, rows))
    device = network.embed.weight.device
    whole = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=device)
    hidden = network(whole)
    step = torch.arange(T, device=device)
    count = torch.tensor([len(row) for row in ids], device=device)
    start = torch.tensor([len(prompt) for prompt in prompts], device=device)
    real = step < count[:, None]
    at = (start[:, None] + step).clamp_max(longest - 1)
    row = torch.arange(B, device=device)[:, None]
    seen = [states[layer][row, at] for layer in layers]
    _take(network, group, whole[row, at], real, hidden[row, at - 1], seen, found)


def _take(
    network: Decoder, group: list[int], x: Tensor, real: Tensor, told: Tensor, states: list[Tensor], found: Read
) -> None:  # fmt: skip
    """What is kept of tokens x (B, T), of which `real` are, told by states (B, T, W), with states at them by layer."""
    count = real.sum(1)
    share = (real / count[:, None])[..., None]
    for at, state in enumerate(states):
        state = state.float()
        found.mean[group, at] = (state * share).sum(1).cpu().numpy()
        found.last[group, at] = state[torch.arange(len(x)), count - 1].cpu().numpy()
    head = (network.embed if network.head is None else network.head).weight
    logp = x.new_zeros(x.shape, dtype=torch.float64)
    logp[real] = log_probs(told[real], head, x[real]).double()
    found.logp[group] = logp.sum(1).cpu().numpy()
    found.tokens[group] = count.cpu().numpy()


def _asked(checkpoint: Checkpoint, prompt: Any) -> list[int]:
    """Ids of a prompt up to where the answer begins; at least one."""
    messages = prompt if isinstance(prompt, list) else None
    if checkpoint.template is not None and (messages or prompt):
        return checkpoint.chat(messages or [{"role": "user", "content": _text(prompt)}])
    text = "\n".join(str(m["content"]) for m in messages) if messages else _text(prompt or "")
    start = checkpoint.bos if checkpoint.bos is not None else min(checkpoint.ends, default=0)
    return [
        *([start] if checkpoint.begins or not text else []),
        *checkpoint.tokenizer.encode(text + "\n" if text else ""),
    ]


def _cut(ids: list[int], room: int) -> list[int]:
    half = room // 2
    return ids if len(ids) <= room else ids[: room - half] + ids[-half:]


def _text(text: Any) -> str:
    if not isinstance(text, str):
        raise DataError(f"A language model reads texts; {type(text).__name__} was given.")
    return text
