"""GGUF files: the reference's numbers bit for bit, the logits of the model they came from, and nothing believed."""

import random
import struct
from dataclasses import replace
from itertools import pairwise

import gguf
import numpy as np
import pytest
import torch
import transformers

from likely.errors import ArtifactError, LikelyError, Unsupported
from likely.language import gguf as ours
from likely.language.gguf.dequantize import KINDS, dequantize
from likely.language.gguf.vocabulary import PRE
from tests.language.toys import byte_level, sentencepiece, settle

SMALL = dict(vocab_size=330, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=64)  # fmt: skip
LAYER = {
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "ln_1": "attn_norm", "ln_2": "ffn_norm",
    "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down",
}  # fmt: skip
TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
       "transformer.wte": "token_embd", "transformer.wpe": "position_embd",
       "transformer.ln_f": "output_norm"}  # fmt: skip


def tensors(model):
    """The weights of a model of transformers as a GGUF file has them."""
    kind, config = model.config.model_type, model.config
    for name, weight in model.state_dict().items():
        path, _, end = name.rpartition(".")
        if path == "lm_head" and config.tie_word_embeddings:
            continue
        array = weight.float().numpy()
        if path in TOP:
            yield f"{TOP[path]}.{end}", array
            continue
        layer, part = path.split(".", 3)[2:]
        if kind == "gpt2" and array.ndim == 2:
            array = array.T
        if kind == "llama" and part in ("self_attn.q_proj", "self_attn.k_proj"):
            heads = config.num_attention_heads if "q_" in part else config.num_key_value_heads
            array = array.reshape(heads, 2, -1, *array.shape[1:]).swapaxes(1, 2).reshape(array.shape)
        yield f"blk.{layer}.{LAYER[part]}.{end}", np.ascontiguousarray(array)


def write(path, model, kind="F32", **more):
    """A GGUF file of a model, its matrices quantised."""
    config, name = model.config, model.config.model_type
    writer = gguf.GGUFWriter(path, name)
    writer.add_name("toy")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(getattr(config, "intermediate_size", None) or 4 * config.hidden_size)
    writer.add_head_count(config.num_attention_heads)
    if name == "gpt2":
        writer.add_layer_norm_eps(config.layer_norm_epsilon)
    else:
        writer.add_head_count_kv(config.num_key_value_heads)
        writer.add_layer_norm_rms_eps(config.rms_norm_eps)
        writer.add_key_length(config.head_dim if hasattr(config, "head_dim") else 8)
        writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    vocabulary(writer)
    for key, value in more.items():
        add(writer, key.replace("__", "."), value)
    for tensor, array in tensors(model):
        to = gguf.GGMLQuantizationType[kind if array.ndim == 2 and array.shape[-1] % 32 == 0 else "F32"]
        writer.add_tensor(tensor, gguf.quantize(array, to), raw_dtype=to)
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "llama3":
        turning = model.model.rotary_emb.inv_freq
        plain = 1 / rope["rope_theta"] ** (torch.arange(0, 2 * len(turning), 2) / (2 * len(turning)))
        writer.add_tensor("rope_freqs.weight", (plain / turning).numpy().astype(np.float32))
    finish(writer)
    return path


def vocabulary(writer, pre="gpt-2"):
    import json

    described = json.loads(byte_level())
    tokens = sorted(described["model"]["vocab"], key=described["model"]["vocab"].get)
    tokens += [token["content"] for token in described["added_tokens"] if token["content"] not in tokens]
    types = [1] * len(tokens)
    for token in described["added_tokens"]:
        types[token["id"]] = 3 if token["special"] else 4
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(merge) for merge in described["model"]["merges"]])
    writer.add_eos_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_chat_template("{{ bos_token }}{% for m in messages %}{{ m.content }}<|end|>{% endfor %}")


def add(writer, key, value):
    maker = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32, str: writer.add_string}
    maker[type(value)](key, value)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def llama(**more):
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**SMALL, **more}))


# ---------------------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("number", KINDS)
def test_dequantised_numbers_are_those_of_the_reference_bit_for_bit(number):
    kind, type = KINDS[number], gguf.GGMLQuantizationType(number)
    assert (kind.name, (kind.count, kind.size)) == (type.name, gguf.GGML_QUANT_SIZES[type])
    noise = np.random.default_rng(number)
    cases = [noise.integers(0, 256, (64, 4 * kind.size), np.uint8)]  # any bytes, NaN and infinity among them
    if not kind.name.endswith("_K"):  # what the reference can write
        cases.append(gguf.quantize(noise.normal(size=(8, 512)).astype(np.float32), type).view(np.uint8))
    for blocks in cases:
        with np.errstate(all="ignore"):
            want = gguf.dequantize(blocks, type)
        got = dequantize(blocks, kind)
        assert got.dtype == np.float32
        assert got.shape == want.shape
        assert np.array_equal(got.view(np.uint32), want.view(np.uint32))


def test_blocks_and_numbers_of_a_tensor(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "a.gguf", "none")
    array = np.random.default_rng(0).normal(size=(3, 64)).astype(np.float32)
    quantised = gguf.quantize(array, gguf.GGMLQuantizationType.Q8_0)
    writer.add_tensor("x", quantised, raw_dtype=gguf.GGMLQuantizationType.Q8_0)
    finish(writer)
    tensor = ours.read(tmp_path / "a.gguf").tensors["x"]
    assert tensor.shape == (3, 64)
    assert tensor.blocks().shape == (3, 2, 34)
    assert np.array_equal(tensor.blocks().reshape(3, -1), quantised.view(np.uint8))
    want = gguf.dequantize(quantised, gguf.GGMLQuantizationType.Q8_0)
    assert torch.equal(tensor.dense(), torch.from_numpy(want))
    assert torch.equal(tensor.dense(torch.bfloat16), torch.from_numpy(want).bfloat16())


# ----------------------------------------------------------------------------------------------------- models


@pytest.mark.parametrize("kind", ["F32", "Q8_0"])
@pytest.mark.parametrize("make", [
    llama,
    lambda: llama(attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    lambda: llama(head_dim=16, rope_parameters={
        "rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
    }),
    lambda: transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**SMALL)),
    lambda: transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**SMALL, head_dim=16)),
    lambda: transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=330, n_positions=64, n_embd=32, n_layer=2, n_head=4)
    ),
], ids=["llama", "llama biased", "llama 3", "qwen2", "qwen3", "gpt2"])  # fmt: skip
def test_logits_are_those_of_the_model_that_was_written(tmp_path, make, kind):
    model = settle(make())
    checkpoint = ours.load(write(tmp_path / "toy.gguf", model, kind))
    with torch.no_grad():  # the same rounding in the model itself
        for name, weight in model.named_parameters():
            if weight.ndim == 2 and kind == "Q8_0":
                turned = "c_" in name  # GPT-2's matrices are stored the other way round
                array = np.ascontiguousarray(weight.numpy().T if turned else weight.numpy())
                type = gguf.GGMLQuantizationType.Q8_0
                rounded = torch.from_numpy(gguf.dequantize(gguf.quantize(array, type), type))
                weight.copy_(rounded.T if turned else rounded)
    ids = torch.randint(0, 330, (2, 30), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        got, want = checkpoint.network.logits(checkpoint.network(ids)), model(ids).logits
    assert (got - want).abs().max() < 1e-4
    assert (checkpoint.name, checkpoint.ends, checkpoint.bos, checkpoint.begins) == ("toy", {0}, 1, False)
    assert checkpoint.chat([{"role": "user", "content": "the fox"}])[-1] == 0


def test_scalings_of_rotary_positions(tmp_path):
    model = llama()
    path = write(tmp_path / "y.gguf", model, llama__rope__scaling__type="yarn", llama__rope__scaling__factor=4.0,
                 llama__rope__scaling__original_context_length=16)  # fmt: skip
    rope = ours.load(path).network.arch.rope
    assert (rope.scaling, rope.factor, rope.trained, rope.low, rope.high) == ("yarn", 4.0, 16, 1.0, 32.0)
    path = write(tmp_path / "l.gguf", model, llama__rope__scaling__type="linear", llama__rope__scaling__factor=2.0)
    assert ours.load(path).network.arch.rope.factor == 2.0
    path = write(tmp_path / "d.gguf", model, llama__rope__dimension_count=4)
    with pytest.raises(Unsupported, match="a part of each head"):
        ours.load(path)
    path = write(tmp_path / "e.gguf", model, llama__expert_count=8)
    with pytest.raises(Unsupported, match="mixture"):
        ours.load(path)


# -------------------------------------------------------------------------------------------------- tokenizer

TEXTS = [
    "the quick 12345 brown",
    "You'RE it's\n\n  they'll  x\t ",
    "naïve 日本語 😀",
    "camelCase HTTPServer a/b",
    "<|end|>hi",
]


@pytest.mark.parametrize("pre", PRE)
def test_words_are_cut_as_the_named_tokenizers_cut_them(tmp_path, pre):
    import tokenizers
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    writer = gguf.GGUFWriter(tmp_path / "v.gguf", "none")
    vocabulary(writer, pre)
    writer.add_tensor("x", np.zeros(1, np.float32))
    finish(writer)
    made = ours.vocabulary.tokenizer(ours.read(tmp_path / "v.gguf").metadata, tmp_path / "v.gguf")
    for text in TEXTS:
        assert made.decode(made.encode(text), special=True) == text
    assert 0 not in made.encode("<|end|>hi")
    assert made.encode("<|end|>hi", special=True)[0] == 0
    kinds = tokenizers.pre_tokenizers
    bytes = kinds.ByteLevel(add_prefix_space=False)
    want = {"gpt-2": bytes, "smollm": kinds.Sequence([kinds.Digits(individual_digits=True), bytes])}.get(pre)
    if pre in GGUF_PRE_TOKENIZER_SPLITS:
        split = kinds.Split(tokenizers.Regex(GGUF_PRE_TOKENIZER_SPLITS[pre]), "isolated")
        want = kinds.Sequence([split, kinds.ByteLevel(add_prefix_space=False, use_regex=False)])
    if want is not None:
        for text in TEXTS:
            assert made._rust.pre_tokenizer.pre_tokenize_str(text) == want.pre_tokenize_str(text)


def test_sentencepiece_joins_the_best_scored_neighbours_first(tmp_path):
    tokens, scores, types = sentencepiece()
    writer = gguf.GGUFWriter(tmp_path / "v.gguf", "none")
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_tensor("x", np.zeros(1, np.float32))
    finish(writer)
    made = ours.vocabulary.tokenizer(ours.read(tmp_path / "v.gguf").metadata, tmp_path / "v.gguf")
    table = {token: (id, scores[id]) for id, token in enumerate(tokens) if types[id] == 1}

    def plainly(text):
        parts = list("▁" + text.replace(" ", "▁"))
        while True:
            joined = [(table[a + b][1], -at) for at, (a, b) in enumerate(pairwise(parts)) if a + b in table]
            if not joined:
                break
            at = -max(joined)[1]
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return [id for part in parts for id in ([table[part][0]] if part in table else [3 + b for b in part.encode()])]

    chance = random.Random(0)
    for _ in range(200):
        text = "".join(chance.choice("thhe  onsaé😀z") for _ in range(chance.randrange(1, 14)))
        ids = made.encode(text)
        assert ids == plainly(text)
        assert made.decode(ids) == text
    assert made.encode("</s>") != [2]
    assert made.encode("</s>", special=True) == [2]


def test_vocabularies_that_contradict_themselves(tmp_path):
    good = ours.read(write(tmp_path / "toy.gguf", llama())).metadata
    for change, words in (
        ({"tokenizer.ggml.tokens": ["a", "a"]}, "stands twice"),
        ({"tokenizer.ggml.tokens": None}, "no vocabulary"),
        ({"tokenizer.ggml.token_type": np.zeros(3, np.int32)}, "token_type"),
        ({"tokenizer.ggml.merges": ["ab"]}, "merges"),
        ({"tokenizer.ggml.merges": ["q zzz"]}, "does not work"),
        ({"tokenizer.ggml.pre": "klingon"}, "klingon.*Known: default"),
        ({"tokenizer.ggml.model": "bert"}, "bert.*gpt2, llama"),
        ({"tokenizer.ggml.model": "llama"}, "scores"),
    ):
        with pytest.raises(LikelyError, match=words):
            ours.vocabulary.tokenizer({**good, **change}, tmp_path / "toy.gguf")


# ---------------------------------------------------------------------------------------------- hostile files


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("gguf") / "toy.gguf"
    return write(path, settle(llama(num_hidden_layers=1)), "Q4_1").read_bytes()


def header(tensors=0, pairs=0, body=b"", version=3):
    return struct.pack("<4sIQQ", b"GGUF", version, tensors, pairs) + body


def text(value):
    return struct.pack("<Q", len(value)) + value


BIG = 2**62
HOSTILE = {
    "empty": (b"", "has 0 bytes"),
    "another format": (b"PK\x03\x04" + bytes(60), "does not begin with GGUF"),
    "version 1": (header(version=1), "version 1"),
    "big-endian": (header(version=3 << 24), "big-endian"),
    "keys without end": (header(pairs=BIG), "keys"),
    "tensors without end": (header(tensors=BIG), "tensors"),
    "a long key": (header(pairs=1, body=struct.pack("<Q", BIG)), "wanted at"),
    "no key": (header(pairs=1, body=text(b"")), "a key of 0 bytes"),
    "a key of no text": (header(pairs=1, body=text(b"\xff\xfe")), "not UTF-8"),
    "an unknown type": (header(pairs=1, body=text(b"k") + struct.pack("<I", 99)), "of type 99"),
    "a key twice": (header(pairs=2, body=(text(b"k") + struct.pack("<II", 4, 1)) * 2), "stands twice"),
    "a long array": (header(pairs=1, body=text(b"k") + struct.pack("<IIQ", 9, 4, BIG)), "elements"),
    "a long list": (header(pairs=1, body=text(b"k") + struct.pack("<IIQ", 9, 8, 10**6)), "elements"),
    "deep arrays": (header(pairs=1, body=text(b"k") + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 99), "deep"),
    "many dimensions": (header(1, body=text(b"t") + struct.pack("<I", 2**31)), "dimensions"),
    "a huge tensor": (header(1, body=text(b"t") + struct.pack("<IQQIQ", 2, BIG, BIG, 0, 0)), "claims the shape"),
    "an empty tensor": (header(1, body=text(b"t") + struct.pack("<IQIQ", 1, 0, 0, 0)), "claims the shape"),
    "a far tensor": (header(1, body=text(b"t") + struct.pack("<IQIQ", 1, 4, 0, BIG)), "cut off"),
    "a format not read": (header(1, body=text(b"t") + struct.pack("<IQIQ", 1, 256, 11, 0)), "Q3_K.*Q4_0"),
    "a broken block": (header(1, body=text(b"t") + struct.pack("<IQIQ", 1, 33, 2, 0) + bytes(99)), "whole Q4_0 blocks"),
    "no alignment": (header(pairs=1, body=text(b"general.alignment") + struct.pack("<II", 4, 0)), "alignment"),
    "one over the other": (
        header(2, body=b"".join(text(n) + struct.pack("<IQIQ", 1, 4, 0, 0) for n in (b"a", b"b")) + bytes(99)),
        "inside another",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_claims_are_held_against_the_file(tmp_path, case):
    data, words = HOSTILE[case]
    (tmp_path / "x.gguf").write_bytes(data)
    with pytest.raises(LikelyError, match=words):
        ours.read(tmp_path / "x.gguf")


def test_a_file_that_is_not_there(tmp_path):
    for path in (tmp_path, tmp_path / "none.gguf"):
        with pytest.raises(ArtifactError, match="Cannot read"):
            ours.read(path)


ODD = [-1, 0, 10**30, 1e999, float("nan"), 2**31 - 1, 0.5, "x", "", [], ["a"], [[1]], True, False, None,
       np.zeros(3, np.int32), np.zeros(0, np.float32)]  # fmt: skip
MORE = ("llama.rope.scaling.type", "llama.rope.scaling.factor", "llama.attention.sliding_window", "llama.expert_count",
        "llama.rope.scale_linear", "tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_space_prefix",
        "tokenizer.ggml.eot_token_id", "llama.attention.value_length", "llama.rope.dimension_count")  # fmt: skip


def test_odd_values_of_every_key_end_in_our_errors(tmp_path, whole, monkeypatch):
    (tmp_path / "x.gguf").write_bytes(whole)
    file, loads = ours.read(tmp_path / "x.gguf"), 0
    yarn = {"llama.rope.scaling.type": "yarn", "llama.rope.scaling.factor": 2.0}
    for key in (*file.metadata, *MORE):
        for odd in ODD:
            metadata = {**file.metadata, **(yarn if "scaling" in key else {}), key: odd}
            monkeypatch.setattr(ours.model, "read", lambda path, metadata=metadata: replace(file, metadata=metadata))
            try:
                ours.load(tmp_path / "x.gguf")
                loads += 1
            except LikelyError:
                pass
    assert 50 < loads < 300


def test_damaged_files_end_in_our_errors(tmp_path, whole):
    path, loads = tmp_path / "x.gguf", 0
    for seed in range(300):
        chance = random.Random(seed)
        data = bytearray(whole)
        for _ in range(chance.choice((1, 2, 8))):
            data[chance.randrange(1500 if chance.random() < 0.6 else len(data))] = chance.randrange(256)
        if seed % 3 == 0:
            data = data[: chance.randrange(len(data))]
        path.write_bytes(bytes(data))
        try:
            ours.load(path)
            loads += 1
        except LikelyError:
            pass
    assert 20 < loads < 280
