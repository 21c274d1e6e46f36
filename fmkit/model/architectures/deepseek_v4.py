"""DeepSeek-V4: keys that are also values, a window, compressed entries beyond it, and four residual streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmkit.model.architectures.decoder import (
    TextModel,
    causal_lm,
    expert_tensors,
    experts_of,
    float32_in_half,
    gated_mlp_tensors,
    rope_limit,
    rotary_buffers,
    rotary_dims,
    stack_of,
)
from fmkit.model.architectures.variant import prediction_notes
from fmkit.model.attention import CompressedAttention, SlidingAttention

if TYPE_CHECKING:
    from fmkit.model.architectures.build import Tensors
    from fmkit.model.architectures.config import ConfigReader
    from fmkit.model.spec import Mlp, ModelSpec

MODEL_TYPES = ("deepseek_v4",)
SPARSE, HEAVY, WINDOW = "compressed_sparse_attention", "heavily_compressed_attention", "sliding_attention"
RATIOS = {0: WINDOW, 4: SPARSE, 128: HEAVY}
"""What a layer's entry in `compress_ratios` means (DeepseekV4Config, transformers 5.23)."""


def read(config: ConfigReader) -> ModelSpec:
    """The spec of a DeepSeek-V4 config."""
    return causal_lm(config, text_model, default_class="DeepseekV4ForCausalLM")


def text_model(config: ConfigReader, tensors: Tensors) -> TextModel:
    """DeepseekV4Model. Class defaults: DeepseekV4Config, transformers 5.23."""
    hidden = config.core("hidden_size", class_default=4096)
    layers = config.layers("num_hidden_layers", class_default=43)
    vocab = config.core("vocab_size", class_default=129280)
    mixers = [_mixer(config, kind) for kind in _layer_kinds(config, layers)]
    mixture = _mixture(config)
    tensors.embedding("embed_tokens", vocab, hidden)
    layer = tensors.at("layers.*", count=layers)
    _attention_tensors(config, layer.at("self_attn"), hidden, mixers[0].query_heads)
    rotated = _rotated(config, _head_dim(config))
    for mixer in mixers:
        if isinstance(mixer, CompressedAttention):
            _compressor_tensors(config, tensors.at("layers.*.self_attn.compressor"), hidden, mixer, rotated)
    _mixture_tensors(config, tensors, hidden, layers, vocab, mixture)
    layer.norm("input_layernorm", hidden)
    layer.norm("post_attention_layernorm", hidden)
    _stream_tensors(config, tensors, layer, hidden)
    tensors.norm("norm", hidden)
    _rotary(tensors, rotated)
    return TextModel(
        stack=stack_of("decoder", hidden, [(mixer, mixture) for mixer in mixers]),
        vocab_size=vocab,
        max_context_tokens=rope_limit(config, class_default=1048576),
        tied=config.flag("tie_word_embeddings", default=False),
        notes=prediction_notes(config),
    )


def _layer_kinds(config: ConfigReader, layers: int) -> list[str]:
    """From `layer_types`, else `compress_ratios` (which may go on for prediction layers), else the class's pattern."""
    named = config.texts("layer_types")
    if named is None:
        ratios = config.sizes("compress_ratios")
        if ratios is not None:
            named = tuple(RATIOS.get(ratio, f"ratio {ratio}") for ratio in ratios[:layers])
    if named is None:
        named = tuple(HEAVY if layer < 2 or layer % 2 == 0 else SPARSE for layer in range(layers))
    if len(named) != layers:
        raise config.wrong("layer_types", f"one item for each of {layers} layers", f"{len(named)} items")
    unknown = next((kind for kind in named if kind not in (SPARSE, HEAVY, WINDOW)), None)
    if unknown is not None:
        raise config.unknown(f"layer type {unknown[:40]!r} is not understood")
    return list(named)


def _mixer(config: ConfigReader, kind: str) -> CompressedAttention | SlidingAttention:
    heads = config.core("num_attention_heads", class_default=64)
    dim, window = _head_dim(config), config.size("sliding_window", default=128)
    if kind == WINDOW:
        # Without entries the keys are kept once more as values (transformers 5.23, DynamicSlidingWindowLayer).
        return SlidingAttention(query_heads=heads, kv_heads=1, key_dim=dim, value_dim=dim, window_tokens=window)
    rates, sparse = config.child("compress_rates"), kind == SPARSE
    default = 4 if sparse else 128
    return CompressedAttention(
        query_heads=heads,
        head_dim=dim,
        window_tokens=window,
        ratio=rates.size(kind, default=default) if rates is not None else default,
        index_dim=config.size("index_head_dim", default=128) if sparse else 0,
        index_tokens=config.size("index_topk", default=512) if sparse else 0,
    )


def _head_dim(config: ConfigReader) -> int:
    return config.core("head_dim", class_default=512)


def _mixture(config: ConfigReader) -> Mlp:
    ffn = config.core("moe_intermediate_size", class_default=2048)
    shared = config.size("n_shared_experts", default=1)
    if shared != 1:
        raise config.wrong("n_shared_experts", "1, which is all that is understood", shared)
    return experts_of(config, "n_routed_experts", per_token=6, experts=256, ffn_dim=ffn, shared_ffn_dim=ffn)


def _rotated(config: ConfigReader, head_dim: int) -> int:
    named = config.optional_size("qk_rope_head_dim")
    return named if named is not None else rotary_dims(config, head_dim, default=1 / 8)


def _attention_tensors(config: ConfigReader, attention: Tensors, hidden: int, heads: int) -> None:
    dim = _head_dim(config)
    query_latent = config.size("q_lora_rank", default=1024)
    groups, rank = config.size("o_groups", default=8), config.size("o_lora_rank", default=1024)
    attention.parameter("sinks", (heads,), part="attention")
    attention.linear("q_a_proj", query_latent, hidden, part="attention")
    attention.norm("q_a_norm", query_latent)
    attention.linear("q_b_proj", heads * dim, query_latent, part="attention")
    attention.linear("kv_proj", dim, hidden, part="attention")
    attention.norm("kv_norm", dim)
    # One matrix per group of heads, a subclass of torch.nn.Linear: never quantised.
    width = config.divide("num_attention_heads", heads * dim, "o_groups", groups)
    attention.linear("o_a_proj", groups * rank, width, part="attention", quantisable=False)
    attention.linear("o_b_proj", hidden, groups * rank, part="attention")


def _compressor_tensors(
    config: ConfigReader, compressor: Tensors, hidden: int, mixer: CompressedAttention, rotated: int
) -> None:
    """What makes one entry of `ratio` tokens; kv_proj and gate_proj are in `_keep_in_fp32_modules`."""
    series = 2 if mixer.index_dim else 1
    _pooling_tensors(config, compressor, hidden, mixer.ratio, mixer.head_dim, series)
    _rotary(compressor, rotated)
    if not mixer.index_dim:
        return
    indexer, heads = compressor.at("indexer"), config.size("index_n_heads", default=64)
    _pooling_tensors(config, indexer, hidden, mixer.ratio, mixer.index_dim, 2)
    _rotary(indexer, rotated)
    query_latent = config.size("q_lora_rank", default=1024)
    indexer.linear("q_b_proj", heads * mixer.index_dim, query_latent, part="attention")
    kept = indexer.at("scorer", keeps_float32=True, dtype=float32_in_half(config))
    kept.linear("weights_proj", heads, hidden, part="attention")


def _pooling_tensors(config: ConfigReader, module: Tensors, hidden: int, ratio: int, dim: int, series: int) -> None:
    module.parameter("position_bias", (ratio, series * dim), part="attention")
    kept = module.at("", keeps_float32=True, dtype=float32_in_half(config))
    kept.linear("kv_proj", series * dim, hidden, part="attention")
    kept.linear("gate_proj", series * dim, hidden, part="attention")
    module.norm("kv_norm", dim)


def _rotary(module: Tensors, dims: int) -> None:
    rotary_buffers(module, dims, prefix="main_")
    rotary_buffers(module, dims, prefix="compress_")


def _mixture_tensors(
    config: ConfigReader, tensors: Tensors, hidden: int, layers: int, vocab: int, mixture: Mlp
) -> None:
    """Experts; the first `num_hash_layers` choose them by a table of the vocabulary."""
    layer = tensors.at("layers.*", count=layers)
    expert_tensors(layer, hidden, mixture)
    gated_mlp_tensors(layer, hidden, mixture.shared_ffn_dim, name="mlp.shared_experts")
    hashed = min(layers, config.size("num_hash_layers", default=3, minimum=0))
    types = config.texts("mlp_layer_types")
    if types is not None:
        hashed = types[:layers].count("hash_moe")
    if hashed:
        table = (vocab, mixture.experts_per_token)
        tensors.at("layers.*", count=hashed).buffer("mlp.gate.tid2eid", table, dtype="int64")
    if layers > hashed:
        rest = tensors.at("layers.*", count=layers - hashed)
        rest.buffer("mlp.gate.e_score_correction_bias", (mixture.experts,), dtype=None)


def _stream_tensors(config: ConfigReader, tensors: Tensors, layer: Tensors, hidden: int) -> None:
    """The weights that mix the `hc_mult` residual streams before and after each half of a block, and at the end."""
    streams = config.size("hc_mult", default=4)
    mixes = (2 + streams) * streams
    for name in ("attn_hc", "ffn_hc"):
        layer.parameter(f"{name}.fn", (mixes, streams * hidden), part="norm")
        layer.parameter(f"{name}.base", (mixes,), part="norm")
        layer.parameter(f"{name}.scale", (3,), part="norm")
    tensors.parameter("hc_head.hc_fn", (streams, streams * hidden), part="norm")
    tensors.parameter("hc_head.hc_base", (streams,), part="norm")
    tensors.parameter("hc_head.hc_scale", (1,), part="norm")
