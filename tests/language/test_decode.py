"""Texts from a batch are those of the network alone: cached as uncached, together as alone."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from likely.errors import OptionError
from likely.language.decode import Batcher, Completion, Engine, Piece, Sampling
from likely.language.decode.engine import whole
from likely.language.decode.runner import Runner
from likely.language.decode.slots import Slots
from tests.language.decode_toys import KINDS, checkpoint

GREEDY = Sampling(temperature=0, tokens=12, ends=False)


def engine(kind: str = "llama", **options: object) -> Engine:
    return Engine(checkpoint(**KINDS[kind]), kernel="plain", **options)  # type: ignore[arg-type]


def prompts(n: int, seed: int = 0, longest: int = 20) -> list[tuple[int, ...]]:
    draw = random.Random(seed)
    return [tuple(draw.randrange(256) for _ in range(draw.randint(1, longest))) for _ in range(n)]


def uncached(made: Engine, ids: tuple[int, ...], tokens: int) -> tuple[list[int], list[float]]:
    """The likeliest tokens by a whole forward pass each."""
    network, text, logprobs = made.checkpoint.network, list(ids), []
    banned = sorted(made.checkpoint.ends)
    for _ in range(tokens):
        with torch.inference_mode():
            logits = network.logits(network(torch.tensor([text])))[0, -1]
        allowed = logits.clone()
        allowed[banned] = -torch.inf
        text.append(int(allowed.argmax()))
        logprobs.append(float(logits.log_softmax(0)[text[-1]]))
    return text[len(ids) :], logprobs


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_is_the_argmax_of_whole_passes(kind: str) -> None:
    made = engine(kind, draft=0)
    # dynamic: keys of a cache keep the angles of their time, so only what is read at once is comparable
    wish = replace(GREEDY, tokens=1) if kind == "dynamic" else GREEDY
    asked = prompts(7)
    for ids, (found,) in zip(asked, made.generate(asked, wish), strict=True):
        tokens, logprobs = uncached(made, ids, wish.tokens)
        assert list(found.ids) == tokens
        assert found.logprobs == pytest.approx(logprobs, abs=1e-4)
        assert found.reason == "length"


@pytest.mark.parametrize("kind", ["llama", "gpt2", "mistral"])
def test_together_as_alone(kind: str) -> None:
    made = engine(kind)
    asked = prompts(9, seed=1)
    wish = Sampling(temperature=0.9, top_p=0.95, seed=5, tokens=15)
    together = made.generate(asked, wish, n=2)
    for ids, found in zip(asked, together, strict=True):
        (alone,) = made.generate([ids], wish, n=2)
        assert [(one.ids, one.text, one.reason) for one in alone] == [(one.ids, one.text, one.reason) for one in found]
        assert found[0].ids != found[1].ids


def test_a_prompt_given_twice_gets_two_texts() -> None:
    made = engine()
    ids = prompts(1)[0]
    wish = Sampling(seed=3, tokens=10)
    (a,), (b,) = made.generate([ids, ids], wish)
    ((c, d),) = made.generate([ids], wish, n=2)
    assert (a.ids, b.ids) == (c.ids, d.ids)
    assert a.ids != b.ids


def test_requests_join_and_leave() -> None:
    """Few rows, many requests at odd times, long prompts in parts: each text is the one it would be alone."""
    made = engine()
    draw = random.Random(4)
    wishes = [Sampling(temperature=draw.choice([0, 1.0]), seed=i, tokens=draw.randint(1, 9)) for i in range(12)]
    asked = prompts(12, seed=2, longest=40)
    batcher = Batcher(made.checkpoint, made.runner, rows=3, part=8)
    pieces: dict[int, list[Piece]] = {}
    requests = []
    for _ in range(400):
        if len(requests) < len(asked) and draw.random() < 0.3:
            requests.append(batcher.add(asked[len(requests)], wishes[len(requests)]))
        for piece in batcher.step():
            pieces.setdefault(requests.index(piece.request), []).append(piece)
        assert batcher.active <= 3
        if len(requests) == len(asked) and not batcher.active and not batcher.waiting:
            break
    assert len(pieces) == len(asked)
    for at, (ids, wish) in enumerate(zip(asked, wishes, strict=True)):
        ((alone,),) = made.generate([ids], wish)
        assert _same(whole(pieces[at]), alone)


def _same(a: Completion, b: Completion) -> bool:
    return (a.text, a.ids, a.reason) == (b.text, b.ids, b.reason) and a.logprobs == pytest.approx(b.logprobs, abs=1e-4)


def test_more_samples_than_rows() -> None:
    made = engine(rows=3)
    ids = prompts(1)[0]
    wish = Sampling(seed=1, tokens=6)
    (many,) = made.generate([ids], wish, n=8)
    (few,) = engine(rows=8).generate([ids], wish, n=8)
    assert [one.ids for one in many] == [one.ids for one in few]


class Counted(Runner):
    """A runner that remembers how many tokens each call read."""

    def begin(self, texts: Sequence[Sequence[int]], slots: Slots, first: int) -> torch.Tensor:
        self.read_so_far.append(sum(map(len, texts)))
        return super().begin(texts, slots, first)

    read_so_far: list[int]


def test_a_prompt_is_read_once_and_finished_texts_cost_nothing() -> None:
    made = engine()
    runner = Counted(made.checkpoint.network)
    runner.read_so_far = []
    batcher = Batcher(made.checkpoint, runner, rows=16)
    for tokens, n in ((3, 2), (7, 1), (5, 4)):
        batcher.add(tuple(range(tokens, tokens + 20)), Sampling(seed=1, tokens=tokens, ends=False), n=n)
    while batcher.active or batcher.waiting:
        batcher.step()
    assert runner.read_so_far[0] == 3 * 20  # three prompts for seven texts
    assert runner.read_so_far[1:] == [7, 7, 5, 5, 1, 1]  # each text until it is over


def test_cancelled_texts_end_at_once() -> None:
    made = engine(rows=2)
    batcher = made.batcher()
    wish = Sampling(tokens=50, seed=0, ends=False)
    first, second, third = (batcher.add(ids, wish, n=n) for ids, n in zip(prompts(3), (1, 1, 3), strict=True))
    for _ in range(3):
        batcher.step()
    batcher.cancel(first)
    batcher.cancel(third)
    pieces = batcher.step()
    assert sorted((piece.sample, piece.reason) for piece in pieces if piece.request in (first, third)) == [
        (0, "cancelled"), (0, "cancelled"), (1, "cancelled"), (2, "cancelled")
    ]  # fmt: skip
    assert (first.left, second.left, third.left) == (0, 1, 0)
    assert (batcher.active, batcher.waiting) == (1, 0)
    rest = [piece for _ in range(60) for piece in batcher.step()]
    assert {piece.request for piece in rest} == {second}
    assert rest[-1].reason == "length"
    assert batcher.step() == []
    ((alone,),) = made.generate([prompts(3)[1]], wish)
    assert alone.ids[-len(rest) :] == tuple(piece.token for piece in rest)


def test_memory_bounds_the_rows() -> None:
    made = engine()
    batcher = Batcher(made.checkpoint, made.runner, rows=16, memory=made.runner.slots().bytes(4, 96))
    for ids in prompts(10):
        batcher.add(ids, GREEDY)
    seen = 0
    while batcher.active or batcher.waiting:
        batcher.step()
        seen = max(seen, batcher.active)
    assert seen == 4


def test_the_context_is_the_limit() -> None:
    made = engine()
    ids = tuple(range(90))
    ((found,),) = made.generate([ids], Sampling(tokens=50, seed=0, ends=False))
    assert (len(found.ids), found.reason) == (6, "length")
    with pytest.raises(OptionError, match=r"100 tokens; the context is 96, .*: 5 too many\. Shorten it"):
        made.generate([tuple(range(100))])


@pytest.mark.parametrize(
    ("ids", "words"),
    [((), "prompt is empty"), ((0, 999), "holds id 999; ids are 0 to"), ((-1,), "holds id -1; ids are 0 to")],
)
def test_prompts_that_are_none(ids: tuple[int, ...], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        engine().batcher().add(ids)


def test_a_string_in_the_place_of_a_list() -> None:
    with pytest.raises(OptionError, match=r"generate\(\[prompt\]\)"):
        engine().generate("hello")
    with pytest.raises(OptionError, match=r"choose\(\[prompt\], \[text, text\]\)"):
        engine().choose("in the", ["a", "b"])
    for n in (0, 2.5, True):
        with pytest.raises(OptionError, match=f"n={n}"):
            engine().generate(["hello"], n=n)  # type: ignore[arg-type]


@pytest.mark.parametrize("prompt", [3, ["a"], [1.5], None])
def test_prompts_of_no_kind(prompt: object) -> None:
    with pytest.raises(OptionError, match="a text or a list of token ids, got"):
        engine().generate([prompt])  # type: ignore[list-item]


def test_the_end_token_ends() -> None:
    made = engine()
    (end,) = made.checkpoint.ends
    wish = Sampling(bias={end: 20.0}, seed=0, tokens=40)
    ((found,),) = made.generate([(65, 66)], wish)
    assert (found.ids, found.text, found.reason) == ((end,), "", "end")
    ((found,),) = made.generate([(65, 66)], Sampling(bias={end: 20.0}, seed=0, tokens=40, ends=False))
    assert end not in found.ids
    assert found.reason == "length"


def test_streams_say_what_completions_say() -> None:
    made = engine()
    wish = Sampling(seed=9, tokens=25)
    pieces = list(made.stream("the cat", wish))
    ((found,),) = made.generate(["the cat"], wish)
    assert whole(pieces) == found
    assert [piece.reason for piece in pieces] == [""] * (len(pieces) - 1) + [found.reason]


def test_score_is_the_log_softmax() -> None:
    made = engine()
    texts = [*prompts(6, seed=3), "the and the"]
    for text, found in zip(texts, made.score(texts), strict=True):
        ids = made.ids(text)
        network = made.checkpoint.network
        with torch.inference_mode():
            expected = network.logits(network(torch.tensor([ids])))[0].log_softmax(1)
        expected = expected[:-1].gather(1, torch.tensor(ids[1:])[:, None])[:, 0]
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    assert made.score([(5,)])[0].shape == (0,)
    with pytest.raises(OptionError, match="99 tokens; the context is 96: 3 too many"):
        made.score([tuple(range(100))])


def test_choose_scores_continuations() -> None:
    made = engine(rows=2)
    texts = ["the", " and then", "x", " on and on"]
    found = made.choose(["in the", "é"], texts)
    for i, prompt in enumerate(["in the", "é"]):
        for j, text in enumerate(texts):
            ids = (*made.ids(prompt), *made.checkpoint.tokenizer.encode(text))
            assert float(found[i, j]) == pytest.approx(
                float(made.score([ids])[0][len(made.ids(prompt)) - 1 :].sum()), abs=1e-3
            )


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**64 - 1), draft=st.integers(1, 6), temperature=st.sampled_from([0.0, 0.4, 1.0]),
       repetition=st.sampled_from([1.0, 1.3]))  # fmt: skip
def test_drafts_change_nothing(seed: int, draft: int, temperature: float, repetition: float) -> None:
    ids = (65, 66, 67, 68) * 5
    wish = Sampling(temperature=temperature, repetition=repetition, seed=seed, tokens=20)
    ((plain,),) = engine(draft=0).generate([ids], wish)
    ((drafted,),) = engine(draft=draft).generate([ids], wish)
    assert _same(plain, drafted)
