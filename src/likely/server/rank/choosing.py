"""Which pair says most: the one that a reward learned so far is least sure of.

From the judgements at hand a reward is fitted now and then, in the background, and K - 1 more to judgements of items
drawn with replacement. They give P_k(left) for a couple; what is not known about its answer is

    H(mean_k P_k),     H(p) = -p log p - (1 - p) log(1 - p)

which is large where every reward says 1/2, and where they disagree. (Only the latter would be H(mean) - mean H,
Houlsby et al. 2011, arXiv:1112.5745; but words that nobody has judged yet weigh nothing in all K rewards, so that
these agree on 1/2 just where nothing is known.) Of a reward that was given K is 1. A couple that is a true tie looks
unsure for ever: that is why a share of the couples is not chosen but drawn.

Texts are read by their words, rows, images and windows as the generator that made them sees them (`states.Steps`), if
it is loaded. Of other media no reward can be learned here, and couples are drawn.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from likely.align.preference import Judgements
from likely.errors import LikelyError, Unsupported
from likely.server.store import Outline, Store

if TYPE_CHECKING:
    from likely.align.reward import RewardModel

LEAST, MORE = 30, 1.25  # decided judgements at first, and growth until the next fit
DRAWS = 5  # rewards beside the first
CANDIDATES = 4000  # that are read, at most
NEEDS = "choosing them needs texts, or a model of rows, images or windows that is loaded"
log = logging.getLogger("likely.rank")
Array = np.ndarray[Any, np.dtype[Any]]


class Pair(Protocol):
    """What is compared: an item and two of its candidates."""

    @property
    def item(self) -> str: ...
    @property
    def first(self) -> str: ...
    @property
    def second(self) -> str: ...


class Guide:
    """Rewards of candidates, (K,) nats each by id. `reward`: a given one; else they are fitted to the judgements of the
    store. `background` false: fits happen where they are asked for. `listen` is told why none can be had."""

    def __init__(
        self, store: Store, *, reward: RewardModel | None = None, seed: int = 0, background: bool = True,
        listen: Callable[[str], None] = lambda _: None,
    ) -> None:  # fmt: skip
        self.listen = listen
        self.store, self.reward, self.seed, self.background = store, reward, seed, background
        self.generators: list[Any] = []  # whose steps may be read
        self.fits, self.note = 0, ""  # what could not be done, and why
        self._rewards: dict[str, Array] = {}
        self._due, self._read = LEAST, 0
        self._kept: tuple[Any, list[str], Any] | None = None
        self._busy = threading.Lock()

    def worth(self, couples: Iterable[Pair]) -> dict[Any, float]:
        """Nats of the answers to these couples; those of candidates that no reward was read of are left out."""
        known = self._rewards
        found = [one for one in couples if one.first in known and one.second in known]
        if not found:
            return {}
        z = np.stack([known[one.first] for one in found]) - np.stack([known[one.second] for one in found])
        p = 1 / (1 + np.exp(-np.clip(z, -30, 30)))  # (n, K)
        return dict(zip(found, _entropy(p.mean(1)).tolist(), strict=True))

    def consider(self, decided: int, items: Sequence[str]) -> None:
        """Fit, if there are enough new judgements; read a given reward, if there are enough new items."""
        due = len(items) > MORE * self._read if self.reward is not None else decided >= self._due
        if not due or not items or not self._busy.acquire(blocking=False):
            return
        self._read, self._due = len(items), max(LEAST, int(MORE * decided) + 1)
        if self.background:
            threading.Thread(target=self._work, args=(list(items),), name="likely-guide", daemon=True).start()
        else:
            self._work(list(items))

    def _work(self, items: list[str]) -> None:
        try:
            self._rewards = self._given(items) if self.reward is not None else self._fitted(items)
            self.fits += 1
            self.note = ""
        except Unsupported:  # no more judgements will help
            self._say(f"Pairs are drawn, not chosen: {NEEDS}.")
        except LikelyError as error:
            self._say(f"Pairs are drawn, not chosen, for now: {error}")
        except Exception as error:  # people go on judging: a guide is a help
            log.error("the reward that chooses pairs failed", exc_info=error)
            self._say(f"Pairs are drawn, not chosen, for now: {type(error).__name__}: {str(error)[:200]}")
        finally:
            self._busy.release()

    def _say(self, why: str) -> None:
        if why != self.note:
            self.listen(why)
        self.note = why

    def _given(self, items: list[str]) -> dict[str, Array]:
        assert self.reward is not None
        candidates, prompts = self._candidates(items)
        nats = np.array(self.reward.judge(candidates, prompts)) * self.reward.sharpness / self.reward.temperature
        return {one.id: nats[k : k + 1] for k, one in enumerate(candidates)}

    def _fitted(self, items: list[str]) -> dict[str, Array]:
        from likely.align.reward import gather, learn

        looks, items = self._features(items)
        evidence = gather(_among(self.store.judgements(), looks.name, set(items)), looks)
        n = len(evidence.pairs)
        first = learn(evidence, np.arange(n), self.seed)
        pieces, rng = [first], np.random.default_rng(self.seed)
        rows: dict[str, list[int]] = {}
        for k, pair in enumerate(evidence.pairs):
            rows.setdefault(pair.item, []).append(k)
        listed = list(rows.values())
        for _ in range(DRAWS):
            some = np.concatenate([listed[k] for k in rng.integers(0, len(listed), len(listed))])
            if any(evidence.pairs[k].outcome != "tie" for k in some):
                pieces.append(learn(evidence, some, self.seed, first.ridge))
        names, raw = self._seen(items, looks)
        nats = np.stack([piece(raw) for piece in pieces], 1)  # (n, K)
        return {name: nats[k] for k, name in enumerate(names)}

    def _seen(self, items: list[str], looks: Any) -> tuple[list[str], Any]:
        """Ids of candidates and what the features read of them; kept while there are no more of them."""
        lines = self.store.outlines(items)
        key = looks.name, sum(len(line.candidates) for line in lines), len(lines)
        if self._kept is None or self._kept[0] != key:
            candidates, prompts = self._candidates(items)
            self._kept = key, [one.id for one in candidates], looks.read(*looks.take(candidates, prompts))
        return self._kept[1], self._kept[2]

    def _candidates(self, items: list[str]) -> tuple[list[Any], list[Any]]:
        candidates: list[Any] = []
        prompts: list[Any] = []
        for item in self.store.items(items[-CANDIDATES // 2 :]):
            candidates += item.candidates
            prompts += [item.prompt] * len(item.candidates)
            if len(candidates) >= CANDIDATES:
                break
        return candidates, prompts

    def _features(self, items: list[str]) -> tuple[Any, list[str]]:
        """What reads candidates, and those of the items that it reads. Raises Unsupported where nothing does."""
        from likely.align.encoding import MEDIA
        from likely.align.features import Words
        from likely.align.states import Steps

        lines = self.store.outlines(items)
        texts = _of(lines, ("text/",))
        if texts:
            return Words(), texts
        for gen in self.generators:
            if found := _of(lines, MEDIA.get(gen.codec.name, ())):
                return Steps(gen), found
        raise Unsupported(NEEDS)


def _of(lines: Iterable[Outline], media: tuple[str, ...]) -> list[str]:
    """Items all of whose candidates are of such media."""
    return [line.item for line in lines if all(one.media.startswith(media) for one in line.candidates)]


def _among(judgements: Judgements, looks: str, items: set[str]) -> Judgements:
    """The judgements of all texts; of these items, where a generator reads them, that may know no others."""
    if looks != "steps":
        from likely.align.encoding import readable

        return readable(judgements, ("text/",), "texts")[0]
    kept = tuple(one for one in judgements.comparisons if one.item in items)
    return Judgements(tuple(item for item in judgements.items if item.id in items), kept, judgements.notes)


def _entropy(p: Array) -> Array:
    p = np.clip(p, 1e-12, 1 - 1e-12)
    found: Array = -(p * np.log(p) + (1 - p) * np.log1p(-p))
    return found
