"""Drawing: every option does to the distribution what it says, and the numbers of a text are its own."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from likely.errors import OptionError
from likely.language.decode import Sampling
from likely.language.decode.draw import Noise, draw, invert, pick

V = 12


@dataclass
class Text:
    sampling: Sampling
    noise: Noise = field(default_factory=lambda: Noise(0, 0, ()))
    prompt: tuple[int, ...] = ()
    ids: list[int] = field(default_factory=list)
    mask: Tensor | None = None

    def allowed(self, vocab: int) -> Tensor | None:
        return self.mask


def shares(logits: Tensor, wish: Sampling, n: int = 1000) -> Tensor:
    """How often each token is drawn, with n evenly spaced numbers: exact to 1 / n a token."""
    u = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    return pick(logits.expand(n, -1).clone(), wish, u).bincount(minlength=logits.shape[-1]) / n


def truncated(logits: Tensor, wish: Sampling) -> Tensor:
    """The distribution that the options describe, written down plainly."""
    p = (logits.double() / wish.temperature).softmax(0)
    order = p.argsort(descending=True)
    keep = torch.zeros(len(p), dtype=torch.bool)
    keep[order[: wish.top_k or len(p)]] = True
    p = torch.where(keep, p, 0)
    p = p / p.sum()
    total = 0.0
    for token in order.tolist():
        if total >= wish.top_p:
            p[token] = 0
        total += float(p[token])
    p[p < wish.min_p * p.max()] = 0
    return p / p.sum()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6), temperature=st.sampled_from([0.3, 1.0, 2.0]), top_k=st.sampled_from([0, 1, 3, 50]),
    top_p=st.sampled_from([0.2, 0.9, 1.0]), min_p=st.sampled_from([0.0, 0.1]), vocab=st.sampled_from([5, 300, 2000]),
)  # fmt: skip
def test_options_give_their_distribution(
    seed: int, temperature: float, top_k: int, top_p: float, min_p: float, vocab: int
) -> None:
    logits = torch.randn(vocab, generator=torch.Generator().manual_seed(seed)) * 2
    wish = Sampling(temperature=temperature, top_k=top_k, top_p=top_p, min_p=min_p)
    found, expected = shares(logits, wish), truncated(logits, wish)
    assert float((found - expected).abs().max()) <= 2 / 1000 + 1e-5


@settings(max_examples=60, deadline=None)
@given(
    weights=st.lists(st.sampled_from([0.0, 1e-30, 0.1, 3.0]), min_size=1, max_size=3000),
    u=st.floats(0, 1, exclude_max=True),
)
def test_a_token_without_weight_is_never_drawn(weights: list[float], u: float) -> None:
    p = torch.tensor([[*weights, 1.0]])
    at = int(invert(p, torch.tensor([u], dtype=torch.float64)))
    assert p[0, at] > 0
    assert float(p[0, :at].sum()) <= u * float(p.sum()) * (1 + 1e-5) + 1e-6


def test_greedy_takes_the_first_of_the_likeliest() -> None:
    logits = torch.tensor([[0.0, 3.0, 3.0, -1.0]])
    found = draw(logits.clone(), [Text(Sampling(temperature=0))])
    assert found.tokens == [1]
    assert found.logprobs == pytest.approx([float(logits[0].log_softmax(0)[1])])


def test_penalties_bias_and_masks() -> None:
    logits = torch.zeros(1, V)
    logits[0, 0], logits[0, 1] = 4.0, -4.0
    seen = Text(Sampling(repetition=2.0, temperature=0), prompt=(0,), ids=[1])
    touched = logits.clone()
    assert draw(touched, [seen]).tokens == [0]  # 4 / 2 is still the largest
    assert touched[0, :3].tolist() == [2.0, -8.0, 0.0]
    counted = Text(Sampling(presence=1.0, frequency=2.0, temperature=0), prompt=(0, 0), ids=[2, 2, 3])
    touched = logits.clone()
    assert draw(touched, [counted]).tokens == [0]  # the prompt does not count
    assert touched[0, 2:5].tolist() == [-5.0, -3.0, 0.0]
    biased = Text(Sampling(bias={7: 9.0}, temperature=0))
    found = draw(logits.clone(), [biased])
    assert found.tokens == [7]
    assert found.logprobs == pytest.approx([float(logits[0].log_softmax(0)[7])])  # of the model as it is
    mask = torch.zeros(V, dtype=torch.bool)
    mask[[5, 1]] = True
    assert draw(logits.clone(), [Text(Sampling(temperature=0), mask=mask)]).tokens == [5]


def test_alternatives() -> None:
    logits = torch.randn(2, V, generator=torch.Generator().manual_seed(0))
    found = draw(logits.clone(), [Text(Sampling(logprobs=3, seed=0)), Text(Sampling())])
    values, ids = logits[0].log_softmax(0).topk(3)
    assert [token for token, _ in found.tops[0]] == ids.tolist()
    assert [value for _, value in found.tops[0]] == pytest.approx(values.tolist())
    assert found.tops[1] == ()


def test_rows_are_drawn_as_if_alone() -> None:
    wishes = [Sampling(temperature=0), Sampling(), Sampling(top_p=0.5), Sampling(), Sampling(top_k=2, temperature=2.0)]
    logits = torch.randn(5, 700, generator=torch.Generator().manual_seed(1))
    together = draw(logits.clone(), [Text(wish, Noise(1, i, (3,))) for i, wish in enumerate(wishes)])
    for i, wish in enumerate(wishes):
        assert draw(logits[i : i + 1].clone(), [Text(wish, Noise(1, i, (3,)))]).tokens == [together.tokens[i]]


def test_noise_is_of_seed_sample_and_prompt() -> None:
    def numbers(*key: object) -> tuple[float, ...]:
        noise = Noise(*key)  # type: ignore[arg-type]
        return tuple(noise.draw() for _ in range(100))

    keys = [(1, 0, (2,)), (1, 1, (2,)), (2, 0, (2,)), (1, 0, (3,)), (11, 0, ()), (1, 1, ()), (1, 0, (2, 2))]
    assert numbers(*keys[0]) == numbers(*keys[0])
    assert len({numbers(*key) for key in keys}) == len(keys)
    assert all(0 <= number < 1 for number in numbers(*keys[0]))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (dict(temperature=-1), r"temperature=-1: give a number from 0 to 100"),
        (dict(temperature=float("nan")), "temperature=nan: give a number"),
        (dict(temperature="hot"), "temperature='hot': give a number"),
        (dict(top_p=0), r"top_p=0: give a number over 0 and at most 1"),
        (dict(top_p=1.5), "top_p=1.5"),
        (dict(min_p=-0.1), "min_p=-0.1"),
        (dict(top_k=2.5), r"top_k=2.5: give a whole number \(0 = all tokens\)"),
        (dict(top_k=True), "top_k=True"),
        (dict(tokens=0), "tokens=0: give a whole number of at least 1"),
        (dict(logprobs=51), "logprobs=51: give a whole number from 0 to 50"),
        (dict(seed=-1), "seed=-1"),
        (dict(repetition=0), "repetition=0"),
        (dict(stop=("",)), "stop=''"),
        (dict(stop=["a"] * 17), "17 stop strings; at most 16"),
        (dict(bias={-1: 2.0}), "bias=-1"),
        (dict(bias={1: float("inf")}), "bias=inf"),
        (dict(constraint="[a-z]+"), r"constraint='\[a-z\]\+': give choices"),
    ],
)  # fmt: skip
def test_options_that_make_no_sense(wrong: dict[str, object], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        Sampling(**wrong)  # type: ignore[arg-type]


def test_one_stop_string_is_a_list_of_one() -> None:
    assert Sampling(stop="END").stop == ("END",)  # type: ignore[arg-type]
    assert Sampling(stop=["a", "b"]).stop == ("a", "b")  # type: ignore[arg-type]
