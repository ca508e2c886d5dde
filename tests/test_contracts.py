"""Everything in the registry is held to the contracts that it is exported under."""

import datetime as dt
import importlib.util
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from likely import registry
from likely.core import Batch, Cells, Policy, Reals, Space, Tokens
from likely.testing import check_codec, check_family, check_policy

SPACE = Cells((3, 4, 2, 5), ordered=(False, True, False, True), targets=(2,))
PLANE = Reals((3,))
WORDS = Tokens(6, 4)
QUICK: dict[str, dict[str, Any]] = {
    "masked": {"width": 32, "hidden": 32, "embedding": 8, "dropout": 0.0},
    "vae": {"latent": 2, "width": 16, "depth": 1, "samples": 8, "components": 2},
    "autoencoder": {"latent": 1, "width": 16, "depth": 1, "components": 2},
    "flow": {"width": 16, "depth": 1},
    "gan": {"width": 16, "depth": 1},
    "transformer": {"width": 32, "depth": 1, "heads": 2},
    "lstm": {"width": 32},
    "seq2seq": {"width": 32, "encoder": 1, "depth": 1, "heads": 2, "dropout": 0.0},
}
GIVEN: dict[str, Space] = {"seq2seq": Tokens(5, 3)}  # families that learn p(x | c) only
PAIRED = ("cyclegan",)  # learns from two sets: has tests of its own


def cells(n: int = 1500, seed: int = 0) -> Batch:
    """Rows of SPACE whose variables hang together, one of them (variable 1) on all others."""
    rng = torch.Generator().manual_seed(seed)
    a = torch.multinomial(torch.tensor([0.5, 0.3, 0.2]), n, replacement=True, generator=rng)
    c = (torch.rand(n, generator=rng) < 0.2 + 0.3 * a).long()
    e = torch.multinomial(
        torch.tensor([[5, 3, 1, 1, 1], [1, 1, 5, 2, 1], [1, 1, 1, 3, 6]]).float()[a], 1, generator=rng
    )
    noise = torch.randint(0, 2, (n,), generator=rng)
    b = (a + 2 * c + noise).clamp(max=3)
    return Batch(torch.stack([a, b, c, e[:, 0]], 1))


def table() -> pl.DataFrame:
    rng = torch.Generator().manual_seed(0)
    n = 300
    age = torch.randint(18, 80, (n,), generator=rng).tolist()
    return pl.DataFrame(
        {
            "age": age,
            "height": (170 + 10 * torch.randn(n, generator=rng).double()).round(decimals=2).tolist(),
            "city": [["Paris", "Rome", "Bern"][i] for i in torch.randint(0, 3, (n,), generator=rng)],
            "member": [bool(i) for i in torch.randint(0, 2, (n,), generator=rng)],
            "score": [None if i == 0 else float(i) for i in torch.randint(0, 9, (n,), generator=rng)],
        }
    )


def plane(n: int = 600, seed: int = 0) -> Batch:
    """Rows of PLANE: three numbers, the last of which the others nearly decide."""
    rng = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, generator=rng)
    x[:, 2] = (x[:, 0] - x[:, 1]) / 2**0.5 + 0.3 * x[:, 2]
    return Batch(x)


def words(n: int = 1500, seed: int = 0) -> Batch:
    """Items of WORDS (tokens 3, 4, 5) in which each token depends on the one before, and so does the end; each with a
    source (tokens 3, 4 of a space of its own) that says how it begins."""
    rng = torch.Generator().manual_seed(seed)
    law = torch.tensor([[0, 0, 1, 5, 3, 1], [0, 0, 1, 1, 6, 2], [0, 0, 3, 2, 1, 4], [0, 0, 5, 4, 1, 1]]).float()
    x = torch.zeros(n, WORDS.length, dtype=torch.int64)
    last, over = torch.zeros(n, dtype=torch.int64), torch.zeros(n, dtype=torch.bool)
    for s in range(WORDS.length):
        token = torch.multinomial(law[last], 1, generator=rng)[:, 0]
        x[:, s] = torch.where(over, WORDS.pad, token)
        over = over | (token == WORDS.eos)
        last = (token - 2).clamp_min(0)
    source = torch.full((n, 3), 3)
    source[:, 0] += (x[:, 0] == 4).long()
    source[:, 2] = torch.where(x[:, 0] == 3, 2, 3)
    return Batch(x, Batch(source))


def space_of(cls: Any) -> tuple[Space, Batch]:
    if cls.accepts is Tokens:
        return WORDS, words()._replace(given=None)
    return (PLANE, plane()) if cls.accepts is Reals else (SPACE, cells())


def pictures() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)


def sensors(n: int = 600) -> pl.DataFrame:
    draw, t = np.random.default_rng(0), np.arange(n)
    start = dt.datetime(2024, 3, 1)
    return pl.DataFrame(
        {
            "time": [start + dt.timedelta(minutes=5 * int(i)) for i in t],
            "heat": np.round(60 + 10 * np.sin(2 * np.pi * t / 24) + draw.normal(size=n), 2),
            "count": draw.poisson(40, n),
            "mode": np.where((t // 50) % 2 == 0, "run", "idle"),
        }
    )


def sentences(n: int = 300) -> list[str]:
    rng = torch.Generator().manual_seed(0)
    words = ["the", "café", "opens", "at", "nine", "日本", "and", "closes", "🙂", "late", "never"]
    return [
        " ".join(words[i] for i in torch.randint(0, len(words), (int(k),), generator=rng)).capitalize() + "."
        for k in torch.randint(2, 9, (n,), generator=rng)
    ]


ITEMS = {"table": table, "image": pictures, "series": sensors, "text": sentences}


def parts(kind: str) -> list[Any]:
    return [pytest.param(name, id=name) for name in registry.names(kind)]


def part(kind: str, name: str) -> Any:
    module = registry.TABLES[kind].get(name, "").partition(":")[0]
    if module and importlib.util.find_spec(module) is None:
        pytest.skip(f"{module} is not part of this checkout")
    return registry.get(kind, name)


@pytest.mark.parametrize("name", parts("codec"))
def test_codec(name: str) -> None:
    cls = part("codec", name)
    assert name in ITEMS, f"codec {name!r} has no example items: add them to ITEMS"
    check_codec(cls(), ITEMS[name]())


@pytest.mark.parametrize("name", parts("family"))
def test_family(name: str) -> None:
    cls = part("family", name)
    if name in PAIRED:
        pytest.skip(f"{name} learns from two sets: see its own tests")
    config = cls.Config(**QUICK.get(name, {}))
    if name in GIVEN:
        check_family(cls, WORDS, words(), config, given=GIVEN[name])
    else:
        check_family(cls, *space_of(cls), config)


@pytest.mark.parametrize("name", parts("family"))
def test_policy(name: str) -> None:
    cls = part("family", name)
    if not isinstance(cls, type) or not all(hasattr(cls, method) for method in ("rollout", "retrace", "score")):
        pytest.skip(f"{name} is no policy")
    assert issubclass(cls, Policy)
    config = cls.Config(**QUICK.get(name, {}))
    if name in GIVEN:
        check_policy(cls, WORDS, words(), config, given=GIVEN[name])
    else:
        check_policy(cls, *space_of(cls), config)


def test_a_broken_law_is_told() -> None:
    exact = part("family", "exact")

    class Forgetful(exact):
        def log_prob(self, batch: Batch) -> torch.Tensor:
            return super().log_prob(batch) - 0.5

    with pytest.raises(AssertionError, match=r"Broken: log_probs sums to log_prob\."):
        check_family(Forgetful, SPACE, cells())

    class Stubborn(exact):
        def sample(self, n: int, *args: Any, rng: torch.Generator, **rest: Any) -> torch.Tensor:
            return super().sample(n, rng=rng)

    with pytest.raises(AssertionError, match="Broken: known cells are held"):
        check_family(Stubborn, SPACE, cells())
