"""Bits a token, for any checkpoint."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from likely.apps.label import surprise
from likely.errors import DataError, OptionError
from tests.apps.texts import shallow, toy
from tests.language import decode_toys


@pytest.mark.parametrize("kind", decode_toys.KINDS)
def test_bits_are_those_of_the_network(kind: str) -> None:
    checkpoint = decode_toys.checkpoint(**decode_toys.KINDS[kind])
    text = "the cat and 12 dogs: café"
    end = min(checkpoint.ends)
    ids = [end, *checkpoint.tokenizer.encode(text)]
    with torch.no_grad():
        logp = checkpoint.network.logits(checkpoint.network(torch.tensor([ids[:-1]])))[0].log_softmax(-1)
    wanted = [-float(logp[at - 1, ids[at]]) / math.log(2) for at in range(1, len(ids))]
    [found] = surprise(checkpoint, [text], each=True)
    assert [token.bits for token in found] == pytest.approx(wanted, abs=1e-4)
    assert "".join(token.text for token in found) == text
    assert surprise(checkpoint, [text, "a"])[0] == pytest.approx(sum(wanted) / len(wanted), abs=1e-4)


def test_a_text_longer_than_the_context_has_a_value_for_every_token() -> None:
    checkpoint = shallow()
    text = "the and " * 60
    short, long = surprise(checkpoint, [text[:39], text], each=True)
    assert len(long) == len(checkpoint.tokenizer.encode(text)) > 96
    assert all(token.bits > 0 for token in long)
    assert [token.bits for token in long[: len(short)]] == pytest.approx([token.bits for token in short], abs=1e-3)
    ids = [min(checkpoint.ends), *checkpoint.tokenizer.encode(text)]
    with torch.no_grad():  # the last token, after the context that it had
        logp = checkpoint.network.logits(checkpoint.network(torch.tensor([ids[-96:]])))[0].log_softmax(-1)
    assert long[-1].bits == pytest.approx(-float(logp[-2, ids[-1]]) / math.log(2), abs=1e-3)


def test_a_model_with_a_token_that_begins_texts() -> None:
    checkpoint = replace(toy(), bos=5, begins=True)
    with torch.no_grad():
        logp = checkpoint.network.logits(checkpoint.network(torch.tensor([[5]])))[0, -1].log_softmax(-1)
    [id] = checkpoint.tokenizer.encode("a")
    assert surprise(checkpoint, ["a"])[0] == pytest.approx(-float(logp[id]) / math.log(2), abs=1e-4)


def test_bad_texts() -> None:
    with pytest.raises(DataError, match="Text 2 is empty"):
        surprise(toy(), ["a", ""])
    with pytest.raises(OptionError, match="list of texts"):
        surprise(toy(), "a")
    assert len(surprise(toy(), [])) == 0
