"""The life of a request for text: read, checked, a place in the queue, ids, then token by token to the client.

Whatever ends it early (the client leaves, its time is up, the server ends) stops the ticket; the texts are then given
up within a token.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from likely.language.decode import Piece
from likely.server import wish as wishes
from likely.server.exchange import Exchange
from likely.server.refusal import Refusal
from likely.server.reply import Prompt, Reply
from likely.server.score import score
from likely.server.service import Service
from likely.server.settings import Limits
from likely.server.shelf import Language
from likely.server.ticket import Ticket
from likely.server.wish import Wish

PATIENCE = 15.0  # seconds between signs of life in a stream that has nothing to say yet


async def completions(service: Service, exchange: Exchange) -> None:
    """POST /v1/completions."""
    await _speak(service, exchange, wishes.completion)


async def chats(service: Service, exchange: Exchange) -> None:
    """POST /v1/chat/completions."""
    await _speak(service, exchange, wishes.chat)


async def _speak(service: Service, exchange: Exchange, read: Callable[[Mapping[str, Any], Limits], Wish]) -> None:
    wish = read(await service.values(exchange), service.limits)
    model = service.shelf.language(wish.model)
    ticket = model.worker.reserve(wish.samples)
    async with service.watched(ticket, exchange):
        try:
            prompts = await service.aside(lambda: _prepare(model, ticket, wish, service.limits))
        except Exception as error:
            ticket.stop("failed", error)
            raise
        if wish.echo and wish.told:
            prompts = [await _scored(model, ticket, ids, wish.sampling.logprobs) for ids, *_ in prompts]
        service.metrics.count("tokens_total", sum(len(one.ids) for one in prompts), model=model.name, kind="read")
        reply = Reply(
            wish.model, model.engine.checkpoint.tokenizer, prompts, n=wish.n, chat=bool(wish.messages),
            told=wish.told, top=wish.sampling.logprobs, echo=wish.echo, usage=wish.usage,
        )  # fmt: skip
        talk = _Talk(service, exchange, ticket)
        await (talk.stream(reply, wish.usage) if wish.stream else talk.whole(reply, wish.samples))


def _prepare(model: Language, ticket: Ticket, wish: Wish, limits: Limits) -> list[Prompt]:
    """In a thread of its own: ids of the prompts, and the request for their continuations."""
    worker, checkpoint = model.worker, model.engine.checkpoint
    try:
        if ticket.stopped:
            return []
        param = "messages" if wish.messages else "prompt"
        if wish.messages:
            if checkpoint.template is None:
                raise Refusal(
                    400, f"{wish.model!r} has no chat template: use /v1/completions.", param="model", code="wrong_kind"
                )
            all_ids = [tuple(checkpoint.chat(wish.messages))]
        else:
            all_ids = [tuple(checkpoint.encode(one)) if isinstance(one, str) else one for one in wish.prompts]
        if sum(map(len, all_ids)) > limits.prompt:
            raise Refusal(
                400, f"The prompts have {sum(map(len, all_ids)):,} tokens; at most {limits.prompt:,} a request.",
                param=param, code="too_many_tokens",
            )  # fmt: skip
        most = [_most(len(ids), model, wish, limits, param) for ids in all_ids]
        if sum(most) * wish.n > limits.tokens:
            raise Refusal(
                400, f"Prompts x n x max_tokens are {sum(most) * wish.n:,} new tokens; at most {limits.tokens:,} a "
                "request.", param="max_tokens", code="too_many_tokens",
            )  # fmt: skip
        constraint = wish.constraint()
        if wish.most == 0:
            ticket.left = 0
        else:
            wanted = [replace(wish.sampling, tokens=tokens, constraint=constraint) for tokens in most]
            worker.submit(ticket, all_ids, wanted, wish.n)
        words = checkpoint.tokenizer
        return [Prompt(ids, words.decode(ids, special=True) if wish.echo else "") for ids in all_ids]
    finally:
        worker.release(wish.samples - len(ticket.requests) * wish.n)


def _most(length: int, model: Language, wish: Wish, limits: Limits, param: str) -> int:
    """New tokens of one text after a prompt of so many tokens."""
    room = model.context - length
    if room < 1:
        raise Refusal(
            400, f"The prompt has {length:,} tokens; the context of {wish.model!r} is {model.context:,}, one of them "
            f"for the answer: {1 - room:,} too many. Shorten it, or leave out its oldest part.",
            param=param, code="context_length_exceeded",
        )  # fmt: skip
    if not length:
        raise Refusal(400, "The prompt is empty: give at least one token.", param=param)
    return min(room, max(1, limits.tokens // wish.samples)) if wish.most is None else min(room, wish.most)


async def _scored(model: Language, ticket: Ticket, ids: tuple[int, ...], top: int) -> Prompt:
    ticket.look()
    return await asyncio.wrap_future(model.worker.score(lambda: score(model.engine, ids, top)))


class _Talk:
    """From the pieces of a ticket to the answer."""

    def __init__(self, service: Service, exchange: Exchange, ticket: Ticket) -> None:
        self.service, self.exchange, self.ticket = service, exchange, ticket
        self.begun = False

    async def whole(self, reply: Reply, texts: int) -> None:
        """One answer when all is done."""
        found: list[list[Piece]] = [[] for _ in range(texts)]
        while pieces := await self._pieces():
            for piece in pieces:
                found[self.ticket.index(piece)].append(piece)
        await self.exchange.json(reply.whole(found))

    async def stream(self, reply: Reply, usage: bool) -> None:
        """Events as tokens come; a comment where there are none for a while, so that nobody in between hangs up."""
        await self.exchange.start("text/event-stream; charset=utf-8", headers=[(b"x-accel-buffering", b"no")])
        await self._write(reply.opening())
        while self.ticket.left or self.ticket.unread:
            pieces = await self._pieces(PATIENCE)
            if not pieces:
                await self.exchange.write(b": waiting\n\n")
                continue
            by_text: dict[int, list[Piece]] = {}
            for piece in pieces:
                by_text.setdefault(self.ticket.index(piece), []).append(piece)
            chunks = [reply.chunk(index, some) for index, some in by_text.items()]
            await self._write([chunk for chunk in chunks if chunk is not None])
        await self._write([reply.closing()] if usage else [])
        await self.exchange.write(b"data: [DONE]\n\n", more=False)

    async def _pieces(self, patience: float | None = None) -> list[Piece]:
        pieces = await self.ticket.pieces(patience)
        if pieces and not self.begun:
            self.begun = True
            self.service.metrics.took("first_token_seconds", time.monotonic() - self.exchange.began)
        return pieces

    async def _write(self, chunks: Sequence[dict[str, Any]]) -> None:
        if chunks:
            texts = [f"data: {json.dumps(chunk, ensure_ascii=False)}\n\n" for chunk in chunks]
            await self.exchange.write("".join(texts).encode("utf-8", "replace"))
