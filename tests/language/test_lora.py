"""Low-rank adaptation: the same numbers as PEFT, in and out; off, merged, folded; clear errors for what does not
fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import peft
import pytest
import safetensors.torch
import torch
import transformers

from likely.errors import ArtifactError, LikelyError, Mismatch, OptionError, UnknownName, Unsupported
from likely.language import adapter, huggingface, lora
from likely.language.lora import Lora
from likely.language.weights import halves
from likely.nn.decoder import Architecture, Decoder
from likely.nn.rope import Rope
from tests.language.toys import folder, settle

SMALL = dict(vocab_size=330, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=64, bos_token_id=1, eos_token_id=0)  # fmt: skip
CONFIGS = {
    "llama": transformers.LlamaConfig(**SMALL),
    "qwen2": transformers.Qwen2Config(**SMALL),
    "gpt2": transformers.GPT2Config(vocab_size=330, n_positions=64, n_embd=32, n_layer=2, n_head=4),
}
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
IDS = torch.randint(0, 330, (2, 20), generator=torch.Generator().manual_seed(0))
ARCH = Architecture(vocab=330, width=32, layers=2, heads=4, groups=2, head=8, hidden=48, context=64)


quiet = pytest.mark.filterwarnings("ignore::FutureWarning")  # peft 0.21 asks transformers 5.24 in an old way


def noisy(model: torch.nn.Module) -> None:
    """Every number of every adapter drawn at random, so that B is not zero."""
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_" in name or ".pairs." in name:
                weight.copy_(torch.randn(weight.shape, generator=rng) * 0.1)


def ours(network: Decoder) -> torch.Tensor:
    with torch.no_grad():
        return network.logits(network(IDS))


def theirs(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(IDS).logits
    return found


def toy(seed: int = 0, arch: Architecture = ARCH) -> Decoder:
    return settle(Decoder(arch), seed)


def tuned(seed: int = 0, **options: Any) -> Decoder:
    network = toy(seed)
    lora.attach(network, Lora(rank=4, **options))
    noisy(network)
    return network.eval()


@pytest.fixture(scope="module", params=list(CONFIGS))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any, Path]:
    model = settle(transformers.AutoModelForCausalLM.from_config(CONFIGS[request.param]))
    return request.param, model, folder(tmp_path_factory.mktemp("base"), model)


# ------------------------------------------------------------------------------------------------- PEFT


@quiet
@pytest.mark.parametrize("kind", ["all", "two", "rslora", "patterns", "one layer"])
def test_adapters_of_peft_give_the_logits_of_peft(pair: tuple[str, Any, Path], kind: str, tmp_path: Path) -> None:
    name, model, base = pair
    gpt2 = name == "gpt2"
    every = ["c_attn", "c_proj", "c_fc"] if gpt2 else ALL
    options: dict[str, Any] = {
        "all": {"target_modules": every, "r": 4, "lora_alpha": 12},
        "two": {"target_modules": ["c_attn", "mlp.c_proj"] if gpt2 else ["q_proj", "v_proj"], "r": 3},
        "rslora": {"target_modules": every, "r": 4, "lora_alpha": 6, "use_rslora": True},
        "patterns": {"target_modules": every, "r": 4, "lora_alpha": 8, "rank_pattern": {every[0]: 2},
                     "alpha_pattern": {every[0]: 16, "h.1.mlp.c_fc" if gpt2 else "layers.1.mlp.up_proj": 3}},
        "one layer": {"target_modules": every[:2], "layers_to_transform": [1], "r": 2},
    }[kind]  # fmt: skip
    made = peft.get_peft_model(
        model, peft.LoraConfig(task_type="CAUSAL_LM", fan_in_fan_out=gpt2, lora_dropout=0.1, **options)
    ).eval()
    try:
        noisy(made)
        made.save_pretrained(tmp_path)
        network = huggingface.load(base).network
        plain = ours(network)
        said = adapter.load(network, tmp_path)
        assert said.dropout == 0.1
        assert torch.allclose(ours(network), theirs(made), atol=1e-5)
        assert not torch.allclose(ours(network), plain, atol=1e-2)
        with lora.off(network):
            assert torch.equal(ours(network), plain)
    finally:
        made.unload()


@quiet
@pytest.mark.parametrize("kind", ["all", "some", "rslora", "patterns"])
def test_peft_reads_ours(pair: tuple[str, Any, Path], kind: str, tmp_path: Path) -> None:
    name, model, base = pair
    network = huggingface.load(base).network
    modules = () if kind != "some" else ("attn.c_proj", "c_fc") if name == "gpt2" else ("k_proj", "down_proj")
    lora.attach(network, Lora(rank=4, alpha=10.0, rslora=kind == "rslora", modules=modules))
    if kind == "patterns":
        _, matrix = next(lora.adapted(network))
        first = matrix.each()[0]
        first.alpha, first.scale = 3.0, 3.0 / 4
    noisy(network)
    adapter.save(network, tmp_path, base=str(base))
    made = peft.PeftModel.from_pretrained(model, tmp_path).eval()
    try:
        assert torch.allclose(ours(network), theirs(made), atol=1e-5)
        count = sum(weight.numel() for key, weight in made.named_parameters() if "lora_" in key)
        assert count == sum(weight.numel() for weight in network.parameters() if weight.requires_grad)
    finally:
        made.unload()


def test_interleaved_networks_write_halves(tmp_path: Path) -> None:
    plain, pairs = toy(), toy(arch=Architecture(**{**vars(ARCH), "rope": Rope(interleaved=True)}))
    order = torch.cat([halves(32, 4).argsort(), 32 + halves(16, 2).argsort(), torch.arange(48, 64)])
    with torch.no_grad():
        for one, other in zip(plain.blocks, pairs.blocks, strict=True):
            other.qkv.weight.copy_(one.qkv.weight[order])
    assert torch.allclose(ours(plain), ours(pairs), atol=1e-5)
    lora.attach(pairs, Lora(rank=2))
    noisy(pairs)
    adapter.save(pairs, tmp_path)
    adapter.load(plain, tmp_path)
    assert torch.allclose(ours(plain), ours(pairs), atol=1e-5)


# -------------------------------------------------------------------------------------------- what it does


def test_a_new_adapter_changes_nothing_and_only_it_learns() -> None:
    network, plain = toy(), toy()
    lora.attach(network, Lora(rank=2), seed=3)
    assert torch.equal(ours(network), ours(plain))
    network.logits(network(IDS)).square().mean().backward()
    for name, weight in network.named_parameters():
        assert (weight.grad is not None) == (".pairs." in name)
    first, other = toy(), toy()
    lora.attach(first, Lora(rank=2), seed=3)
    lora.attach(other, Lora(rank=2), seed=4)
    state = network.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in first.state_dict().items())
    assert not all(torch.equal(tensor, state[name]) for name, tensor in other.state_dict().items())


@pytest.mark.parametrize("modules", [(), ("q_proj",), ("k_proj", "gate_proj")])
def test_merging_is_the_adapter_and_comes_undone(modules: tuple[str, ...]) -> None:
    network, plain = tuned(modules=modules), ours(toy())
    apart = ours(network)
    lora.merge(network)
    lora.merge(network)  # once is enough
    assert torch.allclose(ours(network), apart, atol=1e-4)
    with pytest.raises(Mismatch, match="unmerge"), lora.off(network):
        pass
    lora.unmerge(network)
    assert torch.allclose(ours(network), apart, atol=1e-4)
    with lora.off(network):
        assert torch.allclose(ours(network), plain, atol=1e-4)
    lora.fold(network)
    assert not list(lora.adapted(network))
    assert network.state_dict().keys() == toy().state_dict().keys()
    assert all(weight.requires_grad for weight in network.parameters())
    assert torch.allclose(ours(network), apart, atol=1e-4)


def test_removing_leaves_the_base_to_the_bit() -> None:
    network = tuned()
    lora.remove(network)
    assert torch.equal(ours(network), ours(toy()))


def test_off_nests_and_ends_with_an_error_too() -> None:
    network = tuned()
    apart, plain = ours(network), ours(toy())
    with pytest.raises(RuntimeError), lora.off(network):  # noqa: PT012
        with lora.off(network):
            pass
        assert torch.equal(ours(network), plain)
        raise RuntimeError
    assert torch.equal(ours(network), apart)


def test_dropout_acts_in_training_alone_and_a_bf16_base_keeps_fine_pairs() -> None:
    network = tuned(dropout=0.5)
    apart = ours(network)
    network.train()
    assert not torch.allclose(ours(network), apart, atol=1e-3)
    network.eval()
    assert torch.equal(ours(network), apart)
    coarse = toy().bfloat16()
    lora.attach(coarse, Lora(rank=4))
    noisy(coarse)
    assert {weight.dtype for weight in coarse.parameters() if weight.requires_grad} == {torch.float32}
    assert float((ours(coarse).float() - apart).abs().mean()) < 0.05


def test_saved_and_loaded_it_is_the_same_to_the_bit(tmp_path: Path) -> None:
    network = tuned(rslora=True, alpha=7.5)
    adapter.save(network, tmp_path)
    again = toy()
    adapter.load(again, tmp_path)
    assert torch.equal(ours(again), ours(network))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]


# -------------------------------------------------------------------------------------------- clear errors


def test_the_same_adapter_is_the_same_bytes(tmp_path: Path) -> None:
    network = toy()
    lora.attach(network, Lora(rank=4))
    said = set()
    for k in range(8):
        adapter.save(network, tmp_path / str(k))
        said.add((tmp_path / str(k) / adapter.WEIGHTS).read_bytes())
    assert len(said) == 1


def test_senseless_settings_are_refused() -> None:
    for options, word in (({"rank": 0}, "rank"), ({"alpha": 0.0}, "alpha"), ({"dropout": 1.0}, "dropout")):
        with pytest.raises(OptionError, match=word):
            Lora(**options)
    with pytest.raises(UnknownName, match=r"'q_pro'.*self_attn.q_proj"):
        lora.attach(toy(), Lora(modules=("q_pro",)))
    network = tuned()
    with pytest.raises(Mismatch, match="has an adapter already"):
        lora.attach(network, Lora())
    with pytest.raises(Mismatch, match="no adapter to save"):
        adapter.save(toy(), "nowhere")


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        ({"width": 40}, r"other weights than these|for another base model"),
        ({"layers": 1}, r"for another base model \(some/base\).*layers.1.* 1 layers"),
        ({"groups": 4}, r"for another base model \(some/base\): model.layers.0.self_attn.k_proj has A \[4, 32\] and "
                        r"B \[16, 4\] where this model takes \[r, 32\] and \[32, r\]"),
        ({"rope": None, "gated": False}, r"has no place.*attn.c_attn"),
    ],
)  # fmt: skip
def test_another_base_is_refused(arch: dict[str, Any], message: str, tmp_path: Path) -> None:
    network = tuned()
    adapter.save(network, tmp_path, base="some/base")
    other = toy(arch=Architecture(**{**vars(ARCH), **arch}))
    before = ours(other)
    with pytest.raises(Mismatch, match=message):
        adapter.load(other, tmp_path)
    assert torch.equal(ours(other), before)
    assert not list(lora.adapted(other))


def test_other_weights_of_the_same_shape_are_refused_and_relatives_are_not(tmp_path: Path) -> None:
    adapter.save(tuned(), tmp_path, base="some/base")
    with pytest.raises(Mismatch, match=r"learned on other weights.*cosine of -?0\.\d\d.*\(some/base\)"):
        adapter.load(toy(seed=9), tmp_path)
    relative = toy()
    with torch.no_grad():
        for weight in relative.parameters():
            weight += 0.05 * weight.std() * torch.randn_like(weight) if weight.numel() > 1 else 0
    adapter.load(relative, tmp_path)
    adapter.load(toy().bfloat16(), tmp_path)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"peft_type": "IA3"}, Unsupported, "peft_type = 'IA3'; known: LORA"),
        ({"use_dora": True}, Unsupported, "use_dora"),
        ({"bias": "all"}, Unsupported, "bias"),
        ({"modules_to_save": ["lm_head"]}, Unsupported, "modules_to_save"),
        ({"init_lora_weights": "pissa"}, Unsupported, "changes the base too"),
        ({"lora_alpha": "many"}, ArtifactError, "lora_alpha"),
        ({"lora_alpha": float("nan")}, ArtifactError, "lora_alpha"),
    ],
)
def test_what_would_change_the_mathematics_is_refused(
    change: dict[str, Any], kind: type[LikelyError], message: str, tmp_path: Path
) -> None:
    adapter.save(tuned(), tmp_path)
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(kind, match=message):
        adapter.load(toy(), tmp_path)


def test_damaged_folders_are_named(tmp_path: Path) -> None:
    def load(match: str) -> None:
        with pytest.raises(ArtifactError, match=match):
            adapter.load(toy(), tmp_path)

    load("There is no adapter_config.json")
    (tmp_path / "config.json").write_text("{}")
    load("a whole model, no adapter")
    adapter.save(tuned(), tmp_path)
    weights = tmp_path / "adapter_model.safetensors"
    arrays = safetensors.torch.load_file(weights)
    name = next(iter(arrays))
    weights.write_bytes(weights.read_bytes()[:-40])
    load("damaged or cut off")
    safetensors.torch.save_file({key: array for key, array in arrays.items() if key != name}, weights)
    load("but not the other of A and B")
    safetensors.torch.save_file({**arrays, name: arrays[name] / 0}, weights)
    load("not finite")
    safetensors.torch.save_file({}, weights)
    load("is empty")
    weights.rename(tmp_path / "adapter_model.bin")
    load("may run code")
