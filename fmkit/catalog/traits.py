"""What a model is built of, read from its config.json and its architecture: norm, activation, positions, width of the feed-forward.

Nothing here is typed by hand for a model. What a configuration leaves to its class is known by the class's name only
where all models of the class have it; the rest is None.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fmkit.model.recurrent import NoMixer
from fmkit.selection.facts import Traits

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmkit.model.spec import Mlp, ModelSpec, Stack

_TEXT_PARTS = ("text_config", "llm_config", "language_config", "thinker_config")
_PLAIN_LAYER_NORM = frozenset(("cohere", "cohere2", "dbrx", "modernbert", "mpt"))
"""LayerNorm without a bias; in every other class a norm without one is RMSNorm."""

_POSITIONS = {
    **dict.fromkeys(("bloom", "mpt"), "ALiBi"),
    **dict.fromkeys(("t5", "mt5", "umt5", "deberta", "deberta-v2", "mpnet"), "relative"),
    **dict.fromkeys(("m2m_100", "nllb-moe", "pegasus"), "sinusoidal"),
    **dict.fromkeys(("mamba", "mamba2", "falcon_mamba", "rwkv", "jamba", "nemotron_h"), "none"),
    "wav2vec2": "convolution",
    **dict.fromkeys(
        ("gptj", "falcon", "chatglm", "baichuan", "qwen", "nomic_bert", "modernbert", "llama", "mistral", "mixtral", "minicpm",
         "cohere", "cohere2", "dbrx", "gemma", "gemma2", "t5gemma", "step3p7"),
        "RoPE",
    ),
    **dict.fromkeys(
        ("gpt2", "opt", "biogpt", "bert", "albert", "electra", "distilbert", "roberta", "xlm-roberta", "bart", "whisper",
         "clip", "clip_text_model", "siglip", "siglip_text_model"),
        "learned",
    ),
}  # fmt: skip
"""What a class has whatever its configuration says."""

_ROPE_KEYS = ("rope_theta", "rope_parameters", "rope_scaling", "rotary_pct", "partial_rotary_factor", "rope_type")
_ACTIVATIONS = {"bloom": "gelu", "qwen": "silu", "lfm2": "silu", "rwkv": "squared relu"}
"""What a class has without saying so in its configuration."""

_GATED = {"silu": "SwiGLU", "swish": "SwiGLU", "relu": "ReGLU"}


def read_traits(config: Mapping[str, Any], spec: ModelSpec) -> Traits:
    """The traits of the model's text part (of the only tower, where it has none).

    `ffn_ratio` is the inner width that a token passes through over the width of the model: of a mixture, all its
    active experts and the shared ones. Llama 3.1 8B: 14336 / 4096 = 3.5.
    """
    text = next((config[part] for part in _TEXT_PARTS if isinstance(config.get(part), dict)), config)
    stack = spec.stacks[0]
    model_type = str(text.get("model_type") or stack.implementation or config.get("model_type") or "")
    mlp = _usual_mlp(stack)
    return Traits(
        norm=_norm(spec, model_type),
        activation=_activation(text, model_type, mlp),
        positions=_positions(text, model_type),
        ffn_ratio=None if mlp is None else round(_inner_width(mlp) / stack.hidden_dim, 2),
        attention=_attention(stack),
    )


def _usual_mlp(stack: Stack) -> Mlp | None:
    """The feed-forward of most layers."""
    blocks = [block for block in stack.blocks if block.mlp is not None]
    return max(blocks, key=lambda block: block.count).mlp if blocks else None


def _inner_width(mlp: Mlp) -> int:
    return mlp.ffn_dim * (mlp.experts_per_token or 1) + mlp.shared_ffn_dim


def _norm(spec: ModelSpec, model_type: str) -> str | None:
    """The norm of most places: an indexer or a projector may have another."""
    norms = [tensor for tensor in spec.tensors if tensor.part == "norm"]
    biases = sum(tensor.count for tensor in norms if tensor.name.endswith(".bias"))
    weights = sum(tensor.count for tensor in norms) - biases
    if not norms:
        return None
    return "LayerNorm" if 2 * biases > weights or model_type in _PLAIN_LAYER_NORM else "RMSNorm"


def _activation(text: Mapping[str, Any], model_type: str, mlp: Mlp | None) -> str | None:
    keys = (
        "hidden_act",
        "hidden_activation",
        "activation_function",
        "activation",
        "feed_forward_proj",
        "mlp_hidden_act",
    )
    name = next((text[key] for key in keys if isinstance(text.get(key), str)), _ACTIVATIONS.get(model_type))
    if name is None:
        return None
    name = name.removeprefix("gated-")
    if mlp is None or not mlp.gated:
        return name
    return "GeGLU" if name.startswith("gelu") else _GATED.get(name, f"gated {name}")


def _positions(text: Mapping[str, Any], model_type: str) -> str | None:
    if text.get("alibi") is True:
        return "ALiBi"
    if model_type in _POSITIONS:
        return _POSITIONS[model_type]
    return "RoPE" if any(text.get(key) is not None for key in _ROPE_KEYS) else None


def _attention(stack: Stack) -> str:
    """The kinds of mixer in the stack with their number of layers, the most frequent first: "24 sliding, 8 full"."""
    counts: dict[str, int] = {}
    for block in stack.blocks:
        if isinstance(block.mixer, NoMixer):
            continue
        kind = str(type(block.mixer).__struct_config__.tag)
        counts[kind] = counts.get(kind, 0) + block.count
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {kind}" for kind, count in ordered)
