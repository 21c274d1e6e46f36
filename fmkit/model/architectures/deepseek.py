"""DeepSeek-V2, V3, R1, V3.1, V3.2, Kimi K2 and GLM-5: latent attention, shared and routed experts.

The multi-token-prediction layers that V3's repositories store are not loaded by transformers 5.23, and not counted.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from fmkit.model.architectures import deepseek_moe
from fmkit.model.architectures.decoder import (
    TextModel,
    causal_lm,
    expert_tensors,
    experts_of,
    float32_in_half,
    gated_mlp_tensors,
    rope_limit,
    rotary_buffers,
    stack_of,
)
from fmkit.model.attention import LatentAttention
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("deepseek_v2", "deepseek_v3", "deepseek_v32", "kimi_k2", "glm_moe_dsa")
_INDEXED = ("deepseek_v32", "glm_moe_dsa")
_DEFAULT_CLASSES = {
    "deepseek_v2": "DeepseekV2ForCausalLM",
    "deepseek_v32": "DeepseekV32ForCausalLM",
    "glm_moe_dsa": "GlmMoeDsaForCausalLM",
}


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a DeepSeek-V2/V3 config."""
    default = _DEFAULT_CLASSES.get(str(config.model_type), "DeepseekV3ForCausalLM")
    return causal_lm(config, text_model, default_class=default)


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """DeepseekV3Model and its relatives. Class defaults: DeepseekV3Config (for V2 DeepseekV2Config), transformers 5.23.

    Without latent attention (`use_mla`, in the code of DeepSeek-VL2's repository) V2 is a DeepSeek-MoE.
    """
    if not config.flag("use_mla", default=True):
        plain = deepseek_moe.text_model(config, tensors)
        return replace(plain, stack=msgspec.structs.replace(plain.stack, implementation="deepseek"))
    second = config.model_type == "deepseek_v2"
    hidden = config.core("hidden_size", class_default=4096 if second else 7168)
    layers = config.layers("num_hidden_layers", class_default=32 if second else 61)
    vocab = config.core("vocab_size", class_default=102400 if second else 129280)
    attention = _attention(config)
    mixture = _mixture(config)
    dense = Mlp(ffn_dim=config.core("intermediate_size", class_default=11008 if second else 18432), gated=True)
    sparse = layers - _dense_layers(config, layers)
    tensors.embedding("embed_tokens", vocab, hidden)
    layer = tensors.at("layers.*", count=layers)
    latent_tensors(config, layer, hidden, attention)
    gated_mlp_tensors(tensors.at("layers.*", count=layers - sparse), hidden, dense.ffn_dim)
    layer.norm("input_layernorm", hidden)
    layer.norm("post_attention_layernorm", hidden)
    expert_layer = tensors.at("layers.*", count=sparse)
    expert_tensors(expert_layer, hidden, mixture)
    if mixture.shared_ffn_dim:
        gated_mlp_tensors(expert_layer, hidden, mixture.shared_ffn_dim, name="mlp.shared_experts")
    if sparse and not second:
        # In _keep_in_fp32_modules_strict: float32 whatever the model's type.
        expert_layer.buffer("mlp.gate.e_score_correction_bias", (mixture.experts,), dtype="float32")
    tensors.norm("norm", hidden)
    rotary_buffers(tensors, attention.rope_dim)
    blocks = [(attention, dense)] * (layers - sparse) + [(attention, mixture)] * sparse
    return TextModel(
        stack=stack_of("decoder", hidden, blocks),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=4096),
        tied=config.flag("tie_word_embeddings", default=False),
        notes=_notes(config),
    )


def _attention(config: ConfigReader) -> LatentAttention:
    second = config.model_type == "deepseek_v2"
    indexed = config.model_type in _INDEXED
    return LatentAttention(
        query_heads=config.core("num_attention_heads", class_default=32 if second else 128),
        latent_dim=config.core("kv_lora_rank", class_default=512),
        rope_dim=config.core("qk_rope_head_dim", class_default=64),
        nope_dim=config.core("qk_nope_head_dim", class_default=128),
        value_dim=config.core("v_head_dim", class_default=128),
        query_latent_dim=config.size("q_lora_rank", default=1536, null=0) or None,
        index_dim=config.core("index_head_dim", class_default=128) if indexed else 0,
    )


def _mixture(config: ConfigReader) -> Mlp:
    second = config.model_type == "deepseek_v2"
    ffn = config.core("moe_intermediate_size", class_default=1407 if second else 2048)
    shared = config.size("n_shared_experts", default=2 if second else 1, null=0, minimum=0)
    return experts_of(
        config, "n_routed_experts", per_token=8, experts=64 if second else 256, ffn_dim=ffn, shared_ffn_dim=shared * ffn
    )


def _dense_layers(config: ConfigReader, layers: int) -> int:
    """Layers without experts: the first `first_k_dense_replace`."""
    default = 0 if config.model_type == "deepseek_v2" else 3
    return min(layers, config.size("first_k_dense_replace", default=default, minimum=0))


def latent_tensors(config: ConfigReader, layer: Tensors, hidden: int, mla: LatentAttention) -> None:
    """The projections of latent attention, with the indexer where there is one."""
    bias = config.flag("attention_bias", default=False)
    attention = layer.at("self_attn")
    query_width = mla.query_heads * (mla.nope_dim + mla.rope_dim)
    if mla.query_latent_dim is None:
        attention.linear("q_proj", query_width, hidden, part="attention")
    else:
        attention.linear("q_a_proj", mla.query_latent_dim, hidden, bias=bias, part="attention")
        attention.norm("q_a_layernorm", mla.query_latent_dim)
        attention.linear("q_b_proj", query_width, mla.query_latent_dim, part="attention")
    attention.linear("kv_a_proj_with_mqa", mla.latent_dim + mla.rope_dim, hidden, bias=bias, part="attention")
    attention.norm("kv_a_layernorm", mla.latent_dim)
    expanded = mla.query_heads * (mla.nope_dim + mla.value_dim)
    attention.linear("kv_b_proj", expanded, mla.latent_dim, part="attention")
    attention.linear("o_proj", hidden, mla.query_heads * mla.value_dim, bias=bias, part="attention")
    if mla.index_dim:
        _indexer_tensors(config, attention, hidden, mla)


def _indexer_tensors(config: ConfigReader, attention: Tensors, hidden: int, mla: LatentAttention) -> None:
    """The lightning indexer of V3.2, which picks the tokens that a query attends to."""
    heads = config.core("index_n_heads", class_default=64)
    if mla.query_latent_dim is None:
        raise config.missing("q_lora_rank")
    indexer = attention.at("indexer")
    indexer.linear("wq_b", heads * mla.index_dim, mla.query_latent_dim, part="attention")
    indexer.linear("wk", mla.index_dim, hidden, part="attention")
    indexer.norm("k_norm", mla.index_dim, bias=True)
    # In _keep_in_fp32_modules: never quantised, float32 beside float16.
    kept = attention.at("indexer", keeps_float32=True, dtype=float32_in_half(config))
    kept.linear("weights_proj", heads, hidden, part="attention")


def _notes(config: ConfigReader) -> tuple[str, ...]:
    notes = []
    predicted = config.size("num_nextn_predict_layers", default=0, null=0, minimum=0)
    if predicted:
        notes.append(f"{predicted} multi-token-prediction layer(s) are stored but not loaded: not counted")
    if config.model_type == "kimi_k2":
        notes.append("counted as DeepseekV3ForCausalLM, whose architecture it has (the repository has remote code)")
    if config.model_type in _INDEXED:
        notes.append("the indexer attends to at most 2,048 chosen tokens; its keys are part of the cache")
    return tuple(notes)
