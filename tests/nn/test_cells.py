"""Drawing codes: the quick way draws what the careful one does."""

from __future__ import annotations

import pytest
import torch

from likely.nn.cells import admit, choose, pick


@pytest.mark.parametrize("temperature", [1.0, 0.7, 2.0])
def test_choose_draws_what_is_admitted(temperature: float) -> None:
    logits = torch.randn(5000, 7, generator=torch.Generator().manual_seed(0)) * 3
    logits[:, 2] = -torch.inf
    seeds = (torch.Generator().manual_seed(1), torch.Generator().manual_seed(1))
    quick = choose(logits, seeds[0], temperature)
    careful = pick(admit(logits, temperature=temperature)[0], seeds[1])
    assert torch.equal(quick, careful)
    assert not bool((quick == 2).any())


def test_choose_draws_the_law() -> None:
    law = torch.tensor([0.5, 0.3, 0.15, 0.05])
    found = choose(law.log().expand(40_000, -1), torch.Generator().manual_seed(2))
    torch.testing.assert_close(torch.bincount(found, minlength=4) / 40_000, law, atol=0.01, rtol=0)
