"""The seq2seq family: search, smoothing, and a small translation learned."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from likely.core import Batch, Budget, Reals, Tokens
from likely.errors import ConditionError, OptionError
from likely.families.seq2seq import Seq2seq, Seq2seqConfig
from likely.testing import enumerate_tokens
from likely.train.loop import fit

SPACE, SOURCE = Tokens(6, 4), Tokens(7, 5)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shaken(style: str = "rope") -> Seq2seq:
    torch.manual_seed(0)
    model = Seq2seq(SPACE, SOURCE, Seq2seqConfig(style=style, width=16, heads=2, encoder=1, depth=1))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.4 * torch.randn_like(weight))
    return model.eval()


def sources() -> Batch:
    return Batch(torch.tensor([[3, 4, 5, 2, 0], [6, 2, 0, 0, 0], [3, 3, 3, 3, 3], [2, 0, 0, 0, 0], [5, 4, 6, 6, 2]]))


@pytest.mark.parametrize("alpha", [0.0, 1.0])
@pytest.mark.parametrize("style", ["rope", "t5"])
def test_a_wide_beam_finds_the_best_text(style: str, alpha: float) -> None:
    """With as many beams as there are texts: the best of all of them, by log p and length."""
    model, given, all_ = shaken(style), sources(), enumerate_tokens(SPACE)
    found = model.search(given, beams=100, alpha=alpha)
    length = ((all_ == SPACE.eos).cumsum(1) == 0).sum(1) + 1
    norm = ((5 + length.clamp(max=SPACE.length)) / 6) ** alpha
    for k in range(len(given.x)):
        logp = model.log_prob(Batch(all_, Batch(given.x[k : k + 1].expand(len(all_), -1))))
        best = int((logp / norm).argmax())
        assert found.x[k].tolist() == all_[best].tolist()
        assert float(found.logp[k]) == pytest.approx(float(logp[best]), abs=1e-4)


def test_a_narrow_beam_is_greedy() -> None:
    model, given = shaken(), sources()
    found = model.search(given, beams=1, alpha=0.0)
    x = torch.zeros_like(found.x)
    for s in range(SPACE.length):
        hidden = model.states(model.shifted(x), given, 0.0)[:, s]
        token = model.outcomes(hidden).argmax(1)
        over = (x[:, :s] == SPACE.eos).any(1)
        x[:, s] = torch.where(over, SPACE.pad, token)
    assert torch.equal(found.x, x)
    assert torch.allclose(found.logp, model.log_prob(Batch(x, given)), atol=1e-4)
    wider = model.search(given, beams=3, alpha=0.0).logp
    assert bool((wider >= found.logp - 1e-5).all())
    for options in ({"beams": 0}, {"alpha": -1.0}, {"alpha": math.inf}):
        with pytest.raises(OptionError):
            model.search(given, **options)  # type: ignore[arg-type]
    with pytest.raises(ConditionError):
        model.sample(3, rng=rng())


def test_the_source_is_read_up_to_its_end() -> None:
    model, x = shaken(), torch.tensor([[3, 4, 2, 0]]).expand(5, -1)
    logp = model.log_prob(Batch(x, sources()))
    other = torch.tensor([[3, 4, 5, 2, 6], [6, 2, 3, 3, 3], [3, 3, 3, 3, 3], [2, 6, 6, 6, 6], [5, 4, 6, 6, 2]])
    assert torch.allclose(model.log_prob(Batch(x, Batch(other))), logp, atol=1e-5)
    mask = torch.tensor([[True, True, False, False, False]]).expand(5, -1)
    cut = model.log_prob(Batch(x, Batch(sources().x, None, mask)))
    assert not torch.allclose(cut, logp, atol=1e-3)
    nothing = model.log_prob(Batch(x, Batch(sources().x, None, mask & False)))
    assert bool(torch.isfinite(nothing).all())


def test_smoothing_spreads_a_share() -> None:
    model = shaken()
    model = Seq2seq(SPACE, SOURCE, Seq2seqConfig(width=16, heads=2, encoder=1, depth=1, smooth=0.2, dropout=0.0))
    logits = torch.randn(50, SPACE.vocab, generator=rng())
    logits[:, :2] = -torch.inf
    x = torch.randint(2, SPACE.vocab, (50,), generator=rng())
    law = torch.log_softmax(logits, 1)
    want = -0.8 * law.gather(1, x[:, None])[:, 0] - 0.2 * law[:, 2:].mean(1)
    assert torch.allclose(model.train().price(logits, x), want, atol=1e-5)
    assert torch.allclose(model.eval().price(logits, x), -law.gather(1, x[:, None])[:, 0], atol=1e-5)


def reversed_(n: int, L: int) -> tuple[Tensor, Tensor]:
    """Sources of 1 to L - 1 tokens, and the same backwards."""
    length = torch.randint(1, L, (n,), generator=rng(1))
    source = torch.zeros(n, L, dtype=torch.int64)
    target = torch.zeros(n, L, dtype=torch.int64)
    for k, m in enumerate(length.tolist()):
        word = torch.randint(3, 9, (m,), generator=rng(10 + k))
        source[k, : m + 1] = torch.cat([word, torch.tensor([2])])
        target[k, : m + 1] = torch.cat([word.flip(0), torch.tensor([2])])
    return source, target


def test_sentences_are_turned_round() -> None:
    space = Tokens(9, 6)
    source, target = reversed_(2000, 6)
    config = Seq2seqConfig(
        width=48, heads=2, encoder=1, depth=1, dropout=0.0, batch=64, steps=350, rate=5e-3, shared=True
    )  # fmt: skip
    model = Seq2seq(space, space, config)
    fit(model, Batch(target[:1800], Batch(source[:1800])), Budget(), training=model.plan())
    found = model.search(Batch(source[1800:]), beams=3)
    assert float((found.x == target[1800:]).all(1).float().mean()) > 0.7
    drawn = model.sample(200, Batch(source[1800:]), rng=rng())
    assert float((drawn == target[1800:]).all(1).float().mean()) > 0.6


def test_a_ragged_recording_is_counted() -> None:
    """Reals of 1 to 6 steps of noise around (1, 0) or (0, 1): the target spells which they were."""
    n, space = 3000, Tokens(5, 7)
    kind = torch.randint(0, 2, (n, 6), generator=rng())
    length = torch.randint(1, 7, (n,), generator=rng(1))
    mask = torch.arange(6) < length[:, None]
    x = torch.nn.functional.one_hot(kind, 2) + 0.1 * torch.randn(n, 6, 2, generator=rng(2))
    x[~mask] = 7.0  # what stands in padding has no say
    place = torch.arange(7)
    target = torch.where(place < length[:, None], torch.nn.functional.pad(kind + 3, (0, 1)), 0)
    target = torch.where(place == length[:, None], 2, target)
    config = Seq2seqConfig(width=48, heads=2, encoder=1, depth=1, dropout=0.0, batch=64, steps=600, rate=5e-3)
    torch.manual_seed(0)
    model = Seq2seq(space, Reals((6, 2), ragged=True), config)
    fit(
        model,
        Batch(target[:2900], Batch(x[:2900], None, mask[:2900])),
        Budget(),
        training=replace(model.plan(), precision="float32"),
    )
    found = model.search(Batch(x[2900:], None, mask[2900:]), beams=2)
    assert float((found.x == target[2900:]).all(1).float().mean()) > 0.7


def test_all_items_of_a_tiny_space_are_listed() -> None:
    listed = {tuple(item) for item in enumerate_tokens(SPACE).tolist()}
    words = itertools.chain.from_iterable(itertools.product((3, 4, 5), repeat=n) for n in range(5))
    assert len(listed) == sum(1 for _ in words)
