"""Bits a token, for any checkpoint."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import AddedToken, Tokenizer

import likely.language.tokenizer as language
from likely.apps.label import surprise
from likely.apps.label.surprise import beginning
from likely.errors import DataError, OptionError
from likely.language import huggingface
from likely.language.checkpoint import load
from tests.apps.texts import shallow, toy
from tests.language import decode_toys
from tests.language.test_gguf import llama, write
from tests.language.toys import settle


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


def test_a_model_of_conversations_reads_plain_text_after_what_separates_texts() -> None:
    plain = toy()
    made = Tokenizer.from_str(plain.tokenizer.json())
    made.add_special_tokens([AddedToken("<|endoftext|>", special=True)])
    tokenizer = language.Tokenizer(made.to_str())
    separator = tokenizer.id("<|endoftext|>")
    network = decode_toys.network(seed=3, context=96, vocab=tokenizer.size)
    talker = replace(plain, network=network, tokenizer=tokenizer, bos=min(plain.ends), begins=False)
    assert beginning(talker) == separator
    assert beginning(replace(talker, begins=True)) == talker.bos  # it says that texts begin with it
    assert beginning(toy()) == min(toy().ends)


@pytest.mark.parametrize("form", ["folder", "gguf"])
def test_a_path_is_a_checkpoint_and_the_bits_are_those_of_its_whole_probability(form: str, tmp_path: Path) -> None:
    text = "the cat and the dog, 12 of them"
    if form == "folder":
        path = tmp_path / "model"
        huggingface.save(toy(), path)
    else:
        path = tmp_path / "model.gguf"
        write(path, settle(llama()), "Q8_0")
    checkpoint = load(path)
    ids = [beginning(checkpoint), *checkpoint.tokenizer.encode(text)]
    p = 1.0
    with torch.no_grad():  # one token after another, each from scratch
        for at in range(1, len(ids)):
            logits = checkpoint.network.logits(checkpoint.network(torch.tensor([ids[:at]])))[0, -1]
            p *= float(logits.double().softmax(-1)[ids[at]])
    [tokens] = surprise(checkpoint, [text], each=True)
    assert sum(token.bits for token in tokens) == pytest.approx(-math.log2(p), rel=1e-4)
    [tokens] = surprise(path, [text], each=True)  # by its path: in bfloat16 where the machine has it
    assert sum(token.bits for token in tokens) == pytest.approx(-math.log2(p), rel=0.05)


def test_the_packaged_model_expects_english() -> None:
    right, wrong = "The capital of France is Paris.", "The capital of France is soup."
    usual, strange = surprise("smollm2", [right, wrong], each=True)
    assert [token.text for token in usual[-2:]] == [" Paris", "."]
    assert [a.bits for a in usual[:-2]] == pytest.approx([b.bits for b in strange[:-2]], rel=0.05, abs=0.2)
    assert usual[-2].bits < 2 < 8 < strange[-2].bits


def test_bad_texts() -> None:
    with pytest.raises(DataError, match="Text 2 is empty"):
        surprise(toy(), ["a", ""])
    with pytest.raises(OptionError, match="list of texts"):
        surprise(toy(), "a")
    assert len(surprise(toy(), [])) == 0
