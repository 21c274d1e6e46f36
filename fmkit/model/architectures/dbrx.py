"""DBRX: experts in every layer, stored as one tall matrix for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import Heads, TextModel, causal, causal_lm, rotary_buffers, stack_of
from fmkit.model.spec import Mlp

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import ModelSpec

MODEL_TYPES = ("dbrx",)


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a DBRX config."""
    return causal_lm(config, text_model, default_class="DbrxForCausalLM", prefix="transformer")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """DbrxModel. Class defaults: DbrxConfig, transformers 5.23."""
    hidden = config.core("d_model", class_default=2048)
    layers = config.layers("n_layers", class_default=24)
    vocab = config.core("vocab_size", class_default=32000)
    heads, mlp = _heads(config, hidden), _mixture(config)
    tensors.embedding("wte", vocab, hidden)
    layer = tensors.at("blocks.*", count=layers)
    attention = layer.at("norm_attn_norm")
    attention.norm("norm_1", hidden)
    attention.linear("attn.Wqkv", hidden + 2 * heads.kv * heads.dim, hidden, part="attention")
    attention.linear("attn.out_proj", hidden, hidden, part="attention")
    attention.norm("norm_2", hidden)
    layer.linear("ffn.router.layer", mlp.experts, hidden, part="router")
    for name in ("w1", "v1", "w2"):
        layer.parameter(
            f"ffn.experts.mlp.{name}",
            (mlp.experts * mlp.ffn_dim, hidden),
            part="experts",
            active=mlp.experts_per_token * mlp.ffn_dim,
        )
    tensors.norm("norm_f", hidden)
    rotary_buffers(tensors, heads.dim)
    return TextModel(
        stack=stack_of("decoder", hidden, [(causal(heads, None), mlp)] * layers),
        vocab_size=vocab,
        max_context_tokens=config.size("max_seq_len", default=2048),
        tied=config.flag("tie_word_embeddings", default=False),
    )


def _heads(config: ConfigReader, hidden: int) -> Heads:
    query = config.core("n_heads", class_default=16)
    kv = config.part("attn_config").size("kv_n_heads", default=1)
    return Heads(query=query, kv=kv, dim=config.divide("d_model", hidden, "n_heads", query))


def _mixture(config: ConfigReader) -> Mlp:
    ffn = config.part("ffn_config")
    experts, active = ffn.size("moe_num_experts", default=4), ffn.size("moe_top_k", default=1)
    if active > experts:
        raise ffn.wrong("moe_top_k", f"at most the {experts} experts", active)
    return Mlp(ffn_dim=ffn.size("ffn_hidden_size", default=3584), gated=True, experts=experts, experts_per_token=active)
