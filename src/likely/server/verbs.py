"""Our own verbs as routes: POST /v1/likely/sample, fill, surprise, for any artifact; surprise for language models too.

    {"model": "patients", "n": 100, "given": {"sex": "F", "age": {"low": 60, "high": 80}}, "seed": 0}
    {"model": "patients", "items": [{"sex": "F", "age": null}], "seed": 0}
    {"model": "patients", "items": [{"sex": "F", "age": 61}], "each": true}

Names and rules are those of `likely.Generator`. The same seed gives the same items as in Python.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

from likely.core import Cells, Reals
from likely.generator import Generator
from likely.server.desk import Desk, Order
from likely.server.exchange import Exchange
from likely.server.fields import Fields
from likely.server.items import given, hear, plain, tell
from likely.server.refusal import Refusal
from likely.server.score import score
from likely.server.service import Service
from likely.server.shelf import Language

Look = Callable[[], None]


async def sample(service: Service, exchange: Exchange) -> None:
    """POST /v1/likely/sample: more like what was learned."""
    fields = Fields(await service.values(exchange))
    desk = _desk(service, fields)
    n = fields.whole("n", 1, 1, service.limits.items) or 1
    wish, seed = given(fields.get("given")), fields.whole("seed", None, 0, 2**63 - 1)
    temperature = fields.number("temperature", 1.0, 0.05, 20.0)
    fields.close()
    size = _size(desk.generator)
    if n * size > service.limits.numbers:
        raise fields.bad("n", f"n={n} items of {size:,} values; at most {service.limits.numbers // size:,} a request")
    if isinstance(wish, list) and len(wish) != n:
        raise fields.bad("given", f"given: {len(wish):,} conditions for n={n} items")

    def work(gen: Generator, look: Look) -> dict[str, Any]:
        found: list[Any] = []
        for part in gen.stream(n, given=wish or None, temperature=temperature, seed=seed):
            look()
            found += tell(gen, part)
        return {"items": found, "notes": list(gen.notes)}

    await _answer(service, exchange, desk, "likely.sample", work)


async def fill(service: Service, exchange: Exchange) -> None:
    """POST /v1/likely/fill: complete what is null or left out."""
    fields = Fields(await service.values(exchange))
    desk, items = _desk(service, fields), _items(service, fields)
    seed = fields.whole("seed", None, 0, 2**63 - 1)
    fields.close()

    def work(gen: Generator, look: Look) -> dict[str, Any]:
        found = gen.codec.read(gen.fill(hear(gen, items), seed=seed))
        return {"items": tell(gen, found), "notes": list(gen.notes)}

    await _answer(service, exchange, desk, "likely.fill", work)


async def surprise(service: Service, exchange: Exchange) -> None:
    """POST /v1/likely/surprise: how strange items are, in nats, larger = stranger."""
    fields = Fields(await service.values(exchange))
    model, items, each = service.shelf.get(fields.text("model")), _items(service, fields), fields.flag("each")
    fields.close()
    if isinstance(model, Language):
        await _read(service, exchange, model, items, each)
        return

    def work(gen: Generator, look: Look) -> dict[str, Any]:
        found = gen.surprise(hear(gen, items), each=each)
        if not each:
            return {"surprise": plain(found), "notes": list(gen.notes)}
        total = sum(found.values())
        return {
            "surprise": plain(total),
            "each": {name: plain(nats) for name, nats in found.items()},
            "notes": list(gen.notes),
        }

    await _answer(service, exchange, model, "likely.surprise", work)


async def _answer(
    service: Service, exchange: Exchange, desk: Desk, kind: str, work: Callable[[Generator, Look], dict[str, Any]]
) -> None:
    order = Order()
    async with service.watched(order, exchange):
        found = await desk.run(order, work)
    await exchange.json({"object": kind, "model": desk.name, **found})


async def _read(service: Service, exchange: Exchange, model: Language, items: list[Any], each: bool) -> None:
    """Texts read by a language model: the nats of each text, and of each token."""
    checkpoint, order, totals, told = model.engine.checkpoint, Order(), [], []
    if not all(isinstance(item, str) for item in items):
        raise Refusal(400, "items: texts are wanted.", param="items")
    async with service.watched(order, exchange):
        for place, item in enumerate(items):
            order.refuse()
            ids = await service.aside(lambda item=item: tuple(checkpoint.encode(item)))  # type: ignore[misc]
            if len(ids) > model.context:
                raise Refusal(
                    400, f"items[{place}] has {len(ids):,} tokens; the context of {model.name!r} is {model.context:,}: "
                    "cut it into parts.", param="items", code="context_length_exceeded",
                )  # fmt: skip
            read = await asyncio.wrap_future(model.worker.score(lambda ids=ids: score(model.engine, ids)))  # type: ignore[misc]
            nats = [0.0 if value is None else -value for value in read.logprobs[: len(ids)]]
            totals.append(math.fsum(nats))
            words = checkpoint.tokenizer
            told.append([
                {"token": words.bytes(id, special=True).decode("utf-8", "replace"), "surprise": value}
                for id, value in zip(ids, nats, strict=True)
            ])  # fmt: skip
    found = {"surprise": totals, **({"each": told} if each else {})}
    await exchange.json({"object": "likely.surprise", "model": model.name, **found})


def _desk(service: Service, fields: Fields) -> Desk:
    model = service.shelf.get(fields.text("model"))
    if not isinstance(model, Desk):
        raise Refusal(
            400, f"{model.name!r} is a language model: use /v1/chat/completions or /v1/completions.", param="model",
            code="wrong_kind",
        )  # fmt: skip
    return model


def _items(service: Service, fields: Fields) -> list[Any]:
    fields.need("items")
    items = fields.list("items", service.limits.items) or []
    if not items:
        raise fields.bad("items", "items: give at least one")
    return items


def _size(gen: Generator) -> int:
    """Values of one item."""
    space = gen.codec.space
    if isinstance(space, Reals):
        return math.prod(space.shape)
    return max(1, len(space.sizes)) if isinstance(space, Cells) else space.length
