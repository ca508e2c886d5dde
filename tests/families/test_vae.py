"""The vae family, held to a model whose likelihood is known: factor analysis,

    z ~ N(0, I),   x = W z + s e,   log p(x) = log N(x; 0, W W^T + s^2 I),

with orthogonal columns in W, so that the posterior has independent variables and a linear encoder can be exact.
"""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from likely.core import Batch, Budget, Cells, Density, Known, Latent, Reals, Training
from likely.errors import ConditionError, OptionError, Unsupported
from likely.families.vae import Vae, VaeConfig
from likely.families.vae.prior import Normal, prior
from likely.nn.mixture import Mixture
from likely.nn.mlp import MLP
from likely.testing import check_family
from likely.train.loop import fit

N, Z, S = 6, 2, 0.6  # elements, latent variables, noise
W = torch.linalg.qr(torch.randn(N, Z, generator=torch.Generator().manual_seed(1)))[0] * torch.tensor([2.0, 1.0])


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def factors(n: int, seed: int = 0) -> Tensor:
    return torch.randn(n, Z, generator=rng(seed)) @ W.T + S * torch.randn(n, N, generator=rng(seed + 50))


def exactly(x: Tensor) -> Tensor:
    return MultivariateNormal(torch.zeros(N), W @ W.T + S**2 * torch.eye(N)).log_prob(x)


def oracle(encoder: str, **config: object) -> Vae:
    """A VAE whose decoder is the truth and whose encoder is "exact", the "prior", or a "poor" one in between."""
    model = Vae(Reals((N,)), config=VaeConfig(latent=Z, width=1, depth=1, **config))  # type: ignore[arg-type]
    model.encoder, model.decoder = MLP((N,), (2 * Z,), 1, 0), MLP((Z,), (N,), 1, 0)
    variance = 1 / (1 + W.square().sum(0) / S**2)
    good = variance[:, None] * W.T / S**2
    mean, spread = {
        "exact": (good, variance.sqrt()),
        "poor": (0.6 * good, variance.sqrt() + 0.2),
        "prior": (0 * good, torch.ones(Z)),
    }[encoder]
    with torch.no_grad():
        model.decoder.head.weight.copy_(W)
        model.decoder.head.bias.zero_()
        model.encoder.head.weight.copy_(torch.cat([mean, torch.zeros(Z, N)]))
        model.encoder.head.bias.copy_(torch.cat([torch.zeros(Z), spread.log()]))
        scale = torch.randn(4000, N, generator=rng(9))
        model.likelihood.start(scale / scale.std(0) * S)
    return model.eval()


@pytest.mark.parametrize("samples", [1, 7])
def test_with_the_exact_posterior_the_bound_is_the_likelihood(samples: int) -> None:
    x = factors(200)
    assert torch.allclose(oracle("exact", samples=samples).log_prob(Batch(x)), exactly(x), atol=2e-3)


@pytest.mark.parametrize("encoder", ["poor", "prior"])
def test_the_bound_is_below_the_likelihood_and_tightens(encoder: str) -> None:
    x = factors(2000)
    gaps = [float((exactly(x) - oracle(encoder, samples=k).log_prob(Batch(x))).mean()) for k in (1, 4, 16, 64, 256)]
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[0] > 0.3
    assert -0.01 < gaps[-1] < 0.05


def test_another_prior_has_its_own_likelihood() -> None:
    """With p(z) = N(m, C) the model is x ~ N(W m, W C W^T + s^2 I), whatever the encoder learned."""
    x, model = factors(500), oracle("poor", samples=2000)
    prior = model.prior.law
    assert isinstance(prior, Mixture)
    mean, root = torch.tensor([0.5, -1.0]), torch.tensor([[0.8, 0.0], [0.3, 0.9]])
    prior.mean[0], prior.root[0] = mean, root
    truth = MultivariateNormal(W @ mean, W @ root @ root.T @ W.T + S**2 * torch.eye(N)).log_prob(x)
    gap = truth - model.log_prob(Batch(x))
    assert abs(float(gap.mean())) < 0.03
    # Draws are from the same law.
    model.means = False
    drawn = model.sample(20_000, rng=rng())
    assert torch.allclose(drawn.mean(0), W @ mean, atol=0.06)
    assert torch.allclose(torch.cov(drawn.T), W @ root @ root.T @ W.T + S**2 * torch.eye(N), atol=0.15)


def test_the_prior_that_is_fitted_is_that_of_the_data() -> None:
    """Latents from two islands, a decoder that is the truth: with its prior fitted the model is the truth, too."""
    side = 2.0 * (2 * torch.randint(2, (3000, 1), generator=rng(3)) - 1)
    z = torch.cat([side + 0.3 * torch.randn(3000, 1, generator=rng(4)), torch.randn(3000, 1, generator=rng(5))], 1)
    x = z @ W.T + S * torch.randn(3000, N, generator=rng(6))
    laws = [
        MultivariateNormal(
            W @ torch.tensor([m, 0.0]), W @ torch.diag(torch.tensor([0.09, 1.0])) @ W.T + S**2 * torch.eye(N)
        )
        for m in (-2.0, 2.0)
    ]
    truth = torch.logsumexp(torch.stack([law.log_prob(x) for law in laws]), 0) - math.log(2)
    model = oracle("exact", samples=200)
    before = float((truth - model.log_prob(Batch(x))).mean())
    after = []
    for _ in range(3):  # each call is a round of expectation maximisation: the posterior depends on the prior
        model.finish(Batch(x[:1500]), rng=rng())
        after.append(float((truth - model.log_prob(Batch(x)))[1500:].mean()))
    assert before > 0.3
    assert after == sorted(after, reverse=True)
    assert -0.02 < after[-1] < 0.1


def test_a_score_does_not_depend_on_the_company() -> None:
    x, model = factors(300), oracle("poor", samples=16)
    whole = model.log_prob(Batch(x))
    order = torch.randperm(300, generator=rng())
    assert torch.allclose(model.log_prob(Batch(x[order])), whole[order], atol=1e-4)
    assert torch.allclose(model.log_prob(Batch(x[7:8])), whole[7:8], atol=1e-4)
    assert model.log_prob(Batch(x[:0])).shape == (0,)
    assert model.log_probs(Batch(x[:0])).shape == (0, N)


def test_shares_sum_up_and_point_at_the_odd_element() -> None:
    x, model = factors(50), oracle("exact", samples=32)
    x[:, 3] += 8
    parts = model.log_probs(Batch(x))
    assert torch.allclose(parts.sum(1), model.log_prob(Batch(x)), atol=1e-3)
    assert float((parts.argmin(1) == 3).float().mean()) > 0.9


# ---------------------------------------------------------------------------------------------- gradients


def encoder_gradient(model: Vae, x: Tensor, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    model.zero_grad()
    model.train().loss(Batch(x)).backward()
    bias = model.encoder.head.bias.grad
    assert isinstance(bias, Tensor)
    return bias.clone()


def test_an_exact_encoder_feels_no_noise() -> None:
    """d log w / d z = 0 for every z where q is the posterior, and so is each doubly reparameterised gradient."""
    x = factors(64)
    assert float(encoder_gradient(oracle("exact", particles=5, warmup=0), x).abs().max()) < 1e-3
    assert float(encoder_gradient(oracle("poor", particles=5, warmup=0), x).abs().max()) > 0.05


def test_the_doubly_reparameterised_gradient_is_that_of_the_bound() -> None:
    """On average over many draws it agrees with the gradient that automatic differentiation finds."""
    x, model = factors(1).expand(40_000, -1), oracle("poor", particles=3, warmup=0)
    ours = encoder_gradient(model, x)
    torch.manual_seed(1)
    bias = model.encoder.head.bias.detach().clone().requires_grad_()
    mu, log_sigma = (torch.nn.functional.linear(x, model.encoder.head.weight.detach()) + bias).chunk(2, 1)
    eps = torch.randn(len(x), 3, Z)
    z = mu[:, None] + log_sigma.exp()[:, None] * eps
    log_w = model.likelihood.total(x[:, None], model.decode(z, None).detach() + (z - z.detach()) @ W.T)
    log_w = log_w + 0.5 * (eps.square() - z.square()).sum(2) + log_sigma.sum(1, keepdim=True)
    (-torch.logsumexp(log_w, 1).mean()).backward()
    assert bias.grad is not None
    assert torch.allclose(ours, bias.grad, atol=0.03)
    assert float(bias.grad.abs().max()) > 0.1


@pytest.mark.parametrize("particles", [1, 5])
def test_the_loss_is_the_negative_bound(particles: int) -> None:
    # Another seed than the loss has in evaluation, or its noise would be these very factors.
    x, model = factors(20_000, seed=7), oracle("poor", particles=particles, samples=particles)
    with torch.no_grad():
        assert abs(float(model.loss(Batch(x)) + model.log_prob(Batch(x)).mean())) < 0.05
        assert float(model.loss(Batch(x))) == float(model.loss(Batch(x)))


def test_warm_up_and_free_nats() -> None:
    x = factors(4000)
    with torch.no_grad():
        cold, warm = oracle("exact", warmup=100).train(), oracle("exact", warmup=0).train()
        kl = 100 / 99 * float(warm.loss(Batch(x)) - cold.loss(Batch(x)))  # cold pays a hundredth of it
        assert kl == pytest.approx(float(_kl(x).mean()), rel=0.15)
        assert int(cold.seen) == 1
        # Two variables that may cost 50 nats each before they pay: the loss is as if they did cost that.
        free = oracle("exact", warmup=0, free=50.0).train()
        assert float(free.loss(Batch(x)) - warm.loss(Batch(x))) == pytest.approx(100 - kl, abs=0.3)


def _kl(x: Tensor) -> Tensor:
    variance = 1 / (1 + W.square().sum(0) / S**2)
    mean = x @ (variance[:, None] * W.T / S**2).T
    return 0.5 * (mean.square() + variance - 1 - variance.log()).sum(1)


# ----------------------------------------------------------------------------------------------- contracts

QUICK = {"latent": 2, "width": 32, "depth": 1, "samples": 16}


def items(kind: str, n: int = 300) -> tuple[Reals, Tensor]:
    z = torch.randn(n, 2, generator=rng())
    if kind == "row":
        category = torch.nn.functional.one_hot((z[:, 0] > 0).long() + (z[:, 1] > 1).long(), 3).float()
        return Reals((5,), onehot=((2, 5),)), torch.cat([z @ torch.tensor([[0.9, 0.3], [0.1, 0.8]]), category], 1)
    if kind == "window":
        wave = torch.sin(torch.arange(12) / 2.0 + z[:, :1])[:, :, None] * torch.tensor([1.0, 0.5])
        return Reals((12, 2)), wave + 0.1 * torch.randn(n, 12, 2, generator=rng(1))
    shade = torch.sigmoid(2 * z[:, :1, None, None] + torch.tensor([[-1.0, 1.0], [1.0, -1.0]]).repeat(2, 2))
    levels = 2 if kind == "binary" else 256
    x = torch.rand(n, 1, 4, 4, generator=rng(1)) < shade if levels == 2 else (255 * shade).round() / 255
    return Reals((1, 4, 4), bounds=(-1.0, 1.0), levels=levels), 2 * x.float() - 1


@pytest.mark.parametrize("kind", ["row", "window", "binary", "bytes"])
def test_the_contract_holds(kind: str) -> None:
    space, x = items(kind)
    family = check_family(Vae, space, Batch(x), VaeConfig(**QUICK))  # type: ignore[arg-type]
    assert isinstance(family, Density)
    assert isinstance(family, Latent)
    made = family.sample(50, rng=rng())
    if kind == "row":
        assert bool((made[:, 2:].sum(1) == 1).all())
    if kind == "binary":
        assert set(made.unique().tolist()) <= {-1.0, 1.0}
    z = family.embed(Batch(x))
    assert z.shape == (len(x), 2)
    # The way through the latents keeps what an item is: nearer to itself than to another.
    back = family.restore_from(z)
    assert back.shape == x.shape
    assert float((back - x).abs().mean()) < float((back.roll(1, 0) - x).abs().mean())


@pytest.mark.parametrize("prior", ["normal", "mixture", "flow"])
def test_learning_in_the_loop_ends_with_a_prior_that_files_keep(prior: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("likely.nn.coupling.STEPS", 100)
    space, x = items("bytes")
    config = VaeConfig(**QUICK, prior=prior)  # type: ignore[arg-type]
    model = Vae(space, config=config)
    blank = float(model.log_prob(Batch(x)).mean())
    fit(model, Batch(x), Budget(steps=150))
    assert float(model.log_prob(Batch(x)).mean()) > blank + 10
    tensors = {name: tensor.clone() for name, tensor in model.tensors().items()}
    other = Vae(space, config=config).restore(tensors)
    assert torch.equal(other.sample(20, rng=rng()), model.sample(20, rng=rng()))
    assert torch.equal(other.log_prob(Batch(x)), model.log_prob(Batch(x)))
    if prior == "mixture":  # fitted to where the items are: likelier there than what was trained with
        z = model.embed(Batch(x))
        assert model.prior.log_prob(z).mean() > Normal(model.size).log_prob(z).mean()


def test_grey_pixels_can_be_learned_as_binary() -> None:
    space, x = items("bytes")
    model = Vae(space, config=VaeConfig(**QUICK, binarise=True))  # type: ignore[arg-type]
    fit(model, Batch(x), Budget(steps=100))
    assert torch.equal(model.log_prob(Batch(x)), model.log_prob(Batch(x)))
    assert float(model.log_prob(Batch(x)).max()) < 0  # masses, not densities
    grey = model.sample(50, rng=rng())
    assert len(grey.unique()) > 20  # the mean of a binary picture is grey


def test_masked_steps_have_no_say() -> None:
    space = Reals((6, 2), ragged=True)
    x = torch.randn(40, 6, 2, generator=rng())
    mask = torch.arange(6) < torch.randint(2, 7, (40, 1), generator=rng())
    x = x * mask[:, :, None]
    model = Vae(space, config=VaeConfig(**QUICK)).eval()  # type: ignore[arg-type]
    parts = model.log_probs(Batch(x, mask=mask))
    assert torch.allclose(parts.sum(1), model.log_prob(Batch(x, mask=mask)), atol=1e-4)
    short = ~mask.all(1)
    assert bool((model.log_prob(Batch(x, mask=mask)) > model.log_prob(Batch(x)))[short].all())
    assert bool(torch.isfinite(model.loss(Batch(x, mask=mask))))


# ------------------------------------------------------------------------------------------------ conditions


def test_conditions_are_followed() -> None:
    code = torch.randint(3, (600, 1), generator=rng())
    x = torch.tensor([-2.0, 0.0, 2.0])[code] + 0.3 * torch.randn(600, 4, generator=rng(1))
    model = Vae(Reals((4,)), Cells((3,)), VaeConfig(**QUICK))  # type: ignore[arg-type]
    fit(model, Batch(x, Batch(code)), Budget(steps=400), training=Training(batch=128, rate=1e-2))
    for k, mean in enumerate((-2.0, 0.0, 2.0)):
        made = model.sample(200, Batch(torch.tensor([[k]])), rng=rng())
        assert float((made - mean).abs().mean()) < 0.6
    truth, other = Batch(x, Batch(code)), Batch(x, Batch((code + 1) % 3))
    assert float((model.log_prob(truth) - model.log_prob(other)).mean()) > 1
    z = model.embed(truth)
    assert float((model.restore_from(z, Batch(code)) - x).square().mean()) < 0.3
    with pytest.raises(ConditionError, match="by given="):
        model.sample(3, rng=rng())


def test_what_it_cannot_do_is_said() -> None:
    model = Vae(Reals((4,)), config=VaeConfig(**QUICK))  # type: ignore[arg-type]
    with pytest.raises(Unsupported, match="'masked'"):
        model.sample(1, known=Known(torch.zeros(1, 4), torch.ones(1, 4, dtype=torch.bool)), rng=rng())
    with pytest.raises(OptionError, match="temperature=0"):
        model.sample(1, rng=rng(), temperature=0)
    for wrong in ({"latent": -1}, {"beta": float("nan")}, {"particles": 0}, {"prior": "vamp"}, {"output": "mode"}):
        with pytest.raises(OptionError, match=f"{next(iter(wrong))}="):
            VaeConfig(**wrong)  # type: ignore[arg-type]


def test_the_prior_of_a_conditional_model_knows_the_condition() -> None:
    """Latents of kind 0 lie left, of kind 1 right: draws under a kind come from its side, and are likelier there."""
    kinds = torch.arange(2000) % 2
    z = torch.randn(2000, 1, 2, generator=rng(1)) * 0.3
    z[:, 0, 0] += 4.0 * kinds - 2.0
    c = torch.stack([1.0 - kinds, kinds], 1).float()
    law = prior("mixture", 2, 8, width=2)
    law.fit(z, rng=rng(), c=c)
    drawn = law.sample(2000, rng(2), c=c)
    assert float(((drawn[:, 0] > 0) == (kinds == 1)).float().mean()) > 0.99
    assert float((law.log_prob(z[:, 0], c) - law.log_prob(z[:, 0])).mean()) == pytest.approx(math.log(2), abs=0.05)
    weights = law.weights(c)
    torch.testing.assert_close(weights.sum(1), torch.ones(2000))
    assert float(law.law.shares(z[:, 0], weights).sum()) == pytest.approx(2000, rel=1e-4)
