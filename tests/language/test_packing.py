"""Examples: what is learned of them. Packing: a text in a row has the loss and the gradients it has alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from likely.errors import DataError
from likely.language import conversation, packing
from likely.language.conversation import Example
from likely.language.loss import nats
from likely.language.tune import Identity, Learner
from likely.nn.decoder import Architecture, Decoder
from likely.nn.texts import Texts, look
from tests.language.toys import settle
from tests.language.tune_toys import ARCH, BARE, CHATML, FORGETS, checkpoint, pairs

TALK = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": "Who <|end|> are you?"},
    {"role": "assistant", "content": "A fox."},
    {"role": "user", "content": "And the dog?"},
    {"role": "assistant", "content": "\n\nLazy 日本."},
    {"role": "user", "content": "Bye"},
]


def learned(template: str, messages: Any = TALK) -> list[str]:
    """The stretches of a conversation that are learned."""
    model = checkpoint(template)
    ids, marks = conversation.conversation(model, messages)
    assert len(ids) == len(marks)
    found, run = [], []
    for id, mark in [*zip(ids, marks, strict=True), (0, False)]:
        if mark:
            run.append(id)
        elif run:
            found.append(model.tokenizer.decode(run, special=True))
            run = []
    return found


# --------------------------------------------------------------------------------------------- conversations


def test_what_the_assistant_says_is_learned_and_the_end_of_its_turn() -> None:
    first, second = learned(CHATML)
    assert first == "A fox.<|end|>"
    assert second.lstrip("\n") == "Lazy 日本.<|end|>"  # the line breaks may be one token with the one before


def test_without_tokens_that_end_turns_the_turn_is_learned_as_the_template_writes_it() -> None:
    assert [text.strip() for text in learned(BARE)] == ["A fox.", "Lazy 日本."]


def test_a_template_that_rewrites_the_past_is_refused_and_one_answer_is_fine() -> None:
    thought = [{**m, "content": f"hm::{m['content']}"} if m["role"] == "assistant" else m for m in TALK]
    with pytest.raises(DataError, match=r"up to message 2 differently.*Give each answer an example of its own"):
        learned(FORGETS, thought)
    assert learned(FORGETS, thought[:3]) == ["hm::A fox.<|end|>"]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"messages": []}, "a conversation is a list"),
        ({"messages": TALK[:2]}, "no message has the role 'assistant'"),
        ({"messages": TALK[2:]}, "begins with the assistant"),
        ({"messages": [{"role": "user", "content": 3}]}, "content of message 0"),
        ({"prompt": "a"}, "it has 'prompt'; wanted is one of"),
        ({"prompt": "a", "answer": "  "}, "its answer is empty"),
        ({"prompt": 1, "answer": "b"}, "its 'prompt' is '1'; a text is wanted"),
        ({}, "it has nothing"),
        ("text", "'text' was given"),
    ],
)
def test_examples_that_are_none_are_counted_and_explained(item: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"Example 2: .*{message}"):
        conversation.examples(checkpoint(), [{"text": "fine"}, item])


def test_pairs_and_texts() -> None:
    chat, base = checkpoint(), checkpoint(None)
    item = {"prompt": "What has the sky?", "answer": "Blue."}
    turns = [{"role": "user", "content": item["prompt"]}, {"role": "assistant", "content": item["answer"]}]
    assert conversation.example(chat, item) == conversation.conversation(chat, turns)
    ids, marks = conversation.example(base, item)
    assert base.tokenizer.decode(ids, special=True) == "What has the sky?Blue.<|end|>"
    assert sum(marks) == len(base.tokenizer.encode("Blue.")) + 1
    assert conversation.example(chat, item, plain=True) == (ids, marks)
    assert conversation.example(base, {"prompt": item["prompt"], "completion": item["answer"]}) == (ids, marks)
    ids, marks = conversation.example(base, {"text": "the <|end|> fox"})
    assert ids.count(0) == 1  # what is written is text; the end is the end
    assert marks == [False] + [True] * (len(ids) - 1)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no examples"),
        ('{"text": "a"}\n{"text": ', r"x.jsonl, line 2 is no JSON"),
        ('[{"text": "a"},\n{"text": "b"}]', r"line 1 is no JSON.*one JSON list: write its objects one a line"),
        ('{"text": "a"}\n\n3', r"line 3 is '3'; wanted is"),
        ("[" * 100_000, "line 1 is no JSON"),
        (b"\xff\xfe{", "no UTF-8 text"),
    ],
)
def test_files_that_are_none_name_the_line(content: str | bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=message):
        conversation.read(path)
    with pytest.raises(DataError, match="There is no"):
        conversation.read(tmp_path / "y.jsonl")


def test_files_may_begin_with_a_mark_and_have_empty_lines(tmp_path: Path) -> None:
    (tmp_path / "x").write_text('\ufeff{"text": "a"}\n\n{"text": "é"}', "utf-8")
    assert conversation.read(tmp_path / "x") == [{"text": "a"}, {"text": "é"}]


# --------------------------------------------------------------------------------------------------- packing


@settings(max_examples=60, deadline=None)
@given(sizes=st.lists(st.integers(1, 30), min_size=1, max_size=60))
def test_first_fit_is_the_first_that_fits(sizes: list[int]) -> None:
    order = sorted(range(len(sizes)), key=lambda at: -sizes[at])
    room: list[int] = []
    slow: list[list[int]] = []
    for item in order:
        row = next((at for at, left in enumerate(room) if left >= sizes[item]), len(room))
        if row == len(room):
            room.append(30)
            slow.append([])
        room[row] -= sizes[item]
        slow[row].append(item)
    assert packing.fit(order, sizes, 30) == slow
    assert len(slow) <= 11 / 9 * max(1, -(-sum(sizes) // 30)) * 1.5 + 1


def random_examples(n: int, most: int, seed: int = 0) -> list[Example]:
    rng = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(n):
        size = int(torch.randint(2, most + 1, (), generator=rng))
        ids = torch.randint(0, ARCH.vocab, (size,), generator=rng).tolist()
        marks = (torch.rand(size, generator=rng) < 0.6).tolist()
        found.append(Example(ids, [False, *marks[1:]]))
    return found


def test_rows_hold_every_token_once_and_say_what_was_cut() -> None:
    examples = [*random_examples(40, 30), Example(list(range(1, 101)), [False] * 5 + [True] * 95),
                Example([7] * 50, [False] * 45 + [True] * 5), Example([5, 6], [True, False])]  # fmt: skip
    packed = packing.pack(examples, 40)
    ids, numbers = packed.batch.x.unbind(1)
    assert packed.batch.mask is not None
    assert (packed.cut, packed.texts + packed.dropped) == (2, len(examples))
    assert packed.tokens == int((numbers > 0).sum())
    assert packed.learned == int(packed.batch.mask.sum())
    assert packed.filled > 0.85
    texts = []
    for row, number, mask in zip(ids, numbers, packed.batch.mask, strict=True):
        for k in range(1, int(number.max()) + 1):
            here = number == k
            texts.append((row[here].tolist(), mask[here].tolist()))
            assert texts[-1][1][-1]  # what comes after the last learned token is left away
            assert not texts[-1][1][0]
    kept = [(ids[:40], marks[:40]) for ids, marks in examples]
    assert len(texts) == sum(any(marks[1:]) for _, marks in kept)
    assert sorted(len(ids) for ids, _ in texts)[-1] == 40
    assert sum(sum(marks) for _, marks in texts) == sum(sum(marks[1:]) for _, marks in kept)


def test_nothing_to_learn_is_an_error() -> None:
    with pytest.raises(DataError, match=r"all answers begin after step 8: give a larger length"):
        packing.pack([Example([1] * 20, [False] * 15 + [True] * 5)], 8)
    with pytest.raises(DataError, match=r"nothing to learn in 1 examples\."):
        packing.pack([Example([1, 2], [True, False])], 8)


def test_the_length_is_that_of_the_longest_example() -> None:
    examples = conversation.examples(checkpoint(), pairs(12))
    longest = max(len(ids) for ids, _ in examples)
    assert packing.length_for(examples, 256, 2048) == -(-longest // 64) * 64
    assert packing.length_for(examples, 20, 2048) == 20
    assert packing.length_for(examples, 256, 24) == 24


# ---------------------------------------------------------------------------------- a row is what its texts are


ARCHES = {
    "llama": {},
    "gpt2": {"rope": None, "norm": "layer", "gated": False, "activation": "gelu_tanh", "groups": 4, "tied": False},
    "window": {"window": 5, "qk_norm": True, "bias_qkv": True},
}


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("kind", list(ARCHES))
def test_packed_losses_and_gradients_are_those_of_texts_alone(kind: str, recompute: bool) -> None:
    network = settle(Decoder(Architecture(**{**vars(ARCH), **ARCHES[kind]})))
    examples = random_examples(23, 90)
    learner = Learner(network, Identity())

    def gradients(loss: Tensor) -> dict[str, Tensor]:
        network.zero_grad()
        loss.backward()
        return {name: weight.grad for name, weight in network.named_parameters() if weight.grad is not None}

    packed = packing.pack(examples, 100)
    assert len(packed.batch.x) < 18
    network.recompute = recompute
    together = learner.nats(packed.batch)
    slopes = gradients(together / packed.learned)
    network.recompute = False
    alone = torch.zeros(())
    for ids, marks in examples:
        row, mark = torch.tensor([ids]), torch.tensor(marks[1:])
        logits = network.logits(network(row))[0, :-1]
        alone = alone + F.cross_entropy(logits[mark], row[0, 1:][mark], reduction="sum")
    assert float(together.detach()) == pytest.approx(float(alone.detach()), rel=1e-5)
    for name, slope in gradients(alone / packed.learned).items():
        assert torch.allclose(slopes[name], slope, atol=1e-5), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("window", [0, 7])
def test_both_ways_of_attention_agree(dtype: torch.dtype, window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(3, heads, 31, 8, generator=rng).to(dtype) for heads in (4, 2, 2))
    written = look(q, k, v, window)
    monkeypatch.setattr("likely.nn.texts.SHORT", {})
    assert torch.allclose(look(q, k, v, window), written, atol=1e-5 if dtype == torch.float32 else 3e-2)


def test_padding_is_nothing() -> None:
    numbers = torch.tensor([[0, 0, 0, 0], [1, 1, 0, 0]])
    texts = Texts(numbers)
    q = torch.randn(2, 2, 4, 3)
    out = texts.attend(q, q, q)
    assert bool((out[0] == 0).all())
    assert bool((out[1, 2:] == 0).all())
    assert bool((Texts(numbers[:1]).attend(q[:1], q[:1], q[:1]) == 0).all())
    assert torch.equal(texts.positions[1, :2], torch.tensor([0, 1]))


# ------------------------------------------------------------------------------------------------------- loss


@pytest.mark.parametrize("frozen", [False, True])
def test_nats_are_the_cross_entropy_and_so_are_their_gradients(frozen: bool) -> None:
    rng = torch.Generator().manual_seed(0)
    hidden, head = torch.randn(300, 16, generator=rng), torch.randn(50, 16, generator=rng)
    targets = torch.randint(0, 50, (300,), generator=rng)
    wanted = [hidden.requires_grad_()] if frozen else [hidden.requires_grad_(), head.requires_grad_()]
    ours, theirs = nats(hidden, head, targets), F.cross_entropy(hidden @ head.T, targets, reduction="sum")
    assert float(ours.detach()) == pytest.approx(float(theirs.detach()), rel=1e-5)
    for a, b in zip(torch.autograd.grad(3 * ours, wanted), torch.autograd.grad(3 * theirs, wanted), strict=True):
        assert torch.allclose(a, b, atol=1e-4)
    with torch.no_grad():
        assert float(nats(hidden, head, targets)) == pytest.approx(float(theirs.detach()), rel=1e-5)


def test_in_bf16_a_network_that_is_nearly_sure_still_learns() -> None:
    hidden, head = torch.tensor([[9.0]], requires_grad=True), torch.tensor([[1.0], [0.0]])
    with torch.autocast("cpu", torch.bfloat16):
        loss = nats(hidden, head, torch.tensor([0]))
    (slope,) = torch.autograd.grad(loss, hidden)
    assert float(loss.detach()) == pytest.approx(1.234e-4, rel=0.01)  # log(1 + exp(-9))
    assert float(slope) == pytest.approx(-1.234e-4, rel=0.01)
