"""Families of tokens: what they share, and what is their own. Sums over all items and counts of draws:
test_contracts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from likely.core import Batch, Budget, Cells, Known, Reals, Space, Tokens
from likely.errors import ConditionError, DataError, Mismatch, OptionError, Unsupported
from likely.families.autoregressive import Autoregressive, groups
from likely.families.lstm import Lstm, LstmConfig
from likely.families.seq2seq import Seq2seq, Seq2seqConfig
from likely.families.transformer import Transformer, TransformerConfig
from likely.nn.decoder import Architecture, Decoder
from likely.train.loop import fit

SPACE, SOURCE = Tokens(9, 7), Tokens(8, 6)
GPT = TransformerConfig(style="gpt2", width=16, depth=2, heads=2)
LLAMA = TransformerConfig(width=16, depth=2, heads=4, groups=2)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def shaken(model: Any) -> Any:
    """Weights that are no longer those of a beginner."""
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    return model.eval()


def items(n: int = 12, space: Tokens = SPACE) -> Tensor:
    """Items of 0 to L tokens."""
    x = torch.randint(3, space.vocab, (n, space.length), generator=rng(3))
    length = torch.arange(n)[:, None] % (space.length + 1)
    place = torch.arange(space.length)
    return torch.where(place < length, x, torch.where(place == length, space.eos, space.pad))


def sources(n: int, given: Space | None) -> Batch | None:
    match given:
        case Tokens():
            return Batch(items(n + 1, given)[1:])
        case Cells():
            return Batch(torch.stack([torch.arange(n) % size for size in given.sizes], 1))
        case Reals(ragged=True):
            mask = torch.arange(given.shape[0]) < 1 + torch.arange(n)[:, None] % given.shape[0]
            return Batch(torch.randn(n, *given.shape, generator=rng(4)), None, mask)
        case Reals():
            return Batch(torch.randn(n, *given.shape, generator=rng(4)))
    return None


ALL: list[Any] = [
    pytest.param(Transformer, None, GPT, id="gpt2"),
    pytest.param(Transformer, None, LLAMA, id="llama"),
    pytest.param(Transformer, Cells((3, 2)), replace(GPT, prefix=2), id="gpt2 of cells"),
    pytest.param(Transformer, SOURCE, replace(LLAMA, prefix=3), id="llama of tokens"),
    pytest.param(Lstm, None, LstmConfig(width=16, depth=2), id="lstm"),
    pytest.param(Lstm, Reals((4,)), LstmConfig(width=16), id="lstm of reals"),
    pytest.param(Seq2seq, SOURCE, Seq2seqConfig(width=16, heads=2, encoder=1, depth=2), id="tokens"),
    pytest.param(Seq2seq, SOURCE, Seq2seqConfig(style="t5", width=16, heads=2, encoder=1, depth=1), id="t5"),
    pytest.param(Seq2seq, Reals((5, 3), ragged=True), Seq2seqConfig(width=16, heads=2, depth=1), id="ragged"),
    pytest.param(Seq2seq, Reals((5,)), Seq2seqConfig(width=16, heads=2, depth=1), id="vector"),
]


@pytest.mark.parametrize(("cls", "given", "config"), ALL)
@torch.no_grad()
def test_step_by_step_is_all_at_once(cls: Any, given: Space | None, config: Any) -> None:
    """The memory of a walk, rows dropped on the way, gives what the network makes of the whole beginning."""
    model: Autoregressive = shaken(cls(SPACE, given, config))
    x, c = items(6), sources(6, given)
    seen = model.shifted(x)
    whole = model.states(seen, c, 0.0)
    walk = model.walk(6, c)
    assert torch.allclose(walk.step(seen[:, :3]), whole[:, 2], atol=1e-5)
    assert torch.allclose(walk.step(seen[:, 3:4]), whole[:, 3], atol=1e-5)
    rows = torch.tensor([1, 4, 5])
    walk.keep(rows)
    for s in range(4, SPACE.length):
        assert torch.allclose(walk.step(seen[rows, s : s + 1]), whole[rows, s], atol=1e-5)


@pytest.mark.parametrize(("cls", "given", "config"), ALL)
def test_the_loss_is_the_likelihood(cls: Any, given: Space | None, config: Any) -> None:
    """Whatever the padding, the company and the order."""
    model: Autoregressive = shaken(cls(SPACE, given, config))
    batch = Batch(items(16), sources(16, given))
    logp = model.log_prob(batch)
    assert torch.allclose(model.loss(batch), -logp.mean(), atol=1e-5)
    alone = torch.cat([model.log_prob(Batch(batch.x[k : k + 1], row(batch.given, k))) for k in range(16)])
    assert torch.allclose(alone, logp, atol=1e-4)
    assert model.log_probs(Batch(batch.x[:0], row(batch.given, slice(0)))).shape == (0, SPACE.length)
    other = torch.where(batch.x == SPACE.pad, 5, batch.x)
    assert torch.allclose(model.log_prob(batch._replace(x=other)), logp, atol=1e-4)


def row(given: Batch | None, k: int | slice) -> Batch | None:
    part = slice(k, k + 1) if isinstance(k, int) else k
    return Batch(given.x[part], None, given.mask[part] if given.mask is not None else None) if given else None


def test_a_mask_says_what_is_real() -> None:
    """Ends inside of a dialogue are no ends where a mask says so, and steps that it leaves out cost nothing."""
    model = shaken(Transformer(SPACE, None, LLAMA))
    x = torch.tensor([[4, 2, 5, 6, 2, 0, 0]])
    mask = torch.tensor([[False, False, True, True, True, False, False]])
    logp = model.log_probs(Batch(x, None, mask))
    assert bool((logp[~mask] == 0).all())
    assert bool((logp[mask] < 0).all())
    assert bool((model.log_probs(Batch(x))[0, 2:] == 0).all())


@pytest.mark.parametrize("space", [Tokens(9, 7, pad=2, bos=1, eos=2), Tokens(9, 7, pad=0, bos=2, eos=2)])
def test_one_token_may_have_two_offices(space: Tokens) -> None:
    """As in GPT-2, whose end is padding and beginning, too: the end is the first one."""
    model = shaken(Transformer(space, None, LLAMA))
    x = model.sample(300, rng=rng())
    ends = (x == space.eos).long()
    behind = (ends.cumsum(1) - ends) > 0
    assert bool((x[behind] == space.pad).all())
    assert 0 < float(behind.float().mean()) < 1
    barred = ({space.pad, space.bos} - {space.eos}).pop()
    assert not bool((x[~behind] == barred).any())
    path = model.rollout(50, rng=rng())
    assert torch.allclose(model.score(path).logp.sum(1), model.log_prob(Batch(path.x)), atol=1e-4)


def test_groups_hold_every_row_once() -> None:
    length = torch.randint(1, 200, (64,), generator=rng())
    length[5] = 400
    real = torch.arange(400) < length[:, None]
    found = list(groups(real))
    assert sorted(torch.cat([rows for rows, _ in found if rows is not None]).tolist()) == list(range(64))
    assert all(int(length[rows].max()) == T for rows, T in found)
    assert sum(len(rows) * T for rows, T in found if rows is not None) < 0.5 * 64 * 400
    even = torch.ones(8, 50, dtype=torch.bool)
    assert [(rows, T) for rows, T in groups(even)] == [(None, 50)]
    few = torch.arange(4) < torch.tensor([[1], [4]])
    assert [T for _, T in groups(few)] == [4]


# ------------------------------------------------------------------------------------------------ drawing


class Odd:
    """Only odd tokens and the end; nothing behind a 7."""

    def allow(self, j: int, x: Tensor, done: Tensor) -> Tensor:
        weights = torch.zeros(len(x), SPACE.vocab, dtype=torch.float64)
        weights[:, [2, 3, 5, 7]] = 1.0
        if j:
            weights[x[:, j - 1] == 7] = 0.0
        return weights

    def involves(self, j: int) -> list[int]:
        return [j - 1] if j else []


@pytest.mark.parametrize("cls", [Transformer, Lstm])
def test_a_grammar_is_kept(cls: Any) -> None:
    model = shaken(cls(SPACE, None, cls.Config(width=16)))

    class Kind(Odd):
        def allow(self, j: int, x: Tensor, done: Tensor) -> Tensor:
            weights = super().allow(j, x, done)
            weights[:, 7] = 0.0
            return weights

    x = model.sample(200, rng=rng(), grammar=Kind())
    assert set(x.unique().tolist()) <= {0, 2, 3, 5}
    with pytest.raises(ConditionError, match="Nothing is left"):
        model.sample(300, rng=rng(), grammar=Odd())


def test_what_is_known_is_held_to_the_letter() -> None:
    model = shaken(Transformer(SPACE, None, GPT))
    x = torch.tensor([[3, 2, 4, 0, 0, 0, 0], [5, 6, 7, 8, 3, 4, 5], [3, 2, 0, 0, 0, 0, 0]])
    mask = torch.arange(7) < torch.tensor([3, 7, 2])[:, None]
    made = model.sample(3, known=Known(x, mask), rng=rng())
    assert torch.equal(made[0, :3], x[0, :3])  # an end within a prompt is no end
    assert torch.equal(made[1:], x[1:])  # nothing is left to write
    path = model.rollout(3, known=Known(x, mask), rng=rng())
    assert path.mask[:, :2].sum() == 0
    assert path.mask[1:].sum() == 0
    for known, error, words in (
        (Known(x, ~mask), Unsupported, "beginning"),
        (Known(x[:2], mask[:2]), ConditionError, "2 rows"),
        (Known(x[:, :3], mask[:, :3]), ConditionError, r"\(rows, 7\)"),
        (Known(x + 9, mask), ConditionError, "outside"),
        (Known(x, mask, {0: torch.ones(3, 9)}), Unsupported, "masked"),
    ):
        with pytest.raises(error, match=words):
            model.sample(3, known=known, rng=rng())


def test_bad_items_and_options() -> None:
    model = Transformer(SPACE, None, LLAMA)
    for x, words in (
        ([[3, 0, 4, 2, 0, 0, 0]], "Token 0 stands at step 1 of item 0"),
        ([[1, 3, 4, 2, 0, 0, 0]], "no part of an item"),
        ([[3, 9, 4, 2, 0, 0, 0]], "outside"),
        ([[3, 2]], "7 steps"),
    ):
        with pytest.raises(DataError, match=words):
            model.prepare(Batch(torch.tensor(x)))
    for make, error in (
        (lambda: Transformer(Tokens(3, 5, pad=0, bos=1, eos=9)), DataError),
        (lambda: TransformerConfig(style="mamba"), OptionError),
        (lambda: TransformerConfig(width=30, heads=4), OptionError),
        (lambda: TransformerConfig(heads=4, groups=3), OptionError),
        (lambda: LstmConfig(dropout=1.0), OptionError),
        (lambda: Seq2seqConfig(smooth=1.0), OptionError),
        (lambda: Seq2seq(SPACE), Mismatch),
        (lambda: Seq2seq(SPACE, Cells((2,))), Mismatch),
        (lambda: Seq2seq(SPACE, Reals((3, 8, 8))), Mismatch),
        (lambda: Seq2seq(SPACE, SOURCE, Seq2seqConfig(shared=True)), Mismatch),
        (lambda: Transformer(SPACE, decoder=Decoder(replace(ARCH, context=4))), Mismatch),
        (lambda: model.sample(2, rng=rng(), temperature=0.0), OptionError),
        (lambda: model.loss(Batch(items(2), Batch(torch.zeros(2, 1)))), Mismatch),
        (lambda: Lstm(SPACE, SOURCE, LstmConfig(width=8)).sample(1, rng=rng()), ConditionError),
    ):
        with pytest.raises(error):
            make()


ARCH = Architecture(vocab=12, width=16, layers=1, heads=2, groups=2, head=8, hidden=16, context=32, tied=False)


def test_a_network_that_is_there_already() -> None:
    """A checkpoint's decoder as a family: a larger vocabulary and context than the space asks for do no harm."""
    decoder = shaken(Decoder(ARCH))
    model = Transformer(SPACE, decoder=decoder).eval()
    x = items(5)
    seen = torch.cat([torch.full((5, 1), SPACE.bos), x[:, :-1]], 1)
    logits = decoder.logits(decoder(seen))[..., : SPACE.vocab].detach()
    logits[..., [SPACE.pad, SPACE.bos]] = -torch.inf
    law = torch.log_softmax(logits, -1).gather(2, x[:, :, None]).squeeze(2)
    want = torch.where(model.real(Batch(x)), law, 0.0)
    assert torch.allclose(model.log_probs(Batch(x)), want, atol=1e-5)
    half = Transformer(SPACE, decoder=Decoder(ARCH).bfloat16()).eval()
    assert half.sample(4, rng=rng()).shape == (4, 7)
    assert half.score(half.rollout(4, rng=rng())).logp.dtype == torch.float32


# ------------------------------------------------------------------------------------------------ learning


def chain(n: int) -> Tensor:
    """Items of a Markov chain of order 2 with an end, and no more: H bits a token at best."""
    law = torch.rand(9, 9, 9, generator=rng(8)) ** 6
    law[..., :2], law[..., 3:], law[..., 2] = 0.0, law[..., 3:] + 1e-3, 0.15
    x = torch.zeros(n, SPACE.length, dtype=torch.int64)
    a, b = torch.zeros(n, dtype=torch.int64), torch.zeros(n, dtype=torch.int64)
    over = torch.zeros(n, dtype=torch.bool)
    for s in range(SPACE.length):
        token = torch.multinomial(law[a, b], 1, generator=rng(100 + s))[:, 0]
        x[:, s] = torch.where(over, SPACE.pad, token)
        over, a, b = over | (token == SPACE.eos), b, token
    return x


def best(x: Tensor) -> float:
    """The entropy of the items, nats: what no model can beat."""
    counts: dict[tuple[int, ...], int] = {}
    for item in x.tolist():
        counts[tuple(item[:3])] = counts.get(tuple(item[:3]), 0) + 1
    return -sum(c / len(x) * math.log(c / len(x)) for c in counts.values())


@pytest.mark.parametrize(
    ("cls", "config"),
    [
        (Transformer, TransformerConfig(width=32, depth=2, batch=64, steps=300, rate=3e-3)),
        (Lstm, LstmConfig(width=48, batch=64, steps=200, rate=1e-2)),
    ],
)
def test_dependence_is_learned(cls: Any, config: Any) -> None:
    """The first three steps of a chain cost what they must, and a quarter less than without looking back."""
    x = chain(3000)
    model = cls(SPACE, None, config)
    fit(model, Batch(x[:2500]), Budget(), training=model.plan())
    logp = model.log_probs(Batch(x[2500:]))
    shares = torch.bincount(x[x != SPACE.pad], minlength=9).double()
    alone = torch.where(x[2500:] != SPACE.pad, torch.log(shares / shares.sum())[x[2500:]], 0.0)
    assert float(logp[:, :3].sum(1).mean()) == pytest.approx(-best(chain(20_000)), abs=0.3)
    assert float(logp.sum(1).mean()) > 0.8 * float(alone.sum(1).mean())


def test_a_condition_decides() -> None:
    """Items of one kind for each label: draws under a label are of its kind."""
    label = torch.arange(600)[:, None] % 2
    x = items(600)
    x = torch.where(x > 2, torch.where(label == 1, 6 + x % 3, 3 + x % 3), x)
    for cls, config in (
        (Transformer, TransformerConfig(width=32, depth=1, batch=64, steps=60, rate=1e-2)),
        (Lstm, LstmConfig(width=32, batch=64, steps=60, rate=1e-2)),
    ):
        model: Any = cls(SPACE, Cells((2,)), config)
        fit(model, Batch(x, Batch(label)), Budget(), training=model.plan())
        for kind in (0, 1):
            made = model.sample(100, Batch(torch.tensor([[kind]])), rng=rng())
            inner = made[made > 2]
            assert float(((inner >= 6) == (kind == 1)).float().mean()) > 0.95
