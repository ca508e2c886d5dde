"""Hugging Face folders: the same logits as transformers, in and out; clear errors for what does not fit."""

import json

import pytest
import torch
import transformers

from likely.errors import ArtifactError, LikelyError, Mismatch, StorageError, Unsupported
from likely.language import huggingface
from likely.language.fields import Fields
from likely.language.huggingface import config, t5
from tests.language.toys import byte_level, folder, settle

SMALL = dict(vocab_size=330, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=64, bos_token_id=1, eos_token_id=0)  # fmt: skip


def llama(**more):
    return transformers.LlamaConfig(**{**SMALL, **more})


def scaled(kind, **more):
    return llama(rope_parameters={"rope_type": kind, "rope_theta": 10_000.0, **more})


CONFIGS = {
    "gpt2": transformers.GPT2Config(vocab_size=330, n_positions=64, n_embd=32, n_layer=2, n_head=4),
    "gpt2 untied, relu": transformers.GPT2Config(
        vocab_size=330, n_positions=64, n_embd=32, n_layer=1, n_head=2, n_inner=40, activation_function="relu",
        tie_word_embeddings=False,
    ),
    "llama": llama(),
    "llama tied, wide heads": llama(tie_word_embeddings=True, head_dim=12, rms_norm_eps=1e-5),
    "llama biased": llama(attention_bias=True, mlp_bias=True, num_key_value_heads=4),
    "llama linear": scaled("linear", factor=2.0),
    "llama dynamic": scaled("dynamic", factor=2.0),
    "llama 3": llama(rope_parameters={
        "rope_type": "llama3", "rope_theta": 500_000.0, "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 16,
    }, head_dim=16),
    "llama yarn": scaled("yarn", factor=4.0, original_max_position_embeddings=16),
    "llama yarn, sharper": scaled(
        "yarn", factor=4.0, original_max_position_embeddings=16, attention_factor=1.3, beta_fast=8.0, beta_slow=2.0
    ),
    "mistral": transformers.MistralConfig(**SMALL, sliding_window=7),
    "mistral, all in sight": transformers.MistralConfig(**SMALL, sliding_window=None, head_dim=6),
    "qwen2": transformers.Qwen2Config(**SMALL, tie_word_embeddings=True),
    "qwen2 window": transformers.Qwen2Config(**SMALL, use_sliding_window=True, sliding_window=5, max_window_layers=0),
    "qwen3": transformers.Qwen3Config(**SMALL, head_dim=16),
}  # fmt: skip


def theirs(model, ids, seen):
    with torch.no_grad():
        positions = (seen.long().cumsum(1) - 1).clamp_min(0)
        return model(ids, attention_mask=seen.long(), position_ids=positions).logits


def ours(network, ids, seen):
    with torch.no_grad():
        return network.logits(network(ids, seen=seen))


def texts(length=40):
    """Ids (3, length), two of them padded on the left."""
    ids = torch.randint(0, 330, (3, length), generator=torch.Generator().manual_seed(1))
    seen = torch.ones(3, length, dtype=torch.bool)
    seen[1, :9], seen[2, :31] = False, False
    return ids, seen


@pytest.fixture(scope="module", params=list(CONFIGS))
def pair(request, tmp_path_factory):
    """A model of transformers, the folder it was saved in, and the same loaded by us."""
    model = settle(transformers.AutoModelForCausalLM.from_config(CONFIGS[request.param], attn_implementation="eager"))
    path = folder(tmp_path_factory.mktemp("model"), model)
    return model, path, huggingface.load(path)


def test_logits_are_those_of_transformers(pair):
    model, _, checkpoint = pair
    ids, seen = texts()
    got, want = ours(checkpoint.network, ids, seen), theirs(model, ids, seen)
    assert want.std() > 0.3
    assert (got - want)[seen].abs().max() < 1e-4
    assert not checkpoint.network.training


def test_dynamic_positions_past_the_trained_length(tmp_path):
    model = settle(transformers.LlamaForCausalLM(CONFIGS["llama dynamic"]))
    checkpoint = huggingface.load(folder(tmp_path, model))
    ids, seen = texts(90)
    assert (ours(checkpoint.network, ids, seen) - theirs(model, ids, seen))[seen].abs().max() < 1e-4
    assert checkpoint.network.arch.context == 128


def test_saved_and_loaded_by_transformers_gives_the_same(pair, tmp_path):
    _, _, checkpoint = pair
    huggingface.save(checkpoint, tmp_path / "again", shard=20_000)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "again", attn_implementation="eager")
    ids, seen = texts()
    assert (ours(checkpoint.network, ids, seen) - theirs(model, ids, seen))[seen].abs().max() < 1e-4
    back = huggingface.load(tmp_path / "again")
    assert torch.equal(ours(checkpoint.network, ids, seen), ours(back.network, ids, seen))
    assert back.network.arch == checkpoint.network.arch
    assert (back.ends, back.bos, back.begins) == (checkpoint.ends, checkpoint.bos, checkpoint.begins)
    assert len(list((tmp_path / "again").glob("model-*.safetensors"))) > 1
    assert not list(tmp_path.glob(".again*"))


def test_an_interleaved_network_is_saved_in_halves(tmp_path):
    from dataclasses import replace

    from likely.nn.decoder import Decoder
    from likely.nn.rope import Rope

    model = settle(transformers.Qwen3ForCausalLM(CONFIGS["qwen3"]))
    checkpoint = huggingface.load(folder(tmp_path / "one", model))
    arch = replace(checkpoint.network.arch, rope=Rope(interleaved=True))
    network = settle(Decoder(arch), 5)
    huggingface.save(replace(checkpoint, network=network), tmp_path / "two")
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "two")
    ids, seen = texts()
    assert (ours(network, ids, seen) - theirs(model, ids, seen))[seen].abs().max() < 1e-4


def test_bfloat16_and_old_names(tmp_path):
    """Files of a bare model, rope_scaling of older versions, a head beside a tied embedding."""
    described = scaled("linear", factor=2.0)
    described.tie_word_embeddings = True
    model = settle(transformers.LlamaForCausalLM(described))
    path = folder(tmp_path, model.model)
    old = json.loads((path / "config.json").read_text())
    old.pop("rope_parameters")
    old |= {"rope_theta": 10_000.0, "rope_scaling": {"type": "linear", "factor": 2.0}, "auto_map": {"AutoModel": "x.Y"}}
    (path / "config.json").write_text(json.dumps(old))
    checkpoint = huggingface.load(path, dtype=torch.bfloat16)
    assert {weight.dtype for weight in checkpoint.network.parameters()} == {torch.bfloat16}
    ids, seen = texts()
    want = theirs(model, ids, seen)
    assert (ours(huggingface.load(path).network, ids, seen) - want)[seen].abs().max() < 1e-4
    assert (ours(checkpoint.network, ids, seen) - want)[seen].abs().mean() < 0.1


# ------------------------------------------------------------------------------------------- what does not fit


@pytest.fixture
def path(tmp_path):
    return folder(tmp_path / "model", settle(transformers.LlamaForCausalLM(llama())))


def change(path, name="config.json", **values):
    file = path / name
    found = json.loads(file.read_text()) if file.is_file() else {}
    found.update(values)
    file.write_text(json.dumps({key: value for key, value in found.items() if value != "gone"}))


def test_names_and_shapes_of_what_is_wrong(path):
    change(path, hidden_size=40, head_dim=8)
    with pytest.raises(
        ArtifactError, match=r"model.embed_tokens.weight is \[330, 32\] where the config wants \[330, 40\]"
    ):
        huggingface.load(path)
    change(path, hidden_size=32, num_hidden_layers=3)
    with pytest.raises(ArtifactError, match=r"model.layers.2.input_layernorm.weight \[32\] is missing"):
        huggingface.load(path)
    change(path, num_hidden_layers=1)
    with pytest.raises(ArtifactError, match=r"model.layers.1.\S+ \[.*\] has no place.*and \d+ more"):
        huggingface.load(path)


@pytest.mark.parametrize(("values", "error", "words"), [
    ({"model_type": "mamba"}, Unsupported, "mamba.*gpt2, llama, mistral, qwen2, qwen3"),
    ({"model_type": "gone"}, Unsupported, "known"),
    ({"num_hidden_layers": 10**9}, ArtifactError, "num_hidden_layers is '1000000000'"),
    ({"num_hidden_layers": 2000}, ArtifactError, "2000 layers"),
    ({"hidden_size": 2**31 - 1}, ArtifactError, "where the config wants"),
    ({"vocab_size": True}, ArtifactError, "vocab_size is 'True'; wanted is a whole number"),
    ({"rms_norm_eps": "1e-6"}, ArtifactError, "rms_norm_eps"),
    ({"num_key_value_heads": 3}, ArtifactError, "multiple of num_key_value_heads"),
    ({"hidden_act": "mish"}, Unsupported, "mish"),
    ({"rope_parameters": {"rope_type": "longrope"}}, Unsupported, "longrope"),
    ({"rope_parameters": {"rope_type": "yarn", "factor": -1}}, ArtifactError, "factor"),
    ({"rope_parameters": [1]}, ArtifactError, "rope_parameters"),
    ({"quantization_config": {"bits": 4}}, Unsupported, "quantised"),
    ({"eos_token_id": ["a"]}, ArtifactError, "eos_token_id"),
])  # fmt: skip
def test_configs_that_make_no_sense(path, values, error, words):
    change(path, **values)
    with pytest.raises(error, match=words):
        huggingface.load(path)


NESTED: list[object] = []
for _ in range(900):
    NESTED = [NESTED]
ODD = [-1, 0, 10**400, 1e999, float("nan"), 2**31 - 1, 0.5, "x", "", [], {}, [1], {"a": {}}, True, False, NESTED]


@pytest.mark.parametrize("model", ["gpt2", "llama", "mistral", "qwen2", "qwen3", "t5"])
def test_odd_values_of_every_key_end_in_our_errors(model):
    base = {"model_type": model, "rope_parameters": {"rope_type": "yarn", "factor": 2.0}, "use_sliding_window": True}
    keys = {**CONFIGS.get(model, transformers.T5Config()).to_dict(), **base, "rope_scaling": None, "n_inner": None}
    inner = ("rope_type", "rope_theta", "factor", "original_max_position_embeddings", "beta_fast", "mscale", "truncate")
    made = 0
    for kind in ("yarn", "llama3", "dynamic", "linear"):
        changes = [{key: odd} for key in keys for odd in ODD]
        changes += [{"rope_parameters": {"rope_type": kind, "factor": 2.0, key: odd}} for key in inner for odd in ODD]
        for change in changes if kind == "yarn" else changes[-len(inner) * len(ODD) :]:
            fields = Fields({**keys, **change}, "config.json")
            try:
                if model == "t5":
                    t5.architecture(fields, False)
                else:
                    arch = config.architecture(fields)
                    if arch.rope is not None:
                        assert arch.rope.frequencies(arch.head, 100).shape == (arch.head // 2,)
                made += 1
            except LikelyError:
                pass
    assert made > 50


def test_pickles_are_not_opened(path):
    (path / "model.safetensors").rename(path / "pytorch_model.bin")
    with pytest.raises(ArtifactError, match=r"only as 'pytorch_model.bin'.*safetensors"):
        huggingface.load(path)


def test_an_index_stays_in_its_folder(path):
    weights = path / "model.safetensors"
    weights.rename(path.parent / "outside.safetensors")
    for at in ("../outside.safetensors", "/etc/passwd", "missing.safetensors", 3):
        (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"lm_head.weight": at}}))
        with pytest.raises(ArtifactError, match=r"index\.json"):
            huggingface.load(path)


def test_missing_files_are_named(path):
    for name in ("tokenizer.json", "model.safetensors", "config.json"):
        (path / name).rename(path / "away")
        with pytest.raises(ArtifactError, match=name):
            huggingface.load(path)
        (path / "away").rename(path / name)


def test_a_tokenizer_of_another_model(path):
    (path / "tokenizer.json").write_text(byte_level(340))
    with pytest.raises(Mismatch, match="different models"):
        huggingface.load(path)
    (path / "tokenizer.json").write_text("{}")
    with pytest.raises(ArtifactError, match="does not work"):
        huggingface.load(path)


def test_save_does_not_overwrite(path):
    checkpoint = huggingface.load(path)
    with pytest.raises(StorageError, match="not empty"):
        huggingface.save(checkpoint, path)
    with pytest.raises(StorageError, match="Cannot write"):
        huggingface.save(checkpoint, path / "config.json" / "x")


def test_damaged_folders_end_in_our_errors(path):
    """Bytes and lengths of every file changed, a seed each: a correct load or an error of ours, nothing else."""
    import random

    loads = 0
    for name in ("model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"):
        whole = (path / name).read_bytes()
        for seed in range(40):
            chance = random.Random(seed)
            data = bytearray(whole)
            for _ in range(chance.choice((1, 3, 20))):
                # Mostly in the beginning, where headers are.
                at = chance.randrange(min(len(data), 2000) if chance.random() < 0.8 else len(data))
                data[at] = chance.randrange(256)
            if seed % 4 == 0:
                data = data[: chance.randrange(len(data))]
            (path / name).write_bytes(bytes(data))
            try:
                huggingface.load(path)
                loads += 1
            except LikelyError:
                pass
        (path / name).write_bytes(whole)
    assert loads > 5
