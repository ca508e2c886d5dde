"""Translation between unpaired sets: that it finds what both have in common, and both ways."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from likely.core import Batch, Budget, Cells, Density, Known, Reals
from likely.errors import ConditionError, DataError, Mismatch, OptionError, Unsupported
from likely.families.cyclegan import CycleGan, CycleGanConfig, unpaired
from likely.train.loop import fit

TINY = CycleGanConfig(width=16, depth=1)
PLANE = Reals((2,))
IMAGE = Reals((1, 12, 12), bounds=(-1.0, 1.0))


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def trained(
    space: Reals, given: Reals, items: Batch, steps: int, config: CycleGanConfig = TINY, **settings: object
) -> CycleGan:
    torch.manual_seed(0)
    model = CycleGan(space, given, config)
    fit(model, items, Budget(steps=steps), training=replace(model.plan(), **settings))  # type: ignore[arg-type]
    return model


def test_sets_of_any_size_become_one_batch() -> None:
    a, b = torch.arange(3.0)[:, None], torch.arange(10.0, 17.0)[:, None]
    batch = unpaired(a, b)
    assert batch.given is not None
    assert sorted(batch.x.flatten().tolist()) == b.flatten().tolist()
    assert len(batch.given.x) == 7
    assert sorted(set(batch.given.x.flatten().tolist())) == [0, 1, 2]
    assert torch.equal(unpaired(a, b, seed=3).x, unpaired(a, b, seed=3).x)
    with pytest.raises(DataError, match="0 items"):
        unpaired(a[:0], b)


def test_refusals() -> None:
    with pytest.raises(Mismatch, match="given"):
        CycleGan(PLANE)
    with pytest.raises(Unsupported, match="real numbers"):
        CycleGan(PLANE, Cells((2, 2)))
    with pytest.raises(OptionError, match="cycle"):
        CycleGanConfig(cycle=-1)
    with pytest.raises(OptionError, match="width"):
        CycleGanConfig(width=0)
    model = CycleGan(PLANE, PLANE, TINY)
    assert not isinstance(model, Density)
    with pytest.raises(ConditionError, match="given"):
        model.sample(2, rng=rng())
    with pytest.raises(ConditionError, match="3 items"):
        model.sample(2, given=Batch(torch.zeros(3, 2)), rng=rng())
    with pytest.raises(ConditionError, match="shape"):
        model.translate(torch.zeros(3, 4))
    with pytest.raises(ConditionError, match="two sets"):
        model.critics_loss(Batch(torch.zeros(3, 2)))
    with pytest.raises(Unsupported, match="complete"):
        model.sample(1, known=Known(torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.bool)), rng=rng())


def test_it_starts_as_the_identity() -> None:
    x = torch.randn(5, 2, generator=rng())
    assert torch.equal(CycleGan(PLANE, PLANE, TINY).translate(x), x)
    image = torch.rand(5, 1, 12, 12, generator=rng()) * 1.8 - 0.9
    torch.testing.assert_close(CycleGan(IMAGE, IMAGE, TINY).translate(image, back=True), image, atol=1e-5, rtol=0)


def test_pairs_mean_nothing() -> None:
    """The loss is the same, in law, whatever stands beside what: A is shuffled by the generator that the loop seeds."""
    torch.manual_seed(0)
    model = CycleGan(PLANE, PLANE, TINY)
    a, b = torch.randn(32, 2), torch.randn(32, 2) + 1
    seen = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        seen.append(model.shuffled(Batch(b, Batch(a))))
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    assert torch.equal(seen[2].sort(0).values, a.sort(0).values)


def test_it_learns_a_shift_both_ways() -> None:
    """B is A moved: what goes with what must be found without being shown a pair."""
    law = torch.tensor([[1.0, 0.0], [0.6, 0.4]])
    a, other = torch.randn(1500, 2, generator=rng(1)) @ law, torch.randn(1500, 2, generator=rng(2)) @ law
    shift = torch.tensor([1.5, -1.0])
    config = CycleGanConfig(width=32, depth=2, identity=0.0)  # the sets overlap: an item of B must move, too
    model = trained(PLANE, PLANE, unpaired(a, other + shift), 500, config, batch=64, rate=2e-3)
    test = torch.randn(300, 2, generator=rng(3)) @ law
    there = model.translate(test)
    before = float((test - (test + shift)).norm(dim=1).mean())
    assert float((there - (test + shift)).norm(dim=1).mean()) < 0.5 * before
    assert float((model.translate(there, back=True) - test).abs().mean()) < 0.15
    assert float((model.translate(test + shift, back=True) - test).norm(dim=1).mean()) < 0.5 * before
    given = Batch(test)
    assert torch.equal(model.sample(300, given=given, rng=rng()), there)
    torch.testing.assert_close(model.sample(4, given=Batch(test[:1]), rng=rng()), there[:1].expand(4, 2))
    again = CycleGan(PLANE, PLANE, model.config).restore({k: v.clone() for k, v in model.tensors().items()})
    assert torch.equal(again.eval().translate(test), there)


@pytest.mark.parametrize(
    ("space", "given"),
    [(IMAGE, IMAGE), (Reals((20, 3)), Reals((20, 3))), (Reals((3,)), Reals((4, 2))), (IMAGE, Reals((5,)))],
    ids=["images", "windows", "window to vector", "vector to image"],
)
def test_any_shapes(space: Reals, given: Reals) -> None:
    a, b = torch.rand(20, *given.shape, generator=rng(1)), torch.rand(20, *space.shape, generator=rng(2))
    model = trained(space, given, unpaired(a, b), 3, batch=8)
    assert model.translate(a).shape == (20, *space.shape)
    assert model.translate(b, back=True).shape == (20, *given.shape)


def test_constant_images_do_no_harm() -> None:
    """Instance normalisation would divide by their spread, which is zero."""
    a, b = torch.full((20, 1, 12, 12), 1.0), torch.full((20, 1, 12, 12), -0.5)
    model = trained(IMAGE, IMAGE, unpaired(a, b), 20, batch=8)
    made = model.translate(a)
    assert bool(torch.isfinite(made).all())
