"""The autoencoder family: what comes back, what does not, and new items from the mixture of its latents."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from likely.core import Batch, Budget, Cells, Density, Known, Latent, Reals, Training
from likely.errors import ConditionError, OptionError, Unsupported
from likely.families.autoencoder import Autoencoder, AutoencoderConfig
from likely.testing import check_family
from likely.train.loop import fit

QUICK = {"latent": 2, "width": 32, "depth": 1}
TRAINING = Training(batch=128, rate=1e-2)


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(n: int, seed: int = 0) -> Tensor:
    """Eight numbers and a category that hang on two latent variables."""
    z = torch.randn(n, 2, generator=rng(seed))
    way = torch.randn(2, 8, generator=rng(99))
    category = torch.nn.functional.one_hot((z[:, 0] > 0).long(), 2).float()
    return torch.cat([z @ way + 0.1 * torch.randn(n, 8, generator=rng(seed + 1)), category], 1)


SPACE = Reals((10,), onehot=((8, 10),))


@pytest.fixture(scope="module")
def learned() -> Autoencoder:
    model = Autoencoder(SPACE, config=AutoencoderConfig(**QUICK))  # type: ignore[arg-type]
    fit(model, Batch(rows(1000)), Budget(steps=500), training=TRAINING)
    return model


def test_a_spoilt_element_is_found(learned: Autoencoder) -> None:
    x = rows(200, seed=5)
    fine = learned.errors(Batch(x))
    assert fine.shape == (200, 10)
    assert bool((fine >= 0).all())
    assert 0.2 < float(fine[:, :8].mean()) < 2  # about a half a number
    place = torch.arange(200) % 8
    spoilt = x.clone()
    spoilt[torch.arange(200), place] += 3
    errors = learned.errors(Batch(spoilt))
    assert float((errors.argmax(1) == place).float().mean()) > 0.6
    assert float(errors.sum(1).median()) > 5 * float(fine.sum(1).median())
    assert torch.allclose(learned.errors(Batch(x[3:4])), fine[3:4], atol=1e-3)


def test_the_wrong_category_is_found(learned: Autoencoder) -> None:
    x = rows(400, seed=5)
    x = x[x[:, :8].abs().amax(1) > 1.5]  # far from where both are possible
    wrong = torch.cat([x[:, :8], x[:, 8:].flip(1)], 1)
    surprise = learned.errors(Batch(wrong)).sum(1) - learned.errors(Batch(x)).sum(1)
    assert float((surprise > 0).float().mean()) > 0.9


def test_items_come_back_and_new_ones_are_alike(learned: Autoencoder) -> None:
    x = rows(500, seed=5)
    back = learned.restore_from(learned.embed(Batch(x)))
    assert float((back - x)[:, :8].square().mean()) < 0.1 * float(x[:, :8].var())
    made = learned.sample(2000, rng=rng())
    assert torch.allclose(made.mean(0), x.mean(0), atol=0.3)
    truth = torch.cov(rows(20_000, seed=6)[:, :8].T)
    assert float((torch.cov(made[:, :8].T) - truth).abs().max()) < 0.2 * float(truth.abs().max())
    assert bool((made[:, 8:].sum(1) == 1).all())
    again = Autoencoder(SPACE, config=AutoencoderConfig(**QUICK)).restore(learned.tensors())  # type: ignore[arg-type]
    assert torch.equal(again.sample(10, rng=rng()), learned.sample(10, rng=rng()))


def test_denoising_brings_noisy_items_nearer_to_clean_ones(learned: Autoencoder) -> None:
    x = rows(500, seed=5)
    noisy = x.clone()
    noisy[:, :8] += 0.5 * torch.randn(500, 8, generator=rng(7))
    back = learned.restore_from(learned.embed(Batch(noisy)))
    assert float((back - x)[:, :8].square().mean()) < 0.5 * float((noisy - x)[:, :8].square().mean())


def test_the_contract_holds_and_no_likelihood_is_pretended() -> None:
    family = check_family(Autoencoder, SPACE, Batch(rows(300)), AutoencoderConfig(**QUICK))  # type: ignore[arg-type]
    assert isinstance(family, Latent)
    assert not isinstance(family, Density)
    grey = (255 * torch.rand(60, 1, 4, 4, generator=rng())).round() / 127.5 - 1
    check_family(Autoencoder, Reals((1, 4, 4), bounds=(-1.0, 1.0), levels=256), Batch(grey), AutoencoderConfig(**QUICK))  # type: ignore[arg-type]


def test_there_is_a_bottleneck_by_default() -> None:
    for n in (2, 3, 8, 30, 784, 4000):
        assert 1 <= Autoencoder(Reals((n,)), config=AutoencoderConfig(width=1)).size <= n // 2


def test_masked_steps_are_no_errors() -> None:
    model = Autoencoder(Reals((6, 2), ragged=True), config=AutoencoderConfig(**QUICK)).eval()  # type: ignore[arg-type]
    mask = torch.arange(6) < torch.tensor([[2], [6]])
    errors = model.errors(Batch(torch.randn(2, 6, 2, generator=rng()), mask=mask)).view(2, 6, 2)
    assert bool((errors[0, 2:] == 0).all())
    assert bool((errors[1] > 0).all())


def test_conditions_are_followed() -> None:
    code = torch.randint(3, (600, 1), generator=rng())
    x = torch.tensor([-2.0, 0.0, 2.0])[code] + 0.3 * torch.randn(600, 4, generator=rng(1))
    model = Autoencoder(Reals((4,)), Cells((3,)), AutoencoderConfig(latent=1, width=32, depth=1))
    fit(model, Batch(x, Batch(code)), Budget(steps=300), training=TRAINING)
    own, other = model.errors(Batch(x, Batch(code))), model.errors(Batch(x, Batch((code + 1) % 3)))
    assert float((other.sum(1) > own.sum(1)).float().mean()) > 0.8
    with pytest.raises(ConditionError, match="by given="):
        model.sample(3, rng=rng())


def test_what_it_cannot_do_is_said() -> None:
    model = Autoencoder(Reals((4,)))
    with pytest.raises(Unsupported, match="'masked'"):
        model.sample(1, known=Known(torch.zeros(1, 4), torch.ones(1, 4, dtype=torch.bool)), rng=rng())
    with pytest.raises(OptionError, match="noise=-1"):
        AutoencoderConfig(noise=-1)
    with pytest.raises(OptionError, match="likelihood='poisson'"):
        AutoencoderConfig(likelihood="poisson")
