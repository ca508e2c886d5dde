"""T5 folders: the same logits as transformers, in and out."""

from dataclasses import replace

import pytest
import torch
import transformers

from likely.errors import Mismatch, Unsupported
from likely.language import huggingface
from likely.language.huggingface import t5
from likely.nn.encoder_decoder import EncoderDecoder
from tests.language.toys import byte_level, folder, settle

SMALL = dict(vocab_size=330, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_decoder_layers=3, num_heads=4,
             relative_attention_num_buckets=8, relative_attention_max_distance=20,
             decoder_start_token_id=0)  # fmt: skip
CONFIGS = {
    "t5": transformers.T5Config(**SMALL),
    "t5 1.1": transformers.T5Config(**SMALL, feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    "silu": transformers.T5Config(**SMALL, feed_forward_proj="gated-silu"),
}


def batch():
    noise = torch.Generator().manual_seed(0)
    source, seen = torch.randint(0, 330, (3, 40), generator=noise), torch.ones(3, 40, dtype=torch.bool)
    seen[1, 25:], seen[2, :12] = False, False
    return source, seen, torch.randint(0, 330, (3, 30), generator=noise)


def theirs(model, source, seen, target):
    with torch.no_grad():
        return model(input_ids=source, attention_mask=seen.long(), decoder_input_ids=target).logits


def ours(network, source, seen, target):
    with torch.no_grad():
        return network.logits(network(source, target, seen=seen))


@pytest.mark.parametrize("name", CONFIGS)
def test_logits_are_those_of_transformers_in_and_out(tmp_path, name):
    model = settle(transformers.T5ForConditionalGeneration(CONFIGS[name]))
    checkpoint = t5.load(folder(tmp_path / "in", model))
    want = theirs(model, *batch())
    got = ours(checkpoint.network, *batch())
    assert want.std() > 0.2
    assert (got - want).abs().max() < 1e-4
    assert (checkpoint.start, checkpoint.ends) == (0, {1})
    t5.save(checkpoint, tmp_path / "out", shard=20_000)
    again = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out")
    assert (theirs(again, *batch()) - want).abs().max() < 1e-4
    back = t5.load(tmp_path / "out")
    assert back.network.arch == checkpoint.network.arch
    assert torch.equal(ours(back.network, *batch()), got)


def test_a_head_of_its_own(tmp_path):
    model = transformers.T5ForConditionalGeneration(CONFIGS["t5 1.1"])
    checkpoint = t5.load(folder(tmp_path / "in", model))
    arch = replace(checkpoint.network.arch, tied=False)
    network = settle(EncoderDecoder(arch))
    t5.save(replace(checkpoint, network=network), tmp_path / "out")
    again = transformers.AutoModelForSeq2SeqLM.from_pretrained(tmp_path / "out")
    assert (ours(network, *batch()) - theirs(again, *batch())).abs().max() < 1e-4
    assert t5.load(tmp_path / "out").network.arch == arch
    with pytest.raises(Unsupported, match="artifact"):
        t5.save(replace(checkpoint, network=EncoderDecoder(replace(arch, shrink=True))), tmp_path / "not")
    assert not (tmp_path / "not").exists()


def test_what_is_no_t5_and_what_is(tmp_path):
    path = folder(tmp_path / "a", settle(transformers.T5ForConditionalGeneration(CONFIGS["t5"])))
    with pytest.raises(Unsupported, match=r"t5\.load"):
        huggingface.load(path)
    (path / "tokenizer.json").write_text(byte_level(340))
    with pytest.raises(Mismatch, match="different models"):
        t5.load(path)
    gpt2 = transformers.GPT2Config(vocab_size=330, n_positions=8, n_embd=8, n_layer=1, n_head=1)
    path = folder(tmp_path / "b", transformers.GPT2LMHeadModel(gpt2))
    with pytest.raises(Unsupported, match=r"gpt2.*known: t5"):
        t5.load(path)
