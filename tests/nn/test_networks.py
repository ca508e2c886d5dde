"""Networks chosen by shape, and conditions of every space as vectors."""

from __future__ import annotations

import pytest
import torch

from likely.core import Batch, Cells, Reals, Space, Tokens
from likely.errors import ConditionError, Mismatch
from likely.nn.condition import Condition, required
from likely.nn.convolution import Decoder, Encoder
from likely.nn.mlp import MLP
from likely.nn.networks import decoder, encoder
from likely.nn.portion import only, portions, take

SHAPES = [(1,), (5,), (1, 8, 8), (3, 33, 17), (50, 3), (2, 1), (1, 12, 12, 12), (2, 8, 8, 8)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("depth", [1, 3])
def test_any_shape_goes_in_and_comes_out(shape: tuple[int, ...], depth: int) -> None:
    torch.manual_seed(0)
    x, c = torch.randn(3, *shape), torch.randn(3, 4)
    network = encoder(shape, 7, 32, depth, condition=4)
    y = network(x, c)
    assert y.shape == (3, 7)
    assert encoder(shape, 7, 32, depth)(x).shape == (3, 7)
    # The condition has a say, and every item is its own affair.
    assert not torch.allclose(y, network(x, c + 1))
    assert torch.allclose(y[1:], network(x[1:], c[1:]), atol=1e-5)
    assert decoder(6, shape, 32, depth)(torch.randn(3, 6)).shape == (3, *shape)


def test_neighbours_are_looked_at_where_there_are_some() -> None:
    assert isinstance(encoder((784,), 2, 8, 1), MLP)
    assert isinstance(encoder((1, 28, 28), 2, 8, 1), MLP)
    assert isinstance(encoder((3, 32, 32), 2, 8, 1), Encoder)
    assert isinstance(encoder((20, 3), 2, 8, 1), Encoder)
    assert isinstance(decoder(2, (3, 32, 32), 8, 1), Decoder)


def test_depth_0_is_a_linear_map() -> None:
    network = MLP((3,), (2,), 8, 0, condition=1)
    x, y, c = torch.randn(1, 3), torch.randn(1, 3), torch.zeros(1, 1)
    assert torch.allclose(network(x + y, c) + network(0 * x, c), network(x, c) + network(y, c), atol=1e-5)


@pytest.mark.parametrize("shape", [(5,), (1, 6, 6), (40, 3), (3, 40, 40)], ids=str)
def test_a_decoder_starts_where_it_is_aimed(shape: tuple[int, ...]) -> None:
    network = decoder(2, shape, 16, 1)
    network.aim(torch.full(shape, 5.0))
    with torch.no_grad():
        assert abs(float(network(torch.randn(50, 2)).mean()) - 5) < 1


CONDITIONS: list[tuple[str, Space, torch.Tensor]] = [
    ("cells", Cells((3, 4)), torch.tensor([[0, 0], [0, 3], [2, 3]])),
    ("vector", Reals((4,)), torch.arange(12.0).view(3, 4)),
    ("image", Reals((3, 40, 40)), torch.arange(3.0)[:, None, None, None].expand(3, 3, 40, 40)),
    ("tokens", Tokens(9, 5), torch.tensor([[1, 3, 2, 0, 0], [1, 4, 2, 0, 0], [1, 3, 3, 3, 2]])),
]


@pytest.mark.parametrize(("space", "x"), [c[1:] for c in CONDITIONS], ids=[c[0] for c in CONDITIONS])
def test_conditions_become_vectors_that_tell_them_apart(space: Space, x: torch.Tensor) -> None:
    torch.manual_seed(0)
    y = Condition(space, 16)(Batch(x))
    assert y.shape == (3, 16)
    assert float(torch.pdist(y.detach()).min()) > 1e-3


def test_what_stands_behind_the_last_token_has_no_say() -> None:
    torch.manual_seed(0)
    condition = Condition(Tokens(9, 5), 8)
    short, mask = torch.tensor([[1, 3, 2, 0, 0]]), torch.tensor([[True, True, True, False, False]])
    assert torch.equal(condition(Batch(short)), condition(Batch(short, mask=mask)))
    assert torch.equal(condition(Batch(short)), condition(Batch(torch.tensor([[1, 3, 2, 7, 7]]), mask=mask)))


def test_a_condition_is_asked_for_and_stretched() -> None:
    space = Cells((2,))
    one = Batch(torch.tensor([[1]]))
    whole = required(one, space, 3)
    assert whole is not None
    assert whole.x.tolist() == [[1], [1], [1]]
    assert required(None, None, 3) is None
    with pytest.raises(ConditionError, match="by given="):
        required(None, space, 3)
    with pytest.raises(ConditionError, match="2 conditions were given for 3 items"):
        required(Batch(torch.tensor([[1], [0]])), space, 3)
    with pytest.raises(Mismatch, match="learned without one"):
        required(one, None, 3)


def test_portions_hold_all_items_in_order() -> None:
    batch = Batch(torch.arange(7.0)[:, None], Batch(torch.arange(7)[:, None]), torch.ones(7, 1, dtype=torch.bool))
    parts = list(portions(batch, 3))
    assert [len(part.x) for part in parts] == [3, 3, 1]
    assert torch.equal(torch.cat([part.x for part in parts]), batch.x)
    some = take(batch, torch.tensor([5, 2]))
    assert some.given is not None
    assert some.given.x.tolist() == [[5], [2]]
    assert only(torch.tensor([[True, False]]), torch.ones(1, 2, 3)).tolist() == [[[1, 1, 1], [0, 0, 0]]]
