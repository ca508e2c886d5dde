"""What a request for text asks for: OpenAI's fields, checked, as one value.

Fields that change nothing here (user, metadata, ...) are passed over; those that would change the answer and are not
served are refused by name, so that nobody takes an answer for what it is not. Beyond OpenAI's: `top_k`, `min_p`,
`repetition_penalty`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from likely.language.decode import Constraint, Sampling, json_schema
from likely.language.decode.sampling import MOST_STOP, MOST_STOPS
from likely.server.fields import Fields
from likely.server.refusal import Refusal
from likely.server.settings import Limits

HARMLESS = (
    "user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention",
    "parallel_tool_calls",
)  # fmt: skip
SPOKEN = ("name", "refusal", "annotations")  # of a message, besides role and content
ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}
MESSAGES, BIASES, ALTERNATIVES = 4096, 1024, 20
Prompt = str | tuple[int, ...]


@dataclass(frozen=True)
class Wish:
    """One request. `prompts`: texts or ids of a completion; `messages`: of a chat, then there are no prompts.

    `most`: new tokens of a text, None = as many as there is room for. `sampling.tokens` means nothing yet. `told`:
    whether log-probabilities are part of the answer. `usage`: whether a stream ends with the counts. `format`: the JSON
    schema that texts must follow.
    """

    model: str
    sampling: Sampling
    n: int = 1
    most: int | None = None
    prompts: tuple[Prompt, ...] = ()
    messages: tuple[Mapping[str, str], ...] = ()
    stream: bool = False
    usage: bool = False
    told: bool = False
    echo: bool = False
    format: str | None = None

    @property
    def samples(self) -> int:
        """Texts that are made."""
        return max(len(self.prompts), 1) * self.n

    def constraint(self) -> Constraint | None:
        """What `format` says, as decoding knows it. Raises MissingExtra, ConstraintError."""
        return None if self.format is None else json_schema(self.format)


def completion(values: Mapping[str, Any], limits: Limits) -> Wish:
    """Of POST /v1/completions. Raises Refusal."""
    fields = Fields(values)
    model, prompts = fields.text("model"), _prompts(fields, limits)
    stream, usage = _stream(fields)
    n = fields.whole("n", 1, 1, limits.samples) or 1
    if (fields.whole("best_of", n, 1, limits.samples) or n) != n:
        raise fields.bad("best_of", "best_of is not served here other than as n", code="unsupported_parameter")
    fields.idle("suffix", "")
    echo = fields.flag("echo")
    most = fields.whole("max_tokens", 16, 0, 2**31)
    if most == 0 and not echo:
        raise fields.bad("max_tokens", "max_tokens is 0: give 1 or more, or echo=true to see the prompt alone")
    top = fields.whole("logprobs", None, 0, ALTERNATIVES)
    sampling = _sampling(fields, top or 0)
    format = _format(fields)
    fields.close(HARMLESS)
    wish = Wish(model, sampling, n, most, prompts, (), stream, usage, top is not None, echo, format)
    _bounded(wish, limits)
    return wish


def chat(values: Mapping[str, Any], limits: Limits) -> Wish:
    """Of POST /v1/chat/completions. Raises Refusal."""
    fields = Fields(values)
    model, messages = fields.text("model"), _messages(fields)
    stream, usage = _stream(fields)
    n = fields.whole("n", 1, 1, limits.samples) or 1
    old = fields.whole("max_tokens", None, 1, 2**31)
    most = fields.whole("max_completion_tokens", old, 1, 2**31)
    told = fields.flag("logprobs")
    top = fields.whole("top_logprobs", 0, 0, ALTERNATIVES) or 0
    if top and not told:
        raise fields.bad("top_logprobs", "top_logprobs is given without logprobs=true")
    sampling = _sampling(fields, top)
    format = _format(fields)
    fields.idle("tools", [])
    fields.idle("tool_choice", "none", "auto")
    fields.idle("functions", [])
    fields.idle("function_call", "none", "auto")
    fields.idle("modalities", ["text"])
    for name in ("audio", "prediction", "reasoning_effort", "verbosity", "web_search_options"):
        fields.idle(name)
    fields.close(HARMLESS)
    wish = Wish(model, sampling, n, most, (), messages, stream, usage, told, False, format)
    _bounded(wish, limits)
    return wish


def _bounded(wish: Wish, limits: Limits) -> None:
    """Whatever the prompts turn out to be: so many texts are not made for one request."""
    if wish.samples > limits.samples:
        raise Refusal(
            400, f"{len(wish.prompts):,} prompts x n={wish.n} are {wish.samples:,} texts; at most {limits.samples:,} "
            "a request.", param="n", code="too_many_samples",
        )  # fmt: skip


def _stream(fields: Fields) -> tuple[bool, bool]:
    stream, options = fields.flag("stream"), fields.object("stream_options")
    if options is None:
        return stream, False
    if not stream:
        raise fields.bad("stream_options", "stream_options is given without stream=true")
    usage = options.flag("include_usage")
    options.flag("include_obfuscation")
    options.close()
    return stream, usage


def _prompts(fields: Fields, limits: Limits) -> tuple[Prompt, ...]:
    value = fields.need("prompt")
    if isinstance(value, str):
        return (value,)
    wanted = "prompt: give a string, a list of strings, a list of token ids, or a list of such lists"
    if not isinstance(value, list) or not value:
        raise fields.bad("prompt", wanted, value)
    if _ids(value):
        return (_bounded_ids(fields, value, limits),)
    if len(value) > limits.samples:
        raise fields.bad("prompt", f"prompt: {len(value):,} prompts; at most {limits.samples:,} a request")
    if all(isinstance(one, str) for one in value):
        return tuple(value)
    if not all(isinstance(one, list) and one and _ids(one) for one in value):
        raise fields.bad("prompt", wanted, value)
    return tuple(_bounded_ids(fields, one, limits) for one in value)


def _ids(value: list[Any]) -> bool:
    return all(type(one) is int for one in value)


def _bounded_ids(fields: Fields, ids: list[int], limits: Limits) -> tuple[int, ...]:
    if len(ids) > limits.prompt or min(ids) < 0 or max(ids) >= 2**31:
        raise fields.bad("prompt", f"prompt: give at most {limits.prompt:,} token ids, none below 0")
    return tuple(ids)


def _messages(fields: Fields) -> tuple[Mapping[str, str], ...]:
    fields.need("messages")
    values = fields.list("messages", MESSAGES) or []
    if not values:
        raise fields.bad("messages", 'messages: give at least one, as {"role": "user", "content": "Hello"}')
    return tuple(_message(fields, value, f"messages[{place}]") for place, value in enumerate(values))


def _message(above: Fields, value: Any, name: str) -> Mapping[str, str]:
    if not isinstance(value, dict):
        raise above.bad(name, f'{name}: give an object, as {{"role": "user", "content": "Hello"}}', value)
    fields = Fields(value, name)
    role = fields.choice("role", tuple(ROLES))
    fields.idle("tool_calls", [])
    fields.idle("function_call")
    fields.idle("audio")
    content = fields.get("content")
    if content is None and role != "assistant":
        raise fields.bad("content", f"{name}.content is missing", code="missing_required_parameter")
    fields.close(SPOKEN)
    return {"role": ROLES[role], "content": _content(fields, content)}


def _content(fields: Fields, content: Any) -> str:
    """A string, or the texts of its parts."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise fields.bad("content", f"{fields.inside}content: give a string, or a list of parts", content)
    texts = []
    for part in content:
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise fields.bad("content", f"{fields.inside}content: parts are {{'type': 'text', 'text': ...}} here")
        texts.append(part["text"])
    return "".join(texts)


def _sampling(fields: Fields, top: int) -> Sampling:
    seed = fields.whole("seed", None, -(2**63), 2**64 - 1)
    return Sampling(
        temperature=fields.number("temperature", 1.0, 0.0, 2.0),
        top_p=_share(fields),
        top_k=fields.whole("top_k", 0, 0, 2**31) or 0,
        min_p=fields.number("min_p", 0.0, 0.0, 1.0 - 1e-9),
        repetition=fields.number("repetition_penalty", 1.0, 0.01, 10.0),
        presence=fields.number("presence_penalty", 0.0, -2.0, 2.0),
        frequency=fields.number("frequency_penalty", 0.0, -2.0, 2.0),
        bias=_bias(fields),
        stop=_stop(fields),
        seed=None if seed is None else seed % 2**64,
        logprobs=top,
    )


def _share(fields: Fields) -> float:
    # 0 means the likeliest token alone to most clients; decoding asks for a share above 0.
    return max(fields.number("top_p", 1.0, 0.0, 1.0), 1e-9)


def _stop(fields: Fields) -> tuple[str, ...]:
    value = fields.get("stop")
    texts = [value] if isinstance(value, str) else value if isinstance(value, list) else None
    if value is None:
        return ()
    if texts is None or not all(isinstance(text, str) and 0 < len(text) <= MOST_STOP for text in texts):
        raise fields.bad("stop", f"stop: give a string of 1 to {MOST_STOP} characters, or a list of them", value)
    if len(texts) > MOST_STOPS:
        raise fields.bad("stop", f"stop: {len(texts)} strings; at most {MOST_STOPS}")
    return tuple(texts)


def _bias(fields: Fields) -> dict[int, float]:
    value = fields.get("logit_bias")
    if value is None:
        return {}
    wanted = 'logit_bias: give {"token id": a number from -100 to 100}'
    if not isinstance(value, dict) or len(value) > BIASES:
        raise fields.bad("logit_bias", f"{wanted}, at most {BIASES:,} of them", value)
    found = {}
    for token, weight in value.items():
        good = token.isascii() and token.isdigit() and len(token) <= 9
        if not good or isinstance(weight, bool) or not isinstance(weight, int | float) or not -100 <= weight <= 100:
            raise fields.bad("logit_bias", f"{wanted}; {token[:20]!r} is none")
        found[int(token)] = float(weight)
    return found


def _format(fields: Fields) -> str | None:
    """The JSON schema, as text, that response_format asks for."""
    format = fields.object("response_format")
    if format is None:
        return None
    kind = format.choice("type", ("text", "json_object", "json_schema"))
    described = format.object("json_schema") if kind == "json_schema" else None
    format.close()
    if kind == "text":
        return None
    if kind == "json_object":
        return json.dumps({"type": "object"})
    if described is None:
        raise format.bad("json_schema", "response_format.json_schema is missing", code="missing_required_parameter")
    described.text("name", "", most=64)
    described.text("description", "", most=10_000)
    described.flag("strict")
    schema = described.need("schema")
    described.close()
    if not isinstance(schema, dict):
        raise described.bad("schema", "response_format.json_schema.schema: give a JSON schema, an object", schema)
    return json.dumps(schema)
