"""The generator: one codec and one family joined, and the codec of a condition where there is one.

    gen = likely.fit(data)              learn P(X)
    gen.sample(1000, given={...})       more like it; conditions hold in every row
    gen.fill(rows)                      complete what is missing
    gen.surprise(rows)                  nats; larger = stranger
    gen.report()                        true? varied? valid? new? private?
    gen.save(path), likely.load(path)

A conditional generator is p(x | c): c has a codec of its own, and a prior p(c) learned beside it, so that items can be
drawn without a wish, or with one about some part of c.

Letters: n items asked for, B items at once, D variables.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from likely import artifact, registry, strangeness
from likely.align.course import FAR
from likely.alignment import Signal, align
from likely.choice import configure
from likely.completion import Completer, repeat, thinness
from likely.conditions import PREFIX, Conditions
from likely.core import (
    Batch,
    Codec,
    Completion,
    Family,
    Known,
    Latent,
    Listener,
    Progress,
    Reals,
    Tokens,
)
from likely.errors import (
    ArtifactError,
    ConditionError,
    ConstraintError,
    DataError,
    LikelyError,
    NotFitted,
    OptionError,
    Unsupported,
)
from likely.evaluate.price import Example, Price, stored
from likely.evaluate.report import Report
from likely.judgement import Evidence, compare, sets
from likely.pricing import examples, priced
from likely.train.log import bar
from likely.train.order import whole_seed

CHUNK = 25_000  # items made at once: memory stays flat for any n,
NUMBERS = 20_000_000  # and this many reals, where items are large
MADE = 5_000  # images or windows made for a report card: more are not looked at
TRIES = 50  # rounds of drawing again what breaks a constraint that no construction can hold


@dataclass
class Generator:
    """A fitted codec and family. Make one with `likely.fit` or `likely.load`."""

    codec: Codec[Any]
    family: Family[Any]
    card: dict[str, Any]
    evidence: Evidence | None = None
    conditions: Conditions | None = None
    notes: list[str] = field(default_factory=list)  # what the last call has to say about its result
    _rng: torch.Generator = field(default_factory=torch.Generator, repr=False)
    _examples: tuple[tuple[Example, ...], ...] = field(default=(), repr=False)  # before and after an alignment

    def __str__(self) -> str:
        return (
            f"{self.card['family']['name']} over {self.card['codec']['name']}, learned from {self.card['rows']:,} rows"
        )

    # ------------------------------------------------------------------------------------------- sampling

    def sample(
        self, n: int, *, given: Mapping[str, Any] | Any | None = None, temperature: float = 1.0, seed: int | None = None
    ) -> Any:
        """n items in the type that came in; `given` holds in every one of them.

        `given` maps a column to a value, a set or list of values, or a range (low, high) with None for an open end. A
        model that was learned with conditions (labels of images) takes a wish about these, or a table of n of them.
        A temperature below 1 draws more typical items, above 1 more unusual ones. Without a seed, each call
        goes on where the last one ended. Raises ConditionError where no item can meet the wish.
        """
        parts = list(self.stream(n, given=given, temperature=temperature, seed=seed))
        return self.codec.give(self.codec.join(parts))

    def stream(
        self,
        n: int,
        *,
        given: Mapping[str, Any] | Any | None = None,
        temperature: float = 1.0,
        seed: int | None = None,
        listen: Listener | None = None,
    ) -> Iterator[Any]:
        """The same as `sample` in pieces of the codec's own collection (a polars DataFrame), at constant memory."""
        if not isinstance(n, int | np.integer) or n < 1:
            raise OptionError(f"n is {n!r}; ask for 1 row or more.")
        if not 0.05 <= temperature <= 20:
            raise OptionError(
                f"temperature is {temperature!r}; it goes from 0.05 (typical) over 1 (true) to 20 (wild)."
            )
        self.notes = []
        rng = self._stream(seed)
        wish = given if isinstance(given, Mapping) and given else None
        rows = given is not None and not isinstance(given, Mapping)
        if rows and self.conditions is None:
            raise ConditionError(
                "given is a mapping such as {'age': (60, 80)}; this model has no conditions of its own."
            )
        known = self.codec.condition(wish) if wish and self.conditions is None else None
        redrawn, low, chunk = 0, [], self._chunk()
        for start in range(0, n, chunk):
            size = min(chunk, n - start)
            if rows:  # a condition for each item: all at once
                start, size = 0, n
            items, ess = self._draw(size, known, given, temperature, rng, start)
            bad = self.codec.rejects(items)
            for _ in range(TRIES):
                if not bad.any():
                    break
                redrawn += int(bad.sum())
                again, _ = self._draw(int(bad.sum()), known, given, temperature, rng, n + redrawn)
                items = self.codec.replace(items, bad, again)
                bad = self.codec.rejects(items)
            if bad.any():
                raise ConstraintError(
                    f"{int(bad.sum())} of {size} rows still break a constraint after {TRIES} draws: "
                    "what the constraint asks for hardly occurs in the data. " + "; ".join(self.codec.promises())
                )
            low.append(ess)
            if listen:
                listen(Progress("sampling", (start + size) / n))
            yield items
            if rows:
                break
        if redrawn:
            self.notes.append(f"{redrawn:,} rows were drawn again to meet constraints that only redrawing can hold.")
        self.notes += thinness(np.concatenate(low), self.family.config)

    def fill(self, items: Any, *, seed: int | None = None) -> Any:
        """Items with their holes (None, NaN, absent columns) completed; what is there stays as it is."""
        self.notes = []
        frame = self.codec.read(items)
        if len(frame) == 0:
            raise DataError("No rows to fill: the table is empty.")
        rng = self._stream(seed)
        parts, low = [], []
        chunk = self._chunk()
        for start in range(0, len(frame), chunk):
            part = frame[start : start + chunk]
            completion = self._complete(self.codec.partial(part), 1.0, rng)
            parts.append(self.codec.make(completion.x, rng=rng, within=part, start=start))
            low.append(completion.ess.numpy())
        self.notes += thinness(np.concatenate(low), self.family.config)
        return self.codec.give(self.codec.join(parts))

    def _draw(
        self,
        n: int,
        known: Known | None,
        given: Mapping[str, Any] | Any | None,
        temperature: float,
        rng: torch.Generator,
        start: int,
    ) -> tuple[Any, np.ndarray]:
        if self.conditions is not None:
            batch, frame = self.conditions.draw(n, given, rng)
            x = self.family.sample(n, given=batch, rng=rng, temperature=temperature, grammar=self.codec.grammar)
            items = self.codec.make(x, rng=rng, start=start)
            attach = getattr(self.codec, "attach", None)
            return attach(items, frame) if attach else items, np.full(n, np.inf)
        if known is None:
            x = self.family.sample(n, rng=rng, temperature=temperature, grammar=self.codec.grammar)
            ess = np.full(n, np.inf)
        else:
            completion = self._complete(repeat(known, n), temperature, rng)
            x, ess = completion.x, completion.ess.numpy()
        return self.codec.make(x, rng=rng, within=given, start=start), ess

    def _complete(self, known: Known, temperature: float, rng: torch.Generator) -> Completion:
        done, remark = self._completer.complete(known, temperature, rng)
        if remark:
            self.notes.append(remark)
        return done

    @cached_property
    def _completer(self) -> Completer:
        return Completer(self.family, self.codec, self.card)

    def _chunk(self) -> int:
        """Items made at once."""
        space = self.codec.space
        size = math.prod(space.shape) if isinstance(space, Reals) else 1
        return max(1, min(CHUNK, NUMBERS // max(size, 1)))

    def _stream(self, seed: int | None) -> torch.Generator:
        return self._rng if seed is None else torch.Generator().manual_seed(whole_seed(seed))

    # -------------------------------------------------------------------------------------------- density

    def surprise(self, items: Any, *, each: bool = False) -> Any:
        """How strange items are: (B,) nats, larger = stranger; with `each`, a mapping part -> (B,).

        A part is a column of a table, a channel of a series, a block of an image. Of texts `each` gives a list for each
        text, of pairs (token, nats). Of families without a likelihood (autoencoder) it is a score of what does not come
        back.
        """
        self.notes = []
        strangeness.require(self.family, self.card["family"]["name"])
        frame = self.codec.read(items)
        if len(frame) == 0:
            raise DataError("There is nothing to score: the data are empty.")
        chunk = self._chunk()
        parts = [frame[start : start + chunk] for start in range(0, len(frame), chunk)]
        nats = torch.cat([strangeness.nats(self.codec, self.family, part, self.encode(part)) for part in parts])
        return strangeness.told(self.codec, frame, nats.numpy(), each)

    def encode(self, items: Any, given: Any = None) -> Batch:
        """Items in the codec's own collection as tensors, with their conditions where the model has any: those they
        come with, or `given`, one row an item. Raises Mismatch where they are not known."""
        batch = self.codec.encode(items)
        if self.conditions is None:
            return batch
        known = given if given is not None else getattr(self.codec, "conditions", lambda _: None)(items)
        return Batch(batch.x, self.conditions.of(known), batch.mask)

    # --------------------------------------------------------------------------------------------- latents

    def embed(self, items: Any) -> np.ndarray:
        """Latent vectors (B, Z) of items. Raises Unsupported where the family has none."""
        z: np.ndarray = self._latent().embed(self.encode(self.codec.read(items))).detach().cpu().numpy()
        return z

    def restore(self, z: np.ndarray, *, given: Any = None, seed: int = 0) -> Any:
        """Items of latent vectors (B, Z), in the type that came in; `given` as in `sample` for conditional models."""
        family = self._latent()
        rng = torch.Generator().manual_seed(whole_seed(seed))
        latent = torch.as_tensor(np.asarray(z), dtype=torch.float32)
        if latent.ndim != 2:
            raise OptionError(f"Latent vectors are (items, variables); an array of {tuple(latent.shape)} was given.")
        if self.conditions is not None:
            batch, frame = self.conditions.draw(len(latent), given, rng)
            items = self.codec.make(family.restore_from(latent, batch), rng=rng)
            attach = getattr(self.codec, "attach", None)
            return self.codec.give(attach(items, frame) if attach else items)
        return self.codec.give(self.codec.make(family.restore_from(latent), rng=rng))

    def _latent(self) -> Latent:
        if not isinstance(self.family, Latent):
            raise Unsupported(
                f"{self.card['family']['name']!r} has no latent vectors. Families that have: vae, autoencoder, flow."
            )
        return self.family

    # --------------------------------------------------------------------------------------------- report

    def report(
        self, holdout: Any = None, *, train: Any = None, n: int | None = None, target: str | None = None,
        listen: Listener | None = None,
    ) -> Report:  # fmt: skip
        """The report card: n made items beside real ones, with a ceiling and a floor.

        Without arguments: the control rows that `fit` set aside, or the report that the file holds. A `holdout` of your
        own must be rows the model never saw; privacy is measured only where the rows learned from are at hand.
        """
        if isinstance(self.codec.space, Tokens):
            raise Unsupported("There is no report card for texts yet: surprise(texts) says how likely unseen ones are.")
        if holdout is None and train is None and self.evidence is None:
            if self.card.get("report"):
                return Report.from_dict(self.card["report"])
            raise NotFitted(
                "This file holds no report and no data. Give rows the model never saw: report(holdout), or "
                "likely report MODEL --holdout new.csv; or call report() before save()."
            )
        learned, fresh = sets(self.codec, self.evidence, holdout, train)
        n = n or (len(learned) if learned is not None else len(fresh))
        n = min(n, MADE) if isinstance(self.codec.space, Reals) else n
        made = self.codec.join(list(self.stream(n, seed=int(self.card["seed"]) + 1)))
        report = compare(
            self.codec, learned, fresh, made, target=target or self.card.get("target"),
            seed=int(self.card["seed"]), listen=listen, about=self._about(),
        )  # fmt: skip
        if holdout is None and train is None:
            # How long it took is no part of the file: same seed, same bytes.
            self.card["report"] = {**report.to_dict(), "seconds": 0.0}
        return report

    def _about(self) -> dict[str, Any]:
        card = self.card
        return {
            "model": card["family"]["name"], "why": card["choice"], "privacy": card["privacy"], "seed": card["seed"],
            "rows learned from": card["rows"], "library": f"likely {card['library']}",
        }  # fmt: skip

    # ------------------------------------------------------------------------------------------- alignment

    def align(  # noqa: PLR0913  (all but the signal have defaults)
        self, signal: Signal, *, method: str | None = None, beta: float | None = None, seed: int = 0,
        minutes: float | None = None, steps: int | None = None, rate: float = 0.0, limit: float = FAR,
        given: Any = None, progress: bool | Listener = True,
        watch: Callable[[int, dict[str, float]], None] | None = None, checkpoint: str | Path | None = None,
        missing: float = 0.0, holdout: Any = None, report: bool = True, **options: Any,
    ) -> Generator:  # fmt: skip
        """A generator whose items earn more: E[reward] - beta KL(it || this one) is climbed; this one stays as it is.

        signal      a function of items that gives a number each (larger is better), or a list of (function, weight);
                    a RewardModel is one. Or `Judgements`: "dpo" learns from their pairs, the others from a reward model
                    on this generator's own steps, or on its items.
        method      "ppo" by default, "grpo", "reinvent", "dpo"; of families that do not say how likely their steps are
                    (trees, vae, gan, autoencoder) "best_of" alone, by default, too.
        beta        the price of leaving the start, a nat: smaller goes further. .05; of judgements and what was
                    learned from them .7, of dpo .1.
        given       what items are asked for while learning: conditions, values of columns, or a list of beginnings.
        limit       nats an item at which the run is ended and the policy brought back.
        rate        of learning, 0 = a fifth of the family's own. `options` are fields of the method's Config.
        missing     taken from the reward of a text that does not end.
        holdout     real items it never saw, for the figures before and after; by default those that `fit` set aside.
                    Where there are any, the report card is measured twice, in seconds; report=False leaves it out.
        What happened is told by `price` of what comes back, print(better.price), better.price.to_html("align.html"),
        and is the last entry of card["alignment"]: reward before and after, KL, figures, a row a step; `watch` sees
        each row as it comes.
        Raises OptionError, DataError, Unsupported, RewardError, TrainingError, StorageError.
        """
        if holdout is not None:
            self.codec.read(holdout)  # what cannot be read is said before the run, not behind it
        with nullcontext(progress) if callable(progress) else bar() if progress else nullcontext() as listen:
            done = align(
                self.codec, self.family, self.conditions, signal, method=method, beta=beta, seed=whole_seed(seed),
                minutes=minutes, steps=steps, rate=rate, limit=limit, given=given, listen=listen, watch=watch,
                checkpoint=checkpoint, missing=missing, options=options,
            )  # fmt: skip
        card = copy.deepcopy(self.card)
        card["alignment"] = [*card.get("alignment", []), done.entry]
        card["report"] = None
        rng = torch.Generator().manual_seed(int(card["seed"]) + 1)
        made = Generator(self.codec, done.family, card, self.evidence, self.conditions, [], rng)
        figures, notes = priced(self, made, done.sides, holdout, report)
        made.notes = [*done.record.notes, *notes]
        done.entry.update(figures=stored(figures), notes=made.notes[:])
        made._examples = tuple(examples(self.codec, side) for side in done.sides)
        return made

    @property
    def price(self) -> Price:
        """What the last alignment won and cost. Raises NotFitted where there was none, ArtifactError."""
        entries = self.card.get("alignment")
        if not entries:
            raise NotFitted("This generator was not aligned: better = gen.align(reward), then better.price.")
        return Price.of(entries[-1], self.card["family"]["name"], *self._examples)

    # ----------------------------------------------------------------------------------------------- file

    def save(self, path: str | Path) -> Path:
        """Write one file, all or nothing; the rows learned from are not in it."""
        path = Path(path)
        given = self.conditions.tensors() if self.conditions else {}
        artifact.write(path, self.card, {**self.family.tensors(), **given})
        return path


def load(path: str | Path) -> Generator:
    """A generator from its file. Raises ArtifactError where the file is no model, damaged or of a newer version."""
    card, tensors = artifact.read(path)
    try:
        codec = registry.get("codec", card["codec"]["name"])().load(card["codec"]["state"])
        cls = registry.get("family", card["family"]["name"])
        config = configure(cls.Config(), card["family"]["config"], card["family"]["name"])
        conditions = Conditions.load(card["given"], tensors) if card.get("given") else None
        own = {name: tensor for name, tensor in tensors.items() if not name.startswith(PREFIX)}
        model = cls(codec.space, conditions.codec.space if conditions else None, config).restore(own).eval()
        int(card["seed"]), int(card["rows"]), str(card["choice"]), str(card["privacy"]), str(card["library"])
        if card.get("report"):
            Report.from_dict(card["report"])
    except LikelyError as error:
        raise error if isinstance(error, ArtifactError) else ArtifactError(f"{str(path)!r}: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError, OverflowError) as error:
        raise ArtifactError(
            f"{str(path)!r} is damaged: its card does not fit together ({str(error)[:100]})."
        ) from error
    return Generator(codec, model, card, None, conditions, [], torch.Generator().manual_seed(int(card["seed"]) + 1))
