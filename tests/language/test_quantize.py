"""Packed weights: as near as their bits allow, exact where the weights are on a grid already."""

from __future__ import annotations

import pytest
import torch

from likely.errors import OptionError, UnknownName
from likely.language.decode import Engine, Sampling
from likely.language.decode.kernel import build
from likely.language.decode.runner import Runner
from likely.language.quantize import GROUP, ROWS, cast, int4, int8, pack, to_int4, to_int8
from tests.language.decode_toys import checkpoint, network


def restored(q: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
    grouped = q.view(len(q), -1, GROUP).float()
    return (scale.float()[..., None] * grouped + zero.float()[..., None]).view(q.shape)


def gaussian(n: int, k: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_int8_is_within_half_a_step(kind: torch.dtype) -> None:
    weight = gaussian(20, 96)
    weight[3] = 0
    q, scale = to_int8(weight, kind)
    error = (q.float() * scale.float()[:, None] - weight).abs()
    assert bool((error <= scale.float()[:, None] * (0.5 if kind == torch.float32 else 1.0) + 1e-6).all())
    assert not q[3].any()


def test_int4_keeps_what_is_on_a_grid() -> None:
    rng = torch.Generator().manual_seed(1)
    q = torch.randint(0, 16, (8, 64), generator=rng)
    q[:, ::GROUP], q[:, 1::GROUP] = 0, 15  # each group reaches both ends, as blocks of GGUF do
    scale, zero = torch.rand(8, 2, generator=rng).half(), torch.randn(8, 2, generator=rng).half()
    weight = restored(q, scale, zero)
    torch.testing.assert_close(restored(*to_int4(weight)), weight, atol=2e-3, rtol=2e-3)


def test_int4_is_better_than_the_plain_range() -> None:
    weight = gaussian(64, 128)
    w = weight.view(64, -1, GROUP)
    low, high = w.amin(-1, keepdim=True), w.amax(-1, keepdim=True)
    plain = ((w - low) / (high - low) * 15).round() * (high - low) / 15 + low
    error = (restored(*to_int4(weight)) - weight).square().sum()
    assert float(error) < 0.95 * float((plain - w).square().sum())
    assert float(error / weight.square().sum()) < 0.08**2


def test_odd_rows_are_refused() -> None:
    with pytest.raises(OptionError, match="33 weights are no whole groups of 32"):
        to_int4(gaussian(2, 33))
    packed = int4(gaussian(16, 40), gaussian(16, 40), None)  # falls back to 8 bits
    assert packed.size == 16 * 40 + 16 * 4


@pytest.mark.parametrize(("make", "bound"), [(int8, 0.02), (int4, 0.11)])
@pytest.mark.parametrize("rows", [1, ROWS, ROWS + 1])
def test_products_of_few_and_many_rows(make: object, bound: float, rows: int) -> None:
    weight, bias = gaussian(48, 64), gaussian(1, 48)[0].bfloat16()
    x = gaussian(rows, 64, 2).bfloat16()
    layer = make(weight, weight.bfloat16(), bias)  # type: ignore[operator]
    exact = x.float() @ weight.T + bias.float()
    assert float((layer(x[None]).float()[0] - exact).norm() / exact.norm()) < bound


def test_a_packed_network_is_near_the_network() -> None:
    source = network(2, width=64, head=16, hidden=64)
    dense = cast(source, torch.bfloat16)
    ids = list(range(40, 60))
    exact = Runner(source).every([ids], Runner(source).slots(), 0)[0]
    for make, bound in ((int8, 0.06), (int4, 0.5)):
        runner = Runner(pack(source, dense, make))
        slots = runner.slots()
        found = torch.cat([runner.step([token], slots) for token in ids])
        assert float((found - exact).norm() / exact.norm()) < bound
    assert cast(source, torch.float32) is source
    assert type(dense.blocks[0].qkv) is torch.nn.Linear  # the dense one is not changed


@pytest.mark.parametrize("kernel", ["auto", "plain", "bfloat16", "int8", "int4"])
def test_every_kernel_talks_and_says_what_it_is(kernel: str) -> None:
    made = Engine(checkpoint(), kernel=kernel)
    ((found,),) = made.generate([(65, 66, 67)], Sampling(seed=0, tokens=5, ends=False))
    assert len(found.ids) == 5
    assert made.about["kernel"] in ("plain", "bfloat16", "int8", "int4")
    assert "MB" in made.about["memory"]
    made.refresh()
    ((again,),) = made.generate([(65, 66, 67)], Sampling(seed=0, tokens=5, ends=False))
    assert again == found


def test_kernels_that_are_none() -> None:
    with pytest.raises(UnknownName, match=r"No kernel called 'int5'. Did you mean 'int8'|'int4'"):
        build(network(), "int5")


def test_weights_that_changed_are_taken_over() -> None:
    made = Engine(checkpoint(), kernel="int8")
    before = made.score([(1, 2, 3)])[0]
    with torch.no_grad():
        made.checkpoint.network.embed.weight.mul_(0.5)
    made.refresh()
    assert not torch.allclose(before, made.score([(1, 2, 3)])[0])
