"""Conversations, with a small model of random weights."""

from __future__ import annotations

from dataclasses import replace

import pytest

from likely.apps.chat import Conversation
from likely.errors import DataError, OptionError
from likely.language.checkpoint import Checkpoint
from likely.language.decode import Engine, Sampling
from likely.language.template import Template
from tests.language import decode_toys

TEMPLATE = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}[assistant] {% endif %}"  # noqa: E501
SAMPLING = Sampling(tokens=12, temperature=0.8, seed=5)


def checkpoint(context: int = 256) -> Checkpoint:
    return replace(decode_toys.checkpoint(seed=2, context=context), template=Template(TEMPLATE))


class Watched(Engine):
    """Keeps the prompts it was given."""

    def stream(self, prompt, sampling=None):  # type: ignore[no-untyped-def]
        self.prompts = [*getattr(self, "prompts", []), self.checkpoint.tokenizer.decode(prompt)]
        return super().stream(prompt, sampling)


@pytest.fixture
def engine() -> Watched:
    return Watched(checkpoint(), kernel="plain")


def test_messages_alternate_and_the_system_comes_first(engine: Watched) -> None:
    talk = Conversation(engine, system="Be kind.", sampling=SAMPLING)
    first = talk.say("Hello")
    talk.say("And now?")
    roles = [message["role"] for message in talk.messages]
    assert roles == ["user", "assistant"] * 2 or roles[:1] == ["user"]
    assert engine.prompts[0] == "[system] Be kind.\n[user] Hello\n[assistant] "
    assert engine.prompts[1] == f"[system] Be kind.\n[user] Hello\n[assistant] {first}\n[user] And now?\n[assistant] "
    assert talk.spoken is not None
    assert 1 <= talk.spoken.tokens <= 12
    assert talk.spoken.reason in ("end", "length")


def test_the_same_seed_says_the_same_and_a_retry_something_else(engine: Watched) -> None:
    talks = [Conversation(engine, sampling=SAMPLING) for _ in range(2)]
    said = [talk.say("Tell me") for talk in talks]
    assert said[0] == talks[1].messages[1]["content"]
    talk = talks[0]
    said = talk.messages[1]["content"]
    assert talk.retry() == "Tell me"
    assert talk.messages == []
    assert talk.say("Tell me") != said
    talk.clear()
    assert talk.retry() is None


def test_history_is_cut_between_exchanges_and_never_within() -> None:
    engine = Watched(checkpoint(context=160), kernel="plain")
    talk = Conversation(engine, system="Stay.", sampling=SAMPLING)
    forgotten = []
    for number in range(8):
        talk.say(f"Question number {number}")
        assert talk.spoken is not None
        forgotten.append(talk.spoken.forgotten)
    assert forgotten[0] == 0
    assert forgotten[-1] > 0
    assert len(talk.messages) >= 15  # what is left out of the prompt is not lost
    for prompt in engine.prompts:
        assert prompt.startswith("[system] Stay.\n[user] Question number ")
        assert len(engine.checkpoint.tokenizer.encode(prompt)) <= 160 - 12


def test_a_message_that_never_fits_is_refused_with_figures(engine: Watched) -> None:
    talk = Conversation(engine, sampling=SAMPLING)
    with pytest.raises(OptionError, match=r"the context is 256 .* too many"):
        talk.say("x" * 400)
    with pytest.raises(DataError, match="empty"):
        talk.say(" \n")
    assert talk.messages == []
    talk.say("x")
    assert len(talk.messages) >= 1


def test_an_answer_that_is_stopped_is_kept(engine: Watched) -> None:
    talk = Conversation(engine, sampling=replace(SAMPLING, ends=False))
    pieces = talk.stream("Go on")
    said = [next(pieces).text for _ in range(5)]
    pieces.close()
    assert talk.spoken is not None
    assert talk.spoken.reason == "cancelled"
    assert talk.spoken.tokens == 5
    assert talk.messages[-1]["content"] == "".join(said).strip() or len(talk.messages) == 0
    talk.say("More")


def test_control_tokens_in_a_message_stay_text(engine: Watched) -> None:
    talk = Conversation(engine, sampling=SAMPLING)
    talk.say(f"One {decode_toys.END} two")
    ids = engine.checkpoint.chat([{"role": "user", "content": f"One {decode_toys.END} two"}])
    assert not engine.checkpoint.ends & set(ids)
    assert decode_toys.END in engine.prompts[0]


def test_a_model_without_a_template_talks_by_turns() -> None:
    engine = Watched(decode_toys.checkpoint(seed=2, context=256), kernel="plain")
    talk = Conversation(engine, system="Be kind.", sampling=SAMPLING)
    talk.say("Hello")
    assert engine.prompts[0] == "Be kind.\n\nUser: Hello\n\nAssistant:"
    assert "\nUser:" in talk.sampling.stop
