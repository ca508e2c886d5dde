"""A checkpoint as a policy: what it draws is what it scores, its start stays, and only the adapter moves."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from likely.align.grpo import GRPO
from likely.align.ppo import PPO
from likely.align.trial import Graded, Trial, Wish, rows_of
from likely.core import Anchored, Batch, Path, Policy
from likely.errors import DataError, Mismatch, OptionError, Unsupported
from likely.language import adapter, lora
from likely.language.decode.engine import Engine
from likely.language.loss import log_probs
from likely.language.policy import Speaker, Speaking, listed, prompts_of, together
from tests.language import decode_toys, tune_toys

PROMPTS = [[5, 9, 11, 60], [70, 71], [33] * 9, [5, 9, 11, 60]]


def speaker(kind: str = "llama", seed: int = 0, **more: object) -> Speaker:
    base = decode_toys.checkpoint(seed, **decode_toys.KINDS[kind])
    return Speaker(base, Speaking(**{"tokens": 12, "layers": 1, "rank": 4, **more}))  # type: ignore[arg-type]


def moved(one: Speaker, size: float = 0.1) -> Speaker:
    """With an adapter that does something."""
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weight in one.parameters():
            weight.copy_(size * torch.randn(weight.shape, generator=rng))
    return one


def draw(one: Speaker, n: int = 4, seed: int = 0) -> Path:
    return one.rollout(n, prompts_of(PROMPTS[:n]), rng=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("kind", [kind for kind in decode_toys.KINDS if kind != "dynamic"])
def test_what_was_drawn_is_what_is_scored(kind: str) -> None:
    one = moved(speaker(kind))
    path = draw(one)
    assert isinstance(one, Policy)
    assert isinstance(one, Anchored)
    assert path.drawn is not None
    scores = one.score(path)
    assert torch.allclose(scores.logp, path.drawn, atol=2e-4)
    assert (scores.logp[~path.mask] == 0).all()
    assert scores.features.shape == (*path.mask.shape, 32)
    # With what was learned folded into the checkpoint, the decoder scores the same.
    whole = Engine(one.drawing(), kernel="plain")
    for row, prompt in enumerate(PROMPTS):
        ids = path.x[row][path.mask[row]].tolist()
        told = whole.score([[*prompt, *ids]])[0][len(prompt) - 1 :]
        assert torch.allclose(told, scores.logp[row][path.mask[row]].detach(), atol=2e-4)


def test_an_answer_ends_once_or_not_at_all() -> None:
    one = moved(speaker(seed=4))
    path = one.rollout(40, prompts_of([PROMPTS[0]] * 40), rng=torch.Generator().manual_seed(0))
    end = one.space.eos
    for row, choice in zip(path.x, path.mask, strict=True):
        n = int(choice.sum())
        assert choice[:n].all()
        assert (row[: n - 1] != end).all()
        assert n == 12 or row[n - 1] == end
    assert len({tuple(row) for row in path.x.tolist()}) > 20  # one prompt, many answers


def test_company_changes_no_score() -> None:
    one = moved(speaker())
    path = draw(one)
    every = one.score(path).logp
    for rows in (torch.tensor([2]), torch.tensor([3, 0])):
        assert torch.allclose(one.score(rows_of(path, rows)).logp, every[rows], atol=1e-5)
    with torch.no_grad():
        assert torch.allclose(one.score(path).logp, every, atol=1e-5)
    bare = path._replace(trace=path.trace[:, :0, 0])  # without states of the trunk
    assert torch.allclose(one.score(bare).logp, every, atol=1e-5)
    again = one.retrace(Batch(path.x, path.given, path.mask))
    assert torch.allclose(one.score(again).logp, every, atol=1e-5)


def test_the_start_is_the_checkpoint() -> None:
    one = moved(speaker())
    path = draw(one)
    plain = Engine(decode_toys.checkpoint(), kernel="plain")
    start, now = one.score_start(path).logp, one.score(path).logp
    assert not torch.allclose(start, now, atol=1e-2)
    for row, prompt in enumerate(PROMPTS):
        ids = path.x[row][path.mask[row]].tolist()
        told = plain.score([[*prompt, *ids]])[0][len(prompt) - 1 :]
        assert torch.allclose(told, start[row][path.mask[row]], atol=2e-4)


def test_the_gradient_is_that_of_the_plain_network() -> None:
    one = moved(speaker())
    path = draw(one)
    one.score(path).logp.sum().backward()
    found = [weight.grad.clone() for weight in one.parameters() if weight.grad is not None]
    assert len(found) == len(list(one.parameters()))
    ids, _ = together(path.x, path.mask, path.given)  # type: ignore[arg-type]
    network = copy.deepcopy(one.held.network)
    network.zero_grad()
    logits = network.logits(network(ids)).log_softmax(-1)[:, :-1].gather(2, ids[:, 1:, None]).squeeze(2)
    total = torch.zeros(())
    for row, prompt in enumerate(PROMPTS):
        n = len(prompt)
        total = total + logits[row, n - 1 : n - 1 + int(path.mask[row].sum())].sum()
    total.backward()
    pairs = [weight for _, matrix in lora.adapted(network) for pair in matrix.each() for weight in (pair.a, pair.b)]
    for mine, theirs in zip(found, pairs, strict=True):
        assert theirs.grad is not None
        assert torch.allclose(mine, theirs.grad, atol=1e-3 * float(theirs.grad.abs().max()))


def test_log_probs_and_their_gradient() -> None:
    torch.manual_seed(0)
    hidden, head, y = torch.randn(300, 8, requires_grad=True), torch.randn(50, 8), torch.randint(50, (300,))
    slope = torch.randn(300)
    (log_probs(hidden, head, y) * slope).sum().backward()
    found = hidden.grad.clone()  # type: ignore[union-attr]
    hidden.grad = None
    want = (hidden @ head.T).log_softmax(1).gather(1, y[:, None]).squeeze(1)
    assert torch.allclose(log_probs(hidden, head, y), want, atol=1e-5)
    (want * slope).sum().backward()
    assert torch.allclose(found, hidden.grad, atol=1e-5)  # type: ignore[arg-type]


def test_a_token_that_is_nearly_sure_still_has_a_gradient_in_bfloat16() -> None:
    torch.manual_seed(0)
    head = torch.randn(500, 16).bfloat16()
    y = torch.arange(40)
    for size in (0.2, 0.5, 1.0):  # the larger, the surer
        hidden = (size * head[y].float()).requires_grad_()
        log_probs(hidden, head, y).sum().backward()
        exact = (size * head[y].float()).double().requires_grad_()
        (exact @ head.double().T).log_softmax(1).gather(1, y[:, None]).sum().backward()
        assert hidden.grad is not None
        assert exact.grad is not None
        away = (hidden.grad - exact.grad).norm(dim=1) / exact.grad.norm(dim=1)
        assert float(away.max()) < 0.02


@pytest.mark.parametrize("method", [PPO, GRPO])
def test_a_wanted_token_becomes_likelier_and_the_checkpoint_stays(method: type) -> None:
    base = decode_toys.checkpoint()
    before = {name: weight.clone() for name, weight in base.network.state_dict().items()}
    one = Speaker(base, Speaking(tokens=8, layers=1, rank=8))

    def judge(path: Path) -> torch.Tensor:
        return ((path.x < 100) & path.mask).sum(1) / path.mask.sum(1)

    trial = Trial(one, judge, lambda n, rng: Wish(given=prompts_of([PROMPTS[k % 3] for k in range(n)])))
    run = method(trial, method.Config(samples=48), 0.02, 1e-2, 0)  # type: ignore[attr-defined]
    rows = [run.step(1.0, torch.Generator().manual_seed(step)) for step in range(16)]
    reward = [row["reward"] for row in rows]
    assert sum(reward[-4:]) / 4 > sum(reward[:4]) / 4 + 0.06
    assert rows[0]["kl"] == 0
    assert rows[-1]["kl"] > 0
    assert rows[0]["mismatch"] < 1e-4
    for name, weight in base.network.state_dict().items():
        assert torch.equal(weight, before[name])
    settled = one.settled()
    assert any(True for _ in lora.adapted(settled.network))
    assert not any(True for _ in lora.adapted(base.network))
    assert torch.equal(settled.network.embed.weight, base.network.embed.weight)


def test_rounded_draws_are_weighed() -> None:
    one = moved(speaker(kernel="int8"))
    path = draw(one)
    scores = one.score(path)
    assert path.drawn is not None
    away = (scores.logp - path.drawn)[path.mask].detach()
    assert 1e-4 < float(away.abs().mean()) < 0.3  # 8 bits are another arithmetic
    graded = Graded(path, torch.zeros(4), scores.logp.detach(), scores.logp.detach(), scores.features)
    assert torch.allclose(graded.weight[path.mask], away.exp().clamp_max(2.0))
    assert (graded.weight[~path.mask] == 1).all()
    same = Graded(path._replace(drawn=None), *graded[1:])
    assert (same.weight == 1).all()


def test_an_adapter_of_upper_layers_goes_to_a_folder_and_back(tmp_path) -> None:  # type: ignore[no-untyped-def]
    one = moved(speaker())
    path = draw(one)
    settled = one.settled()
    adapter.save(settled.network, tmp_path / "a", base="toy")
    ids = [*PROMPTS[0], *path.x[0][path.mask[0]].tolist()]
    for network in (settled.network, lora.whole(settled.network)):
        told = Engine(replace(settled, network=network), kernel="plain").score([ids])[0][len(PROMPTS[0]) - 1 :]
        assert torch.allclose(told, one.score(path).logp[0][path.mask[0]].detach(), atol=2e-4)
    again = decode_toys.checkpoint()
    adapter.load(again.network, tmp_path / "a")
    told = Engine(again, kernel="plain").score([ids])[0][len(PROMPTS[0]) - 1 :]
    assert torch.allclose(told, one.score(path).logp[0][path.mask[0]].detach(), atol=2e-4)


def test_same_seed_same_answers() -> None:
    one = moved(speaker())
    assert torch.equal(draw(one).x, draw(one).x)
    assert not torch.equal(draw(one, seed=1).x, draw(one).x)
    path = draw(one)
    assert not torch.equal(path.x[0], path.x[3])  # the same prompt twice has two answers


def test_answers_end_as_the_template_ends_them() -> None:
    assert tune_toys.checkpoint().end == 0
    assert decode_toys.checkpoint().end in decode_toys.checkpoint().ends


def test_refusals() -> None:
    base = decode_toys.checkpoint()
    for wrong in ({"tokens": 0}, {"rank": 0}, {"layers": -1}, {"alpha": -1.0}, {"rows": 1.5}):
        with pytest.raises(OptionError):
            Speaking(**wrong)  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="has 2"):
        Speaker(base, Speaking(tokens=4, layers=3))
    with pytest.raises(OptionError, match="96"):
        Speaker(base, Speaking(tokens=96))
    one = Speaker(base, Speaking(tokens=4))
    with pytest.raises(DataError, match="prompts"):
        one.rollout(2, rng=torch.Generator())
    with pytest.raises(Unsupported):
        one.sample(1, prompts_of([[5]]), rng=torch.Generator(), temperature=0.5)
    with pytest.raises(Unsupported, match="over 8"):
        draw(speaker("dynamic"))
    with pytest.raises(Mismatch, match="adapter"):
        Speaker(one.settled())
    assert listed(prompts_of([[1, 2], [3]])) == [(1, 2), (3,)]
