"""What every method of alignment has in hand: a policy, the policy it started from, items to judge, and a judge.

    path     = policy.rollout(...)            items, and the choices they are made of
    reward   = judge(items)                   (B,), larger is better
    old, was = log p of each choice under the policy and under the start

The start is a frozen copy, or what the policy itself says of it (`core.Anchored`: an adapter switched off); no gradient
and no dropout reach it. Where items were drawn in another arithmetic than they are scored in (weights rounded to 8
bits), each choice counts by min(p_old / p_drawn, CAP): truncated importance weights (Ionides 2008,
doi:10.1198/106186008X320456). A judge that raises, or that gives NaN or the wrong number of values, is told by a clear
error: a policy learns nothing true from it.

Letters: B items, S choices, F features.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from likely.core import Anchored, Batch, Family, Known, Path, Policy, Scores, Tokens
from likely.errors import OptionError, RewardError, TrainingError, Unsupported
from likely.nn.portion import take

Judge = Callable[[Path], Sequence[float] | Tensor]
CAP = 2.0  # the most that a choice counts for having been drawn too rarely
ALIKE = "it tells none from another. Try it on a few items by hand."  # of a reward that is one number
SAME = 1e-4  # how far the first ratio of a run may be from 1


class Wish(NamedTuple):
    """What items are asked for: conditions and beginnings, one row an item, or nothing."""

    given: Batch | None = None
    known: Known | None = None


Source = Callable[[int, torch.Generator], Wish]


def anything(n: int, rng: torch.Generator) -> Wish:
    """No wish at all."""
    return Wish()


class Graded(NamedTuple):
    """Items with their rewards (B,), log p of their choices when drawn and under the start, both (B, S), and what they
    looked like (B, S, F)."""

    path: Path
    reward: Tensor
    old: Tensor
    start: Tensor
    features: Tensor

    @property
    def weight(self) -> Tensor:
        """(B, S) how much each choice counts, for what drew it; 1 where that was the policy as it is scored."""
        if self.path.drawn is None:
            return torch.ones_like(self.old)
        return torch.where(self.path.mask, torch.exp((self.old - self.path.drawn).clamp(-20, 20)).clamp_max(CAP), 1.0)

    @property
    def kl(self) -> Tensor:
        """(B,) nats: log pi / pi_0 of each item, whose mean estimates KL(pi || pi_0)."""
        return torch.where(self.path.mask, self.old - self.start, 0.0).sum(1)


@dataclass
class Trial:
    """`policy` is what moves. `missing`: taken from the reward of an item that has no end (texts)."""

    policy: Family[Any]
    judge: Judge
    source: Source = anything
    missing: float = 0.0
    start: Family[Any] | None = field(init=False)  # None: the policy holds it

    def __post_init__(self) -> None:
        if not isinstance(self.policy, Policy):
            raise Unsupported(
                f"{type(self.policy).__name__} does not say how likely its steps are, which this method learns by. "
                "Families that do: transformer, lstm, masked, exact, seq2seq, flow. Any family: method='best_of'."
            )
        self.policy.eval()
        held = isinstance(self.policy, Anchored)
        self.start = None if held else copy.deepcopy(self.policy).eval().requires_grad_(False)

    # ------------------------------------------------------------------------------------------- drawing

    def draw(self, n: int, rng: torch.Generator, group: int = 1) -> Graded:
        """n items, graded; `group` items in a row are made for the same wish."""
        wish = self.source(n // group, rng)
        wish = repeated(wish, group) if group > 1 else wish
        with torch.no_grad():
            path = self.acting.rollout(n, wish.given, wish.known, rng=rng)
        return self.grade(path)

    @torch.no_grad()
    def look(self, rng: torch.Generator) -> Tensor:
        """What the choices of one item look like (1, S, F); nothing is judged."""
        wish = self.source(1, rng)
        return self.acting.score(self.acting.rollout(1, wish.given, wish.known, rng=rng)).features

    @torch.no_grad()
    def apart(self, n: int, rng: torch.Generator) -> float:
        """KL to the start in nats an item, from n items; nothing is judged."""
        wish = self.source(n, rng)
        path = self.acting.rollout(n, wish.given, wish.known, rng=rng)
        logp = self.acting.score(path).logp
        return float(torch.where(path.mask, logp - self.score_start(path), 0.0).sum(1).mean())

    @torch.no_grad()
    def grade(self, path: Path) -> Graded:
        """These items with rewards and log p."""
        scores = self.acting.score(path)
        start = self.score_start(path)
        reward = graded(self.judge, path).to(scores.logp)
        if self.missing and (space := self.tokens) is not None:
            reward = reward - self.missing * (~ended(path, self.ends(space))).to(reward)
        return Graded(path, reward, scores.logp.detach(), start, scores.features.detach())

    @torch.no_grad()
    def score_start(self, path: Path) -> Tensor:
        """log p (B, S) of choices under the start."""
        if self.start is None:
            return cast(Anchored, self.policy).score_start(path).logp
        return cast(Policy, self.start).score(path).logp

    def score(self, path: Path) -> Scores:
        """log p and features under the policy as it is, for gradients."""
        return self.acting.score(path)

    @property
    def acting(self) -> Policy:
        """The policy, as one."""
        return cast(Policy, self.policy)

    @property
    def tokens(self) -> Tokens | None:
        """The space, where items are texts."""
        return self.policy.space if isinstance(self.policy.space, Tokens) else None

    def ends(self, space: Tokens) -> Sequence[int]:
        """The tokens that end a text: checkpoints have several."""
        return tuple(getattr(self.policy, "ends", (space.eos,)))

    # ------------------------------------------------------------------------------------------ learning

    def optimiser(self, rate: float) -> torch.optim.Adam:
        """Adam with the eps of Huang et al. 2024; weights are not decayed, the start holds them."""
        moving = [weight for weight in self.policy.parameters() if weight.requires_grad]
        return torch.optim.Adam(moving, lr=rate, betas=(0.9, 0.95), eps=1e-5, fused=True)

    def numbers(self, drawn: Graded) -> dict[str, float]:
        """What a row of the record says of items drawn."""
        mask, count = drawn.path.mask, drawn.path.mask.sum(1).float()
        told = {
            "reward": float(drawn.reward.mean()), "spread": spread(drawn.reward),
            "kl": float(drawn.kl.mean()), "entropy": float(-drawn.old[mask].mean()) if bool(mask.any()) else 0.0,
            "length": float(count.mean()),
        }  # fmt: skip
        if (space := self.tokens) is not None:
            told["ended"] = float(ended(drawn.path, self.ends(space)).float().mean())
        if drawn.path.drawn is not None:
            told["mismatch"] = float((drawn.old - drawn.path.drawn)[mask].abs().mean()) if bool(mask.any()) else 0.0
        return told


# ------------------------------------------------------------------------------------------------------ parts


def graded(judge: Judge, path: Path) -> Tensor:
    """The rewards (B,) of items, looked at. Raises RewardError."""
    try:
        given = judge(path)
    except (KeyboardInterrupt, RewardError):
        raise
    except Exception as error:
        raise RewardError(f"The reward failed on {len(path.x)} items: {type(error).__name__}: {error}") from error
    try:
        reward = torch.as_tensor(given, dtype=torch.float32).detach().flatten()
    except (TypeError, ValueError, RuntimeError) as error:
        raise RewardError(f"The reward gave {type(given).__name__}, not one number an item ({error}).") from error
    if len(reward) != len(path.x):
        raise RewardError(
            f"The reward gave {len(reward)} values for {len(path.x)} items: one number an item is wanted."
        )
    if not bool(torch.isfinite(reward).all()):
        row = int((~torch.isfinite(reward)).nonzero()[0])
        raise RewardError(f"The reward of item {row} is {float(reward[row])}: give a finite number, such as 0.")
    return reward


def spread(reward: Tensor) -> float:
    """Standard deviation of rewards (B,): 0 where all are the same, and not what rounding makes of their mean."""
    return float(reward.std(correction=0)) if len(reward) and bool((reward != reward[0]).any()) else 0.0


def telling(reward: Tensor) -> Tensor:
    """The same rewards (B,). Raises RewardError where they are one number."""
    if len(reward) > 1 and spread(reward) == 0:
        raise RewardError(f"The reward is {float(reward[0]):g} for each of {len(reward)} items: {ALIKE}")
    return reward


def ended(path: Path, ends: Sequence[int]) -> Tensor:
    """(B,) whether an end was among the choices."""
    steps = path.mask.shape[1]
    return (torch.isin(path.x[:, :steps], torch.tensor(ends, device=path.x.device)) & path.mask).any(1)


def rows_of(path: Path, rows: Tensor) -> Path:
    """Some items of a path."""
    given = take(path.given, rows) if path.given is not None else None
    drawn = path.drawn[rows] if path.drawn is not None else None
    return Path(path.x[rows], path.trace[rows], path.mask[rows], given, drawn)


def repeated(wish: Wish, times: int) -> Wish:
    """Each row of a wish so often, one behind the other."""
    given, known = wish
    if given is not None:
        rows = torch.arange(len(given.x), device=given.x.device).repeat_interleave(times)
        given = take(given, rows)
    if known is not None and len(known.x) > 1:
        if known.soft:
            raise Unsupported("Alignment takes decided values only: ranges and sets are no steps of a policy.")
        known = Known(known.x.repeat_interleave(times, 0), known.mask.repeat_interleave(times, 0))
    return Wish(given, known)


def descend(optimiser: torch.optim.Optimizer, loss: Tensor, clip: float) -> float:
    """One step; the norm of the gradient. Raises TrainingError where it is not finite: nothing has moved then."""
    optimiser.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    norm = float(nn.utils.clip_grad_norm_(weights, clip or math.inf))
    if not math.isfinite(norm) or not math.isfinite(float(loss.detach())):
        optimiser.zero_grad(set_to_none=True)
        raise TrainingError(
            f"A loss of {float(loss.detach()):.4g} with a gradient of norm {norm:.4g}: try a lower rate."
        )
    optimiser.step()
    return norm


def first(ratio: Tensor, mask: Tensor) -> None:
    """Raises TrainingError unless the first ratios of a run are 1: the policy that learns is the one that drew."""
    away = float((ratio - 1)[mask].abs().max()) if bool(mask.any()) else 0.0
    if not away <= SAME:
        raise TrainingError(
            f"The first probability ratio of the run is {away:.2g} away from 1: scoring a path twice gives two "
            "results, so that nothing true can be learned from it. Dropout, or a draw with other weights?"
        )


def positive(**given: float) -> None:
    """Raises OptionError where one of these is not above 0."""
    for name, value in given.items():
        if not (isinstance(value, int | float) and 0 < value < math.inf):
            raise OptionError(f"{name}={value!r} was given; it is a number above 0.")
