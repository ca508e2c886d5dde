"""config.json <-> Architecture: GPT-2, LLaMA, Mistral, Qwen2, Qwen3.

The names and the values that stand for a missing name are those of the config classes of transformers 5.24 (Apache
2.0); rotary positions are read in its present form, `rope_parameters`, and its older one, `rope_theta` with
`rope_scaling`.
"""

from __future__ import annotations

import math
from typing import Any

from likely.errors import Unsupported
from likely.language.fields import Fields, shown
from likely.language.weights import LAYERS, Names
from likely.nn.decoder import Architecture
from likely.nn.rope import Rope

ACTIVATIONS = {
    "silu": "silu", "swish": "silu", "gelu": "gelu", "relu": "relu", "gelu_new": "gelu_tanh", "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
}  # fmt: skip
MODELS = {"gpt2": "GPT2LMHeadModel", "llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM",
          "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM"}  # fmt: skip

_LAYER = "model.layers.{}."
LLAMA: Names = {
    "embed": ("model.embed_tokens",), "norm": ("model.norm",), "head": ("lm_head",),
    "norm1": (_LAYER + "input_layernorm",), "norm2": (_LAYER + "post_attention_layernorm",),
    "qkv": tuple(f"{_LAYER}self_attn.{part}_proj" for part in "qkv"), "out": (_LAYER + "self_attn.o_proj",),
    "q_norm": (_LAYER + "self_attn.q_norm",), "k_norm": (_LAYER + "self_attn.k_norm",),
    "up": (_LAYER + "mlp.gate_proj", _LAYER + "mlp.up_proj"), "down": (_LAYER + "mlp.down_proj",),
}  # fmt: skip
_BLOCK = "transformer.h.{}."
GPT2: Names = {
    "embed": ("transformer.wte",), "position": ("transformer.wpe",), "norm": ("transformer.ln_f",),
    "head": ("lm_head",), "norm1": (_BLOCK + "ln_1",), "norm2": (_BLOCK + "ln_2",),
    "qkv": (_BLOCK + "attn.c_attn",), "out": (_BLOCK + "attn.c_proj",),
    "up": (_BLOCK + "mlp.c_fc",), "down": (_BLOCK + "mlp.c_proj",),
}  # fmt: skip
GPT2_TRANSPOSED = ("qkv", "out", "up", "down")


def architecture(config: Fields) -> Architecture:
    """The network that a config describes. Raises ArtifactError for values that make no sense, Unsupported for what
    our decoder does not do."""
    model = config.word("model_type", {name: name for name in MODELS})
    if config.get("quantization_config") is not None:
        raise Unsupported(
            f"{config.where} describes quantised weights ({shown(config.get('quantization_config'))}); "
            "take the folder with plain weights, or a GGUF file."
        )
    return _gpt2(config) if model == "gpt2" else _llama(config, model)


def _gpt2(config: Fields) -> Architecture:
    width, heads = config.whole("n_embd", 768), config.whole("n_head", 12)
    if width % heads:
        raise config.wrong("n_embd", width, f"a multiple of n_head = {heads}")
    for name, wanted in (
        ("scale_attn_weights", True), ("scale_attn_by_inverse_layer_idx", False), ("add_cross_attention", False),
    ):  # fmt: skip
        if config.flag(name, wanted) != wanted:
            raise Unsupported(f"{config.where} wants {name} = {not wanted}, which our GPT-2 does not do.")
    return Architecture(
        vocab=config.whole("vocab_size", 50257), width=width, layers=config.whole("n_layer", 12, high=LAYERS),
        heads=heads, groups=heads, head=width // heads, hidden=config.whole("n_inner", 4 * width),
        context=config.whole("n_positions", config.get("n_ctx", 1024)), rope=None, norm="layer",
        eps=config.real("layer_norm_epsilon", 1e-5, high=1.0),
        activation=config.word("activation_function", ACTIVATIONS, "gelu_new"), gated=False, bias_qkv=True,
        bias_out=True, bias_feed=True, tied=config.flag("tie_word_embeddings", True),
    )  # fmt: skip


def _llama(config: Fields, model: str) -> Architecture:
    width, heads = config.whole("hidden_size", 4096), config.whole("num_attention_heads", 32)
    groups = config.whole("num_key_value_heads", {"mistral": 8, "qwen2": 32, "qwen3": 32}.get(model, heads))
    head = config.whole("head_dim", 128 if model == "qwen3" else max(width // heads, 1), high=2**16)
    if heads % groups:
        raise config.wrong("num_attention_heads", heads, f"a multiple of num_key_value_heads = {groups}")
    if head % 2:
        raise config.wrong("head_dim", head, "an even number")
    layers = config.whole("num_hidden_layers", 32, high=LAYERS)
    context = config.whole("max_position_embeddings", {"llama": 2048, "mistral": 131072}.get(model, 32768))
    turn = rope(config, head, context)
    bias = config.flag("attention_bias", False) if model in ("llama", "qwen3") else False
    return Architecture(
        vocab=config.whole("vocab_size", 151936 if model.startswith("qwen") else 32000), width=width, layers=layers,
        heads=heads, groups=groups, head=head,
        hidden=config.whole("intermediate_size", {"llama": 11008, "mistral": 14336}.get(model, 22016)),
        context=int(context * turn.factor) if turn.scaling == "dynamic" else context, rope=turn, norm="rms",
        eps=config.real("rms_norm_eps", 1e-6, high=1.0), activation=config.word("hidden_act", ACTIVATIONS, "silu"),
        gated=True, bias_qkv=bias or model == "qwen2", bias_out=bias,
        bias_feed=config.flag("mlp_bias", False) if model == "llama" else False, qk_norm=model == "qwen3",
        window=_window(config, model, layers), tied=config.flag("tie_word_embeddings", False),
    )  # fmt: skip


def _window(config: Fields, model: str, layers: int) -> int:
    """Steps in sight, 0 = all. Our decoder has one window for all layers."""
    if model == "llama":
        return 0
    if model == "mistral":
        given = config.values.get("sliding_window", 4096)  # here null means none
        return 0 if given is None else config.whole("sliding_window", 4096)
    if not config.flag("use_sliding_window", False):
        return 0
    window = config.whole("sliding_window", 4096)
    first = config.whole("max_window_layers", 28, low=0)
    kinds = config.get("layer_types") or ["sliding_attention" if layer >= first else "full_attention"
                                          for layer in range(layers)]  # fmt: skip
    if not isinstance(kinds, list) or len(kinds) != layers:
        raise config.wrong("layer_types", kinds, f"a list of {layers} words")
    if all(kind == "full_attention" for kind in kinds):
        return 0
    if all(kind == "sliding_attention" for kind in kinds):
        return window
    raise Unsupported(f"{config.where} mixes layers with and without a sliding window, which our decoder does not do.")


def rope(config: Fields, head: int, context: int) -> Rope:
    """Rotary positions of a config."""
    where = "rope_parameters" if config.get("rope_parameters") else "rope_scaling"
    given = config.fields(where)
    if isinstance(given.get("full_attention"), dict):  # one for each kind of layer; all ours are of one kind
        given = given.fields("full_attention")
    theta = Fields({"rope_theta": given.get("rope_theta", config.get("rope_theta"))}, config.where).real(
        "rope_theta", 10_000.0, low=1.0
    )
    if given.get("partial_rotary_factor", config.get("partial_rotary_factor", 1.0)) != 1.0:
        raise Unsupported(f"{config.where} turns only a part of each head, which our decoder does not do.")
    known = {"default": "none", "linear": "linear", "dynamic": "dynamic", "llama3": "llama3", "yarn": "yarn"}
    kind = given.word("rope_type" if given.get("rope_type") else "type", known, "default")
    if kind == "none":
        return Rope(theta)
    if kind == "linear":
        return Rope(theta, scaling=kind, factor=_factor(given))
    if kind == "dynamic":
        if head < 4:
            raise config.wrong("head_dim", head, "at least 4, for dynamic positions")
        return Rope(theta, scaling=kind, factor=_factor(given), trained=context)
    trained = given.whole("original_max_position_embeddings", context)
    if kind == "llama3":
        low, high = given.real("low_freq_factor"), given.real("high_freq_factor")
        if low == high:
            raise given.wrong("high_freq_factor", high, "a number other than low_freq_factor")
        return Rope(theta, scaling=kind, factor=_factor(given), trained=trained, low=low, high=high)
    if not given.flag("truncate", True):
        raise Unsupported(f"{config.where} wants yarn without rounding (truncate = false), which ours does not do.")
    factor = _factor(given, context / trained)
    return Rope(theta, scaling=kind, factor=factor, trained=trained, low=given.real("beta_slow", 1.0),
                high=given.real("beta_fast", 32.0), sharpen=_sharpen(given, factor))  # fmt: skip


def _factor(given: Fields, default: float | None = None) -> float:
    return given.real("factor", default, high=1e6) if default is not None else given.real("factor", high=1e6)


def _sharpen(given: Fields, factor: float) -> float:
    """yarn's factor on queries and keys; 0 = by the formula of the paper."""
    if given.get("attention_factor") is not None:
        return given.real("attention_factor", high=1e3)
    if not (given.get("mscale") and given.get("mscale_all_dim")):
        return 0.0
    log = math.log(factor) if factor > 1 else 0.0
    return (0.1 * given.real("mscale", high=1e3) * log + 1) / (0.1 * given.real("mscale_all_dim", high=1e3) * log + 1)


# ------------------------------------------------------------------------------------------------- the way out


def describe(arch: Architecture) -> dict[str, Any]:
    """The config.json of a network. Raises Unsupported where no model of transformers is like it."""
    if arch.rope is None:
        return _describe_gpt2(arch)
    model = _nearest(arch)
    words = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
    config: dict[str, Any] = {
        "architectures": [MODELS[model]], "model_type": model, "vocab_size": arch.vocab, "hidden_size": arch.width,
        "intermediate_size": arch.hidden, "num_hidden_layers": arch.layers, "num_attention_heads": arch.heads,
        "num_key_value_heads": arch.groups, "head_dim": arch.head, "hidden_act": words[arch.activation],
        "max_position_embeddings": arch.rope.trained if arch.rope.scaling == "dynamic" else arch.context,
        "rms_norm_eps": arch.eps, "tie_word_embeddings": arch.tied, "rope_theta": arch.rope.theta,
        "rope_parameters": _describe_rope(arch.rope),
    }  # fmt: skip
    if arch.rope.scaling != "none":  # for older readers
        config["rope_scaling"] = {key: value for key, value in config["rope_parameters"].items() if key != "rope_theta"}
    if model in ("llama", "qwen3"):
        config["attention_bias"] = arch.bias_qkv
    if model == "llama":
        config["mlp_bias"] = arch.bias_feed
    else:
        config["sliding_window"] = arch.window or None
    if model.startswith("qwen"):
        config |= {"use_sliding_window": arch.window > 0, "max_window_layers": 0 if arch.window else arch.layers}
    return config


def _nearest(arch: Architecture) -> str:
    """The model_type whose networks include this one."""
    if arch.norm == "rms" and arch.gated:
        both = arch.bias_qkv == arch.bias_out
        if arch.qk_norm and both and not arch.bias_feed:
            return "qwen3"
        if not arch.qk_norm and arch.bias_qkv and not arch.bias_out and not arch.bias_feed:
            return "qwen2"
        plain = not (arch.qk_norm or arch.bias_qkv or arch.bias_out or arch.bias_feed)
        if plain and (arch.window or arch.width % arch.heads):
            return "mistral"
        if not arch.qk_norm and not arch.window and both and arch.width % arch.heads == 0:
            return "llama"
    raise Unsupported(
        "No model that transformers knows is like this network; what can be written: GPT-2 (learned positions, layer "
        "norm, biases, no gate), and networks with rotary positions, RMS norm and a gate. Save an artifact instead."
    )


def _describe_rope(rope: Rope) -> dict[str, Any]:
    kind = "default" if rope.scaling == "none" else rope.scaling
    found: dict[str, Any] = {"rope_type": kind, "rope_theta": rope.theta}
    if rope.scaling != "none":
        found["factor"] = rope.factor
    if rope.scaling in ("llama3", "yarn"):
        found["original_max_position_embeddings"] = rope.trained
    if rope.scaling == "llama3":
        found |= {"low_freq_factor": rope.low, "high_freq_factor": rope.high}
    if rope.scaling == "yarn":
        found |= {"beta_slow": rope.low, "beta_fast": rope.high}
        if rope.sharpen:
            found["attention_factor"] = rope.sharpen
    return found


def _describe_gpt2(arch: Architecture) -> dict[str, Any]:
    biases = arch.bias_qkv and arch.bias_out and arch.bias_feed
    if (
        arch.norm != "layer" or arch.gated or not biases or arch.qk_norm or arch.window
        or arch.groups != arch.heads or arch.heads * arch.head != arch.width
    ):  # fmt: skip
        raise Unsupported(
            "A network with learned positions is written as GPT-2, which has layer norm, biases everywhere, no gate, "
            "no window and as many key heads as query heads; this one differs. Save an artifact instead."
        )
    words = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
    return {
        "architectures": [MODELS["gpt2"]], "model_type": "gpt2", "vocab_size": arch.vocab, "n_embd": arch.width,
        "n_layer": arch.layers, "n_head": arch.heads, "n_inner": arch.hidden, "n_positions": arch.context,
        "activation_function": words[arch.activation], "layer_norm_epsilon": arch.eps,
        "tie_word_embeddings": arch.tied, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
    }  # fmt: skip
