"""The lexicon of seq2seq: counted links, what they do to the law, and what they save."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from likely.core import Batch, Budget, Reals, Tokens, Training
from likely.errors import Mismatch, OptionError
from likely.families.seq2seq import Seq2seq, Seq2seqConfig
from likely.families.seq2seq.alignment import align
from likely.nn.lexicon import Lexicon
from likely.testing import check_family, check_policy, enumerate_tokens
from likely.train.loop import fit

SPACE = Tokens(40, 12)


def cipher(n: int, seed: int = 0) -> Batch:
    """Each token of a source stands for one of the target, the words in reverse order."""
    draw = np.random.default_rng(seed)
    key = np.random.default_rng(9).permutation(37) + 3
    x, y = (torch.zeros(n, 12, dtype=torch.int64) for _ in range(2))
    for row in range(n):
        words = draw.integers(3, 40, draw.integers(1, 11))
        for into, said in ((x, words), (y, key[words - 3][::-1])):
            into[row, : len(words)] = torch.from_numpy(said.copy())
            into[row, len(words)] = 2
    return Batch(y, given=Batch(x))


def test_links_are_found_by_counting() -> None:
    draw = np.random.default_rng(0)
    key = draw.permutation(50)
    sources = [draw.integers(0, 50, draw.integers(2, 12)).tolist() for _ in range(400)]
    ids, share = align(sources, [[int(key[word]) for word in source] for source in sources], 60, 50, 4)
    assert (ids[:50, 0] == key).all()
    assert float(share[:50, 0].min()) > 0.8
    assert (share[50:] == 0).all()  # never seen
    assert (np.diff(share, axis=1) <= 0).all()
    assert float(share.sum(1).max()) <= 1 + 1e-6


def test_places_break_ties() -> None:
    """Two words that always come together: only their order says which is which."""
    ids, share = align([[0, 1]] * 20, [[5, 6]] * 20, 2, 8, 2)
    assert ids[:, 0].tolist() == [5, 6]
    assert float(share[:, 0].min()) > 0.6


def test_nothing_to_count() -> None:
    ids, share = align([[], [1]], [[2], []], 3, 4, 2)
    assert ids.shape == (3, 2)
    assert not share.any()


def test_the_contract_holds_with_a_lexicon() -> None:
    space, given = Tokens(6, 4), Tokens(7, 5)
    x = torch.randint(3, 6, (60, 4), generator=torch.Generator().manual_seed(0))
    x[::2, 2], x[::2, 3] = space.eos, space.pad
    batch = Batch(x, given=Batch(torch.cat([x, x[:, :1]], 1)))
    config = Seq2seqConfig(width=16, heads=2, encoder=1, depth=1, lexicon=3)
    check_family(Seq2seq, space, batch, config, given=given)
    check_policy(Seq2seq, space, batch, config, given=given)


def test_gradients_are_those_of_the_formula() -> None:
    """Against the same sum written densely, tokens with several votes and without any included."""
    torch.manual_seed(0)
    lexicon = Lexicon(9, 11, 8, 4).double()
    lexicon.learn(torch.randint(0, 11, (9, 4)), torch.rand(9, 4).double() / 4)
    source, weight = torch.randint(0, 9, (2, 5)), torch.randn(2, 3, 11, dtype=torch.float64)
    look = torch.rand(2, 3, 5, dtype=torch.float64).requires_grad_()
    fast = lexicon(look, source)
    table = torch.zeros(9, 11, dtype=torch.float64).scatter_add(1, lexicon.ids.long(), lexicon.share)
    scale, floor = lexicon.trust
    plain = scale * torch.log1p((look @ table[source]) * torch.exp(-floor))
    torch.testing.assert_close(fast, plain)
    grads = [torch.autograd.grad((made * weight).sum(), [look, lexicon.trust]) for made in (fast, plain)]
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other)


def test_law_sums_to_one_and_follows_the_lexicon() -> None:
    torch.manual_seed(0)
    space = Tokens(6, 3)
    model = Seq2seq(space, space, Seq2seqConfig(width=16, heads=2, encoder=1, depth=1, lexicon=2)).eval()
    given, all_ = Batch(torch.tensor([[3, 2, 0]])), enumerate_tokens(space)
    everything = Batch(all_, Batch(given.x.expand(len(all_), -1)))
    before = model.log_prob(everything).exp()
    assert float(before.sum()) == pytest.approx(1, abs=1e-5)
    assert model.lexicon is not None
    model.lexicon.learn(
        torch.tensor([[0, 0]] * 3 + [[4, 5]] + [[0, 0]] * 2),
        torch.tensor([[0.0] * 2] * 3 + [[0.9, 0.1]] + [[0.0] * 2] * 2),
    )
    after = model.log_prob(everything).exp()
    assert float(after.sum()) == pytest.approx(1, abs=1e-5)
    begins = [all_[:, 0] == token for token in (3, 4, 5)]
    assert float(after[begins[1]].sum()) > 0.8
    assert float(after[begins[1]].sum()) > float(after[begins[2]].sum()) > float(after[begins[0]].sum())


def test_steps_and_beams_agree_with_all_at_once() -> None:
    data = cipher(60)
    torch.manual_seed(0)
    model = Seq2seq(SPACE, SPACE, Seq2seqConfig(width=32, heads=2, encoder=1, depth=1, shared=True, lexicon=4)).eval()
    model.prepare(data)
    found = model.search(Batch(data.given.x[:20]), beams=3)  # type: ignore[union-attr]
    torch.testing.assert_close(found.logp, model.log_prob(Batch(found.x, Batch(data.given.x[:20]))), atol=1e-3, rtol=0)  # type: ignore[union-attr]


def test_few_pairs_are_enough_where_words_are_counted() -> None:
    """The same steps with and without a lexicon, on held-out sentences."""
    data, held = cipher(600), cipher(200, seed=1)
    losses = []
    for size in (0, 8):
        torch.manual_seed(0)
        config = Seq2seqConfig(width=32, encoder=1, depth=1, heads=2, shared=True, lexicon=size, dropout=0.0)
        model = Seq2seq(SPACE, SPACE, config)
        training = Training(batch=32, steps=150, rate=3e-3, pool=8, holdout=0.0, clip=12.0)
        fit(model, data, Budget(steps=150), training=training)
        losses.append(-float(model.log_prob(held).mean()))
    assert losses[1] < 0.6 * losses[0]


def test_a_lexicon_wants_tokens() -> None:
    with pytest.raises(Mismatch, match="wants a source of tokens"):
        Seq2seq(SPACE, Reals((5, 2)), Seq2seqConfig(width=16, heads=2, lexicon=3))
    with pytest.raises(OptionError, match="lexicon=-1"):
        Seq2seqConfig(lexicon=-1)
